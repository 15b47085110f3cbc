"""Passages and pairs: nothing is lost, nothing is cut inside a word, and nothing but meaning tells A's own B."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert import BertTokenizer, InputError
from minibert.losses import IGNORE_INDEX
from minibert.pretraining import pairs as pairing
from minibert.pretraining.documents import Document
from minibert.pretraining.examples import PretrainingExamples, continuing_pieces
from minibert.pretraining.leakage_probe import probe_accuracy
from minibert.pretraining.pairs import RANDOM, TRUE, Pairs
from minibert.pretraining.passages import Passages, pack
from minibert.pretraining.surface_features import KINDS
from minibert.pretraining.tokenized import TokenizedText
from minibert.training.examples import generator
from tests.support.texts import ENGLISH, KOREAN, books, revealing_text, reviews, tokenizer

TOKENIZER = tokenizer()
CONTINUES = continuing_pieces(TOKENIZER)


def text_of(*documents: list[str]) -> TokenizedText:
    return TokenizedText.of([Document(sentences, "x", 1) for sentences in documents], TOKENIZER)


def packed(text: TokenizedText, max_length: int = 32, short_share: float = 0.1, seed: int = 0) -> Passages:
    return pack(text, CONTINUES, max_length=max_length, short_share=short_share, seed=seed)


def spans(passages: Passages) -> list[tuple[int, int]]:
    """The pieces of each passage, from and up to."""
    return list(zip(passages.starts[passages.first].tolist(), passages.starts[passages.end].tolist(), strict=True))


WORDS = st.lists(
    st.sampled_from([*ENGLISH[:4], "bakes", "baking", KOREAN[0] + "는", "bake,bake", "?"]), min_size=1, max_size=60
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(WORDS.map(" ".join), min_size=1, max_size=9), min_size=1, max_size=5), st.integers(8, 40))
def test_every_piece_is_in_one_passage_and_no_word_is_cut(documents: list[list[str]], max_length: int) -> None:
    text = text_of(*documents)
    passages = packed(text, max_length)
    found = spans(passages)
    assert [begin for begin, _ in found] == [0, *(end for _, end in found[:-1])] and found[-1][1] == len(text.pieces)
    assert all(0 < end - begin <= max_length - 3 for begin, end in found)
    boundaries = torch.tensor([begin for begin, _ in found])
    assert not CONTINUES[text.pieces[boundaries].long()].any()
    assert not CONTINUES[text.pieces[passages.starts[:-1]].long()].any()  # nor by the cut of a long sentence
    beginnings = text.sentences[text.documents].tolist()
    for (begin, end), document in zip(found, passages.document.tolist(), strict=True):
        assert beginnings[document] <= begin < end <= beginnings[document + 1]


def test_a_long_sentence_is_cut_at_spaces_into_equal_parts() -> None:
    passages = packed(text_of([" ".join(["bakes,"] * 20)]), max_length=33, short_share=0)  # 60 pieces, 3 a stretch
    assert passages.starts.tolist() == [0, 30, 60]
    passages = packed(text_of(["-".join(["bakes"] * 20)]), max_length=33, short_share=0)  # no space: between two words
    assert len(passages.starts) == 3 and not CONTINUES[text_of(["-".join(["bakes"] * 20)]).pieces[passages.starts[1]]]


def test_a_word_without_room_is_left_out() -> None:
    pieces = [*["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]]
    tokenizer = BertTokenizer({piece: number for number, piece in enumerate(pieces)}, do_lower_case=False)
    text = TokenizedText.of([Document(["a a " + "a" + "b" * 20 + " a"], "x", 1)], tokenizer)
    passages = pack(text, continuing_pieces(tokenizer), max_length=8, short_share=0, seed=0)
    assert spans(passages) == [(0, 2), (23, 24)]
    with pytest.raises(InputError, match="No sentence of the text fits into 8 tokens"):
        only = TokenizedText.of([Document(["a" + "b" * 20], "x", 1)], tokenizer)
        pack(only, continuing_pieces(tokenizer), max_length=8, short_share=0, seed=0)
    with pytest.raises(InputError, match="max_length is 4; .* needs at least 5 tokens"):
        packed(text, max_length=4)


def test_passages_are_full_but_for_the_short_ones() -> None:
    text = revealing_text()
    full, some, short = (packed(text, 64, share) for share in (0, 0.1, 1))
    lengths = [torch.tensor([end - begin for begin, end in spans(passages)]) for passages in (full, some, short)]
    last = full.document != torch.cat([full.document[1:], torch.tensor([-1])])
    assert lengths[0][~last].float().mean() > 0.9 * 61  # a sentence has 12 pieces at most
    assert lengths[0].float().mean() > lengths[1].float().mean() > lengths[2].float().mean()
    single = full.end - full.first == 1
    assert not (single & ~last).any()  # two sentences that fit are together


def test_a_passage_of_one_sentence_is_no_pair() -> None:
    examples = PretrainingExamples(text_of(*[["bake till bust."]] * 20, ["bake.", "till."]), TOKENIZER, max_length=32)
    pairs = examples.pairs(0)
    assert (pairs.cut[:20] == examples.passages.end[:20]).all() and not len(pairs.couples)
    assert (examples.collate(range(len(examples)), 0)["next_sentence_label"] == IGNORE_INDEX).all()
    assert pairs.cut[20] == 21  # the only pair has nobody to exchange with
    assert examples.summary() == {
        "passages": 21, "of_one_sentence": 20, "without_partner": 1, "true_pairs": 0, "random_pairs": 0,
        "tokens": 2 * (20 * 6 + 7),
    }  # fmt: skip


@pytest.fixture(scope="module")
def examples() -> PretrainingExamples:
    return PretrainingExamples(revealing_text(), TOKENIZER, max_length=64, seed=5)


def test_every_a_and_every_b_stands_in_both_halves(examples: PretrainingExamples) -> None:
    pairs, passages, N = examples.pairs(0), examples.passages, len(examples.passages)
    one, two = pairs.couples.T
    assert len(set(pairs.couples.flatten().tolist())) == 2 * len(one) > 0.7 * N
    assert (passages.document[one] != passages.document[two]).all()
    assert (passages.first < pairs.cut).all() and (pairs.cut <= passages.end).all()
    partners = pairs.partners()
    assert (
        (partners[one] == two).all() and (partners[two] == one).all() and (partners[partners] == torch.arange(N)).all()
    )
    labels = examples.collate(range(2 * N), 0)["next_sentence_label"]
    coupled = partners != torch.arange(N)
    assert (labels[:N] == torch.where(coupled, TRUE, IGNORE_INDEX)).all()
    assert (labels[N:] == torch.where(coupled, RANDOM, IGNORE_INDEX)).all()


def test_a_couple_is_in_one_step(examples: PretrainingExamples) -> None:
    N, couples = len(examples.passages), examples.pairs(2).couples.tolist()
    where = {number: place for place, step in enumerate(examples.steps(2)) for number in step}
    assert len(where) == len(examples) == 2 * N
    for one, two in couples:
        assert where[one] == where[two] == where[N + one] == where[N + two]


def test_b_looks_as_the_one_it_is_exchanged_for(examples: PretrainingExamples) -> None:
    pairs, passages, surface = examples.pairs(0), examples.passages, examples.surface
    one, two = pairs.couples.T
    own, other = ((pairs.cut[whose], passages.end[whose]) for whose in (one, two))
    longer = surface.lengths(*other) - surface.lengths(*own)
    assert (longer.abs() <= pairing.SPREAD).all() and (longer > 0).any() and (longer < 0).any()
    assert (surface.borders(*own) == surface.borders(*other))[:, [0, 3]].all()
    quotes = KINDS.index("double quote")
    assert (surface.counts(*own)[:, quotes] == surface.counts(*other)[:, quotes]).all()
    languages = examples.languages()
    assert (languages[one] == languages[two]).all()
    hangul, letters = KINDS.index("hangul"), KINDS.index("letter")
    scripts = surface.counts(*other)[:, [hangul, letters]] > 0
    assert (scripts.sum(1) == 1).all()


def test_what_is_exchanged_fits(examples: PretrainingExamples) -> None:
    for number in range(len(examples.passages), len(examples)):
        assert examples.collate([number], 0)["input_ids"].shape[1] <= examples.lengths[number] <= 64


def test_an_epoch_is_a_pure_function_of_seed_and_number(examples: PretrainingExamples) -> None:
    again = PretrainingExamples(revealing_text(), TOKENIZER, max_length=64, seed=5)
    other = PretrainingExamples(revealing_text(), TOKENIZER, max_length=64, seed=6)
    for epoch in (3, 0, 3):
        assert torch.equal(examples.pairs(epoch).cut, again.pairs(epoch).cut)
        assert torch.equal(examples.pairs(epoch).couples, again.pairs(epoch).couples)
    here, there = examples.pairs(3), examples.pairs(0)
    numbers = torch.arange(len(here.cut))
    both = (here.partners() != numbers) & (there.partners() != numbers)
    assert both.sum() > 100 and (here.partners() == there.partners())[both].float().mean() < 0.2
    assert 0.05 < (here.cut == there.cut).float().mean() < 0.6
    assert again.lengths == examples.lengths != other.lengths


def test_each_once_takes_the_closest_first() -> None:
    owner = torch.tensor([0, 0, 1, 2, 3])
    near = torch.tensor([[0, 2], [1, 3], [2, 4], [3, 4]])
    assert pairing.each_once(owner, near, 4).tolist() == [[0, 2], [3, 4]]
    assert pairing.each_once(owner, near[:0], 4).shape == (0, 2)


def test_every_way_to_cut_is_possible(examples: PretrainingExamples) -> None:
    passages = examples.passages
    is_free = passages.end - passages.first > 1
    is_free[3] = False
    found = set()
    for seed in range(12):
        owner, place = pairing.possible_cuts(passages, examples.surface, is_free, 1, generator(seed))
        found |= set(zip(owner.tolist(), place.tolist(), strict=True))
    every = {
        (number, place)
        for number, (first, end) in enumerate(zip(passages.first.tolist(), passages.end.tolist(), strict=True))
        for place in range(first + 1, end)
        if number != 3
    }
    assert found <= every and len(found) > 0.99 * len(every)


def test_couples_are_as_long_as_asked_for(examples: PretrainingExamples) -> None:
    shortest = 12
    longer = PretrainingExamples(examples.text, TOKENIZER, max_length=64, seed=4, shortest=shortest)
    pairs, passages = longer.pairs(0), longer.passages
    who = pairs.couples.flatten()
    lengths = longer.surface.lengths
    assert len(who) > 20
    assert lengths(passages.first[who], pairs.cut[who]).min() >= shortest
    assert lengths(pairs.cut[who], passages.end[who]).min() >= shortest
    sizes = lengths(passages.first, passages.end)
    assert (sizes[longer.pairs(0).partners() == torch.arange(len(passages))] < 2 * shortest).any()  # shown all the same


def naive_pairs(passages: Passages, seed: int) -> Pairs:
    """What suggests itself: cut anywhere, and exchange the B's of any two passages."""
    draw = generator(seed)
    sizes = passages.end - passages.first
    cut = passages.first + 1 + (torch.rand(len(sizes), generator=draw) * (sizes - 1)).long()
    long = (sizes > 1).nonzero()[:, 0]
    return Pairs(cut, long[torch.randperm(len(long), generator=draw)][: len(long) // 2 * 2].reshape(-1, 2))


def test_the_probe_finds_what_a_naive_scheme_leaks(examples: PretrainingExamples) -> None:
    naive = naive_pairs(examples.passages, 1)
    accuracy = probe_accuracy(examples, naive)
    assert accuracy > 0.85


def test_the_probe_must_guess(examples: PretrainingExamples) -> None:
    big = PretrainingExamples(revealing_text(3000), TOKENIZER, max_length=64, seed=5)
    accuracies = [probe_accuracy(big, epoch) for epoch in range(3)]
    assert abs(sum(accuracies) / 3 - 0.5) < 0.02, accuracies


def test_the_probe_needs_pairs() -> None:
    few = PretrainingExamples(revealing_text(20), TOKENIZER, max_length=64)
    with pytest.raises(InputError, match=r"There are \d+ pairs; a probe needs at least 200"):
        probe_accuracy(few, 0)


@pytest.fixture(scope="module")
def real(shared) -> dict[str, PretrainingExamples]:
    vocabulary = BertTokenizer.from_pretrained(shared / "vocab" / "bert-base-multilingual-cased")
    documents = {
        "books": books(shared / "data" / "gutenberg"),
        "reviews": reviews(shared / "data" / "ko-reviews")[:30_000],
    }
    return {name: PretrainingExamples.of(found, vocabulary) for name, found in documents.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["books", "reviews"])
def test_real_text_does_not_leak(real: dict[str, PretrainingExamples], name: str) -> None:
    examples = real[name]
    accuracies = [probe_accuracy(examples, epoch) for epoch in range(3)]
    assert abs(sum(accuracies) / 3 - 0.5) < 0.02, accuracies
    naive = probe_accuracy(examples, naive_pairs(examples.passages, 1))
    assert naive > 0.58
    summary = examples.summary()
    assert summary["without_partner"] < 0.4 * (summary["passages"] - summary["of_one_sentence"])
