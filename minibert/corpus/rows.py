"""A file of data as a stream of rows, whatever its format (formats.py has the table): .txt, .csv, .jsonl, .parquet.

A row is a number from 1, an id and a text.  A row that cannot be read comes as a BadRow, in its place, so that the
numbers of the others hold.  A line ends at a newline (or CR LF) and nowhere else: U+2028 and U+0085 are letters of a
text.  An empty line of a .txt is an empty text, with a vector like any other, so that row n is line n; blank lines of
the other formats are no rows.  Published tables often have no line of names, or tabs in a .csv: a column may be a
number (from 1), and :class:`Table` sees the tabs.  Look first at :meth:`File.rows`; fine-tuning and pre-training read
their own columns with it.
"""

import csv
import io
import json
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple, TypeVar

from minibert.corpus.formats import READING_ERRORS, check_format, data_path, ending_of, opened, usual_name
from minibert.errors import InputError, MinibertError
from minibert.source import Source

logger = logging.getLogger("minibert.corpus")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# Letters.  The csv module's own limit, 131,072, is less than many a page; none, and a quote that is never closed would
# take the rest of the file into memory.
LONGEST_FIELD = 1 << 26

Made = TypeVar("Made")


class Row(NamedTuple):
    """One text with what it is known by."""

    number: int  # from 1, in the input's order
    id: str | int
    text: str


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
    """Why one row cannot be read; ``line``: where, if not in its first."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.line = line


class File(ABC):
    """A file of records; each reading begins at the beginning, and holds no more of it than a row or a batch."""

    wanted: Sequence[str] | None = None  # columns that will be looked at; None: all

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def columns(self) -> list[str] | None:
        """The names of the columns, None where each row names its own."""

    @abstractmethod
    def records(self) -> Iterator[tuple[int | None, Any]]:
        """What stands in the file for each row, with its first line."""

    @abstractmethod
    def parse(self, record: Any) -> Mapping[str, Any]:
        """The columns of a record; raises Unreadable."""

    def names(self) -> list[str] | None:
        """:meth:`columns`; raises InputError for a file that cannot be read."""
        try:
            return self.columns()
        except (MinibertError, ImportError):
            raise
        except READING_ERRORS as error:
            raise InputError(f"{self.path} cannot be read ({getattr(error, 'strerror', None) or error}).") from error

    def rows(self, make: Callable[[int, int | None, Mapping[str, Any]], Made]) -> Iterator[Made | BadRow]:
        """What ``make`` makes of each row's number, first line and columns; a BadRow where it raises Unreadable.

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
            reason = getattr(error, "strerror", None) or error
            raise InputError(f"{self.path} cannot be read to its end ({reason}).") from error


class Input:
    """The texts of a file, with their ids; each iteration reads them from the beginning."""

    def __init__(self, file: File, column: str | None, id_column: str | None) -> None:
        self.file, self.path = file, file.path
        names = file.names()
        if column is None:
            column = text_column(file)
        for name in (column,) if id_column is None else (column, id_column):
            if names is not None and names.count(name) != 1:
                found = "two columns" if name in names else "no column"
                raise InputError(f"{self.path} has {found} called {name!r}; it has {', '.join(names)}.")
        self.column, self.id_column = column, id_column
        file.wanted = [column] if id_column in (None, column) else [column, id_column]

    @property
    def given_column(self) -> str | None:
        """What to call for to read the same column again; None for lines of text, which have none."""
        return None if isinstance(self.file, TextLines) else self.column

    def __iter__(self) -> Iterator[Row | BadRow]:
        return self.file.rows(self.row)

    def row(self, number: int, line: int | None, columns: Mapping[str, Any]) -> Row:
        """The row of these columns; raises Unreadable."""
        text = value(columns, self.column)
        if not isinstance(text, str):
            raise Unreadable(f"has {shortened(text)} in {self.column!r}, expected text")
        identity = number if self.id_column is None else value(columns, self.id_column)
        if type(identity) not in (str, int):  # True is an int for isinstance
            raise Unreadable(f"has {shortened(identity)} in {self.id_column!r}, expected text or a whole number")
        return Row(number, identity, text)


class TextLines(File):
    """.txt: one text a line."""

    def columns(self) -> list[str]:
        """None that a file could name."""
        return ["text"]

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Every line, empty ones too."""
        yield from lines(self.path)

    def parse(self, record: bytes) -> dict[str, str]:
        """The line is the text."""
        return {"text": decoded(record)}


class JsonLines(File):
    """.jsonl: one JSON object a line."""

    def columns(self) -> None:
        """Each object names its own."""

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Every line that is not blank."""
        return ((number, line) for number, line in lines(self.path) if line.strip())

    def parse(self, record: bytes) -> dict[str, Any]:
        """The object of a line."""
        try:
            found = json.loads(decoded(record))
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"is not JSON ({error})") from error
        if not isinstance(found, dict):
            raise Unreadable(f"is a JSON {type(found).__name__}, expected an object")
        return found


class Table(File):
    """.csv, with quotes as RFC 4180 has them; .tsv, where a quote is a letter like others (IANA's definition).

    As data comes: perhaps with tabs in a .csv, perhaps without a line of names.
    """

    has_names = True

    def has_tabs(self) -> bool:
        """Whether tabs stand between the fields; a .csv has them when its first line has more tabs than commas."""
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
        """The fields of every record that is not blank, the header's first, or what is wrong with them."""
        csv.field_size_limit(LONGEST_FIELD)
        # Bytes that are not UTF-8 come through as lone surrogates: they spoil their own record and no other.
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
                    upto = f", up to line {reader.line_num}" if reader.line_num > line else ""
                    yield line, csv.Error(f"{error}{upto}")
                else:
                    if fields:
                        yield line, fields

    def records(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """Every record, without the line of names where there is one."""
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
        """The fields by their columns' names; by number, only as many as are needed have to be there."""
        fields = self.checked(record)
        if not self.has_names:
            needed = max(map(int, self.wanted or ["1"]))
            if len(fields) < needed:
                raise Unreadable(f"has {len(fields)} fields, expected at least {needed}")
            return {str(number): field for number, field in enumerate(fields, start=1)}
        if len(fields) != len(self.header):
            raise Unreadable(f"has {len(fields)} fields, expected the {len(self.header)} of the first line")
        return dict(zip(self.header, fields, strict=True))


def open_rows(source: Source, given: Sequence[str | None] = (), use: str = "texts") -> File:
    """The file of rows, its format told by its ending, for ``use`` (:data:`minibert.corpus.formats.USES`).

    A table has no line of names where one of the columns ``given`` is a number and no name in it.  Raises InputError
    for what is no such file.
    """
    from minibert.corpus.parquet import ParquetRows

    path = data_path(source)
    formats: dict[str, type[File]] = {
        ".txt": TextLines, ".csv": Table, ".tsv": Table, ".jsonl": JsonLines, ".parquet": ParquetRows,
    }  # fmt: skip
    file = formats[check_format(path, use)](path)
    if isinstance(file, Table):
        numbers = [name for name in given if name is not None and name.isdecimal()]
        file.has_names = not numbers or any(name in (file.names() or []) for name in numbers)
    return file


def text_column(file: File) -> str:
    """The column that holds the texts, by its usual names, which is said; raises InputError when there is none."""
    names = names_of(file)
    column = usual_name(names)
    if column is None:
        listed = f"; it has {', '.join(names)}" if names else ""
        raise InputError(f"Say which column of {file.path} holds the texts (--column NAME){listed}.")
    others = [name for name in names if name != column]
    if others:
        logger.info("%s: the texts are those of the column %r (--column NAME for another).", file.path, column)
    return column


def names_of(file: File) -> list[str]:
    """The columns' names; those of the first row that can be read, where each row names its own."""
    names = file.names()
    if names is not None:
        return names
    first: BadRow | None = None
    for row in file.rows(lambda number, line, columns: list(columns)):
        if not isinstance(row, BadRow):
            return row
        first = first or row
    if first:
        raise InputError(f"{file.path}: {first}.")
    return []


def open_input(source: Source, column: str | None = None, id_column: str | None = None) -> Input:
    """The texts of a file.  ``column``: by default one with a usual name (:data:`minibert.corpus.formats.TEXTS`).

    Raises InputError when there is no such file or column.
    """
    file = open_rows(source, (column, id_column))
    if isinstance(file, TextLines):
        if column is not None or id_column is not None:
            raise InputError(f"{file.path} has no columns: every line is a text. Leave --column and --id-column out.")
        column = "text"
    return Input(file, column, id_column)


def lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """The lines of a file without their ends, numbered from 1."""
    with opened(path) as file:
        if file.read(3) != BYTE_ORDER_MARK:
            file.seek(0)
        for number, line in enumerate(file, start=1):
            yield number, line.removesuffix(b"\n").removesuffix(b"\r")


def decoded(line: bytes) -> str:
    """The text of a line."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        raise Unreadable(f"is not UTF-8 (byte {error.start + 1} is 0x{line[error.start]:02x})") from error


def value(columns: Mapping[str, Any], name: str) -> Any:
    """What a row has in a column; raises Unreadable for what no text may hold."""
    if name not in columns:
        raise Unreadable(f"has no {name!r}")
    found = columns[name]
    if isinstance(found, str):
        if "\0" in found:
            raise Unreadable("holds a NUL (U+0000), which no text has; the file may be UTF-16, or no text at all")
        try:
            found.encode()
        except UnicodeEncodeError as error:
            raise Unreadable(f"holds half a surrogate pair (U+{ord(found[error.start]):04X})") from error
    return found


@dataclass(frozen=True)
class Survey:
    """What one reading of the whole input tells, before anything is computed."""

    rows: int
    bad: int
    first_bad: BadRow | None
    ids_are_numbers: bool  # all of them, of 64 bits; a column of a parquet file must know


def survey(rows: Iterable[Row | BadRow]) -> Survey:
    """Read everything once.  It costs little beside the embedding, and finds a bad row before the work, not after."""
    number, bad, first_bad, ids_are_numbers = 0, 0, None, True
    for number, row in enumerate(rows, start=1):  # noqa: B007
        if isinstance(row, BadRow):
            bad += 1
            first_bad = first_bad or row
        elif isinstance(row.id, str) or not -(1 << 63) <= row.id < 1 << 63:
            ids_are_numbers = False
    return Survey(number, bad, first_bad, ids_are_numbers)
