"""save_pretrained: transformers loads the folder to identical bits; nothing is ever half-written."""

import json
import struct
from pathlib import Path

import pytest
import torch

import minibert
from minibert import BertConfig, CheckpointError
from minibert.checkpoint import write_safetensors
from tests.checkpoint.test_load import HEADS, SETTINGS, reference
from tests.parity.compare import assert_same_outputs


@pytest.mark.parametrize("name", HEADS)
def test_transformers_loads_it_to_identical_bits(name: str, tmp_path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(2)
    ours = getattr(minibert, name)(BertConfig(**SETTINGS, note="kept")).eval()
    ours.save_pretrained(tmp_path)
    theirs, report = getattr(transformers, name).from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    expected = ours.state_dict()
    assert list(theirs.state_dict()) == list(expected)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in theirs.state_dict().items())
    again = getattr(minibert, name).from_pretrained(tmp_path)
    ids = torch.tensor([[1, 5, 9, 2]])
    assert_same_outputs(theirs.eval()(ids), ours(ids), 0.0)
    assert_same_outputs(again(ids), ours(ids), 0.0)
    assert json.loads((tmp_path / "config.json").read_text())["note"] == "kept"
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == [name]


def test_round_trip_of_a_transformers_checkpoint(tmp_path) -> None:
    theirs = reference("BertForMaskedLM")
    theirs.save_pretrained(tmp_path / "a")
    minibert.BertForMaskedLM.from_pretrained(tmp_path / "a").save_pretrained(tmp_path / "b")
    again = type(theirs).from_pretrained(tmp_path / "b")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in theirs.state_dict().items())


def test_every_kind_and_layout_is_read_back_by_the_library(tmp_path) -> None:
    from safetensors.torch import load_file

    tensors = {
        "f64": torch.randn(3, 2, dtype=torch.float64),
        "bf16": torch.randn(5).bfloat16(),
        "f16": torch.randn(1, 3).half(),
        "turned": torch.randn(4, 6).T,
        "spread": torch.randn(1, 4).expand(3, 4),
        "part": torch.randn(10)[3:8],
        "bool": torch.tensor([True, False]),
        "i64": torch.arange(7),
        "u8": torch.arange(7, dtype=torch.uint8),
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
    }
    write_safetensors(tmp_path / "x.safetensors", tensors, {"about": "이것"})
    found = load_file(tmp_path / "x.safetensors")
    assert set(found) == set(tensors)
    for name, tensor in tensors.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)
    content = (tmp_path / "x.safetensors").read_bytes()
    assert (8 + struct.unpack("<Q", content[:8])[0]) % 64 == 0


def test_a_full_disk_leaves_the_old_file_and_no_new_one(tmp_path, monkeypatch) -> None:
    model = minibert.BertModel(BertConfig(**SETTINGS))
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("minibert.checkpoint.save.write_numbers", full)
    torch.nn.init.ones_(model.pooler.dense.bias)
    with pytest.raises(CheckpointError, match=r"model.safetensors. cannot be written.*No space left on device"):
        model.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_the_final_name_appears_only_at_once(tmp_path, monkeypatch) -> None:
    """Everything is on the disk under another name when the file takes its own: a rename, never a copy."""
    seen = []

    def refuse(temporary: Path, target: Path) -> None:
        seen.append((temporary.stat().st_size, target.exists()))
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_safetensors(tmp_path / "x.safetensors", {"x": torch.zeros(100)})
    ((size, was_there),) = seen
    assert size > 400
    assert not was_there
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_is_no_folder(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        minibert.BertModel(BertConfig(**SETTINGS)).save_pretrained(tmp_path / "file")
