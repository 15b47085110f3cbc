"""Rows in memory: what every function that reads a file of data takes in the file's place.

======================  ==========================================================================================
rows                    how it is recognised, and read
======================  ==========================================================================================
a list of dicts         values by the names of columns
a list of texts         one text a row, as in a .txt
a list of tuples        each task says what the values are: (text, label), (text, second text, label) …
pandas.DataFrame        has ``iloc`` and ``columns``; read by ``frame.iloc[a:b][name].tolist()``
pandas.Series, arrays   have ``tolist``; as a list
datasets.Dataset        has ``column_names`` and ``features``; read by ``dataset[a:b][name]``.  Numbers of a ClassLabel
                        are read as its names
======================  ==========================================================================================

Neither library is imported here.  Rows are numbered from 1, as in a file, and a message names the row of the DataFrame
where it would name the line of a file.  A run recognises the same rows again by a SHA-256 of all their values
(:func:`data_digest`).  Start with :func:`as_data`.
"""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from minibert.checksum import file_digest
from minibert.data.remote import RemoteFile
from minibert.data.rows import BadRow, RowFile, Unreadable
from minibert.errors import InputError
from minibert.source import Source, as_path, is_path

ROWS_PER_BLOCK = 1024
PLAIN = (str, int, float, bool, type(None))
ADVICE = "Give a list of dicts (name: value), a pandas.DataFrame or a datasets.Dataset, or the path of a file."
FieldNames = Callable[[tuple[Any, ...]], Sequence[str] | None]  # what the values of a tuple are; None: no such tuple


class InMemory(Protocol):
    """What has a length and is read with []: a list, a DataFrame, a Dataset."""

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class MemoryRows(RowFile):
    """Rows that are in memory already, behind the methods of a file; ``path`` is what messages call them."""

    def __init__(self, source: Any, kind: str, use: str = "") -> None:
        """``kind``: of the object, such as ``"DataFrame"``; ``use``: such as ``"dev data"``, for messages."""
        super().__init__(Path(f"the {kind}{use and f' ({use})'}"))
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, key: Any, /) -> Any:
        return self.source[key]

    def __str__(self) -> str:
        return str(self.path)

    def columns(self) -> list[str] | None:
        return None

    def records(self) -> Iterator[tuple[None, Any]]:
        return ((None, row) for row in self.source)

    def described(self, row: BadRow) -> str:
        return f"Row {row.number} of {self.path} {row.why}"

    def digest(self) -> str:
        """The SHA-256 of all values, whatever else is in the process; objects that are no data count by their type."""
        content = hashlib.sha256()
        before, self.selected = self.selected, None
        for _, record in self.records():
            try:
                cells = self.parse(record)
            except Unreadable as error:
                cells = {"unreadable": str(error)}
            text = json.dumps(cells, sort_keys=True, default=lambda value: type(value).__name__)
            content.update(text.encode() + b"\n")
        self.selected = before
        return content.hexdigest()


class Records(MemoryRows):
    """A list of dicts."""

    def parse(self, record: Any) -> Mapping[str, Any]:
        if not isinstance(record, Mapping):
            raise Unreadable(f"is {a(record)}, expected a dict like the first row")
        return {str(name): plain(value) for name, value in record.items()}


class Texts(MemoryRows):
    """A list of texts."""

    is_lines = True

    def columns(self) -> list[str]:
        return ["text"]

    def parse(self, record: Any) -> Mapping[str, Any]:
        return {"text": plain(record)}


class Tuples(MemoryRows):
    """A list of tuples, whose values a task has names for."""

    names_of_fields: Sequence[str] = ()

    def name_fields(self, names: FieldNames | None) -> None:
        """Find out what the values are; raises InputError for tuples that the task does not read."""
        found = None if names is None else names(self.source[0])
        if found is None:
            raise InputError(
                f"{str(self.path).capitalize()} has tuples of {len(self.source[0])} values, and what they are is not "
                f"clear here. {ADVICE}"
            )
        self.names_of_fields = found

    def columns(self) -> list[str]:
        return list(self.names_of_fields)

    def digest(self) -> str:
        """The same before and after the values have names."""
        names, self.names_of_fields = self.names_of_fields, ()
        try:
            return super().digest()
        finally:
            self.names_of_fields = names

    def parse(self, record: Any) -> Mapping[str, Any]:
        names = self.names_of_fields or [str(number) for number in range(1, len(self.source[0]) + 1)]
        if not isinstance(record, tuple) or len(record) != len(names):
            what = f"has {len(record)} values" if isinstance(record, tuple) else f"is {a(record)}"
            raise Unreadable(f"{what}, expected a tuple of {len(names)} like the first row")
        return dict(zip(names, map(plain, record), strict=True))


class Blocks(MemoryRows, ABC):
    """A table that is read by its columns, a block of rows at a time."""

    @abstractmethod
    def block(self, begin: int, end: int, names: Sequence[str]) -> dict[str, Sequence[Any]]:
        """The values of these columns in some rows."""

    @abstractmethod
    def columns(self) -> list[str]: ...

    def records(self) -> Iterator[tuple[None, Any]]:
        names = list(dict.fromkeys(self.columns() if self.selected is None else self.selected))
        for begin in range(0, len(self.source), ROWS_PER_BLOCK):
            block = self.block(begin, begin + ROWS_PER_BLOCK, names)
            for values in zip(*block.values(), strict=True):
                yield None, dict(zip(names, values, strict=True))

    def parse(self, record: Any) -> Mapping[str, Any]:
        return {name: plain(value) for name, value in record.items()}


class Frame(Blocks):
    """pandas.DataFrame; a column may be called by a number, as text."""

    def columns(self) -> list[str]:
        return [str(name) for name in self.source.columns]

    def block(self, begin: int, end: int, names: Sequence[str]) -> dict[str, Sequence[Any]]:
        places = {name: place for place, name in enumerate(self.columns())}
        rows = self.source.iloc[begin:end]
        return {name: rows.iloc[:, places[name]].tolist() for name in names}


class Dataset(Blocks):
    """datasets.Dataset."""

    def columns(self) -> list[str]:
        return list(self.source.column_names)

    def block(self, begin: int, end: int, names: Sequence[str]) -> dict[str, Sequence[Any]]:
        source = self.source.select_columns(list(names)) if self.selected is not None else self.source
        return {name: source[begin:end][name] for name in names}

    def parse(self, record: Any) -> Mapping[str, Any]:
        return {name: named(plain(value), self.class_names(name)) for name, value in record.items()}

    def class_names(self, name: str) -> Sequence[str] | None:
        """The names of a ClassLabel, or of a list of such; None for other columns."""
        feature = self.source.features.get(name)
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        names = getattr(getattr(feature, "feature", feature), "names", None)
        return names if isinstance(names, list) else None


Data = Source | InMemory | RemoteFile


def as_data(source: Data, use: str = "", what: str = "the data") -> Path | MemoryRows:
    """``source`` as a path, or as rows in memory; rows that were read so already are returned as they are.

    ``use``: what they are for, for messages: ``"training data"``.  Raises InputError for what is neither, saying what
    to give.
    """
    if isinstance(source, MemoryRows | RemoteFile):  # a file elsewhere has what a reader uses of a path
        return source  # type: ignore[return-value]
    if is_path(source):
        return as_path(source)  # type: ignore[arg-type]
    if hasattr(source, "iloc") and hasattr(source, "columns"):
        return Frame(source, "DataFrame", use)
    if hasattr(source, "features") and hasattr(source, "column_names") and hasattr(source, "select_columns"):
        if not hasattr(source, "__len__"):
            raise InputError(f"{what} is {a(source)}, which can be read once only. {ADVICE}")
        return Dataset(source, "Dataset", use)
    if isinstance(source, Mapping):
        splits = [str(name) for name, value in source.items() if hasattr(value, "column_names")]
        if splits:
            raise InputError(
                f"{what} is {a(source)} with the splits {', '.join(splits)}; give one of them: data[{splits[0]!r}]."
            )
        raise InputError(f"{what} is {a(source)}. {ADVICE}")
    rows = source.tolist() if hasattr(source, "tolist") else source
    if not isinstance(rows, Sequence) or isinstance(rows, str | bytes | bytearray):
        once = ", which can be read once only" if isinstance(source, Iterator) else ""
        raise InputError(f"{what} is {a(source)}{once}. {ADVICE}")
    kinds: tuple[tuple[type, type[MemoryRows], str], ...] = (
        (str, Texts, "list of texts"), (tuple, Tuples, "list of tuples"), (Mapping, Records, "list of dicts"),
    )  # fmt: skip
    if not rows:
        return Records(rows, "empty list", use)
    for kind, reader, name in kinds:
        if isinstance(rows[0], kind):
            return reader(rows, name if rows is source else type(source).__name__, use)
    raise InputError(f"{what} is {a(source)} whose first row is {a(rows[0])}. {ADVICE}")


def is_table(source: Any) -> bool:
    """Whether iterating ``source`` gives the names of columns, or dicts, where somebody may expect texts."""
    if isinstance(source, str | tuple) or not hasattr(source, "__len__"):
        return False
    if isinstance(source, MemoryRows) or hasattr(source, "column_names") or hasattr(source, "iloc"):
        return not (hasattr(source, "iloc") and not hasattr(source, "columns"))
    return isinstance(source, Sequence) and bool(source) and isinstance(source[0], Mapping)


def data_digest(source: Data) -> str:
    """The SHA-256 of a file, or of the values of rows in memory, by which a run recognises its data again."""
    data = as_data(source)
    return data.digest() if isinstance(data, MemoryRows) else file_digest(data)


def plain(value: Any) -> Any:
    """A value as Python's own: numpy's numbers, arrays and tensors by their ``tolist``, tuples as lists."""
    if type(value) in PLAIN:
        return value
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, Mapping):
        return {name: plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    return value


def named(value: Any, names: Sequence[str] | None) -> Any:
    """A label that is a number, or a list of such, by its name; -1, which means that there is none, as None."""
    if names is None or isinstance(value, bool):
        return value
    if isinstance(value, list):
        return [named(inner, names) for inner in value]
    if not isinstance(value, int):
        return value
    return names[value] if 0 <= value < len(names) else None


def a(value: Any) -> str:
    """``a DataFrame``, ``an int``, for a message."""
    if value is None or value == "":
        return "an empty text" if value is not None else "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
