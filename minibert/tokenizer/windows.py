"""Rows and windows: [CLS] A [SEP], or [CLS] A [SEP] B [SEP], and what of a long text fits into it.

Devlin et al. 2018, figure 2.  Everything that becomes a model's input is laid out here: the rows of the tokenizer, the
embedder, fine-tuning and pre-training.  A ``Frame`` holds the special tokens, ``lay_out`` puts texts between them, for
values of any type; a ``TokenRow`` is a finished row of ids.  ``limits`` decides how much of each text stays (Google's
run_classifier.py, ``_truncate_seq_pair``), ``windows`` slides over the rest (run_squad.py's ``doc_stride``), both with
the arithmetic of the ``tokenizers`` library.  Rows become tensors in batch_encoding.py.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import NamedTuple, TypeVar

from minibert.errors import TokenizerError

T = TypeVar("T")
Window = tuple[int, int]  # half-open range of a text's tokens

STRATEGIES = ("longest_first", "only_first", "only_second", "do_not_truncate")
FILLS = {
    "token_type_ids": 0,
    "attention_mask": 0,
    "special_tokens_mask": 1,
}  # padding of the fields besides input_ids


def special_count(is_pair: bool) -> int:
    """The number of special tokens in BERT's rows: 2, or 3 with a second text.  Other frames have their own."""
    return 3 if is_pair else 2


def lay_out(gaps: Sequence[Iterable[T]], texts: Sequence[Iterable[T]]) -> list[T]:
    """A row of one or two texts: any values, one per token.

    ``gaps`` holds those of the special tokens: [CLS] before the first text, [SEP] after it, and after the second.
    """
    row = [*gaps[0]]
    for text, gap in zip(texts, gaps[1:], strict=True):
        row += text
        row += gap
    return row


@dataclass(slots=True)  # not frozen, which would take twice as long to create; the tokenizer creates one per text
class TokenRow:
    """One row of ids as the model reads it, without padding: a text, a pair, or a window of one."""

    ids: list[int]  # [CLS] … [SEP]
    second: int  # where segment B begins; the length of the row if there is none

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def segments(self) -> list[int]:
        """``token_type_ids``: 0 for the first text with [CLS] and its [SEP], 1 for the second with its own."""
        row = [0] * self.second
        return row if self.second == len(self.ids) else row + [1] * (len(self.ids) - self.second)


class Special(NamedTuple):
    """A special token of a row: its id, its text, and its segment."""

    id: int
    token: str
    segment: int


Gaps = tuple[tuple[Special, ...], ...]  # the special tokens before the first text, after it, and after the second


@dataclass(frozen=True, slots=True)
class Frame:
    """The special tokens of a row, around one text or two, and those that fill it up."""

    single: Gaps  # two gaps, which may be empty
    pair: Gaps  # three
    pad: tuple[int, str]
    second_segment: int = 1  # of the second text; 0 in frames that know no segments

    @staticmethod
    @lru_cache(maxsize=64)
    def bert(begin: tuple[int, str], end: tuple[int, str], pad: tuple[int, str]) -> "Frame":
        """[CLS] A [SEP] and [CLS] A [SEP] B [SEP], from the id and the text of [CLS], [SEP] and [PAD]."""
        cls, sep, last = (Special(*begin, 0),), (Special(*end, 0),), (Special(*end, 1),)
        return Frame((cls, sep), (cls, sep, last), pad)

    @property
    def cls(self) -> Special:
        """[CLS] in a frame of BERT."""
        return self.single[0][0]

    @property
    def sep(self) -> Special:
        """[SEP] in a frame of BERT."""
        return self.single[1][0]

    @property
    def ends(self) -> tuple[int, int]:
        """How many special tokens a row of one text begins and ends with."""
        return len(self.single[0]), len(self.single[1])

    def gaps(self, is_pair: bool, add_special: bool = True) -> Gaps:
        """The special tokens around one text, or two; none if not ``add_special``."""
        gaps = self.pair if is_pair else self.single
        return gaps if add_special else ((),) * len(gaps)

    def count(self, is_pair: bool) -> int:
        """The number of special tokens in a row."""
        return sum(map(len, self.pair if is_pair else self.single))

    def start(self, before: int | None = None) -> int:
        """Where a text begins in its row; if it is the second text, ``before`` is the length of the first."""
        return len(self.single[0]) if before is None else len(self.pair[0]) + before + len(self.pair[1])

    def row(self, first: Sequence[int], second: Sequence[int] | None = None, add_special: bool = True) -> TokenRow:
        """The row of one or two texts, given as ids; without special tokens if not ``add_special``."""
        gaps = self.gaps(second is not None, add_special)
        texts = [first] if second is None else [first, second]
        ids = lay_out([[special.id for special in gap] for gap in gaps], texts)
        if second is None or not self.second_segment:
            return TokenRow(ids, len(ids))
        return TokenRow(ids, len(gaps[0]) + len(first) + sum(special.segment == 0 for special in gaps[1]))


def fill_up(rows: list[list[T]], fill: T, missing: Sequence[int], side: str) -> None:
    """Pad each row in place: as many ``fill`` as it is ``missing`` (none if negative), at its ``side``."""
    for row, count in zip(rows, missing, strict=True):
        if count > 0 and side == "right":
            row.extend([fill] * count)
        elif count > 0:
            row[:0] = [fill] * count


def windows(length: int, limit: int, stride: int, side: str) -> list[Window]:
    """Half-open windows of at most ``limit`` tokens, each sharing ``stride`` tokens with the one before.

    ``side`` is the side that is truncated: "right" begins at the start of the text, "left" at its end.
    """
    if limit >= length:
        return [(0, length)]
    if limit == 0:
        return [(0, 0), (0, length)]  # nothing is kept, everything is overflow
    if stride >= limit:
        raise TokenizerError(
            f"stride={stride} must be less than the {limit} tokens of this text that fit into max_length beside the "
            "special tokens and the other text: a window has to move on. Use a smaller stride or a larger max_length."
        )
    step = limit - stride
    if side == "right":
        return [(start, min(start + limit, length)) for start in range(0, length - stride, step)]
    return [(max(0, stop - limit), stop) for stop in range(length, stride, -step)]


def limits(first: int, second: int | None, room: int, strategy: str) -> tuple[int, int]:
    """How many tokens of each text to keep where only ``room`` of all fit; ``second`` is None for a single text."""
    if room == 0:
        return 0, 0
    excess = first + (second or 0) - room
    if strategy == "longest_first":
        return (room, 0) if second is None else _longest_first(first, second, room)
    if strategy == "only_second" and second is None:
        raise TokenizerError("truncation='only_second' needs a text_pair, and this example is a single text.")
    length = first if strategy == "only_first" else second or 0
    if length <= excess:
        raise TokenizerError(
            f"truncation={strategy!r} cannot remove {excess} tokens from a text of {length}: even without it the other "
            f"text leaves no room. Use truncation='longest_first' or a larger max_length."
        )
    return (first - excess, second or 0) if strategy == "only_first" else (first, (second or 0) - excess)


def _longest_first(first: int, second: int, room: int) -> tuple[int, int]:
    """Truncate the longer text to the length of the shorter, then both; an odd token goes to the longer."""
    short, long = sorted((first, second))
    long = short if short > room else max(short, room - short)
    if short + long > room:
        short = room // 2
        long = short + room % 2
    return (long, short) if first > second else (short, long)


def window_rows(
    frame: Frame, ids: Sequence[int], max_length: int, stride: int, before: Sequence[int] | None = None
) -> tuple[list[TokenRow], list[Window]]:
    """One text in rows of at most ``max_length`` tokens, and the window of ``ids`` that each row shows.

    Two windows share ``stride`` tokens, which must be fewer than fit into a window.  ``before``: ids that are the first
    text of every row, such as a question; the windows are then the second text.
    """
    room = max_length - frame.count(before is not None) - len(before or ())
    view = windows(len(ids), room, stride, "right")
    texts = [ids[start:end] for start, end in view]
    return [frame.row(text) if before is None else frame.row(before, text) for text in texts], view


def best_windows(word_ids: list[int], view: list[Window]) -> list[int]:
    """For each piece, the index of the window in which its word has the most context; one window per word if possible.

    The context of a word is the smaller number of tokens on either side of it in the window, as in Google's
    run_squad.py (``_check_is_max_context``).  If no window holds the whole word, each piece takes the window that holds
    the most of the word.
    """
    chosen = []
    first = last = 0  # the windows that hold some of the word; a book has thousands of windows
    for word in word_ranges(word_ids):
        while view[first][1] <= word.start:
            first += 1
        while last < len(view) and view[last][0] < word.stop:
            last += 1
        near = range(first, last)
        context = {k: min(word.start - view[k][0], view[k][1] - word.stop) for k in near}
        for piece in word:
            chosen.append(max((k for k in near if view[k][0] <= piece < view[k][1]), key=context.__getitem__))
    return chosen


def without_spaces(text: str, span: Window) -> Window:
    """The span without white space at its ends, unless there is nothing else in it.

    Words of BERT have none; a piece of SentencePiece covers the space before it.
    """
    start, end = span
    written = text[start:end]
    if not (kept := written.strip()):
        return span
    start += len(written) - len(written.lstrip())
    return start, start + len(kept)


def word_ranges(word_ids: list[int]) -> list[range]:
    """The pieces of each word, as ranges of piece indices."""
    ranges = []
    start = 0
    for _, group in groupby(word_ids):
        stop = start + len(list(group))
        ranges.append(range(start, stop))
        start = stop
    return ranges
