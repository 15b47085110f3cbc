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
from minibert.finetuning.scores import class_scores, label_scores
from minibert.finetuning.task import Predictions
from minibert.finetuning.texts import (
    LabelledText,
    Text,
    TextExamples,
    TextObjective,
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
    """The likeliest class of a text, and how likely each is."""

    label: str
    probability: float
    probabilities: dict[str, float]
    scores: dict[str, float] | None = None  # of a cross-encoder: what sentence-transformers gives


class LabelsPrediction(NamedTuple):
    """The labels that are chosen for a text, and how likely each label is by itself."""

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
    found: ClassVar[tuple[str, ...]] = ("label", "probability")

    class_weights: Weights = None  # in the loss: "balanced", numbers by name, or in the order of the labels

    def label(self, cells: Cells, name: str, known: Sequence[str] | None) -> str:
        """The name of a class."""
        return label_in(cells, name, known)

    def check(self, rows: Sequence[LabelledText], path: Path, column: str) -> None:
        """Raise InputError when there is nothing to tell apart; say what may not be as it looks."""
        labels = [row.label for row in rows]
        check_classes(path, column, labels)
        warn_of_joined(path, column, labels)
        if self.class_weights is None:
            warn_of_imbalance(path, column, labels)

    def settings(self, rows: Sequence[LabelledText]) -> dict[str, Any]:
        """A name for each class."""
        names = sorted_labels(row.label for row in rows)
        return {"problem_type": "single_label_classification", **label_settings(names)}

    def fitted(self, rows: Sequence[LabelledText]) -> Self:
        """With the weights of the classes as numbers."""
        return replace(self, class_weights=class_weights(self.class_weights, Counter(row.label for row in rows)))

    def targets(self, rows: Sequence[LabelledText], config: BertConfig) -> list[int]:
        """The numbers of the classes."""
        numbers = label_numbers(config)
        return [numbers[row.label] for row in rows]

    def objective(self, model: BertPreTrainedModel) -> Objective:
        """Cross-entropy."""
        return TextObjective(model, in_order(self.class_weights, label_names(model.config)))

    def evaluate(self, model: BertPreTrainedModel, examples: TextExamples) -> dict[str, float]:
        """Accuracy and macro F1."""
        logits = logits_of(model, examples.rows, examples.pad_id, "evaluating")
        return class_scores([int(label) for label in examples.labels], logits.argmax(dim=-1).tolist())

    def predict(self, model: BertPreTrainedModel, tokenizer: BertTokenizer, items: Sequence[Text]) -> Predictions:
        """The class of each text or pair."""
        logits, cut = self.logits_for(model, tokenizer, items)
        scores = None if self.activation is None else activate(self.activation, logits)
        probabilities = scores if scores is not None and self.activation in PROBABILITIES else logits.softmax(dim=-1)
        found = by_label(model.config, probabilities)
        given = [None] * len(found) if scores is None else by_label(model.config, scores)
        best = [max(row, key=row.__getitem__) for row in found]
        pairs = zip(best, found, given, strict=True)
        return [ClassPrediction(name, row[name], row, own) for name, row, own in pairs], cut


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


def class_weights(given: Weights, counts: Mapping[str, int]) -> dict[str, float] | None:
    """The weight of each class by its name; ``counts``: how many rows each has.

    Raises InputError for weights that are none, or not of these classes.
    """
    if given == BALANCED:
        total = sum(counts.values())
        return {name: total / (len(counts) * count) for name, count in sorted(counts.items())}
    return given_weights(given, list(counts))


def given_weights(given: Weights, labels: Sequence[str]) -> dict[str, float] | None:
    """Weights that are given as numbers, by name; labels that are not mentioned have 1."""
    names = sorted_labels(labels)
    if given is None:
        return None
    if isinstance(given, str):
        raise InputError(
            f"class_weights is {shortened(given)}; expected {BALANCED!r}, a number for each label in their order "
            f"({listed(names)}), or numbers by name ({names[0]}=2)."
        )
    if not isinstance(given, Mapping):
        given = given.tolist() if hasattr(given, "tolist") else given  # NumPy's and torch's
        if not isinstance(given, list | tuple):
            raise InputError(f"class_weights is {given!r}; expected a number for each label: {listed(names)}.")
        if len(given) != len(names):
            raise InputError(
                f"class_weights has {len(given)} numbers, and the data {len(names)} labels: {listed(names)}. Give one "
                f"for each in this order, or by name ({names[0]}=2)."
            )
        given = dict(zip(names, given, strict=True))
    for name, weight in given.items():
        if name not in names:
            raise InputError(f"class_weights names {shortened(name)}; the data has {listed(names)}.")
        if not isinstance(weight, Real) or isinstance(weight, bool) or not math.isfinite(weight) or weight <= 0:
            raise InputError(f"class_weights of {shortened(name)} is {weight!r}; expected a number above 0.")
    return {name: float(given.get(name, 1.0)) for name in names}


def in_order(weights: Weights, names: Sequence[str]) -> list[float] | None:
    """The weights of :func:`class_weights` in the order of a head's labels."""
    if weights is None:
        return None
    assert isinstance(weights, Mapping)
    return [weights.get(name, 1.0) for name in names]
