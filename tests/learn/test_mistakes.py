"""What the exercises of the lessons on pieces, inputs and trust say to a mistake: the mistake by its name."""

from collections.abc import Callable, Collection
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from minibert import BertModel, BertTokenizer
from minibert.learn import open_lesson

LOWEST = torch.finfo(torch.float32).min


@pytest.mark.parametrize(
    ("lesson", "exercise", "answer", "key"),
    [
        (1, "words", ["韓", "國", "語", "를", "배운다", "!"], "right"),
        (1, "words", ("韓國語를", "배운다!"), "spaces-alone"),
        (1, "words", ["韓國語", "를", "배운다", "!"], "ideographs-together"),
        (1, "words", ["韓", "國", "語", "를", "배운다!"], "punctuation"),
        (1, "words", ["韓", "國", "語를", "배운다", "!"], "last-ideograph"),
        (1, "words", ["韓", "國", "語", "를", "배", "운", "다", "!"], "syllables"),
        (1, "words", ["韓", "國", "語", "를", "배운다"], "dropped"),
        (1, "words", ["韓"], "other"),
        (1, "code-points", [5, 1, 3], "right"),
        (1, "code-points", [6, 2, 3], "marks-kept"),
        (1, "code-points", [5, 2, 3], "voicing-kept"),
        (1, "code-points", [5, 1, 1], "composed"),
        (1, "code-points", [5, 1, 4], "cluster"),
        (1, "code-points", (5, 1, 2), "coda-dropped"),
        (1, "code-points", 9, "other"),
        (1, "whose", ["multilingual-cased", "multilingual-uncased", "kcbert"], "right"),
        (1, "whose", ["Multilingual-Cased ", "multilingual-uncased", "KcBERT"], "right"),
        (1, "whose", ["multilingual-uncased", "multilingual-cased", "kcbert"], "case"),
        (1, "whose", ["kcbert", "multilingual-uncased", "multilingual-cased"], "size"),
        (1, "whose", ["kcbert"] * 3, "other"),
        (2, "segments", [0, 0, 0, 0, 0, 1, 1, 1], "right"),
        (2, "segments", torch.tensor([0, 0, 0, 0, 0, 1, 1, 1]), "right"),
        (2, "segments", [0, 0, 0, 0, 1, 1, 1, 1], "first-sep"),
        (2, "segments", [0, 0, 0, 0, 0, 1, 1, 0], "last-sep"),
        (2, "segments", [1, 1, 1, 1, 1, 0, 0, 0], "swapped"),
        (2, "segments", [1] * 8, "all-ones"),
        (2, "segments", [0] * 8, "all-zeros"),
        (2, "segments", [0, 0, 0, 1, 1], "no-special"),
        (2, "segments", [0, 0, 0, 0, 1, 1, 1], "one-sep"),
        (2, "segments", [0, 1], "length"),
        (2, "segments", [0, 1, 0, 1, 0, 1, 0, 1], "other"),
        (2, "trap", 0.0, "right"),
        (2, "trap", torch.tensor(0.0), "right"),
        (2, "trap", 1.0, "other"),
        (10, "ulps", 10, "right"),
        (10, "ulps", 10.486, "right"),
        (10, "ulps", 83.9, "unscaled"),
        (10, "ulps", 5.24, "next-power"),
        (10, "ulps", 20.97, "power-before"),
        (10, "ulps", 5.63e9, "double"),
        (10, "ulps", 7.99, "relative"),
        (10, "ulps", 1e-5, "other"),
        (10, "first", "encoder.layer.1.output", "right"),
        (10, "first", "encoder.layer.3.output", "largest"),
        (10, "first", "pooler", "last"),
        (10, "first", "layer.1.output", "right"),
        (10, "first", "encoder.layer.3.attention.self.context", "smallest"),
        (10, "first", "encoder.layer.1", "layer"),
        (10, "first", "encoder.layer.1.attention.output", "attention"),
        (10, "first", "encoder.layer.2.attention.self.query", "next"),
        (10, "first", "embeddings", "other"),
        (10, "blind", ["She sat by the window.", "배를 타고 여행을 간다."], "right"),
        (10, "blind", "She sat by the window.", "one-text"),
        (10, "blind", ["She sat by the window."], "one-text"),
        (10, "blind", ["She sat.", "He sat."], "equal-lengths"),
        (10, "blind", [1, 2], "other"),
        (10, "kernel", ("bert.encoder.layer.0.intermediate.dense.weight", (1024, 256)), "right"),
        (10, "kernel", ["encoder.layer.0.intermediate.dense.weight", torch.Size([1024, 256])], "right"),
        (10, "kernel", ("bert.encoder.layer.0.intermediate.dense.weight", (256, 1024)), "not-transposed"),
        (10, "kernel", ("bert.encoder.layer.0.intermediate.dense.kernel", (1024, 256)), "kernel"),
        (10, "kernel", ("bert.encoder.layer.0.intermediate.dense.kernel", (256, 1024)), "neither"),
        (10, "kernel", ("bert.encoder.layer_0.intermediate.dense.weight", (1024, 256)), "underscore"),
        (10, "kernel", ("pooler", (1024, 256)), "other"),
    ],
)
def test_an_answer_is_told_what_it_is(lesson: int, exercise: str, answer: Any, key: str) -> None:
    assert open_lesson(lesson).outcome(exercise, answer) == key


def wordpiece(
    ends: Callable[[int, int], range], lookup: str = "##", written: str = "##", rest: str = "whole"
) -> Callable[[str, Collection[str]], list[str]]:
    """A WordPiece as a learner may write it."""

    def pieces(word: str, vocabulary: Collection[str]) -> list[str]:
        found, start = [], 0
        while start < len(word):
            for end in ends(start, len(word)):
                if (lookup if start else "") + word[start:end] in vocabulary:
                    found.append((written if start else "") + word[start:end])
                    start = end
                    break
            else:
                return {"whole": ["[UNK]"], "part": [*found, "[UNK]"], "left out": found, "empty": []}[rest]
        return found

    return pieces


def longest(start: int, length: int) -> range:
    return range(length, start, -1)


def shortest(start: int, length: int) -> range:
    return range(start + 1, length + 1)


def from_the_right(word: str, vocabulary: Collection[str]) -> list[str]:
    if not word:
        return []
    for start in range(len(word)):
        piece = ("##" if start else "") + word[start:]
        if piece in vocabulary:
            before = from_the_right(word[:start], vocabulary)
            return before if before == ["[UNK]"] else [*before, piece]
    return ["[UNK]"]


@pytest.mark.parametrize(
    ("answer", "key"),
    [
        (wordpiece(longest), "right"),
        (lambda word, vocabulary: tuple(wordpiece(longest)(word, vocabulary)), "right"),
        (wordpiece(shortest), "shortest"),
        (wordpiece(longest, lookup="", written=""), "unmarked"),
        (wordpiece(longest, lookup=""), "unmarked"),
        (wordpiece(longest, written=""), "stripped"),
        (wordpiece(longest, rest="part"), "partly-unknown"),
        (wordpiece(longest, rest="left out"), "unknown-left-out"),
        (wordpiece(longest, rest="empty"), "empty"),
        (from_the_right, "from-the-right"),
        (wordpiece(shortest, rest="part"), "other"),
        (lambda word, vocabulary: None, "other"),
        (lambda word: [word], "other"),
    ],
)
def test_a_wordpiece_is_told_its_mistake(answer: Callable[..., Any], key: str) -> None:
    assert open_lesson(1).outcome("wordpiece", answer) == key


@torch.no_grad()
def test_embeddings_are_told_what_is_missing() -> None:
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    pair = tokenizer("배를 타고 여행을 간다.", "추석에 먹은 배가 맛있었다.", return_tensors="pt")
    ids, kinds, T = pair.input_ids[0], pair.token_type_ids[0], pair.input_ids.shape[1]
    tables = BertModel.from_pretrained("minibert-demo").embeddings
    words, norm = tables.word_embeddings.weight[ids], tables.LayerNorm
    segments, places = tables.token_type_embeddings.weight, tables.position_embeddings.weight
    restarted = [*range(int((kinds == 0).sum())), *range(int(kinds.sum()))]
    answers = {
        "right": norm(words + segments[kinds] + places[:T]),
        "one-segment": norm(words + segments[0] + places[:T]),
        "restarted": norm(words + segments[kinds] + places[restarted]),
        "from-one": norm(words + segments[kinds] + places[1 : T + 1]),
        "no-position": norm(words + segments[kinds]),
        "no-segment": norm(words + places[:T]),
        "words-alone": norm(words),
        "no-norm": words + segments[kinds] + places[:T],
        "shape": norm(words + segments[kinds] + places[:T])[:3],
        "other": torch.nn.functional.normalize(words),
    }
    assert {key: open_lesson(2).outcome("embeddings", answer) for key, answer in answers.items()} == {
        key: key for key in answers
    }


def test_masks_are_told_their_mistake() -> None:
    seen = torch.tensor([1.0, 1, 1, 1, 1, 1, 0, 0])
    answers = [
        ((1 - seen) * LOWEST, "right"),
        ((1 - seen) * -10000, "right"),
        (torch.where(seen.bool(), 0.0, -torch.inf), "right"),
        (((1 - seen) * LOWEST).expand(1, 1, 8, 8), "right"),
        ([0, 0, 0, 0, 0, 0, -1e9, -1e9], "right"),
        (seen * LOWEST, "inverted"),
        ((1 - seen) * 1e9, "inverted"),
        (seen, "ones"),
        (seen - 1, "too-small"),
        (((1 - seen) * LOWEST)[:, None], "column"),
        (torch.zeros(8), "column"),
        (torch.where(seen.bool(), 0.0, -torch.inf)[:, None].expand(8, 8) + torch.eye(8), "all-masked"),
        (torch.arange(8), "other"),
        (torch.zeros(3), "other"),
    ]
    for answer, key in answers:
        assert open_lesson(2).outcome("mask", answer) == key, answer


def test_segments_given_by_name_are_told_so() -> None:
    model = BertModel.from_pretrained("minibert-demo")
    ids = BertTokenizer.from_pretrained("minibert-demo")("The dog bit the man.", return_tensors="pt").input_ids
    with torch.no_grad():
        moved = model(ids, token_type_ids=torch.ones_like(ids))[0] - model(ids)[0]
    assert open_lesson(2).outcome("trap", float(moved.abs().max())) == "keyword"


@pytest.mark.parametrize(
    ("eps", "factor", "key"),
    [
        (1e-12, 1 / 8, "right"),
        (1e-5, 1 / 8, "eps"),
        (1e-12, 1, "scale"),
        (1e-5, 1, "both-wrong"),
        (1e-12, 1 / 64, "by-d"),
        (1e-5, 1 / 16, "by-hidden"),
        (1e-12, 8, "multiplied"),
        (1e-12, 2, "other"),
    ],
)
def test_a_port_is_told_what_is_left_to_mend(eps: float, factor: float, key: str) -> None:
    def norm(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        return F.layer_norm(x, x.shape[-1:], weight, bias, eps=eps)

    def scores(query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return query @ key.transpose(-1, -2) * factor

    assert open_lesson(10).outcome("mend", [norm, scores]) == key
