"""A watch on a part of a model, and a part that two models share: the mask hides the same tokens as ever."""

import pytest
import torch

import minibert
from minibert import edit
from minibert.watch import Watch
from tests.parity.compare import largest_difference
from tests.parity.tolerances import EAGER_AGAINST_SDPA
from tests.support.small_models import assert_no_trace, assert_same_bits, eager, inputs_for, small


@pytest.mark.parametrize("chunk", [0, 4])
def test_a_watched_encoder_gives_the_numbers_of_the_eager_model(chunk: int) -> None:
    model, inputs = small(chunk_size_feed_forward=chunk), inputs_for()
    assert not inputs["attention_mask"].all()
    seen = []
    with torch.no_grad(), Watch(model.encoder, lambda name, value: seen.append(name) or value):
        found = model(**inputs)
    assert "layer.2.attention.self.masked_scores" in seen
    assert_same_bits(found, eager(model, inputs))
    assert_no_trace(model)


@pytest.mark.parametrize("part", ["encoder.layer.1", "encoder.layer.1.attention", "encoder.layer.1.attention.self"])
def test_watched_attention_beside_fused_attention(part: str) -> None:
    model, inputs = small(), inputs_for()
    with torch.no_grad():
        expected = model(**inputs).last_hidden_state
        with Watch(model.get_submodule(part), lambda _name, value: value):
            found = model(**inputs).last_hidden_state
    assert 0 < largest_difference(found, expected) <= EAGER_AGAINST_SDPA


@pytest.mark.parametrize("shape", ["(B, T)", "(B, T, T)", "(B, 1, T, T)", "added"])
def test_every_kind_of_mask_hides_the_same_tokens_from_a_watched_encoder(shape: str) -> None:
    model, inputs = small(), inputs_for()
    mask = inputs["attention_mask"]
    wide = mask[:, None, :].expand(-1, mask.shape[1], -1).bool()
    given = {
        "(B, T)": mask,
        "(B, T, T)": wide.long(),
        "(B, 1, T, T)": wide[:, None],
        "added": torch.where(wide[:, None], 0.0, torch.finfo(torch.float32).min),
    }[shape]
    with torch.no_grad(), Watch(model.encoder, lambda _name, value: value):
        found = model(**inputs | {"attention_mask": given})
    assert_same_bits(found, eager(model, inputs))


def test_an_edit_on_one_of_two_models_that_share_an_encoder_moves_the_other_by_rounding_alone() -> None:
    one, other, inputs = small("BertForMaskedLM"), small("BertForTokenClassification"), inputs_for()
    other.bert.encoder = one.bert.encoder
    with torch.no_grad():
        expected = other(**inputs).logits
        with edit(one, "bert.encoder.layer.1.attention.self.scores", lambda value: value):
            found = other(**inputs)
        assert_no_trace(one)
        assert largest_difference(found.logits, expected) <= EAGER_AGAINST_SDPA * expected.abs().max()
        one.set_attn_implementation("eager")  # the attention's config is that of the model it was made for
        assert_same_bits(found, other(**inputs))


@pytest.mark.parametrize("name", ["BertEncoder", "BertLayer"])
def test_a_boolean_mask_given_to_a_part_is_not_added_to_the_scores(name: str) -> None:
    fused, inputs = small(), inputs_for()
    written = small(attn_implementation="eager")
    hidden_states = torch.randn(3, 9, 12, generator=torch.Generator().manual_seed(0))
    mask = inputs["attention_mask"].bool()[:, None, None, :].expand(-1, 1, 9, -1)
    found, expected = (
        model.encoder(hidden_states, mask).last_hidden_state
        if name == "BertEncoder"
        else model.encoder.layer[0](hidden_states, mask)
        for model in (written, fused)
    )
    assert largest_difference(found, expected) <= EAGER_AGAINST_SDPA
    assert isinstance(written, minibert.BertModel)
