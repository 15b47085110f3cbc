"""Which values prove nothing, although they are theirs and a mistake makes them: a right program has them, too.

A query that was not loaded stands beside x W_K, which is what exchanging two matrices would make of it; finding that
value in the program says nothing, because every program has it.
"""

import math
from collections.abc import Iterator, Mapping

import torch.nn.functional as F
from torch import Tensor

from minibert.verify.computation import Computation, split
from minibert.verify.hypotheses import Hypothesis
from minibert.verify.returned import Returned


class NoEvidence(Returned):
    """What a value has to be more than, to be evidence."""

    def is_copy(self, batch: str, name: str, value: Tensor, first: int) -> bool:
        """Whether a value only repeats one that was found before, so that finding it proves nothing."""
        axes = self.reference.axes(name)
        counts = self.indexes[batch].counts(axes)
        near = self.units * 2.0**-23 * float(value[counts].abs().max())
        layer = split(name)[0]
        start = 0 if layer is None else max(0, self.order[f"encoder.layer.{layer}.attention.self.query"] - 1)
        if name == "embeddings.sum":  # every program adds two of the three first
            tables = [self.runs[batch][f"embeddings.{kind}_embeddings"] for kind in ("word", "token_type", "position")]
            partly = [tables[0], tables[0] + tables[1], tables[0] + tables[2], tables[1] + tables[2]]
            if any(float((each - value).abs()[counts].max()) <= near for each in partly):
                return True
        roughly = self.units * 2.0**-23 * float(value.abs().max())
        for other in self.names[start:first]:
            known = self.runs[batch].known.get(other)
            if known is None or known.shape != value.shape:
                continue
            if roughly < math.inf and not self.indexes[batch].may_equal(axes, known, value, roughly):
                continue
            if float((known - value).abs()[counts].max()) <= near:
                return True
        return False

    def changes_nothing(self, hypothesis: Hypothesis, i: int, runs: Mapping[str, Computation]) -> bool:
        """Whether a formula for one value makes the same value as now, so that it explains nothing."""
        if len(hypothesis.replaced) > 1 or hypothesis.weights_of:
            return False
        (name,) = hypothesis.replaced
        same = True
        for batch in self.batches:
            counts = self.indexes[batch].counts(self.reference.axes(name))
            try:
                now, then = self.runs[batch][name][counts], runs[batch][name][counts]
            except (RuntimeError, IndexError):  # a formula that this shape of model cannot have
                return True
            near = self.units * 2.0**-23 * float(now.abs().max())
            same = same and now.shape == then.shape and float((now - then).abs().max()) <= near
        self.forget(i)
        return same

    def is_in_every_program(self, batch: str, name: str, value: Tensor) -> bool:
        """Whether a value is there even where nothing is wrong, so that finding it proves nothing.

        What is returned proves something, and what somebody chose to record.
        """
        if not self.observations[batch].in_order:
            return False
        counts = self.indexes[batch].counts(self.reference.axes(name))
        near = self.units * 2.0**-23 * float(value[counts].abs().max())
        beside = list(self.beside(batch, name))
        parts = [value]
        if split(name)[1].startswith("attention.self."):  # a program that cuts projections apart has each head of them
            beside += [head for each in beside for head in each.chunk(self.sizes["N"], dim=-1)]
            parts += value.chunk(self.sizes["N"], dim=-1)
        same = [any(b.shape == a.shape and float((b - a).abs()[counts].max()) <= near for b in beside) for a in parts]
        if not same[0] and not (len(same) > 1 and all(same[1:])):
            return False
        returned = self.observations[batch].outputs
        return not any(self.is_output(batch, each, name, value) for each in returned)

    def beside(self, batch: str, name: str) -> Iterator[Tensor]:
        """What stands beside a value in a right program: other projections, the pooler's input, steps on the way."""
        layer, local = split(name)
        run, weight, names = self.runs[batch], self.reference.weight, self.reference.weights
        prefix = "" if layer is None else f"encoder.layer.{run.weights_of.get(layer, layer)}."
        projections = [f"attention.self.{part}" for part in ("query", "key", "value")]
        if local in projections:
            x = run[f"encoder.layer.{layer - 1}.output" if layer else "embeddings"]
            for module in projections:
                yield F.linear(x, weight(f"{prefix}{module}.weight"), weight(f"{prefix}{module}.bias"))
        elif local in ("pooler.dense", "pooler"):
            yield run[f"encoder.layer.{self.reference.config.num_hidden_layers - 1}.output"][:, 0]
        if f"{prefix}{local}.bias" in names:  # before the bias
            yield run[name] - weight(f"{prefix}{local}.bias")
        if f"{prefix}{local}.LayerNorm.bias" in names:  # before β, before γ
            scaled = run[name] - weight(f"{prefix}{local}.LayerNorm.bias")
            yield from (scaled, scaled / weight(f"{prefix}{local}.LayerNorm.weight"))
