"""What a fine-tuned model says of new texts: a few, or a whole file of them.

The folder says everything: the task is read off its config, labels and all.  A file of any length streams through, and
what comes out is there whole or not at all.  Start with :class:`Predictor`.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import Any, NamedTuple, Self, TextIO

from tqdm import tqdm

from minibert.config import BertConfig
from minibert.corpus.rows import BadRow, File, Unreadable, value
from minibert.devices import find_device
from minibert.errors import CheckpointError, InputError
from minibert.finetuning.crossencoder import read_cross_encoder
from minibert.finetuning.rows import Make, Values, logger
from minibert.finetuning.run import task_of
from minibert.finetuning.task import Task
from minibert.finetuning.texts import TextTask
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source, as_path, take_where, written_whole
from minibert.tokenizer import BertTokenizer

ROWS_TOGETHER = 1024  # sorted by length together
FORMATS = (".jsonl", ".csv")


class Numbered(NamedTuple):
    """A row of a file."""

    number: int
    id: Any  # of the id column; None without one
    item: Any


@dataclass(frozen=True)
class FileReport:
    """What became of a file."""

    output: str
    rows: int  # with a prediction
    skipped: int  # that could not be read
    truncated: int  # that were too long and were cut

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


class Predictor:
    """A fine-tuned model with its tokenizer: ``Predictor.from_pretrained(folder)(texts)``."""

    def __init__(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, task: Task[Any, Any] | None = None
    ) -> None:
        """``task``: where the model's config does not tell, or with choices of its own (``max_length=`` …)."""
        self.model, self.tokenizer = model.eval(), tokenizer
        self.task = task or task_of(
            BertConfig.from_dict({**vars(model.config), "architectures": [type(model).__name__]})
        )
        self.truncated = 0  # how many items the last call cut

    @classmethod
    def from_pretrained(cls, source: Source, *, device: str | None = None, **choices: Any) -> Self:
        """The model of a fine-tuned checkpoint, for the task that it was fine-tuned for.

        ``device``: "cuda", "mps", "auto" …; default the CPU.  ``choices``: fields of the task (``max_length=``,
        ``column=`` …) and where on the hub (``revision=`` …).  Raises InputError for a checkpoint that is for no task.
        """
        where = take_where(choices)
        config = BertConfig.from_pretrained(source, **where)
        task, tokenizer = task_of(config), BertTokenizer.from_pretrained(source, **where)
        if isinstance(task, TextTask) and (found := read_cross_encoder(source, config, where)):
            if found.lower_case and not lower_cases(tokenizer):
                raise CheckpointError(
                    f"{source}: sentence_bert_config.json says do_lower_case, and the tokenizer's own settings do not; "
                    "minibert reads it from tokenizer_config.json. Say it there."
                )
            choices = {**found.choices(), **choices}
        task = with_choices(task, choices)
        model = task.model_class.from_pretrained(source, **where)
        return cls(model.to(find_device(device)), tokenizer, task)

    def __call__(self, items: Any) -> Any:
        """What the model says: one prediction an item, in a list; of a single item that alone.

        An item is a text; for ``classify`` and ``score`` a pair (text, text) too; for ``entities`` a list of words too;
        for ``answers`` always a pair (question, context).  Several items come in a list, a pair is a tuple.
        """
        single = isinstance(items, str | tuple)
        given = [items] if single else list(items)
        for number, item in enumerate(given):
            if not self.task.is_item(item):
                raise InputError(f"Item {number} is {item!r:.60}; expected {self.task.items}.")
        found, self.truncated = self.task.predict(self.model, self.tokenizer, given)
        return found[0] if single else found

    def predict_file(
        self, input: Source, output: Source, *, id_column: str | None = None, skip_bad: bool = False, **choices: Any
    ) -> FileReport:
        """The predictions for a file, as .jsonl (a row a line) or .csv (for entities, an entity a line).

        Args:
            input: .txt (one text a line), .csv, .tsv, .jsonl or .parquet; for ``answers`` SQuAD's .json too.
            output: is written whole or not at all.  Each line has the number of its row, from 1.
            id_column: whose content is kept beside the numbers.
            skip_bad: leave rows out that cannot be read, and count them, instead of refusing the file.
            choices: which columns (``column=``, ``pair_column=``, ``question_column=`` …), as in the task.

        Raises InputError for a file that cannot be read, CheckpointError for one that cannot be written.
        """
        task, path = with_choices(self.task, choices), as_path(output)
        if path.suffix.lower() not in FORMATS:
            raise InputError(f"{path} ends in {path.suffix!r}; predictions are written as {' or '.join(FORMATS)}.")
        file, make = task.open(input)
        rows = Rows(file, with_id(file, make, id_column), skip_bad)
        self.truncated = 0
        with written_whole(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as target:
            writer = Writer(target, path.suffix.lower() == ".csv", id_column)
            while block := list(islice(rows, ROWS_TOGETHER)):
                found, cut = task.predict(self.model, self.tokenizer, [row.item for row in block])
                self.truncated += cut
                for row, prediction in zip(block, found, strict=True):
                    writer.write(task, row, prediction)
            if not rows.read:
                raise InputError(f"{file.path} has no rows; there is nothing to predict.")
        return FileReport(str(path), rows.read, rows.skipped, self.truncated)


class Rows:
    """The rows of a file that can be read, one after the other, and how many there were."""

    def __init__(self, file: File, make: Make[Numbered], skip_bad: bool) -> None:
        self.file, self.skip_bad = file, skip_bad
        self.found: Iterator[Numbered | BadRow] = iter(
            tqdm(file.rows(make), desc="predicting", unit=" rows", disable=None)
        )
        self.read = self.skipped = 0

    def __iter__(self) -> Iterator[Numbered]:
        return self

    def __next__(self) -> Numbered:
        for row in self.found:
            if not isinstance(row, BadRow):
                self.read += 1
                return row
            if not self.skip_bad:
                raise InputError(f"{self.file.path}: {row}. Mend the file, or leave such rows out (--skip-bad).")
            self.skipped += 1
            if self.skipped == 1:
                logger.warning("%s: %s; such rows are left out.", self.file.path, row)
        raise StopIteration


class Writer:
    """Lines of JSON, or of a table whose columns the first row decides."""

    def __init__(self, file: TextIO, is_table: bool, id_column: str | None) -> None:
        self.file, self.is_table, self.has_ids = file, is_table, id_column is not None
        self.table: Any = None

    def write(self, task: Task[Any, Any], row: Numbered, prediction: Any) -> None:
        """The prediction for one row."""
        known = {"row": row.number, **({"id": row.id} if self.has_ids else {})}
        if not self.is_table:
            record = {**known, **task.record(row.item, prediction)}
            self.file.write(json.dumps(record, ensure_ascii=False) + "\n")
            return
        if self.table is None:
            self.table = csv.DictWriter(self.file, [*known, *task.fields(row.item)], lineterminator="\n")
            self.table.writeheader()
        lines = ({**known, **line} for line in task.lines(row.item, prediction))
        self.table.writerows({name: in_a_cell(value) for name, value in line.items()} for line in lines)


def in_a_cell(value: Any) -> Any:
    """A value as a table holds it: lists and objects as JSON."""
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, dict | list) else value


def lower_cases(tokenizer: BertTokenizer) -> bool:
    """Whether the tokenizer reads the words of its vocabulary in capitals, too."""
    words = " ".join(word for word in tokenizer.get_vocab() if word.isascii() and word.isalpha() and word.islower())
    return tokenizer.tokenize(words.upper()) == tokenizer.tokenize(words)


def with_choices(task: Task[Any, Any], choices: dict[str, Any]) -> Task[Any, Any]:
    """The task with some of its fields changed; InputError for what is none."""
    try:
        return replace(task, **choices) if choices else task
    except TypeError as error:
        raise InputError(f"The task {task.name!r} has no such choice ({error}).") from error


def with_id(file: File, make: Make[Any], id_column: str | None) -> Make[Numbered]:
    """``make`` with the number of the row, and its id."""
    if id_column is not None:
        names = file.names()
        if names is not None and id_column not in names:
            raise InputError(f"{file.path} has no column called {id_column!r}; it has {', '.join(names)}.")
        if file.wanted is not None:
            file.wanted = list(dict.fromkeys([*file.wanted, id_column]))

    def row(number: int, line: int | None, columns: Values) -> Numbered:
        identity = None
        if id_column is not None:
            identity = value(columns, id_column)
            if type(identity) not in (str, int):
                raise Unreadable(f"has {identity!r:.30} in {id_column!r}, expected text or a whole number")
        return Numbered(number, identity, make(number, line, columns))

    return row
