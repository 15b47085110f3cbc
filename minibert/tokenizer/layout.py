"""[CLS] A [SEP], or [CLS] A [SEP] B [SEP]: the one place that lays a row out.  Devlin et al. 2018, figure 2.

Whatever becomes a model's input goes through here: the tokenizer's rows, those of the embedder, of fine-tuning and of
pre-training.  ``lay_out`` is the layout itself, for values of any kind; a ``TokenRow`` is a finished row of ids;
``window_rows`` reads a long text in several.  Rows become a batch in collate.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from minibert.tokenizer.truncation import Window, windows

T = TypeVar("T")

FILLS = {"token_type_ids": 0, "attention_mask": 0, "special_tokens_mask": 1}  # what pads each field but the ids


def special_count(is_pair: bool) -> int:
    """How many tokens stand beside the texts: 2, or 3 with a second text."""
    return 3 if is_pair else 2


def lay_out(cls: T, first: Sequence[T], sep: T, second: Sequence[T] | None, last: T) -> list[T]:
    """The row of one text, or of two; any values, one per token, ``sep`` and ``last`` being those of the [SEP]s."""
    row = [cls, *first, sep]
    if second is not None:
        row += second
        row.append(last)
    return row


@dataclass(slots=True)  # not frozen: that takes twice as long to make, and a tokenizer makes one for each text
class TokenRow:
    """A text, a pair, or a window of one, as the model reads it, without padding."""

    ids: list[int]  # [CLS] … [SEP]
    second: int  # where segment B begins; the row's length where there is none

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def segments(self) -> list[int]:
        """``token_type_ids``: 0 for the first text with [CLS] and its [SEP], 1 for the second with its own."""
        row = [0] * self.second
        return row if self.second == len(self.ids) else row + [1] * (len(self.ids) - self.second)


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the texts: id and text of [CLS], [SEP] and [PAD]."""

    cls: tuple[int, str]
    sep: tuple[int, str]
    pad: tuple[int, str]

    def row(self, first: Sequence[int], second: Sequence[int] | None = None, add_special: bool = True) -> TokenRow:
        """The row of one text's ids, or of two; nothing around them without ``add_special``."""
        if not add_special:
            return TokenRow([*first, *(second or ())], len(first))
        sep = self.sep[0]
        return TokenRow(lay_out(self.cls[0], first, sep, second, sep), len(first) + 2)


def window_rows(
    frame: Frame, ids: Sequence[int], max_length: int, stride: int, before: Sequence[int] | None = None
) -> tuple[list[TokenRow], list[Window]]:
    """One text, laid out in rows of at most ``max_length`` tokens, and the window of ``ids`` that each shows.

    Two windows share ``stride`` tokens, which is less than fit into one.  ``before``: ids that every row has as its
    first text, a question; then the windows are the second.
    """
    room = max_length - special_count(before is not None) - len(before or ())
    view = windows(len(ids), room, stride, "right")
    texts = [ids[start:end] for start, end in view]
    return [frame.row(text) if before is None else frame.row(before, text) for text in texts], view


def fill_up(rows: list[list[T]], fill: T, missing: Sequence[int], side: str) -> None:
    """Put as many of ``fill`` as are ``missing`` on the padding ``side`` of each row, in place; below 0 is none."""
    for row, count in zip(rows, missing, strict=True):
        if count > 0:
            at = len(row) if side == "right" else 0
            row[at:at] = [fill] * count
