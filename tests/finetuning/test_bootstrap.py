"""The bootstrap: its draws, its quantiles, and its intervals beside scipy.stats.bootstrap."""

import pytest
import torch

from minibert.finetuning import bootstrap as module
from minibert.finetuning.bootstrap import Interval, bootstrap, draws, interval, weights_of
from minibert.finetuning.outcomes import ClassOutcome, NumberOutcome

numpy = pytest.importorskip("numpy")
stats = pytest.importorskip("scipy.stats")


def test_draws_do_not_depend_on_the_blocks(monkeypatch) -> None:
    whole = torch.cat(list(draws(30, 50, seed=1)))
    assert whole.shape == (50, 30)
    assert 0 <= int(whole.min()) <= int(whole.max()) == 29
    monkeypatch.setattr(module, "NUMBERS_AT_ONCE", 100)
    blocks = list(draws(30, 50, seed=1))
    assert len(blocks) == 17
    assert torch.equal(torch.cat(blocks), whole)
    assert not torch.equal(torch.cat(list(draws(30, 50, seed=2))), whole)
    weights = torch.cat([weights_of(block) for block in blocks], dim=1)
    assert weights.shape == (30, 50)
    assert torch.equal(weights.T.long(), torch.stack([torch.bincount(row, minlength=30) for row in whole]))


def test_the_interval_lies_between_the_quantiles() -> None:
    values = torch.rand(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = interval(0.5, values, 0.9)
    assert isinstance(found, Interval)
    assert found == pytest.approx((0.5, *numpy.quantile(values.numpy(), [0.05, 0.95])))


def test_intervals_are_those_of_scipy() -> None:
    """With other draws, so within their noise: a tenth of the interval's width, for 4,000 resamples."""
    draw = numpy.random.default_rng(0)
    gold, predicted = draw.integers(0, 2, 300), draw.integers(0, 2, 300)
    right = (gold == predicted).astype(float)
    x = draw.normal(size=200)
    y = x + draw.normal(size=200)
    options = {"method": "percentile", "n_resamples": 4000, "rng": numpy.random.default_rng(1)}
    theirs = {
        "accuracy": stats.bootstrap((right,), numpy.mean, vectorized=True, **options),
        "pearson": stats.bootstrap((x, y), lambda a, b: stats.pearsonr(a, b).statistic, paired=True, **options),
    }
    classes = ClassOutcome(gold.tolist(), predicted.tolist(), ["0", "1"])
    numbers = NumberOutcome(x.tolist(), y.tolist())
    ours = {**bootstrap(classes.resampled, 300, 4000, seed=0), **bootstrap(numbers.resampled, 200, 4000, seed=0)}
    for name, found in theirs.items():
        mine, (low, high) = interval(0.0, ours[name], 0.95), found.confidence_interval
        assert (mine.low, mine.high) == pytest.approx((low, high), abs=0.1 * (high - low)), name
        assert float(ours[name].std()) == pytest.approx(found.standard_error, rel=0.06), name


def test_the_interval_of_a_share_is_about_the_binomial_one() -> None:
    """900 of 1,000 are right: 0.9 ± 1.96 · sqrt(0.9 · 0.1 / 1,000)."""
    gold = [0] * 1000
    outcome = ClassOutcome(gold, [0] * 900 + [1] * 100, ["0", "1"])
    found = interval(0.9, bootstrap(outcome.resampled, 1000, 2000, seed=0)["accuracy"], 0.95)
    assert (found.low, found.high) == pytest.approx((0.9 - 0.0186, 0.9 + 0.0186), abs=0.003)
