"""The readout is the model's own head on each hidden state."""

import json

import pytest
import torch

from minibert import InputError, edit, logit_lens, trace, zero_head
from tests.support.small_models import assert_no_trace, eager, inputs_for, small


@pytest.mark.parametrize("name", ["BertForMaskedLM", "BertForPreTraining"])
def test_each_row_is_the_head_on_a_hidden_state(name: str) -> None:
    model, inputs = small(name), inputs_for(name)
    found = logit_lens(model, inputs, k=4)
    assert found.ids.shape == found.probabilities.shape == (3, 4, 9, 4)
    assert found.target_ids.shape == (3, 9) and found.target_ranks.shape == (3, 4, 9)
    values = trace(model, inputs)
    names = ["bert.embeddings", *(f"bert.encoder.layer.{n}" for n in range(3))]
    for layer, point in enumerate(names):
        with torch.no_grad():
            chances = model.cls.predictions(values[point]).softmax(dim=-1)
        best = chances.sort(dim=-1, descending=True)
        assert torch.equal(found.ids[:, layer], best.indices[..., :4])
        assert torch.equal(found.probabilities[:, layer], best.values[..., :4])
        own = chances.gather(-1, found.target_ids[..., None])
        assert torch.equal(found.target_probabilities[:, layer], own[..., 0])
        assert torch.equal(found.target_ranks[:, layer], (chances > own).sum(-1) + 1)
    assert (found.target_ranks[:, -1] == 1).all() and found.target_ranks.max() > 5
    assert torch.equal(found.target_ids, found.ids[:, -1, :, 0])
    assert_no_trace(model)


def test_the_last_row_is_what_the_model_says() -> None:
    model, inputs = small("BertForMaskedLM"), inputs_for()
    logits = eager(model, inputs).logits
    found = logit_lens(model, inputs, k=1)
    assert torch.equal(found.ids[:, -1, :, 0], logits.argmax(-1))
    assert torch.equal(found.probabilities[:, -1, :, 0], logits.softmax(-1).amax(-1))


def test_one_text_and_targets() -> None:
    model = small("BertForMaskedLM")
    inputs = {"input_ids": torch.tensor([[3, 7, 11]])}
    found = logit_lens(model, inputs, k=2, targets=[3, 7, 11])
    assert found.ids.shape == (4, 3, 2) and found.target_ids.tolist() == [3, 7, 11]
    assert found.target_ranks.shape == (4, 3)
    same = logit_lens(model, inputs, k=60)
    place = (same.ids[2, 1] == 7).nonzero().item()
    assert found.target_ranks[2, 1] == place + 1
    assert found.target_probabilities[2, 1] == same.probabilities[2, 1, place]
    content = json.loads(json.dumps(found.to_dict()))
    assert content["ids"] == found.ids.tolist()


def test_edits_act() -> None:
    model, inputs = small("BertForMaskedLM"), inputs_for()
    before = logit_lens(model, inputs)
    with edit(model, "bert.encoder.layer.1.attention.self.context_heads", zero_head(0)):
        after = logit_lens(model, inputs)
    assert torch.equal(before.probabilities[:, :2], after.probabilities[:, :2])
    assert (before.probabilities[:, 2:] - after.probabilities[:, 2:]).abs().max() > 1e-3
    assert_no_trace(model)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("BertModel", {}, "BertModel has no masked-language-modelling head"),
        ("BertForNextSentencePrediction", {}, "has no masked-language-modelling head"),
        ("BertForMaskedLM", {"k": 0}, "k is 0; expected 1 to 60"),
        ("BertForMaskedLM", {"k": 61}, "k is 61; expected 1 to 60"),
        ("BertForMaskedLM", {"targets": [1, 2]}, r"targets has shape \(2,\), expected \(9,\) or \(3, 9\)"),
        ("BertForMaskedLM", {"targets": [60] * 9}, "targets holds 60"),
    ],
)
def test_mistakes_are_sentences(name: str, arguments, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        logit_lens(small(name), inputs_for(), **arguments)
