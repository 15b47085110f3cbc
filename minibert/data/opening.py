"""Opening a file of rows: its ending selects the reader.  Start with :func:`open_rows`."""

import logging
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from minibert.data.columns import TEXT, Column, TextColumn
from minibert.data.formats import check_format
from minibert.data.memory import Data, FieldNames, MemoryRows, Tuples, as_data
from minibert.data.parquet import ParquetRows
from minibert.data.rows import BadRow, JsonLines, Made, Make, RowFile, TextLines
from minibert.data.table import Table
from minibert.errors import InputError

logger = logging.getLogger("minibert.data")
READERS: dict[str, type[RowFile]] = {
    ".txt": TextLines, ".csv": Table, ".tsv": Table, ".jsonl": JsonLines, ".parquet": ParquetRows,
}  # fmt: skip


def open_rows(
    source: Data, columns: Sequence[str | None] = (), use: str = "texts", fields: FieldNames | None = None
) -> RowFile:
    """The rows of a file that is read for ``use``, a key of :data:`minibert.data.formats.USES`; or rows in memory.

    ``columns``: those that the user named.  If one is a number, and not a name in the first line, the table has no line
    of names.  ``fields``: the names for the values of rows that are tuples.  Raises InputError for what is no such
    file.
    """
    data = as_data(source)
    if isinstance(data, MemoryRows):
        if isinstance(data, Tuples):
            data.name_fields(fields)
        data.selected = None
        return data
    file = READERS[check_format(data, use)](data)
    if isinstance(file, Table):
        numbers = [name for name in columns if name is not None and name.isdecimal()]
        file.has_names = not numbers or any(name in (file.names() or []) for name in numbers)
    return file


def open_texts(
    source: Data,
    column: str | None = None,
    id_column: str | None = None,
    kind: Column = TEXT,
    longest: int | None = None,
) -> TextColumn:
    """The texts of a file, or of rows in memory.

    ``column``: default one with a usual name (:data:`minibert.data.columns.TEXTS`).  ``kind``: what the texts are of.
    ``longest``: how many bytes of a row are held (:mod:`minibert.data.beginnings`); default: all.  Raises InputError
    when there is no such file or column.
    """
    file = open_rows(source, (column, id_column))
    file.longest = longest
    return TextColumn(file, column, id_column, kind)


def read_all(file: RowFile, make: Make[Made], skip_bad: bool) -> list[Made]:
    """All rows in memory.  Raises InputError for a bad row unless ``skip_bad``, and for a file without rows."""
    rows: list[Made] = []
    bad: list[BadRow] = []
    for row in tqdm(file.rows(make), desc=f"reading {file.path.name}", unit=" rows", leave=False, disable=None):
        if isinstance(row, BadRow):
            bad.append(row)
        else:
            rows.append(row)
    if bad and not skip_bad:
        raise bad_rows(file, bad[0], len(bad), len(rows) + len(bad))
    if bad:
        logger.warning("%s: %d bad rows are left out, the first is %s.", file.path, len(bad), bad[0])
    if not rows:
        raise InputError(
            f"{file.path} has no rows{' that can be read' if bad else ''}; there is nothing to learn from."
        )
    return rows


def bad_rows(file: RowFile, first: BadRow, count: int = 1, rows: int = 0) -> InputError:
    """The error for the ``count`` bad ones among the ``rows`` of a file, which names the first."""
    more = f"; in all, {count:,} of {rows:,} rows cannot be read" if count > 1 else ""
    what = "them" if isinstance(file, MemoryRows) else "the file"
    return InputError(f"{file.described(first)}{more}. Mend {what}, or leave such rows out (--skip-bad).")


class GoodRows:
    """The rows of a file that can be read, one after the other, and how many there were."""

    def __init__(self, file: RowFile, make: Make[Any], skip_bad: bool) -> None:
        """Iterating raises InputError for a bad row, unless ``skip_bad``."""
        self.file, self.skip_bad = file, skip_bad
        self.rows: Iterator[Any] = iter(tqdm(file.rows(make), desc="predicting", unit=" rows", disable=None))
        self.read = self.skipped = 0

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        for row in self.rows:
            if not isinstance(row, BadRow):
                self.read += 1
                return row
            if not self.skip_bad:
                raise bad_rows(self.file, row)
            self.skipped += 1
            if self.skipped == 1:
                logger.warning("%s; such rows are left out.", self.file.described(row))
        raise StopIteration
