"""A function from the value at one point to the values at others, under autograd and torch.func."""

import pytest
import torch

from minibert import edit, patch, trace
from tests.support.small_models import assert_no_trace, inputs_for, small

FROM, TO = "encoder.layer.0", "encoder.layer.2"


def between(model, inputs, start: str = FROM, end: str = TO):
    """``end``'s value as a function of ``start``'s."""

    def function(value: torch.Tensor) -> torch.Tensor:
        with edit(model, start, value):
            return trace(model, inputs, points=end, grad=True, stop=True)[end]

    return function


@pytest.mark.parametrize("chunk", [0, 4])
def test_jvp_vjp_and_finite_differences_agree(chunk: int) -> None:
    model, inputs = small(chunk_size_feed_forward=chunk).double(), inputs_for()
    function = between(model, inputs)
    value = trace(model, inputs)[FROM]
    draw = torch.Generator().manual_seed(0)
    tangent = torch.randn(value.shape, generator=draw, dtype=torch.float64)
    cotangent = torch.randn(value.shape, generator=draw, dtype=torch.float64)
    out, forward = torch.func.jvp(function, (value,), (tangent,))
    assert (out - trace(model, inputs)[TO]).abs().max() < 1e-12
    _, pull = torch.func.vjp(function, value)
    (backward,) = pull(cotangent)
    assert abs((forward * cotangent).sum() - (backward * tangent).sum()) < 1e-10
    h = 1e-6
    difference = (function(value + h * tangent) - function(value - h * tangent)) / (2 * h)
    torch.testing.assert_close(forward, difference, atol=1e-7, rtol=1e-6)
    with torch.no_grad():  # forward mode needs no grad mode
        assert torch.equal(torch.func.jvp(function, (value,), (tangent,))[1], forward)
    assert_no_trace(model)


def test_jacobians_forward_and_backward_agree() -> None:
    model = small().double()
    inputs = {"input_ids": torch.tensor([[3, 7, 11]])}
    value = trace(model, inputs)[FROM]
    function = between(model, inputs)
    forward = torch.func.jacfwd(function)(value)  # vmap over jvp: the edit and the hooks are batched
    backward = torch.func.jacrev(function)(value)
    assert forward.shape == (1, 3, 12, 1, 3, 12)
    assert (forward - backward).abs().max() < 1e-10
    assert forward.abs().max() > 0.1
    classic = torch.autograd.functional.jacobian(function, value)
    assert (classic - backward).abs().max() < 1e-10


def test_many_disturbances_at_once_with_vmap() -> None:
    model, inputs = small().double(), inputs_for()
    value = trace(model, inputs)[FROM]
    noise = torch.randn(4, *value.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    function = between(model, inputs)
    together = torch.vmap(lambda e: function(value + e))(noise)
    apart = torch.stack([function(value + e) for e in noise])
    torch.testing.assert_close(together, apart, atol=1e-12, rtol=1e-12)


def test_a_patch_of_some_tokens_carries_the_tangent() -> None:
    model, inputs = small().double(), inputs_for()
    value = trace(model, inputs)[FROM]

    def function(row: torch.Tensor) -> torch.Tensor:
        with edit(model, FROM, patch(row, tokens=2)):
            return trace(model, inputs, points=TO, grad=True)[TO]

    tangent = torch.ones_like(value)
    _, partial = torch.func.jvp(function, (value,), (tangent,))
    only = torch.zeros_like(value)
    only[:, 2] = 1
    _, expected = torch.func.jvp(between(model, inputs), (value,), (only,))
    torch.testing.assert_close(partial, expected, atol=1e-12, rtol=1e-12)


def test_autograd_through_an_edit() -> None:
    model, inputs = small(), inputs_for()
    scale = torch.ones((), requires_grad=True)
    with edit(model, "encoder.layer.*.attention.self.probabilities", lambda value: value * scale):
        model(**inputs).pooler_output.sum().backward()
    assert scale.grad.abs() > 1e-4


def test_functional_call() -> None:
    model, inputs = small(), inputs_for()
    parameters = {name: parameter * 2 for name, parameter in model.named_parameters()}
    seen = []
    with edit(model, "encoder.layer.1.output.residual", seen.append):
        torch.func.functional_call(model, parameters, (), inputs)
    assert len(seen) == 1
    assert not torch.equal(seen[0], trace(model, inputs)["encoder.layer.1.output.residual"])
