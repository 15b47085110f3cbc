"""A file of predictions: each row of the input with its number, its own columns and its prediction.

A .jsonl has one object per row, a .csv or .tsv one line (for entities, one line per entity).  A column of the input
with the name of a part of the prediction is renamed: ``label``, in data that has labels, becomes ``input_label``.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from minibert.data.cells import Cells, id_in
from minibert.data.columns import ID, find_column
from minibert.data.questions import Squad
from minibert.data.rows import BadRow, JsonLines, Make, RowFile, Table, TextLines
from minibert.errors import InputError
from minibert.finetuning.task import Task

FORMATS = (".jsonl", ".csv", ".tsv")


class Numbered(NamedTuple):
    """A row of the input."""

    number: int
    id: Any  # of the id column; None without one
    others: dict[str, Any]  # the cells that are no part of the item
    item: Any


def numbered(file: RowFile, make: Make[Any], id_column: str | None) -> Make[Numbered]:
    """``make`` with the number of the row, its id, and the cells that ``make`` does not use."""
    used = {"text"} if isinstance(file, TextLines) else set(file.selected or ("question", "context"))
    if id_column is not None:
        id_column = find_column(file, ID, id_column)
        used.add(id_column)
    if not (isinstance(file, Table) and not file.has_names):  # whose rows may lack columns that are not selected
        file.selected = None

    def row(number: int, line: int | None, cells: Cells) -> Numbered:
        identity = None if id_column is None else id_in(cells, id_column)
        others = {name: content for name, content in cells.items() if name not in used}
        return Numbered(number, identity, others, make(number, line, cells))

    return row


def other_names(file: RowFile, make: Make[Numbered]) -> list[str]:
    """The names of the columns that are no part of the items; where each row names its own, of all rows."""
    rows = (row for row in file.rows(make) if not isinstance(row, BadRow))
    if not isinstance(file, JsonLines | Squad):
        rows = islice(rows, 1)  # type: ignore[assignment]
    return list(dict.fromkeys(name for row in rows for name in row.others))


def check_output(output: Path, input: Path) -> None:
    """Raise InputError when the output has another format, or is the input itself."""
    if output.suffix.lower() not in FORMATS:
        raise InputError(f"{output} ends in {output.suffix!r}; predictions are written as {', '.join(FORMATS)}.")
    if output.exists() and input.exists() and output.samefile(input):
        raise InputError(f"{output} is the input itself, which would be lost. Write the predictions to another file.")


class Writer:
    """Writes predictions as lines of JSON or of a table."""

    def __init__(self, file: TextIO, path: Path, has_ids: bool, others: Sequence[str]) -> None:
        """``others``: the columns of the input that a table keeps."""
        self.file, self.path, self.has_ids, self.others = file, path, has_ids, others
        self.ending = path.suffix.lower()
        self.table: Any = None
        self.header: list[str] = []

    def write(self, task: Task[Any, Any], row: Numbered, prediction: Any) -> None:
        """Write the prediction for one row."""
        known = {"row": row.number, **({"id": row.id} if self.has_ids else {})}
        if self.ending == ".jsonl":
            record = task.record(row.item, prediction)
            others = renamed(row.others, {*known, *record})
            self.file.write(json.dumps({**known, **others, **record}, ensure_ascii=False, default=str) + "\n")
            return
        fields = task.fields(row.item)
        if self.table is None:
            names = renamed(dict.fromkeys(self.others), {*known, *fields})
            self.header = [*known, *names, *fields]
            marks: dict[str, Any] = {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None}
            self.table = csv.writer(self.file, lineterminator="\n", **(marks if self.ending == ".tsv" else {}))
            self.line(self.header, row.number)
        others = renamed({name: row.others.get(name) for name in self.others}, {*known, *fields})
        for line in task.lines(row.item, prediction):
            full = {**known, **others, **line}
            self.line([in_a_cell(full.get(name)) for name in self.header], row.number)

    def line(self, cells: Iterable[Any], number: int) -> None:
        """Write a line of the table; InputError for what no .tsv can hold."""
        content = list(cells)
        if self.ending == ".tsv":
            for name, cell in zip(self.header, content, strict=True):
                if isinstance(cell, str) and any(mark in cell for mark in "\t\n\r"):
                    raise InputError(
                        f"{self.path}: row {number} has a tab or a line break in {name!r}, which no .tsv can hold. "
                        "Write a .csv or .jsonl."
                    )
        self.table.writerow(content)


def renamed(columns: Mapping[str, Any], taken: set[str]) -> dict[str, Any]:
    """The columns of an input under names that the prediction has not ``taken``."""
    result: dict[str, Any] = {}
    for name, content in columns.items():
        free = name
        while free in taken or (free != name and free in columns):
            free = f"input_{free}"
        result[free] = content
    return result


def in_a_cell(value: Any) -> Any:
    """A value for a cell of a table: lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value
