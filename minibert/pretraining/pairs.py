"""Sentence pairs for next-sentence prediction: where each passage is cut into A and B, and which B each A meets.

In half of the pairs B follows A; in the other half it comes from another document (paper, section 3.1).  How that B is
chosen decides what is learned.  Google's create_pretraining_data.py takes a random run of sentences, whose length,
language and punctuation then tell it from a true one.  Here passages form couples.  The two B's of a couple have the
same surface features (surface_features.py), differ in length by at most ``SPREAD`` pieces, and are from different
documents.  Each A of a couple is shown twice, with its own B and with the other's:

    A1 B1 true    A2 B2 true    A1 B2 random    A2 B1 random

So every A and every B occurs once in a true pair and once in a random one, and neither alone tells the two apart.  All
four are in one step, so that the gradient from A alone and from B alone cancels, and what is left is their relation.
With this task alone, a small model that had learned MLM on novels reached 67% on held-out pairs after a hundred steps;
with the pairs in separate steps it stayed at 50%.  Read :func:`draw_pairs`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minibert.pretraining.passages import Passages
from minibert.pretraining.surface_features import NUMBER_OF, SurfaceFeatures

TRUE, RANDOM = 0, 1  # labels of next-sentence prediction
PAIRING = 2  # seeds the generator; see passages.py
ROUNDS = 4
PASSAGES_TOGETHER = 1 << 17  # couples are formed among so many, which bounds the memory; about 50 MB of text
SPREAD = 3  # pieces by which the lengths of two exchanged B's may differ
ROOM = 32  # pieces: the two passages of a couple have about as much room left, so that they fill a batch evenly
SIMILAR = 16  # pieces: candidates are ordered by length in steps of this size, the longest first
CLOSE = 2000  # largest distance of a couple's B's: the sum over marks of 1000 |log(1 + count) - log(1 + other count)|
ROWS_TOGETHER = 1 << 16  # candidates that are Python's objects at once
NEIGHBOURS = 48  # each segment is compared with so many others of its key, the nearest in a random direction
# Integers throughout: sums of floats may round differently on another machine, and then the pairs differ.
LEVELS = torch.tensor([round(1000 * math.log1p(count)) for count in range(512)], dtype=torch.int16)
# Marks whose frequency depends on the author or the mood; double quotes must be equal instead.
TELLING = [number for kind, number in NUMBER_OF.items() if kind not in ("other", "double quote", "hangul", "letter")]


@dataclass(frozen=True)
class Pairs:
    """The pairs of an epoch: where each passage is cut, and which passages are couples."""

    cut: Tensor  # (N,) int64: the first sentence of B; the passage's end where there is no B
    couples: Tensor  # (C, 2) int64: passages; each is in at most one couple

    def partners(self) -> Tensor:
        """(N,) int64: the other passage of each passage's couple, or the passage itself if it is in none."""
        partner = torch.arange(len(self.cut))
        partner[self.couples] = self.couples.flip(1)
        return partner


def draw_pairs(
    passages: Passages, surface: SurfaceFeatures, labels: Tensor, room: int, draw: torch.Generator, shortest: int = 1
) -> Pairs:
    """Cut passages into A and B, and form couples.

    Args:
        passages: N of them.
        surface: the surface features of their sentences.
        labels: (documents,) int32: the language of each document.
        room: pieces of A and B together, at most.
        draw: the random generator.
        shortest: pieces of A and of B in a couple, at least.
    """
    sizes = passages.end - passages.first
    left = room - surface.lengths(passages.first, passages.end)
    random = torch.rand(len(passages), generator=draw, dtype=torch.float64)
    cut = torch.where(sizes > 1, passages.first + 1 + (random * (sizes - 1)).long(), passages.end)
    is_free = sizes > 1
    couples = []
    for begin in range(0, len(passages), PASSAGES_TOGETHER):
        here = slice(begin, begin + PASSAGES_TOGETHER)
        part = Passages(passages.starts, passages.first[here], passages.end[here], passages.document[here])
        for _ in range(ROUNDS):
            owner, place = possible_cuts(part, surface, is_free[here], shortest, draw)
            document = part.document[owner]
            close = similar_segments(
                surface, place, part.end[owner], labels[document].long(), document, left[here][owner], draw
            )
            chosen = each_once(owner, close, len(part))  # (couples, 2)
            cut[here][owner[chosen]] = place[chosen]
            is_free[here][owner[chosen]] = False
            couples.append(begin + owner[chosen])
    return Pairs(cut, torch.cat(couples))


def possible_cuts(
    passages: Passages, surface: SurfaceFeatures, is_free: Tensor, shortest: int, draw: torch.Generator
) -> tuple[Tensor, Tensor]:
    """A random half of all cuts of the free passages: (n,) the passage, and (n,) the first sentence of B.

    Only half of them, so that the couples differ between epochs.
    """
    sizes = torch.where(is_free, passages.end - passages.first - 1, 0)
    owner = torch.repeat_interleave(torch.arange(len(passages)), sizes)
    before = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    place = passages.first[owner] + 1 + torch.arange(len(owner)) - before
    a, b = surface.lengths(passages.first[owner], place), surface.lengths(place, passages.end[owner])
    is_long = (a >= shortest) & (b >= shortest)
    owner, place = owner[is_long], place[is_long]
    taken = torch.randperm(len(owner), generator=draw)[: (len(owner) + 1) // 2]
    return owner[taken], place[taken]


def similar_segments(
    surface: SurfaceFeatures,
    begin: Tensor,
    end: Tensor,
    language: Tensor,
    document: Tensor,
    left: Tensor,
    draw: torch.Generator,
) -> Tensor:
    """(m, 2) int64: segments that may be exchanged: the longest first, since they have few partners, then the closest.

    The two agree in language, in the kinds of their first and last pieces, and in the number of quotes, so that a quote
    that A leaves open is closed as before.  They are CLOSE in other marks, differ in length by at most SPREAD pieces,
    and are from different documents.  The longer one fits into the room ``left`` in the other's passage.
    """
    borders, lengths = surface.borders(begin, end), surface.lengths(begin, end)
    quotes = surface.count_of(NUMBER_OF["double quote"], begin, end).clamp(max=7).long()
    keys = combined([language, lengths // (SPREAD + 1), left // ROOM, quotes, borders[:, 0], borders[:, 3]])
    marks = torch.empty(
        len(begin), len(TELLING), dtype=LEVELS.dtype
    )  # one by one: int64 of all would be many times that
    for place, kind in enumerate(TELLING):
        marks[:, place] = LEVELS[surface.count_of(kind, begin, end).clamp(max=len(LEVELS) - 1).long()]
    direction = torch.randint(-1000, 1000, (len(TELLING),), generator=draw)
    along = torch.zeros_like(lengths)
    for place, factor in enumerate(direction.tolist()):
        along += marks[:, place].long() * factor
    order = along.argsort(stable=True)
    order = order[keys[order].argsort(stable=True)]
    keys, marks, document = keys[order], marks[order], document[order]
    lengths, left = lengths[order], left[order]
    candidates, distances = [torch.zeros(0, 2, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
    for offset in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
        is_same_key = (keys[offset:] == keys[:-offset]) & (document[offset:] != document[:-offset])
        here = is_same_key.nonzero()[:, 0]
        there = here + offset
        distance, longer = (marks[here] - marks[there]).abs().sum(1), lengths[here] - lengths[there]
        is_fit = (distance <= CLOSE) & (longer <= left[there]) & (-longer <= left[here])
        candidates.append(torch.stack([here, there], dim=1)[is_fit])
        distances.append(distance[is_fit])
    closest = torch.cat(candidates)[torch.cat(distances).argsort(stable=True)]
    return order[closest[(lengths[closest[:, 0]] // SIMILAR).argsort(stable=True, descending=True)]]


def each_once(owner: Tensor, close: Tensor, count: int) -> Tensor:
    """(couples, 2) int64: the rows of ``close`` (m, 2), in order, neither of whose two owners is in an earlier row."""
    is_taken = bytearray(count)
    rows = []
    for begin in range(0, len(close), ROWS_TOGETHER):
        for row, (first, second) in enumerate(owner[close[begin : begin + ROWS_TOGETHER]].tolist(), start=begin):
            if not is_taken[first] and not is_taken[second]:
                is_taken[first] = is_taken[second] = True
                rows.append(row)
    return close[torch.tensor(rows, dtype=torch.int64)]


def combined(columns: list[Tensor]) -> Tensor:
    """Several columns of non-negative integers as one; two rows are equal in it if they are equal in all columns."""
    total = torch.zeros_like(columns[0])
    for column in columns:
        total = total * (int(column.max()) + 1 if len(column) else 1) + column
    return total
