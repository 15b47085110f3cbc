"""A run of bytes of a file, and no byte beyond it: what a worker reads of an input that several share.

Start with :func:`opened_at`.
"""

import io
from pathlib import Path
from typing import Any, BinaryIO, cast

from minibert.data.compressed import opened
from minibert.data.remote import File, RemoteFile

BUFFER = 1 << 16


def opened_at(path: File, offset: int = 0, size: int | None = None) -> BinaryIO:
    """The bytes of a file from ``offset``; at most ``size`` of them, None: to the end.

    A compressed file is read from its beginning (:func:`minibert.data.compressed.opened`), where ``offset`` is 0 and
    ``size`` None.  Raises OSError.
    """
    if size is None:
        file = opened(path)
        if offset:
            file.seek(offset)
        return file
    if isinstance(path, RemoteFile):
        return path.open("rb", offset, size)
    return cast(BinaryIO, io.BufferedReader(Window(path, offset, size), BUFFER))


class Window(io.RawIOBase):
    """``size`` bytes of a file from ``offset``; fewer where the file ends before."""

    def __init__(self, path: Path, offset: int, size: int) -> None:
        self.file: Any = path.open("rb", buffering=0)
        self.left = size
        if offset:
            self.file.seek(offset)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        count: int = self.file.readinto(memoryview(buffer)[: self.left])
        self.left -= count
        return count

    def close(self) -> None:
        self.file.close()
        super().close()
