"""What a call of the tokenizer returns: a dictionary of lists or tensors that can also answer "which token is this?".

Keys are the model's argument names, so ``model(**batch)`` works.  The questions (``word_ids``, ``char_to_token`` …)
go to the rows in encoding.py; they count characters of the text as it was given.  Torch and NumPy are imported
only here, and only when asked for.
"""

import operator
from collections import UserDict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from minibert.errors import MissingExtraError, TokenizerError
from minibert.tokenizer.encoding import Encoding
from minibert.tokenizer.request import is_whole


class CharSpan(NamedTuple):
    """Half-open span of characters."""

    start: int
    end: int


class TokenSpan(NamedTuple):
    """Half-open span of token positions."""

    start: int
    end: int


class BatchEncoding(UserDict[str, Any]):
    """``data`` by key, also as attributes; ``encoding`` gives a row for each entry of the batch, now or when asked.

    ``tensor_type`` "pt" or "np" turns the lists into (B, T) int64 tensors; ``prepend_batch_axis`` adds the B.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        encoding: Encoding | Sequence[Encoding] | Callable[[], list[Encoding]] | None = None,
        tensor_type: str | None = None,
        prepend_batch_axis: bool = False,
    ) -> None:
        super().__init__(data)
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
        if name in ("data", "_rows"):  # not there yet while unpickling
            raise AttributeError(name)
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(f"This batch has no field {name!r}; it has {', '.join(self.data)}.") from None

    def __getstate__(self) -> dict[str, Any]:
        return {"data": self.data, "_rows": self.encodings}  # rows that are still to be made could not travel

    @property
    def is_fast(self) -> bool:
        """True when the rows are known, so that offsets and words can be asked for."""
        return self._rows is not None

    @property
    def encodings(self) -> list[Encoding] | None:
        """The rows, or None for a batch that was made from bare lists."""
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
        """``method(index)`` speaks of row 0, ``method(row, index)`` of any."""
        row = self._row(0 if second is None else first)
        index = _position(first if second is None else second)
        return row, index + len(row) if index < 0 else index

    def tokens(self, batch_index: int = 0) -> list[str]:
        """Token texts of a row."""
        return self._row(batch_index).tokens

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token the number of its word (of the list's element if split into words), None for specials."""
        return self._row(batch_index).word_ids

    def sequence_ids(self, batch_index: int = 0) -> list[int | None]:
        """For each token 0 or 1, the text it is from, None for specials."""
        return self._row(batch_index).sequence_ids

    def token_to_sequence(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """Which text (0 or 1) a token is from."""
        row, index = self._row_and_index(batch_or_token_index, token_index)
        return row.token_to_sequence(index)

    def token_to_word(self, batch_or_token_index: int, token_index: int | None = None) -> int | None:
        """The number of a token's word."""
        row, index = self._row_and_index(batch_or_token_index, token_index)
        return row.token_to_word(index)

    def token_to_chars(self, batch_or_token_index: int, token_index: int | None = None) -> CharSpan | None:
        """The characters a token covers."""
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
        """The number of the word that covers a character."""
        row, index = self._row_and_index(batch_or_char_index, char_index)
        return row.char_to_word(index, _position(sequence_index))

    def word_to_tokens(
        self, batch_or_word_index: int, word_index: int | None = None, sequence_index: int = 0
    ) -> TokenSpan | None:
        """The positions of a word's tokens."""
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
        """Replace every field by a tensor; TokenizerError when rows differ in length (pad them first)."""
        kind = getattr(tensor_type, "value", tensor_type)
        if kind is None:
            return self
        if not isinstance(kind, str) or kind not in ("pt", "np"):
            raise TokenizerError(f"return_tensors={kind!r} is not known; use 'pt' for torch or 'np' for NumPy.")
        convert = _torch_tensor if kind == "pt" else _numpy_array
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
        raise TokenizerError(f"{value!r:.80} is no position: rows, tokens, words and characters are counted from 0.")
    return operator.index(value)


def _torch_tensor(name: str, value: Any) -> Any:
    import torch

    if torch.is_tensor(value):
        return value
    try:
        tensor = torch.tensor(value)
    except (ValueError, TypeError) as error:
        raise TokenizerError(_not_rectangular(name, value, error)) from error
    return tensor.long() if tensor.numel() == 0 else tensor  # torch takes an empty list for floats


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
