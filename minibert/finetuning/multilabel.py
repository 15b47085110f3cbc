"""Texts with several labels each, or none: one yes or no for every label.

The loss is a binary cross-entropy for each label; a label is chosen when its probability is at least a half.  In a
.csv the labels of a row stand in one column, with ``|`` or another separator between; in .jsonl and .parquet they may
be lists.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, ClassVar, NamedTuple, Self

import torch

from minibert.config import MOST_LABELS, BertConfig
from minibert.data.cells import Cells, value_in
from minibert.data.labels import label_in, listed, sorted_labels, split_labels
from minibert.data.rows import Unreadable
from minibert.errors import InputError
from minibert.finetuning.crossencoder import activate, activation_settings
from minibert.finetuning.labels import label_names, label_numbers, label_settings
from minibert.finetuning.scores import label_scores
from minibert.finetuning.task import Predictions
from minibert.finetuning.texts import (
    CLASSES,
    LabelledText,
    Text,
    TextExamples,
    TextObjective,
    TextTask,
    by_label,
    logits_of,
)
from minibert.finetuning.weights import BALANCED, Weights, given_weights, in_order
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
SEPARATOR = "|"
LABELS = ("labels", "label", "tags", "categories", "genres", "topics", *CLASSES)


class LabelsPrediction(NamedTuple):
    """The labels that are chosen for a text, and how likely each label is by itself."""

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    scores: dict[str, float] | None = None  # of a cross-encoder with another activation than a sigmoid


@dataclass(frozen=True)
class MultiLabel(TextTask):
    """Texts or pairs of texts, each with any number of labels."""

    name: ClassVar[str] = "classify"
    main_score: ClassVar[str] = "micro_f1"
    libraries: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn.metrics", "scikit-learn"),)
    usual_labels: ClassVar[tuple[str, ...]] = LABELS
    found: ClassVar[tuple[str, ...]] = ("labels", "probabilities")

    separator: str | None = None  # between the labels of a row; default "|"
    class_weights: Weights = None  # how often a label counts where it applies: "balanced", or numbers
    threshold: float = 0.5  # a label at least as likely is chosen

    def label(self, cells: Cells, name: str, known: Sequence[str] | None) -> tuple[str, ...]:
        """The labels of a row, each once."""
        found = value_in(cells, name)
        if isinstance(found, str):
            found = split_labels(found.strip(), name, self.separator or SEPARATOR)
        if not isinstance(found, list | tuple):
            raise Unreadable(f"has {shortened(found)} in {name!r}, expected labels: a list, or text")
        return tuple(dict.fromkeys(label_in({name: label}, name, known) for label in found))

    def check(self, rows: Sequence[LabelledText], path: Path, column: str) -> None:
        """Raise InputError when there is nothing to tell apart; say what may not be as it looks."""
        names = sorted_labels(label for row in rows for label in row.label)
        if len(names) < 2:
            found = f"the one label {shortened(names[0])}" if names else "no label at all"
            raise InputError(f"{path}: {column!r} has {found} in {len(rows):,} rows; expected two labels or more.")
        if len({frozenset(row.label) for row in rows}) == 1:
            raise InputError(f"{path}: all {len(rows):,} rows have the same labels; there is nothing to learn.")
        if len(names) > MOST_LABELS:
            raise InputError(
                f"{path}: {column!r} has {len(names):,} different labels; expected {MOST_LABELS:,} at most."
            )
        if max(len(row.label) for row in rows) < 2:
            logger.warning(
                "%s: no row has two labels in %r (%s). Where %r does not stand between them, say what does "
                "(--separator); where each text has one label, leave --multi-label out.",
                path, column, listed(names), self.separator or SEPARATOR,
            )  # fmt: skip

    def settings(self, rows: Sequence[LabelledText]) -> dict[str, Any]:
        """A name for each label; sentence-transformers is told of the sigmoid."""
        names = sorted_labels(label for row in rows for label in row.label)
        kind = {"problem_type": "multi_label_classification"}
        return {**kind, **label_settings(names), **activation_settings("Sigmoid")}

    def fitted(self, rows: Sequence[LabelledText]) -> Self:
        """With the weights of the labels as numbers: balanced, yes and no of a label weigh the same."""
        counts = Counter(label for row in rows for label in row.label)
        if self.class_weights != BALANCED:
            return replace(self, class_weights=given_weights(self.class_weights, list(counts)))
        balanced = {name: max(1, len(rows) - count) / count for name, count in sorted(counts.items())}
        return replace(self, class_weights=balanced)

    def targets(self, rows: Sequence[LabelledText], config: BertConfig) -> list[list[float]]:
        """1 for each label that applies, else 0."""
        numbers = label_numbers(config)
        targets = []
        for row in rows:
            target = [0.0] * len(numbers)
            for label in row.label:
                target[numbers[label]] = 1.0
            targets.append(target)
        return targets

    def objective(self, model: BertPreTrainedModel) -> Objective:
        """A binary cross-entropy for each label."""
        return TextObjective(model, in_order(self.class_weights, label_names(model.config)))

    def evaluate(self, model: BertPreTrainedModel, examples: TextExamples) -> dict[str, float]:
        """F1 over all labels of all texts, F1 of each label averaged, and texts whose labels are all right."""
        logits = logits_of(model, examples.rows, examples.pad_id, "evaluating")
        return label_scores(torch.tensor(examples.labels).long(), (logits.sigmoid() >= self.threshold).long())

    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[Text]) -> Predictions:
        """The labels of each text or pair."""
        logits, cut = self.logits_for(model, tokenizer, items)
        found = by_label(model.config, logits.sigmoid())
        given: Sequence[dict[str, float] | None] = [None] * len(found)
        if self.activation not in (None, "Sigmoid"):
            given = by_label(model.config, activate(str(self.activation), logits))
        pairs = zip(found, given, strict=True)
        return [LabelsPrediction(self.chosen(chances), chances, own) for chances, own in pairs], cut

    def chosen(self, probabilities: dict[str, float]) -> tuple[str, ...]:
        """The labels that are likely enough."""
        return tuple(name for name, chance in probabilities.items() if chance >= self.threshold)

    def lines(self, item: Text, prediction: LabelsPrediction) -> list[dict[str, Any]]:
        """The chosen labels with the separator between, and every label's probability."""
        record = self.record(item, prediction)
        record.pop("scores", None)
        return [{**record, "labels": (self.separator or SEPARATOR).join(prediction.labels)}]
