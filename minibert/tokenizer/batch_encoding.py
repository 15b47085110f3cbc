"""A batch: what a call of the tokenizer returns, how rows are padded afterwards, and how they become tensors.

``BatchEncoding`` is a dictionary of lists or tensors; its keys are the model's argument names, so ``model(**batch)``
works.  Questions such as ``word_ids`` and ``char_to_token`` go to the rows in encoding.py; they count characters of
the text as given.  ``pad_rows`` is ``BertTokenizer.pad``, which data collators call.  ``collate`` makes the batches of
training, fine-tuning and scoring; the embedder packs its rows instead (embedding/packed.py).  Torch and NumPy are
imported only here, and only when asked for.
"""

import operator
from collections import UserDict
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

from minibert.errors import MissingExtraError, TokenizerError
from minibert.tokenizer.batch_html import batch_html
from minibert.tokenizer.encoding import Encoding
from minibert.tokenizer.request import Request, is_whole
from minibert.tokenizer.windows import FILLS, TokenRow, fill_up

if TYPE_CHECKING:
    from torch import Tensor

MAIN_INPUT = "input_ids"


class CharSpan(NamedTuple):
    """Half-open span of characters."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Half-open span of token positions."""

    start: int
    end: int


class BatchEncoding(UserDict[str, Any]):
    """``data`` by key and by attribute; ``encoding`` holds the rows of the batch, or a function that makes them.

    ``tensor_type`` "pt" or "np" turns the lists into (B, T) int64 tensors; ``prepend_batch_axis`` adds the B.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | Callable[[], list[Encoding]] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
    ) -> None:
        super().__init__()
        self.data.update(data or {})
        rows = [encoding] if isinstance(encoding, Encoding) else encoding
        self._rows = rows if rows is None or callable(rows) else list(rows)
        self.convert_to_tensors(tensor_type, prepend_batch_axis)

    def __getitem__(self, key: Any) -> Any:
        """A field by name; a row by its number; with a slice, rows."""
        if isinstance(key, str):
            return self.data[key]
        if (rows := self.encodings) is not None:
            return rows[key]
        if isinstance(key, slice):
            return {name: values[key] for name, values in self.data.items()}
        raise KeyError(f"{key!r}: this batch has fields ({', '.join(self.data)}) and no rows to number.")

    def __getattr__(self, name: str) -> Any:
        if name in ("data", "_rows"):  # missing during unpickling
            raise AttributeError(name)
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(f"This batch has no field {name!r}; it has {', '.join(self.data)}.") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "_rows": self.encodings}  # a function that makes the rows cannot be pickled

    def _repr_html_(self) -> str:
        return batch_html(self.data, [row.tokens for row in self.encodings or ()])

    @property
    def is_fast(self) -> bool:
        """True if the rows are known, so that offsets and words are available."""
        return self._rows is not None

    @property
    def encodings(self) -> list[Encoding] | None:
        """The rows, or None for a batch made from plain lists."""
        if callable(self._rows):
            self._rows = self._rows()
        return self._rows

    @property
    def n_sequences(self) -> int | None:
        """1 for single texts, 2 for pairs."""
        return self.encodings[0].n_sequences if self.encodings else None

    def _row(self, batch_index: int) -> Encoding:
        rows, batch_index = self.encodings, _position(batch_index)
        if not rows:
            raise TokenizerError("This batch was made from bare lists; only what the tokenizer returns knows its text.")
        if not -len(rows) <= batch_index < len(rows):
            raise IndexError(f"There is no row {batch_index} in a batch of {len(rows)}.")
        return rows[batch_index]

    def _row_and_index(self, first: int, second: int | None) -> tuple[Encoding, int]:
        """``method(index)`` means row 0, ``method(row, index)`` any row."""
        row = self._row(0 if second is None else first)
        index = _position(first if second is None else second)
        return row, index + len(row) if index < 0 else index

    def tokens(self, batch_index: int = 0) -> list[str]:
        """The tokens of a row as text."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """Per token, the index of its word (of the list's element if split into words), None for special tokens."""
        return self._row(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """Per token, 0 or 1 for the text it comes from, None for special tokens."""
        return self._row(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The text (0 or 1) that a token comes from, None for special tokens."""
        row, index = self._row_and_index(batch_or_token_index, token_index)
        return row.token_to_sequence(index)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The index of a token's word."""
        row, index = self._row_and_index(batch_or_token_index, token_index)
        return row.token_to_word(index)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters that a token covers."""
        row, index = self._row_and_index(batch_or_token_index, token_index)
        span = row.token_to_chars(index)
        return None if span is None else CharSpan(*span)

    def char_to_token(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The position of the token that covers a character; None for spaces and removed characters."""
        row, index = self._row_and_index(batch_or_char_index, char_index)
        return row.char_to_token(index, _position(sequence_index))

    def char_to_word(
        self, batch_or_char_index: int, char_index: int | None = None, sequence_index: int = 0
    ) -> int | None:
        """The index of the word that covers a character."""
        row, index = self._row_and_index(batch_or_char_index, char_index)
        return row.char_to_word(index, _position(sequence_index))

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The positions of a word's tokens in the row."""
        row, index = self._row_and_index(batch_or_word_index, word_index)
        span = row.word_to_tokens(index, _position(sequence_index))
        return None if span is None else TokenSpan(*span)

    def word_to_chars(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> CharSpan | None:
        """The characters a word covers."""
        row, index = self._row_and_index(batch_or_word_index, word_index)
        span = row.word_to_chars(index, _position(sequence_index))
        return None if span is None else CharSpan(*span)

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> "BatchEncoding":
        """Replace every field by a tensor; TokenizerError if rows differ in length (pad them first)."""
        library: Any = getattr(tensor_type, "value", tensor_type)
        if library is None:
            return self
        if not isinstance(library, str) or library not in ("pt", "np"):
            raise TokenizerError(f"return_tensors={library!r} is not known; use 'pt' for torch or 'np' for NumPy.")
        convert = _torch_tensor if library == "pt" else _numpy_array
        for name, value in self.data.items():
            self.data[name] = convert(name, [value] if prepend_batch_axis else value)
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> "BatchEncoding":
        """Move every tensor to ``device``; returns this batch."""
        for name, value in self.data.items():
            if hasattr(value, "to"):
                self.data[name] = value.to(device=device, non_blocking=non_blocking)
        return self


def _position(value: Any) -> int:
    if not is_whole(value):
        raise TokenizerError(f"{value!r:.80} is not a position: rows, tokens, words and characters are counted from 0.")
    return operator.index(value)


def _torch_tensor(name: str, value: Any) -> Any:
    import torch

    if torch.is_tensor(value):
        return value
    try:
        tensor = torch.tensor(value)
    except (ValueError, TypeError) as error:
        raise TokenizerError(_not_rectangular(name, value, error)) from error
    return tensor.long() if tensor.numel() == 0 else tensor  # torch.tensor([]) is float32


def _numpy_array(name: str, value: Any) -> Any:
    try:
        import numpy as np
    except ImportError as error:
        raise MissingExtraError("return_tensors='np' needs NumPy: pip install numpy, or use 'pt'.") from error
    if isinstance(value, list) and value and isinstance(value[0], list) and len({len(row) for row in value}) > 1:
        ragged: Any = np.empty(len(value), dtype=object)
        ragged[:] = [np.asarray(row) for row in value]
        return ragged
    array = np.asarray(value)
    return array.astype(np.int64) if array.size == 0 else array


def _not_rectangular(name: str, value: Any, error: Exception) -> str:
    lengths = sorted({len(row) for row in value if isinstance(row, list)}) if isinstance(value, list) else []
    if len(lengths) > 1:
        return (
            f"{name} cannot become one tensor: its rows hold {lengths[0]} to {lengths[-1]} tokens. "
            "Make them equal with padding=True, and truncation=True where texts are long."
        )
    return f"{name} cannot become a tensor ({error})."


def pad_rows(
    encoded: Any,
    request: Request,
    pad_id: int,
    side: str,
    *,
    return_attention_mask: bool | None,
    mask_by_default: bool,
    return_tensors: str | None,
) -> BatchEncoding:
    """Pad one row (a mapping of lists), or a batch (a mapping of lists of lists, or a list of mappings).

    Known fields are filled on ``side``, rows that are longer stay as they are, and other fields (labels) pass through.
    If an attention mask is returned, a missing one is added; otherwise a present one is left unpadded.
    """
    fields = _fields_of(encoded)
    main = fields[MAIN_INPUT]
    if main is None or (isinstance(main, list | tuple) and not main):
        return BatchEncoding({**fields, "attention_mask": []} if return_attention_mask is True else fields)
    return_tensors = _tensor_type_of(main) if return_tensors is None else return_tensors
    fields = {name: _as_lists(values) for name, values in fields.items()}
    main = fields[MAIN_INPUT]
    if not isinstance(main, list):
        raise TokenizerError(f"{MAIN_INPUT} to pad is {main!r:.80}; expected a list of ids or of rows.")
    is_row = not any(isinstance(row, list) for row in main)
    if is_row:
        fields = {name: [values] for name, values in fields.items()}
        main = [main]
    fills = {MAIN_INPUT: pad_id, **FILLS}
    with_mask = mask_by_default if return_attention_mask is None else return_attention_mask
    if not with_mask:
        del fills["attention_mask"]
    for name, values in fields.items():
        if not isinstance(values, list) or (name in fills and not all(isinstance(row, list) for row in values)):
            if is_row:
                raise TokenizerError(f"{name} to pad is {values[0]!r:.80}; expected a list of numbers.")
            raise TokenizerError(f"{name} to pad holds {values!r:.80}; expected a list of rows, each a list.")
    sizes = {name: len(values) for name, values in fields.items()}
    if len(set(sizes.values())) > 1:
        raise TokenizerError(f"The fields to pad hold different numbers of rows: {sizes}.")
    length = 0 if request.padding == "do_not_pad" else request.padded_length(max(map(len, main)))
    if with_mask and "attention_mask" not in fields:
        fields["attention_mask"] = [[1] * len(row) for row in main]
    missing_tokens = [length - len(row) for row in main]
    for name in fields.keys() & fills.keys():
        fill_up(fields[name], fills[name], missing_tokens, side)  # in place: _as_lists has copied them
    data = {name: rows[0] for name, rows in fields.items()} if is_row else fields
    return BatchEncoding(data, tensor_type=return_tensors)


def _fields_of(encoded: Any) -> dict[str, Any]:
    """The fields to pad by name, each the values of all rows."""
    if isinstance(encoded, Sequence) and encoded and all(isinstance(row, Mapping) for row in encoded):
        names = list(encoded[0])
        for i, row in enumerate(encoded):
            for name in names:
                if name not in row:
                    raise TokenizerError(f"Row {i} to pad has no {name}, which row 0 has.")
        fields = {name: [row[name] for row in encoded] for name in names}
    elif isinstance(encoded, Mapping):
        fields = dict(encoded)
    else:
        raise TokenizerError("pad() takes a mapping of fields, or a list of such mappings, as the tokenizer returns.")
    if MAIN_INPUT not in fields:
        raise TokenizerError(
            f"pad() needs {MAIN_INPUT} among the fields; it got {', '.join(map(str, fields)) or 'none'}."
        )
    return fields


def _tensor_type_of(values: Any) -> str | None:
    """The library of the tensors in ``values``, "pt" or "np"; None for lists."""
    first = values[0] if isinstance(values, list | tuple) else values
    module = type(first).__module__.partition(".")[0]
    return {"torch": "pt", "numpy": "np"}.get(module)


def _as_lists(values: Any) -> Any:
    if hasattr(values, "tolist"):
        return values.tolist()
    return [_as_lists(value) for value in values] if isinstance(values, list | tuple | range) else values


def collate(rows: Sequence[TokenRow], pad_id: int) -> dict[str, "Tensor"]:
    """``input_ids``, ``attention_mask`` and ``token_type_ids``, each (B, T) int64, padded to the longest row."""
    import torch

    input_ids, is_token = _padded([row.ids for row in rows], pad_id)
    second = torch.tensor([row.second for row in rows])
    is_second = is_token & (torch.arange(is_token.shape[1]) >= second[:, None])
    return {"input_ids": input_ids, "attention_mask": is_token.long(), "token_type_ids": is_second.long()}


def padded(rows: Sequence[Sequence[int]], fill: int) -> "Tensor":
    """(B, T) int64: the rows, padded with ``fill`` to the longest."""
    return _padded(rows, fill)[0]


def _padded(rows: Sequence[Sequence[int]], fill: int) -> tuple["Tensor", "Tensor"]:
    """The padded rows, and a (B, T) bool mask of the values that are not padding."""
    import torch

    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(int(lengths.max())) < lengths[:, None]
    values = torch.full(mask.shape, fill)
    values[mask] = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.long)
    return values, mask
