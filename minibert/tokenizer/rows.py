"""From examples to rows: tokens of each text, cut to fit, laid out, padded.  Twice: with everything, and ids only.

``Plan.rows`` is the one to read: it makes the rows of encoding.py, which know offsets, words and overflow.
``Plan.token_rows`` cuts and lays out the same rows as bare ids, several times faster, for the calls that most programs
make; ``columns`` pads them.  Tests compare both with the library.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.encoder import TextEncoder
from minibert.tokenizer.encoding import Encoding, TokenSequence
from minibert.tokenizer.layout import FILLS, Frame, TokenRow, fill_up, lay_out, special_count
from minibert.tokenizer.request import Example, Request, Text
from minibert.tokenizer.truncation import Window, limits, windows

SIMPLE_COLUMNS = frozenset({"token_type_ids", "attention_mask"})


@dataclass(frozen=True, slots=True)
class Plan:
    """All that decides what an example becomes; one call of the tokenizer makes one."""

    encoder: TextEncoder
    frame: Frame
    request: Request
    add_special: bool
    stride: int
    split_special_tokens: bool
    truncation_side: str
    padding_side: str

    def check(self) -> None:
        """TokenizerError for a stride that no text could be cut with."""
        room = (self.request.max_length or 0) - special_count(is_pair=False)
        if self.request.truncation != "do_not_truncate" and 0 <= room < self.stride:
            raise TokenizerError(
                f"stride={self.stride} leaves no way forward: max_length={self.request.max_length} has room for {room} "
                "tokens beside the special ones. Use a smaller stride."
            )

    def rows(self, examples: Sequence[Example]) -> list[Encoding]:
        """One row for each example, its overflow attached, padded as asked."""
        rows = []
        for first, second in examples:
            sequences = [self._sequence(text) for text in (first, second) if text is not None]
            shown = combinations(self._views([len(sequence.ids) for sequence in sequences]))
            row, *overflow = (Encoding(sequences, windows, self.frame, self.add_special) for windows in shown)
            row.overflowing = overflow
            rows.append(row)
        if self.request.padding != "do_not_pad":
            length = self.request.padded_length(max(map(len, rows)))
            for row in rows:
                row.pad(length, self.padding_side)
        return rows

    def _sequence(self, text: Text) -> TokenSequence:
        encoder, split = self.encoder, self.split_special_tokens
        return TokenSequence(encoder.ids(text, split), partial(encoder.detail, text, split))

    def _room(self, is_pair: bool) -> int | None:
        """How many tokens of text fit; None when nothing is cut, which is so too when not even the specials fit."""
        if self.request.truncation == "do_not_truncate" or self.request.max_length is None:
            return None
        room = self.request.max_length - (special_count(is_pair) if self.add_special else 0)
        return room if room >= 0 else None

    def _views(self, sizes: Sequence[int]) -> list[list[Window]]:
        """For each text its windows: what the row shows, then the overflow."""
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
        """Each example's row without padding; and None, or where it is cut the rows of the rest, with ``overflows``.

        A tokenizer's hottest loop: what ``Frame.row`` does is spelled out for rows that are not cut.
        """
        ids_of, split, add_special = self.encoder.ids, self.split_special_tokens, self.add_special
        cls, sep = self.frame.cls[0], self.frame.sep[0]
        rooms = self._room(False), self._room(True)
        for first, second in examples:
            a = ids_of(first, split)
            b = None if second is None else ids_of(second, split)
            room = rooms[b is not None]
            if room is None or len(a) + len(b or ()) <= room:
                if add_special:
                    yield TokenRow(lay_out(cls, a, sep, b, sep), len(a) + 2), None
                else:
                    yield TokenRow(a if b is None else a + b, len(a)), None
                continue
            shown = combinations(self._views([len(a)] if b is None else [len(a), len(b)]))
            rows = []
            for (start, end), *others in islice(shown, None if overflows else 1):
                part = None if b is None else b[slice(*others[0])]
                rows.append(self.frame.row(a[start:end], part, add_special))
            yield rows[0], rows[1:]

    def columns(self, examples: Sequence[Example], wanted: set[str]) -> dict[str, Any]:
        """The ids of each row, and of ``SIMPLE_COLUMNS`` those that are wanted."""
        ids: list[list[int]] = []
        types: list[list[int]] = []
        for row, _ in self.token_rows(examples):
            ids.append(row.ids)
            types.append(row.segments)
        columns = {"input_ids": ids, "token_type_ids": types, "attention_mask": [[1] * len(row) for row in ids]}
        columns = {name: column for name, column in columns.items() if name == "input_ids" or name in wanted}
        if self.request.padding != "do_not_pad":
            lengths = list(map(len, columns["input_ids"]))
            length = self.request.padded_length(max(lengths))
            missing, fills = [length - count for count in lengths], {"input_ids": self.frame.pad[0], **FILLS}
            for name, column in columns.items():
                fill_up(column, fills[name], missing, self.padding_side)
        return columns


def combinations(views: list[list[Window]]) -> Iterator[list[Window]]:
    """What each row shows of each text: the first windows, then the overflow in the library's order.

    That is every other combination, the second text varying within the first; one at a time, as they may be very many.
    """
    if len(views) == 1:
        yield from ([window] for window in views[0])
        return
    first, second = views
    yield [first[0], second[0]]
    yield from ([a, b] for a in first[1:] for b in second)
    yield from ([first[0], b] for b in second[1:])


def columns_of(rows: Sequence[Encoding], wanted: set[str]) -> tuple[dict[str, Any], list[Encoding]]:
    """The rows as columns, and the rows in that order; overflow follows its row when it is wanted."""
    overflows = "overflow_to_sample_mapping" in wanted
    flat = [part for row in rows for part in (row, *row.overflowing)] if overflows else list(rows)
    data: dict[str, Any] = {"input_ids": [row.ids for row in flat]}
    if "token_type_ids" in wanted:
        data["token_type_ids"] = [row.type_ids for row in flat]
    if "attention_mask" in wanted:
        data["attention_mask"] = [row.attention_mask for row in flat]
    if "special_tokens_mask" in wanted:
        data["special_tokens_mask"] = [row.special_tokens_mask for row in flat]
    if "offset_mapping" in wanted:
        data["offset_mapping"] = [row.offsets for row in flat]
    if "length" in wanted:
        data["length"] = [len(row) for row in flat]
    if overflows:
        data["overflow_to_sample_mapping"] = [i for i, row in enumerate(rows) for _ in range(1 + len(row.overflowing))]
    return data, flat
