"""From a model to a folder that transformers, and this project, load to the same bits."""

import ctypes
import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor

from minibert.checkpoint.protocol import PretrainedModel
from minibert.checksum import KEY, OPEN, seal
from minibert.files import written_whole
from minibert.source import Source, as_path

KIND_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


def save_pretrained(model: PretrainedModel, folder: Source, *, dtype: torch.dtype | None = None) -> None:
    """Write config.json and model.safetensors into ``folder``, each of them whole or not at all.

    ``dtype``: what the file keeps the numbers as, default what the model has them as.  The config's ``dtype`` stays the
    model's: a float32 model in a file of float16 takes half the space and is run in float32, here and in transformers.

    Raises CheckpointError when the folder cannot be written.
    """
    folder = as_path(folder)
    tied = model.tied_names()
    state = {name: tensor.to(dtype or tensor.dtype) for name, tensor in model.state_dict().items() if name not in tied}
    settings = model.config.to_dict()
    settings.pop("torch_dtype", None)  # the older spelling of dtype
    settings |= {"architectures": [type(model).__name__], "dtype": str(model.dtype).removeprefix("torch.")}
    model.config.from_dict(settings).save_pretrained(folder)
    write_safetensors(folder / "model.safetensors", state, {"format": "pt"})


def write_safetensors(
    path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None, *, sealed: bool = False
) -> None:
    """Write ``tensors`` as a safetensors file: 8 bytes of length, a JSON header, the numbers one after the other.

    By hand, since the library's own writer needs numpy, which nothing here does.  Tensors may be on any device and
    of any layout.  ``sealed``: with a checksum of the file in its metadata (minibert/checksum.py).  Format: the
    safetensors README, "Format".
    """
    if sealed:
        metadata = {KEY: OPEN, **(metadata or {})}
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}

    # 64 bytes is what torch aligns to: a memory-mapped tensor that lies otherwise rounds otherwise in some products.
    # So odd sizes come last, the wider numbers first among them.
    def place(name: str) -> tuple[bool, int, str]:
        tensor = tensors[name]
        return bool(tensor.numel() * tensor.element_size() % 64), -tensor.element_size(), name

    names = sorted(tensors, key=place)
    offset = 0
    for name in names:
        tensor = tensors[name]
        size = tensor.numel() * tensor.element_size()
        kind = KIND_NAMES[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % 64)
    with written_whole(path) as temporary:
        with temporary.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            write_numbers(file, (tensors[name] for name in names))
        if sealed:
            seal(temporary)


def write_numbers(file: BinaryIO, tensors: Iterable[Tensor]) -> None:
    """Write the numbers of each tensor row by row, in this machine's order of bytes (little-endian everywhere)."""
    for tensor in tensors:
        flat = tensor.detach().to("cpu").contiguous()
        size = flat.numel() * flat.element_size()
        if size:  # the tensor's own memory, looked at as bytes: nothing is copied
            file.write((ctypes.c_char * size).from_address(flat.data_ptr()))
