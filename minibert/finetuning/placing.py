"""The places of a sentence's words among the tokens of its rows.

The label of a word is that of its first piece (paper, section 5.3).  A sentence longer than the model reads becomes
overlapping windows, and each word counts in the window where it has the most context.  Where characters are labelled,
several may share a piece: the piece has the label of its first character.  Start with :class:`Placed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.basic import Span
from minibert.tokenizer.windows import TokenRow, best_windows, window_rows, without_spaces, word_ranges

Place = tuple[int, int]  # row, position in it


@dataclass(frozen=True)
class Placed:
    """The rows of a sentence, and the places in them of its units (words or characters)."""

    rows: list[TokenRow]  # more than one for a sentence longer than the model reads
    places: list[Place | None]  # of the units; None: one without a token, such as a space
    first: list[bool]  # whether a unit is the first of its piece


@dataclass(frozen=True)
class Placer:
    """Turns sentences into rows."""

    tokenizer: BertTokenizer
    longest: int  # tokens per row
    stride: int  # tokens that two windows share
    by_character: bool

    def sentence(self, units: Sequence[str]) -> Placed:
        """The places of given units: words; or characters, spaces included."""
        if self.by_character:
            ends = accumulate(map(len, units), initial=0)
            return self.characters("".join(units), list(pairwise(ends)))
        pieces = self.tokenizer(
            list(units),
            add_special_tokens=False,
            return_token_type_ids=False,
            return_attention_mask=False,
            verbose=False,
        )["input_ids"]
        ids = [piece for word in pieces for piece in word]
        word_ids = [number for number, word in enumerate(pieces) for _ in word]
        starts = accumulate((len(word) for word in pieces), initial=0)
        return self.place(ids, word_ids, [start if word else None for word, start in zip(pieces, starts, strict=False)])

    def text(self, text: str) -> tuple[Placed, list[Span]]:
        """The units of a text, each with its span: the tokenizer's words, or single characters."""
        if self.by_character:
            spans = [(number, number + 1) for number in range(len(text))]
            return self.characters(text, spans), spans
        tokens = self.tokenizer.tokens_with_offsets(text)
        words, spans = [], []
        for word in word_ranges(tokens.word_ids):
            start, end = tokens.offsets[word.start][0], tokens.offsets[word.stop - 1][1]
            if not text[start:end].isspace():  # as some pieces of SentencePiece are
                words.append(word.start)
                spans.append(without_spaces(text, (start, end)))
        return self.place(tokens.ids, tokens.word_ids, words), spans

    def characters(self, text: str, spans: Sequence[Span]) -> Placed:
        """The places of the units of a text at ``spans``, one after the other."""
        tokens = self.tokenizer.tokens_with_offsets(text)
        offsets = tokens.offsets
        pieces: list[int | None] = []
        piece = 0
        for start, end in spans:
            while piece < len(offsets) and offsets[piece][1] <= start:
                piece += 1
            pieces.append(piece if piece < len(offsets) and offsets[piece][0] < end else None)
        return self.place(tokens.ids, tokens.word_ids, pieces)

    def place(self, ids: Sequence[int], word_ids: list[int], pieces: Sequence[int | None]) -> Placed:
        """The rows of the tokens ``ids`` of the words ``word_ids``; ``pieces``: the first token of each unit."""
        frame = self.tokenizer.frame
        room = self.longest - frame.count(is_pair=False)
        rows, view = window_rows(frame, ids, self.longest, min(self.stride, room // 2))
        chosen = best_windows(word_ids, view) if len(view) > 1 else [0] * len(ids)
        places: list[Place | None] = []
        first = []
        before = None
        for piece in pieces:
            first.append(piece is not None and piece != before)
            before = before if piece is None else piece
            places.append(None if piece is None else (chosen[piece], frame.start() + piece - view[chosen[piece]][0]))
        return Placed(rows, places, first)


def labels_of(placed: Placed, label_at: Callable[[int, int], str]) -> list[str]:
    """The label of each unit; ``label_at(row, position)`` is that of a token.

    A unit that shares a token with the one before continues its entity.  One without a token, such as a space, is
    inside an entity that continues after it, else outside.
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
    """The labels, with one for each unit that has none."""
    result: list[str] = []
    following = "O"
    next_labels = []  # for each unit, the next label after it
    for label in reversed(labels):
        next_labels.append(following)
        following = following if label is None else label
    for label, after in zip(labels, reversed(next_labels), strict=True):
        before = result[-1] if result else "O"
        continues = after.startswith("I-") and before[2:] == after[2:]
        result.append(label if label is not None else after if continues else "O")
    return result
