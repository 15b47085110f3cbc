"""The generator of noise: its definition in plain integers, its stored numbers, and that it looks normal."""

import math

import pytest
import torch

from minibert.random_normal import standard_normal

SEEDS = (0, 1, 7, 2**31 - 1, 2**40 + 3, -1, -(1 << 63), (1 << 64) - 1)


def by_hand(seed: int, stream: int, count: int) -> list[float]:
    """The definition, number by number."""
    word = 2**32 - 1

    def mix(x: int) -> int:
        x = (x ^ (x >> 16)) * 0x7FEB352D & word
        x = (x ^ (x >> 15)) * 0x846CA68B & word
        return x ^ (x >> 16)

    def key(start: int) -> int:
        return mix(mix(mix(start ^ (seed & word)) ^ ((seed >> 32) & word)) ^ stream)

    first, second = key(0x9E3779B9), key(0x85EBCA6B)
    uniform = [(mix(mix(n ^ first) ^ second) + 0.5) / 2**32 for n in range(count + 1)]
    pairs = [(math.sqrt(-2 * math.log(uniform[n - n % 2])), 2 * math.pi * uniform[n - n % 2 + 1]) for n in range(count)]
    return [radius * (math.sin if n % 2 else math.cos)(angle) for n, (radius, angle) in enumerate(pairs)]


@pytest.mark.parametrize("seed", SEEDS)
def test_it_is_what_its_document_says(seed: int) -> None:
    for stream in (0, 3, 2**32 - 1):
        expected = torch.tensor(by_hand(seed, stream, 301), dtype=torch.float64)
        assert (standard_normal(seed, stream, 301) - expected).abs().max() < 1e-14


def test_its_numbers_stay() -> None:
    stored = {
        (0, 0): [0.9180761182255384, 0.6549811892794016, -0.8109152778933232],
        (7, 3): [3.037368705478272, -0.04428667523964115, 1.062019169090887],
        (-1, 0): [1.9862611366308456, -1.356403305157495, 1.1163057156192164],
    }
    for (seed, stream), numbers in stored.items():
        assert standard_normal(seed, stream, 3).tolist() == pytest.approx(numbers, abs=1e-14)


def test_streams_together_are_streams_alone_and_a_longer_one_begins_as_a_shorter_one() -> None:
    together = standard_normal(5, [4, 0, 9], 30)
    assert together.shape == (3, 30) and together.dtype == torch.float64
    for row, stream in enumerate((4, 0, 9)):
        assert torch.equal(together[row], standard_normal(5, stream, 30))
        assert torch.equal(together[row, :7], standard_normal(5, stream, 7))
    assert standard_normal(5, [], 4).shape == (0, 4)


def test_it_looks_normal() -> None:
    """Moments, and correlations of neighbours, of streams and of seeds, within 4.5 of their standard deviations."""
    numbers = standard_normal(0, range(100), 10_000)
    size = numbers.numel() ** 0.5
    for power, moment, spread in ((1, 0, 1), (2, 1, 2**0.5), (3, 0, 15**0.5), (4, 3, 96**0.5)):
        assert abs(numbers.pow(power).mean() - moment) * size < 4.5 * spread
    for lag in (1, 2, 3, 256):
        assert abs((numbers[:, lag:] * numbers[:, :-lag]).mean()) * size < 4.5
    seeds = torch.stack([standard_normal(seed, 0, 10_000) for seed in range(100)])
    for rows in (numbers, seeds):
        correlations = torch.corrcoef(rows).fill_diagonal_(0)
        assert correlations.abs().max() * 100 < 5
