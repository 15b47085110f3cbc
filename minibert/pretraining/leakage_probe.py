"""A classifier that sees only surface features must not be able to tell random pairs from true ones.

It is a logistic regression on the surface features of A and of B and on their products, so that it can see "A leaves a
quote open and B closes none", or "A and B differ in length".  It is trained on one half of the pairs and tested on the
other.  At 50% accuracy nothing leaks; a first version of this data reached 93%.  See :func:`probe_accuracy`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError
from minibert.pretraining.pairs import Pairs
from minibert.pretraining.passages import Passages
from minibert.pretraining.surface_features import KINDS, NUMBER_OF, Surface
from minibert.training.examples import generator

DECAY = 1e-2  # on the squared weights: what one half has by chance is not to be learned
FEWEST = 100  # pairs in each half


def probe_accuracy(passages: Passages, pairs: Pairs, surface: Surface, languages: Tensor, *, seed: int = 0) -> float:
    """The share of pairs, of a half that the probe was not trained on, whose label it gets right.

    Args:
        passages: what the pairs are cut from.
        pairs: of one epoch.
        surface: of the passages' sentences.
        languages: (N,) int64: the language of each passage's document.
        seed: which pairs are in which half.

    Raises InputError when there are too few pairs to tell.
    """
    couples = pairs.couples[torch.randperm(len(pairs.couples), generator=generator(seed))]
    if 2 * len(couples) < FEWEST:
        raise InputError(f"There are {4 * len(couples)} pairs; a probe needs at least {2 * FEWEST} to tell anything.")
    whose_a, whose_b = (couples[:, places].flatten() for places in ([0, 1, 0, 1], [0, 1, 1, 0]))
    first = Seen.of(surface, passages.first[whose_a], pairs.cut[whose_a], languages[whose_a])
    second = Seen.of(surface, pairs.cut[whose_b], passages.end[whose_b], languages[whose_b])
    seen = together(first, second, int(languages.max()) + 1)
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(len(couples))
    half = len(couples) // 2 * 4  # a couple is in one half with all of its pairs
    guessed = trained(seen[:half], labels[:half], seen[half:])
    return float((guessed == labels[half:]).float().mean())


@dataclass(frozen=True)
class Seen:
    """What the probe sees of n segments."""

    numbers: Tensor  # (n, F) float32: length, how many pieces of each kind, whether a quote is left open
    begins: Tensor  # (n,) int64: the kind of the first piece
    ends: Tensor  # (n,) int64: the kind of the last
    language: Tensor  # (n,) int64

    @classmethod
    def of(cls, surface: Surface, begin: Tensor, end: Tensor, language: Tensor) -> "Seen":
        """Of the runs of sentences from ``begin`` up to ``end``, each (n,)."""
        length, counts, borders = surface.lengths(begin, end), surface.counts(begin, end), surface.borders(begin, end)
        is_open = counts[:, NUMBER_OF["double quote"]] % 2
        numbers = torch.cat([length[:, None], counts.float().log1p(), is_open[:, None]], dim=1)
        return cls(numbers, borders[:, 0], borders[:, 3], language)


def together(first: Seen, second: Seen, languages: int) -> Tensor:
    """(n, G) float32: what is seen of A and of B, products of the two, and how A ends with how B begins."""
    a, b = (standard(segment.numbers) for segment in (first, second))
    kinds = len(KINDS)
    return torch.cat(
        [
            a, b, a.square(), b.square(), (a[:, :, None] * b[:, None]).flatten(1),
            *(F.one_hot(place, kinds) for place in (first.begins, first.ends, second.begins, second.ends)),
            F.one_hot(first.ends * kinds + second.begins, kinds * kinds),
            F.one_hot(first.language * languages + second.language, languages * languages),
        ],
        dim=1,
    )  # fmt: skip


def standard(columns: Tensor) -> Tensor:
    """Each column with mean 0 and deviation 1, or 0 throughout where it does not change."""
    spread = columns.std(dim=0)
    return (columns - columns.mean(dim=0)) / torch.where(spread > 0, spread, 1)


def trained(seen: Tensor, labels: Tensor, others: Tensor) -> Tensor:
    """(m,) float32, 0 or 1: the labels of ``others`` (m, G), guessed by a regression trained on ``seen`` (n, G)."""
    weight = torch.zeros(seen.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(seen @ weight + bias, labels) + DECAY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return (others @ weight.detach() + bias.detach() > 0).float()
