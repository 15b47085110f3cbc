"""CRC-32C against published values, and against the definition."""

import random

import pytest

from minibert.checkpoint.tensorflow import crc32c as module
from minibert.checkpoint.tensorflow.crc32c import crc32c, mask, unmask


def crc32c_by_definition(data: bytes) -> int:
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_published_values(data: bytes, expected: int) -> None:
    """RFC 3720, appendix B.4; the check value is that of the catalogue of parametrised CRC algorithms."""
    assert crc32c(data) == expected


def test_every_short_length_and_some_longer_ones() -> None:
    generator = random.Random(1)
    for length in [*range(200), *(generator.randrange(200, 20_000) for _ in range(20))]:
        data = generator.randbytes(length)
        assert crc32c(data) == crc32c_by_definition(data), length


def test_messages_of_many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The register is carried over from chunk to chunk, also when a chunk is no whole number of words."""
    generator = random.Random(2)
    for chunk_bytes in (1, 3, 64, 1001):
        monkeypatch.setattr(module, "CHUNK_BYTES", chunk_bytes)
        data = generator.randbytes(3000)
        assert crc32c(data) == crc32c_by_definition(data), chunk_bytes


def test_megabytes_do_not_depend_on_how_they_are_laid_out(monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(3).randbytes((9 << 20) + 5)  # two chunks, the widest layout
    whole = crc32c(data)
    monkeypatch.setattr(module, "MAX_LANES", 512)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1 << 20)
    assert crc32c(data) == whole


def test_kinds_of_buffer() -> None:
    assert crc32c(bytearray(b"123456789")) == crc32c(memoryview(b"0123456789")[1:]) == 0xE3069283


def test_mask_is_undone() -> None:
    for crc in (0, 1, 0xFFFFFFFF, 0xE3069283):
        assert unmask(mask(crc)) == crc
    assert mask(0) == 0xA282EAD8
