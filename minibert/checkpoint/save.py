"""From a model to a folder that transformers and minibert load bit for bit."""

import ctypes
import json
import os
import shutil
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from minibert.checkpoint.protocol import PretrainedModel
from minibert.checkpoint.tensors import dtype_name
from minibert.checkpoint.weights import DTYPES
from minibert.checksum import KEY, OPEN, seal
from minibert.config import BertConfig
from minibert.files import written_whole
from minibert.source import Source, as_path

BLOCK = 1 << 20  # bytes that are copied at once
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def save_pretrained(model: PretrainedModel, folder: Source, *, dtype: torch.dtype | None = None) -> None:
    """Write config.json and model.safetensors into ``folder``, each whole or not at all.

    ``dtype``: of the numbers in the file, default the model's.  The config's ``dtype`` stays the model's: a float32
    model saved as float16 takes half the space and still runs in float32, here and in transformers.

    Raises CheckpointError when the folder cannot be written.
    """
    folder = as_path(folder)
    tied = model.tied_names()
    state = {name: tensor.to(dtype or tensor.dtype) for name, tensor in model.state_dict().items() if name not in tied}
    saved_config(model).save_pretrained(folder)
    write_safetensors(folder / "model.safetensors", state, {"format": "pt"})


def saved_config(model: PretrainedModel) -> BertConfig:
    """The config as it is written: with the model's class and dtype."""
    settings = model.config.to_dict()
    settings.pop("torch_dtype", None)  # the older spelling of dtype
    settings |= {"architectures": [type(model).__name__], "dtype": dtype_name(model.dtype)}
    return model.config.from_dict(settings)


@dataclass(frozen=True)
class StoredNumbers:
    """The numbers of a tensor of one dimension that are in a file already, because they are too many for memory."""

    file: BinaryIO
    dtype: torch.dtype

    @property
    def nbytes(self) -> int:
        """The size of the file."""
        return self.file.seek(0, os.SEEK_END)

    @property
    def shape(self) -> tuple[int]:
        """How many numbers there are."""
        return (self.nbytes // self.element_size(),)

    def element_size(self) -> int:
        """Bytes of a number."""
        return self.dtype.itemsize


def write_safetensors(
    path: Path,
    tensors: Mapping[str, Tensor | StoredNumbers],
    metadata: dict[str, str] | None = None,
    *,
    sealed: bool = False,
) -> None:
    """Write ``tensors`` as a safetensors file, whole or not at all; see :func:`write_safetensors_to`."""
    with written_whole(path) as temporary:
        write_safetensors_to(temporary, tensors, metadata, sealed=sealed)


def write_safetensors_to(
    path: Path,
    tensors: Mapping[str, Tensor | StoredNumbers],
    metadata: dict[str, str] | None = None,
    *,
    sealed: bool = False,
) -> None:
    """Write ``tensors`` as a safetensors file: 8 bytes of length, a JSON header, then the numbers of each tensor.

    Written here because the library's writer needs numpy, on which minibert does not depend.  Tensors may be on any
    device and of any layout, or their numbers in a file.  ``sealed``: with a checksum of the file in its metadata
    (minibert/checksum.py).  Format: the safetensors README, "Format".
    """
    if sealed:
        metadata = {KEY: OPEN, **(metadata or {})}
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}

    # torch aligns to 64 bytes, and some matrix products round an unaligned memory-mapped tensor differently.  So odd
    # sizes come last, the wider dtypes first among them.
    def place(name: str) -> tuple[bool, int, str]:
        return bool(tensors[name].nbytes % 64), -tensors[name].element_size(), name

    names = sorted(tensors, key=place)
    offset = 0
    for name in names:
        tensor, end = tensors[name], offset + tensors[name].nbytes
        header[name] = {"dtype": NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        write_numbers(file, (tensors[name] for name in names))
    if sealed:
        seal(path)


def write_numbers(file: BinaryIO, tensors: Iterable[Tensor | StoredNumbers]) -> None:
    """Write the numbers of each tensor row by row, in this machine's byte order (little-endian everywhere)."""
    for tensor in tensors:
        if isinstance(tensor, StoredNumbers):
            tensor.file.seek(0)
            shutil.copyfileobj(tensor.file, file, BLOCK)
            continue
        flat = tensor.detach().to("cpu").contiguous()
        if size := flat.nbytes:  # the tensor's own memory as bytes: nothing is copied
            file.write((ctypes.c_char * size).from_address(flat.data_ptr()))
