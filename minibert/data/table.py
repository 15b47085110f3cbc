"""Tables: .csv, with the quotes of RFC 4180; .tsv, where a quote is an ordinary character (IANA's definition).

Published tables often have no line of names, or tabs in a .csv: a column may be called by its number (from 1), and
:class:`Table` detects the tabs.  A line ends at a newline, at CR LF, or at a lone CR; between quotes these are part of
the text.
"""

import csv
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO

from minibert.data.beginnings import CutText
from minibert.data.compressed import opened
from minibert.data.formats import ending_of
from minibert.data.rows import BYTE_ORDER_MARK, WHOLE, ByteRows, Located, Place, Unreadable
from minibert.data.thinning import Thinner
from minibert.data.windows import opened_at
from minibert.errors import InputError

# Characters.  The csv module's own limit, 131,072, is less than a long page has; without any limit a quote that is
# never closed would take the rest of the file into memory.
LONGEST_FIELD = 1 << 26
FIRST_BLOCK, BLOCK = 1 << 13, 1 << 16  # bytes; the first is enough for the names of columns
PART = 1 << 18
LINE_END = b"\r\n"


class Lines:
    """The lines of a table as csv.reader takes them, and the place after the last that was taken.

    Of a record of more than ``longest`` bytes so much is kept, see thinning.py.
    """

    def __init__(
        self,
        file: BinaryIO,
        place: Place,
        longest: int = sys.maxsize,
        delimiter: bytes = b",",
        has_quotes: bool = True,
    ) -> None:
        self.offset, self.line, self.longest = place.offset, place.line, longest
        self.syntax = (delimiter, has_quotes)
        self.held = 0  # bytes of the record
        self.thinner: Thinner | None = None  # of a long one
        self.texts = self.read(file)

    def read(self, file: BinaryIO) -> Iterator[str]:
        waiting: list[bytes] = []  # parts of a line that is not yet known to be long
        size = 0  # of the line so far
        for part in split_lines(file):
            is_first = self.offset == 0
            self.offset += len(part)
            if is_first:
                part = part.removeprefix(BYTE_ORDER_MARK)  # noqa: PLW2901
                if not part:
                    return
            size += len(part)
            if not waiting and self.thinner is None and self.held + size <= self.longest and part[-1] in LINE_END:
                self.line += 1  # a line as most are
                self.held += size
                size = 0
                yield part.decode("utf-8", "surrogateescape")
                continue
            if self.thinner is None and self.held + size > self.longest:
                # A record goes on in another line only between quotes.
                self.thinner = Thinner(*self.syntax, self.longest - self.held, is_quoted=self.held > 0)
            if part[-1] not in LINE_END:
                if self.thinner is None:
                    waiting.append(part)
                else:
                    for one in (*waiting, part):
                        self.thinner.feed(one)
                    waiting.clear()
                continue
            yield self.taken(waiting, part, size)
            size = 0
        if size:
            yield self.taken(waiting, b"", size)

    def taken(self, waiting: list[bytes], last: bytes, size: int) -> str:
        """The line that ends with the part ``last``."""
        self.line += 1
        self.held += size
        if self.thinner is not None:
            for part in waiting:
                self.thinner.feed(part)
            line = self.thinner.end_line(last)
        else:
            line = b"".join((*waiting, last)) if waiting else last
        waiting.clear()
        # Bytes that are not UTF-8 become lone surrogates: then only their own record is bad.
        return line.decode("utf-8", "surrogateescape")

    def marked(self, fields: list[str]) -> list[str]:
        """The fields of the record, of which those that were cut, and all after them, are CutText."""
        if self.thinner is None or not self.thinner.drops:
            return fields
        first = len(fields) - 1 - self.thinner.fields_after
        return [CutText(field) if number >= first else field for number, field in enumerate(fields)]


def split_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file with their ends, which are LF, CR LF and CR; a line of more than PART comes in parts."""
    rest, size = b"", FIRST_BLOCK
    while block := file.read(size):
        lines = (rest + block).splitlines(keepends=True)
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()  # CR may be half of a CR LF
        yield from lines
        if len(rest) > PART:
            end = len(rest) - rest.endswith(b"\r")
            yield rest[:end]
            rest = rest[end:]
        size = max(BLOCK, len(rest))  # a line of many blocks is not put together again for each
    if rest:
        yield rest


class Table(ByteRows):
    """.csv or .tsv; a .csv may hold tabs, and either may lack the line of names."""

    has_names = True
    tabs: bool | None = None  # once it is known
    header: list[str] | None = None

    def head(self) -> dict[str, Any]:
        self.columns()
        return {"columns": self.header, "has_names": self.has_names, "tabs": self.has_tabs()}

    def know(self, head: Mapping[str, Any]) -> None:
        self.header, self.has_names, self.tabs = head["columns"], head["has_names"], head["tabs"]

    def has_tabs(self) -> bool:
        """Whether tabs separate the fields.  In a .csv they do when its first line has more tabs than commas."""
        if self.tabs is None:
            if ending_of(self.path) == ".tsv":
                self.tabs = True
            else:
                with opened(self.path) as file:
                    first = file.readline(1 << 20)
                self.tabs = first.count(b"\t") > first.count(b",")
        return self.tabs

    def columns(self) -> list[str]:
        """The fields of the first line, or numbers from 1 where it holds no names."""
        if self.header is None:
            self.header = self.first_line()
        return self.header if self.has_names else [str(number) for number in range(1, len(self.header) + 1)]

    def first_line(self) -> list[str]:
        """The fields of the first line."""
        for _, _, _, fields in self.fields():
            if isinstance(fields, csv.Error):
                raise InputError(f"The first line of {self.path} names no columns ({fields}).")
            return fields
        raise InputError(f"{self.path} is empty; its first line must name the columns.")

    def fields(self, place: Place = WHOLE) -> Iterator[tuple[int, int, int, list[str] | csv.Error]]:
        """The fields of every record that is not blank, the first line's included, or what is wrong with them."""
        csv.field_size_limit(LONGEST_FIELD)
        with opened_at(self.path, place.offset, place.size) as file:
            tabs = self.has_tabs()
            lines = Lines(file, place, self.longest or sys.maxsize, b"\t" if tabs else b",", not tabs)
            if tabs:
                reader = csv.reader(lines.texts, delimiter="\t", quoting=csv.QUOTE_NONE, strict=True)
            else:
                reader = csv.reader(lines.texts, strict=True)
            while True:
                line = lines.line
                lines.held, lines.thinner = 0, None  # a record begins
                try:
                    fields = next(reader)
                except StopIteration:
                    return
                except csv.Error as error:
                    last = f", up to line {lines.line - 1}" if lines.line > line + 1 else ""
                    yield lines.offset, lines.line, line, csv.Error(f"{error}{last}")
                else:
                    if fields:
                        yield lines.offset, lines.line, line, lines.marked(fields) if lines.thinner else fields

    def located(self, place: Place = WHOLE) -> Iterator[Located]:
        records = self.fields(place)
        if self.has_names and place.offset == 0:
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
        header = self.columns()
        if len(fields) != len(header):
            raise Unreadable(f"has {len(fields)} fields, expected the {len(header)} of the first line")
        return dict(zip(told_apart(header), fields, strict=True))


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
