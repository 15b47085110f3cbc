"""Tensors of an ONNX file, as they are stored: in the graph, or in a file beside it (external data).

Written from onnx/onnx.proto, TensorProto.  Nothing is read before :meth:`Stored.read`.
"""

import math
import mmap
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from minibert.errors import CheckpointError, reason_of
from minibert.protobuf import DamagedMessage, unpack_varints

ALIGNMENT = 64  # bytes, torch's own: some matrix products round unaligned numbers differently
MAX_RANK = 64
# TensorProto.DataType: name, dtype, and the fields beside raw_data that may hold the numbers.
DTYPES: dict[int, tuple[str, torch.dtype | None]] = {
    1: ("float32", torch.float32), 2: ("uint8", torch.uint8), 3: ("int8", torch.int8), 4: ("uint16", torch.uint16),
    5: ("int16", torch.int16), 6: ("int32", torch.int32), 7: ("int64", torch.int64), 8: ("string", None),
    9: ("bool", torch.bool), 10: ("float16", torch.float16), 11: ("float64", torch.float64),
    12: ("uint32", torch.uint32), 13: ("uint64", torch.uint64), 14: ("complex64", None), 15: ("complex128", None),
    16: ("bfloat16", torch.bfloat16), 17: ("float8e4m3fn", None), 18: ("float8e4m3fnuz", None),
    19: ("float8e5m2", None), 20: ("float8e5m2fnuz", None), 21: ("uint4", None), 22: ("int4", None),
}  # fmt: skip


class DataFile:
    """One file's bytes, memory-mapped copy-on-write: a change in memory does not reach the file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def bytes(self) -> memoryview:
        """All of them.  Raises CheckpointError where the file cannot be read."""
        try:
            if not self.size:
                return memoryview(b"")
            with self.path.open("rb") as file:
                return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.path} cannot be read ({reason_of(error)}).") from error

    @cached_property
    def size(self) -> int:
        """In bytes."""
        try:
            return self.path.stat().st_size
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be read ({reason_of(error)}).") from error


@dataclass(frozen=True, eq=False)
class Stored:
    """One tensor: an initializer, or the value of a Constant node."""

    name: str
    kind: str  # ONNX's name for the dtype
    dtype: torch.dtype | None  # None: listed, but not read
    shape: tuple[int, ...]
    raw: memoryview | None = None  # its bytes, little-endian
    packed: tuple[memoryview, ...] = ()  # or packed varints
    numbers: tuple[int, ...] = ()  # or varints, one by one
    place: tuple[str, int, int] | None = None  # or external data: location, offset, size

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return math.prod(self.shape)

    @property
    def size(self) -> int:
        """In bytes, as its shape and dtype say."""
        return self.count * (1 if self.dtype is None else self.dtype.itemsize)

    def check(self) -> None:
        """Raise DamagedMessage unless shape and dtype are possible, and the bytes are as many as they say."""
        if len(self.shape) > MAX_RANK or min(self.shape, default=0) < 0:
            raise DamagedMessage(f"{self.name[:80]!r} has the shape {self.shape[:MAX_RANK]}, which no tensor has")
        if math.prod(dim or 1 for dim in self.shape) * 16 >= 1 << 63:
            raise DamagedMessage(f"{self.name[:80]!r} has the shape {self.shape}, more than any memory holds")
        if self.dtype is None:
            return
        held = self.place[2] if self.place else None if self.raw is None else len(self.raw)
        if held is not None and held != self.size:
            raise DamagedMessage(
                f"{self.name[:80]!r} has {held:,} bytes, expected {self.size:,} for the shape {self.shape} of "
                f"{self.kind}"
            )
        # A varint has at least one byte, so a claim of more numbers than bytes needs no decoding.
        if held is None and self.count > len(self.numbers) + sum(map(len, self.packed)):
            raise DamagedMessage(f"{self.name[:80]!r} has the shape {self.shape} and fewer numbers than that")

    def read(self, files: dict[str, DataFile]) -> Tensor:
        """The tensor.  ``files`` are the external ones, by location.

        Raises DamagedMessage for one with other numbers than its shape says, CheckpointError for an unreadable file.
        """
        assert self.dtype is not None
        if not self.count:
            return torch.empty(self.shape, dtype=self.dtype)
        raw = self.raw
        if self.place is not None:
            location, offset, size = self.place
            raw = files[location].bytes[offset : offset + size]
            if len(raw) != size:
                raise CheckpointError(f"{files[location].path} became shorter while it was read. Copy it again.")
        if raw is not None:
            tensor = torch.frombuffer(raw, dtype=self.dtype)
            return (tensor if tensor.data_ptr() % ALIGNMENT == 0 else tensor.clone()).reshape(self.shape)
        parts = [unpack_varints(part) for part in self.packed] + [torch.tensor(self.numbers, dtype=torch.int64)]
        values = torch.cat(parts)
        if len(values) != self.count:
            raise DamagedMessage(f"{self.name[:80]!r} has {len(values):,} numbers, expected {self.count:,}")
        if self.dtype in (torch.float16, torch.bfloat16):  # the bits, as whole numbers
            return values.to(torch.uint16).view(self.dtype).reshape(self.shape)
        return values.to(self.dtype).reshape(self.shape)


def refuse_overlaps(tensors: list[Stored]) -> None:
    """Raise DamagedMessage for external tensors that share bytes: a small file could fill the memory."""
    places = sorted((*tensor.place, tensor.name) for tensor in tensors if tensor.place and tensor.place[2])
    for (location, offset, size, name), (next_location, next_offset, _, next_name) in pairwise(places):
        if location == next_location and offset + size > next_offset:
            raise DamagedMessage(f"{name[:80]!r} and {next_name[:80]!r} share bytes of {location}")
