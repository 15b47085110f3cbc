"""The proof of an export: the file, run by its runtime on nine kinds of input, against our model in float32.

:func:`prove` compares; what counts as the same is a criterion: the largest difference for a float32 file
(:class:`LargestDifference`), a cosine for one in fewer bits (:class:`CosineLoss`).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from minibert.terminal import table
from minibert.verify.batches import Batch

Run = Callable[[Batch], dict[str, Tensor]]
BOUND = 1e-5  # of the largest value of an output
HIDDEN = 1e30  # larger numbers are a mask's: compared with themselves, and not the largest value of anything


class Criterion(Protocol):
    """How far two outputs are apart, as one number that must not be above ``bound``."""

    @property
    def name(self) -> str:
        """In the table."""
        ...

    @property
    def bound(self) -> float:
        """The largest figure that passes."""
        ...

    def measure(self, found: Tensor, expected: Tensor, batch: Batch) -> float:
        """For tensors of one shape, ``found`` finite wherever ``expected`` is."""
        ...

    def over_all(self, results: "list[Measured]") -> "list[Measured]":
        """The results of all kinds, with what can be said only of all of them."""
        ...


@dataclass(frozen=True)
class LargestDifference:
    """The largest |Δ|, at padding too, as a share of the output's largest value on all kinds.

    On all kinds: a single score may be near 0 where others are not, and its rounding is that of what it is the sum of.
    """

    bound: float = BOUND
    name: str = "largest difference"

    def measure(self, found: Tensor, expected: Tensor, batch: Batch) -> float:
        """See the class."""
        if not expected.numel():
            return 0.0
        wide, right = found.double(), expected.double()
        hidden = right.abs() > HIDDEN
        largest = float(right.masked_fill(hidden, 0.0).abs().max())
        difference = (wide - right).abs()
        share = difference.masked_fill(hidden, 0.0).max() / (largest or 1.0)
        of_hidden = (difference / right.abs()).masked_fill(~hidden, 0.0).max()
        return float(torch.maximum(share, of_hidden))

    def over_all(self, results: "list[Measured]") -> "list[Measured]":
        """Figures as shares of the largest value on all kinds, instead of the one kind's."""
        largest: dict[str, float] = {}
        for each in results:
            if not each.failure:
                largest[each.output] = max(each.largest, largest.get(each.output, 0.0))
        scaled = []
        for each in results:
            figure = each.figure if each.failure else each.figure * each.largest / (largest[each.output] or 1.0)
            scaled.append(replace(each, figure=figure, within=figure <= self.bound))
        return scaled


@dataclass(frozen=True)
class CosineLoss:
    """1 - the least cosine of two vectors, over the last axis; of tokens, those that are not padding."""

    bound: float
    name: str = "1 - least cosine"

    def measure(self, found: Tensor, expected: Tensor, batch: Batch) -> float:
        """See the class."""
        mask = batch["attention_mask"].bool()
        wide, right = found.double(), expected.double()
        if right.dim() == mask.dim() + 1 and right.shape[: mask.dim()] == mask.shape:
            wide, right = wide[mask], right[mask]
        elif mask.any(dim=-1).shape == right.shape[:-1]:
            wide, right = wide[mask.any(dim=-1)], right[mask.any(dim=-1)]
        if not right.numel():
            return 0.0
        return 1.0 - float(torch.cosine_similarity(wide, right, dim=-1).min())

    def over_all(self, results: "list[Measured]") -> "list[Measured]":
        """As they are."""
        return results


@dataclass(frozen=True)
class Measured:
    """One output on one kind of input."""

    kind: str
    output: str
    shape: tuple[int, ...]
    largest: float  # |value| of what was expected, without the numbers of a mask
    difference: float  # the largest |Δ|
    figure: float  # what the criterion measured; infinite where it could not
    within: bool
    failure: str = ""  # why nothing could be compared


@dataclass
class Proof:
    """All of it."""

    runtime: str
    criterion: str
    bound: float
    results: list[Measured] = field(default_factory=list)
    kinds: dict[str, tuple[int, ...]] = field(default_factory=dict)  # the shape of input_ids
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether everything was compared and is within the bound."""
        return bool(self.results) and all(result.within for result in self.results)

    @property
    def first_difference(self) -> Measured | None:
        """The first output that is not within the bound; one that could be compared before one that could not."""
        beyond = [result for result in self.results if not result.within]
        return next((result for result in beyond if not result.failure), next(iter(beyond), None))

    @property
    def figure(self) -> float:
        """The worst figure of all."""
        return max((result.figure for result in self.results), default=0.0)

    def worst(self) -> list[Measured]:
        """For each kind the output with the worst figure."""
        by_kind: dict[str, list[Measured]] = {}
        for result in self.results:
            by_kind.setdefault(result.kind, []).append(result)
        return [max(results, key=lambda each: each.figure) for results in by_kind.values()]

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Of the table that the card and the terminal show: kind, ids, output, largest |Δ|, figure."""
        return [
            (
                each.kind,
                " × ".join(map(str, self.kinds[each.kind])),
                each.output,
                each.failure or f"{each.difference:.2e}",
                "" if each.failure else f"{each.figure:.2e}",
            )
            for each in self.worst()
        ]

    @property
    def heads(self) -> tuple[str, str, str, str, str]:
        """Of the table."""
        last = "of the largest value" if self.criterion == LargestDifference().name else self.criterion
        return "kind of input", "ids", "output", "largest |Δ|", last

    def __str__(self) -> str:
        return table(self.heads, self.rows(), right=self.heads[3:])

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "runtime": self.runtime,
            "criterion": self.criterion,
            "bound": self.bound,
            "same": self.same,
            "figure": self.figure,
            "results": [vars(each) | {"shape": list(each.shape)} for each in self.results],
            "notes": self.notes,
        }


def prove(
    run: Run,
    right: Run,
    kinds: Mapping[str, Batch],
    *,
    runtime: str,
    criterion: Criterion | None = None,
    seen: Callable[[str], None] = lambda kind: None,
) -> Proof:
    """Run both on every kind of input and compare each output that ``right`` has.

    Args:
        run: the file, by its runtime.  An Exception of it is a failure, with its message.
        right: our model, as :func:`minibert.export.right.right_values` makes it.  Outputs that ``run`` has not are
            failures only where ``right`` gives them.
        kinds: name → inputs.
        runtime: its name and version.
        criterion: default :class:`LargestDifference`.
        seen: called with each kind before it is run.
    """
    by: Criterion = LargestDifference() if criterion is None else criterion
    proof = Proof(runtime, by.name, by.bound)
    for kind, batch in kinds.items():
        seen(kind)
        proof.kinds[kind] = tuple(batch["input_ids"].shape)
        expected = right(batch)
        try:
            found = run(batch)
        except Exception as error:  # of the runtime
            words = f"it does not run: {error}"
            infinite = float("inf")
            proof.results += [
                Measured(kind, n, tuple(v.shape), infinite, infinite, infinite, False, words)
                for n, v in expected.items()
            ]
            continue
        for name, value in expected.items():
            proof.results.append(compared(kind, name, found.get(name), value, batch, by))
    proof.results = by.over_all(proof.results)
    return proof


def compared(
    kind: str, name: str, found: Tensor | None, expected: Tensor, batch: Batch, criterion: Criterion
) -> Measured:
    """One output of one kind."""
    infinite, shape = float("inf"), tuple(expected.shape)
    size = expected.abs()
    largest = float(size.masked_fill(size > HIDDEN, 0.0).max()) if expected.numel() else 0.0
    failure = ""
    if found is None:
        failure = "there is no such output"
    elif found.shape != expected.shape:
        failure = f"its shape is {tuple(found.shape)}, not {shape}"
    elif not bool((found.isfinite() | ~expected.isfinite()).all()):
        failure = "it holds NaN or infinity"
    if failure or found is None:
        return Measured(kind, name, shape, largest, infinite, infinite, False, failure)
    difference = float((found.double() - expected.double()).abs().max()) if expected.numel() else 0.0
    figure = criterion.measure(found, expected, batch)
    return Measured(kind, name, shape, largest, difference, figure, figure <= criterion.bound)
