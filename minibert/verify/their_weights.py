"""The weights that a program computes with: which of the checkpoint's it uses, and which are none of them.

The most frequent state of a port is one whose weights were not all loaded: a name did not fit, and a matrix stayed as
it was drawn.  Its value is then wrong for no reason that a formula could tell, but the weight can be seen: it was given
to an operation, and it is not in the checkpoint.  A weight is known by sums of its numbers, which no transposition or
reshape changes.  Start with :class:`TheirWeights`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from minibert.verify.computation import FORMULAS, Reference, Scope, split
from minibert.verify.mistakes import Mistake
from minibert.verify.mistakes.mistake import with_value
from minibert.verify.observe import Weight

SAME = 1e-4  # relative: nearer sums are of the same numbers, rounded to a shorter dtype perhaps
UNRELATED = 0.5  # cosine: below it two weights have nothing to do with each other
MOST = 24  # matrices of one shape that are tried, and a third as many biases with each
TABLES = ("word_embeddings", "token_type_embeddings", "position_embeddings")


def module_of(local: str) -> str | None:
    """The module with the weights of a value (its name in its layer); None where it has none."""
    if local in ("embeddings", "attention.output", "output", "cls.predictions.transform"):
        return f"{local}.LayerNorm"
    if local == "cls.predictions":
        return f"{local}.decoder"
    tables = [f"embeddings.{table}" for table in TABLES]
    projections = [f"attention.self.{name}" for name in ("query", "key", "value")]
    others = ("cls.seq_relationship", "classifier", "qa_outputs")
    return local if local.endswith(".dense") or local in (*tables, *projections, *others) else None


@dataclass(frozen=True)
class OtherWeights(Scope):
    """A scope in which some weights are others; by their names in the layer."""

    others: Mapping[str, Tensor] = field(default_factory=dict)

    def w(self, name: str) -> Tensor:
        """A weight: the other one where there is one."""
        return self.others[name] if name in self.others else super().w(name)

    def rows(self, table: str, ids: Tensor) -> Tensor:
        """Rows of a table: of the other one where there is one."""
        return self.others[f"{table}.weight"][ids] if f"{table}.weight" in self.others else super().rows(table, ids)


class TheirWeights:
    """What was given to the operations of a program and made by none of them."""

    def __init__(self, weights: Sequence[Weight], reference: Reference) -> None:
        self.weights, self.reference = weights, reference

    @cached_property
    def known(self) -> dict[int, list[tuple[str, tuple[float, float]]]]:
        """The checkpoint's weights by their number of numbers: names and sums."""
        found: dict[int, list[tuple[str, tuple[float, float]]]] = {}
        for name, weight in self.reference.weights.items():
            found.setdefault(weight.numel(), []).append((name, sums(weight)))
        return found

    @cached_property
    def parts(self) -> list[tuple[Weight, tuple[str, ...]]]:
        """Every weight, and what a fused one is made of, each with the checkpoint's weights that it equals."""
        parts = []
        for weight in self.weights:
            for part in (weight, *thirds(weight, self.reference.config.hidden_size)):
                parts.append((part, self.names_of(part.tensor)))
        return parts

    def names_of(self, weight: Tensor) -> tuple[str, ...]:
        """The names of the checkpoint's weights with the same numbers."""
        candidates = self.known.get(weight.numel(), [])
        own = sums(weight) if candidates else (0.0, 0.0)
        return tuple(name for name, theirs in candidates if agree(own, theirs))

    def uses(self, point: str) -> bool:
        """Whether a value's matrix was given to an operation; one that is tied to the embeddings is no sign of it."""
        module = module_of(split(point)[1])
        name = f"{prefix_of(point)}{module}.weight"
        tables = {f"embeddings.{table}.weight" for table in TABLES}
        return module is not None and any(name in names and not tables & set(names) for _, names in self.parts)

    @cached_property
    def not_loaded(self) -> Mistake | None:
        """That most of the checkpoint was not loaded: then no value after the first wrong one says anything."""
        matrices = [weight for weight in self.reference.weights.values() if weight.dim() == 2]
        parts = [(part, names) for part, names in self.parts if part.tensor.dim() == 2]
        used = {name for _, names in parts for name in names}
        if len(used) * 4 > len(matrices):
            return None
        drawn = [
            part for part, names in parts if not names and not any(resembles(part.tensor, each) for each in matrices)
        ]
        if len(drawn) * 2 < max(8, len(matrices)):
            return None
        shown = ", ".join(part.name for part in drawn[:3]) + (", …" if len(drawn) > 3 else "")
        details = {"count": str(len(drawn)), "weight": shown, "all": str(len(matrices))}
        return Mistake("weights.none_loaded", {}, "", details)

    def foreign(self, name: str) -> list[Weight]:
        """Those that could be one of the checkpoint's by their shape, or transposed, and are none of its.

        One with the same numbers in another order is none, either.
        """
        right = self.reference.weights[name]
        shapes = {right.shape, torch.Size(reversed(right.shape))}
        alike = [(weight, names) for weight, names in self.parts if weight.tensor.shape in shapes]
        found = [weight for weight, names in alike if not names or (name in names and differs(weight.tensor, right))]
        return found[: MOST if right.dim() > 1 else MOST // 3]

    def mistakes(self, point: str) -> Iterator[Mistake]:
        """A value's formula with weights of theirs that are none of the checkpoint's."""
        local = split(point)[1]
        module = module_of(local)
        if module is None:
            return
        yield from self.of_other_layers(point, module)
        right = {
            f"{module}.{kind}": self.reference.weights[f"{prefix_of(point)}{module}.{kind}"]
            for kind in ("weight", "bias")
            if f"{prefix_of(point)}{module}.{kind}" in self.reference.weights
        }
        weight, bias = f"{module}.weight", f"{module}.bias"
        matrices = both_ways(self.foreign(prefix_of(point) + weight), right[weight])
        vectors: list[Weight] = []
        if bias in right:  # theirs, or none at all
            vectors = [*self.foreign(prefix_of(point) + bias), Weight("", 0 * right[bias])]
        for matrix in [None, *matrices]:
            for vector in [None, *vectors]:
                changed = {name: one for name, one in ((weight, matrix), (bias, vector)) if one is not None}
                if any(one.name for one in changed.values()):
                    yield self.mistake(point, local, right, changed)

    def of_other_layers(self, point: str, module: str) -> Iterator[Mistake]:
        """A value's formula with the weights of another layer."""
        layer, local = split(point)
        for other in range(self.reference.config.num_hidden_layers) if layer is not None else ():
            if other != layer:
                names = [f"{module}.{kind}" for kind in ("weight", "bias")]
                others = {name: self.reference.weight(f"encoder.layer.{other}.{name}") for name in names}
                formula = with_value(others, lambda s, w: FORMULAS[local](OtherWeights(s.c, s.layer, w)))
                details = {"where": point, "layer": str(other)}
                yield Mistake("weights.of_layer", {local: formula}, f"{module} of layer {other}", details)

    def mistake(self, point: str, local: str, right: Mapping[str, Tensor], changed: Mapping[str, Weight]) -> Mistake:
        """The mistake of other weights in the place of some."""
        others = {name: weight.tensor.detach().to("cpu", torch.float64) for name, weight in changed.items()}
        formula = with_value(others, lambda s, w: FORMULAS[local](OtherWeights(s.c, s.layer, w)))
        name, theirs = next((name, weight) for name, weight in changed.items() if weight.name)
        details = {"where": prefix_of(point) + name, "weight": theirs.name}
        letters = f"{name} = {theirs.name}"
        tied = name == "cls.predictions.decoder.weight" and torch.equal(
            self.reference.weights[name], self.reference.weights["embeddings.word_embeddings.weight"]
        )
        moved = self.names_of(theirs.tensor)  # the same numbers, in other places
        if cosine(others[name], right[name]) < UNRELATED and not moved:
            return Mistake("decoder.not_tied" if tied else "weights.not_loaded", {local: formula}, letters, details)
        away = float((others[name] - right[name].double()).abs().max() / right[name].double().abs().max())
        return Mistake("weights.changed", {local: formula}, letters, {**details, "largest": f"{away:.2g}"})


def prefix_of(point: str) -> str:
    """What stands before a value's name in its layer."""
    layer = split(point)[0]
    return "" if layer is None else f"encoder.layer.{layer}."


def sums(weight: Tensor) -> tuple[float, float]:
    """The sum of a weight's numbers, and that of their squares."""
    numbers = weight.detach().to("cpu", torch.float64)
    return float(numbers.sum()), float(numbers.square().sum())


def agree(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Whether they are sums of the same numbers, within the rounding of a shorter dtype."""
    scale = max(one[1], other[1])
    return abs(one[1] - other[1]) <= SAME * scale and abs(one[0] - other[0]) <= SAME * max(scale, abs(one[0]))


def thirds(weight: Weight, H: int) -> Iterator[Weight]:
    """Queries, keys and values of a fused weight."""
    for axis, size in enumerate(weight.tensor.shape):
        if size == 3 * H:
            for number, part in enumerate(weight.tensor.chunk(3, dim=axis)):
                yield Weight(f"{weight.name}, part {number + 1} of 3", part)


def both_ways(weights: Sequence[Weight], right: Tensor) -> Iterator[Weight]:
    """Matrices as (outputs, inputs); a square one does not tell which way it stands."""
    for weight in weights:
        first, *others = standing_as(weight.tensor, right)
        yield Weight(weight.name, first)
        yield from (Weight(f"{weight.name} transposed", each) for each in others)


def differs(weight: Tensor, right: Tensor) -> bool:
    """Whether two weights with the same numbers have them in other places, whichever way the first one stands."""
    return all(cosine(each, right) < 1 - SAME for each in standing_as(weight, right))


def resembles(weight: Tensor, right: Tensor) -> bool:
    """Whether a matrix has something to do with one of the checkpoint, whichever way it stands."""
    return any(cosine(each, right) >= UNRELATED for each in standing_as(weight, right))


def standing_as(weight: Tensor, right: Tensor) -> list[Tensor]:
    """A weight in each of the ways in which it has the shape of another: as it is, and transposed."""
    turned = [weight.T] if weight.dim() == 2 else []
    return [each for each in (weight, *turned) if each.shape == right.shape]


def cosine(a: Tensor, b: Tensor) -> float:
    """Of two weights of one shape, as long vectors."""
    a, b = a.detach().double().flatten(), b.detach().double().flatten()
    return float(a @ b / (a.norm() * b.norm()).clamp(min=1e-300))
