"""How the vectors of a corpus are stored: their precision, and the ranges of int8 and uint8.

The manifest's ``output`` has the precision (a corpus without it is float32), its ``quantization`` the ranges, taken
from a sample before the first shard (sample.py).  So every shard, whoever makes it and whenever, has the same buckets.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from minibert.embedding.precision import (
    BUCKETED,
    PACKED,
    PRECISIONS,
    check_ranges,
    dequantize_embeddings,
    quantize_embeddings,
    steps_of,
    stored_width,
)
from minibert.errors import CheckpointError, InputError


@dataclass(frozen=True)
class VectorFormat:
    """What the rows of a shard are."""

    precision: str
    width: int  # W, numbers of a vector
    ranges: Tensor | None = None  # (2, W) float32, of int8 and uint8; None where no vector was sampled

    @property
    def dtype(self) -> torch.dtype:
        """Of what is stored."""
        return PRECISIONS[self.precision]

    @property
    def columns(self) -> int:
        """Numbers of ``dtype`` in a row: W, or W / 8 rounded up for bits."""
        return stored_width(self.precision, self.width)

    @property
    def is_packed(self) -> bool:
        """Whether a row is bits."""
        return self.precision in PACKED

    def quantize(self, vectors: Tensor) -> Tensor:
        """(n, W) float32 as (n, ``columns``) of ``dtype``."""
        return vectors if self.precision == "float32" else quantize_embeddings(vectors, self.precision, self.ranges)

    def dequantize(self, stored: Tensor) -> Tensor:
        """(n, ``columns``) of ``dtype`` as (n, W) float64."""
        if not len(stored):  # there may be no ranges
            return torch.empty(0, self.width, dtype=torch.float64)
        return dequantize_embeddings(stored, self.precision, self.width, self.ranges)

    def roughly(self, stored: Tensor) -> Tensor:
        """:meth:`dequantize` in float32, (n, W): exact but for int8 and uint8.

        Of these, each number is within 3 · 2⁻²⁴ times (its own size and that of its range) of the float64 one.
        """
        if self.precision not in BUCKETED:
            return stored.float() if not self.is_packed else self.dequantize(stored).float()
        if self.ranges is None:
            return torch.empty(0, self.width)
        middles = stored.float().add_(128.5 if self.precision == "int8" else 0.5)
        return torch.minimum(middles.mul_(steps_of(self.ranges)).add_(self.ranges[0]), self.ranges[1])

    @cached_property
    def reach(self) -> float:
        """The length of the vector of the ranges' lengths; 0 where there are none."""
        return 0.0 if self.ranges is None else (self.ranges[1].double() - self.ranges[0].double()).norm().item()

    def clipped(self, vectors: Tensor) -> int:
        """How many of the numbers of (n, W) lie beyond the ranges."""
        if self.ranges is None:
            return 0
        return int(((vectors < self.ranges[0]) | (vectors > self.ranges[1])).sum())


def read_format(plan: dict[str, Any], path: object) -> VectorFormat:
    """The format that a manifest describes; CheckpointError where its parts do not fit together.

    ``path``: of the manifest, for the message.
    """
    output = plan["output"]
    precision, width = output.get("precision", "float32"), output["width"]
    if precision not in PRECISIONS or output["dtype"] != dtype_name(precision):
        raise CheckpointError(
            f"{path} is damaged: its vectors are {precision!r} in {output['dtype']!r}; there are "
            f"{', '.join(PRECISIONS)}. Embed the corpus anew."
        )
    if precision not in BUCKETED:
        return VectorFormat(precision, width)
    quantization = plan.get("quantization")
    if not isinstance(quantization, dict) or not {"sample", "ranges"} <= quantization.keys():
        raise CheckpointError(f"{path} is damaged: {precision} needs ranges, and it has none. Embed the corpus anew.")
    if quantization["sample"] == 0 and quantization["ranges"] is None:
        return VectorFormat(precision, width)  # no vector, no bucket
    try:
        ranges = check_ranges(quantization["ranges"], width)
    except InputError as error:
        raise CheckpointError(f"{path} is damaged: {error} Embed the corpus anew.") from error
    return VectorFormat(precision, width, ranges)


def dtype_name(precision: str) -> str:
    """``"int8"`` for ``"binary"``: the type of the numbers in the files."""
    return str(PRECISIONS[precision]).removeprefix("torch.")
