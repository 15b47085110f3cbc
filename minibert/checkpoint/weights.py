"""Weight files, opened but not read: names, shapes and kinds at once, a tensor when it is asked for.

Nothing a checkpoint brings is executed: safetensors is plain data, and a .bin (a pickle) is opened by torch's
restricted reader (``weights_only=True``), which builds tensors and nothing else.  Start with :func:`open_weights`.
"""

import pickle
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minibert.errors import CheckpointError
from minibert.source import Source, find_file

MINIMUM_TORCH = (2, 6)  # before it, weights_only=True could be made to execute code (CVE-2025-32434)
KINDS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


class Weights(ABC):
    """The tensors of one checkpoint, by the names its file gives them."""

    files: tuple[Path, ...]

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all tensors, in the file's order."""

    @abstractmethod
    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number (``"float32"``) of a tensor, without reading it."""

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """The tensor itself, memory-mapped where the format allows."""


class SafetensorsWeights(Weights):
    """One .safetensors file."""

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        try:
            file: Any = safe_open(path, framework="pt")
            self._names: list[str] = list(file.keys())
            self._file = file
        except (SafetensorError, OSError) as error:
            raise CheckpointError(
                f"{path} is not a whole safetensors file ({error}). Download or copy it again."
            ) from error

    def names(self) -> list[str]:
        """Names of all tensors, in the file's order."""
        return self._names

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number of a tensor."""
        entry = self._file.get_slice(name)
        kind = entry.get_dtype()
        return tuple(entry.get_shape()), KINDS.get(kind, kind)

    def tensor(self, name: str) -> Tensor:
        """The tensor, memory-mapped: its pages are read when they are first used."""
        tensor: Tensor = self._file.get_tensor(name)
        return tensor


class PickleWeights(Weights):
    """One .bin file, as torch.save wrote it."""

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < MINIMUM_TORCH:
            raise CheckpointError(
                f"{path} is a pickle; torch {torch.__version__} cannot read one safely. Update torch to 2.6 or newer, "
                "or use a safetensors file."
            )
        try:
            content = self._load(path)
        except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError, IndexError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise CheckpointError(
                f"{path} cannot be read as a plain state dict ({reason}). Nothing in it was executed."
            ) from error
        if not isinstance(content, dict) or not all(
            isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items()
        ):
            raise CheckpointError(f"{path} does not hold a state dict, that is names with their tensors.")
        self._tensors: dict[str, Tensor] = dict(content)

    @staticmethod
    def _load(path: Path) -> Any:
        try:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError as error:  # files older than torch 1.6 are no zip archives and cannot be mapped
            if "mmap" not in str(error):
                raise
            return torch.load(path, map_location="cpu", weights_only=True)

    def names(self) -> list[str]:
        """Names of all tensors, in the file's order."""
        return list(self._tensors)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number of a tensor."""
        tensor = self._tensors[name]
        return tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")

    def tensor(self, name: str) -> Tensor:
        """The tensor."""
        return self._tensors[name]


FORMATS: tuple[tuple[str, type[SafetensorsWeights] | type[PickleWeights]], ...] = (
    ("model.safetensors", SafetensorsWeights),
    ("pytorch_model.bin", PickleWeights),
)


def open_weights(source: Source) -> Weights:
    """The weights of a folder: safetensors first, then .bin.

    Raises CheckpointError when there are none, or when the file is broken.
    """
    for name, format_class in FORMATS:
        path = find_file(source, name)
        if path is not None:
            return format_class(path)
    expected = ", ".join(name for name, _ in FORMATS)
    raise CheckpointError(f"{source} holds no weights; looked for {expected}.")
