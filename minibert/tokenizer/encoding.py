"""One row of a batch: [CLS] first [SEP] second [SEP], padded, with all that can be asked about it.

A row stores only which window of which text it shows and how much padding stands beside it; ids, segment ids, masks,
offsets and word numbers are all read off that one layout, so they
cannot disagree.  Look first at ``Encoding._lay_out``.
Offsets and words are worked out when first asked for, since most callers want ids alone.
"""

from collections.abc import Callable, Sequence
from typing import TypeVar

from minibert.tokenizer.basic import Span
from minibert.tokenizer.encoder import Detail
from minibert.tokenizer.layout import Frame, lay_out, special_count
from minibert.tokenizer.truncation import Window

T = TypeVar("T")


class TokenSequence:
    """The tokens of one text, ids at once and the rest on demand."""

    __slots__ = ("_compute", "_detail", "_ids")

    def __init__(self, ids: list[int], detail: Callable[[], Detail]) -> None:
        self._ids = ids
        self._compute: Callable[[], Detail] | None = detail
        self._detail: Detail | None = None

    @property
    def ids(self) -> list[int]:
        """Token ids, in order."""
        return self._ids

    @property
    def detail(self) -> Detail:
        """Tokens, offsets and word numbers; worked out once."""
        if self._detail is None:
            assert self._compute is not None
            self._detail = self._compute()
        return self._detail

    def __getstate__(self) -> Detail:
        return self.detail  # a process that receives a batch needs its offsets, not the whole tokenizer

    def __setstate__(self, detail: Detail) -> None:
        self._compute, self._detail, self._ids = None, detail, detail.ids


class Encoding:
    """One row, with the attributes of the ``tokenizers`` library's Encoding; every list has one entry a token."""

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
        """Pad this row and its overflow to ``length`` tokens; longer rows stay as they are."""
        for row in (self, *self.overflowing):
            missing = max(0, length - len(row))
            if side == "right":
                row._right += missing
            else:
                row._left += missing

    def _lay_out(self, cls: T, seps: Sequence[T], pad: T, texts: Sequence[list[T]]) -> list[T]:
        """Values of one kind, one a token: padding, [CLS], each text with its [SEP], padding."""
        first, second = texts[0], texts[1] if len(texts) > 1 else None
        row = lay_out(cls, first, seps[0], second, seps[-1]) if self._add_special else first + (second or [])
        return [pad] * self._left + row + [pad] * self._right if self._left or self._right else row

    def _shown(self, values: Callable[[TokenSequence], list[T]]) -> list[list[T]]:
        """Of each text, the values inside its window."""
        return [values(s)[a:b] for s, (a, b) in zip(self._sequences, self._windows, strict=True)]

    def _filled(self, cls: T, first: T, second: T, seps: Sequence[T], pad: T) -> list[T]:
        texts = [[fill] * (b - a) for fill, (a, b) in zip((first, second), self._windows, strict=False)]
        return self._lay_out(cls, seps, pad, texts)

    def __len__(self) -> int:
        special = special_count(len(self._windows) == 2) if self._add_special else 0
        return self._left + special + sum(b - a for a, b in self._windows) + self._right

    def __repr__(self) -> str:
        return f"Encoding({len(self)} tokens, {self.n_sequences} sequence(s), {len(self.overflowing)} overflowing)"

    @property
    def ids(self) -> list[int]:
        """Token ids, ``input_ids``."""
        cls, sep, pad = self._frame.cls[0], self._frame.sep[0], self._frame.pad[0]
        return self._lay_out(cls, (sep, sep), pad, self._shown(lambda s: s.ids))

    @property
    def tokens(self) -> list[str]:
        """Token texts."""
        cls, sep, pad = self._frame.cls[1], self._frame.sep[1], self._frame.pad[1]
        return self._lay_out(cls, (sep, sep), pad, self._shown(lambda s: s.detail.tokens))

    @property
    def type_ids(self) -> list[int]:
        """Segment ids: 0 for the first text and its specials, 1 for the second and its [SEP]; padding 0."""
        return self._filled(0, 0, 1, (0, 1), 0)

    @property
    def attention_mask(self) -> list[int]:
        """1 for tokens, 0 for padding."""
        return self._filled(1, 1, 1, (1, 1), 0)

    @property
    def special_tokens_mask(self) -> list[int]:
        """1 for [CLS], [SEP] and padding that were put around the texts; 0 for what was written in a text."""
        return self._filled(1, 0, 0, (1, 1), 1)

    @property
    def sequence_ids(self) -> list[int | None]:
        """0 or 1 for tokens of the first or second text, None for specials and padding."""
        return self._filled(None, 0, 1, (None, None), None)

    @property
    def offsets(self) -> list[Span]:
        """(start, end) in characters of the text as given; (0, 0) for specials and padding."""
        return self._lay_out((0, 0), ((0, 0), (0, 0)), (0, 0), self._shown(lambda s: s.detail.offsets))

    @property
    def word_ids(self) -> list[int | None]:
        """Number of the word in its text, None for specials and padding."""
        texts: list[list[int | None]] = [list(words) for words in self._shown(lambda s: s.detail.word_ids)]
        return self._lay_out(None, (None, None), None, texts)

    words = word_ids

    @property
    def n_sequences(self) -> int:
        """1 for a single text, 2 for a pair."""
        return len(self._sequences)

    def _range(self, sequence_index: int) -> range:
        """The positions that the text number ``sequence_index`` takes in the row."""
        if sequence_index >= self.n_sequences:
            return range(len(self))
        start = self._left + self._add_special
        if sequence_index:
            a, b = self._windows[0]
            start += b - a + self._add_special
        a, b = self._windows[sequence_index]
        return range(start, start + b - a)

    def token_to_sequence(self, token_index: int) -> int | None:
        """0 or 1: the text that the token comes from; None for specials and padding."""
        return next((k for k in range(self.n_sequences) if token_index in self._range(k)), None)

    def token_to_chars(self, token_index: int) -> Span | None:
        """The token's span in its text."""
        return None if self.token_to_sequence(token_index) is None else self.offsets[token_index]

    def token_to_word(self, token_index: int) -> int | None:
        """The number of the token's word."""
        return None if self.token_to_sequence(token_index) is None else self.word_ids[token_index]

    def char_to_token(self, char_index: int, sequence_index: int = 0) -> int | None:
        """The first token of the text that covers the character."""
        offsets = self.offsets
        covers = (i for i in self._range(sequence_index) if offsets[i][0] <= char_index < offsets[i][1])
        return next(covers, None)

    def char_to_word(self, char_index: int, sequence_index: int = 0) -> int | None:
        """The number of the word that covers the character."""
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
