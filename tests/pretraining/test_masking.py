"""Masks: how many, which, what becomes of them; and that nothing but seed, epoch and number decides."""

import pytest
import torch
from torch import Tensor

from minibert.losses import IGNORE_INDEX
from minibert.pretraining.examples import continuing_pieces, ordinary_pieces
from minibert.pretraining.masking import Masking
from tests.support.texts import SPECIAL, tokenizer

TOKENIZER = tokenizer()
V, MASK, PAD, UNK, CLS, SEP = len(TOKENIZER), 4, 0, 1, 2, 3
FIRST = len(SPECIAL)  # the first piece that is no special token


def masking(**settings) -> Masking:
    return Masking(MASK, ordinary_pieces(TOKENIZER), continuing_pieces(TOKENIZER), **settings)


def rows(count: int, pieces: int, T: int | None = None, seed: int = 0) -> Tensor:
    """[CLS] pieces [SEP], padded to T."""
    ids = torch.randint(FIRST, V, (count, pieces), generator=torch.Generator().manual_seed(seed))
    one = torch.ones(count, 1, dtype=torch.int64)
    padding = torch.full((count, (T or pieces + 2) - pieces - 2), PAD)
    return torch.cat([CLS * one, ids, SEP * one, padding], dim=1)


def hide(input_ids: Tensor, epoch: int = 0, **settings) -> tuple[Tensor, Tensor]:
    mask, (B, T) = masking(**settings), input_ids.shape
    return mask.mask(input_ids, mask.draw(0, epoch, range(B), [T] * B, T))


@pytest.mark.parametrize("pieces", [1, 2, 3, 4, 9, 10, 11, 30, 50, 125])
@pytest.mark.parametrize("whole_word", [False, True])
def test_as_many_as_googles_rule_says(pieces: int, whole_word: bool) -> None:
    input_ids = rows(50, pieces, pieces + 7)
    if whole_word:
        input_ids[input_ids >= FIRST] = FIRST + 20  # words of one piece
    _, labels = hide(input_ids, whole_word=whole_word)
    assert ((labels != IGNORE_INDEX).sum(1) == max(1, round(0.15 * pieces))).all()


def test_labels_are_the_pieces_that_stood_there() -> None:
    input_ids = rows(100, 60, 70)
    hidden, labels = hide(input_ids)
    asked = labels != IGNORE_INDEX
    assert torch.equal(labels[asked], input_ids[asked])
    assert torch.equal(hidden[~asked], input_ids[~asked])


def test_special_tokens_are_never_chosen_and_never_put_in() -> None:
    input_ids = rows(400, 40, 50)
    input_ids[:, 5:25] = UNK
    hidden, labels = hide(input_ids)
    assert (labels[input_ids < FIRST] == IGNORE_INDEX).all()
    assert ((labels != IGNORE_INDEX).sum(1) == 3).all()  # 15% of the 20 that are left
    new = hidden[hidden != input_ids]
    assert ((new == MASK) | (new >= FIRST)).all()
    hidden, labels = hide(torch.tensor([[CLS, SEP, PAD], [CLS, UNK, SEP]]))
    assert (labels == IGNORE_INDEX).all() and hidden.tolist() == [[CLS, SEP, PAD], [CLS, UNK, SEP]]


def test_eighty_ten_ten() -> None:
    input_ids = rows(4000, 100)
    hidden, labels = hide(input_ids)
    asked = labels != IGNORE_INDEX
    n = int(asked.sum())  # 60,000: a standard error of 0.16 points for 80%
    kept = (hidden == input_ids)[asked].double().mean()
    masked = (hidden == MASK)[asked].double().mean()
    assert n == 4000 * 15
    assert masked == pytest.approx(0.8, abs=0.007)
    assert kept == pytest.approx(0.1 + 0.1 / (V - FIRST), abs=0.005)
    random_pieces = hidden[asked & (hidden != MASK) & (hidden != input_ids)]
    counts = torch.bincount(random_pieces, minlength=V)[FIRST:].double()
    assert (counts > 0).all()  # the whole vocabulary; 45 of each are expected
    expected = len(random_pieces) / (V - FIRST)
    assert float(((counts - expected) ** 2 / expected).sum()) < 1.5 * (V - FIRST)  # chi-squared


def test_every_place_is_as_likely() -> None:
    _, labels = hide(rows(6000, 20))
    share = (labels != IGNORE_INDEX).double().mean(0)[1:-1]
    assert share == pytest.approx(torch.full((20,), 0.15).double(), abs=0.018)


def test_drawn_afresh_each_epoch_and_from_nothing_else() -> None:
    input_ids, mask = rows(8, 40), masking()
    chance = mask.draw(1, 2, range(8), [42] * 8, 42)
    others = mask.draw(1, 3, range(8), [42] * 8, 42), mask.draw(2, 2, range(8), [42] * 8, 42)
    assert not any(torch.isclose(chance, other).any() for other in others)
    assert not torch.isclose(chance[0], chance[1]).any()
    alone = mask.draw(1, 2, [5], [42], 42)
    assert torch.equal(alone[0], chance[5])
    padded = torch.cat([input_ids, torch.full((8, 5), PAD)], dim=1)
    wide = mask.draw(1, 2, range(8), [42] * 8, 47)
    assert torch.equal(wide[:, :, :42], chance) and (wide[:, :, 42:] == 1).all()
    for short, long in zip(mask.mask(input_ids, chance), mask.mask(padded, wide), strict=True):
        assert torch.equal(short, long[:, :42])


def test_whole_words() -> None:
    """Three of ten words have three pieces; words are hidden whole or not at all, and never more than 15%."""
    word, ending = TOKENIZER.convert_tokens_to_ids(["bake", "##ing"])
    long, short = [word, ending, ending], [word]
    row = [CLS, *(long + short + short) * 12, SEP]
    input_ids = torch.tensor([row] * 300)
    hidden, labels = hide(input_ids, whole_word=True)
    asked = labels != IGNORE_INDEX
    assert (asked.sum(1) <= 9).all() and (asked.sum(1) >= 7).all()  # round(0.15 * 60) = 9; two may not be filled
    begins = torch.arange(1, 61, 5)
    assert torch.equal(asked[:, begins], asked[:, begins + 1]) and torch.equal(asked[:, begins], asked[:, begins + 2])
    assert 0.05 < asked[:, begins].double().mean() < 0.2 and asked[:, begins + 3].double().mean() > 0.05
    fates = (hidden == MASK)[:, begins][asked[:, begins]] == (hidden == MASK)[:, begins + 1][asked[:, begins]]
    assert 0.5 < fates.double().mean() < 0.9  # each piece has a fate of its own, as Google's


def test_a_word_longer_than_the_number_is_taken_where_there_is_no_other() -> None:
    word, ending = TOKENIZER.convert_tokens_to_ids(["bake", "##ing"])
    _, labels = hide(torch.tensor([[CLS, word, ending, word, ending, ending, SEP]] * 50), whole_word=True)
    asked = labels != IGNORE_INDEX
    assert set(asked.sum(1).tolist()) == {2, 3}
