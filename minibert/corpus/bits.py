"""The nearest rows of a corpus of bits, in two steps, as sentence-transformers' documentation describes.

The rows with the fewest different bits are candidates (Hamming distance); the cosine of their bits, as 1 and -1, with
the query's own numbers decides.
"""

import torch
from torch import Tensor

from minibert.corpus.opened import Block
from minibert.corpus.sample import CANDIDATES_PER_HIT
from minibert.corpus.vector_format import VectorFormat

BITS_SET = torch.tensor([number.bit_count() for number in range(256)], dtype=torch.uint8)


class NearestBits:
    """As :class:`minibert.corpus.exact.NearestRows`: ``count`` rows for each query, of blocks in input order."""

    def __init__(self, queries: Tensor, count: int, stored_as: VectorFormat) -> None:
        """``queries``: (Q, W) float64 of unit length."""
        self.queries, self.count, self.stored_as = queries, count, stored_as
        self.wanted = CANDIDATES_PER_HIT * count
        self.bits = stored_as.quantize(queries)
        # Of each query, its candidates: distance and number, (≤ wanted, 2), and what is stored of them.
        self.places = [torch.empty(0, 2, dtype=torch.int64) for _ in queries]
        self.rows = [torch.empty(0, stored_as.columns, dtype=stored_as.dtype) for _ in queries]

    def look_at(self, block: Block) -> None:
        """Take the rows of a block into account."""
        for query, bits in enumerate(self.bits):
            distances, nearest = hamming_distances(block.stored, bits).sort(stable=True)
            distances, nearest = distances[: self.wanted], nearest[: self.wanted]
            places = torch.cat((self.places[query], torch.stack((distances, block.start + nearest), dim=1)))
            rows = torch.cat((self.rows[query], block.stored[nearest]))
            kept = places[:, 0].sort(stable=True).indices[: self.wanted]
            self.places[query], self.rows[query] = places[kept], rows[kept]

    def found(self) -> list[list[tuple[float, int]]]:
        """Score and number of the nearest rows of each query."""
        return [self.scored(*parts) for parts in zip(self.queries, self.places, self.rows, strict=True)]

    def scored(self, query: Tensor, places: Tensor, rows: Tensor) -> list[tuple[float, int]]:
        """The candidates of a query by their cosine with it."""
        scores = (self.stored_as.dequantize(rows) @ query / self.stored_as.width**0.5).float().tolist()
        hits = zip(scores, places[:, 1].tolist(), strict=True)
        return sorted(hits, key=lambda hit: (-hit[0], hit[1]))[: self.count]


def hamming_distances(stored: Tensor, bits: Tensor) -> Tensor:
    """How many bits of each row, (n, C) int8 or uint8, differ from ``bits``, (C,): (n,) int64."""
    different = stored.view(torch.uint8) ^ bits.view(torch.uint8)
    return BITS_SET[different.int()].sum(dim=1)
