"""Protocol buffers, as far as files of weights use them: fields by number, nothing copied.

TensorFlow's bundle index and ONNX files are made of such messages.  A dozen fields of each are read, so no library and
no generated code is needed; a big file stays memory-mapped, since a field is a slice of what was given.

Written from protobuf.dev/programming-guides/encoding.  Start with :func:`read_fields`.
"""

from collections.abc import Iterator
from typing import TypeVar

import torch
from torch import Tensor

from minibert.errors import CheckpointError

Bytes = TypeVar("Bytes", bytes, memoryview)
LONGEST_VARINT = 10  # bytes, for 64 bits


class DamagedMessage(CheckpointError):
    """Bytes that no writer produces.  The message has the detail; the caller adds the name of the file."""


def read_varint(data: bytes | memoryview, position: int) -> tuple[int, int]:
    """An unsigned integer below 2⁶⁴, stored with seven bits per byte, lowest first, and the position after it.

    Raises DamagedMessage when it is cut off or too long.
    """
    value = 0
    for index, byte in enumerate(data[position : position + LONGEST_VARINT]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + index + 1
    raise DamagedMessage(f"the variable-length integer at byte {position} of a record is cut off or over 64 bits")


def read_fields(message: Bytes) -> Iterator[tuple[int, int | Bytes]]:
    """The (field number, value) pairs of a message, in its order.

    A varint is a signed 64-bit number; a number of fixed size is unsigned; anything else is a slice of ``message``.
    The caller skips fields that it does not know or that have an unexpected type.  Raises DamagedMessage.
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = read_varint(message, position)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == 0:
            value, position = read_varint(message, position)
            yield number, value - (value >> 63 << 64)
            continue
        if wire_type == 2:
            size, position = read_varint(message, position)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
        else:
            raise DamagedMessage(f"a record has a field of wire type {wire_type}, which such files do not use")
        if size > end - position:
            raise DamagedMessage(f"a record ends within its field {number}")
        content = message[position : position + size]
        position += size
        yield number, content if wire_type == 2 else int.from_bytes(content, "little")


def unpack_varints(content: memoryview) -> Tensor:
    """The numbers of a packed field, (n,) int64.  Raises DamagedMessage when the last one is cut off."""
    if not content:
        return torch.zeros(0, dtype=torch.int64)
    numbers = torch.frombuffer(content, dtype=torch.uint8)
    ends = numbers < 0x80
    if not bool(ends[-1]):
        raise DamagedMessage("a list of variable-length integers is cut off")
    starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends.nonzero()[:, 0] + 1])[:-1]
    group = ends.cumsum(0) - ends.long()  # the integer that each byte belongs to
    place = torch.arange(len(numbers)) - starts[group]
    if int(place.max()) >= LONGEST_VARINT:
        raise DamagedMessage("a variable-length integer has more than 64 bits")
    parts = (numbers & 0x7F).long() << (7 * place)
    return torch.zeros(len(starts), dtype=torch.int64).index_add_(0, group, parts)
