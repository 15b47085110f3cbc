"""From examples to rows: [CLS] first [SEP] second [SEP], truncated and padded.

An ``Encoding`` is one row with its offsets and words.  It stores only its texts, the window of each that it shows, and
its padding; ids, segment ids, masks, offsets and word ids all follow from that one layout, so they cannot disagree.
Start with ``RowBuilder.rows``, which makes them, then read ``Encoding._lay_out``.  ``RowBuilder.token_rows`` and
``columns`` make the same rows as plain ids, several times faster; most calls need no more.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, TypeVar

from minibert.errors import TokenizerError
from minibert.tokenizer.basic import Span
from minibert.tokenizer.encoder import TextEncoder, TokenizedText
from minibert.tokenizer.request import Example, Request, TextOrWords
from minibert.tokenizer.windows import (
    FILLS,
    Frame,
    Gaps,
    Special,
    TokenRow,
    Window,
    fill_up,
    lay_out,
    limits,
    windows,
)

T = TypeVar("T")

SIMPLE_COLUMNS = frozenset({"token_type_ids", "attention_mask"})  # these need no offsets
COLUMNS = {  # fields of a batch, and the attributes of an Encoding that they hold
    "token_type_ids": "type_ids",
    "attention_mask": "attention_mask",
    "special_tokens_mask": "special_tokens_mask",
    "offset_mapping": "offsets",
}


class TokenSequence:
    """The tokens of one text; the ids now, the rest on demand."""

    __slots__ = ("_ids", "_tokenize", "_tokenized")

    def __init__(self, ids: list[int], tokenize: Callable[[], TokenizedText]) -> None:
        self._ids = ids
        self._tokenize: Callable[[], TokenizedText] | None = tokenize
        self._tokenized: TokenizedText | None = None

    @property
    def ids(self) -> list[int]:
        """Token ids, in order."""
        return self._ids

    @property
    def tokenized(self) -> TokenizedText:
        """Tokens, offsets and word ids; computed once."""
        if self._tokenized is None:
            assert self._tokenize is not None
            self._tokenized = self._tokenize()
        return self._tokenized

    def __getstate__(self) -> TokenizedText:
        return self.tokenized  # a process that receives a batch needs its offsets, not the whole tokenizer

    def __setstate__(self, tokenized: TokenizedText) -> None:
        self._tokenize, self._tokenized, self._ids = None, tokenized, tokenized.ids


class Encoding:
    """One row, with the attributes of the ``tokenizers`` library's Encoding; every list has one entry per token."""

    __slots__ = ("_add_special", "_frame", "_left", "_right", "_sequences", "_windows", "overflowing")

    def __init__(
        self, sequences: Sequence[TokenSequence], windows: Sequence[Window], frame: Frame, add_special: bool
    ) -> None:
        self._sequences = tuple(sequences)
        self._windows = tuple(windows)
        self._frame = frame
        self._add_special = add_special
        self._left = self._right = 0
        self.overflowing: list[Encoding] = []

    def pad(self, length: int, side: str) -> None:
        """Pad this row and its overflow to ``length`` tokens; longer rows are left as they are."""
        for row in (self, *self.overflowing):
            missing = max(0, length - len(row))
            if side == "right":
                row._right += missing
            else:
                row._left += missing

    @property
    def _gaps(self) -> Gaps:
        return self._frame.gaps(len(self._windows) == 2, self._add_special)

    def _lay_out(self, special: Callable[[Special], T], pad: T, texts: Sequence[list[T]]) -> list[T]:
        """One value per token: padding, [CLS], each text with its [SEP], padding."""
        row = lay_out([map(special, gap) for gap in self._gaps], texts)
        return [pad] * self._left + row + [pad] * self._right if self._left or self._right else row

    def _visible(self, values: Callable[[TokenSequence], list[T]]) -> list[list[T]]:
        """For each text, the values inside its window."""
        return [values(s)[a:b] for s, (a, b) in zip(self._sequences, self._windows, strict=True)]

    def _filled(self, special: Callable[[Special], T], first: T, second: T, pad: T) -> list[T]:
        texts = [[fill] * (b - a) for fill, (a, b) in zip((first, second), self._windows, strict=False)]
        return self._lay_out(special, pad, texts)

    def __len__(self) -> int:
        return self._left + sum(map(len, self._gaps)) + sum(b - a for a, b in self._windows) + self._right

    def __repr__(self) -> str:
        return f"Encoding({len(self)} tokens, {self.n_sequences} sequence(s), {len(self.overflowing)} overflowing)"

    @property
    def ids(self) -> list[int]:
        """Token ids, ``input_ids``."""
        return self._lay_out(lambda special: special.id, self._frame.pad[0], self._visible(lambda s: s.ids))

    @property
    def tokens(self) -> list[str]:
        """Token texts."""
        visible = self._visible(lambda s: s.tokenized.tokens)
        return self._lay_out(lambda special: special.token, self._frame.pad[1], visible)

    @property
    def type_ids(self) -> list[int]:
        """Segment ids: 0 for [CLS], the first text and its [SEP], 1 for the second and its [SEP]; padding 0."""
        return self._filled(lambda special: special.segment, 0, self._frame.second_segment, 0)

    @property
    def attention_mask(self) -> list[int]:
        """1 for tokens, 0 for padding."""
        return self._filled(lambda _: 1, 1, 1, 0)

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for the [CLS], [SEP] and padding of the layout; 0 for all tokens of the texts, special ones included."""
        return self._filled(lambda _: 1, 0, 0, 1)

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1 for tokens of the first or second text, None for special tokens and padding."""
        return self._filled(lambda _: None, 0, 1, None)

    @property
    def offsets(self) -> list[Span]:
        """(start, end) in characters of the text as given; (0, 0) for special tokens and padding."""
        return self._lay_out(lambda _: (0, 0), (0, 0), self._visible(lambda s: s.tokenized.offsets))

    @property
    def word_ids(self) -> list[int | None]:
        """Index of the word in its text, None for special tokens and padding."""
        texts: list[list[int | None]] = [list(words) for words in self._visible(lambda s: s.tokenized.word_ids)]
        return self._lay_out(lambda _: None, None, texts)

    words = word_ids

    @property
    def n_sequences(self) -> int:
        """1 for a single text, 2 for a pair."""
        return len(self._sequences)

    def _range(self, sequence_index: int) -> range:
        """The positions of the text ``sequence_index`` in the row."""
        if sequence_index >= self.n_sequences:
            return range(len(self))
        gaps = self._gaps
        start = self._left + len(gaps[0])
        if sequence_index:
            a, b = self._windows[0]
            start += b - a + len(gaps[1])
        a, b = self._windows[sequence_index]
        return range(start, start + b - a)

    def token_to_sequence(self, token_index: int) -> int | None:
        """0 or 1, the text that the token comes from; None for special tokens and padding."""
        return next((k for k in range(self.n_sequences) if token_index in self._range(k)), None)

    def token_to_chars(self, token_index: int) -> Span | None:
        """The token's span in its text."""
        return None if self.token_to_sequence(token_index) is None else self.offsets[token_index]

    def token_to_word(self, token_index: int) -> int | None:
        """The index of the token's word."""
        return None if self.token_to_sequence(token_index) is None else self.word_ids[token_index]

    def char_to_token(self, char_index: int, sequence_index: int = 0) -> int | None:
        """The first token of the text that covers the character."""
        offsets = self.offsets
        covers = (i for i in self._range(sequence_index) if offsets[i][0] <= char_index < offsets[i][1])
        return next(covers, None)

    def char_to_word(self, char_index: int, sequence_index: int = 0) -> int | None:
        """The index of the word that covers the character."""
        token_index = self.char_to_token(char_index, sequence_index)
        return None if token_index is None else self.token_to_word(token_index)

    def word_to_tokens(self, word_index: int, sequence_index: int = 0) -> Span | None:
        """Half-open range of token positions of a word."""
        words = self.word_ids
        positions = [i for i in self._range(sequence_index) if words[i] == word_index]
        return (positions[0], positions[-1] + 1) if positions else None

    def word_to_chars(self, word_index: int, sequence_index: int = 0) -> Span | None:
        """The word's span in its text."""
        tokens = self.word_to_tokens(word_index, sequence_index)
        if tokens is None:
            return None
        offsets = self.offsets
        return offsets[tokens[0]][0], offsets[tokens[1] - 1][1]


@dataclass(frozen=True, slots=True)
class RowBuilder:
    """Makes rows from examples; holds everything that one call of the tokenizer decides."""

    encoder: TextEncoder
    frame: Frame
    request: Request
    add_special: bool
    stride: int
    split_special_tokens: bool
    truncation_side: str
    padding_side: str

    def check(self) -> None:
        """TokenizerError for a stride that is too large for any text."""
        room = (self.request.max_length or 0) - self.frame.count(is_pair=False)
        if self.request.truncation != "do_not_truncate" and 0 <= room < self.stride:
            raise TokenizerError(
                f"stride={self.stride} leaves no way forward: max_length={self.request.max_length} has room for {room} "
                "tokens beside the special ones. Use a smaller stride."
            )

    def rows(self, examples: Sequence[Example]) -> list[Encoding]:
        """One row per example with its overflow, padded as requested."""
        rows = []
        for first, second in examples:
            sequences = [self._sequence(text) for text in (first, second) if text is not None]
            views = combinations(self._windows([len(sequence.ids) for sequence in sequences]))
            row, *overflow = (Encoding(sequences, view, self.frame, self.add_special) for view in views)
            row.overflowing = overflow
            rows.append(row)
        if self.request.padding != "do_not_pad":
            length = self.request.padded_length(max(map(len, rows)))
            for row in rows:
                row.pad(length, self.padding_side)
        return rows

    def _sequence(self, text: TextOrWords) -> TokenSequence:
        encoder, split = self.encoder, self.split_special_tokens
        return TokenSequence(encoder.ids(text, split), partial(encoder.with_offsets, text, split))

    def _room(self, is_pair: bool) -> int | None:
        """How many tokens of text fit; None if nothing is truncated, also where not even the special tokens fit."""
        if self.request.truncation == "do_not_truncate" or self.request.max_length is None:
            return None
        room = self.request.max_length - (self.frame.count(is_pair) if self.add_special else 0)
        return room if room >= 0 else None

    def _windows(self, sizes: Sequence[int]) -> list[list[Window]]:
        """For each text its windows: the first is the row's, the others are overflow."""
        room = self._room(len(sizes) == 2)
        if room is None or sum(sizes) <= room:
            return [[(0, size)] for size in sizes]
        kept = limits(sizes[0], sizes[1] if len(sizes) == 2 else None, room, self.request.truncation)
        return [
            windows(size, limit, self.stride, self.truncation_side) for size, limit in zip(sizes, kept, strict=False)
        ]

    def token_rows(
        self, examples: Sequence[Example], overflows: bool = False
    ) -> Iterator[tuple[TokenRow, list[TokenRow] | None]]:
        """For each example its row without padding; and None, or for a truncated example a list of its overflow.

        The list is empty without ``overflows``, and then only the beginning of a long text is tokenized.  This is the
        hottest loop of the tokenizer: for rows that are not truncated, ``Frame.row`` of a single text is written out.
        """
        before, after = ([special.id for special in gap] for gap in self.frame.gaps(False, self.add_special))
        rooms = self._room(False), self._room(True)
        enough = None if overflows or self.truncation_side == "left" or rooms[0] is None else rooms[0] + 1
        for a, b in self.encoder.ids_of_examples(examples, self.split_special_tokens, enough):
            room = rooms[b is not None]
            if room is None or len(a) + len(b or ()) <= room:
                if b is None:
                    ids = [*before, *a, *after]
                    yield TokenRow(ids, len(ids)), None
                else:
                    yield self.frame.row(a, b, self.add_special), None
                continue
            views = combinations(self._windows([len(a)] if b is None else [len(a), len(b)]))
            rows = []
            for (start, end), *others in islice(views, None if overflows else 1):
                part = None if b is None else b[slice(*others[0])]
                rows.append(self.frame.row(a[start:end], part, self.add_special))
            yield rows[0], rows[1:]

    def is_filled_by(self, text: str) -> bool:
        """Whether the row of a text that goes on after ``text`` is known: it is truncated, whatever follows."""
        room = self._room(False)
        if room is None or self.truncation_side == "left":
            return False
        return self.encoder.beginning(text, self.split_special_tokens, room + 1) is not None

    def columns(self, examples: Sequence[Example], fields: set[str]) -> dict[str, Any]:
        """``input_ids`` and the requested ``fields``, which are among ``SIMPLE_COLUMNS``; padded as requested."""
        rows = [row for row, _ in self.token_rows(examples)]
        columns: dict[str, list[list[int]]] = {"input_ids": [row.ids for row in rows]}
        if "token_type_ids" in fields:
            columns["token_type_ids"] = [row.segments for row in rows]
        if "attention_mask" in fields:
            columns["attention_mask"] = [[1] * len(row.ids) for row in rows]
        if self.request.padding != "do_not_pad":
            lengths = list(map(len, columns["input_ids"]))
            length = self.request.padded_length(max(lengths))
            missing, fills = [length - count for count in lengths], {"input_ids": self.frame.pad[0], **FILLS}
            for name, column in columns.items():
                fill_up(column, fills[name], missing, self.padding_side)
        return columns


def combinations(windows_of_texts: list[list[Window]]) -> Iterator[list[Window]]:
    """The windows that each row shows, one per text: the first of each text, then the overflow in the library's order.

    The overflow is every other combination, the second text varying fastest.  There may be very many, so this is a
    generator.
    """
    if len(windows_of_texts) == 1:
        yield from ([window] for window in windows_of_texts[0])
        return
    first, second = windows_of_texts
    yield [first[0], second[0]]
    yield from ([a, b] for a in first[1:] for b in second)
    yield from ([first[0], b] for b in second[1:])


def columns_of(rows: Sequence[Encoding], fields: set[str]) -> tuple[dict[str, Any], list[Encoding]]:
    """The rows as columns, and the rows in that order; overflow follows its row if its mapping is requested."""
    overflows = "overflow_to_sample_mapping" in fields
    flat = [part for row in rows for part in (row, *row.overflowing)] if overflows else list(rows)
    data: dict[str, Any] = {"input_ids": [row.ids for row in flat]}
    for name, attribute in COLUMNS.items():
        if name in fields:
            data[name] = [getattr(row, attribute) for row in flat]
    if "length" in fields:
        data["length"] = [len(row) for row in flat]
    if overflows:
        data["overflow_to_sample_mapping"] = [i for i, row in enumerate(rows) for _ in range(1 + len(row.overflowing))]
    return data, flat
