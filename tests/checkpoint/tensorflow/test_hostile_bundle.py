"""Broken and hostile bundles: a CheckpointError, or exactly what was written; nothing else, in little memory."""

import random
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from minibert.checkpoint.tensorflow import index, sstable
from minibert.checkpoint.tensorflow.bundle import TensorBundle, read_tensor_bundle
from minibert.checkpoint.tensorflow.crc32c import crc32c, mask
from minibert.checkpoint.tensorflow.sstable import CompressedTable, DamagedTable, read_table
from minibert.errors import CheckpointError
from minibert.protobuf import DamagedMessage

GOOGLE = Path(__file__).parents[1] / "google" / "bert_model.ckpt"
MAGIC = 0xDB4775248B80FB57
Pairs = list[tuple[bytes, bytes]]


# A small writer, so that what is hostile in a file is not its checksums.


def varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    head = bytearray()
    while number > 0x7F:
        head.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*head, number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def block_of(pairs: Pairs, *, share: bool = True) -> bytes:
    content, previous = b"", b""
    for key, value in pairs:
        shared = 0
        while share and shared < min(len(key), len(previous)) and key[shared] == previous[shared]:
            shared += 1
        content += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        previous = key
    return content + bytes(4) + (1).to_bytes(4, "little")


def with_trailer(block: bytes, compression: int = 0) -> bytes:
    sealed = block + bytes([compression])
    return sealed + mask(crc32c(sealed)).to_bytes(4, "little")


def table_of_blocks(blocks: list[bytes], compression: int = 0, *, repeat: int = 1) -> bytes:
    data, handles = b"", []
    for block in blocks:
        handles.append(varint(len(data)) + varint(len(block)))
        data += with_trailer(block, compression)
    index = block_of([(b"~%08d" % number, handle) for number, handle in enumerate(handles * repeat)])
    meta = block_of([])
    index_handle = varint(len(data)) + varint(len(index))
    data += with_trailer(index)
    meta_handle = varint(len(data)) + varint(len(meta))
    data += with_trailer(meta)
    return data + (meta_handle + index_handle).ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def shape_of(*dims: int) -> bytes:
    return b"".join(field(2, field(1, dim)) for dim in dims)


HEADER = (b"", field(1, 1) + field(3, field(1, 1)))
DATA = bytes(range(64))


def entry_of(
    *,
    dtype: int = 1,
    shape: bytes | None = None,
    shard: int = 0,
    offset: int = 0,
    size: int = 64,
    crc: int | None = None,
    extra: bytes = b"",
) -> bytes:
    """The entry of a (4, 4) float32, the 64 bytes of DATA, unless something else is said."""
    crc = mask(crc32c(DATA)) if crc is None else crc
    message = field(1, dtype) + field(2, shape_of(4, 4) if shape is None else shape)
    message += field(3, shard) + field(4, offset) + field(5, size)
    return message + b"\x35" + crc.to_bytes(4, "little") + extra


def write_bundle(folder: Path, index: bytes, data: bytes = DATA) -> Path:
    (folder / "b.index").write_bytes(index)
    (folder / "b.data-00000-of-00001").write_bytes(data)
    return folder / "b"


@contextmanager
def little_memory(megabytes: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < megabytes << 20, f"{peak >> 20} MB at the peak"


def read_all(bundle: TensorBundle) -> dict[str, torch.Tensor]:
    return {name: bundle[name] for name, entry in bundle.entries.items() if entry.dtype is not None}


def test_the_writer_writes_what_the_reader_reads(tmp_path: Path) -> None:
    """In two data blocks, as TensorFlow writes an index of more than 256 KB."""
    blocks = [block_of([HEADER, (b"v", entry_of(shape=shape_of(0), size=0))]), block_of([(b"w", entry_of())])]
    bundle = read_tensor_bundle(write_bundle(tmp_path, table_of_blocks(blocks)))
    assert list(bundle) == ["v", "w"]
    assert bundle["w"].shape == (4, 4)
    assert bundle["w"].flatten().view(torch.uint8).tolist() == list(DATA)


# What happens to files on disks and wires.


def test_an_index_cut_at_every_byte(tmp_path: Path) -> None:
    data = Path(f"{GOOGLE}.index").read_bytes()
    shutil.copy(f"{GOOGLE}.data-00000-of-00001", tmp_path)
    for length in range(len(data)):
        (tmp_path / "bert_model.ckpt.index").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"bert_model\.ckpt\.index"):
            read_tensor_bundle(tmp_path / "bert_model.ckpt")


def test_an_index_that_lost_any_one_byte(tmp_path: Path) -> None:
    data = Path(f"{GOOGLE}.index").read_bytes()
    shutil.copy(f"{GOOGLE}.data-00000-of-00001", tmp_path)
    expected = read_tensor_bundle(GOOGLE).entries
    for lost in [*range(0, len(data) - 100, 11), *range(len(data) - 100, len(data))]:
        (tmp_path / "bert_model.ckpt.index").write_bytes(data[:lost] + data[lost + 1 :])
        try:
            entries = read_tensor_bundle(tmp_path / "bert_model.ckpt").entries
        except CheckpointError:
            continue
        assert entries == expected, lost  # for example a byte of the metaindex, which nobody reads


def test_an_index_with_a_flipped_bit(tmp_path: Path) -> None:
    data = Path(f"{GOOGLE}.index").read_bytes()
    shutil.copy(f"{GOOGLE}.data-00000-of-00001", tmp_path)
    expected = read_tensor_bundle(GOOGLE).entries
    generator = random.Random(4)
    refused = 0
    # Anywhere, and each bit of the end, where the footer has no checksum of its own.
    bits = [generator.randrange(8 * len(data)) for _ in range(300)]
    for bit in [*bits, *range(8 * (len(data) - 48), 8 * len(data))]:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        (tmp_path / "bert_model.ckpt.index").write_bytes(flipped)
        try:
            entries = read_tensor_bundle(tmp_path / "bert_model.ckpt").entries
        except CheckpointError:
            refused += 1
            continue
        assert entries == expected, bit
    assert refused > 300


def test_a_shard_cut_anywhere(tmp_path: Path) -> None:
    data = Path(f"{GOOGLE}.data-00000-of-00001").read_bytes()
    shutil.copy(f"{GOOGLE}.index", tmp_path)
    for length in [*range(0, len(data), 997), len(data) - 1]:
        (tmp_path / "bert_model.ckpt.data-00000-of-00001").write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=f"has {length:,} bytes, expected at least {len(data):,}"):
            read_tensor_bundle(tmp_path / "bert_model.ckpt")


def test_a_shard_with_a_flipped_bit(tmp_path: Path) -> None:
    """One tensor is refused, and no other."""
    for file in GOOGLE.parent.glob("bert_model.ckpt.*"):
        shutil.copy(file, tmp_path)
    bundle = read_tensor_bundle(tmp_path / "bert_model.ckpt")
    path = bundle.shard_path(0)
    data = path.read_bytes()
    generator = random.Random(5)
    for bit in [generator.randrange(8 * len(data)) for _ in range(300)]:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        name = next(n for n, e in bundle.entries.items() if e.offset <= bit // 8 < e.offset + e.size)
        with pytest.raises(CheckpointError, match="CRC-32C"):
            bundle.tensor(name)
        bundle.tensor(name, verify=False)  # the caller's risk
        other = generator.choice([n for n in bundle if n != name])
        bundle.tensor(other)


def test_a_shard_that_shrinks_after_opening(tmp_path: Path) -> None:
    for file in GOOGLE.parent.glob("bert_model.ckpt.*"):
        shutil.copy(file, tmp_path)
    bundle = read_tensor_bundle(tmp_path / "bert_model.ckpt")
    bundle.shard_path(0).write_bytes(b"")
    with pytest.raises(CheckpointError, match="ends within"):
        bundle["global_step"]


# What somebody might write on purpose: all checksums are right.


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([], "empty"),
        ([(b"w", entry_of())], "expected the empty key"),
        ([(b"", field(1, 0)), (b"w", entry_of())], "claims 0 data shards"),
        ([(b"", field(1, 2**31 - 1)), (b"w", entry_of())], "claims 2147483647 data shards"),
        ([(b"", field(1, -1)), (b"w", entry_of())], "claims -1 data shards"),
        ([(b"", field(1, 1) + field(2, 1)), (b"w", entry_of())], "big-endian"),
        ([(b"", field(1, 1) + field(3, field(2, 9))), (b"w", entry_of())], "version 9"),
        ([(b"", b"\x0b"), (b"w", entry_of())], "wire type 3"),
        ([HEADER, (b"w", b"\xff" * 11)], "cut off or over 64 bits"),
        ([HEADER, (b"w", b"\x80" * 9 + b"\x7f")], "cut off or over 64 bits"),
        ([HEADER, (b"w", b"\x08")], "cut off"),
        ([HEADER, (b"w", b"\x12\x7f")], "ends within its field 2"),
        ([HEADER, (b"w", b"\x35\x01")], "ends within its field 6"),
        ([HEADER, (b"w\xff", entry_of())], "not UTF-8"),
        ([HEADER, (b"w", entry_of()), (b"v", entry_of())], "must ascend"),
        ([HEADER, (b"w", entry_of()), (b"w", entry_of())], "must ascend"),
        ([HEADER, (b"v", entry_of()), (b"w", entry_of(offset=60))], "share bytes"),
        ([HEADER, (b"w", entry_of(shard=1))], "a shard below 1"),
        ([HEADER, (b"w", entry_of(shard=-1))], "a shard below 1"),
        ([HEADER, (b"w", entry_of(offset=-64))], "expected positive"),
        ([HEADER, (b"w", entry_of(size=-64))], "expected positive"),
        ([HEADER, (b"w", entry_of(offset=1))], "expected at least 65"),
        ([HEADER, (b"w", entry_of(offset=2**63 - 1))], "expected at least"),
        ([HEADER, (b"w", entry_of(size=60))], "expected 64 for the shape"),
        ([HEADER, (b"w", entry_of(shape=shape_of(4, 5)))], "expected 80 for the shape"),
        ([HEADER, (b"w", entry_of(shape=shape_of(-4, -4)))], "negative size"),
        ([HEADER, (b"w", entry_of(shape=shape_of(2**40, 2**40)))], "more than any memory"),
        ([HEADER, (b"w", entry_of(shape=shape_of(0, 2**62, 2**62), size=0))], "more than any memory"),
        ([HEADER, (b"w", entry_of(shape=shape_of(*[1] * 300)))], "more than 254 dimensions"),
        ([HEADER, (b"w", entry_of(shape=field(3, 1)))], "has no shape"),
        ([HEADER, (b"w" * 5000, entry_of())], "key of 5000 bytes"),
    ],
)
def test_entries_that_cannot_be(tmp_path: Path, pairs: Pairs, message: str) -> None:
    with little_memory(4), pytest.raises(CheckpointError, match=message):
        read_tensor_bundle(write_bundle(tmp_path, table_of_blocks([block_of(pairs)])))


def test_odd_entries_that_are_read_or_refused_one_by_one(tmp_path: Path) -> None:
    pairs = [
        HEADER,
        (b"\x00slice\xff", b"\xff not read"),
        (b"deep", entry_of(shape=shape_of(*[1] * 254), size=4, crc=mask(crc32c(DATA[:4])))),
        (b"empty", entry_of(shape=shape_of(0, 7), size=0, crc=mask(0), offset=64)),
        (b"flags", entry_of(dtype=10, shape=shape_of(8), offset=8, size=8, crc=mask(crc32c(DATA[8:16])))),
        (b"new", entry_of(dtype=99, offset=16, size=0)),
        (b"zero", entry_of(dtype=0, offset=16, size=0)),
    ]
    bundle = read_tensor_bundle(write_bundle(tmp_path, table_of_blocks([block_of(pairs)])))
    assert list(bundle) == ["deep", "empty", "flags", "new", "zero"]
    assert bundle["deep"].ndim == 254
    assert bundle["empty"].shape == (0, 7)
    with pytest.raises(CheckpointError, match="holds the byte 15, expected 0 or 1"):
        bundle["flags"]
    with pytest.raises(CheckpointError, match=r"dtype DataType\(99\)"):
        bundle["new"]
    with pytest.raises(CheckpointError, match=r"dtype DataType\(0\)"):
        bundle["zero"]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (b"", "claims 0 restart points"),
        (b"\xff\xff\xff\xff", "claims 4294967295 restart points"),
        (b"\x05\x01\x00w" + bytes(4) + b"\1\0\0\0", "lengths that do not fit"),
        (b"\x00\x7f\x00w" + bytes(4) + b"\1\0\0\0", "lengths that do not fit"),
        (b"\x00\x01\x7fw" + bytes(4) + b"\1\0\0\0", "lengths that do not fit"),
        (b"\x80" * 20 + bytes(4) + b"\1\0\0\0", "cut off or over 64 bits"),
    ],
)
def test_blocks_that_cannot_be(block: bytes, message: str) -> None:
    with pytest.raises(DamagedMessage, match=message):
        list(read_table(table_of_blocks([block])))


def test_unknown_compression_and_repeated_blocks() -> None:
    block = block_of([HEADER, (b"w", entry_of())])
    with pytest.raises(CompressedTable, match="method 2"):
        list(read_table(table_of_blocks([block], compression=2)))
    with pytest.raises(DamagedTable, match="begins inside"):
        list(read_table(table_of_blocks([block], repeat=2)))
    with pytest.raises(DamagedTable, match="is empty"):
        list(read_table(table_of_blocks([block, block_of([])])))
    beyond = table_of_blocks([block])
    with pytest.raises(DamagedTable, match="beyond the"):
        list(read_table(beyond[-53:]))


def test_the_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An index may be neither long nor full, whatever it claims to hold."""
    with (tmp_path / "b.index").open("wb") as file:
        file.truncate(1 << 40)  # sparse: a terabyte that takes no room
    with little_memory(4), pytest.raises(CheckpointError, match="expected at most 4,194,304"):
        read_tensor_bundle(tmp_path / "b")
    big = [block_of([(b"%d" % number, bytes(3 << 20))]) for number in range(2)]
    with pytest.raises(DamagedTable, match="blocks hold more than"):
        list(read_table(table_of_blocks(big)))
    monkeypatch.setattr(sstable, "MAX_ENTRIES", 5)
    pairs = [HEADER, *[(b"%d" % number, entry_of(size=0, shape=shape_of(0))) for number in range(5)]]
    with pytest.raises(CheckpointError, match="more than 5 entries"):
        read_tensor_bundle(write_bundle(tmp_path, table_of_blocks([block_of(pairs)])))


def test_a_sparse_shard_of_a_terabyte_takes_no_memory_until_read(tmp_path: Path) -> None:
    shape = shape_of(1 << 19, 1 << 19)
    prefix = write_bundle(tmp_path, table_of_blocks([block_of([HEADER, (b"w", entry_of(shape=shape, size=1 << 40))])]))
    with prefix.with_name("b.data-00000-of-00001").open("wb") as file:
        file.truncate(1 << 40)
    with little_memory(4):
        assert read_tensor_bundle(prefix).entries["w"].shape == (1 << 19, 1 << 19)


def test_a_compressed_index_is_a_sentence(tmp_path: Path) -> None:
    """TensorFlow reads indexes compressed by Snappy, but has not written them since 1.2."""
    prefix = write_bundle(tmp_path, table_of_blocks([b"\x05\x10abcde"], compression=1))
    with pytest.raises(CheckpointError, match=r"(?s)b\.index: .* is compressed \(method 1; .*save it again"):
        read_tensor_bundle(prefix)


# Anything at all, with right checksums.


def mutated(generator: random.Random, data: bytes) -> bytes:
    """``data`` with one to four bytes changed, lost, or added."""
    result = bytearray(data)
    for _ in range(generator.randint(1, 4)):
        at = generator.randrange(len(result) + 1)
        result[at : at + generator.randint(0, 2)] = generator.choice(
            [b"", generator.randbytes(1), b"\xff", b"\x00", b"\x80", varint(1 << generator.randrange(64))]
        )
    return bytes(result)


PAIRS = [
    HEADER,
    (b"bert/a", entry_of(shape=shape_of(2, 4), size=32, crc=mask(crc32c(DATA[:32])))),
    (b"bert/b", entry_of(dtype=9, shape=shape_of(4), offset=32, size=32, crc=mask(crc32c(DATA[32:])))),
]


def mutate_a_message(generator: random.Random) -> bytes:
    pairs = list(PAIRS)
    number = generator.randrange(len(pairs))
    pairs[number] = (pairs[number][0], mutated(generator, pairs[number][1]))
    return table_of_blocks([block_of(pairs)])


def mutate_a_block(generator: random.Random) -> bytes:
    return table_of_blocks([mutated(generator, block_of(PAIRS))])


@pytest.mark.parametrize("mutate", [mutate_a_message, mutate_a_block])
def test_mutations_under_right_checksums(tmp_path: Path, mutate: Callable[[random.Random], bytes]) -> None:
    """Read, or refused in a sentence; never another exception, and never memory that the files do not have."""
    generator = random.Random(6)
    outcomes = {"read": 0, "refused": 0}
    with little_memory(20):
        for _ in range(300):
            prefix = write_bundle(tmp_path, mutate(generator))
            try:
                tensors = read_all(read_tensor_bundle(prefix))
            except CheckpointError:
                outcomes["refused"] += 1
                continue
            outcomes["read"] += 1
            assert sum(tensor.nbytes for tensor in tensors.values()) <= len(DATA)
    assert min(outcomes.values()) > 0, outcomes


def test_the_committed_limits() -> None:
    """Raising them changes what a hostile file can cost."""
    assert sstable.MAX_TABLE_BYTES == 4 << 20
    assert sstable.MAX_ENTRIES * sstable.MAX_KEY_BYTES < 1 << 25
    assert index.MAX_SHARDS == 99_999
