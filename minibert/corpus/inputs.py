"""The input of a corpus: the texts of its files one after the other, and how a worker opens its part of one.

The manifest's ``input`` has the files, the format, and what a reader has to know of a file's beginning (names of
columns, tabs).  So who embeds a shard reads nothing but the rows of its group.  Start with :class:`CorpusInput`.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from minibert.corpus.pieces import ShardPlan
from minibert.data.beginnings import LONGEST
from minibert.data.columns import TextColumn, TextRow
from minibert.data.find import find_files, is_list_of_files, is_source, size_of, stamp_of
from minibert.data.formats import ending_of
from minibert.data.memory import Data, MemoryRows, as_data
from minibert.data.opening import READERS, open_texts
from minibert.data.remote import File, known_file
from minibert.data.rows import BadRow, Place
from minibert.data.web import Look
from minibert.errors import InputError, MinibertError, reason_of
from minibert.urls import is_url

Rows = list[TextRow | BadRow]
Described = dict[str, Any]  # the manifest's "input"


class CorpusInput:
    """Files of one kind, or rows in memory, as one list of texts."""

    def __init__(
        self, files: Sequence[File | MemoryRows], column: str | None, id_column: str | None, described: Described | None
    ) -> None:
        """``described``: of a plan; without it the columns are looked for when :attr:`first` is asked for."""
        self.files, self.column, self.id_column, self.described = files, column, id_column, described
        self.opened: dict[int, TextColumn] = {}
        self.why_not: Callable[[str], str | None] | None = None  # see long_rows.py

    @classmethod
    def find(cls, source: Data, column: str | None, id_column: str | None, output: object) -> "CorpusInput":
        """The input that a user names: a path, a folder, a glob, a list of these, or rows in memory.

        ``output``: the folder of the corpus, which is not searched.  No file is read.
        """
        if is_source(source) or is_list_of_files(source):
            path = Path(str(output))
            return cls(find_files(source, path if path.is_dir() else None), column, id_column, None)  # type: ignore[arg-type]
        data = as_data(source)
        return cls([data], column, id_column, None)

    @classmethod
    def of(cls, described: Described, files: Sequence[File | MemoryRows]) -> "CorpusInput":
        """The input of a plan; ``files``: where it is now."""
        return cls(files, described["column"], described["id_column"], described)

    @property
    def in_memory(self) -> bool:
        """Whether the rows are in memory, and not in files."""
        return isinstance(self.files[0], MemoryRows)

    def states(self) -> list[dict[str, Any]]:
        """Name, size and stamp of each file: what shows whether somebody has written to it."""
        states: list[dict[str, Any]] = []
        for file in self.files:
            if isinstance(file, MemoryRows):
                states.append({"name": str(file), "bytes": None, "stamp": None})
                continue
            try:
                states.append({"name": full_name(file), "bytes": size_of(file), "stamp": stamp_of(file)})
            except MinibertError:
                raise
            except OSError as error:
                raise InputError(f"{file} cannot be read ({reason_of(error)}).") from error
        return states

    def texts(self, number: int) -> TextColumn:
        """The texts of one file; raises InputError for a file without the columns of the first."""
        if number not in self.opened:
            self.opened[number] = self.known(number) if self.described else self.look(number)
            if len(self.opened) > 2 and not self.in_memory:  # the first stays, and the one in use
                self.opened.pop(next(one for one in self.opened if one not in (0, number)))
        self.opened[number].why_not = self.why_not
        return self.opened[number]

    def look(self, number: int) -> TextColumn:
        """The texts of a file whose columns are looked for in it."""
        file = self.files[number]
        if number == 0:
            return open_texts(file, self.column, self.id_column, longest=LONGEST)
        first = self.texts(0)
        texts = open_texts(file, first.named_column, self.id_column, longest=LONGEST)
        if (mine := texts.file.head()) != (expected := first.file.head()):
            raise InputError(
                f"{texts.path} has {shown(mine)}, and {first.path} {shown(expected)}. The files of a corpus have the "
                "same columns."
            )
        return texts

    def known(self, number: int) -> TextColumn:
        """The texts of a file that a plan describes; nothing is read."""
        assert self.described is not None
        file = self.files[number]
        if isinstance(file, MemoryRows):
            return open_texts(file, self.named_column, self.id_column)
        reader = READERS[self.described["format"]](file)
        reader.know(self.described["head"])
        reader.longest = LONGEST
        texts = TextColumn.known(reader, self.described["column"], self.id_column)
        texts.before = self.described["files"][number]["row"] - 1
        return texts

    @property
    def named_column(self) -> str | None:
        """The name that selects the column of the texts; None for lines of text."""
        return None if self.texts_are_lines else self.column

    @property
    def texts_are_lines(self) -> bool:
        """Whether a row is a text without columns."""
        assert self.described is not None
        return bool(self.described["lines"])

    def describe(self) -> Described:
        """The columns and the format, for the manifest; reads the beginning of the first file."""
        first = self.texts(0)
        return {
            "format": "memory" if self.in_memory else ending_of(first.path),
            "lines": first.file.is_lines,
            "head": first.file.head(),
            "column": first.column,
            "column_given": self.column is not None,
            "id_column": first.id_column,
        }

    def read(self, plans: Sequence[ShardPlan]) -> Iterator[tuple[ShardPlan, Rows]]:
        """The rows of some shards of one group, in order.  Nothing is read but the group's part of its file.

        Raises InputError when the file cannot be read.  Whether the rows are those of the plan is not looked at here.
        """
        texts = self.texts(plans[0].file)
        if texts.file.seekable:
            for plan in plans:
                place = Place(plan.offset, plan.line, plan.bytes)
                rows = texts.at(place, plan.row - texts.before)
                yield plan, [row for _, _, row in islice(rows, plan.rows + 1)]
            return
        begin = plans[0].row - plans[0].offset - texts.before
        rows = texts.at(Place(unit=plans[0].unit), begin)
        passed = 0
        for plan in plans:
            deque(islice(rows, plan.offset - passed), maxlen=0)
            yield plan, [row for _, _, row in islice(rows, plan.rows)]
            passed = plan.offset + plan.rows


def full_name(file: File) -> str:
    """A name by which other processes find the file: of a path, the absolute one; of a URL, without what is secret."""
    return str(file.expanduser().absolute()) if isinstance(file, Path) else str(file)


def file_named(described: dict[str, Any]) -> File:
    """The file that :meth:`CorpusInput.states` described, in another process; nothing is asked for."""
    name = described["name"]
    if not is_url(name):
        return Path(name)
    return known_file(name, Look(described["bytes"], described["stamp"]))


def shown(head: dict[str, Any]) -> str:
    """The columns of a table, for a message."""
    names = ", ".join(head["columns"]) if head["has_names"] else f"{len(head['columns'])} columns without names"
    return f"the columns {names}{' with tabs between' if head['tabs'] else ''}" if head["has_names"] else names
