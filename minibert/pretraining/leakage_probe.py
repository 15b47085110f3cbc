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
from minibert.pretraining.examples import PretrainingExamples
from minibert.pretraining.pairs import Pairs
from minibert.pretraining.surface_features import KINDS, NUMBER_OF, SurfaceFeatures
from minibert.training.examples import generator

DECAY = 1e-2  # L2 penalty, against overfitting to one half
FEWEST = 100  # pairs in each half


def probe_accuracy(examples: PretrainingExamples, pairs: Pairs | int, *, seed: int = 0) -> float:
    """The share of pairs, in the half that the probe was not trained on, whose label it predicts; 0.5 is the aim.

    Args:
        examples: the passages that the pairs are cut from.
        pairs: those of an epoch, or the number of the epoch.
        seed: of the split into halves.

    Raises InputError when there are too few pairs.
    """
    pairs = examples.pairs(pairs) if isinstance(pairs, int) else pairs
    passages, surface, languages = examples.passages, examples.surface, examples.languages()
    couples = pairs.couples[torch.randperm(len(pairs.couples), generator=generator(seed))]
    if 2 * len(couples) < FEWEST:
        raise InputError(f"There are {4 * len(couples)} pairs; a probe needs at least {2 * FEWEST} to tell anything.")
    of_a, of_b = (couples[:, places].flatten() for places in ([0, 1, 0, 1], [0, 1, 1, 0]))
    a = SegmentFeatures.of(surface, passages.first[of_a], pairs.cut[of_a], languages[of_a])
    b = SegmentFeatures.of(surface, pairs.cut[of_b], passages.end[of_b], languages[of_b])
    features = pair_features(a, b, int(languages.max()) + 1)
    labels = torch.tensor([0.0, 0.0, 1.0, 1.0]).repeat(len(couples))
    half = len(couples) // 2 * 4  # the four pairs of a couple are in one half
    predicted = fit_and_predict(features[:half], labels[:half], features[half:])
    return float((predicted == labels[half:]).float().mean())


@dataclass(frozen=True)
class SegmentFeatures:
    """What the probe sees of n segments."""

    numbers: Tensor  # (n, F) float32: length, number of pieces of each kind, whether a quote is left open
    first_kind: Tensor  # (n,) int64: kind of the first piece
    last_kind: Tensor  # (n,) int64: kind of the last piece
    language: Tensor  # (n,) int64

    @classmethod
    def of(cls, surface: SurfaceFeatures, begin: Tensor, end: Tensor, language: Tensor) -> "SegmentFeatures":
        """The features of the runs of sentences from ``begin`` up to ``end``, each (n,)."""
        length, counts, borders = surface.lengths(begin, end), surface.counts(begin, end), surface.borders(begin, end)
        is_open = counts[:, NUMBER_OF["double quote"]] % 2
        numbers = torch.cat([length[:, None], counts.float().log1p(), is_open[:, None]], dim=1)
        return cls(numbers, borders[:, 0], borders[:, 3], language)


def pair_features(first: SegmentFeatures, second: SegmentFeatures, languages: int) -> Tensor:
    """(n, G) float32: the features of A and of B, their products, and how A ends together with how B begins."""
    a, b = (standardized(segment.numbers) for segment in (first, second))
    kinds = len(KINDS)
    places = (first.first_kind, first.last_kind, second.first_kind, second.last_kind)
    return torch.cat(
        [
            a, b, a.square(), b.square(), (a[:, :, None] * b[:, None]).flatten(1),
            *(F.one_hot(place, kinds) for place in places),
            F.one_hot(first.last_kind * kinds + second.first_kind, kinds * kinds),
            F.one_hot(first.language * languages + second.language, languages * languages),
        ],
        dim=1,
    )  # fmt: skip


def standardized(columns: Tensor) -> Tensor:
    """Each column with mean 0 and standard deviation 1; a constant column becomes 0."""
    std = columns.std(dim=0)
    return (columns - columns.mean(dim=0)) / torch.where(std > 0, std, 1)


def fit_and_predict(features: Tensor, labels: Tensor, others: Tensor) -> Tensor:
    """(m,) float32, 0 or 1: labels of ``others`` (m, G), predicted by a regression fitted to ``features`` (n, G)."""
    weight = torch.zeros(features.shape[1], requires_grad=True)
    bias = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(features @ weight + bias, labels) + DECAY * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    with torch.enable_grad():
        optimizer.step(loss)  # type: ignore[no-untyped-call]
    return (others @ weight.detach() + bias.detach() > 0).float()
