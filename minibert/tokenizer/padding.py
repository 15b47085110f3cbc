"""Padding rows that already exist: what a data collator calls after examples were tokenized one by one.

``BertTokenizer.pad`` in the ecosystem's convention: lists or tensors in, equal rows out; fields it does not know
(labels) are passed through as they are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.batch_encoding import BatchEncoding
from minibert.tokenizer.request import Request, check_side

MAIN_INPUT = "input_ids"


@dataclass(frozen=True, slots=True)
class Filler:
    """The value that fills each known field, and the side it goes to."""

    pad_id: int
    side: str
    with_mask: bool
    mask_was_asked: bool = False

    def fill(self, row: dict[str, Any], length: int) -> dict[str, Any]:
        """``row`` with its known fields filled up to ``length`` tokens; longer rows stay as they are."""
        size = len(row[MAIN_INPUT])
        if self.with_mask and "attention_mask" not in row:
            row = {**row, "attention_mask": [1] * size}
        fillers = {MAIN_INPUT: self.pad_id, "token_type_ids": 0, "special_tokens_mask": 1}
        if self.with_mask:
            fillers["attention_mask"] = 0
        filled = {}
        for name, values in row.items():
            padding = [fillers[name]] * (length - size) if name in fillers else []
            filled[name] = values if not padding else values + padding if self.side == "right" else padding + values
        return filled


def pad_rows(encoded: Any, request: Request, filler: Filler, return_tensors: str | None) -> BatchEncoding:
    """Pad one row (a mapping of lists), or a batch (a mapping of lists of lists, or a list of mappings)."""
    if isinstance(encoded, Sequence) and encoded and isinstance(encoded[0], Mapping):
        fields = {name: [row[name] for row in encoded] for name in encoded[0]}
    elif isinstance(encoded, Mapping):
        fields = dict(encoded)
    else:
        raise TokenizerError("pad() takes a mapping of fields, or a list of such mappings, as the tokenizer returns.")
    if MAIN_INPUT not in fields:
        raise TokenizerError(f"pad() needs {MAIN_INPUT} among the fields; it got {', '.join(fields) or 'none'}.")
    main = fields[MAIN_INPUT]
    if main is None or len(main) == 0:
        return BatchEncoding({**fields, "attention_mask": []} if filler.mask_was_asked else fields)
    return_tensors = return_tensors or _kind_of(main)
    fields = {name: _as_lists(values) for name, values in fields.items()}
    main = fields[MAIN_INPUT]
    if not isinstance(main[0], list | tuple):
        return BatchEncoding(_padded(fields, len(main), request, filler), tensor_type=return_tensors)
    sizes = {name: len(values) for name, values in fields.items()}
    if len(set(sizes.values())) > 1:
        raise TokenizerError(f"The fields to pad hold different numbers of rows: {sizes}.")
    longest = max(map(len, main))
    rows = [
        _padded(dict(zip(fields, row, strict=True)), longest, request, filler)
        for row in zip(*fields.values(), strict=True)
    ]
    return BatchEncoding({name: [row[name] for row in rows] for name in rows[0]}, tensor_type=return_tensors)


def _padded(row: dict[str, Any], longest: int, request: Request, filler: Filler) -> dict[str, Any]:
    wanted = len(row[MAIN_INPUT]) if request.padding == "do_not_pad" else request.padded_length(longest)
    check_side("padding_side", filler.side)
    return filler.fill(row, wanted)


def _kind_of(values: Any) -> str | None:
    """The tensor type of what came in, so that the same comes out."""
    first = values[0] if isinstance(values, list | tuple) else values
    module = type(first).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np"}.get(module)


def _as_lists(values: Any) -> Any:
    if hasattr(values, "tolist"):
        return values.tolist()
    return [_as_lists(value) for value in values] if isinstance(values, list | tuple) else values
