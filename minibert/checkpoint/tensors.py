"""What every format of weight files gives: names, shapes and dtypes at once, each tensor when it is needed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.checkpoint.names import Names, read_names

SERIAL = 1 << 15  # numbers that torch sums on one thread: on a busy machine, several threads wait for each other


class Weights(ABC):
    """The tensors of one checkpoint, by the names its files give them."""

    files: tuple[Path, ...]
    note = ""  # what is unusual about how they were made, for the report
    settings: Mapping[str, Any] = {}  # fields of BertConfig that the file itself shows, as a graph does
    hint = ""  # for the message when a tensor is missing: which of the file could not be placed
    holder = ""  # the keys that lead to the state dict in a training checkpoint, such as "model"; "" for plain weights

    @property
    def where(self) -> str:
        """The files, for messages."""
        return ", ".join(map(str, self.files))

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all tensors, in the file's order."""

    @abstractmethod
    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and dtype (``"float32"``) of a tensor, without reading it."""

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """The tensor, memory-mapped where the format allows."""

    def readings(self) -> Names:
        """What the names mean, in the file's order."""
        return read_names(self.names())

    def why_unused(self, name: str) -> str | None:
        """Why no model uses a tensor, where the file itself tells; None where its name decides."""
        return None

    def is_finite(self, name: str) -> bool:
        """Whether a floating-point tensor has neither NaN nor infinity."""
        return all_finite(self.tensor(name))


def all_finite(tensor: Tensor) -> bool:
    """Whether a tensor has neither NaN nor infinity.  Either survives in a sum, which is enough for most tensors."""
    dtype = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    total = torch.zeros((), dtype=dtype, device=tensor.device)
    for block in torch.split(tensor.flatten(), SERIAL):
        total += block.sum(dtype=dtype)
    return bool(total.isfinite()) or bool(tensor.isfinite().all())


def dtype_name(dtype: torch.dtype) -> str:
    """The name of a dtype without ``torch.``"""
    return str(dtype).removeprefix("torch.")
