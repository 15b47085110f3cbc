"""Predictions of a fine-tuned model for a few texts or for a whole file.

The checkpoint's config names the task and its labels.  A file of any length is streamed, and its output is written
whole or not at all: a .jsonl has one object per row, a .csv or .tsv one line (for entities, one line per entity), with
the number of the row, its own columns and its prediction.  A column of the input with the name of a part of the
prediction is renamed: ``label``, in data that has labels, becomes ``input_label``.  Start with :class:`Predictor`.
"""

import csv
import gzip
import io
import json
import logging
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

from minibert.auto import architecture_of
from minibert.checkpoint import open_weights
from minibert.config import BertConfig
from minibert.data.cells import Cells, id_in
from minibert.data.columns import ID, find_column
from minibert.data.formats import ending_of
from minibert.data.memory import Data, MemoryRows, is_table
from minibert.data.opening import GoodRows
from minibert.data.questions import Squad
from minibert.data.rows import BadRow, LineStream, Make, RowFile
from minibert.data.table import Table
from minibert.devices import find_device
from minibert.errors import CheckpointError, InputError
from minibert.files import written_whole
from minibert.finetuning.crossencoder import read_cross_encoder
from minibert.finetuning.embeddings import Embeddings, check_folder_settings
from minibert.finetuning.run import task_of
from minibert.finetuning.task import Task
from minibert.finetuning.texts import TextTask
from minibert.pretrained import BertPreTrainedModel
from minibert.schema import FLAG, NAME, check_settings, optional, shown
from minibert.source import Checkpoint, Source, as_path, take_where
from minibert.tokenizer import BertTokenizer

logger = logging.getLogger("minibert.finetuning")
FORMATS = (".jsonl", ".csv", ".tsv")  # of the output
GZIP = ".gz"
ROWS_PER_BLOCK = 1024  # sorted by length within a block
KINDS = {"id_column": optional(NAME), "skip_bad": FLAG}


@dataclass(frozen=True)
class FileReport:
    """What was done with a file."""

    output: str
    rows: int  # with a prediction
    skipped: int  # rows that could not be read
    truncated: int  # rows that were too long and were cut

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        sentence = f"{self.output}: {self.rows:,} rows"
        if self.skipped:
            sentence += f"; {self.skipped:,} could not be read and are left out"
        if self.truncated:
            sentence += f"; {self.truncated:,} were longer than the model reads and were cut"
        return sentence


class Numbered(NamedTuple):
    """A row of the input."""

    number: int
    id: Any  # of the id column; None without one
    others: dict[str, Any]  # the cells that are no part of the item
    item: Any


class Predictor:
    """A fine-tuned model with its tokenizer: ``Predictor.from_pretrained(folder)(texts)``."""

    def __init__(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, task: Task[Any, Any] | None = None
    ) -> None:
        """``task``: with choices of its own (``max_length=`` …), or where the model's config does not name it."""
        self.model, self.tokenizer = model.eval(), tokenizer
        self.task = task or task_of(
            BertConfig.from_dict({**vars(model.config), "architectures": [type(model).__name__]})
        )
        self.truncated = 0  # how many items the last call cut

    @classmethod
    def from_pretrained(cls, source: Source, *, device: str | None = None, **choices: Any) -> Self:
        """The model of a fine-tuned checkpoint, with the task that it was fine-tuned for.

        ``device``: "cuda", "mps", "auto" …; default the CPU.  ``choices``: fields of the task (``max_length=``,
        ``column=`` …), and ``revision=`` and the like for the hub.  Raises InputError for a checkpoint without a task.
        """
        checkpoint = Checkpoint.open(source, **take_where(choices))
        config, weights = BertConfig.from_pretrained(checkpoint), open_weights(checkpoint)
        task = task_of(BertConfig.from_dict({**vars(config), "architectures": [architecture_of(config, weights)]}))
        tokenizer = BertTokenizer.from_pretrained(checkpoint)
        if isinstance(task, Embeddings):
            check_folder_settings(checkpoint)
            task = task.of_checkpoint(checkpoint)
        if isinstance(task, TextTask) and (settings := read_cross_encoder(checkpoint, config)):
            if settings.lower_case and not lower_cases(tokenizer):
                raise CheckpointError(
                    f"{source}: sentence_bert_config.json says do_lower_case, and the tokenizer's own settings do not; "
                    "minibert reads it from tokenizer_config.json. Say it there."
                )
            choices = {**settings.choices(), **choices}
        task = with_choices(task, choices)
        model = task.model_class.from_pretrained(checkpoint, config=config, state_dict=weights)
        return cls(model.to(find_device(device)), tokenizer, task)

    def __call__(self, items: Any) -> Any:
        """One prediction per item, in a list; for a single item the prediction itself.

        An item is a text; for ``classify`` and ``score`` also a pair (text, text); for ``embedding`` always such
        a pair; for ``entities`` also a list of words; for ``answers`` always a pair (question, context); for
        ``choice`` a tuple (question, choices) or (context, question, choices).  Several items come in a list; a pair is
        a tuple.  Rows with columns (a list of dicts, a DataFrame, a Dataset) are read as by :meth:`predict_file`.
        """
        if is_table(items):
            file, make = self.task.open(items)
            items = list(GoodRows(file, make, self.task.skip_bad))
        single = isinstance(items, str | tuple)
        if not isinstance(items, Iterable) or isinstance(items, Mapping | bytes):
            raise InputError(f"The items are {shown(items)}; expected {self.task.items}, or a list of such.")
        batch = [items] if single else list(items)
        for number, item in enumerate(batch):
            if not self.task.is_item(item):
                raise InputError(f"Item {number} is {item!r:.60}; expected {self.task.items}.")
        predictions, self.truncated = self.task.predict(self.model, self.tokenizer, batch)
        return predictions[0] if single else predictions

    def predict_file(
        self, input: Data, output: Source, *, id_column: str | None = None, skip_bad: bool = False, **choices: Any
    ) -> FileReport:
        """The predictions for a file, or for rows in memory, in a file.

        Args:
            input: .txt (one text per line), .csv, .tsv, .jsonl or .parquet; for ``answers`` also SQuAD's .json; or rows
                in memory (:mod:`minibert.data.memory`).
            output: .jsonl (one row per line), .csv or .tsv (for entities, one entity per line), also with .gz; written
                whole or not at all.  Each line has the number of its row, from 1, and the columns of the input
                (``label`` becomes ``input_label``, since the prediction has a ``label``).
            id_column: the column that is called ``id`` in the output.
            skip_bad: leave rows out that cannot be read, and count them, instead of refusing the file.
            choices: the columns (``column=``, ``pair_column=``, ``question_column=`` …), as in the task.

        Raises InputError for a file that cannot be read, CheckpointError for one that cannot be written.
        """
        check_settings({"id_column": id_column, "skip_bad": skip_bad}, KINDS, "predict_file", InputError)
        task, path = with_choices(self.task, choices), as_path(output)
        file, make = task.open(input)
        return self.predict_rows(task, file, numbered(file, make, id_column), path, id_column is not None, skip_bad)

    def predict_lines(
        self, stream: Iterable[bytes], output: Source, *, pairs: bool = False, skip_bad: bool = False
    ) -> FileReport:
        """The predictions for lines of text, such as those of standard input, as in :meth:`predict_file`.

        ``pairs``: each line holds two texts separated by a tab; for ``choice``, without it, a question and its choices.
        """
        file = LineStream(stream, pairs)
        make = numbered(file, lambda number, line, cells: self.task.from_line(cells["text"]), None)
        return self.predict_rows(self.task, file, make, as_path(output), False, skip_bad)

    def predict_rows(
        self, task: Task[Any, Any], file: RowFile, make: Make[Numbered], path: Path, has_ids: bool, skip_bad: bool
    ) -> FileReport:
        """The predictions for rows, in the file ``path``."""
        check_output(path, None if isinstance(file, MemoryRows | LineStream) else file.path)
        others = [] if ending_of(path) == ".jsonl" or file.is_lines else other_names(file, make)
        rows = GoodRows(file, make, skip_bad)
        self.truncated = 0
        with written_whole(path) as temporary, text_file(temporary, path.suffix.lower() == GZIP) as target:
            writer = Writer(target, path, has_ids, others)
            while block := list(islice(rows, ROWS_PER_BLOCK)):
                predictions, cut = task.predict(self.model, self.tokenizer, [row.item for row in block])
                self.truncated += cut
                for row, prediction in zip(block, predictions, strict=True):
                    writer.write(task, row, prediction)
            if not rows.read:
                raise InputError(f"{file.path} has no rows; there is nothing to predict.")
        return FileReport(str(path), rows.read, rows.skipped, self.truncated)


def lower_cases(tokenizer: BertTokenizer) -> bool:
    """Whether the tokenizer also finds the words of its vocabulary when they are in capitals."""
    words = " ".join(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and word.islower())
    return tokenizer.tokenize(words.upper()) == tokenizer.tokenize(words)


def with_choices(task: Task[Any, Any], choices: dict[str, Any]) -> Task[Any, Any]:
    """The task with some of its fields changed; InputError for an unknown field."""
    try:
        return replace(task, **choices) if choices else task
    except TypeError as error:
        raise InputError(f"The task {task.name!r} has no such choice ({error}).") from error


def numbered(file: RowFile, make: Make[Any], id_column: str | None) -> Make[Numbered]:
    """``make`` with the number of the row, its id, and the cells that ``make`` does not use."""
    used = {"text"} if file.is_lines else set(file.selected or ("question", "context"))
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
    if file.names() is not None and not isinstance(file, Squad):
        rows = islice(rows, 1)  # type: ignore[assignment]
    return list(dict.fromkeys(name for row in rows for name in row.others))


def check_output(output: Path, input: Path | None) -> None:
    """Raise InputError when the output has another format, or is the input itself."""
    if ending_of(output) not in FORMATS or output.suffix.lower() not in (*FORMATS, GZIP):
        raise InputError(
            f"{output} ends in {output.suffix!r}; predictions are written as {', '.join(FORMATS)}, also with {GZIP}."
        )
    if input is not None and output.exists() and input.exists() and output.samefile(input):
        raise InputError(f"{output} is the input itself, which would be lost. Write the predictions to another file.")


@contextmanager
def text_file(path: Path, compressed: bool) -> Iterator[TextIO]:
    """A new file to write text into; compressed with gzip, it has the same bytes each time."""
    mode: dict[str, Any] = {"encoding": "utf-8", "newline": "", "errors": "backslashreplace"}  # half a surrogate
    with ExitStack() as stack:
        binary: Any = stack.enter_context(path.open("wb"))
        if compressed:
            binary = stack.enter_context(gzip.GzipFile("", "wb", fileobj=binary, mtime=0))
        yield stack.enter_context(io.TextIOWrapper(binary, **mode))


class Writer:
    """Writes predictions as lines of JSON or of a table."""

    def __init__(self, file: TextIO, path: Path, has_ids: bool, others: Sequence[str]) -> None:
        """``others``: the columns of the input that a table keeps."""
        self.file, self.path, self.has_ids, self.others = file, path, has_ids, others
        self.ending = ending_of(path)
        self.table: Any = None
        self.header: list[str] = []

    def write(self, task: Task[Any, Any], row: Numbered, prediction: Any) -> None:
        """Write the prediction for one row."""
        known = {"row": row.number, **({"id": row.id} if self.has_ids else {})}
        if self.ending == ".jsonl":
            record = task.record(row.item, prediction)
            others = renamed(row.others, {*known, *record})
            self.file.write(as_json({**known, **others, **record}) + "\n")
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
    return as_json(value) if isinstance(value, dict | list) else value


def as_json(value: Any) -> str:
    """A value in one line of JSON, which has no NaN and no infinity: null."""
    try:
        return json.dumps(value, ensure_ascii=False, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(without_nan(value), ensure_ascii=False, default=str)


def without_nan(value: Any) -> Any:
    """The value with None for NaN and infinity."""
    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
