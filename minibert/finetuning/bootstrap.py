"""How far a score may be off, because the test data are a sample: the bootstrap (Efron 1979).

From n examples n are drawn with replacement, and the score is computed again; after a thousand such resamples the
interval is that between the quantiles of these scores (the percentile bootstrap).  It says what other test data of the
same kind and size would do to the score, not what another training run would.  Start with :func:`bootstrap`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

NUMBERS_AT_ONCE = 1 << 20  # examples times resamples


class Interval(NamedTuple):
    """A score, and the interval in which it lies with the confidence that was asked for."""

    value: float
    low: float
    high: float


def draws(examples: int, resamples: int, seed: int) -> Iterator[Tensor]:
    """The examples of each resample, (resamples, examples) int64, in blocks; the same for the same seed."""
    generator = torch.Generator().manual_seed(seed)
    most = max(1, NUMBERS_AT_ONCE // examples)
    for start in range(0, resamples, most):
        yield torch.randint(examples, (min(most, resamples - start), examples), generator=generator)


def weights_of(drawn: Tensor) -> Tensor:
    """How often each example was drawn, (examples, resamples) float64; ``drawn``: a block of :func:`draws`."""
    R, n = drawn.shape
    places = drawn + n * torch.arange(R)[:, None]
    return torch.bincount(places.flatten(), minlength=R * n).view(R, n).T.to(torch.float64).contiguous()


def bootstrap(
    scores: Callable[[Tensor], Mapping[str, Tensor]], examples: int, resamples: int, seed: int
) -> dict[str, Tensor]:
    """Each score in each resample, (resamples,) float64.

    ``scores``: from weights, (examples, R), to (R,) for each score, as
    :meth:`minibert.finetuning.outcomes.Outcome.resampled`.
    """
    blocks = [scores(weights_of(drawn)) for drawn in draws(examples, resamples, seed)]
    return {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}


def interval(value: float, resampled: Tensor, confidence: float) -> Interval:
    """The percentile interval; ``resampled``: the score in each resample."""
    tail = (1 - confidence) / 2
    low, high = torch.quantile(resampled, torch.tensor([tail, 1 - tail], dtype=torch.float64)).tolist()
    return Interval(value, low, high)
