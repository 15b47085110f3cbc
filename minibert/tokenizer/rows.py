"""From examples to rows: tokens of each text, cut to fit, laid out, padded.  Twice: with everything, and ids only.

``Plan.rows`` is the one to read: it makes the rows of encoding.py, which know offsets, words and overflow.
``Plan.columns`` makes the same lists of ids, segments and masks without them, several times faster, for the calls
that most programs make; tests compare both with the library.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.encoder import Detail, TextEncoder
from minibert.tokenizer.encoding import Encoding, Frame, TokenSequence
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
        room = (self.request.max_length or 0) - 2
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
            views = self._views([len(sequence.ids) for sequence in sequences])
            row = Encoding(sequences, [view[0] for view in views], self.frame, self.add_special)
            row.overflowing = [
                Encoding(sequences, combination, self.frame, self.add_special) for combination in _overflow(views)
            ]
            rows.append(row)
        if self.request.padding != "do_not_pad":
            length = self.request.padded_length(max(map(len, rows)))
            for row in rows:
                row.pad(length, self.padding_side)
        return rows

    def _sequence(self, text: Text) -> TokenSequence:
        encoder, split = self.encoder, self.split_special_tokens

        def detail() -> Detail:
            if isinstance(text, str):
                return encoder.detail(text, split)
            whole = Detail()
            for i, word in enumerate(text):
                whole.extend(encoder.detail(word, split), i)
            return whole

        return TokenSequence(self._ids(text), detail)

    def _ids(self, text: Text) -> list[int]:
        if isinstance(text, str):
            return self.encoder.ids(text, self.split_special_tokens)
        return [token_id for word in text for token_id in self.encoder.ids(word, self.split_special_tokens)]

    def _room(self, is_pair: bool) -> int | None:
        """How many tokens of text fit; None when nothing is cut, which is so too when not even the specials fit."""
        if self.request.truncation == "do_not_truncate" or self.request.max_length is None:
            return None
        room = self.request.max_length - (2 + is_pair if self.add_special else 0)
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

    def columns(self, examples: Sequence[Example], wanted: set[str]) -> dict[str, Any]:
        """The ids of each row, and of ``SIMPLE_COLUMNS`` those that are wanted."""
        (cls, _), (sep, _), (pad, _) = self.frame.cls, self.frame.sep, self.frame.pad
        before, after = ([cls], [sep]) if self.add_special else ([], [])
        ids: list[list[int]] = []
        types: list[list[int]] = []
        rooms = self._room(False), self._room(True)
        for first, second in examples:
            a = self._ids(first)
            b = None if second is None else self._ids(second)
            room = rooms[b is not None]
            if room is not None and len(a) + len(b or ()) > room:
                (start, end), *rest = (view[0] for view in self._views([len(t) for t in (a, b) if t is not None]))
                a = a[start:end]
                if b is not None:
                    b = b[slice(*rest[0])]
            row = [*before, *a, *after]
            segments = [0] * len(row)
            if b is not None:
                row += b + after
                segments += [1] * (len(row) - len(segments))
            ids.append(row)
            types.append(segments)
        masks = [[1] * len(row) for row in ids]
        if self.request.padding != "do_not_pad":
            length = self.request.padded_length(max(map(len, ids)))
            for row, segments, mask in zip(ids, types, masks, strict=True):
                missing = length - len(row)
                if missing > 0:
                    at = len(row) if self.padding_side == "right" else 0
                    row[at:at] = [pad] * missing
                    segments[at:at] = mask[at:at] = [0] * missing
        columns = {"input_ids": ids, "token_type_ids": types, "attention_mask": masks}
        return {name: column for name, column in columns.items() if name == "input_ids" or name in wanted}


def _overflow(views: list[list[Window]]) -> list[list[Window]]:
    """Every combination of windows but the first, in the library's order: the second text varies within the first."""
    if len(views) == 1:
        return [[window] for window in views[0][1:]]
    first, second = views
    later = [[a, b] for a in first[1:] for b in second]
    return later + [[first[0], b] for b in second[1:]]


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
