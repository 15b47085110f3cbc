"""What the tasks for texts and pairs of texts share (paper, section 4.1; figure 4 a and b).

[CLS] text [SEP], or [CLS] first [SEP] second [SEP]; the vector of [CLS] goes through the pooler to the classifier.
``classify.py`` and ``score.py`` differ in their labels, losses and scores.  Texts longer than the model reads are cut
at the end, and a warning counts them.  Start with :class:`TextTask`.
"""

import logging
import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.data.cells import Cells, text_in
from minibert.data.columns import TEXT, Column, choose_columns
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import Make, RowFile, TextLines
from minibert.finetuning.examples import (
    INPUTS,
    TaskExamples,
    at_least_float32,
    longest_row,
    progress,
    run_rows,
)
from minibert.finetuning.labels import label_names
from minibert.finetuning.task import Task, is_pair
from minibert.heads import BertForSequenceClassification
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
PAIRS = {"sentence1": "sentence2", "text1": "text2", "premise": "hypothesis", "question1": "question2"}
TEXTS_TOGETHER = 1024

Text = str | tuple[str, str]  # a text, or a pair


class LabelledText(NamedTuple):
    """One row of the data."""

    text: Text
    label: Any  # a class's name, a number, or several names


class TextExamples(TaskExamples):
    """Rows with a class's number, a number, or a 0 or 1 for each label."""

    def __init__(self, rows: Sequence[TokenRow], labels: Sequence[Any], *arguments: Any) -> None:
        super().__init__(rows, *arguments)
        self.labels = labels

    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """``labels``: (B,) int64 classes or float32 numbers, (B, labels) float32 for several labels a text."""
        return {"labels": torch.tensor([self.labels[number] for number in numbers])}


class TextObjective(Objective):
    """Cross-entropy, squared error, or a binary cross-entropy for each label.

    ``weights``: (labels,) of the classes, as torch's losses have them.  A text of a class with weight w counts w times
    in the mean (``weight`` of CrossEntropyLoss); where a text has several labels, a label that applies does
    (``pos_weight`` of BCEWithLogitsLoss).
    """

    KEYS: ClassVar[dict[str, str]] = {"regression": "score", "multi_label_classification": "labels"}

    def __init__(self, model: BertPreTrainedModel, weights: Sequence[float] | None = None) -> None:
        super().__init__(model)
        self.weights = weights

    @property
    def key(self) -> str:
        """The loss's name in the metrics log."""
        return self.KEYS.get(self.model.config.problem_type or "", "class")

    def counts(self, batch: Batch) -> dict[str, float]:
        """As many terms as texts, each with its weight; for several labels as many as texts and labels."""
        labels = batch["labels"]
        if self.key == "class" and self.weights is not None:
            return {"class": math.fsum(self.weights[label] for label in labels.tolist())}
        return {self.key: labels.numel()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum over the batch."""
        logits = at_least_float32(self.model(**{name: batch[name] for name in INPUTS}).logits)  # (B, labels)
        labels, weights = batch["labels"], None
        if self.weights is not None:
            weights = torch.tensor(self.weights, dtype=logits.dtype, device=logits.device)
        if self.key == "class":
            return {"class": F.cross_entropy(logits, labels, weight=weights, reduction="sum")}
        labels = labels.to(logits.dtype)
        if self.key == "labels":
            loss = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights, reduction="sum")
            return {"labels": loss}
        return {"score": F.mse_loss(logits.squeeze(-1), labels, reduction="sum")}


@dataclass(frozen=True)
class TextTask(Task[LabelledText, TextExamples]):
    """Texts or pairs of texts, each with what is to be learned of it."""

    model_class: ClassVar[type[BertPreTrainedModel]] = BertForSequenceClassification
    items: ClassVar[str] = "a text, or a pair (text, text)"
    usual_labels: ClassVar[tuple[str, ...]]
    found: ClassVar[tuple[str, ...]]  # what a prediction adds to the columns of a table

    column: str | None = None  # of the texts
    pair_column: str | None = None  # of the second texts, where there are pairs
    label_column: str | None = None
    activation: str | None = None  # in predictions: what a cross-encoder does to its scores (crossencoder.py)
    prompt: str | None = None  # in predictions: goes before the text, of a pair before the first

    def choose(self, file: RowFile, labelled: bool) -> dict[str, str]:
        """Which columns hold "text", perhaps "pair", and "label".

        Where no column is named, a file with a sentence1 and a sentence2 is about pairs.
        """
        pairs = tuple(PAIRS.values()) if self.column is None else ()
        columns = {"text": TEXT, "pair": Column("the second texts", "--pair-column", pairs, optional=True)}
        if labelled:
            columns["label"] = Column("the labels", "--label-column", self.usual_labels)
        names = {"text": self.column, "pair": self.pair_column, "label": self.label_column}
        chosen = choose_columns(file, columns, names)
        belongs = PAIRS.get(chosen["text"].casefold()) == chosen.get("pair", "").casefold()
        return {role: name for role, name in chosen.items() if role != "pair" or belongs or self.pair_column}

    def read(self, source: Source, config: BertConfig | None = None) -> list[LabelledText]:
        """All rows of a file; of dev data with the ``config``, whose labels it must have."""
        file = open_rows(source, (self.column, self.pair_column, self.label_column))
        chosen = self.choose(file, labelled=True)
        known = None if config is None else label_names(config)

        def row(number: int, line: int | None, cells: Cells) -> LabelledText:
            return LabelledText(text_of(cells, chosen), self.label(cells, chosen["label"], known))

        rows = read_all(file, row, self.skip_bad)
        if config is None:
            self.check(rows, file.path, chosen["label"])
        return rows

    @abstractmethod
    def label(self, cells: Cells, name: str, known: Sequence[str] | None) -> Any:
        """What is to be learned of a row; raises Unreadable."""

    @abstractmethod
    def check(self, rows: Sequence[LabelledText], path: Path, column: str) -> None:
        """Raise InputError when there is nothing to tell apart."""

    @abstractmethod
    def targets(self, rows: Sequence[LabelledText], config: BertConfig) -> list[Any]:
        """The labels as the loss wants them."""

    def examples(
        self,
        rows: Sequence[LabelledText],
        tokenizer: BertTokenizer,
        config: BertConfig,
        batch_size: int = 32,
        seed: int = 0,
    ) -> TextExamples:
        """Token rows with the numbers of their classes."""
        token_rows, cut = self.token_rows([row.text for row in rows], tokenizer, config)
        if cut:
            logger.warning("%d of %d texts are longer than the model reads, and are cut at the end.", cut, len(rows))
        return TextExamples(token_rows, self.targets(rows, config), tokenizer.pad_token_id or 0, batch_size, seed)

    def token_rows(
        self, texts: Sequence[Text], tokenizer: BertTokenizer, config: BertConfig
    ) -> tuple[list[TokenRow], int]:
        """Each text as the model reads it, and how many had to be cut."""
        longest = longest_row(tokenizer, config.max_position_embeddings, self.max_length)
        rows: list[TokenRow] = []
        cut = 0
        blocks = [texts[start : start + TEXTS_TOGETHER] for start in range(0, len(texts), TEXTS_TOGETHER)]
        for block in progress(blocks, "tokenizing", " thousand texts", many=4):
            of_block, _, cut_there = tokenizer.token_rows(block, longest)
            rows += of_block
            cut += cut_there
        return rows, cut

    def objective(self, model: BertPreTrainedModel) -> Objective:
        """The loss that ``problem_type`` names."""
        return TextObjective(model)

    def open(self, source: Source) -> tuple[RowFile, Make[Text]]:
        """A file with a column of texts, perhaps of pairs; or a .txt, a text a line."""
        file = open_rows(source, (self.column, self.pair_column))
        chosen = {"text": "text"} if isinstance(file, TextLines) else self.choose(file, labelled=False)
        return file, lambda number, line, cells: text_of(cells, chosen)

    def is_item(self, item: Any) -> bool:
        """Whether ``item`` is a text or a pair."""
        return isinstance(item, str) or is_pair(item)

    def logits_for(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[Text]
    ) -> tuple[Tensor, int]:
        """(items, labels) float32 logits of texts and pairs, with the prompt before them; and how many were cut."""
        if self.prompt:
            items = [self.prompt + x if isinstance(x, str) else (self.prompt + x[0], x[1]) for x in items]
        rows, cut = self.token_rows(items, tokenizer, model.config)
        return logits_of(model, rows, tokenizer.pad_token_id or 0), cut

    def record(self, item: Text, prediction: Any) -> dict[str, Any]:
        """The text with its label and probabilities, or with its score."""
        text = {"text": item} if isinstance(item, str) else {"text": item[0], "pair": item[1]}
        return {**text, **{name: value for name, value in prediction._asdict().items() if value is not None}}

    def lines(self, item: Text, prediction: Any) -> list[dict[str, Any]]:
        """The same without the probabilities and scores of the other classes."""
        record = self.record(item, prediction)
        return [{name: value for name, value in record.items() if name not in ("probabilities", "scores")}]

    def fields(self, item: Text) -> tuple[str, ...]:
        """Text, perhaps pair, and what was found."""
        return (*(("text",) if isinstance(item, str) else ("text", "pair")), *self.found)


def text_of(cells: Cells, chosen: dict[str, str]) -> Text:
    """The text of a row, with its pair where there are pairs; raises Unreadable."""
    text = text_in(cells, chosen["text"])
    return (text, text_in(cells, chosen["pair"])) if "pair" in chosen else text


def by_label(config: BertConfig, values: Tensor) -> list[dict[str, float]]:
    """Each row of (texts, labels) numbers under the names of the labels."""
    names = label_names(config)
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def logits_of(model: BertPreTrainedModel, rows: Sequence[TokenRow], pad_id: int, name: str | None = None) -> Tensor:
    """(rows, labels) float32, on the CPU."""
    found = run_rows(model, rows, pad_id, lambda output, _: list(output.logits.float().cpu()), name)
    return torch.stack(found) if found else torch.empty(0, model.config.num_labels)
