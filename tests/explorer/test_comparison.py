"""Two texts and masked pieces: the page's numbers are those of the functions that Python has for them."""

import pytest
import torch

from minibert import BertTokenizer, Embedder, InputError
from minibert.embedding.similarity import word_similarity
from minibert.explorer.content import content_of, trace_text
from minibert.explorer.live import Live
from minibert.explorer.packing import unpack
from minibert.explorer.text import tokenize
from minibert.explorer.views import predictions_when_masked
from minibert.lens.logit_lens import logit_lens
from tests.explorer.conftest import FIRST, SECOND


def words_of(model, tokenizer, *texts: str) -> list[dict]:
    return content_of(model, tokenizer, texts, name="tiny", samples=0)["comparison"]["words"]


@pytest.mark.parametrize("texts", [(FIRST, SECOND), (SECOND, FIRST)])
def test_matched_positions_are_those_of_word_similarity(model, tokenizer, texts) -> None:
    embedder = Embedder(model.bert, tokenizer)
    (bank,) = [entry for entry in words_of(model, tokenizer, *texts) if entry["word"] == "bank"]
    for name, match in (("cosines", False), ("matched", True)):
        expected = word_similarity(embedder, "bank", texts, match_positions=match).cosines[:, 0]
        torch.testing.assert_close(torch.tensor(bank[name]), expected.float(), rtol=0, atol=1e-5)
    assert {bank["first"][0], bank["second"][0]} == {5, 7}
    assert bank["matched"][0] == pytest.approx(1, abs=1e-6) and bank["cosines"][0] < 0.99


def test_unknown_words_are_not_the_same_word(model, tokenizer) -> None:
    """[UNK] stands for any of them; a mask that is typed is the same in both texts."""
    words = words_of(model, tokenizer, "he sat 龍 [MASK]", "she 虎 sat [MASK]")
    assert [(e["word"], e["first"], e["second"]) for e in words] == [("sat", (2,), (3,)), ("[MASK]", (4,), (4,))]


def test_matched_positions_where_nothing_moves_and_where_there_is_no_room(model, tokenizer) -> None:
    (same,) = [e for e in words_of(model, tokenizer, "she sat", "he sat") if e["word"] == "sat"]
    assert same["matched"] == pytest.approx(same["cosines"])
    words = words_of(model, tokenizer, "bank " + "the " * 317, "he put the bank")
    assert [e["matched"] for e in words if e["word"] == "bank"] == [None]  # 319 + 2 tokens; 320 positions


def test_only_so_many_runs_with_positions_moved(model, tokenizer, monkeypatch) -> None:
    from minibert.explorer import views

    calls = []
    kept = views.hidden_states
    monkeypatch.setattr(views, "hidden_states", lambda *given: calls.append(given[2]) or kept(*given))
    monkeypatch.setattr(views, "MATCHED", 3)
    words = words_of(model, tokenizer, "the river bank of the river", "the the the money river the bank the")
    assert len(calls) == 3
    assert {entry["matched"] is None for entry in words if entry["word"] == "river"} == {False}
    assert {entry["matched"] is None for entry in words} == {True, False}


def test_a_masked_piece_is_the_mask_tokens_id(model, tokenizer) -> None:
    tokenized = tokenize(model, tokenizer, FIRST, (5,))
    expected = tokenizer(FIRST.replace("bank", "[MASK]"), return_tensors="pt")["input_ids"]
    assert torch.equal(tokenized.inputs["input_ids"], expected)
    about = tokenized.describe()
    assert (about["tokens"][5], about["original_tokens"][5], about["masked"], about["mask_positions"]) == (
        "[MASK]",
        "bank",
        [5],
        [5],
    )
    typed = tokenize(model, tokenizer, "the [MASK] bank").describe()
    assert (typed["masked"], typed["mask_positions"]) == ([], [2])
    for position in (-1, 0, 10, 11, 99):
        with pytest.raises(InputError, match=f"no word piece at position {position} to be masked"):
            tokenize(model, tokenizer, FIRST, (position,))


def test_without_a_mask_token_nothing_is_masked(model) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "bank"]
    tokenizer = BertTokenizer({token: number for number, token in enumerate(vocabulary)}, mask_token=None)
    with pytest.raises(InputError, match="no mask token"):
        tokenize(model, tokenizer, "bank", (1,))
    assert predictions_when_masked(model, tokenizer, tokenize(model, tokenizer, "bank"), 3) is None


def test_predictions_when_masked_are_those_of_the_masked_text(model, tokenizer, monkeypatch) -> None:
    from minibert.explorer import views

    monkeypatch.setattr(views, "TOKENS_AT_ONCE", 40)  # so that the copies are cut into chunks
    traced = trace_text(model, tokenizer, FIRST)
    found = predictions_when_masked(model, tokenizer, traced.text, traced.detail.tokens, "float32")
    assert found is not None
    guesses = unpack(found["tensors"]["probabilities"])
    assert guesses.shape == (4, 11, 5)
    for position in (1, 5, 8):
        expected = logit_lens(model, tokenize(model, tokenizer, FIRST, (position,)).inputs)
        torch.testing.assert_close(guesses[:, position], expected.probabilities[:, position], rtol=0, atol=1e-6)
        ids = expected.ids[:, position]
        assert [row[position] for row in found["pieces"]] == [tokenizer.convert_ids_to_tokens(row) for row in ids]


def test_live_questions_carry_masks(model, tokenizer) -> None:
    live = Live(model, tokenizer, "tiny")
    given = {"texts": [FIRST, SECOND], "masked": [[5], []]}
    first, second = live.runs(given)["runs"]
    assert first["tokens"][5] == "[MASK]" and second["mask_positions"] == []
    (edited, _) = live.edits(given | {"heads": [[0, 0]]})["runs"]
    assert edited["predictions"]["pieces"][0][5] == first["predictions"]["pieces"][0][5]  # the embeddings are the same
    assert live.sensitivity({"text": FIRST, "masked": [5]})["samples"] == 4
    assert list(live._cache) == [(SECOND, ()), (FIRST, (5,))]
    for masked in ("5", [[5]], [[5], 3], [["5"], []], [[True], []], [[0], []], [[99], []]):
        with pytest.raises(InputError, match=r"list of positions for each text|no word piece at position"):
            live.runs(given | {"masked": masked})
