"""The generator of noise in the browser is that of Python."""

import torch

from minibert.random_normal import standard_normal
from tests.explorer.engine.test_parity import TINY
from tests.support.small_models import small

# Chromium and torch each round log, sin and cos their own way: a unit or two in the last place of numbers below 7.
ROUNDING = 4e-15


def test_it_is_that_of_python_for_many_seeds(browser, open_engine) -> None:
    open_engine(small("BertModel", **TINY))
    draw = torch.Generator().manual_seed(0)
    seeds = [0, 1, 2**31 - 1, 2**32, 2**53 - 1, -1, -(2**53) + 1]
    seeds += torch.randint(-(2**52), 2**52, (200,), generator=draw).tolist()
    script = "return arguments[0].map(seed => driver.normal(seed, arguments[1], arguments[2]))"
    for stream, count in ((0, 51), (7, 64), (2**32 - 1, 33)):
        found = torch.tensor(browser.run(script, seeds, stream, count), dtype=torch.float64)
        expected = torch.stack([standard_normal(seed, stream, count) for seed in seeds])
        assert (found - expected).abs().max() < ROUNDING
        assert found.std() > 0.9
