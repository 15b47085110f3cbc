"""The weights of a page that computes: float16 where that is exact, int8 within half a step, gzip where it helps."""

import gzip

import pytest
import torch

from minibert.errors import InputError
from minibert.explorer import weights
from minibert.explorer.weights import pack_weights, quantise, with_weights
from tests.support.small_models import small


def test_float16_is_exact_where_the_model_is() -> None:
    model = small("BertForPreTraining")
    assert not pack_weights(model).exact
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())
    packed = pack_weights(model)
    own = model.state_dict()
    assert packed.exact and {entry["dtype"] for entry in packed.table} == {"float16"}
    assert all(torch.equal(value, own[name]) for name, value in packed.tensors().items())


def test_only_what_the_page_computes_with_travels() -> None:
    names = {entry["name"] for entry in pack_weights(small("BertForPreTraining")).table}
    assert "bert.embeddings.word_embeddings.weight" in names and "cls.predictions.transform.dense.bias" in names
    assert {"bert.pooler.dense.weight", "cls.seq_relationship.bias"} <= names  # of the next-sentence head
    assert not any("decoder.weight" in name for name in names)
    assert not any("pooler" in entry["name"] for entry in pack_weights(small()).table)
    assert all(
        not name.startswith("classifier") for name in pack_weights(small("BertForTokenClassification")).tensors()
    )


def test_what_float16_cannot_hold_stays_float32() -> None:
    model = small()
    with torch.no_grad():
        model.embeddings.LayerNorm.weight[0] = 1e6
    packed = pack_weights(model)
    dtypes = {entry["name"]: entry["dtype"] for entry in packed.table}
    assert dtypes["embeddings.LayerNorm.weight"] == "float32"
    assert packed.tensors()["embeddings.LayerNorm.weight"][0] == 1e6


def test_int8_is_within_half_a_step_of_each_row() -> None:
    model = small("BertForMaskedLM")
    packed = pack_weights(model, int8=True)
    own = model.state_dict()
    for name, value in packed.tensors().items():
        if value.dim() == 2:
            step = own[name].abs().amax(dim=1, keepdim=True) / 127
            assert ((value - own[name]).abs() <= 0.5001 * step).all(), name
    whole, scales = quantise(torch.tensor([[0.0, 0.0], [1.0, -2.0]]))
    assert whole.tolist() == [[0, 0], [64, -127]] and scales[1] == pytest.approx(2 / 127)


def test_a_copy_of_the_model_has_the_weights_of_the_page() -> None:
    model = small("BertForMaskedLM")
    before = model.bert.embeddings.word_embeddings.weight.clone()
    copy = with_weights(model, pack_weights(model, int8=True))
    assert torch.equal(model.bert.embeddings.word_embeddings.weight, before)
    assert copy.cls.predictions.decoder.weight is copy.bert.embeddings.word_embeddings.weight
    assert not torch.equal(copy.cls.predictions.decoder.weight, before)


def test_gzip_is_used_where_it_is_much_smaller() -> None:
    model = small()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5)
    assert not pack_weights(small()).compressed
    packed = pack_weights(model)
    assert packed.compressed and len(packed.content) < 0.1 * len(gzip.decompress(packed.content))


def test_a_model_too_large_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(weights, "LARGEST", 5000)
    with pytest.raises(InputError, match="--int8 makes it half as large"):
        pack_weights(small())
    monkeypatch.setattr(weights, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"any size\.$"):
        pack_weights(small(), int8=True)
