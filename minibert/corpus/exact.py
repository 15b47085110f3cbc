"""The exact nearest rows: a first look in float32 at the speed of memory, and float64 for the few that may be near.

The score of a row x for a query q of unit length is what it always was: x · q / max(|x|, 1e-12) in float64, rounded to
float32; equal scores come in input order.  To compute it for every row is slow.  :class:`NearestRows` computes it only
for rows whose float32 score is not too low, and :func:`error_bound` says how low is too low.
"""

import torch
from torch import Tensor

from minibert.corpus.opened import SHORTEST, SHORTEST_SHARE, Block
from minibert.corpus.vector_format import VectorFormat

ROUNDING = 2.0**-24  # u: the relative error of one float32 operation
NUMBERS = 1 << 21  # of a piece of a block, or of its scores, that are worked on at once: they stay in the cache
PAIRS = 2048  # of a row and a query whose float64 scores are computed at once


def error_bound(stored_as: VectorFormat) -> float:
    """How far a rough score, in float32, can be from the score, whatever the order of the sums.

    Let u = 2⁻²⁴ and W the width.  A float32 sum of W products, with or without fused multiply-add, in any order, is
    within W u / (1 - W u) · Σ|xᵢ||qᵢ| of the true one, and Σ|xᵢ||qᵢ| ≤ |x||q| = |x| (Higham, "Accuracy and Stability
    of Numerical Algorithms", 2nd ed., sections 3.1 and 4.2).  So, relative to |x|:

    - the product with q, of which each number was rounded to float32 once: (W + 1) u;
    - the length, of which the squares are summed likewise and the root halves the error, plus the rounding of the root
      and of the reciprocal: (W / 2 + 2) u, times the score, at most 1;
    - the multiplication by the reciprocal, the rounding of the score itself to float32, and that of the limit that
      rough scores are compared with: 3 u;
    - int8 and uint8: a number in float32 is 3 u (|xᵢ| + its range) off, and a vector at least SHORTEST_SHARE of the
      ranges' length: (6 + 6 / SHORTEST_SHARE) u, for the product and for the length.

    Together below (1.5 W + 6 + …) u; two more for products of errors (W u is at most 2⁻⁸ for W ≤ 65,536, and the sum is
    multiplied by 1.01), for numbers too small for float32 (W · 2⁻¹²⁵ / SHORTEST), and for float64's own rounding.
    Vectors whose length is outside SHORTEST and LONGEST are not judged by a rough score.
    """
    terms = 1.5 * stored_as.width + 8
    if stored_as.ranges is not None:
        terms += 6 + 6 / SHORTEST_SHARE
    return 1.01 * terms * ROUNDING + stored_as.width * 2.0**-125 / SHORTEST


def exact_scores(vectors: Tensor, queries: Tensor) -> Tensor:
    """The scores of vectors, (m, W) float64, each for its own query, (m, W) float64 of unit length: (m,) float32.

    Rounded at the end: equal vectors get equal scores, wherever they are.
    """
    lengths: Tensor = torch.linalg.vector_norm(vectors, dim=1)
    return ((vectors * queries).sum(dim=1) / lengths.clamp(min=1e-12)).float()


class NearestRows:
    """The ``count`` nearest rows of each query among those that were looked at; blocks come in input order."""

    def __init__(self, queries: Tensor, count: int, stored_as: VectorFormat) -> None:
        """``queries``: (Q, W) float64 of unit length."""
        self.exact, self.count, self.stored_as = queries, count, stored_as
        self.rough = queries.float()
        # A setting of torch lets float32 products use fewer digits; the bound is not of those.
        self.is_float32 = torch.get_float32_matmul_precision() == "highest" and stored_as.width <= 1 << 16
        self.bound = error_bound(stored_as)
        # One query is looked for twice.  A product with two columns reads at memory speed, one with a single column,
        # a matrix-vector product, at half of it, on an EPYC with AVX-512.
        self.columns = torch.cat((self.rough[:1], self.rough[:1])).T
        self.rows_at_once = max(64, NUMBERS // max(stored_as.width, len(queries)))
        # What was found, sorted by query, then score, then row.
        self.query = torch.empty(0, dtype=torch.int64)
        self.score, self.row = torch.empty(0), torch.empty(0, dtype=torch.int64)
        self.least = torch.full((len(queries),), -torch.inf)  # the score that a row must exceed
        self.limits = self.least - self.bound  # the rough score that it must have at least
        self.waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def look_at(self, block: Block) -> None:
        """Take the rows of a block into account."""
        if not block.stored.shape[0]:  # a shard of rows that could not be read
            return
        if block.stored.shape[0] <= self.rows_at_once:
            self.look(block.start, block.stored, block.inverses, block.special)
            return
        for start in range(0, block.stored.shape[0], self.rows_at_once):
            end = start + self.rows_at_once
            special = block.special[(block.special >= start) & (block.special < end)] - start
            self.look(block.start + start, block.stored[start:end], block.inverses[start:end], special)

    def look(self, start: int, stored: Tensor, inverses: Tensor, special: Tensor) -> None:
        """Take rows that follow each other into account, (n, C) as stored."""
        if self.is_float32:
            rough = self.products(self.stored_as.roughly(stored)).mul_(inverses)
            queries, rows = self.candidates(rough, special)
        else:
            queries, rows = torch.ones(len(self.exact), len(stored), dtype=torch.bool).nonzero().unbind(1)
        if not rows.numel():  # as of most blocks
            return
        for query, row in zip(torch.split(queries, PAIRS), torch.split(rows, PAIRS), strict=True):
            score = exact_scores(self.stored_as.dequantize(stored[row]), self.exact[query])
            better = score > self.least[query]  # an equal one comes later than those that are there
            if better.any():
                self.waiting.append((query[better], score[better], start + row[better]))
        if sum(len(query) for query, _, _ in self.waiting) >= max(1, len(self.exact) * self.count // 4):
            self.settle()

    def products(self, vectors: Tensor) -> Tensor:
        """The products of each query with each of (n, W) float32: (Q, n)."""
        if len(self.rough) > 1:
            return self.rough @ vectors.T
        return (vectors @ self.columns)[:, :1].T.contiguous()

    def candidates(self, rough: Tensor, special: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and rows, sorted, of the rough scores, (Q, n), that are not too low.

        A row is left out if its score cannot exceed ``least``, or if ``count`` rows of the same block have higher ones:
        its rough score is more than two bounds below theirs.
        """
        limits = self.limits
        has_special = bool(special.numel())
        if has_special:
            rough[:, special] = -torch.inf
            chosen = torch.arange(len(rough))
        else:
            chosen = (rough.amax(dim=1) >= limits).nonzero()[:, 0]
            if not chosen.numel():
                return chosen, chosen
        some = rough if len(chosen) == len(rough) else rough[chosen]
        limits = limits[chosen]
        if rough.shape[1] > self.count:
            crowded = ((some >= limits[:, None]).sum(dim=1) > 4 * self.count).nonzero()[:, 0]
            if len(crowded):
                in_block = some[crowded].topk(self.count, dim=1).values[:, -1] - 2 * self.bound
                limits[crowded] = torch.maximum(limits[crowded], in_block)
        if has_special:
            some[:, special] = torch.inf
        query, row = (some >= limits[:, None]).nonzero().unbind(1)
        return chosen[query], row

    def settle(self) -> None:
        """Sort what was found since the last time into the nearest rows."""
        found = [(self.query, self.score, self.row), *self.waiting]
        self.waiting = []
        query, score, row = (torch.cat(parts) for parts in zip(*found, strict=True))
        # Rows are in input order within each query, and stable sorts keep it among equals.
        order = score.sort(descending=True, stable=True).indices
        order = order[query[order].sort(stable=True).indices]
        query, score, row = query[order], score[order], row[order]
        counts = torch.bincount(query, minlength=len(self.exact))
        rank = torch.arange(len(query)) - (counts.cumsum(0) - counts)[query]
        kept = rank < self.count
        self.query, self.score, self.row = query[kept], score[kept], row[kept]
        last = rank == self.count - 1
        self.least[query[last]] = score[last]
        self.limits = self.least - self.bound

    def found(self) -> list[list[tuple[float, int]]]:
        """Score and number of the nearest rows of each query."""
        self.settle()
        lists: list[list[tuple[float, int]]] = [[] for _ in self.exact]
        for query, score, row in zip(self.query.tolist(), self.score.tolist(), self.row.tolist(), strict=True):
            lists[query].append((score, row))
        return lists
