"""The rows of a training file, by what their columns hold; a bad one is a sentence that names its line.

Files are read as for whole corpora (minibert/corpus/rows.py): .csv, .tsv, .jsonl, .parquet.  Here a row has several
columns, and names are guessed where the file has the usual ones.  Start with :func:`choose_columns`.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, TypeVar

from tqdm import tqdm

from minibert.corpus.formats import usual_name
from minibert.corpus.rows import BadRow, File, TextLines, Unreadable, names_of, value
from minibert.errors import InputError

logger = logging.getLogger("minibert.finetuning")
Made = TypeVar("Made")
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


def choose_columns(file: File, wanted: Mapping[str, Column]) -> dict[str, str]:
    """Which of the file's columns is which; those that are optional and not there are left out.

    Raises InputError, listing what there is, when one cannot be told.
    """
    if isinstance(file, TextLines):
        raise InputError(f"{file.path} has no columns, only lines; give a .csv, .tsv, .jsonl or .parquet file.")
    names = names_of(file)
    if not names:
        raise InputError(f"{file.path} is empty; there is nothing to learn from.")
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
        like = [name for name in names if name.strip() == column.given.strip()]  # "text, label" has spaces in its names
        if len(like) == 1:
            return like[0]
        found = "two columns" if column.given in names else "no column"
        raise InputError(f"{path} has {found} called {column.given!r} for {column.holds}; it has {listed}.")
    found_name = usual_name(names, column.usual)
    if found_name is None and not column.optional:
        raise InputError(f"Say which column of {path} holds {column.holds} ({column.option} NAME); it has {listed}.")
    return found_name


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
