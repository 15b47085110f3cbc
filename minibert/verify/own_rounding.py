"""How far a formula is off by itself, computed in float32: where numbers are large and cancel, further than elsewhere.

Rounding is told in units in the last place of a value's largest number.  After a mistake, such as a LayerNorm that is
missing, a product may add numbers a hundred times as large as its result, and a right program is off by more units.
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from minibert.verify.computation import Computation, Doubles

TIMES = 8.0  # what is still rounding: so many times what this program is off, for sums in another order


class Singles(Doubles):
    """Weights in float32."""

    def of(self, weight: Tensor) -> Tensor:
        """The weight in float32, itself where it is."""
        return weight.float()


@dataclass
class SingleValues(dict[str, Tensor]):
    """Values in float32, converted when they are asked for; but for those that are to be computed."""

    origin: Mapping[str, Tensor]
    computed: Container[str]
    own: dict[str, Tensor] = field(default_factory=dict)

    def __contains__(self, name: object) -> bool:
        return name in self.own or (name not in self.computed and name in self.origin)

    def __getitem__(self, name: str) -> Tensor:
        return self.own[name] if name in self.own else self.origin[name].float()

    def __setitem__(self, name: str, value: Tensor) -> None:
        self.own[name] = value.float()


def in_single(run: Computation, computed: Container[str]) -> Computation:
    """A run in float32 from the values that are known; ``computed``: the values to compute again."""
    single = replace(run.reference, doubles=Singles())
    return Computation(single, run.batch, SingleValues(run.known, computed), run.replaced, run.weights_of)


def own_rounding(run: Computation, single: Computation, name: str, counts: Tensor) -> float:
    """The largest error of a value's formula in float32, in units in the last place of its largest number.

    ``single``: the run in float32, which keeps what it computes; ``counts``: where the value counts.
    """
    value, right = single[name], run[name]
    largest = float(right[counts].abs().max())
    far = float((value - right).abs()[counts].max())
    return far / (largest * torch.finfo(torch.float32).eps) if largest else 0.0
