"""Sorted string tables: the file format of LevelDB, in which TensorFlow keeps the index of a checkpoint.

A table maps byte strings to byte strings, in ascending order of the keys.  The file is read from its end:
a footer points at one *index block*, whose values point at the *data blocks*, whose entries are the table's.
Every block carries a CRC-32C.  Look at ``read_table`` first, then at ``_block_entries``.

Written from LevelDB's doc/table_format.md and TensorFlow's tensorflow/core/lib/io/table*.  A damaged or hostile file
costs bounded time and memory: blocks may neither overlap nor go backwards, keys must ascend, and there are limits on
both.
"""

from collections.abc import Iterator

from minibert.checkpoint.tensorflow.crc32c import crc32c, unmask
from minibert.errors import CheckpointError

MAGIC = 0xDB4775248B80FB57  # the last eight bytes of every table, little-endian
FOOTER_BYTES = 48
TRAILER_BYTES = 5  # behind each block: how it is compressed (one byte), and its masked CRC-32C

# bert-large with Adam's slots has an index of some 50 KB and 1,200 entries; these limits keep the worst that a hostile
# file can do to seconds and a hundred megabytes.
MAX_TABLE_BYTES = 4 << 20  # of all blocks together
MAX_ENTRIES = 20_000
MAX_KEY_BYTES = 1024  # prefix compression could otherwise make each four bytes of file a key of megabytes

UNCOMPRESSED = 0


class DamagedTable(CheckpointError):
    """Bytes that no writer produces.  The message tells the detail; whoever opened the file adds its name."""


class CompressedTable(CheckpointError):
    """A table with a compressed block, which is not read here.  The message tells which block."""


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (key, value) pairs of a whole table file, in ascending order of the keys.

    Raises DamagedTable as soon as something is wrong, which may be after some pairs were given, and CompressedTable
    for a block that is compressed.
    """
    if len(data) < FOOTER_BYTES:
        raise DamagedTable(f"it has {len(data)} bytes, fewer than the {FOOTER_BYTES} of a table's footer")
    footer = data[-FOOTER_BYTES:]
    magic = int.from_bytes(footer[-8:], "little")
    if magic != MAGIC:
        raise DamagedTable(f"it ends with the number {magic:#018x}, expected a table's {MAGIC:#018x}")
    _, position = _read_handle(footer, 0)  # the metaindex block, in which LevelDB keeps filters; empty in bundles
    index_handle, _ = _read_handle(footer, position)

    previous_end, previous_key, count, total = 0, None, 0, 0
    for _, value in _block_entries(_read_block(data, *index_handle)):
        (offset, size), _ = _read_handle(value, 0)
        if offset < previous_end:
            raise DamagedTable(f"the block at byte {offset} begins inside the one that ends at byte {previous_end}")
        previous_end, count_before = offset + size, count
        block = _read_block(data, offset, size)
        total += len(block)
        if total > MAX_TABLE_BYTES:
            raise DamagedTable(f"its blocks hold more than the {MAX_TABLE_BYTES:,} bytes allowed")
        for key, entry in _block_entries(block):
            if previous_key is not None and key <= previous_key:
                raise DamagedTable(f"the key {key!r} follows {previous_key!r}; keys must ascend")
            count += 1
            if count > MAX_ENTRIES:
                raise DamagedTable(f"it holds more than {MAX_ENTRIES:,} entries")
            previous_key = key
            yield key, entry
        if count == count_before:
            raise DamagedTable(f"the data block at byte {offset} is empty")


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """An unsigned integer < 2⁶⁴ written seven bits a byte, lowest first, and the position after it.

    Raises DamagedTable when it is cut off or too long.
    """
    value = 0
    for index, byte in enumerate(data[position : position + 10]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            if value >> 64:
                break
            return value, position + index + 1
    raise DamagedTable(f"the variable-length integer at byte {position} of a record is cut off or over 64 bits")


def _read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's (offset, size) in the file, and the position after them."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _read_block(data: bytes, offset: int, size: int) -> bytes:
    """The content of one block: bounds, checksum and compression tested."""
    end = offset + size + TRAILER_BYTES
    if end > len(data) - FOOTER_BYTES:
        raise DamagedTable(f"a block should end at byte {end}, beyond the {len(data) - FOOTER_BYTES} before the footer")
    stored = unmask(int.from_bytes(data[end - 4 : end], "little"))
    computed = crc32c(data[offset : end - 4])  # the type byte is under the checksum, too
    if stored != computed:
        raise DamagedTable(f"the block at byte {offset} has the CRC-32C {computed:#010x}, expected {stored:#010x}")
    compression = data[end - 5]
    if compression != UNCOMPRESSED:  # TensorFlow has written indexes uncompressed since 1.2
        raise CompressedTable(f"the block at byte {offset} is compressed (method {compression}; 1 is Snappy)")
    return data[offset : offset + size]


def _block_entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (key, value) pairs of a block.

    An entry stores only what distinguishes its key from the one before: shared length, unshared length,
    value length, unshared bytes, value.  Behind the entries stand *restart points*, where nothing is shared,
    for binary search, and their count; we read from front to back and only need to know where they begin.
    """
    restart_count = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (restart_count + 1)
    if end < 0:
        raise DamagedTable(f"a block of {len(block)} bytes claims {restart_count} restart points of 4 bytes each")
    key, position = b"", 0
    while position < end:
        shared, position = read_varint(block, position)
        unshared, position = read_varint(block, position)
        value_size, position = read_varint(block, position)
        value_start = position + unshared
        if shared > len(key) or value_start + value_size > end:
            raise DamagedTable(f"the entry after {key!r} has lengths that do not fit its block")
        if shared + unshared > MAX_KEY_BYTES:
            raise DamagedTable(f"it holds a key of {shared + unshared} bytes, more than the {MAX_KEY_BYTES} allowed")
        key = key[:shared] + block[position:value_start]
        position = value_start + value_size
        yield key, block[value_start:position]
