"""Surface features of a text: lengths, punctuation, and the kinds of the first and last pieces.

Next-sentence prediction is to be solved from meaning.  If random second segments were longer, began with another kind
of word, or were in another language, a model would learn that shortcut instead.  So pairs.py exchanges only segments
with the same surface features, and leakage_probe.py measures whether a classifier on these features can still tell true
pairs from random ones.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from minibert.pretraining.tokenized import TokenizedText
from minibert.tokenizer import characters
from minibert.tokenizer.wordpiece import CONTINUATION

MARKS = {
    "full stop": ".。",
    "comma": ",、，",
    "exclamation mark": "!！",
    "question mark": "?？",
    "double quote": '"“”„«»「」『』',
    "single quote": "'‘’`´",
    "dash": "-—–―",
    "semicolon": ";；",
    "colon": ":：",
    "bracket": "()[]{}<>《》【】",
    "ellipsis": "…‥",
    "tilde": "~〜",
    "underscore": "_*",
}
KINDS = ("other", *MARKS, "mark", "number", "hangul", "jamo", "ideograph", "capital", "letter")
NUMBER_OF = {kind: number for number, kind in enumerate(KINDS)}
SENTENCES_TOGETHER = 1 << 16
KIND_OF_MARK = {mark: kind for kind, marks in MARKS.items() for mark in marks}


def kind_of(piece: str) -> str:
    """The kind of a piece of the vocabulary, one of ``KINDS``."""
    text = piece.removeprefix(CONTINUATION) or " "
    first = text[0]
    tests = (
        ("mark", characters.is_punctuation(first)),
        ("number", first.isdigit()),
        ("hangul", "가" <= first <= "힣"),
        ("jamo", "\u1100" <= first <= "\u11ff" or "\u3130" <= first <= "\u318f"),  # "ㅋㅋ": laughter, not words
        ("ideograph", characters.is_chinese(first)),
        ("capital", first.isupper() and text == piece),
        ("letter", first.isalpha()),
    )
    kind = next((kind for kind, is_so in tests if is_so), "other")
    return KIND_OF_MARK.get(first, "mark") if kind == "mark" else kind


def piece_kinds(vocabulary: Mapping[str, int], special: frozenset[str]) -> Tensor:
    """(V,) int8: the number of each piece's kind; special tokens, [UNK] among them, are "other"."""
    kinds = torch.zeros(max(vocabulary.values()) + 1, dtype=torch.int8)
    for piece, number in vocabulary.items():
        kinds[number] = 0 if piece in special else NUMBER_OF[kind_of(piece)]
    return kinds


@dataclass(frozen=True)
class SurfaceFeatures:
    """The surface features of every sentence, from which those of any run of sentences follow."""

    starts: Tensor  # (S + 1,) int64: the first piece of each sentence
    totals: Tensor  # (S + 1, kinds) int32: pieces of each kind before it
    edges: Tensor  # (S, 4) int8: kinds of its first, second, second last and last piece

    @classmethod
    def of(cls, text: TokenizedText, starts: Tensor, kinds: Tensor) -> "SurfaceFeatures":
        """The features of a text whose sentences begin at ``starts``; ``kinds`` is from :func:`piece_kinds`."""
        totals = torch.zeros(len(starts), len(KINDS), dtype=torch.int32)
        for first in range(0, len(starts) - 1, SENTENCES_TOGETHER):
            ends = starts[first : first + SENTENCES_TOGETHER + 1]
            piece_kind = kinds[text.pieces[ends[0] : ends[-1]]]
            before = torch.zeros(len(piece_kind) + 1, dtype=torch.int32)
            for kind in range(len(KINDS)):  # one at a time: all together would take the memory of twenty texts
                torch.cumsum(piece_kind == kind, 0, dtype=torch.int32, out=before[1:])
                totals[first + 1 : first + len(ends), kind] = totals[first, kind] + before[ends[1:] - ends[0]]
        begin, end = starts[:-1], starts[1:]
        places = (begin, torch.minimum(begin + 1, end - 1), torch.maximum(end - 2, begin), end - 1)
        return cls(starts, totals, torch.stack([kinds[text.pieces[place]] for place in places], dim=1))

    def lengths(self, begin: Tensor, end: Tensor) -> Tensor:
        """(n,) int64: pieces in the runs of sentences from ``begin`` up to ``end`` (each (n,))."""
        return self.starts[end] - self.starts[begin]

    def counts(self, begin: Tensor, end: Tensor) -> Tensor:
        """(n, kinds) int64: pieces of each kind in the runs."""
        return (self.totals[end] - self.totals[begin]).long()

    def count_of(self, kind: int, begin: Tensor, end: Tensor) -> Tensor:
        """(n,) int32: pieces of one kind in the runs."""
        return self.totals[end, kind] - self.totals[begin, kind]

    def borders(self, begin: Tensor, end: Tensor) -> Tensor:
        """(n, 4) int64: kinds of the first, second, second last and last piece of the runs."""
        return torch.cat([self.edges[begin, :2], self.edges[end - 1, 2:]], dim=1).long()
