"""What a task is: how its data reads, what of it is learned, how well, and what a trained model says of new texts.

A task is a frozen record of choices (columns, lengths) with methods; what is found in the training data (labels above
all) goes into the model's config, and dev data, scores and predictions take it from there.  So a folder with a
fine-tuned model is all that a prediction needs.  ``texts.py`` is the simplest task.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Self, TypeVar

from minibert.config import BertConfig
from minibert.data.rows import Make, RowFile
from minibert.errors import InputError
from minibert.finetuning.examples import TaskExamples
from minibert.finetuning.labels import check_head
from minibert.pretrained import BertPreTrainedModel
from minibert.schema import COUNT, FLAG, NAME, RATE, SIZE, TEXT, Kind, check_settings, list_of, optional
from minibert.source import Source
from minibert.tokenizer import BertTokenizer
from minibert.training.objective import Objective

A_COLUMN = optional(Kind(lambda x: isinstance(x, str) and bool(x), "the name of a column, or its number as text"))
CHOICES: dict[str, Kind] = {  # the fields of all tasks
    **dict.fromkeys(
        ("column", "pair_column", "label_column", "words_column", "labels_column", "spans_column"), A_COLUMN
    ),
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
    "prompt": optional(TEXT),
}

Row = TypeVar("Row")
Made = TypeVar("Made", bound=TaskExamples)
Item = Any  # what is predicted for: a text, a pair of texts, a list of words; each task says which
Predictions = tuple[list[Any], int]  # one an item; how many items were too long and were cut


@dataclass(frozen=True)
class Task(ABC, Generic[Row, Made]):
    """The part every task shares: what it is called, and the choices all of them have."""

    name: ClassVar[str]
    main_score: ClassVar[str]  # by which the best weights are kept; higher is better
    model_class: ClassVar[type[BertPreTrainedModel]]

    libraries: ClassVar[tuple[tuple[str, str], ...]]  # modules and packages that the scores come from
    items: ClassVar[str]  # what predictions are for, in words
    usual_length: ClassVar[int | None] = None  # of a row, where max_length says nothing

    max_length: int | None = None  # tokens of a row; default what model and tokenizer allow
    skip_bad: bool = False  # leave bad rows out, and say how many, instead of refusing them

    def __post_init__(self) -> None:
        """Raise InputError for a choice of a wrong kind."""
        check_settings(vars(self), CHOICES, type(self).__name__, InputError)

    @abstractmethod
    def read(self, source: Source, config: BertConfig | None = None) -> list[Row]:
        """All rows of a file.  Dev data comes with the ``config``, and must not have labels that are not in it.

        Raises InputError for what cannot be learned from, naming the file and the line.
        """

    @abstractmethod
    def settings(self, rows: Sequence[Row]) -> dict[str, Any]:
        """The fields of a config that the training data decides: the labels, the kind of problem."""

    def fitted(self, rows: Sequence[Row]) -> Self:
        """The task with the choices that the training data decides, such as weights of classes."""
        return self

    @abstractmethod
    def examples(
        self, rows: Sequence[Row], tokenizer: BertTokenizer, config: BertConfig, batch_size: int = 32, seed: int = 0
    ) -> Made:
        """The rows as the model reads them."""

    @abstractmethod
    def objective(self, model: BertPreTrainedModel) -> Objective:
        """The loss: as sums whose means are those of transformers' heads."""

    @abstractmethod
    def evaluate(self, model: BertPreTrainedModel, examples: Made) -> dict[str, float]:
        """Scores by name, the ``main_score`` first; all but errors between 0 and 1.  Needs the extra "train"."""

    def metric(self, examples: Made) -> str:
        """The name of the ``main_score`` on these examples, in words."""
        return self.main_score.replace("_", " ")

    @abstractmethod
    def open(self, source: Source) -> tuple[RowFile, Make[Item]]:
        """A file of texts without labels, and what makes an item of a row."""

    @abstractmethod
    def is_item(self, item: Item) -> bool:
        """Whether a prediction can be made for ``item``."""

    @abstractmethod
    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[Item]) -> Predictions:
        """What the model says of each item."""

    @abstractmethod
    def record(self, item: Item, prediction: Any) -> dict[str, Any]:
        """Item and prediction as plain values, for a line of JSON."""

    def lines(self, item: Item, prediction: Any) -> list[dict[str, Any]]:
        """The same as flat lines of a table, with the columns of :meth:`fields`."""
        return [self.record(item, prediction)]

    @abstractmethod
    def fields(self, item: Item) -> tuple[str, ...]:
        """The columns of such a table, whose first item is ``item``."""

    def keep_head(self, source: str, config: BertConfig, settings: dict[str, Any]) -> dict[str, Any]:
        """``settings``, as they are when the head of a checkpoint fine-tuned for this task is trained further.

        Raises InputError when that head does not fit the data.
        """
        return check_head(source, config, settings)


def is_pair(item: Any) -> bool:
    """Whether ``item`` is a pair of texts."""
    return isinstance(item, tuple) and len(item) == 2 and all(isinstance(text, str) for text in item)
