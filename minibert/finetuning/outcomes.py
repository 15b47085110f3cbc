"""What a model predicts for labelled examples, beside what is right; and the scores of that.

Each score can also be computed for a *resample*, in which some examples count several times and others not at all: this
is what an interval comes from (bootstrap.py).  Nothing is predicted again for it.  A share is a sum over the examples;
F1 needs three counts per label; only correlations of ranks take more.  The scores of all examples once come from the
libraries (scores.py).  Start with :class:`Outcome`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from minibert.data.sentences import entities_of
from minibert.finetuning.scores import class_scores, entity_scores, label_scores, number_scores
from minibert.terminal import table

NONE = "none"  # in a confusion: where there is no entity, or no label


class Counts(NamedTuple):
    """How often each label was predicted where it is right, was predicted, and is right; each (labels, R) float64."""

    right: Tensor
    predicted: Tensor
    gold: Tensor

    @property
    def precision(self) -> Tensor:
        """The share of the predictions that are right; 0 where there is none."""
        return self.right / self.predicted.clamp(min=1)

    @property
    def recall(self) -> Tensor:
        """The share of the right labels that were predicted; 0 where there is none."""
        return self.right / self.gold.clamp(min=1)

    @property
    def f1(self) -> Tensor:
        """Their harmonic mean."""
        return 2 * self.right / (self.predicted + self.gold).clamp(min=1)

    @property
    def macro_f1(self) -> Tensor:
        """The mean F1 of the labels that occur, (R,)."""
        occurs = self.predicted + self.gold > 0
        return (self.f1 * occurs).sum(dim=0) / occurs.sum(dim=0).clamp(min=1)

    @property
    def micro(self) -> "Counts":
        """The same over all labels together, as of one label."""
        return Counts(*(count.sum(dim=0, keepdim=True) for count in self))


@dataclass(frozen=True)
class Confusion:
    """A table of counts: what is right (rows) against what was predicted (columns)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # one tuple per row

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {"rows": list(self.rows), "columns": list(self.columns), "counts": [list(row) for row in self.counts]}

    def __str__(self) -> str:
        rows = [(name, *map("{:,}".format, counts)) for name, counts in zip(self.rows, self.counts, strict=True)]
        return table(("right \\ predicted", *self.columns), rows, right=self.columns)


class Outcome(ABC):
    """The predictions for a number of examples, beside what is right."""

    units: str = "texts"  # what the examples are, in words

    @abstractmethod
    def __len__(self) -> int:
        """The number of examples."""

    @abstractmethod
    def scores(self) -> dict[str, float]:
        """The scores of all examples, from the libraries (the extra "train")."""

    @abstractmethod
    def resampled(self, weights: Tensor) -> dict[str, Tensor]:
        """The same scores, each (R,), of R resamples; ``weights``: (examples, R) float64, how often each counts."""

    def problem(self) -> str | None:
        """Why scores of these examples say nothing, as the end of a sentence; None if they do."""
        return None


class LabelledOutcome(Outcome):
    """The outcome of a task with labels."""

    names: Sequence[str]  # of the labels

    @abstractmethod
    def counts(self, weights: Tensor) -> Counts:
        """The counts of each label in R resamples."""

    @abstractmethod
    def confusion(self) -> Confusion:
        """What was predicted for each label."""


class ClassOutcome(LabelledOutcome):
    """One class per text."""

    def __init__(self, gold: Sequence[int], predicted: Sequence[int], names: Sequence[str]) -> None:
        """``gold`` and ``predicted``: numbers of ``names``."""
        self.gold, self.predicted, self.names = torch.tensor(gold), torch.tensor(predicted), names

    def __len__(self) -> int:
        return len(self.gold)

    def scores(self) -> dict[str, float]:
        """Accuracy and macro F1."""
        return class_scores(self.gold.tolist(), self.predicted.tolist())

    def counts(self, weights: Tensor) -> Counts:
        right = weights * (self.gold == self.predicted)[:, None]
        sums = ((right, self.gold), (weights, self.predicted), (weights, self.gold))
        zeros = weights.new_zeros(len(self.names), weights.shape[1])
        return Counts(*(zeros.index_add(0, numbers, values) for values, numbers in sums))

    def resampled(self, weights: Tensor) -> dict[str, Tensor]:
        counts = self.counts(weights)
        return {"accuracy": counts.right.sum(dim=0) / weights.sum(dim=0), "macro_f1": counts.macro_f1}

    def confusion(self) -> Confusion:
        """The class of each text against the predicted one."""
        C, names = len(self.names), tuple(self.names)
        cells = torch.bincount(self.gold * C + self.predicted, minlength=C * C).view(C, C)
        return Confusion(names, names, tuple(map(tuple, cells.tolist())))


class LabelsOutcome(LabelledOutcome):
    """Any number of labels per text."""

    def __init__(self, gold: Tensor, predicted: Tensor, names: Sequence[str]) -> None:
        """``gold`` and ``predicted``: (texts, labels) int64, 0 or 1."""
        self.gold, self.predicted, self.names = gold, predicted, names

    def __len__(self) -> int:
        return len(self.gold)

    def scores(self) -> dict[str, float]:
        """F1 over all labels of all texts, the mean of the labels' F1, and texts whose labels are all right."""
        return label_scores(self.gold, self.predicted)

    def counts(self, weights: Tensor) -> Counts:
        parts = (self.gold * self.predicted, self.predicted, self.gold)
        return Counts(*(part.to(weights.dtype).T @ weights for part in parts))

    def resampled(self, weights: Tensor) -> dict[str, Tensor]:
        counts = self.counts(weights)
        exact = (self.gold == self.predicted).all(dim=1).to(weights.dtype) @ weights / weights.sum(dim=0)
        return {"micro_f1": counts.micro.f1[0], "macro_f1": counts.macro_f1, "exact_match": exact}

    def problem(self) -> str | None:
        return None if bool(self.gold.any()) else "no text has a label, so there is none to find"

    def confusion(self) -> Confusion:
        """How often each label was found, missed, and given where it is wrong."""
        right, predicted, gold = (count[:, 0].long() for count in self.counts(once(self)))
        cells = torch.stack([right, gold - right, predicted - right], dim=1)
        return Confusion(tuple(self.names), ("found", "missed", "wrong"), tuple(map(tuple, cells.tolist())))


class EntityOutcome(LabelledOutcome):
    """Entities in sentences: one is right when its first and last word and its kind are."""

    units = "sentences"

    def __init__(self, gold: Sequence[list[str]], predicted: Sequence[list[str]], names: Sequence[str]) -> None:
        """``gold`` and ``predicted``: for each sentence its BIO labels; ``names``: the kinds that the model knows."""
        self.gold, self.predicted, self.names = gold, predicted, names
        numbers = {name: number for number, name in enumerate(names)}
        self.per_sentence = torch.zeros(3, len(names), len(gold), dtype=torch.float64)  # right, predicted, gold
        for place, labels in enumerate(zip(gold, predicted, strict=True)):
            there, found = (set(entities_of(one)) for one in labels)
            for row, entities in zip(self.per_sentence, (there & found, found, there), strict=True):
                for kind, _, _ in entities:
                    row[numbers[kind], place] += 1

    def __len__(self) -> int:
        return len(self.gold)

    def scores(self) -> dict[str, float]:
        """F1, precision and recall of whole entities."""
        return entity_scores(self.gold, self.predicted)

    def counts(self, weights: Tensor) -> Counts:
        return Counts(*(self.per_sentence @ weights))

    def resampled(self, weights: Tensor) -> dict[str, Tensor]:
        counts = self.counts(weights).micro
        return {"f1": counts.f1[0], "precision": counts.precision[0], "recall": counts.recall[0]}

    def problem(self) -> str | None:
        return None if bool(self.per_sentence[2].any()) else "every word has the label O, so there is no entity to find"

    def confusion(self) -> Confusion:
        """The kind of each entity against the kind of the predicted one at the same place, ``none`` where none is."""
        names = (*self.names, NONE)
        numbers = {name: number for number, name in enumerate(names)}
        cells = [[0] * len(names) for _ in names]
        for labels in zip(self.gold, self.predicted, strict=True):
            there, found = ({(first, last): kind for kind, first, last in entities_of(one)} for one in labels)
            for place in there.keys() | found.keys():
                cells[numbers[there.get(place, NONE)]][numbers[found.get(place, NONE)]] += 1
        return Confusion(names, names, tuple(map(tuple, cells)))


class NumberOutcome(Outcome):
    """A number per text."""

    def __init__(
        self,
        gold: Sequence[float],
        predicted: Sequence[float],
        names: Sequence[str] = ("pearson", "spearman"),
        units: str = "texts",
    ) -> None:
        """``names``: the scores, the main one first."""
        self.gold, self.predicted, self.names, self.units = list(gold), list(predicted), names, units

    def __len__(self) -> int:
        return len(self.gold)

    def scores(self) -> dict[str, float]:
        """The correlations, 0 where they are undefined."""
        found = number_scores(self.gold, self.predicted)
        return {name: found[name] for name in self.names}

    def resampled(self, weights: Tensor) -> dict[str, Tensor]:
        pair = [torch.tensor(values, dtype=torch.float64) for values in (self.gold, self.predicted)]
        x, y = (values[:, None] - values.mean() for values in pair)
        ranks = [ranks_of(values, weights) for values in pair]
        found = {"pearson": correlation(x, y, weights), "spearman": correlation(ranks[0], ranks[1], weights)}
        return {name: found[name] for name in self.names}

    def problem(self) -> str | None:
        if len(set(self.gold)) > 1:
            return None
        return f"all {len(self):,} {self.units} have the number {self.gold[0]:g}, and a correlation needs several"


class MeanOutcome(Outcome):
    """Scores that are means over the examples, such as the F1 of an answer."""

    def __init__(self, values: Mapping[str, Tensor], units: str) -> None:
        """``values``: for each score, (examples,) float64."""
        self.values, self.units = values, units

    def __len__(self) -> int:
        return len(next(iter(self.values.values())))

    def scores(self) -> dict[str, float]:
        return {name: math.fsum(values.tolist()) / len(values) for name, values in self.values.items()}

    def resampled(self, weights: Tensor) -> dict[str, Tensor]:
        return {name: values @ weights / weights.sum(dim=0) for name, values in self.values.items()}


def once(outcome: Outcome) -> Tensor:
    """The weights with which every example counts once, (examples, 1)."""
    return torch.ones(len(outcome), 1, dtype=torch.float64)


def correlation(x: Tensor, y: Tensor, weights: Tensor) -> Tensor:
    """Pearson's correlation in each resample, (R,); 0 where one side is constant.

    ``x`` and ``y``: (examples, 1) or (examples, R), their means near 0 so that no digits are lost.
    """
    n = weights.sum(dim=0)

    def mean(values: Tensor) -> Tensor:
        return (values * weights).sum(dim=0) / n

    x, y = x - mean(x), y - mean(y)
    scale = mean(x * x) * mean(y * y)
    constant = torch.stack([mean(z * z) <= 1e-26 * z.square().amax() for z in (x, y)]).any(dim=0)  # but for rounding
    return torch.where(constant, 0.0, mean(x * y) / scale.sqrt()).clamp(-1, 1)


def ranks_of(values: Tensor, weights: Tensor) -> Tensor:
    """The rank of each example in each resample, (examples, R), less the middle one; equal values share their mean."""
    group: Tensor = torch.unique(values, return_inverse=True)[1]  # of equal values; sorted
    sizes = weights.new_zeros(int(group.max()) + 1, weights.shape[1]).index_add(0, group, weights)
    ranks = sizes.cumsum(dim=0) - (sizes - 1) / 2 - (weights.sum(dim=0) + 1) / 2
    return ranks[group]
