"""The index of a TensorFlow checkpoint: the tensors, and the positions of their bytes.

A sorted string table (sstable.py) that maps names to small protocol-buffer messages: the empty name to a
BundleHeaderProto, every other to a BundleEntryProto (minibert/protobuf.py decodes them).  Start with ``read_index``,
then ``TensorEntry``.

Written from tensorflow/core/protobuf/tensor_bundle.proto and
tensorflow/core/framework/{types,tensor_shape,versions}.proto.
"""

import math
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import torch

from minibert.checkpoint.tensorflow.sstable import CompressedTable, DamagedTable, read_table
from minibert.errors import CheckpointError
from minibert.protobuf import DamagedMessage, read_fields

MAX_SHARDS = 99_999  # the names of data files have five digits for the number
MAX_RANK = 254  # TensorFlow's own limit
FORMAT_VERSION = 1  # the only one there has been (kTensorBundleVersion)
LITTLE_ENDIAN = 0
SLICE_KEY = b"\x00"  # the slices of a partitioned variable have binary keys that begin with this byte

# The enum DataType of types.proto.  Those without a torch.dtype are listed but not read.
DTYPES: dict[int, tuple[str, torch.dtype | None]] = {
    1: ("float32", torch.float32),
    2: ("float64", torch.float64),
    3: ("int32", torch.int32),
    4: ("uint8", torch.uint8),
    5: ("int16", torch.int16),
    6: ("int8", torch.int8),
    7: ("string", None),  # for example _CHECKPOINTABLE_OBJECT_GRAPH, which tf.train.Checkpoint adds
    8: ("complex64", None),
    9: ("int64", torch.int64),
    10: ("bool", torch.bool),
    14: ("bfloat16", torch.bfloat16),
    17: ("uint16", None),
    18: ("complex128", None),
    19: ("float16", torch.float16),
    20: ("resource", None),
    21: ("variant", None),
    22: ("uint32", None),
    23: ("uint64", None),
}


@dataclass(frozen=True)
class TensorEntry:
    """One tensor in the index."""

    tf_dtype: str  # TensorFlow's name for it
    dtype: torch.dtype | None  # None: listed, but not read
    shape: tuple[int, ...]
    shard: int  # the number of its data file
    offset: int  # of its first byte in that file
    size: int  # in bytes
    masked_crc32c: int
    is_partitioned: bool  # its values are in slices; shard, offset, size and CRC then mean nothing


def read_index(data: bytes, path: Path) -> tuple[int, dict[str, TensorEntry]]:
    """The number of data shards, and the tensors by name in the order of their names' bytes.

    data: the content of the file ``path``, which is for messages only.

    Raises CheckpointError when it is not the index of a bundle that minibert reads.
    """
    num_shards = 0
    entries: dict[str, TensorEntry] = {}
    try:
        for position, (key, value) in enumerate(read_table(data)):
            if position == 0:
                num_shards = _parse_header(key, value, path)
            elif not key.startswith(SLICE_KEY):
                entries[_decode_name(key)] = _parse_entry(key, value, num_shards)
        if num_shards == 0:
            raise DamagedTable("it has no header")
        _refuse_overlaps(entries)
    except CompressedTable as error:
        raise CheckpointError(
            f"{path}: {error}, and minibert reads indexes as TensorFlow writes them since 1.2, uncompressed. Load the "
            "checkpoint with TensorFlow and save it again."
        ) from error
    except DamagedMessage as error:
        raise CheckpointError(
            f"{path} cannot be read as the index of a TensorFlow checkpoint: {error}. The file is damaged, incomplete "
            "or something else; fetch it again."
        ) from error
    return num_shards, entries


def _parse_header(key: bytes, value: bytes, path: Path) -> int:
    """The number of shards, from the BundleHeaderProto: it comes first, because its key is empty."""
    if key:
        raise DamagedTable(f"its first key is {key[:80]!r}, expected the empty key of a bundle's header")
    numbers = _numbers(value)
    num_shards, endianness, min_consumer = numbers.get(1, 0), numbers.get(2, LITTLE_ENDIAN), 0
    for field in read_fields(value):
        match field:
            case (3, bytes(version)):
                min_consumer = _numbers(version).get(2, 0)
    if endianness != LITTLE_ENDIAN or sys.byteorder != "little":
        raise CheckpointError(
            f"{path}: the checkpoint or this machine is big-endian, expected little-endian ones. Save the checkpoint "
            "again on a little-endian machine, and read it there."
        )
    if min_consumer > FORMAT_VERSION:
        raise CheckpointError(
            f"{path} asks for a reader that knows version {min_consumer} of the format, expected version "
            f"{FORMAT_VERSION}. Save the checkpoint again with an older TensorFlow."
        )
    if not 0 < num_shards <= MAX_SHARDS:
        raise DamagedTable(f"it claims {num_shards} data shards, expected 1 to {MAX_SHARDS}")
    return num_shards


def _decode_name(key: bytes) -> str:
    try:
        return key.decode()
    except UnicodeDecodeError as error:
        raise DamagedTable(f"the name {key[:80]!r} is not UTF-8") from error


def _parse_entry(key: bytes, value: bytes, num_shards: int) -> TensorEntry:
    """The BundleEntryProto ``value``, with every check that needs no shard."""
    shape: tuple[int, ...] = ()
    is_partitioned = False
    for field in read_fields(value):
        match field:
            case (2, bytes(message)):
                shape = _parse_shape(key, message)
            case (7, bytes()):
                is_partitioned = True
    numbers = _numbers(value)
    data_type, shard, offset, size, masked_crc32c = (numbers.get(field, 0) for field in (1, 3, 4, 5, 6))
    tf_dtype, dtype = DTYPES.get(data_type, (f"DataType({data_type})", None))
    entry = TensorEntry(tf_dtype, dtype, shape, shard, offset, size, masked_crc32c, is_partitioned)
    if not is_partitioned:
        _check_place(key, entry, num_shards)
    return entry


def _check_place(key: bytes, entry: TensorEntry, num_shards: int) -> None:
    """Raise DamagedTable unless the bytes are in an existing shard, and as many as dtype and shape need."""
    if not 0 <= entry.shard < num_shards or entry.offset < 0 or entry.size < 0:
        raise DamagedTable(
            f"{key[:80]!r} has {entry.size} bytes from byte {entry.offset} of shard {entry.shard} on, expected "
            f"positive numbers and a shard below {num_shards}"
        )
    if entry.dtype is None:
        return
    # A tensor without elements can still have a large dimension, which torch must be able to represent.
    if math.prod(dim or 1 for dim in entry.shape) * entry.dtype.itemsize >= 1 << 63:
        raise DamagedTable(f"{key[:80]!r} has the shape {entry.shape}, more than any memory holds")
    expected = math.prod(entry.shape) * entry.dtype.itemsize
    if entry.size != expected:
        raise DamagedTable(
            f"{key[:80]!r} has {entry.size} bytes, expected {expected} for the shape {entry.shape} of {entry.tf_dtype}"
        )


def _parse_shape(key: bytes, message: bytes) -> tuple[int, ...]:
    """The dimensions in a TensorShapeProto: field 2, repeated, each a message with the size in its field 1."""
    shape: list[int] = []
    for field in read_fields(message):
        match field:
            case (2, bytes(dim)):
                shape.append(_numbers(dim).get(1, 0))  # protocol buffers leave a zero out
            case (3, int(unknown_rank)) if unknown_rank:
                raise DamagedTable(f"{key[:80]!r} has no shape")
        if len(shape) > MAX_RANK or (shape and shape[-1] < 0):
            raise DamagedTable(f"{key[:80]!r} has a shape of negative size or of more than {MAX_RANK} dimensions")
    return tuple(shape)


def _refuse_overlaps(entries: dict[str, TensorEntry]) -> None:
    """Raise DamagedTable for tensors that share bytes.  No writer does that, and a small file could fill the memory."""
    stored = sorted(
        (entry.shard, entry.offset, entry.size, name)
        for name, entry in entries.items()
        if entry.size and not entry.is_partitioned
    )
    for (shard, offset, size, name), (next_shard, next_offset, _, next_name) in pairwise(stored):
        if shard == next_shard and offset + size > next_offset:
            raise DamagedTable(f"{name[:80]!r} and {next_name[:80]!r} share bytes of shard {shard}")


def _numbers(message: bytes) -> dict[int, int]:
    """The numeric fields of a message by field number; the last value of a repeated field, as the encoding says."""
    return {number: value for number, value in read_fields(message) if isinstance(value, int)}
