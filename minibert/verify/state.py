"""What a search knows at any moment: their values, the computation that follows them, and what was found so far."""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from minibert.verify.computation import Computation, Formula, Reference, sources, split
from minibert.verify.explanation import Finding, PointFound
from minibert.verify.layouts import Index, Value
from minibert.verify.mistakes import Mistake, known_mistakes
from minibert.verify.observe import Observation
from minibert.verify.their_weights import TheirWeights


class State:
    """Shared by the parts of the search."""

    def __init__(
        self,
        reference: Reference,
        batches: Mapping[str, Mapping[str, Tensor]],
        runs: Mapping[str, Observation],
        units: float,
    ) -> None:
        self.reference, self.units = reference, units
        self.names = reference.names
        self.order = {name: number for number, name in enumerate(self.names)}
        self.sizes = reference.sizes
        # The batch with most padding first: most mistakes show there.
        ordered = sorted(batches, key=lambda name: -int((batches[name]["attention_mask"] == 0).sum()))
        self.indexes = {n: Index(runs[n].values, batches[n]["attention_mask"].bool(), self.sizes) for n in ordered}
        self.runs = {n: Computation(reference, batches[n]) for n in ordered}
        self.batches, self.observations = ordered, runs
        self.cheapest = sorted(ordered, key=lambda name: batches[name]["input_ids"].numel())
        self.sources = sources(reference)
        self.rows = {name: PointFound(name, "not reached") for name in self.names}
        self.findings: list[Finding] = []
        self.short: dict[str, torch.dtype] = {}  # values that were found in a dtype shorter than the reference's
        self.rough: list[str] = []  # values that are further off than usual, as their formula in float32 is
        self.last = -1  # the number of the last value of theirs that was found
        self.used: set[Value] = set()  # those that were found
        self.accepted: set[tuple[str, ...]] = set()  # mistakes with their points: none is found twice
        self.pairs: set[tuple[str, str]] = set()  # of mistakes that were found inside one fused kernel
        self.sentences: dict[
            str, set[Value]
        ] = {}  # by batch: values after the last hidden states that are those, pooled
        self.changed: set[str] = set()  # points whose formula holds a mistake

    @cached_property
    def ends(self) -> dict[int | None, int]:
        """Layer → the number of the first value after it; None: of the heads."""
        return {split(name)[0]: number + 1 for number, name in enumerate(self.names)}

    def end_of(self, number: int) -> int:
        """The number of the first value after the part that a value is in."""
        in_embeddings = self.names[number].startswith("embeddings")
        return self.order["embeddings"] + 1 if in_embeddings else self.ends[split(self.names[number])[0]]

    @cached_property
    def table(self) -> dict[str, list[Mistake]]:
        """All known mistakes by part."""
        return {part: list(known_mistakes(self.reference, part)) for part in ("embeddings", "layer", "heads")}

    def formula(self, name: str) -> Formula:
        """The formula a value has now."""
        local = split(name)[1]
        return self.runs[self.batches[0]].replaced.get(name) or (lambda s: s.right(local))

    def forget(self, i: int) -> None:
        """Drop the values from a number on, which were computed only to look ahead."""
        for run in self.runs.values():
            for name in self.names[i:]:
                run.known.pop(name, None)

    @cached_property
    def their_weights(self) -> TheirWeights:
        """What their program computes with."""
        return TheirWeights(self.observations[self.batches[0]].weights, self.reference)
