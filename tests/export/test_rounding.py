"""Weights in 8 bits: no processor saturates, and rounding makes up for its own errors."""

import pytest
import torch

from minibert.export.rounding import PAIR, round_weights, saturates, weight_scales


def layer(K: int = 63, N: int = 40, tails: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A weight with heavy tails, (K, N), and correlated inputs, (512, K)."""
    torch.manual_seed(7)
    weight = torch.randn(K, N) * torch.rand(K, N).add(0.1).pow(-tails / 2)
    inputs = torch.randn(512, 12) @ torch.randn(12, K) + 0.3 * torch.randn(512, K)
    return weight, inputs


def rounded(weight: torch.Tensor, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    moment = (inputs.T @ inputs).double() / len(inputs)
    scales = weight_scales(weight, moment.diagonal().float())
    return round_weights(weight, scales, moment), scales


def worst_pair(weight: torch.Tensor, activation: int) -> int:
    """The largest |16-bit sum| that any two activations up to ``activation`` can make of neighbouring weights."""
    pairs = torch.cat([weight.int(), torch.zeros(len(weight) % 2, weight.shape[1], dtype=torch.int)]).view(
        -1, 2, weight.shape[1]
    )
    corners = [pairs[:, 0] * a + pairs[:, 1] * b for a in (0, activation) for b in (0, activation)]
    return max(int(corner.abs().max()) for corner in corners)


@pytest.mark.parametrize("K", [64, 63])
@pytest.mark.parametrize("tails", [0.0, 1.0, 3.0])
def test_no_pair_of_products_leaves_16_bits(K, tails) -> None:
    weight, _ = rounded(*layer(K, tails=tails))
    assert weight.dtype == torch.int8
    assert int(weight.abs().max()) <= 127
    assert worst_pair(weight, 255) <= 255 * PAIR == 32640
    assert not saturates(weight)


def test_plain_rounding_would_saturate_and_7_bits_would_not() -> None:
    weight, _ = layer(64, tails=0.0)
    widest = weight.abs().amax(dim=0)
    usual = (weight / widest * 127).round().to(torch.int8)
    assert worst_pair(usual, 255) > 32767
    assert saturates(usual)
    assert not saturates((weight / widest * 63).round().to(torch.int8))
    edge = torch.tensor([[127], [1], [-127], [-1]], dtype=torch.int8)
    assert not saturates(edge)
    assert saturates(torch.tensor([[127], [2]], dtype=torch.int8))
    assert saturates(torch.tensor([[-127], [-2]], dtype=torch.int8))
    assert not saturates(torch.tensor([[127], [-127]], dtype=torch.int8))


def test_the_product_is_closer_than_with_plain_rounding_that_may_saturate() -> None:
    weight, inputs = layer(64, tails=0.0)
    found, scales = rounded(weight, inputs)
    exact = inputs @ weight
    ours = (inputs @ (found * scales) - exact).square().mean()
    widest = weight.abs().amax(dim=0) / 127
    plain = (inputs @ ((weight / widest).round() * widest) - exact).square().mean()
    assert float(ours) < 0.6 * float(plain)


def test_every_weight_is_near_its_own_value_where_inputs_are_independent() -> None:
    weight, _ = layer(64, tails=0.0)
    scales = weight.abs().amax(dim=0) / 60  # nothing reaches a bound
    found = round_weights(weight, scales, torch.eye(64, dtype=torch.float64))
    assert torch.equal(found, (weight / scales).round().to(torch.int8))


def test_inputs_without_power_do_no_harm() -> None:
    weight, inputs = layer(64)
    inputs[:, 5:9] = 0
    found, scales = rounded(weight, inputs)
    assert bool(scales.isfinite().all())
    assert float((inputs @ (found * scales) - inputs @ weight).square().mean()) < 1e-2 * float((inputs @ weight).var())
    nothing = torch.zeros(4, 3)
    zeros, scales = rounded(nothing, torch.zeros(5, 4))
    assert int(zeros.abs().max()) == 0
    assert bool(scales.isfinite().all())
