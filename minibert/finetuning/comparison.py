"""Two checkpoints on one file: by how much one is better, and whether that may be luck.

Both are scored on the same resamples (a paired bootstrap; Koehn 2004), so that what is hard for both does not widen the
interval of the difference.  Where this interval holds 0, the file does not tell which is better.  Start with
:func:`compare`.
"""

from dataclasses import dataclass
from typing import Any

from minibert.errors import InputError
from minibert.finetuning.bootstrap import Interval, bootstrap, interval
from minibert.finetuning.evaluation import Evaluation, percent, shown
from minibert.terminal import table


@dataclass(frozen=True)
class Comparison:
    """The scores of one checkpoint minus those of another."""

    first: Evaluation
    second: Evaluation
    differences: dict[str, Interval]

    def to_dict(self) -> dict[str, Any]:
        """The checkpoints and the differences, as plain values."""
        differences = {name: one._asdict() for name, one in self.differences.items()}
        return {"first": self.first.checkpoint, "second": self.second.checkpoint, "differences": differences}

    def __str__(self) -> str:
        """The scores of both, and their differences, as a table."""
        rows = [
            (name.replace("_", " "), shown(self.first.scores[name].value), shown(self.second.scores[name].value),
             *(f"{value:+.4f}" for value in one))
            for name, one in self.differences.items()
        ]  # fmt: skip
        columns = ("first", "second", "difference", f"{percent(self.first.confidence)} from", "to")
        title = f"{self.first.checkpoint} (first) against {self.second.checkpoint} (second) on {self.first.file}"
        return f"{title}\n\n{table(('score', *columns), rows, right=columns)}"


def compare(first: Evaluation, second: Evaluation) -> Comparison:
    """The differences of the scores of two evaluations, first minus second, each with a paired bootstrap interval.

    Resamples, confidence and seed are those of ``first``.  Raises InputError for evaluations of different data, tasks
    or numbers of examples.
    """
    if first.digest != second.digest:
        raise InputError(
            f"{first.checkpoint} was evaluated on {first.file}, and {second.checkpoint} on {second.file}, which holds "
            "other data; to be compared, both must have seen the same examples."
        )
    for name in ("task", "examples", "units"):
        mine, theirs = getattr(first, name), getattr(second, name)
        if mine != theirs:
            raise InputError(
                f"{first.checkpoint} was evaluated with {name} {mine!r}, {second.checkpoint} with {theirs!r}; to be "
                "compared, both must have seen the same examples."
            )
    drawn = [
        bootstrap(one.resampled, first.examples, first.resamples, first.seed) for one in (first.outcome, second.outcome)
    ]
    if list(drawn[0]) != list(drawn[1]):
        raise InputError(f"{first.checkpoint} has the scores {', '.join(drawn[0])}; the other, {', '.join(drawn[1])}.")
    differences = {
        name: interval(
            first.scores[name].value - second.scores[name].value, drawn[0][name] - drawn[1][name], first.confidence
        )
        for name in drawn[0]
    }
    return Comparison(first, second, differences)
