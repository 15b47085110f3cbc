"""Texts or pairs of texts to classes: one class each (Classify), or any number of labels each (MultiLabel).

With one class the loss is a cross-entropy.  With several labels it is a binary cross-entropy for each label, and a
label is predicted when its probability is at least a half; in a .csv the labels of a row stand in one column with
``|`` or another separator between, in .jsonl and .parquet they may be lists.

``class_weights`` keep rare classes from being drowned by common ones: a text of a class with weight w counts w times
in the mean of a step, as with ``weight`` of torch's CrossEntropyLoss.  "balanced" gives each class the same total
weight: rows / (classes · rows of the class), as in scikit-learn.
"""

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, ClassVar, NamedTuple, Self

import torch

from minibert.config import MOST_LABELS, BertConfig
from minibert.data.cells import Cells, value_in
from minibert.data.labels import (
    check_classes,
    label_in,
    listed,
    sorted_labels,
    split_labels,
    warn_of_imbalance,
    warn_of_joined,
)
from minibert.data.rows import Unreadable
from minibert.errors import InputError
from minibert.finetuning.crossencoder import PROBABILITIES, activate, activation_settings
from minibert.finetuning.labels import label_names, label_numbers, label_settings
from minibert.finetuning.outcomes import ClassOutcome, LabelsOutcome
from minibert.finetuning.task import Predictions
from minibert.finetuning.texts import (
    LabelledText,
    TextExamples,
    TextObjective,
    TextOrPair,
    TextTask,
    by_label,
    logits_of,
)
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.training.objective import Objective

logger = logging.getLogger("minibert.finetuning")
SEPARATOR = "|"
CLASSES = ("label", "class", "category", "labels", "sentiment", "intent", "target")
LABELS = ("labels", "label", "tags", "categories", "genres", "topics", *CLASSES)
Weights = str | Mapping[str, float] | Sequence[float] | None
BALANCED = "balanced"


class ClassPrediction(NamedTuple):
    """The likeliest class of a text, and the probability of each class."""

    label: str
    probability: float
    probabilities: dict[str, float]
    scores: dict[str, float] | None = None  # of a cross-encoder, as in sentence-transformers


class LabelsPrediction(NamedTuple):
    """The predicted labels of a text, and the probability of each label by itself."""

    labels: tuple[str, ...]
    probabilities: dict[str, float]
    scores: dict[str, float] | None = None  # of a cross-encoder with another activation than a sigmoid


@dataclass(frozen=True)
class Classify(TextTask):
    """Texts or pairs of texts, each of one class."""

    name: ClassVar[str] = "classify"
    main_score: ClassVar[str] = "accuracy"
    libraries: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn.metrics", "scikit-learn"),)
    usual_labels: ClassVar[tuple[str, ...]] = CLASSES
    predicted: ClassVar[tuple[str, ...]] = ("label", "probability")

    class_weights: Weights = None  # in the loss: "balanced", numbers by name, or in the order of the labels

    def label(self, cells: Cells, name: str, known: Sequence[str] | None) -> str:
        return label_in(cells, name, known)

    def check(self, rows: Sequence[LabelledText], path: Path, column: str) -> None:
        labels = [row.label for row in rows]
        check_classes(path, column, labels)
        warn_of_joined(path, column, labels)
        if self.class_weights is None:
            warn_of_imbalance(path, column, labels)

    def settings(self, rows: Sequence[LabelledText]) -> dict[str, Any]:
        names = sorted_labels(row.label for row in rows)
        return {"problem_type": "single_label_classification", **label_settings(names)}

    def fitted(self, rows: Sequence[LabelledText]) -> Self:
        counts = Counter(row.label for row in rows)
        balanced = {name: len(rows) / (len(counts) * count) for name, count in counts.items()}
        return replace(self, class_weights=class_weights(self.class_weights, balanced))

    def targets(self, rows: Sequence[LabelledText], config: BertConfig) -> list[int]:
        numbers = label_numbers(config)
        return [numbers[row.label] for row in rows]

    def objective(self, model: BertPreTrainedModel) -> Objective:
        return TextObjective(model, in_order(self.class_weights, label_names(model.config)))

    def outcome(self, model: BertPreTrainedModel, examples: TextExamples) -> ClassOutcome:
        logits = logits_of(model, examples.rows, examples.pad_id, "evaluating")
        labels = [int(label) for label in examples.labels]
        return ClassOutcome(labels, logits.argmax(dim=-1).tolist(), label_names(model.config))

    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[TextOrPair]) -> Predictions:
        logits, cut = self.logits_for(model, tokenizer, items)
        scores = None if self.activation is None else activate(self.activation, logits)
        probabilities = scores if scores is not None and self.activation in PROBABILITIES else logits.softmax(dim=-1)
        chances = by_label(model.config, probabilities)
        activated = [None] * len(chances) if scores is None else by_label(model.config, scores)
        best = [max(row, key=row.__getitem__) for row in chances]
        return [ClassPrediction(b, row[b], row, own) for b, row, own in zip(best, chances, activated, strict=True)], cut


@dataclass(frozen=True)
class MultiLabel(TextTask):
    """Texts or pairs of texts, each with any number of labels."""

    name: ClassVar[str] = "classify"
    main_score: ClassVar[str] = "micro_f1"
    libraries: ClassVar[tuple[tuple[str, str], ...]] = (("sklearn.metrics", "scikit-learn"),)
    usual_labels: ClassVar[tuple[str, ...]] = LABELS
    predicted: ClassVar[tuple[str, ...]] = ("labels", "probabilities")

    separator: str | None = None  # between the labels of a row; default "|"
    class_weights: Weights = None  # of a label where it applies: "balanced", or numbers as above
    threshold: float = 0.5  # the least probability of a predicted label

    def label(self, cells: Cells, name: str, known: Sequence[str] | None) -> tuple[str, ...]:
        """The labels of a row, each once."""
        labels = value_in(cells, name)
        if isinstance(labels, str):
            labels = split_labels(labels.strip(), name, self.separator or SEPARATOR)
        if not isinstance(labels, list | tuple):
            raise Unreadable(f"has {shortened(labels)} in {name!r}, expected labels: a list, or text")
        return tuple(dict.fromkeys(label_in({name: label}, name, known) for label in labels))

    def check(self, rows: Sequence[LabelledText], path: Path, column: str) -> None:
        names = sorted_labels(label for row in rows for label in row.label)
        if len(names) < 2:
            only = f"the one label {shortened(names[0])}" if names else "no label at all"
            raise InputError(f"{path}: {column!r} has {only} in {len(rows):,} rows; expected two labels or more.")
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
        names = sorted_labels(label for row in rows for label in row.label)
        kind = {"problem_type": "multi_label_classification"}
        return {**kind, **label_settings(names), **activation_settings("Sigmoid")}

    def fitted(self, rows: Sequence[LabelledText]) -> Self:
        """With balanced weights, the texts that have a label weigh as much as those that do not."""
        counts = Counter(label for row in rows for label in row.label)
        balanced = {name: max(1, len(rows) - count) / count for name, count in counts.items()}
        return replace(self, class_weights=class_weights(self.class_weights, balanced))

    def targets(self, rows: Sequence[LabelledText], config: BertConfig) -> list[list[float]]:
        """1 for each label that applies, else 0."""
        return [[float(name in row.label) for name in label_numbers(config)] for row in rows]

    def objective(self, model: BertPreTrainedModel) -> Objective:
        return TextObjective(model, in_order(self.class_weights, label_names(model.config)))

    def outcome(self, model: BertPreTrainedModel, examples: TextExamples) -> LabelsOutcome:
        logits = logits_of(model, examples.rows, examples.pad_id, "evaluating")
        predicted = (logits.sigmoid() >= self.threshold).long()
        return LabelsOutcome(torch.tensor(examples.labels).long(), predicted, label_names(model.config))

    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[TextOrPair]) -> Predictions:
        logits, cut = self.logits_for(model, tokenizer, items)
        probabilities = by_label(model.config, logits.sigmoid())
        activated: Sequence[dict[str, float] | None] = [None] * len(probabilities)
        if self.activation not in (None, "Sigmoid"):
            activated = by_label(model.config, activate(str(self.activation), logits))
        predictions = []
        for chances, own in zip(probabilities, activated, strict=True):
            labels = tuple(name for name, chance in chances.items() if chance >= self.threshold)
            predictions.append(LabelsPrediction(labels, chances, own))
        return predictions, cut

    def lines(self, item: TextOrPair, prediction: LabelsPrediction) -> list[dict[str, Any]]:
        """The predicted labels with the separator between, and the probability of every label."""
        record = self.record(item, prediction)
        record.pop("scores", None)
        return [{**record, "labels": (self.separator or SEPARATOR).join(prediction.labels)}]


def class_weights(weights: Weights, balanced: Mapping[str, float]) -> dict[str, float] | None:
    """The weight of each label by its name; a label that is not mentioned has 1.

    ``balanced``: the weights that "balanced" means, of all labels.  Raises InputError for anything but weights of these
    labels.
    """
    names = sorted_labels(balanced)
    if weights is None:
        return None
    if isinstance(weights, str):
        if weights == BALANCED:
            return {name: balanced[name] for name in sorted(balanced)}
        raise InputError(
            f"class_weights is {shortened(weights)}; expected {BALANCED!r}, a number for each label in their order "
            f"({listed(names)}), or numbers by name ({names[0]}=2)."
        )
    if not isinstance(weights, Mapping):
        numbers = weights.tolist() if hasattr(weights, "tolist") else weights  # NumPy's and torch's
        if not isinstance(numbers, list | tuple):
            raise InputError(f"class_weights is {numbers!r}; expected a number for each label: {listed(names)}.")
        if len(numbers) != len(names):
            raise InputError(
                f"class_weights has {len(numbers)} numbers, and the data {len(names)} labels: {listed(names)}. Give "
                f"one for each in this order, or by name ({names[0]}=2)."
            )
        weights = dict(zip(names, numbers, strict=True))
    for name, weight in weights.items():
        if name not in names:
            raise InputError(f"class_weights names {shortened(name)}; the data has {listed(names)}.")
        if not isinstance(weight, Real) or isinstance(weight, bool) or not math.isfinite(weight) or weight <= 0:
            raise InputError(f"class_weights of {shortened(name)} is {weight!r}; expected a number above 0.")
    return {name: float(weights.get(name, 1.0)) for name in names}


def in_order(weights: Weights, names: Sequence[str]) -> list[float] | None:
    """The weights of :func:`class_weights` in the order of a head's labels."""
    if weights is None:
        return None
    assert isinstance(weights, Mapping)
    return [weights.get(name, 1.0) for name in names]
