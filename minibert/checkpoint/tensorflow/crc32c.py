"""CRC-32C (Castagnoli), the checksum of LevelDB tables and of TensorFlow's tensors, fast with torch alone.

A CRC is a remainder: the message, as one long polynomial over GF(2), divided by a fixed polynomial P.  A Python loop
over bytes reaches a few MB/s, and a BERT checkpoint has a gigabyte.  But remainders are linear: for a message ``A``
followed by ``B`` of n bits, ``rem(A B) = rem(A · xⁿ) xor rem(B)``.  So the message becomes a matrix of 32-bit words,
and torch adds up all its columns in parallel: hundreds of MB/s.  Start with ``_remainder``.

Definition and test vectors: RFC 3720, section 12.1 and appendix B.4.  The tables that multiply a whole register
at once are Sarwate's (1988).  The masking is LevelDB's.
"""

from functools import cache

import torch
from torch import Tensor

POLYNOMIAL = 0x82F63B78  # 0x1EDC6F41, reflected: bit 31 is the coefficient of x⁰, as in every CRC that shifts right
ALL_ONES = 0xFFFFFFFF

CHUNK_BYTES = 8 << 20  # limits the working copy, whatever the length of the message
# Wide enough that the cost of calling torch vanishes; narrow enough that a row stays in the cache and that torch uses
# one thread: on a busy machine, two threads that synchronise after every row wait for each other.
MAX_LANES = 1 << 15


def crc32c(data: bytes | bytearray | memoryview) -> int:
    """The CRC-32C of ``data``, an int in [0, 2³²)."""
    message = memoryview(data)
    register = ALL_ONES
    for start in range(0, len(message), CHUNK_BYTES):
        register = _extend(register, message[start : start + CHUNK_BYTES])
    return register ^ ALL_ONES


def unmask(masked: int) -> int:
    """The CRC that ``masked`` stands for.

    Stored CRCs are rotated, and a constant is added, because a CRC over bytes that contain their own CRC is
    problematic (LevelDB, util/crc32c.h).
    """
    rotated = (masked - 0xA282EAD8) & 0xFFFFFFFF
    return (rotated >> 17 | rotated << 15) & 0xFFFFFFFF


def mask(crc: int) -> int:
    """``crc`` in the form in which tables and bundles store it; the inverse of ``unmask``."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _extend(register: int, chunk: memoryview) -> int:
    """The register after ``chunk``, given the register before it."""
    words = len(chunk) // 4 + 2
    lanes = min(MAX_LANES, 1 << max(0, words.bit_length() - 2))  # few rows: each is a round of calls into torch
    # Zeros in front do not change a remainder, so the padding goes there.  A register is the remainder of some
    # four-byte message, which here stands for everything already read.
    history = _undo_word(register).to_bytes(4, "little")
    padding = -(4 + len(chunk)) % (4 * lanes)
    padded = bytearray(padding) + history + chunk
    return _remainder(torch.frombuffer(padded, dtype=torch.int32).view(-1, lanes))


def _remainder(words: Tensor) -> int:
    """The register, started at zero, after all ``words`` in reading order.

    words: (rows, lanes) int32, lanes a power of two.
    """
    lanes = words.shape[1]
    total = words[0]
    for row in words[1:]:  # each column is a message of its own, whose words are ``lanes`` apart
        total = _shift(total, lanes) ^ row
    while lanes > 1:  # the left half of the row comes ``lanes / 2`` words before the right half
        lanes //= 2
        total = _shift(total[:lanes], lanes) ^ total[lanes:]
    return int(_shift(total, 1)) & 0xFFFFFFFF


def _shift(registers: Tensor, words: int) -> Tensor:
    """``registers`` after ``words`` zero words each: multiplied by x^(32 · words), modulo P.

    registers: (lanes,) int32.  words: a power of two.  Returns (lanes,) int32.
    """
    tables = _byte_tables(words)
    shifted = tables[0].index_select(0, registers & 0xFF)
    for byte in range(1, 4):
        shifted ^= tables[byte].index_select(0, registers >> 8 * byte & 0xFF)
    return shifted


@cache
def _byte_tables(words: int) -> Tensor:
    """(4, 256) int32: the result of each value of each of a register's four bytes, after ``words`` zero words."""
    columns = _bit_columns(words)
    tables = []
    for byte in range(4):
        table = [0]
        for column in columns[8 * byte : 8 * byte + 8]:  # doubles the table: without this bit, and with it
            table += [value ^ column for value in table]
        tables.append(table)
    return torch.tensor(tables, dtype=torch.int64).to(torch.int32)


@cache
def _bit_columns(words: int) -> tuple[int, ...]:
    """The result of each of a register's 32 bits, after ``words`` zero words: a 32 × 32 matrix over GF(2)."""
    if words == 1:
        return tuple(_do_word(1 << bit) for bit in range(32))
    half = _bit_columns(words // 2)
    return tuple(_times(half, column) for column in half)


def _times(columns: tuple[int, ...], register: int) -> int:
    """Matrix times vector over GF(2): the sum of the columns that the bits of ``register`` select."""
    product = 0
    for bit, column in enumerate(columns):
        if register >> bit & 1:
            product ^= column
    return product


def _do_word(register: int) -> int:
    """One register, 32 zero bits later: the definition of the CRC, bit by bit."""
    for _ in range(32):
        register = register >> 1 ^ (POLYNOMIAL if register & 1 else 0)
    return register


def _undo_word(register: int) -> int:
    """The inverse of ``_do_word``: P's lowest coefficient is 1, so the top bit tells whether P was added."""
    for _ in range(32):
        added = register >> 31
        register = (register ^ (POLYNOMIAL if added else 0)) << 1 | added
    return register
