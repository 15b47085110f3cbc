"""A file of data as a stream of rows: the base class of all readers, and those of .txt and .jsonl.

Rows are numbered from 1.  A row that cannot be read comes as a :class:`BadRow`, in its place, so that the numbers of
the others hold.  A line ends at a newline (or CR LF) and nowhere else: U+2028 and U+0085 are part of a text.  An empty
line of a .txt is an empty text, so that row n is line n; blank lines of the other formats are no rows.  Tables are in
table.py.

A reader may also begin in the middle of a file: the :class:`Place` of each row says where.  Start with
:meth:`RowFile.rows`.
"""

import json
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from minibert.checksum import file_digest
from minibert.data.beginnings import CutLine, CutText, cut_line, shown_size, skip_line
from minibert.data.compressed import READING_ERRORS, compression_of
from minibert.data.json_beginning import parse_beginning
from minibert.data.remote import File
from minibert.data.windows import opened_at
from minibert.errors import InputError, MinibertError, reason_of

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Place(NamedTuple):
    """Where reading begins, and what is read.

    A reader that is ``seekable`` takes a byte and the number of its line, any other a ``unit``: what can only be read
    as a whole.
    """

    offset: int = 0
    line: int = 1
    size: int | None = None  # bytes; None: to the end of the file
    unit: Any = None  # see RowFile.units


WHOLE = Place()
# The offset after a row (bytes; without them the number of rows since the unit began) and the number of the line that
# begins there; then the number of the row's own first line, and its record.
Located = tuple[int, int, int | None, Any]
Made = TypeVar("Made")
Make = Callable[[int, int | None, Mapping[str, Any]], Made]  # number, first line, cells by column; raises Unreadable


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be read, and why: ``"is not UTF-8 (byte 5 is 0xe9)"``."""

    number: int
    line: int | None  # where it begins, from 1; None in a format that has no lines
    why: str

    def __str__(self) -> str:
        place = f"row {self.number}" if self.line in (None, self.number) else f"row {self.number} (line {self.line})"
        return f"{place} {self.why}"


class Unreadable(Exception):
    """Why one row cannot be read; ``line``: the number of the line, where it is not the first of the row."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


class RowFile(ABC):
    """A file of rows.  Each iteration reads it from the beginning, and holds one row or one batch in memory."""

    selected: Sequence[str] | None = None  # the columns that will be read; None: all
    is_lines = False  # whether a row is a text, without columns
    counts_bytes = False  # whether the offsets of located() are bytes
    longest: int | None = None  # bytes of a row that are held, see beginnings.py; None: all

    def __init__(self, path: File) -> None:
        self.path: Any = path  # a Path, or a RemoteFile, which has what a reader uses of one

    @abstractmethod
    def columns(self) -> list[str] | None:
        """The names of the columns, None where each row names its own."""

    @abstractmethod
    def records(self) -> Iterator[tuple[int | None, Any]]:
        """The rows before parsing, each with the number of its first line."""

    @abstractmethod
    def parse(self, record: Any) -> Mapping[str, Any]:
        """The cells of a record by the names of their columns; raises Unreadable."""

    @property
    def seekable(self) -> bool:
        """Whether reading can begin at every row; else only at the beginning of a unit."""
        return False

    def units(self, rows: int, size: int) -> Iterable[Any]:
        """What can be read by itself, in order; by default the whole is one, None.

        Small ones that follow each other are one together, as long as it has at most ``rows`` rows and ``size`` bytes.
        """
        return (None,)

    def located(self, place: Place = WHOLE) -> Iterator[Located]:
        """:meth:`records` from a place on, each with the place after it."""
        for number, (line, record) in enumerate(self.records(), start=1):
            yield number, 0, line, record

    def head(self) -> dict[str, Any]:
        """What a reader that begins in the middle has to know of the beginning; it is given to :meth:`know`."""
        return {}

    def know(self, head: Mapping[str, Any]) -> None:
        """Take what :meth:`head` returned for this file, so that its beginning is not read."""
        assert not head

    def names(self) -> list[str] | None:
        """:meth:`columns`; raises InputError for a file that cannot be read."""
        try:
            return self.columns()
        except (MinibertError, ImportError):
            raise
        except READING_ERRORS as error:
            raise InputError(f"{self.path} cannot be read ({reason_of(error)}).") from error

    def digest(self) -> str:
        """The SHA-256 of the file, by which a run recognises it again."""
        return file_digest(self.path)

    def described(self, row: BadRow) -> str:
        """A bad row, with the name of the file, as the beginning of a sentence."""
        return f"{self.path}: {row}"

    def rows(self, make: Make[Made]) -> Iterator[Made | BadRow]:
        """What ``make`` returns for each row's number, first line and cells; a BadRow where it raises Unreadable.

        Raises InputError when the file cannot be read to its end.
        """
        return (made for _, _, made in self.rows_at(make))

    def rows_at(
        self, make: Make[Made], place: Place = WHOLE, number: int = 1
    ) -> Iterator[tuple[int, int, Made | BadRow]]:
        """:meth:`rows` from a place on, the first with ``number``; each with the offset and the line after it."""
        parse = self.parse
        try:
            for count, (offset, following, line, record) in enumerate(self.located(place), start=number):
                try:
                    made: Made | BadRow = make(count, line, parse(record))
                except Unreadable as error:
                    made = BadRow(count, error.line or line, str(error))
                yield offset, following, made
        except MinibertError:
            raise
        except READING_ERRORS as error:  # ValueError: what pyarrow says of a damaged file
            raise InputError(f"{self.path} cannot be read to its end ({reason_of(error)}).") from error


class ByteRows(RowFile):
    """Rows that follow each other as bytes."""

    counts_bytes = True

    @property
    def seekable(self) -> bool:
        return compression_of(self.path) is None

    @abstractmethod
    def located(self, place: Place = WHOLE) -> Iterator[Located]: ...

    def records(self) -> Iterator[tuple[int | None, Any]]:
        return ((line, record) for _, _, line, record in self.located())


class TextLines(ByteRows):
    """.txt: one text per line, empty ones included."""

    is_lines = True

    def columns(self) -> list[str]:
        return ["text"]

    def located(self, place: Place = WHOLE) -> Iterator[Located]:
        return located_lines(self.path, place, self.longest)

    def parse(self, record: bytes) -> dict[str, Any]:
        text = decoded(record)
        return {"text": text if type(record) is bytes else CutText(text)}


class LineStream(RowFile):
    """A stream of lines, such as standard input, which can be read once: each a text, or two separated by a tab."""

    is_lines = True

    def __init__(self, stream: Iterable[bytes], pairs: bool) -> None:
        super().__init__(Path("standard input"))
        self.stream, self.pairs = stream, pairs

    def columns(self) -> list[str]:
        return ["text"]

    def records(self) -> Iterator[tuple[int, bytes]]:
        for number, line in enumerate(self.stream, start=1):
            yield number, (line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line).rstrip(b"\r\n")

    def parse(self, record: bytes) -> dict[str, Any]:
        text = checked_text(decoded(record))
        if not self.pairs:
            return {"text": text}
        parts = text.split("\t")
        if len(parts) != 2:
            raise Unreadable(f"has {len(parts)} fields, expected two texts with a tab between")
        return {"text": (parts[0], parts[1])}


class JsonLines(ByteRows):
    """.jsonl: one JSON object per line; blank lines are no rows."""

    def columns(self) -> None:
        return None

    def located(self, place: Place = WHOLE) -> Iterator[Located]:
        return (row for row in located_lines(self.path, place, self.longest) if row[3].strip())

    def parse(self, record: bytes) -> dict[str, Any]:
        if isinstance(record, CutLine):
            return self.parse_cut(record)
        try:
            content = json.loads(decoded(record))
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise Unreadable(f"is a JSON {type(content).__name__}, expected an object")
        return content

    def parse_cut(self, record: CutLine) -> dict[str, Any]:
        """The selected cells in the beginning of a line."""
        try:
            content = parse_beginning(decoded(record), self.selected)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"is not a JSON object ({error})") from error
        for name in self.selected or ():
            if name not in content:
                size = shown_size(self.longest or 0)
                raise Unreadable(f"has more than {size}, and no {name!r} in the first {size}")
        return content


def names_of(file: RowFile) -> list[str]:
    """The names of the columns; where each row names its own, those of the first row that can be read."""
    names = file.names()
    if names is not None:
        return names
    first: BadRow | None = None
    for row in file.rows(lambda number, line, columns: list(columns)):
        if not isinstance(row, BadRow):
            return row
        first = first or row
    if first:
        raise InputError(f"{file.described(first)}.")
    return []


def lines(path: File) -> Iterator[tuple[int, bytes]]:
    """The lines of a file without their ends, numbered from 1."""
    return ((number, line) for _, _, number, line in located_lines(path))


def located_lines(
    path: File, place: Place = WHOLE, longest: int | None = None
) -> Iterator[tuple[int, int, int, bytes]]:
    """The lines from a place on, each with the offset and the number of the line after it, and its own number.

    A line of more than ``longest`` bytes is a CutLine.
    """
    offset, most = place.offset, sys.maxsize if longest is None else longest
    with opened_at(path, offset, place.size) as file:
        read = iter(file) if longest is None else iter(partial(file.readline, longest + len(b"\r\n")), b"")
        for number, line in enumerate(read, start=place.line):
            size = len(line)
            offset += size
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)  # noqa: PLW2901
                if not line:
                    return
            if size > most and not line.endswith(b"\n"):
                offset += skip_line(file)
                yield offset, number + 1, number, cut_line(line, most)
            else:
                yield offset, number + 1, number, line.removesuffix(b"\n").removesuffix(b"\r")


def decoded(line: bytes) -> str:
    """The text of a line."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x})") from error


def checked_text(text: str) -> str:
    """The text; raises Unreadable when it holds what no text may hold."""
    if "\0" in text:
        raise Unreadable("holds a NUL (U+0000), which no text has; the file may be UTF-16, or no text at all")
    try:
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(f"holds half a surrogate pair (U+{ord(text[error.start]):04X})") from error
    return text
