"""The one random generator of noise: a number is a function of seed, stream and index, the same on every machine.

The explorer's page has the same generator in JavaScript (explorer/static/engine/random.js).  Everything up to the
uniform numbers is exact integer arithmetic; logarithm, sine and cosine are computed in float64, so that two machines
agree to the rounding of these functions.

All words have 32 bits.  ``mix`` is the hash "lowbias32" of Chris Wellons (https://nullprogram.com/blog/2018/07/31/):

    x ^= x >> 16;  x = x · 0x7feb352d mod 2³²;  x ^= x >> 15;  x = x · 0x846ca68b mod 2³²;  x ^= x >> 16

A stream has two keys, from the two halves of the seed (64 bits, two's complement) and the number of the stream:

    key(start) = mix(mix(mix(start ^ seed mod 2³²) ^ ⌊seed / 2³²⌋ mod 2³²) ^ stream)
    first = key(0x9e3779b9),  second = key(0x85ebca6b)
    word(n) = mix(mix(n ^ first) ^ second)
    uniform(n) = (word(n) + ½) / 2³²

and Box–Muller makes two normal numbers of two uniform ones:

    radius = √(−2 ln uniform(2i)),  angle = 2π uniform(2i + 1)
    normal(2i) = radius · cos(angle),  normal(2i + 1) = radius · sin(angle)
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

WORD = 0xFFFFFFFF


def standard_normal(seed: int, streams: int | Iterable[int], count: int) -> Tensor:
    """The first ``count`` numbers of each stream: (streams, count) float64 on the CPU, or (count,) for one stream.

    Args:
        seed: a whole number of at most 64 bits.
        streams: numbers from 0 to 2³² − 1; the streams of one seed are independent of each other.
        count: at most 2³².
    """
    several = [streams] if isinstance(streams, int) else list(streams)
    numbers = torch.tensor(several, dtype=torch.int64)[:, None]
    first, second = _key(0x9E3779B9, seed, numbers), _key(0x85EBCA6B, seed, numbers)  # (streams, 1)
    index = torch.arange(count + count % 2)
    uniform = (_mix(_mix(index ^ first) ^ second).double() + 0.5) / 2**32  # (streams, count, rounded up to pairs)
    radius, angle = (-2 * uniform[:, 0::2].log()).sqrt(), 2 * math.pi * uniform[:, 1::2]
    normal = torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1).flatten(-2)[:, :count]
    return normal[0] if isinstance(streams, int) else normal


def _key(start: int, seed: int, streams: Tensor) -> Tensor:
    word = torch.tensor(start)
    for part in (seed & WORD, (seed >> 32) & WORD, streams):
        word = _mix(word ^ part)
    return word


def _mix(x: Tensor) -> Tensor:
    """A bijection of the words of 32 bits, held in int64."""
    x = _times(x ^ (x >> 16), 0x7FEB352D)
    x = _times(x ^ (x >> 15), 0x846CA68B)
    return x ^ (x >> 16)


def _times(x: Tensor, factor: int) -> Tensor:
    """The product mod 2³²; in two halves, so that none leaves int64."""
    return ((x & 0xFFFF) * factor + (((x >> 16) * factor & 0xFFFF) << 16)) & WORD
