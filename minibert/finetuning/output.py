"""A file of predictions: each row of the input with its number and its own columns, and what the model says of it.

.jsonl has an object a row, .csv and .tsv a line (for entities, a line an entity).  A column of the input that is called
as a part of the prediction is (``label`` in data that has labels already) becomes ``input_label``.
"""

import csv
import json
from collections.abc import Iterable, Mapping, Sequence
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
    """A row of a file."""

    number: int
    id: Any  # of the id column; None without one
    others: dict[str, Any]  # the columns that are no part of the item
    item: Any


def numbered(file: RowFile, make: Make[Any], id_column: str | None) -> Make[Numbered]:
    """``make`` with the number of the row, its id, and the columns that it makes no use of."""
    used = {"text"} if isinstance(file, TextLines) else set(file.selected or ("question", "context"))
    if id_column is not None:
        id_column = find_column(file, ID, id_column)
        used.add(id_column)
    if not (isinstance(file, Table) and not file.has_names):  # which reads by number, as far as is selected
        file.selected = None

    def row(number: int, line: int | None, cells: Cells) -> Numbered:
        identity = None if id_column is None else id_in(cells, id_column)
        others = {name: content for name, content in cells.items() if name not in used}
        return Numbered(number, identity, others, make(number, line, cells))

    return row


def other_names(file: RowFile, make: Make[Numbered]) -> list[str]:
    """The names of all columns that stand beside the items; a file whose rows name their own is read for them once."""
    if isinstance(file, JsonLines | Squad):
        found: dict[str, None] = {}
        for row in file.rows(make):
            if not isinstance(row, BadRow):
                found |= dict.fromkeys(row.others)
        return list(found)
    first = next((row for row in file.rows(make) if not isinstance(row, BadRow)), None)
    return [] if first is None or isinstance(file, TextLines) else list(first.others)


def check_output(output: Path, input: Path) -> None:
    """Raise InputError for a place where predictions are not written: another format, or the input itself."""
    if output.suffix.lower() not in FORMATS:
        raise InputError(f"{output} ends in {output.suffix!r}; predictions are written as {', '.join(FORMATS)}.")
    if output.exists() and input.exists() and output.samefile(input):
        raise InputError(f"{output} is the input itself, which would be lost. Write the predictions to another file.")


class Writer:
    """Lines of JSON, or of a table."""

    def __init__(self, file: TextIO, path: Path, has_ids: bool, others: Sequence[str]) -> None:
        """``others``: the columns of the input that a table has, too."""
        self.file, self.path, self.has_ids, self.others = file, path, has_ids, others
        self.ending = path.suffix.lower()
        self.table: Any = None
        self.header: list[str] = []

    def write(self, task: Task[Any, Any], row: Numbered, prediction: Any) -> None:
        """The prediction for one row."""
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
        """A line of the table; InputError for what no .tsv can hold."""
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
    """The columns of an input under names that are not ``taken`` by the prediction."""
    result: dict[str, Any] = {}
    for name, content in columns.items():
        free = name
        while free in taken or (free != name and free in columns):
            free = f"input_{free}"
        result[free] = content
    return result


def in_a_cell(value: Any) -> Any:
    """A value as a table holds it: lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value
