"""What may be wrong at a value: every known mistake, other weights, layers in another order."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from minibert.verify.computation import Formula, split
from minibert.verify.mistakes import Mistake
from minibert.verify.state import State


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """What may be wrong, and the formulas that take the place of the right ones."""

    mistakes: tuple[Mistake, ...]
    replaced: Mapping[str, Formula]  # by full name
    weights_of: Mapping[int, int] = field(default_factory=dict)
    also: tuple[Mistake, ...] = ()  # made together with the others, inside one fused operation

    def first(self, order: Mapping[str, int]) -> int:
        """The number of the first value that it changes."""
        return min(order[name] for name in self.replaced)


class Hypotheses(State):
    """Where they come from."""

    def hypotheses(self, i: int) -> Iterator[Hypothesis]:
        """What may be wrong at a value, or after it in the same part."""
        name = self.names[i]
        layer, local = split(name)
        part = "embeddings" if local.startswith("embeddings") else "heads" if layer is None else "layer"
        prefix = "" if layer is None else f"encoder.layer.{layer}."
        for mistake in self.table[part]:
            full = {prefix + value: formula for value, formula in mistake.formulas.items()}
            first = prefix + mistake.first
            # The right value may be there and not be what they go on with: a table looked up in vain.
            unused = self.order[first] < i and first in self.sources[name]
            if unused or (self.order[first] >= i and name in self.sources[first]):
                yield Hypothesis((mistake,), full)
        if layer is not None:
            yield from self.layers(layer)

    def other_weights(self, i: int) -> Iterator[Hypothesis]:
        """The right formula with weights of theirs that are not in the checkpoint."""
        layer = split(self.names[i])[0]
        if layer is not None and layer in self.runs[self.batches[0]].weights_of:
            return
        for mistake in self.their_weights.mistakes(self.names[i]):
            yield Hypothesis((mistake,), {self.names[i]: mistake.formulas[mistake.first]})

    def assigned(self, i: int, found: Sequence[Hypothesis]) -> Iterator[Hypothesis]:
        """Several matrices of theirs that fit a projection, as those of query, key and value in every order.

        Each of their products is in their program; which is which shows in the scores and the context.
        """
        layer, local = split(self.names[i])
        projections = [f"attention.self.{name}" for name in ("query", "key", "value")]
        weights = dict.fromkeys(each.mistakes[0].details.get("weight", "") for each in found)
        if layer is None or local not in projections or not 1 < len(weights) <= 3:
            return
        prefix = f"encoder.layer.{layer}."
        here = projections[projections.index(local) :]
        for points in permutations(here, min(len(weights), len(here))):
            if local not in points:
                continue
            formulas: dict[str, Formula] = {}
            for point, weight in zip(points, weights, strict=False):
                for mistake in self.their_weights.mistakes(prefix + point):
                    if mistake.details.get("weight") == weight:
                        formulas.setdefault(point, mistake.formulas[point])
            told = ", ".join(weights)
            several = Mistake(
                "weights.not_loaded", formulas, f"{', '.join(points)}: {told}", {"where": "", "weight": told}
            )
            yield Hypothesis((several,), {prefix + point: formula for point, formula in formulas.items()})

    def layers(self, k: int) -> Iterator[Hypothesis]:
        """What may be wrong with whole layers."""
        L = self.reference.config.num_hidden_layers
        for other in range(L):
            if other != k:
                details = {"layer": str(k), "other": str(other)}
                same = {name: self.formula(name) for name in self.names if split(name)[0] == k}
                mistake = Mistake("layers.order", same, f"layer {k} with the weights of {other}", details)
                yield Hypothesis((mistake,), same, {k: other})
        for other in range(k + 1, L):
            details = {"layers": f"{k} and {other}"}
            same = {name: self.formula(name) for name in self.names if split(name)[0] in (k, other)}
            mistake = Mistake("layers.exchanged", same, f"layers {k} and {other} exchanged", details)
            yield Hypothesis((mistake,), same, {k: other, other: k})
        left_out: dict[str, Formula] = {f"encoder.layer.{k}.output": lambda s: s["x"]}
        yield Hypothesis((Mistake("layers.skipped", left_out, f"layer {k} left out", {"layer": str(k)}),), left_out)
        if k:
            twice: dict[str, Formula] = {f"encoder.layer.{k - 1}.output": lambda s: s.c.layer(k - 1, s.right("output"))}
            again = Mistake("layers.repeated", twice, f"layer {k - 1} twice", {"layer": str(k - 1)})
            yield Hypothesis((again,), twice)

    def systematic(self, i: int) -> Iterator[Hypothesis]:
        """A mistake wherever it can be made, for runs of which little was recorded."""
        L = self.reference.config.num_hidden_layers
        everywhere: dict[str, list[tuple[Mistake, dict[str, Formula]]]] = {}
        for part, mistakes in self.table.items():
            prefixes = [f"encoder.layer.{k}." for k in range(L)] if part == "layer" else [""]
            for mistake in mistakes:
                full = {prefix + name: formula for prefix in prefixes for name, formula in mistake.formulas.items()}
                full = {name: formula for name, formula in full.items() if self.order[name] >= i}
                if full:
                    everywhere.setdefault(mistake.name, []).append((mistake, full))
        for several in everywhere.values():
            for mistake, full in several:
                yield Hypothesis((mistake,), full)
            if len(several) > 1:
                together: dict[str, Formula] = {}
                for _, full in several:
                    together |= full
                yield Hypothesis(tuple(mistake for mistake, _ in several), together)
        first = split(self.names[i])[0] or 0
        for k in range(first, L):
            yield from self.layers(k)
