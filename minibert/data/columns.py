"""Finding the columns of a file: by the names that the user gives, else by usual ones.

Start with :func:`choose_columns`.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from minibert.data.beginnings import CutText, shown_size
from minibert.data.cells import Cells, id_in, text_in
from minibert.data.rows import BadRow, Place, RowFile, Unreadable, checked_text, names_of
from minibert.errors import InputError

logger = logging.getLogger("minibert.data")


@dataclass(frozen=True)
class Column:
    """A column that is needed, by what it holds."""

    holds: str  # for messages: "the texts"
    option: str  # of the command line
    usual: tuple[str, ...] = ()  # names it often has, the likeliest first
    optional: bool = False


# Names that a column of texts often has, the likeliest first.
TEXTS = (
    "text", "sentence", "document", "review", "sentence1", "text1", "premise", "question1", "comment", "content",
    "body", "texts", "paragraph", "passage", "abstract",
)  # fmt: skip
TEXT = Column("the texts", "--column", TEXTS)
ID = Column("the ids", "--id-column")


def choose_columns(file: RowFile, columns: Mapping[str, Column], names: Mapping[str, str | None]) -> dict[str, str]:
    """The name in the file of each of ``columns``.  The file will read no others; optional ones may be missing.

    ``names``: those that the user named.  Raises InputError, listing the columns of the file, when one is not there.
    """
    if file.is_lines:
        raise InputError(
            f"{file.path} has no columns, only texts; give a .csv, .tsv, .jsonl or .parquet file, or in Python a list "
            "of dicts, a DataFrame or a Dataset."
        )
    if not names_of(file):
        raise InputError(f"{file.path} is empty; there is nothing to learn from.")
    chosen = {role: choose(file, column, names.get(role)) for role, column in columns.items()}
    present = {role: name for role, name in chosen.items() if name is not None}
    file.selected = list(dict.fromkeys(present.values()))
    return present


def choose(file: RowFile, column: Column, name: str | None) -> str | None:
    """The name of one column: the one the user gave, else a usual one; None where an optional one is missing."""
    names = names_of(file)
    listed = f"; it has {', '.join(names)}" if names else ""
    if name is not None:
        if names.count(name) == 1:
            return name
        like = [one for one in names if one.strip() == name.strip()]  # "text, label" has spaces in its names
        if len(like) == 1:
            return like[0]
        count = "two columns" if name in names else "no column"
        raise InputError(f"{file.path} has {count} called {name!r} for {column.holds}{listed}.")
    usual = usual_name(names, column.usual)
    if usual is None and not column.optional:
        raise InputError(f"Say which column of {file.path} holds {column.holds} ({column.option} NAME){listed}.")
    if usual is not None and names.count(usual) > 1:
        raise InputError(f"{file.path} has two columns called {usual!r}{listed}.")
    return usual


def find_column(file: RowFile, column: Column, name: str | None) -> str:
    """The same for one column.  Where each row names its own columns, a row without this one will be a bad row."""
    if name is None or file.names() is not None:
        name = choose(file, column, name)
    assert name is not None
    return name


def usual_name(names: Sequence[str], usual: Sequence[str] = TEXTS) -> str | None:
    """The column among ``names`` that has one of the ``usual`` names; the likeliest, or None.

    Case and spaces around a name do not count.
    """
    by_folded_name = {name.strip().casefold(): name for name in reversed(names)}
    return next((by_folded_name[name] for name in usual if name in by_folded_name), None)


class TextRow(NamedTuple):
    """One text of a file with its id."""

    number: int  # from 1, in the file's order
    id: str | int
    text: str


class TextColumn:
    """The texts of a file, with their ids; each iteration reads them from the beginning."""

    # Why the beginning of a text that the file does not hold whole is not enough, which makes its row a bad one; None
    # where it is enough.  Without this function, it never is.
    why_not: Callable[[str], str | None] | None = None
    before = 0  # rows of the files before this one, where several are one: the number of a TextRow counts them too

    def __init__(
        self, file: RowFile, column: str | None = None, id_column: str | None = None, kind: Column = TEXT
    ) -> None:
        """``column``: default one with a usual name, which is logged; ``id_column``: default the number of the row.

        ``kind``: what the texts are of, with the option that names their column.

        Raises InputError when there is no such column.
        """
        self.file, self.path = file, file.path
        self.named_column: str | None = None  # the name that selects the same column again; lines of text have none
        self.column, self.id_column = "text", id_column
        if file.is_lines:
            if column is not None or id_column is not None:
                options = f"{kind.option} and {ID.option}" if kind is TEXT else kind.option
                raise InputError(f"{file.path} has no columns: every row is a text. Leave {options} out.")
            return
        self.column = self.named_column = find_column(file, kind, column)
        if column is None and len(names_of(file)) > 1:
            logger.info(
                "%s: the texts are those of the column %r (%s NAME for another).", file.path, self.column, kind.option
            )
        if id_column is not None:
            self.id_column = find_column(file, ID, id_column)
        self.select()

    @classmethod
    def known(cls, file: RowFile, column: str, id_column: str | None) -> "TextColumn":
        """The same for names that were found before; nothing of the file is read."""
        texts = cls.__new__(cls)
        texts.file, texts.path, texts.column, texts.id_column = file, file.path, column, id_column
        texts.named_column = None if file.is_lines else column
        if not file.is_lines:
            texts.select()
        return texts

    def select(self) -> None:
        """Have the file read no other columns."""
        self.file.selected = list(dict.fromkeys(name for name in (self.column, self.id_column) if name is not None))

    def __iter__(self) -> Iterator[TextRow | BadRow]:
        return self.file.rows(self.row)

    def at(self, place: Place, number: int) -> Iterator[tuple[int, int, TextRow | BadRow]]:
        """The rows from a place on, the first with ``number``; each with the offset and the line after it."""
        return self.file.rows_at(self.row, place, number)

    def row(self, number: int, line: int | None, cells: Cells) -> TextRow:
        """The row with these cells; raises Unreadable."""
        text = cells.get(self.column)
        text = checked_text(text) if type(text) is str else text_in(cells, self.column)
        if type(text) is CutText and (why := "and is needed whole" if self.why_not is None else self.why_not(text)):
            raise Unreadable(f"has more than {shown_size(self.file.longest or 0)}, {why}")
        number += self.before
        if self.id_column is None:
            return TextRow(number, number, text)
        if type(cells.get(self.id_column)) is CutText:
            size = shown_size(self.file.longest or 0)
            raise Unreadable(f"has more than {size}, and no whole {self.id_column!r} in the first {size}")
        return TextRow(number, id_in(cells, self.id_column), text)
