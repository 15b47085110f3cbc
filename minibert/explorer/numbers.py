"""Tensors as the page reads them: a shape, a kind of number, and the bytes in base64.

A page is a text file, so each byte takes 4/3 letters.  float16 halves it again, at three significant digits, which is
what an eye reads off a colour anyway; the page's legend says so.
"""

import base64
import ctypes
import sys
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError

KINDS = {"float16": torch.float16, "float32": torch.float32, "int32": torch.int32}
LARGEST_HALF = torch.finfo(torch.float16).max


def pack(value: Tensor, kind: str = "float16") -> dict[str, Any]:
    """``{"shape", "kind", "data"}``: little-endian, row by row.  What float16 cannot hold becomes its largest."""
    if sys.byteorder != "little":
        raise InputError("The page's numbers are written as little-endian bytes; this machine has them the other way.")
    value = value.detach().cpu()
    if kind == "float16":
        value = value.clamp(-LARGEST_HALF, LARGEST_HALF)
    value = value.to(KINDS[kind]).contiguous()
    content = ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()) if value.numel() else b""
    return {"shape": list(value.shape), "kind": kind, "data": base64.b64encode(content).decode("ascii")}


def unpack(packed: dict[str, Any]) -> Tensor:
    """The tensor that :func:`pack` was given, as exactly as its kind keeps it."""
    content = bytearray(base64.b64decode(packed["data"]))
    if not content:
        return torch.zeros(packed["shape"], dtype=KINDS[packed["kind"]])
    return torch.frombuffer(content, dtype=KINDS[packed["kind"]]).view(packed["shape"])


def packed_size(numbers: int, kind: str = "float16") -> int:
    """How many letters of a page that many numbers take."""
    bytes_each: int = KINDS[kind].itemsize
    return -(-numbers * bytes_each // 3) * 4
