"""The rows of a training file, by what their columns hold; a bad one is a sentence that names its line.

Files are read as for whole corpora (minibert/corpus/rows.py): .csv, .tsv, .jsonl, .parquet.  Here a row has several
columns, and names are guessed where the file has the usual ones.  Published data often has no line of names, or tabs in
a .csv: a column may be a number (from 1), and :class:`Sheet` sees the tabs.  Start with :func:`choose_columns`.
"""

import csv
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, TypeVar

from tqdm import tqdm

from minibert.corpus.rows import BadRow, File, Table, TextLines, Unreadable, open_file, value
from minibert.errors import InputError
from minibert.source import Source

logger = logging.getLogger("minibert.finetuning")
Made = TypeVar("Made")
# Names that a column of texts often has, the likeliest first.
TEXTS = ("text", "sentence", "document", "review", "sentence1", "text1", "premise", "question1", "comment", "content")
Values = Mapping[str, Any]
Make = Callable[[int, int | None, Values], Made]  # number, line, columns; raises Unreadable


@dataclass(frozen=True)
class Column:
    """A column that a task needs, by what it holds."""

    holds: str  # for sentences: "the texts"
    option: str  # of the command line
    given: str | None  # its name, where the user says it
    usual: tuple[str, ...]  # names it often has, the likeliest first
    optional: bool = False


class Sheet(Table):
    """A .csv or .tsv as data comes: perhaps with tabs in a .csv, perhaps without a line of names."""

    has_names = True

    def has_tabs(self) -> bool:
        """Whether tabs stand between the fields; a .csv has them when its first line has more tabs than commas."""
        if super().has_tabs():
            return True
        with self.path.open("rb") as file:
            first = file.readline(1 << 20)
        return first.count(b"\t") > first.count(b",")

    def columns(self) -> list[str]:
        """The fields of the first line, or numbers from 1 where it holds no names."""
        fields = super().columns()
        return fields if self.has_names else [str(number) for number in range(1, len(fields) + 1)]

    def records(self) -> Iterator[tuple[int, list[str] | csv.Error]]:
        """Every record, without the line of names where there is one."""
        return super().records() if self.has_names else self.fields()

    def parse(self, record: list[str] | csv.Error) -> dict[str, str]:
        """The fields by name; by number, only as many as are needed have to be there."""
        if self.has_names:
            return super().parse(record)
        fields = self.checked(record)
        needed = max(map(int, self.wanted or ["1"]))
        if len(fields) < needed:
            raise Unreadable(f"has {len(fields)} fields, expected at least {needed}")
        return {str(number): field for number, field in enumerate(fields, start=1)}


def open_rows(source: Source, given: Sequence[str | None] = ()) -> File:
    """The file; a table without names where one of the columns ``given`` is a number and no name in it.

    Raises InputError for what is no such file.
    """
    file = open_file(source)
    if not isinstance(file, Table):
        return file
    sheet = Sheet(file.path)
    numbers = [name for name in given if name is not None and name.isdecimal()]
    sheet.has_names = not numbers or any(name in (sheet.names() or []) for name in numbers)
    return sheet


def choose_columns(file: File, wanted: Mapping[str, Column]) -> dict[str, str]:
    """Which of the file's columns is which; those that are optional and not there are left out.

    Raises InputError, listing what there is, when one cannot be told.
    """
    if isinstance(file, TextLines):
        raise InputError(f"{file.path} has no columns, only lines; give a .csv, .tsv, .jsonl or .parquet file.")
    names = names_of(file)
    chosen = {}
    for role, column in wanted.items():
        name = choose(file.path, names, column)
        if name is not None:
            chosen[role] = name
    file.wanted = list(dict.fromkeys(chosen.values()))
    return chosen


def choose(path: Path, names: list[str], column: Column) -> str | None:
    """The name of one column."""
    listed = ", ".join(names)
    if column.given is not None:
        if names.count(column.given) == 1:
            return column.given
        found = "two columns" if column.given in names else "no column"
        raise InputError(f"{path} has {found} called {column.given!r} for {column.holds}; it has {listed}.")
    by_small_letters = {name.casefold(): name for name in reversed(names)}
    found_name = next((by_small_letters[name] for name in column.usual if name in by_small_letters), None)
    if found_name is None and not column.optional:
        raise InputError(f"Say which column of {path} holds {column.holds} ({column.option} NAME); it has {listed}.")
    return found_name


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
    raise InputError(f"{file.path}: {first}." if first else f"{file.path} is empty; there is nothing to learn from.")


def read_all(file: File, make: Make[Made], skip_bad: bool) -> list[Made]:
    """All rows in memory; raises InputError for a bad one, unless such are to be left out, and for a file without."""
    rows: list[Made] = []
    bad: list[BadRow] = []
    found = file.rows(make)
    for row in tqdm(found, desc=f"reading {file.path.name}", unit=" rows", leave=False, disable=None):
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            rows.append(row)
    if bad and not skip_bad:
        more = f"; in all, {len(bad):,} of {len(rows) + len(bad):,} rows are bad" if len(bad) > 1 else ""
        raise InputError(f"{file.path}: {bad[0]}{more}. Mend the file, or leave such rows out (--skip-bad).")
    if bad:
        logger.warning("%s: %d bad rows are left out, the first is %s.", file.path, len(bad), bad[0])
    if not rows:
        raise InputError(
            f"{file.path} has no rows{' that can be read' if bad else ''}; there is nothing to learn from."
        )
    return rows


def text_in(columns: Values, name: str) -> str:
    """The text in a column; raises Unreadable."""
    found = value(columns, name)
    if not isinstance(found, str):
        raise Unreadable(f"has {shortened(found)} in {name!r}, expected text")
    return found


def number_in(columns: Values, name: str) -> float:
    """The number in a column, written as text or not; raises Unreadable."""
    found = value(columns, name)
    try:
        number = float(found) if isinstance(found, str | int | float) and not isinstance(found, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Unreadable(f"has {shortened(found)} in {name!r}, expected a number")
    return number


def whole_in(columns: Values, name: str) -> int:
    """The whole number in a column, 0 or more; raises Unreadable."""
    number = number_in(columns, name)
    if number < 0 or number != int(number):
        raise Unreadable(f"has {shortened(columns[name])} in {name!r}, expected a whole number of at least 0")
    return int(number)


def list_in(columns: Values, name: str) -> list[Any]:
    """The list in a column; raises Unreadable."""
    found = value(columns, name)
    if not isinstance(found, list):
        raise Unreadable(f"has {shortened(found)} in {name!r}, expected a list")
    return found
