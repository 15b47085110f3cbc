"""Once an epoch, the cut of each passage into segments A and B, and whose B it gets: next-sentence prediction.

In half of the pairs B follows A, in half it comes from elsewhere (paper, section 3.1).  *How* it comes from elsewhere
decides what is learned.  Google's create_pretraining_data.py takes a random run of sentences, and its length, language
and punctuation then tell it from a true one.  Here passages are put into couples: their two B's look alike (surface.py)
and are of different documents.  Half of the couples, drawn at random, exchange them.  So every B stands once in every
epoch, nothing is cut to fit, and whatever can be seen of a B, alone or beside its A, is as often there in the true
half as in the random one.  Read :func:`draw_pairs`.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from minibert.training.passages import Passages
from minibert.training.surface import NUMBER_OF, Surface

TRUE, RANDOM, NEITHER = 0, 1, -100  # labels of next-sentence prediction
PAIRING = 2  # what a generator is for; see passages.py
ROUNDS = 4
CLOSE = 2000  # how far apart a couple's B's may be, summed over marks: 1000 |log(1 + count) - log(1 + other count)|
NEIGHBOURS = 48  # with how many others of the same key, the nearest in a random direction, each is compared
# Whole numbers throughout: sums of fractions could round otherwise on another machine, and pair otherwise.
LEVELS = torch.tensor([round(1000 * math.log1p(count)) for count in range(512)])
# Marks that an author, or an angry person, uses more than another; quotes must be equal.
TELLING = [number for kind, number in NUMBER_OF.items() if kind not in ("other", "double quote", "hangul", "letter")]


@dataclass(frozen=True)
class Pairs:
    """One epoch: where each passage is cut, and whose B it has.  All (N,) int64."""

    cut: Tensor  # the sentence with which B begins; the passage's end where there is no B
    partner: Tensor  # the passage whose B it is: itself when true
    label: Tensor  # TRUE, RANDOM, or NEITHER: without a B, or without a partner to exchange it with


def draw_pairs(passages: Passages, surface: Surface, labels: Tensor, draw: torch.Generator) -> Pairs:
    """Cut the passages into A and B, and let half of the couples exchange their B's.

    Args:
        passages: N of them.
        surface: what their sentences look like.
        labels: (documents,) int32: the language of each document.
        draw: where chance comes from.
    """
    sizes = passages.end - passages.first
    chance = torch.rand(len(passages), generator=draw, dtype=torch.float64)
    cut = torch.where(sizes > 1, passages.first + 1 + (chance * (sizes - 1)).long(), passages.end)
    is_free = sizes > 1
    couples = []
    for _ in range(ROUNDS):
        owner, place = possible_cuts(passages, is_free, draw)
        languages = labels[passages.document[owner]].long()
        near = neighbours(surface, place, passages.end[owner], languages, passages.document[owner], draw)
        chosen = each_once(owner, near, len(passages))  # (couples, 2)
        cut[owner[chosen]] = place[chosen]
        is_free[owner[chosen]] = False
        couples.append(owner[chosen])
    together = torch.cat(couples)
    partner, label = torch.arange(len(passages)), torch.full((len(passages),), NEITHER)
    label[together] = TRUE
    exchanged = together[torch.randperm(len(together), generator=draw)[: len(together) // 2]]
    label[exchanged] = RANDOM
    partner[exchanged] = exchanged.flip(1)
    return Pairs(cut, partner, label)


def possible_cuts(passages: Passages, is_free: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """A random half of all ways to cut the passages that are free: (n,) whose, and (n,) the sentence B begins with.

    Half of them, so that every epoch has other couples.
    """
    sizes = torch.where(is_free, passages.end - passages.first - 1, 0)
    owner = torch.repeat_interleave(torch.arange(len(passages)), sizes)
    before = torch.repeat_interleave(sizes.cumsum(0) - sizes, sizes)
    place = passages.first[owner] + 1 + torch.arange(len(owner)) - before
    taken = torch.randperm(len(owner), generator=draw)[: (len(owner) + 1) // 2]
    return owner[taken], place[taken]


def neighbours(
    surface: Surface, begin: Tensor, end: Tensor, language: Tensor, document: Tensor, draw: torch.Generator
) -> Tensor:
    """(m, 2) int64: pairs of segments that may be exchanged, the closest first.

    They agree in language, length, the kinds of their first and last pieces, and the number of quotes, so that a
    quotation that A left open is closed as before; they are CLOSE in other marks, and of different documents.
    """
    counts, borders = surface.counts(begin, end), surface.borders(begin, end)
    quotes = counts[:, NUMBER_OF["double quote"]].clamp(max=7)
    keys = mixed([language, surface.lengths(begin, end), quotes, borders[:, 0], borders[:, 3]])
    marks = LEVELS[counts[:, TELLING].clamp(max=len(LEVELS) - 1)]
    direction = torch.randint(-1000, 1000, (len(TELLING),), generator=draw)
    order = (marks * direction).sum(1).argsort(stable=True)
    order = order[keys[order].argsort(stable=True)]
    keys, marks, document = keys[order], marks[order], document[order]
    found, distances = [torch.zeros(0, 2, dtype=torch.int64)], [torch.zeros(0, dtype=torch.int64)]
    for apart in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
        alike = (keys[apart:] == keys[:-apart]) & (document[apart:] != document[:-apart])
        here = alike.nonzero()[:, 0]
        distance = (marks[here] - marks[here + apart]).abs().sum(1)
        is_close = distance <= CLOSE
        found.append(torch.stack([here, here + apart], dim=1)[is_close])
        distances.append(distance[is_close])
    return order[torch.cat(found)[torch.cat(distances).argsort(stable=True)]]


def each_once(owner: Tensor, near: Tensor, count: int) -> Tensor:
    """(couples, 2) int64: the rows of ``near`` (m, 2), from the first on, whose two owners were in no row before."""
    is_taken = bytearray(count)
    rows = []
    for row, (first, second) in enumerate(owner[near].tolist()):
        if not is_taken[first] and not is_taken[second]:
            is_taken[first] = is_taken[second] = True
            rows.append(row)
    return near[torch.tensor(rows, dtype=torch.int64)]


def mixed(columns: list[Tensor]) -> Tensor:
    """Several columns of numbers from 0 up as one, in which rows are equal where they are equal in all."""
    total = torch.zeros_like(columns[0])
    for column in columns:
        total = total * (int(column.max()) + 1 if len(column) else 1) + column
    return total
