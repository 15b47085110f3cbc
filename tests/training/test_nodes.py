"""Several machines train as one does: two nodes of torchrun, which meet at 127.0.0.1 and share a folder."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from minibert.training.metrics import read_metrics
from tests.support.command import run, run_nodes
from tests.support.toy_tasks import toy_checkpoint, write_toy

pytestmark = [pytest.mark.crash, pytest.mark.slow]


@pytest.fixture(scope="module")
def toys(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A checkpoint, training and dev data."""
    place = tmp_path_factory.mktemp("toys")
    train, dev = (
        write_toy("classify", place / name, count, seed=count) for name, count in (("train", 36), ("dev", 12))
    )
    return toy_checkpoint(place / "model"), train, dev


def command(toys: tuple[Path, Path, Path], output: Path, *more: str) -> list[str]:
    model, train, dev = toys
    typed = ["finetune", "classify", str(train), "--dev", str(dev), "--model", str(model), "--epochs", "2"]
    return [*typed, "--batch-size", "8", "--learning-rate", "1e-3", "--save-every", "2", "--json", "--output",
            str(output), *more]  # fmt: skip


def same(one: Path, two: Path) -> None:
    """The same weights to the last bit, and the same log but for the times."""
    ours, theirs = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert ours.keys() == theirs.keys()
    assert all(ours[name].equal(theirs[name]) for name in ours)
    logs = [[(entry["step"], entry.get("loss")) for entry in read_metrics(folder)] for folder in (one, two)]
    assert logs[0] == logs[1]


def test_two_nodes_of_one_process_stopped_and_continued_are_one_node_of_two(tmp_path, toys) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    together = run(*command(toys, one), workers=2)
    assert together.returncode == 0, together.stderr[-3000:]
    for more in (["--stop-after", "4"], []):
        nodes = run_nodes([command(toys, two, *more)] * 2)
        assert [node.returncode for node in nodes] == [0, 0], [node.stderr[-3000:] for node in nodes]
        report, nothing = sorted((node.stdout for node in nodes), key=len, reverse=True)
        assert nothing == ""  # the process of the other node says nothing
    assert json.loads(report)["scores"] == json.loads(together.stdout)["scores"]
    same(one, two)


def test_a_folder_that_is_not_shared(tmp_path, toys) -> None:
    nodes = run_nodes(
        [["0.5", *command(toys, tmp_path / "one")], ["0.5", *command(toys, tmp_path / "two")]],
        module="tests.support.impatient",
    )
    assert [node.returncode for node in nodes] == [1, 1]  # torchrun's, of processes that ended with 2
    said = "".join(node.stderr for node in nodes)
    assert "minibert: 1 of 2 processes do not see " in said
    assert "Name a folder on a disk that all machines share." in said
    assert not list(tmp_path.rglob("*.safetensors"))
