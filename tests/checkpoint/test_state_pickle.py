"""What is said of a .bin file before torch opens it, against what torch then finds: the same tensors, alike."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import Tensor

from minibert import BertConfig, BertForPreTraining, CheckpointError
from minibert.checkpoint.state_pickle import describe_pickle
from minibert.checkpoint.weights import PickleWeights

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def assert_reads_like_torch(state: dict[str, Tensor], path: Path, zipped: bool) -> None:
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    described, weights, theirs = describe_pickle(path), PickleWeights(path), torch.load(path, weights_only=True)
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


def test_torch_opens_it_with_weights_only_and_not_before_2_6(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save({"x": torch.zeros(3)}, tmp_path / "x.bin")
    seen = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda *a, **k: seen.append(k["weights_only"]) or load(*a, **k))
    PickleWeights(tmp_path / "x.bin").tensor("x")
    assert seen == [True]
    monkeypatch.setattr(torch, "__version__", "2.5.1")
    with pytest.raises(CheckpointError, match="torch 2.5.1 cannot read one safely"):
        PickleWeights(tmp_path / "x.bin")
