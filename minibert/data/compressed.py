"""Compressed files: .gz with the standard library, .zst with the extra ``zstd``.

The last ending of a name says how a file is compressed, the one before it what it holds: ``reviews.csv.zst``.  Start
with :func:`opened`.
"""

import gzip
import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from minibert.data.remote import File, RemoteFile
from minibert.errors import MissingExtraError

READ_AT_ONCE = 1024  # compressed bytes: usually a few thousand of content, at most 32 MB
# The exceptions of reading a damaged file, compressed or not.
READING_ERRORS = (OSError, ValueError, EOFError, zlib.error)


@dataclass(frozen=True)
class Compression:
    """A way to compress a file."""

    ending: str
    name: str  # in a message
    undo: str  # the command that decompresses a file
    begins: Callable[[bytes], bool]  # whether such a file begins with these bytes
    reader: Callable[[File], BinaryIO]


def opened(path: File) -> BinaryIO:
    """The file's bytes, decompressed where its name says that it is compressed.

    Reading raises OSError, EOFError or zlib.error for a damaged file; opening MissingExtraError without the extra.
    """
    compression = compression_of(path)
    return path.open("rb") if compression is None else compression.reader(path)


def compression_of(path: File) -> Compression | None:
    """How a file of this name is compressed, None if it is not."""
    return COMPRESSIONS.get(path.suffix.lower())


def read_gzip(path: File) -> BinaryIO:
    """The content of a .gz."""
    return cast(BinaryIO, gzip.open(path.open("rb") if isinstance(path, RemoteFile) else path, "rb"))


def read_zstd(path: File) -> BinaryIO:
    """The content of a .zst."""
    return cast(BinaryIO, io.BufferedReader(ZstdContent(path), 1 << 16))


def need_zstandard() -> Any:
    """The module zstandard; MissingExtraError when it is not installed."""
    try:
        import zstandard
    except ImportError as error:
        raise MissingExtraError.of(
            "zstandard is not installed; for .zst files", "zstd", "gzip (.gz) needs no extra."
        ) from error
    return zstandard


class ZstdContent(io.RawIOBase):
    """The content of a .zst, whose frames follow each other (RFC 8878).

    zstandard's own stream ends without an error where a file was cut off; here that is an EOFError, as for a .gz.
    """

    def __init__(self, path: File) -> None:
        self.library = need_zstandard()
        self.file = path.open("rb")
        self.frame: Any = None  # the decompressor of the frame that is being read
        self.unread = b""  # compressed
        self.content = memoryview(b"")  # decompressed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.content and self.fill():
            pass
        size = min(len(buffer), len(self.content))
        buffer[:size] = self.content[:size]
        self.content = self.content[size:]
        return size

    def fill(self) -> bool:
        """Decompress some more; False at the end of the file."""
        data = self.unread or self.file.read(READ_AT_ONCE)
        self.unread = b""
        if not data:
            if self.frame is not None:
                raise EOFError("Compressed file ended before the end of its last frame was reached")
            return False
        if self.frame is None:
            self.frame = self.library.ZstdDecompressor().decompressobj()
        try:
            self.content = memoryview(self.frame.decompress(data))
        except self.library.ZstdError as error:
            raise OSError(str(error)) from error
        if self.frame.eof:
            self.unread, self.frame = self.frame.unused_data, None
        return True

    def close(self) -> None:
        self.file.close()
        super().close()


def is_zstd(begin: bytes) -> bool:
    """Whether these bytes begin a frame, or one to skip, with which parallel compressors begin."""
    return begin.startswith(b"\x28\xb5\x2f\xfd") or (begin[1:4] == b"\x2a\x4d\x18" and 0x50 <= begin[0] <= 0x5F)


COMPRESSIONS = {
    one.ending: one
    for one in (
        Compression(".gz", "gzip", "gunzip", lambda begin: begin.startswith(b"\x1f\x8b"), read_gzip),
        Compression(".zst", "zstd", "zstd -d", is_zstd, read_zstd),
    )
}
