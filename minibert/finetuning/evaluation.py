"""The scores of a fine-tuned checkpoint on a file of labelled examples, each with an interval.

The examples are read and predicted as by ``predict``, and scored as the dev data of ``finetune`` are.  The intervals
say how far the scores may be off because the file is a sample (bootstrap.py): whole texts are drawn, for entities whole
sentences, for answers whole questions.  Start with :func:`evaluate`.
"""

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from minibert.data.memory import Data, as_data, data_digest
from minibert.errors import InputError
from minibert.files import is_file
from minibert.finetuning.bootstrap import Interval, bootstrap, interval
from minibert.finetuning.outcomes import Confusion, LabelledOutcome, Outcome, once
from minibert.finetuning.predict import Predictor, with_choices
from minibert.finetuning.scores import need
from minibert.schema import COUNT, SIZE, Kind, check_settings
from minibert.source import Source
from minibert.terminal import table

logger = logging.getLogger("minibert.finetuning")
RESAMPLES, CONFIDENCE = 1000, 0.95
KINDS = {
    "resamples": SIZE,
    "confidence": Kind(lambda x: isinstance(x, float) and 0 < x < 1, "a number between 0 and 1, such as 0.95"),
    "seed": COUNT,
}
MOST_PRINTED = 12  # labels of a confusion in the terminal; a picture has room for more
FEW = 30  # examples; the intervals of fewer are too narrow


class LabelScores(NamedTuple):
    """How well one label is predicted."""

    precision: float
    recall: float
    f1: Interval
    support: int  # how many examples have it


@dataclass(frozen=True)
class Evaluation:
    """The scores of a checkpoint on a file."""

    checkpoint: str
    file: str
    task: str
    examples: int
    units: str  # what the examples are, in words: "texts", "sentences", "questions", "pairs", "queries"
    scores: dict[str, Interval]  # the main one first
    metric: str  # what the main score measures, in words
    labels: dict[str, LabelScores] = field(default_factory=dict)
    confusion: Confusion | None = None
    resamples: int = RESAMPLES
    confidence: float = CONFIDENCE
    seed: int = 0
    digest: str = field(repr=False, kw_only=True)  # of the data, by which they are known again
    outcome: Outcome = field(repr=False, compare=False, kw_only=True)  # what the scores are of

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, as plain values."""
        fields = {name: value for name, value in vars(self).items() if name not in ("outcome", "digest")}
        scores = {name: score._asdict() for name, score in self.scores.items()}
        labels = {name: {**one._asdict(), "f1": one.f1._asdict()} for name, one in self.labels.items()}
        confusion = None if self.confusion is None else self.confusion.to_dict()
        return {**fields, "scores": scores, "labels": labels, "confusion": confusion}

    def __str__(self) -> str:
        """The scores, those of each label, and the confusion, as tables."""
        lowest = f"{percent(self.confidence)} from"
        parts = [f"{self.checkpoint} on {self.file}: {self.task}, {self.examples:,} {self.units}"]
        names = [name.replace("_", " ") for name in self.scores]
        names[0] = self.metric or names[0]
        rows = [(name, *map(shown, score)) for name, score in zip(names, self.scores.values(), strict=True)]
        parts.append(table(("score", "value", lowest, "to"), rows, right=("value", lowest, "to")))
        if self.labels:
            rows = [
                (name, shown(one.precision), shown(one.recall), *map(shown, one.f1), f"{one.support:,}")
                for name, one in self.labels.items()
            ]
            columns = ("precision", "recall", "f1", lowest, "to", "support")
            parts.append(table(("label", *columns), rows, right=columns))
        if self.confusion is not None and len(self.confusion.rows) <= MOST_PRINTED:
            parts.append(str(self.confusion))
        return "\n\n".join(parts)


def evaluate(
    checkpoint: Source | Predictor,
    file: Data,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
    seed: int = 0,
    device: str | None = None,
    **choices: Any,
) -> Evaluation:
    """The scores of a fine-tuned checkpoint on labelled data, each with a bootstrap interval.

    Args:
        checkpoint: a folder or a name on the hub; for several files, a :class:`Predictor`, which is loaded once.
        file: the data, in a format that :func:`minibert.finetuning.finetune` reads, or rows in memory.
        resamples: how often the examples are drawn anew.
        confidence: of the intervals.
        seed: of the draws.
        device: "cuda", "mps", "auto" …; default the CPU.
        choices: fields of the task (``column=``, ``label_column=``, ``max_length=`` …), and ``revision=`` and the like.

    Raises InputError for a checkpoint that was fine-tuned for no task, and for a file that does not fit it: without
    labels, with others than the checkpoint knows, or where no score says anything.
    """
    check_settings({"resamples": resamples, "confidence": confidence, "seed": seed}, KINDS, "evaluate", InputError)
    data = as_data(file, "test data", "the test data")
    if isinstance(data, Path) and not is_file(data):
        raise InputError(f"{data} does not exist.")
    if isinstance(checkpoint, Predictor):
        predictor, name = checkpoint, checkpoint.model.name_or_path or type(checkpoint.model).__name__
    else:
        predictor, name = Predictor.from_pretrained(checkpoint, device=device, **choices), str(checkpoint)
    task, model = with_choices(predictor.task, choices if predictor is checkpoint else {}), predictor.model
    for library in task.libraries:
        need(*library)
    rows = task.read(data, model.config)
    examples = task.encode(rows, predictor.tokenizer, model.config)
    outcome = task.outcome(model, examples)
    if problem := outcome.problem():
        raise InputError(f"{data}: {problem}.")
    if len(outcome) < FEW:
        logger.warning(
            "%s has %d %s; the intervals of so few are too narrow (from about %d on they can be trusted).",
            data, len(outcome), outcome.units, FEW,
        )  # fmt: skip
    drawn = bootstrap(outcome.resampled, len(outcome), resamples, seed)
    found = {score: interval(value, drawn[score], confidence) for score, value in outcome.scores().items()}
    labelled = outcome if isinstance(outcome, LabelledOutcome) else None
    return Evaluation(
        checkpoint=name,
        file=str(data),
        task=task.name,
        examples=len(outcome),
        units=outcome.units,
        scores=found,
        metric=task.metric(examples),
        labels=label_table(labelled, resamples, confidence, seed) if labelled else {},
        confusion=labelled.confusion() if labelled else None,
        resamples=resamples,
        confidence=confidence,
        seed=seed,
        digest=data_digest(data),
        outcome=outcome,
    )


def label_table(outcome: LabelledOutcome, resamples: int, confidence: float, seed: int) -> dict[str, LabelScores]:
    """The scores of each label, its F1 with an interval from the same resamples."""
    counts = outcome.counts(once(outcome))
    drawn = bootstrap(
        lambda weights: dict(zip(outcome.names, outcome.counts(weights).f1, strict=True)), len(outcome), resamples, seed
    )
    scores = {}
    for number, name in enumerate(outcome.names):
        precision, recall, f1, support = (
            float(value[number, 0]) for value in (counts.precision, counts.recall, counts.f1, counts.gold)
        )
        scores[name] = LabelScores(precision, recall, interval(f1, drawn[name], confidence), int(support))
    return scores


def percent(share: float) -> str:
    """``95%``."""
    return f"{100 * share:.4g}%"


def shown(value: float) -> str:
    """A score with four digits."""
    return f"{value:.4f}"
