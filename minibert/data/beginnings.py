"""Rows that are too long to be held whole: their beginning is kept, the rest is skipped while its bytes are counted.

A reader does so where its ``longest`` is set, which is for what needs no more than the beginning: a text of which the
model reads 512 tokens.  A text that was cut is a :class:`CutText`, so that nobody takes it for the whole.
"""

from typing import BinaryIO

LONGEST = 10_000_000  # bytes of UTF-8 of one row, ten times a long book
PIECE = 1 << 16  # bytes that are skipped at once


class CutText(str):
    """The beginning of a text that goes on in its file."""

    __slots__ = ()


class CutLine(bytes):
    """The beginning of a line that goes on in its file; it ends with a whole character."""

    __slots__ = ()


def cut_line(line: bytes, longest: int) -> CutLine:
    """The first ``longest`` bytes of a line, without a character that goes on after them."""
    return CutLine(whole_characters(line[:longest]))


def skip_line(file: BinaryIO) -> int:
    """Read to the end of the line and keep nothing of it; returns how many bytes that were."""
    size = 0
    while piece := file.readline(PIECE):
        size += len(piece)
        if piece.endswith(b"\n"):
            break
    return size


def whole_characters(content: bytes) -> bytes:
    """``content`` without the first bytes of a character of UTF-8 at its end whose others are missing."""
    for back in range(1, min(4, len(content) + 1)):
        byte = content[-back]
        if byte >= 0xC0:  # the first byte of a character says how many it has
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return content if size <= back else content[:-back]
        if byte < 0x80:
            break
    return content


def shown_size(size: int) -> str:
    """``"10 MB"``, for a message."""
    return f"{size // 1_000_000} MB" if size >= 1_000_000 else f"{size:,} bytes"
