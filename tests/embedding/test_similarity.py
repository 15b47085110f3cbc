"""One word in several places: found, compared in every layer, and told apart by a real model."""

import pytest
import torch
import torch.nn.functional as F

from minibert import InputError, word_similarity


def test_a_real_model_tells_the_bank_of_a_river_from_the_one_with_money(minilm_embedder) -> None:
    """The word is the fifth piece of each text, so that before the layers nothing sets the three apart."""
    texts = [
        "He sat on the bank of the river.",
        "They camped along the bank of the stream.",
        "He borrowed from the bank to buy a car.",
    ]
    found = word_similarity(minilm_embedder, "bank", texts)
    assert [list(word.positions) for word in found.occurrences] == [[5], [5], [5]]
    same, other, another = found.cosines.T
    assert (found.cosines[0] - 1).abs().max().item() <= 1e-6
    advantage = same - torch.maximum(other, another)  # measured 0.05 in layer 2, then 0.06 to 0.12
    assert (advantage[3:] > 0.05).all()


def test_every_layer_is_the_readable_models(minilm_embedder) -> None:
    texts = ["He sat on the bank of the river.", "The bank lent another bank money."]
    found = word_similarity(minilm_embedder, "bank", texts)
    assert [(word.start, number) for word, number in zip(found.occurrences, found.text_numbers, strict=True)] == [
        (14, 0),
        (4, 1),
        (22, 1),
    ]
    rows = []
    for text, places in zip(texts, ([5], [2, 5]), strict=True):
        with torch.no_grad():
            output = minilm_embedder.model(
                **minilm_embedder.tokenizer(text, return_tensors="pt"), output_hidden_states=True
            )
        rows += [torch.stack([states[0, place] for states in output.hidden_states]) for place in places]
    assert found.pairs == ((0, 1), (0, 2), (1, 2))
    assert found.vectors.shape == (3, 7, 384)
    for layer in range(7):
        for number, (a, b) in enumerate(found.pairs):
            expected = F.cosine_similarity(rows[a][layer], rows[b][layer], dim=0)
            assert abs(found.cosines[layer, number] - expected).item() <= 1e-6
            assert abs(found.matrix(layer)[a, b] - expected).item() <= 1e-6


def test_matched_positions_are_the_readable_models_with_position_ids(minilm_embedder) -> None:
    texts = ["The bank lent another bank money.", "He sat on the bank of the river."]
    plain = word_similarity(minilm_embedder, "bank", texts)
    found = word_similarity(minilm_embedder, "bank", texts, match_positions=True)
    assert (plain.position_ids, plain.same_position, plain.matched) == ((2, 5, 5), False, False)
    assert (found.position_ids, found.same_position, found.matched) == ((5, 5, 5), True, True)
    assert (found.cosines[0] - 1).abs().max().item() <= 1e-6  # one piece, one segment, one position
    assert (plain.cosines[0, :2] < 0.99).all()
    inputs = minilm_embedder.tokenizer(texts[0], return_tensors="pt")
    T = inputs["input_ids"].shape[1]
    position_ids = torch.tensor([[0, *range(4, T + 3)]])  # [CLS] stays, the rest is three to the right
    with torch.no_grad():
        states = minilm_embedder.model(**inputs, position_ids=position_ids, output_hidden_states=True).hidden_states
    for number, state in enumerate(states):
        assert (found.vectors[0, number] - state[0, 2]).abs().max().item() <= 1e-5
    assert (found.vectors[1:] - plain.vectors[1:]).abs().max().item() <= 1e-5  # these two did not move
    assert found.to_dict()["matched_positions"] is True


def test_a_text_without_room_is_not_moved(tiny) -> None:
    texts = ["bank " + "tree " * 28, "the river by the bank"]
    with pytest.raises(
        InputError, match=r"has 31 tokens and would be moved 4 positions .* this model has 32 positions"
    ):
        word_similarity(tiny, "bank", texts, match_positions=True)
    assert not word_similarity(tiny, "bank", texts).same_position


def test_in_windows_the_position_is_the_windows(tiny) -> None:
    found = word_similarity(tiny, "bank", "river " * 50 + "bank " + "tree " * 50 + "bank")
    assert all(0 < position < 32 for position in found.position_ids)
    # 102 pieces, windows of 30 that share 16: the last begins with piece 84 and holds the last piece, 101, as its 18th.
    assert found.position_ids[1] == 18 and found.occurrences[1].position_ids == (18,)


def test_korean_with_particles_and_several_places_in_one_text(tiny) -> None:
    found = word_similarity(tiny, "배", ["나는 배를 타고 배가 고프다", "담배"], "last")
    assert [(word.start, word.end) for word in found.occurrences] == [(3, 4), (9, 10), (1, 2)]
    content = found.to_dict()
    assert [entry["text"] for entry in content["occurrences"]] == [1, 1, 2]
    assert content["pairs"] == [[1, 2], [1, 3], [2, 3]]
    assert [row["hidden_state"] for row in content["hidden_states"]] == [0, 1, 2]
    assert len(word_similarity(tiny, "bank", "the bank by the bank").pairs) == 1


def test_far_into_a_long_text(tiny) -> None:
    text = "river " * 50 + "bank " + "tree " * 50 + "bank"
    found = word_similarity(tiny, "bank", text)
    assert [word.positions[0] for word in found.occurrences] == [51, 102]
    assert tiny.truncated == 0


def test_nothing_to_compare(tiny) -> None:
    with pytest.raises(InputError, match=r"The word 'bank' does not stand in text 2, 'the river'\."):
        word_similarity(tiny, "bank", ["the bank", "the river"])
    with pytest.raises(InputError, match=r"does not stand in text 1, 'tree tree .*…'\."):
        word_similarity(tiny, "bank", ["tree " * 50])
    with pytest.raises(InputError, match="nothing to compare 'bank' with"):
        word_similarity(tiny, "bank", "the bank")
    with pytest.raises(InputError, match="'max' is no pooling"):
        word_similarity(tiny, "bank", "the bank by the bank", "max")
