"""What is read of a .bin file without running it, against what torch finds in it: the same tensors, alike."""

import argparse
import datetime
import os
import pickle
import tempfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from minibert import BertConfig, BertForPreTraining, CheckpointError
from minibert.checkpoint.pickle_scan import describe_pickle
from minibert.checkpoint.weights import PickleWeights

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def assert_reads_like_torch(state: dict[str, Tensor], path: Path, zipped: bool) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    described, weights, theirs = describe_pickle(path).tensors, PickleWeights(path), torch.load(path, weights_only=True)
    assert list(described) == list(theirs) == weights.names()
    for name, expected in theirs.items():
        said = described[name]
        assert (said.storage.dtype, said.shape, said.stride) == (expected.dtype, expected.shape, expected.stride()), (
            name
        )
        assert said.offset == expected.storage_offset()
        assert torch.equal(weights.tensor(name), expected), name


@FORMATS
def test_a_state_dict_and_what_people_save_instead(tmp_path: Path, zipped: bool) -> None:
    model = BertForPreTraining(
        BertConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    )
    for state in (model.state_dict(), model.state_dict(keep_vars=True), dict(model.named_parameters())):
        assert_reads_like_torch(state, tmp_path / "x.bin", zipped)


@FORMATS
def test_views_and_shared_numbers(tmp_path: Path, zipped: bool) -> None:
    whole = torch.arange(30.0).view(5, 6)
    marked = torch.nn.Parameter(whole)
    marked.note = "with an attribute"  # saved by another function of torch's
    views = {"rows": whole[1:3], "columns": whole[:, 2:4], "turned": whole.T, "every other": whole[::2]}
    others = {"same": whole, "again": whole, "none": torch.zeros(0, 3), "one": torch.tensor(3.0), "marked": marked}
    assert_reads_like_torch(OrderedDict(views | others), tmp_path / "x.bin", zipped)


@FORMATS
def test_every_kind_of_number(tmp_path: Path, zipped: bool) -> None:
    kinds = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16)
    for kind in (*kinds, torch.int8, torch.uint8, torch.bool):
        assert_reads_like_torch({"x": torch.arange(7).to(kind)}, tmp_path / "x.bin", zipped)


def test_changing_a_tensor_leaves_the_file_alone(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(100)}, tmp_path / "x.bin")
    PickleWeights(tmp_path / "x.bin").tensor("x").fill_(1)
    assert torch.equal(PickleWeights(tmp_path / "x.bin").tensor("x"), torch.zeros(100))


def test_neither_torch_nor_python_runs_the_pickle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"x": torch.arange(3.0)}, tmp_path / "x.bin")

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a pickle was run")

    for module, name in ((torch, "load"), (pickle, "load"), (pickle, "loads"), (pickle, "Unpickler")):
        monkeypatch.setattr(module, name, refuse)
    assert PickleWeights(tmp_path / "x.bin").tensor("x").tolist() == [0.0, 1.0, 2.0]


class Recipe:
    """A class of a program that is not installed where its checkpoint is read."""

    def __init__(self) -> None:
        self.rate = 2e-5


class Kept(dict):  # type: ignore[type-arg]
    """As Lightning's AttributeDict, which is made by NEWOBJ and filled by SETITEMS."""


def lightning(state: dict[str, Tensor]) -> dict[str, object]:
    """What Lightning's ModelCheckpoint writes, and more: classes, sets, paths, numbers as keys."""
    return {
        "epoch": 3,
        "global_step": 1_000,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": OrderedDict(state),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 4}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"best_k_models": {}, "score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(9.0), "exp_avg": torch.ones(3)}}, "param_groups": []}],
        "lr_schedulers": [{"recipe": Recipe(), "rates": {1e-3, 2e-3}, ("a", 1): None}],
        "hparams_name": "kwargs",
        "hyper_parameters": Kept(folder=Path("/somewhere"), recipe=Recipe(), space=argparse.Namespace(lr=1e-3)),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "when": datetime.datetime(2020, 1, 1),
    }


@FORMATS
@pytest.mark.parametrize(
    ("wrap", "holder"),
    [
        (lightning, "state_dict"),
        (lambda state: {"model": state, "optimizer": {"state": {0: {}}, "param_groups": [{"lr": 1.0}]}}, "model"),
        (lambda state: {"model_state_dict": state, "epoch": 1, "loss": torch.tensor(0.1)}, "model_state_dict"),
        (lambda state: {"module": OrderedDict(state), "ds_version": "0.15"}, "module"),
        (lambda state: {"model": dict(state), "ema": {"x": torch.zeros(1)}}, "model"),
        (lambda state: {"params": {"lr": 0.1}, "bert": dict(state)}, "bert"),
        (lambda state: {"state": {"model": dict(state), "step": 4}}, "state.model"),
    ],
    ids=["lightning", "model", "model_state_dict", "deepspeed", "ema", "unknown-key", "nested"],
)  # fmt: skip
def test_training_checkpoints_are_opened_at_their_state_dict(
    wrap: Callable[[dict[str, Tensor]], dict[str, object]], holder: str, tmp_path: Path, zipped: bool
) -> None:
    state = {"a": torch.arange(6.0).view(2, 3), "b": torch.ones(4)}
    content = wrap(state)
    if not zipped:
        content.pop("complex", None)  # of its numbers the older format says no size
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    weights = PickleWeights(tmp_path / "x.ckpt")
    assert weights.holder == holder
    assert weights.names() == ["a", "b"]
    for name, expected in state.items():
        assert torch.equal(weights.tensor(name), expected)


@FORMATS
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"encoder": {"a": torch.ones(1)}, "head": {"a": torch.ones(1)}}, "holds 2 state dicts (encoder, head)"),
        ({"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": []}, "'state' is a dict"),
        ({"model": {"a": torch.ones(1), "epoch": 3}}, "'epoch' is a int"),
        ({"model": Recipe(), "epoch": 3}, "asks for tests.checkpoint.test_pickle_scan.Recipe"),
        ({"model": {"model": {"model": {"model": {"model": {"a": torch.ones(1)}}}}}}, "is a dict"),
        ({"model": {}, "epoch": 3}, "'model' is a dict"),
        ({"model": {"a": torch.ones(1), 3: torch.ones(1)}}, "name of a tensor"),
    ],
)
def test_what_is_no_training_checkpoint(content: object, words: str, tmp_path: Path, zipped: bool) -> None:
    torch.save(content, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError) as caught:
        PickleWeights(tmp_path / "x.pt")
    assert words in str(caught.value)


class Runs:
    """Pickles into a call."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.called = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.called  # type: ignore[return-value]


@FORMATS
@pytest.mark.parametrize("key", ["hyper_parameters", "callbacks", "optimizer"])
@pytest.mark.parametrize(
    "make",
    [lambda m: Runs(os.system, f"touch {m}"), lambda m: Runs(eval, f"open({m!r}, 'w')"), lambda m: Runs(os.mkdir, m)],
    ids=["system", "eval", "mkdir"],
)
def test_a_program_beside_the_state_dict(make: Callable[[str], object], key: str, tmp_path: Path, zipped: bool) -> None:
    """Lying where nobody needs it, it is not executed, and the file is refused."""
    marker = tmp_path / "executed"
    content = {"state_dict": {"a": torch.ones(2)}, key: {"x": [make(str(marker))]}}
    torch.save(content, tmp_path / "x.ckpt", _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="asks for .*Nothing in it was executed"):
        PickleWeights(tmp_path / "x.ckpt")
    assert not marker.exists()


def test_a_call_of_something_unlisted_stays_a_name(tmp_path: Path) -> None:
    """Not the list of what is refused keeps a program from running, but that nothing here can run one."""
    marker = tmp_path / "executed"
    content = {"state_dict": {"a": torch.ones(2)}, "x": Runs(tempfile.mkdtemp, "", "executed", str(tmp_path))}
    torch.save(content, tmp_path / "x.ckpt")
    assert PickleWeights(tmp_path / "x.ckpt").tensor("a").tolist() == [1.0, 1.0]
    assert not marker.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.ckpt"]
