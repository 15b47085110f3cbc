"""A file of data as a stream of rows: the base class of all readers, and those of .txt, .jsonl, .csv and .tsv.

Rows are numbered from 1.  A row that cannot be read comes as a :class:`BadRow`, in its place, so that the numbers of
the others hold.  A line ends at a newline (or CR LF) and nowhere else: U+2028 and U+0085 are part of a text.  An empty
line of a .txt is an empty text, so that row n is line n; blank lines of the other formats are no rows.  Published
tables often have no line of names, or tabs in a .csv: a column may be called by its number (from 1), and
:class:`Table` detects the tabs.  Start with :meth:`RowFile.rows`.
"""

import csv
import io
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from minibert.checksum import file_digest
from minibert.data.compressed import READING_ERRORS, opened
from minibert.data.formats import ending_of
from minibert.errors import InputError, MinibertError, reason_of

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Characters.  The csv module's own limit, 131,072, is less than a long page has; without any limit a quote that is
# never closed would take the rest of the file into memory.
LONGEST_FIELD = 1 << 26

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

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def columns(self) -> list[str] | None:
        """The names of the columns, None where each row names its own."""

    @abstractmethod
    def records(self) -> Iterator[tuple[int | None, Any]]:
        """The rows before parsing, each with the number of its first line."""

    @abstractmethod
    def parse(self, record: Any) -> Mapping[str, Any]:
        """The cells of a record by the names of their columns; raises Unreadable."""

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
        try:
            for number, (line, record) in enumerate(self.records(), start=1):
                try:
                    made: Made | BadRow = make(number, line, self.parse(record))
                except Unreadable as error:
                    made = BadRow(number, error.line or line, str(error))
                yield made
        except MinibertError:
            raise
        except READING_ERRORS as error:  # ValueError: what pyarrow says of a damaged file
            raise InputError(f"{self.path} cannot be read to its end ({reason_of(error)}).") from error


class TextLines(RowFile):
    """.txt: one text per line, empty ones included."""

    is_lines = True

    def columns(self) -> list[str]:
        return ["text"]

    def records(self) -> Iterator[tuple[int, bytes]]:
        yield from lines(self.path)

    def parse(self, record: bytes) -> dict[str, Any]:
        return {"text": decoded(record)}


class LineStream(TextLines):
    """A stream of lines, such as standard input, which can be read once: each a text, or two separated by a tab."""

    def __init__(self, stream: Iterable[bytes], pairs: bool) -> None:
        super().__init__(Path("standard input"))
        self.stream, self.pairs = stream, pairs

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


class JsonLines(RowFile):
    """.jsonl: one JSON object per line; blank lines are no rows."""

    def columns(self) -> None:
        return None

    def records(self) -> Iterator[tuple[int, bytes]]:
        return ((number, line) for number, line in lines(self.path) if line.strip())

    def parse(self, record: bytes) -> dict[str, Any]:
        try:
            content = json.loads(decoded(record))
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise Unreadable(f"is a JSON {type(content).__name__}, expected an object")
        return content


class Table(RowFile):
    """.csv, with the quotes of RFC 4180; .tsv, where a quote is an ordinary character (IANA's definition).

    A .csv may hold tabs, and either may lack the line of names.
    """

    has_names = True

    def has_tabs(self) -> bool:
        """Whether tabs separate the fields.  In a .csv they do when its first line has more tabs than commas."""
        if ending_of(self.path) == ".tsv":
            return True
        with opened(self.path) as file:
            first = file.readline(1 << 20)
        return first.count(b"\t") > first.count(b",")

    def columns(self) -> list[str]:
        """The fields of the first line, or numbers from 1 where it holds no names."""
        for _, fields in self.fields():
            if isinstance(fields, csv.Error):
                raise InputError(f"The first line of {self.path} names no columns ({fields}).")
            self.header = fields
            return fields if self.has_names else [str(number) for number in range(1, len(fields) + 1)]
        raise InputError(f"{self.path} is empty; its first line must name the columns.")

    def fields(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """The fields of every record that is not blank, the first line's included, or what is wrong with them."""
        csv.field_size_limit(LONGEST_FIELD)
        # Bytes that are not UTF-8 become lone surrogates: then only their own record is bad.
        with (
            opened(self.path) as binary,
            io.TextIOWrapper(binary, encoding="utf-8-sig", errors="surrogateescape", newline="") as file,
        ):
            if self.has_tabs():
                reader = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
            else:
                reader = csv.reader(file, strict=True)
            while True:
                line = reader.line_num + 1
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    last = f", up to line {reader.line_num}" if reader.line_num > line else ""
                    yield line, csv.Error(f"{error}{last}")
                else:
                    if fields:
                        yield line, fields

    def records(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        records = self.fields()
        if self.has_names:
            next(records, None)
        return records

    def checked(self, record: list[str] | csv.Error) -> list[str]:
        """The fields, if they can be read."""
        if isinstance(record, csv.Error):
            raise Unreadable(f"has quotes that do not fit together ({record})")
        for field in record:
            try:
                field.encode()
            except UnicodeEncodeError as error:
                raise Unreadable(f"is not UTF-8 (a byte is 0x{ord(field[error.start]) - 0xDC00:02x})") from error
        return record

    def parse(self, record: list[str] | csv.Error) -> dict[str, str]:
        """The fields by the names of their columns; where columns are numbers, a row may lack those not selected."""
        fields = self.checked(record)
        if not self.has_names:
            needed = max(map(int, self.selected or ["1"]))
            if len(fields) < needed:
                raise Unreadable(f"has {len(fields)} fields, expected at least {needed}")
            return {str(number): field for number, field in enumerate(fields, start=1)}
        if len(fields) != len(self.header):
            raise Unreadable(f"has {len(fields)} fields, expected the {len(self.header)} of the first line")
        return dict(zip(told_apart(self.header), fields, strict=True))


def told_apart(names: Sequence[str]) -> list[str]:
    """Names of columns of which some are alike, such as the empty ones of a spreadsheet: "note", "note_2"."""
    if len(set(names)) == len(names):
        return list(names)
    result: list[str] = []
    for name in names:
        free, number = name, 1
        while free in result or (number > 1 and free in names):
            number += 1
            free = f"{name}_{number}"
        result.append(free)
    return result


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


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file without their ends, numbered from 1."""
    with opened(path) as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(BYTE_ORDER_MARK)  # noqa: PLW2901
                if not line:
                    return
            yield number, line.removesuffix(b"\n").removesuffix(b"\r")


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
        text.encode()
    except UnicodeEncodeError as error:
        raise Unreadable(f"holds half a surrogate pair (U+{ord(text[error.start]):04X})") from error
    return text
