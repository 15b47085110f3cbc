"""What a fine-tuned model says of new texts: a few, or a whole file of them.

The folder says everything: the task is read off its config, labels and all.  A file of any length streams through, and
what comes out is there whole or not at all.  Start with :class:`Predictor`.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Self

from minibert.auto import architecture_of
from minibert.checkpoint import open_weights
from minibert.config import BertConfig
from minibert.data.opening import GoodRows
from minibert.data.rows import LineStream, Make, RowFile, TextLines
from minibert.devices import find_device
from minibert.errors import CheckpointError, InputError
from minibert.files import written_whole
from minibert.finetuning.crossencoder import read_cross_encoder
from minibert.finetuning.output import Numbered, Writer, check_output, numbered, other_names
from minibert.finetuning.run import task_of
from minibert.finetuning.task import Task
from minibert.finetuning.texts import TextTask
from minibert.pretrained import BertPreTrainedModel
from minibert.schema import FLAG, NAME, check_settings, optional, shown
from minibert.source import Checkpoint, Source, as_path, take_where
from minibert.tokenizer import BertTokenizer

logger = logging.getLogger("minibert.finetuning")
ROWS_TOGETHER = 1024  # sorted by length together
KINDS = {"id_column": optional(NAME), "skip_bad": FLAG}


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
        checkpoint = Checkpoint.open(source, **take_where(choices))
        config, weights = BertConfig.from_pretrained(checkpoint), open_weights(checkpoint)
        task = task_of(BertConfig.from_dict({**vars(config), "architectures": [architecture_of(config, weights)]}))
        tokenizer = BertTokenizer.from_pretrained(checkpoint)
        if isinstance(task, TextTask) and (found := read_cross_encoder(checkpoint, config)):
            if found.lower_case and not lower_cases(tokenizer):
                raise CheckpointError(
                    f"{source}: sentence_bert_config.json says do_lower_case, and the tokenizer's own settings do not; "
                    "minibert reads it from tokenizer_config.json. Say it there."
                )
            choices = {**found.choices(), **choices}
        task = with_choices(task, choices)
        model = task.model_class.from_pretrained(checkpoint, config=config, state_dict=weights)
        return cls(model.to(find_device(device)), tokenizer, task)

    def __call__(self, items: Any) -> Any:
        """What the model says: one prediction an item, in a list; of a single item that alone.

        An item is a text; for ``classify`` and ``score`` a pair (text, text) too; for ``entities`` a list of words too;
        for ``answers`` always a pair (question, context).  Several items come in a list, a pair is a tuple.
        """
        single = isinstance(items, str | tuple)
        if not isinstance(items, Iterable) or isinstance(items, Mapping | bytes):
            raise InputError(f"The items are {shown(items)}; expected {self.task.items}, or a list of such.")
        given = [items] if single else list(items)
        for number, item in enumerate(given):
            if not self.task.is_item(item):
                raise InputError(f"Item {number} is {item!r:.60}; expected {self.task.items}.")
        found, self.truncated = self.task.predict(self.model, self.tokenizer, given)
        return found[0] if single else found

    def predict_file(
        self, input: Source, output: Source, *, id_column: str | None = None, skip_bad: bool = False, **choices: Any
    ) -> FileReport:
        """The predictions for a file, as .jsonl (a row a line), .csv or .tsv (for entities, an entity a line).

        Args:
            input: .txt (one text a line), .csv, .tsv, .jsonl or .parquet; for ``answers`` SQuAD's .json too.
            output: is written whole or not at all.  Each line has the number of its row, from 1, and the columns of
                the input (``input_label`` for one called ``label``, as a prediction is).
            id_column: whose content is called ``id``.
            skip_bad: leave rows out that cannot be read, and count them, instead of refusing the file.
            choices: which columns (``column=``, ``pair_column=``, ``question_column=`` …), as in the task.

        Raises InputError for a file that cannot be read, CheckpointError for one that cannot be written.
        """
        check_settings({"id_column": id_column, "skip_bad": skip_bad}, KINDS, "predict_file", InputError)
        task, path = with_choices(self.task, choices), as_path(output)
        file, make = task.open(input)
        return self.predict_rows(task, file, numbered(file, make, id_column), path, id_column is not None, skip_bad)

    def predict_lines(
        self, stream: BinaryIO, output: Source, *, pairs: bool = False, skip_bad: bool = False
    ) -> FileReport:
        """The predictions for lines of text, such as standard input's, as in :meth:`predict_file`.

        ``pairs``: each line has two texts with a tab between.
        """
        file = LineStream(stream, pairs)
        make = numbered(file, lambda number, line, cells: cells["text"], None)
        return self.predict_rows(self.task, file, make, as_path(output), False, skip_bad)

    def predict_rows(
        self, task: Task[Any, Any], file: RowFile, make: Make[Numbered], path: Path, has_ids: bool, skip_bad: bool
    ) -> FileReport:
        """The predictions for rows, in the file ``path``."""
        check_output(path, file.path)
        others = [] if path.suffix.lower() == ".jsonl" or isinstance(file, TextLines) else other_names(file, make)
        rows = GoodRows(file, make, skip_bad)
        self.truncated = 0
        how: dict[str, Any] = {"encoding": "utf-8", "newline": "", "errors": "backslashreplace"}  # half a surrogate
        with written_whole(path) as temporary, temporary.open("w", **how) as target:
            writer = Writer(target, path, has_ids, others)
            while block := list(islice(rows, ROWS_TOGETHER)):
                found, cut = task.predict(self.model, self.tokenizer, [row.item for row in block])
                self.truncated += cut
                for row, prediction in zip(block, found, strict=True):
                    writer.write(task, row, prediction)
            if not rows.read:
                raise InputError(f"{file.path} has no rows; there is nothing to predict.")
        return FileReport(str(path), rows.read, rows.skipped, self.truncated)


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
