"""The reader against what TensorFlow wrote, and says it wrote (scripts/tools/make_google_fixture.py)."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from minibert.checkpoint.tensorflow.bundle import find_bundle_prefix, read_tensor_bundle
from minibert.errors import CheckpointError

HERE = Path(__file__).parents[1]
GOOGLE = HERE / "google" / "bert_model.ckpt"
SHARDED = HERE / "google_sharded" / "bert_model.ckpt"
OTHER = HERE / "google_other"


def read_expected(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


@pytest.mark.parametrize(
    ("prefix", "expected_path"),
    [(GOOGLE, GOOGLE.parent / "expected.json")]
    + [(OTHER / name, OTHER / f"{name}.expected.json") for name in ("every_dtype", "partitioned", "object_based")],
    ids=lambda path: path.name,
)
def test_tensors_are_those_that_tensorflow_reads_back(prefix: Path, expected_path: Path) -> None:
    expected = read_expected(expected_path)
    bundle = read_tensor_bundle(prefix)
    assert list(bundle) == sorted(expected)
    for name, entry in bundle.entries.items():
        assert entry.tf_dtype == expected[name]["dtype"], name
        assert list(entry.shape) == expected[name]["shape"], name
        if entry.dtype is None or entry.is_partitioned:
            continue
        tensor = bundle[name]
        assert tensor.dtype == entry.dtype == getattr(torch, entry.tf_dtype), name
        assert tensor.shape == entry.shape, name
        values = tensor.double()
        assert values.flatten()[:5].tolist() == expected[name]["first"], name
        # The values are exact; their order of summation is not TensorFlow's.
        assert values.sum().item() == pytest.approx(expected[name]["sum"], rel=1e-12, abs=1e-12), name


def test_google_layout() -> None:
    bundle = read_tensor_bundle(GOOGLE)
    assert len(bundle) == 3 * 46 + 1  # weights, two Adam slots for each, the step
    assert bundle["global_step"].dtype == torch.int64
    assert bundle["global_step"].item() == 1234567
    assert bundle["bert/encoder/layer_0/intermediate/dense/kernel"].shape == (16, 32)  # (in, out)
    assert bundle["cls/seq_relationship/output_weights"].shape == (2, 16)  # (out, in)


def test_two_shards_hold_the_same_weights_as_one() -> None:
    whole, sharded = read_tensor_bundle(GOOGLE), read_tensor_bundle(SHARDED)
    assert sharded.num_shards == 2
    assert {entry.shard for entry in sharded.entries.values()} == {0, 1}
    assert list(sharded) == [name for name in whole if not name.endswith(("/adam_m", "/adam_v", "global_step"))]
    for name, tensor in sharded.items():
        assert torch.equal(tensor, whole[name]), name


def test_it_is_a_mapping_that_reads_only_what_is_asked_for(tmp_path: Path) -> None:
    for file in GOOGLE.parent.glob("bert_model.ckpt.*"):
        shutil.copy(file, tmp_path)
    bundle = read_tensor_bundle(tmp_path / "bert_model.ckpt")
    bundle.shard_path(0).unlink()
    assert "global_step" in bundle
    assert bundle.entries["bert/pooler/dense/kernel"].shape == (16, 16)
    assert "139 tensors" in repr(bundle)
    with pytest.raises(CheckpointError, match="cannot be read"):
        bundle["global_step"]
    with pytest.raises(KeyError, match="no/such/name"):
        bundle["no/such/name"]


def test_tensors_own_their_memory() -> None:
    bundle = read_tensor_bundle(GOOGLE)
    bundle["bert/pooler/dense/bias"].zero_()
    assert bundle["bert/pooler/dense/bias"].abs().min() > 0


def test_kinds_that_are_listed_and_refused() -> None:
    for bundle_name, name, message in [
        ("every_dtype", "strings", "dtype string"),
        ("object_based", "_CHECKPOINTABLE_OBJECT_GRAPH", "dtype string"),
        ("partitioned", "split", "saved in partitions"),
    ]:
        bundle = read_tensor_bundle(OTHER / bundle_name)
        assert name in bundle
        with pytest.raises(CheckpointError, match=message):
            bundle[name]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"bert_model\.ckpt\.index does not exist"):
        read_tensor_bundle(tmp_path / "bert_model.ckpt")
    for file in SHARDED.parent.iterdir():
        shutil.copy(file, tmp_path)
    (tmp_path / "bert_model.ckpt.data-00001-of-00002").unlink()
    with pytest.raises(CheckpointError, match="data-00001-of-00002 does not exist"):
        read_tensor_bundle(tmp_path / "bert_model.ckpt")


@pytest.mark.parametrize(
    "name", ["", "bert_model.ckpt", "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"]
)
def test_the_prefix_is_found(name: str) -> None:
    assert find_bundle_prefix(GOOGLE.parent / name) == GOOGLE
    assert find_bundle_prefix(str(GOOGLE.parent / name)) == GOOGLE


def test_no_prefix(tmp_path: Path) -> None:
    (tmp_path / "vectors.index").write_bytes(b"of another program")
    (tmp_path / "folder.ckpt.index").mkdir()
    for path in (tmp_path, tmp_path / "missing", tmp_path / "missing.index", tmp_path / "folder.ckpt"):
        assert find_bundle_prefix(path) is None, path
    assert find_bundle_prefix(GOOGLE.parent / "vocab.txt") is None


def test_an_index_without_its_shards_is_found(tmp_path: Path) -> None:
    """So that reading it can say which file is missing."""
    shutil.copy(f"{GOOGLE}.index", tmp_path)
    prefix = find_bundle_prefix(tmp_path)
    assert prefix == tmp_path / "bert_model.ckpt"
    with pytest.raises(CheckpointError, match="data-00000-of-00001 does not exist"):
        read_tensor_bundle(prefix)


def test_several_prefixes_are_listed() -> None:
    with pytest.raises(CheckpointError, match=r"holds 3 .*every_dtype, object_based, partitioned"):
        find_bundle_prefix(OTHER)
