"""``torchrun -m minibert``: the same flags, the same result as one process, and printed once."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from minibert.training.metrics import read_metrics
from tests.support.command import run
from tests.support.texts import ENGLISH
from tests.support.toy_tasks import toy_checkpoint, write_toy
from tests.support.toy_training import furthest

pytestmark = pytest.mark.crash


def typed(workers: int, *arguments: str) -> dict:
    """What the command printed as JSON, with so many processes."""
    done = run(*arguments, "--json", workers=workers)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    report: dict = json.loads(done.stdout)  # one report: the other process says nothing
    return report


def same_but_for_rounding(one: Path, two: Path) -> None:
    assert furthest(*(load_file(folder / "model.safetensors") for folder in (one, two))) < 1e-5
    pairs = zip(read_metrics(one), read_metrics(two), strict=True)
    assert all(ours.get("loss", 0) == pytest.approx(theirs.get("loss", 0), abs=1e-5) for ours, theirs in pairs)


@pytest.mark.parametrize(
    ("task", "way"), [pytest.param("classify", [], marks=pytest.mark.slow), ("entities", ["--fsdp"])]
)
def test_finetune(task: str, way: list[str], tmp_path) -> None:
    model = toy_checkpoint(tmp_path / "model")
    train, dev = (write_toy(task, tmp_path / name, count, seed=count) for name, count in (("train", 36), ("dev", 12)))
    command = ["finetune", task, str(train), "--dev", str(dev), "--model", str(model), "--epochs", "2"]
    command += ["--batch-size", "8", "--learning-rate", "1e-3"]
    one, two = tmp_path / "one", tmp_path / "two"
    alone = typed(1, *command, "--output", str(one))
    together = typed(2, *command, "--output", str(two), *way)
    assert together["steps"] == alone["steps"] == 10
    assert together["scores"] == pytest.approx(alone["scores"], abs=1e-5)
    same_but_for_rounding(one, two)


@pytest.mark.slow
def test_pretrain(tmp_path) -> None:
    pytest.importorskip("tokenizers")
    text = tmp_path / "text.txt"
    text.write_text(
        "\n\n".join(f"{' '.join(ENGLISH[n:])}.\n{' '.join(ENGLISH[:n])}." for n in range(1, len(ENGLISH))) * 5
    )
    kept = tmp_path / "kept.txt"
    kept.write_text(f"{' '.join(reversed(ENGLISH))}.\n{' '.join(ENGLISH[::2])}.\n")
    config = toy_checkpoint(tmp_path / "model") / "config.json"
    command = ["pretrain", str(text), "--config", str(config), "--vocab-size", "100", "--max-length", "32"]
    command += ["--step-tokens", "256", "--steps", "6", "--heldout", str(kept)]
    one, two = tmp_path / "one", tmp_path / "two"
    alone, together = typed(1, *command, "--output", str(one)), typed(2, *command, "--output", str(two))
    assert together["steps"] == alone["steps"] == 6
    assert together["scores"] == pytest.approx(alone["scores"], abs=1e-5)
    same_but_for_rounding(one, two)
