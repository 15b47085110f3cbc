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
from typing import Any, ClassVar, NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.data.cells import Cells, text_in
from minibert.data.columns import TEXT, Column, choose_columns
from minibert.data.memory import Data
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import Make, RowFile
from minibert.finetuning.examples import TaskExamples, at_least_float32, longest_row, progress, run_rows
from minibert.finetuning.labels import label_names
from minibert.finetuning.packing import INPUTS, first_tokens, packed_hidden_states
from minibert.finetuning.task import Task, is_pair, pair_fields
from minibert.heads import BertForSequenceClassification
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
PAIRS = {"sentence1": "sentence2", "text1": "text2", "premise": "hypothesis", "question1": "question2"}
TEXTS_PER_BLOCK = 1024  # tokenized at once

TextOrPair = str | tuple[str, str]


class LabelledText(NamedTuple):
    """One row of the data."""

    text: TextOrPair
    label: Any  # the name of a class, a number, or several names


class TextExamples(TaskExamples):
    """Rows, each with the number of a class, with a number, or with a 0 or 1 for each label."""

    def __init__(self, rows: Sequence[TokenRow], labels: Sequence[Any], pad_id: int) -> None:
        super().__init__(rows, pad_id)
        self.labels = labels

    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """``labels``: (B,) int64 classes or float32 numbers; (B, labels) float32 for several labels per text."""
        return {"labels": torch.tensor([self.labels[number] for number in numbers])}


class TextObjective(Objective):
    """Cross-entropy, squared error, or a binary cross-entropy for each label.

    ``weights``: one per label.  A text of a class with weight w counts w times in the mean (``weight`` of torch's
    CrossEntropyLoss).  With several labels per text, each label that applies does (``pos_weight`` of
    BCEWithLogitsLoss).
    """

    takes_packed = True
    KEYS: ClassVar[dict[str, str]] = {"regression": "score", "multi_label_classification": "labels"}

    def __init__(self, model: BertPreTrainedModel, weights: Sequence[float] | None = None) -> None:
        super().__init__(model)
        self.weights = weights

    @property
    def key(self) -> str:
        """The loss's name in the metrics log."""
        return self.KEYS.get(self.model.config.problem_type or "", "class")

    def counts(self, batch: Batch) -> dict[str, float]:
        """A term per text, with its weight; with several labels per text, a term per text and label."""
        labels = batch["labels"]
        if self.key == "class" and self.weights is not None:
            return {"class": math.fsum(self.weights[label] for label in labels.tolist())}
        return {self.key: labels.numel()}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum over the batch."""
        logits = at_least_float32(self.logits(batch))  # (B, labels)
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

    def logits(self, batch: Batch) -> Tensor:
        """(B, labels), of a padded batch or a packed one."""
        model: Any = self.model
        if "groups" not in batch:
            logits: Tensor = model(**{name: batch[name] for name in INPUTS}).logits
            return logits
        hidden_states = packed_hidden_states(model.bert, batch)  # (tokens, H)
        pooler_output = model.bert.pooler(hidden_states[first_tokens(batch["groups"]), None])  # (B, 1, H) → (B, H)
        return cast(Tensor, model.classifier(model.dropout(pooler_output)))


@dataclass(frozen=True)
class TextTask(Task[LabelledText, TextExamples]):
    """Texts or pairs of texts, each with a target."""

    model_class: ClassVar[type[BertPreTrainedModel]] = BertForSequenceClassification
    items: ClassVar[str] = "a text, or a pair (text, text)"
    usual_labels: ClassVar[tuple[str, ...]]
    predicted: ClassVar[tuple[str, ...]]  # the columns of a prediction in a table

    column: str | None = None  # of the texts
    pair_column: str | None = None  # of the second texts, where there are pairs
    label_column: str | None = None
    activation: str | None = None  # in predictions: of a cross-encoder's logits (crossencoder.py)
    prompt: str | None = None  # put before the text, of a pair before the first

    def choose(self, file: RowFile, labelled: bool) -> dict[str, str]:
        """The names of the columns "text", "label" and, if there are pairs, "pair".

        Where the user names no column, a file with columns such as sentence1 and sentence2 holds pairs.
        """
        pairs = tuple(PAIRS.values()) if self.column is None else ()
        columns = {"text": TEXT, "pair": Column("the second texts", "--pair-column", pairs, optional=True)}
        if labelled:
            columns["label"] = Column("the labels", "--label-column", self.usual_labels)
        names = {"text": self.column, "pair": self.pair_column, "label": self.label_column}
        chosen = choose_columns(file, columns, names)
        belongs = PAIRS.get(chosen["text"].casefold()) == chosen.get("pair", "").casefold()
        return {role: name for role, name in chosen.items() if role != "pair" or belongs or self.pair_column}

    def read(self, source: Data, config: BertConfig | None = None) -> list[LabelledText]:
        file = open_rows(source, (self.column, self.pair_column, self.label_column), fields=labelled_fields)
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
        """The target of a row; raises Unreadable."""

    @abstractmethod
    def check(self, rows: Sequence[LabelledText], path: Path, column: str) -> None:
        """Raise InputError when there is nothing to learn; warn of labels that may be misread."""

    @abstractmethod
    def targets(self, rows: Sequence[LabelledText], config: BertConfig) -> list[Any]:
        """The targets as numbers."""

    def encode(self, rows: Sequence[LabelledText], tokenizer: BertTokenizer, config: BertConfig) -> TextExamples:
        token_rows, cut = self.token_rows([row.text for row in rows], tokenizer, config)
        if cut:
            logger.warning("%d of %d texts are longer than the model reads, and are cut at the end.", cut, len(rows))
        return TextExamples(token_rows, self.targets(rows, config), tokenizer.pad_token_id or 0)

    def token_rows(
        self, texts: Sequence[TextOrPair], tokenizer: BertTokenizer, config: BertConfig
    ) -> tuple[list[TokenRow], int]:
        """The row of each text, with the prompt, and how many texts were cut."""
        if self.prompt:
            texts = [self.prompt + x if isinstance(x, str) else (self.prompt + x[0], x[1]) for x in texts]
        longest = longest_row(tokenizer, config.max_position_embeddings, self.max_length)
        rows: list[TokenRow] = []
        cut = 0
        blocks = [texts[start : start + TEXTS_PER_BLOCK] for start in range(0, len(texts), TEXTS_PER_BLOCK)]
        for block in progress(blocks, "tokenizing", " thousand texts", many=4):
            of_block, _, cut_there = tokenizer.token_rows(block, longest)
            rows += of_block
            cut += cut_there
        return rows, cut

    def objective(self, model: BertPreTrainedModel) -> Objective:
        return TextObjective(model)

    def open(self, source: Data) -> tuple[RowFile, Make[TextOrPair]]:
        """A file with a column of texts and perhaps one of second texts; or a .txt with a text per line."""
        file = open_rows(source, (self.column, self.pair_column), fields=pair_fields)
        chosen = {"text": "text"} if file.is_lines else self.choose(file, labelled=False)
        return file, lambda number, line, cells: text_of(cells, chosen)

    def is_item(self, item: Any) -> bool:
        return isinstance(item, str) or is_pair(item)

    def logits_for(
        self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[TextOrPair]
    ) -> tuple[Tensor, int]:
        """Logits of texts and pairs, (items, labels) float32, and how many were cut."""
        rows, cut = self.token_rows(items, tokenizer, model.config)
        return logits_of(model, rows, tokenizer.pad_token_id or 0), cut

    def record(self, item: TextOrPair, prediction: Any) -> dict[str, Any]:
        text = {"text": item} if isinstance(item, str) else {"text": item[0], "pair": item[1]}
        return {**text, **{name: value for name, value in prediction._asdict().items() if value is not None}}

    def lines(self, item: TextOrPair, prediction: Any) -> list[dict[str, Any]]:
        """The same without the probabilities and scores of all classes."""
        record = self.record(item, prediction)
        return [{name: value for name, value in record.items() if name not in ("probabilities", "scores")}]

    def fields(self, item: TextOrPair) -> tuple[str, ...]:
        return (*(("text",) if isinstance(item, str) else ("text", "pair")), *self.predicted)


def labelled_fields(row: tuple[Any, ...]) -> Sequence[str] | None:
    """What a tuple of labelled data holds: a text and its label, or two texts and their label."""
    return {2: ("text", "label"), 3: ("sentence1", "sentence2", "label")}.get(len(row))


def text_of(cells: Cells, chosen: dict[str, str]) -> TextOrPair:
    """The text of a row, or its pair of texts; raises Unreadable."""
    text = text_in(cells, chosen["text"])
    return (text, text_in(cells, chosen["pair"])) if "pair" in chosen else text


def by_label(config: BertConfig, values: Tensor) -> list[dict[str, float]]:
    """The values of each text by the names of the labels; ``values``: (texts, labels)."""
    names = label_names(config)
    return [dict(zip(names, row, strict=True)) for row in values.tolist()]


def logits_of(model: BertPreTrainedModel, rows: Sequence[TokenRow], pad_id: int, name: str | None = None) -> Tensor:
    """The logits of rows, (rows, labels) float32, on the CPU."""
    logits = run_rows(model, rows, pad_id, lambda output, _: list(output.logits.float().cpu()), name)
    return torch.stack(logits) if logits else torch.empty(0, model.config.num_labels)
