"""A sample of a corpus' rows, drawn before the first shard: what the buckets are, and what is lost.

:class:`Sample` keeps up to 1,000 rows of the input while it is read for the first time; each row has the same chance
(Vitter's algorithm R, with a fixed seed, so that every worker draws the same rows).  :func:`measure_loss` searches for
each of them among the others as :func:`minibert.corpus.nearest` does, once in float32 and once in what is stored.
"""

import random
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.corpus.vector_format import VectorFormat
from minibert.data.columns import TextRow
from minibert.embedding.precision import BUCKETED, ranges_of

SAMPLE_ROWS = 1000
NEAREST = 10  # that are compared
BLOCK = 100  # rows that are compared with all others at once
# Of its length, by which a range is widened at both ends where there are rows outside the sample.  Clipping costs more
# than wider buckets: of the rows outside a sample of 1,000 (MiniLM, novels), the least cosine with float32 is 0.9945
# without it and 0.9991 with it, the mean 0.99984 and 0.99995 (scripts/studies/vector_precision.py).
WIDENING = 0.25
# Rows whose bits are nearest, for each hit that is asked for: these are scored with the query's own numbers.  With ten,
# a search finds nearly all that it would find without candidates (the same script); sentence-transformers'
# documentation takes four.
CANDIDATES_PER_HIT = 10


class Sample:
    """Rows that were seen, up to SAMPLE_ROWS of them, each with the same chance."""

    def __init__(self) -> None:
        self.kept: list[TextRow] = []
        self.seen = 0
        self.draw = random.Random(0)

    def add(self, row: TextRow) -> None:
        """Keep the row, or not."""
        self.seen += 1
        if len(self.kept) < SAMPLE_ROWS:
            self.kept.append(row)
        elif (place := int(self.draw.random() * self.seen)) < SAMPLE_ROWS:
            self.kept[place] = row

    @property
    def is_all(self) -> bool:
        """Whether every row that was seen is in the sample."""
        return self.seen == len(self.kept)

    def texts(self) -> list[str]:
        """The texts in the input's order."""
        return [row.text for row in sorted(self.kept)]


def quantization_of(vectors: Tensor, precision: str, is_all: bool) -> dict[str, Any]:
    """The manifest's ``quantization``: the size of the sample, the ranges of int8 and uint8, and the loss.

    ``vectors``: (n, W) float32, of the sample.  ``is_all``: whether there are no other rows, whose numbers may lie
    beyond those of the sample.
    """
    ranges = ranges_of(vectors) if precision in BUCKETED and len(vectors) else None
    if ranges is not None and not is_all:
        margin = (ranges[1] - ranges[0]) * WIDENING
        ranges = torch.stack((ranges[0] - margin, ranges[1] + margin))
    stored_as = VectorFormat(precision, vectors.shape[1], ranges)
    with_ranges = {"ranges": None if ranges is None else ranges.tolist()} if precision in BUCKETED else {}
    return {"sample": len(vectors), **with_ranges, "loss": measure_loss(vectors, stored_as)}


def measure_loss(vectors: Tensor, stored_as: VectorFormat) -> dict[str, float | None]:
    """What storing ``vectors``, (n, W) float32, changes.

    ``cosine_mean``, ``cosine_p1`` (1st percentile) and ``cosine_min`` of each vector with what is read back;
    ``same_nearest``, how often the nearest other row stays the same, and ``same_top10``, how many of the ten nearest
    others are among the ten, from 0 to 1.  A vector of zeros has no cosine.  None where there is nothing to compare.
    """
    exact, stored = F.normalize(vectors.double(), dim=1), stored_as.dequantize(stored_as.quantize(vectors))
    read_back = F.normalize(stored, dim=1)
    cosines = (exact * read_back).sum(dim=1)[exact.norm(dim=1) > 0]
    loss: dict[str, float | None] = dict.fromkeys(
        ("cosine_mean", "cosine_p1", "cosine_min", "same_nearest", "same_top10")
    )
    if len(cosines):
        loss |= {
            "cosine_mean": rounded(cosines),
            "cosine_p1": rounded(cosines.quantile(0.01)),
            "cosine_min": rounded(cosines.min()),
        }
    if len(vectors) > 1:
        same, kept = zip(*same_neighbours(exact, read_back, stored if stored_as.is_packed else None), strict=True)
        loss |= {"same_nearest": rounded(torch.cat(same)), "same_top10": rounded(torch.cat(kept))}
    return loss


def same_neighbours(exact: Tensor, read_back: Tensor, signs: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
    """For each row of a block whether its nearest other row stays the same, and which of the ten nearest stay.

    ``exact`` and ``read_back``: (n, W) float64 of unit length.  ``signs``: (n, W), 1 and -1, of a corpus of bits.
    """
    for start in range(0, len(exact), BLOCK):
        own = torch.arange(start, min(start + BLOCK, len(exact)))[:, None]
        queries = exact[start : start + BLOCK]
        expected, scores = nearest_others(queries @ exact.T, own), queries @ read_back.T
        if signs is not None:
            scores = scores.where(are_candidates(signs, own), -2)
        found = nearest_others(scores, own)
        in_both = (expected[:, :, None] == found[:, None, :]).any(dim=2)
        yield (expected[:, 0] == found[:, 0]).double(), in_both.double()


def nearest_others(scores: Tensor, own: Tensor) -> Tensor:
    """For each row of scores, (m, n), the numbers of the ten highest but its ``own``: (m, 10), equal ones in order."""
    others = scores.float().scatter_(1, own, -3)
    return others.sort(dim=1, descending=True, stable=True).indices[:, : min(NEAREST, scores.shape[1] - 1)]


def are_candidates(signs: Tensor, own: Tensor) -> Tensor:
    """For each row of 1 and -1 that ``own``, (m, 1), names, the others whose bits are nearest: (m, n) bool."""
    distances = signs.shape[1] - signs[own[:, 0]] @ signs.T  # twice the number of different bits, exact
    order = distances.scatter_(1, own, torch.inf).sort(dim=1, stable=True).indices
    chosen = order[:, : CANDIDATES_PER_HIT * NEAREST]
    return torch.zeros(distances.shape, dtype=torch.bool).scatter_(1, chosen, True)


def rounded(values: Tensor) -> float:
    """The mean to six digits: what another number of threads changes is far behind them."""
    return round(values.mean().item(), 6)
