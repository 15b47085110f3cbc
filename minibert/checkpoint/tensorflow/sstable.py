"""Sorted string tables: the file format of LevelDB, in which TensorFlow keeps the index of a checkpoint.

A table maps byte strings to byte strings, in ascending order of the keys.  The file is read from its end: a footer
points to the *index block*, whose values point to the *data blocks*, whose entries are the table's.  Every block has a
CRC-32C.  Start with ``read_table``, then ``_block_entries``.

Written from LevelDB's doc/table_format.md and TensorFlow's tensorflow/core/lib/io/table*.  A damaged or hostile file
costs bounded time and memory: blocks must ascend without overlap, keys must ascend, and both have limits.
"""

from collections.abc import Iterator

from minibert.checkpoint.tensorflow.crc32c import crc32c, unmask
from minibert.errors import CheckpointError
from minibert.protobuf import DamagedMessage, read_varint

MAGIC = 0xDB4775248B80FB57  # the last eight bytes of every table, little-endian
FOOTER_BYTES = 48
TRAILER_BYTES = 5  # after each block: the compression method (one byte) and the masked CRC-32C

# bert-large with Adam's state has an index of 50 KB and 1,200 entries.  With these limits the worst hostile file costs
# seconds and a hundred megabytes.
MAX_TABLE_BYTES = 4 << 20  # of all blocks together
MAX_ENTRIES = 20_000
MAX_KEY_BYTES = 1024  # without a limit, prefix compression turns four bytes of file into a key of megabytes

UNCOMPRESSED = 0


class DamagedTable(DamagedMessage):
    """A table that no writer produces.  The message has the detail; the caller adds the name of the file."""


class CompressedTable(CheckpointError):
    """A table with a compressed block, which is not read here.  The message names the block."""


def read_table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The (key, value) pairs of a whole table file, in ascending order of the keys.

    Raises DamagedTable when something is wrong, which can be after some pairs, and CompressedTable for a compressed
    block.
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


def _read_handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """A block's (offset, size) in the file, and the position after them."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _read_block(data: bytes, offset: int, size: int) -> bytes:
    """The content of one block, after its bounds, checksum and compression were checked."""
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

    An entry stores only how its key differs from the one before: shared length, unshared length, value length,
    unshared bytes, value.  After the entries come *restart points* for binary search, and their count; reading from
    front to back needs only the position where they begin.
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
