"""Padding rows that already exist: what a data collator calls after examples were tokenized one by one.

``BertTokenizer.pad`` in the ecosystem's convention: lists or tensors in, equal rows out; fields it does not know
(labels) are passed through as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.batch_encoding import BatchEncoding
from minibert.tokenizer.layout import FILLS, fill_up
from minibert.tokenizer.request import Request

MAIN_INPUT = "input_ids"


@dataclass(frozen=True, slots=True)
class Filler:
    """The value that fills each known field, and the side it goes to."""

    pad_id: int
    side: str
    with_mask: bool
    mask_was_asked: bool = False

    @property
    def values(self) -> dict[str, int]:
        """What each known field is filled with."""
        known = {MAIN_INPUT: self.pad_id, **FILLS}
        return known if self.with_mask else {name: fill for name, fill in known.items() if name != "attention_mask"}

    def fill(self, fields: dict[str, list[Any]], length: int) -> dict[str, list[Any]]:
        """``fields`` with the rows of those known filled up to ``length`` tokens; longer rows stay as they are."""
        main = fields[MAIN_INPUT]
        if self.with_mask and "attention_mask" not in fields:
            fields = {**fields, "attention_mask": [[1] * len(row) for row in main]}
        missing = [length - len(row) for row in main]
        for name, fill in self.values.items():
            if name in fields:
                fill_up(fields[name], fill, missing, self.side)
        return fields


def pad_rows(encoded: Any, request: Request, filler: Filler, return_tensors: str | None) -> BatchEncoding:
    """Pad one row (a mapping of lists), or a batch (a mapping of lists of lists, or a list of mappings)."""
    if isinstance(encoded, Sequence) and encoded and all(isinstance(row, Mapping) for row in encoded):
        names = list(encoded[0])
        lacking = next(((i, name) for i, row in enumerate(encoded) for name in names if name not in row), None)
        if lacking is not None:
            raise TokenizerError(f"Row {lacking[0]} to pad has no {lacking[1]}, which row 0 has.")
        fields = {name: [row[name] for row in encoded] for name in names}
    elif isinstance(encoded, Mapping):
        fields = dict(encoded)
    else:
        raise TokenizerError("pad() takes a mapping of fields, or a list of such mappings, as the tokenizer returns.")
    if MAIN_INPUT not in fields:
        found = ", ".join(map(str, fields)) or "none"
        raise TokenizerError(f"pad() needs {MAIN_INPUT} among the fields; it got {found}.")
    main = fields[MAIN_INPUT]
    if main is None or (isinstance(main, list | tuple) and not main):
        return BatchEncoding({**fields, "attention_mask": []} if filler.mask_was_asked else fields)
    return_tensors = _kind_of(main) if return_tensors is None else return_tensors
    fields = {name: _as_lists(values) for name, values in fields.items()}
    main = fields[MAIN_INPUT]
    if not isinstance(main, list):
        raise TokenizerError(f"{MAIN_INPUT} to pad is {main!r:.80}; expected a list of ids or of rows.")
    is_row = not any(isinstance(row, list) for row in main)
    if is_row:
        fields = {name: [values] for name, values in fields.items()}
        main = [main]
    for name, values in fields.items():
        known = name in filler.values
        if not isinstance(values, list) or (known and not all(isinstance(row, list) for row in values)):
            if is_row:
                raise TokenizerError(f"{name} to pad is {values[0]!r:.80}; expected a list of numbers.")
            raise TokenizerError(f"{name} to pad holds {values!r:.80}; expected a list of rows, each a list.")
    sizes = {name: len(values) for name, values in fields.items()}
    if len(set(sizes.values())) > 1:
        raise TokenizerError(f"The fields to pad hold different numbers of rows: {sizes}.")
    length = 0 if request.padding == "do_not_pad" else request.padded_length(max(map(len, main)))
    data = filler.fill(fields, length)  # in place: the lists are copies by now
    return BatchEncoding({name: rows[0] for name, rows in data.items()} if is_row else data, tensor_type=return_tensors)


def _kind_of(values: Any) -> str | None:
    """The tensor type of what came in, so that the same comes out."""
    first = values[0] if isinstance(values, list | tuple) else values
    module = type(first).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np"}.get(module)


def _as_lists(values: Any) -> Any:
    if hasattr(values, "tolist"):
        return values.tolist()
    return [_as_lists(value) for value in values] if isinstance(values, list | tuple | range) else values
