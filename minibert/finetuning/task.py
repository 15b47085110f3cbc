"""What a task is: how its data is read, what the model learns from it, its scores, and its predictions.

A task is a frozen record of choices (columns, lengths) with methods.  What is found in the training data, above all the
labels, goes into the model's config; dev data, scores and predictions take it from there.  So a folder with a
fine-tuned model is all that a prediction needs.  ``score.py`` is the simplest task.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Self, TypeVar

from minibert.config import BertConfig
from minibert.data.memory import Data
from minibert.data.rows import Make, RowFile
from minibert.embedding.pooling import TOKEN_POOLINGS
from minibert.errors import InputError
from minibert.finetuning.embedding_losses import LOSSES
from minibert.finetuning.examples import TaskExamples
from minibert.finetuning.labels import check_head
from minibert.finetuning.outcomes import Outcome
from minibert.pretrained import BertPreTrainedModel
from minibert.schema import (
    COUNT,
    FLAG,
    NAME,
    NUMBER,
    RATE,
    SIZE,
    TEXT,
    Kind,
    check_settings,
    either,
    list_of,
    one_of,
    optional,
)
from minibert.source import Checkpoint
from minibert.tokenizer import BertTokenizer
from minibert.training.objective import Objective

A_COLUMN = optional(Kind(lambda x: isinstance(x, str) and bool(x), "the name of a column, or its number as text"))
POSITIVE = Kind(lambda x: NUMBER.holds(x) and x > 0, "a number above 0")
CHOICES: dict[str, Kind] = {  # the fields of all tasks
    **dict.fromkeys(
        ("column", "pair_column", "label_column", "words_column", "labels_column", "spans_column"), A_COLUMN
    ),
    "negative_column": A_COLUMN,
    "choice_columns": optional(Kind(lambda x: bool(x) and list_of(A_COLUMN).holds(x), "a list of names of columns")),
    "count_from": one_of(0, 1),
    **dict.fromkeys(("question_column", "context_column", "answer_column", "start_column"), A_COLUMN),
    **dict.fromkeys(("skip_bad", "masks_padding"), FLAG),
    **dict.fromkeys(("best", "longest_answer"), SIZE),
    "max_length": optional(SIZE),
    "stride": COUNT,
    "threshold": RATE,
    "separator": optional(Kind(lambda x: isinstance(x, str) and bool(x), "the text between two labels")),
    "label_names": optional(list_of(NAME)),
    "class_weights": Kind(
        lambda x: x is None or isinstance(x, str | list | tuple | Mapping) or hasattr(x, "tolist"),
        "'balanced', numbers by the names of labels, or a list of numbers",
    ),
    "activation": optional(NAME),
    **dict.fromkeys(("prompt", "query_prompt", "document_prompt"), optional(TEXT)),
    "loss": optional(one_of(*LOSSES)),
    "scale": POSITIVE,
    "highest_score": optional(POSITIVE),
    "pooling": optional(
        either(one_of(*TOKEN_POOLINGS), Kind(lambda x: bool(x) and list_of(one_of(*TOKEN_POOLINGS)).holds(x), "a list"))
    ),
    "stored": Kind(lambda x: isinstance(x, Mapping), "settings by their names"),
}

Row = TypeVar("Row")  # of the training data
Examples = TypeVar("Examples", bound=TaskExamples)
Item = Any  # what a prediction is for: a text, a pair of texts, a list of words; each task says which
Predictions = tuple[list[Any], int]  # one per item; how many items were too long and were cut


@dataclass(frozen=True)
class Task(ABC, Generic[Row, Examples]):
    """What every task has: a name, its scores, and the choices that all tasks share."""

    name: ClassVar[str]
    main_score: ClassVar[str]  # by which the best weights are kept; higher is better
    model_class: ClassVar[type[BertPreTrainedModel]]

    libraries: ClassVar[tuple[tuple[str, str], ...]]  # modules and packages that the scores come from
    items: ClassVar[str]  # what predictions are for, in words
    usual_length: ClassVar[int | None] = None  # tokens per row where max_length is None

    max_length: int | None = None  # tokens per row; default what model and tokenizer allow
    skip_bad: bool = False  # leave bad rows out, with a warning, instead of refusing them

    def __post_init__(self) -> None:
        """Raise InputError for a choice of the wrong type."""
        check_settings(vars(self), CHOICES, type(self).__name__, InputError)

    def of_checkpoint(self, checkpoint: Checkpoint) -> Self:
        """The task with the choices that a checkpoint brings in files of its own, such as its pooling."""
        return self

    @abstractmethod
    def read(self, source: Data, config: BertConfig | None = None) -> list[Row]:
        """All rows of a file, or of rows in memory (:mod:`minibert.data.memory`).

        Dev data is read with the model's ``config``, which must name all of its labels.  Raises InputError, naming the
        file and the line, for data that cannot be learned from.
        """

    @abstractmethod
    def settings(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The fields of a config that the training data determines: the labels, the problem type."""

    def fitted(self, rows: Sequence[Row]) -> Self:
        """The task with the choices that the training data determines, such as class weights."""
        return self

    def examples(
        self, rows: Sequence[Row], tokenizer: BertTokenizer, config: BertConfig, batch_size: int = 32, seed: int = 0
    ) -> Examples:
        """The rows as token ids with their targets, in batches of ``batch_size``, shuffled from ``seed``."""
        examples = self.encode(rows, tokenizer, config)
        examples.batch_size, examples.seed = batch_size, seed
        return examples

    @abstractmethod
    def encode(self, rows: Sequence[Row], tokenizer: BertTokenizer, config: BertConfig) -> Examples:
        """The rows as token ids with their targets."""

    @abstractmethod
    def objective(self, model: BertPreTrainedModel) -> Objective:
        """The loss: sums whose means are the losses of transformers' heads."""

    @abstractmethod
    def outcome(self, model: BertPreTrainedModel, examples: Examples) -> Outcome:
        """What the model predicts for the examples, beside what is right."""

    def evaluate(self, model: BertPreTrainedModel, examples: Examples) -> dict[str, float]:
        """Scores by name, the ``main_score`` first; all but errors between 0 and 1.  Needs the extra "train"."""
        return self.outcome(model, examples).scores()

    def best_by(self, examples: Examples) -> str:
        """The score by which the best weights are kept, when these examples are the dev data."""
        return self.main_score

    def metric(self, examples: Examples) -> str:
        """What the ``main_score`` measures on these examples, in words."""
        return self.main_score.replace("_", " ")

    @abstractmethod
    def open(self, source: Data) -> tuple[RowFile, Make[Item]]:
        """A file of texts without labels, or rows in memory, and a function from a row to an item."""

    def from_line(self, text: str) -> Item:
        """The item that a line of standard input holds; raises Unreadable."""
        return text

    @abstractmethod
    def is_item(self, item: Item) -> bool:
        """Whether a prediction can be made for ``item``."""

    @abstractmethod
    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[Item]) -> Predictions:
        """The model's prediction for each item, and how many items were cut."""

    @abstractmethod
    def record(self, item: Item, prediction: Any) -> dict[str, Any]:
        """Item and prediction as plain values, for a line of JSON."""

    def lines(self, item: Item, prediction: Any) -> list[dict[str, Any]]:
        """The same as lines of a table, with the columns of :meth:`fields`."""
        return [self.record(item, prediction)]

    @abstractmethod
    def fields(self, item: Item) -> tuple[str, ...]:
        """The columns of a table whose first item is ``item``."""

    def write_settings(self, folder: Path, config: BertConfig) -> None:
        """Write what a prediction needs besides the model and its tokenizer, if anything."""

    def keep_head(self, source: str, config: BertConfig, settings: dict[str, Any]) -> dict[str, Any]:
        """``settings`` with the labels of the head that a checkpoint fine-tuned for this task has already.

        Raises InputError when that head does not fit the data.
        """
        return check_head(source, config, settings)


def pair_fields(row: tuple[Any, ...]) -> Sequence[str] | None:
    """What a tuple of two values holds: two texts, as in :class:`minibert.finetuning.Predictor`."""
    return ("sentence1", "sentence2") if len(row) == 2 else None


def is_pair(item: Any) -> bool:
    """Whether ``item`` is a pair of texts."""
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(text, str) for text in item)
