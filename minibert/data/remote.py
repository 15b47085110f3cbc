"""A file elsewhere, with what a reader uses of a path: a name, an ending, and ``open``.

Only the bytes that a reader takes are fetched.  A file that is read from its start comes in blocks, at first small
ones, so that looking at its first line costs little, then larger ones, each with one request.  A window ends where it
ends: nothing beyond it is fetched.  A parquet file is read at places (:meth:`RemoteFile.at_places`): exactly the bytes
that are asked for.  Start with :func:`remote_files`.
"""

import io
from collections import OrderedDict
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

from minibert.data.stored import StoredFile, open_store, search
from minibert.data.web import HEAD, Look, WebFile
from minibert.errors import InputError
from minibert.urls import is_web, name_in, shown_url

LARGEST_BLOCK = 8 << 20  # bytes of one request, and what a reader holds
GROWTH = 4
# What is remembered of a file, since readers look at it several times: formats and columns at its beginning, pyarrow
# at its end.
FIRST, LAST = 1 << 17, 1 << 16  # bytes
MOST_KEPT = 16  # files


class RemoteFile:
    """A file behind a URL.  ``str`` is the URL without what is secret in it; it can be pickled."""

    def __init__(self, place: WebFile | StoredFile, look: Look | None = None, folders: tuple[str, ...] = ()) -> None:
        """``look``: its size and stamp where they are known; else the server is asked when they are needed.

        ``folders``: that lead to it from the folder that was searched.
        """
        self.place, self.known, self.folders = place, look, folders
        self.name = name_in(place.shown)

    def __str__(self) -> str:
        return self.place.shown

    def __repr__(self) -> str:
        return f"RemoteFile({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemoteFile) and other.place.address == self.place.address

    def __hash__(self) -> int:
        return hash(self.place.address)

    @property
    def suffix(self) -> str:
        """``".gz"`` of reviews.csv.gz."""
        return PurePosixPath(self.name).suffix

    @property
    def stem(self) -> str:
        """``"reviews.csv"`` of reviews.csv.gz."""
        return PurePosixPath(self.name).stem

    def with_suffix(self, suffix: str) -> PurePosixPath:
        """The name with another ending, for its ending before that."""
        return PurePosixPath(self.name).with_suffix(suffix)

    @property
    def look(self) -> Look:
        """Size and stamp; InputError when the file cannot be read."""
        if self.known is None:
            self.known = self.place.look()
        return self.known

    @property
    def size(self) -> int:
        """In bytes."""
        return self.look.size

    @property
    def stamp(self) -> str:
        """What changes with the content: an ETag, a checksum, the time of the last change, or else the size."""
        return self.look.stamp

    def is_unchanged(self) -> bool:
        """Whether the server still has what was seen first."""
        now = self.place.look()
        return (now.size, now.stamp) == (self.size, self.stamp)

    def open(self, mode: str = "rb", offset: int = 0, length: int | None = None) -> BinaryIO:
        """A stream of the bytes from ``offset`` on, ``length`` of them or all, to be read once from its start."""
        if mode != "rb":
            raise InputError(f"{self} is opened for reading ('rb') only, not {mode!r}.")
        end = self.size if length is None else min(offset + length, self.size)
        block = HEAD if length is None else LARGEST_BLOCK
        return cast(BinaryIO, io.BufferedReader(RemoteStream(self, offset, end, block), 1 << 16))

    def at_places(self) -> io.RawIOBase:
        """A file to be read here and there: exactly the bytes that are asked for."""
        return RemoteStream(self, 0, self.size, 0)

    def part(self, start: int, end: int, keep_last: bool = False) -> bytes:
        """The bytes from ``start`` to before ``end``; those at the beginning of the file are remembered.

        ``keep_last``: whether its last bytes are, too, and fetched together.
        """
        kept, head = EDGES.of(self), self.look.head
        if head is not None and end <= len(head):
            return head[start:end]
        for (first, last), content in kept.items():
            if first <= start and end <= last:
                return content[start - first : end - first]
        if end <= FIRST:
            kept[start, end] = self.place.fetch(start, end, self.look)
            return kept[start, end]
        if keep_last and (first := max(0, self.size - LAST)) <= start:
            kept[first, self.size] = self.place.fetch(first, self.size, self.look)
            return kept[first, self.size][start - first : end - first]
        return self.place.fetch(start, end, self.look)


File = Path | RemoteFile  # what a reader reads


class RemoteStream(io.RawIOBase):
    """The bytes of a file between two places."""

    def __init__(self, file: RemoteFile, start: int, end: int, block: int) -> None:
        """``block``: bytes of the first request, the later ones are larger; 0: as many as are asked for."""
        self.file, self.start, self.end, self.size = file, start, max(start, end), block
        self.position = start
        self.first, self.block = start, b""  # what was fetched, and where it begins

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position - self.start

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: self.start, io.SEEK_CUR: self.position, io.SEEK_END: self.end}[whence]
        self.position = max(self.start, base + offset)
        return self.tell()

    def readinto(self, buffer: Any) -> int:
        wanted = min(len(buffer), self.end - self.position)
        if wanted <= 0:
            return 0
        behind = self.position - self.first
        if not 0 <= behind < len(self.block) or not self.size:
            end = min(self.position + (self.size or wanted), self.end)
            self.first, behind = self.position, 0
            self.block = self.file.part(self.position, end, keep_last=not self.size)
            self.size = min(self.size * GROWTH, LARGEST_BLOCK)
        content = memoryview(self.block)[behind : behind + wanted]
        buffer[: len(content)] = content
        self.position += len(content)
        return len(content)


class Edges:
    """The first and last bytes of the files that were read last: a reader opens a file several times."""

    def __init__(self) -> None:
        self.files: OrderedDict[tuple[str, str, int], dict[tuple[int, int], bytes]] = OrderedDict()

    def of(self, file: RemoteFile) -> dict[tuple[int, int], bytes]:
        """What is remembered of a file, to be added to."""
        key = (file.place.address, file.stamp, file.size)
        kept = self.files[key] = self.files.pop(key, {})
        while len(self.files) > MOST_KEPT:
            self.files.popitem(last=False)
        return kept


EDGES = Edges()


def known_file(shown: str, look: Look) -> RemoteFile:
    """A file that another process has found, by what ``str`` shows of it; nothing is asked for.

    Raises InputError where a part of its URL is secret, and so is not shown.
    """
    if shown.endswith("?…"):
        raise InputError(f"{shown}: what follows the ? may be secret, and is not kept. Run the whole command again.")
    place = WebFile(shown) if is_web(shown) else StoredFile(*open_store(shown), shown)
    return RemoteFile(place, look)


def remote_files(url: str) -> tuple[list[RemoteFile], bool]:
    """The files of a URL: of a pattern, of a folder and the folders in it, or the one; whether it names a folder.

    A web server lists nothing, so there a URL names one file, which is not asked for yet.  Raises InputError where
    nothing is found.
    """
    shown = shown_url(url)
    if is_web(url):
        if url.endswith("/") or not name_in(url):
            raise InputError(f"{shown} names no file, and a web server does not list its folders. Name each file.")
        if "*" in shown:
            raise InputError(f"{shown} is a pattern, and a web server does not list its files. Name each file.")
        return [RemoteFile(WebFile(url))], False
    found, is_folder = search(url)
    return [RemoteFile(place, look, folders) for place, look, folders in found], is_folder
