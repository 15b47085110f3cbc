"""Where the words of a sentence are among the pieces that a model reads.

The label of a word is read off its first piece (paper, section 5.3).  A sentence longer than the model reads comes in
overlapping windows, and each word counts in the one where it has most context, so that none is lost.  Where characters
are labelled, several share a piece: the piece has the label of its first character.  Start with :class:`Placed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.basic import Span
from minibert.tokenizer.windows import TokenRow, best_windows, special_count, window_rows, word_ranges

Place = tuple[int, int]  # row, position in it


@dataclass(frozen=True)
class Placed:
    """A sentence as the model reads it, and where each of its units (words or characters) is."""

    rows: list[TokenRow]  # one; more for a sentence longer than the model reads
    places: list[Place | None]  # of the units; None: the tokenizer reads nothing of it, such as a space
    first: list[bool]  # whether a unit is the first of its piece


@dataclass(frozen=True)
class Placer:
    """How sentences become rows."""

    tokenizer: BertTokenizer
    longest: int  # tokens of a row
    stride: int  # tokens that two windows share
    by_character: bool

    def sentence(self, units: Sequence[str]) -> Placed:
        """Units that are given: words; or characters, spaces among them."""
        if self.by_character:
            ends = [0]
            for unit in units:
                ends.append(ends[-1] + len(unit))
            return self.characters("".join(units), list(pairwise(ends)))
        pieces = self.tokenizer(
            list(units),
            add_special_tokens=False,
            return_token_type_ids=False,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        ids = [piece for word in pieces for piece in word]
        owners = [number for number, word in enumerate(pieces) for _ in word]
        firsts: list[int | None] = []
        start = 0
        for word in pieces:
            firsts.append(start if word else None)
            start += len(word)
        return self.place(ids, owners, firsts)

    def text(self, text: str) -> tuple[Placed, list[Span]]:
        """The units of a text, each with its span: the tokenizer's words, or single characters."""
        if self.by_character:
            spans = [(number, number + 1) for number in range(len(text))]
            return self.characters(text, spans), spans
        detail = self.tokenizer.tokens_with_offsets(text)
        ids, offsets, owners = detail.ids, detail.offsets, detail.word_ids
        words = word_ranges(owners)
        spans = [(offsets[word.start][0], offsets[word.stop - 1][1]) for word in words]
        return self.place(ids, owners, [word.start for word in words]), spans

    def characters(self, text: str, spans: Sequence[Span]) -> Placed:
        """A text whose units are ``spans``, one after the other."""
        detail = self.tokenizer.tokens_with_offsets(text)
        ids, offsets, owners = detail.ids, detail.offsets, detail.word_ids
        found: list[int | None] = []
        piece = 0
        for start, end in spans:
            while piece < len(offsets) and offsets[piece][1] <= start:
                piece += 1
            found.append(piece if piece < len(offsets) and offsets[piece][0] < end else None)
        return self.place(ids, owners, found)

    def place(self, ids: Sequence[int], owners: list[int], pieces: Sequence[int | None]) -> Placed:
        """The rows of these ids, and for each unit the place of its piece; ``owners``: the word of each piece."""
        room = self.longest - special_count(is_pair=False)
        rows, view = window_rows(self.tokenizer.frame, ids, self.longest, min(self.stride, room // 2))
        chosen = best_windows(owners, view) if len(view) > 1 else [0] * len(ids)
        places: list[Place | None] = []
        first = []
        before = None
        for piece in pieces:
            first.append(piece is not None and piece != before)
            before = before if piece is None else piece
            places.append(None if piece is None else (chosen[piece], 1 + piece - view[chosen[piece]][0]))
        return Placed(rows, places, first)


def labels_of(placed: Placed, label_at: Callable[[int, int], str]) -> list[str]:
    """The label of each unit, given those of the pieces by row and position.

    Units that share a piece with one before go on with its entity.  One without a piece, such as a space, is inside an
    entity when that goes on behind it, and else outside.
    """
    labels: list[str | None] = []
    for place, is_first in zip(placed.places, placed.first, strict=True):
        if place is None:
            labels.append(None)
        else:
            label = label_at(*place)
            labels.append(label if is_first or label == "O" else f"I-{label[2:]}")
    return filled(labels)


def filled(labels: Sequence[str | None]) -> list[str]:
    """Labels for the units that have none."""
    result: list[str] = []
    following = "O"
    behind = []  # of each unit: the next label that there is
    for label in reversed(labels):
        behind.append(following)
        following = following if label is None else label
    for label, after in zip(labels, reversed(behind), strict=True):
        before = result[-1] if result else "O"
        goes_on = after.startswith("I-") and before[2:] == after[2:]
        result.append(label if label is not None else after if goes_on else "O")
    return result
