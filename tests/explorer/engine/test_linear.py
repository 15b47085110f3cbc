"""The matrix product, in WebAssembly and in plain loops, at the edges of its blocks and of its scratch room."""

import pytest
import torch

from tests.explorer.engine.test_parity import TINY
from tests.support.engine import unpacked
from tests.support.small_models import small

SHAPES = [(rows, width, outputs) for rows in (1, 3, 4, 5, 9) for width in (1, 4, 7, 64) for outputs in (1, 2, 5)]
LARGE = [
    (2000, 1024, 128),  # rows: more than the scratch room holds at once
    (3, 512, 4200),  # a weight that does not fit into it
]
ROUNDING = 2e-7  # of the sum of the products' sizes: three units in the last place of float32


def numbers(size: int, rule: float) -> torch.Tensor:
    return (rule * torch.arange(size, dtype=torch.float64)).sin().float()


@pytest.mark.parametrize("simd", [True, False])
def test_it_is_torchs(browser, open_engine, simd: bool) -> None:
    model = small("BertModel", **{**TINY, "hidden_size": 64, "num_attention_heads": 2, "vocab_size": 5})
    open_engine(model, simd=simd)
    cases = [(*shape, None) for shape in SHAPES + LARGE]
    cases += [(rows, 64, 5, "embeddings.word_embeddings.weight") for rows in (1, 4, 6)]  # multiplied where it lies
    for rows, width, outputs, name in cases:
        found = unpacked(browser.run("return driver.product(...arguments)", rows, width, outputs, name))["y"]
        weight = model.get_parameter(name) if name else numbers(outputs * width, 0.7).view(outputs, width)
        x, bias = numbers(rows * width, 0.3).view(rows, width), numbers(outputs, 1)
        expected = x.double() @ weight.double().T + bias
        sizes = x.double().abs() @ weight.double().abs().T + bias.abs()
        assert ((found - expected).abs() <= ROUNDING * sizes).all(), (rows, width, outputs)
