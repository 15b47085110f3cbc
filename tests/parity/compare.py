"""Parity helpers with speaking names: one line a test."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

import minibert


def twins(name: str, reference_class: type[nn.Module], settings: dict[str, Any], attention: str, dtype=torch.float32):
    """A model of ours and the reference's of the same class name, with the same random weights, in eval mode."""
    import transformers

    torch.manual_seed(settings.get("vocab_size", 0))
    reference_config = transformers.BertConfig(**settings)
    reference_config._attn_implementation = attention
    reference = reference_class(reference_config)
    with torch.no_grad():  # away from the tidy initial values: biases 0 and LayerNorm 1 would hide mistakes
        for parameter in reference.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    ours = getattr(minibert, name)(minibert.BertConfig(**settings, attn_implementation=attention))
    ours.load_state_dict(reference.state_dict())
    ours.tie_weights()
    return ours.eval().to(dtype), reference.eval().to(dtype)


def tensors_of(outputs: Any, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor in a model's output, with its name."""
    for name, value in outputs.items():
        if isinstance(value, Tensor):
            yield prefix + name, value
        elif value is not None:
            yield from ((f"{prefix}{name}[{number}]", tensor) for number, tensor in enumerate(value))


def largest_difference(ours: Tensor, reference: Tensor) -> float:
    """The largest |Δ|; NaN in the same places counts as equal, elsewhere as infinite."""
    assert ours.shape == reference.shape, f"shapes {tuple(ours.shape)} and {tuple(reference.shape)}"
    assert ours.dtype == reference.dtype
    if not torch.equal(ours.isnan(), reference.isnan()):
        return float("inf")
    return (ours - reference).nan_to_num().abs().max().item() if ours.numel() else 0.0


def assert_same_outputs(ours: Any, reference: Any, tolerance: float) -> int:
    """Every tensor of the reference's output is in ours, within ``tolerance``; returns how many were compared."""
    expected, found = dict(tensors_of(reference)), dict(tensors_of(ours))
    assert set(found) == set(expected)
    for name, tensor in expected.items():
        difference = largest_difference(found[name], tensor)
        assert difference <= tolerance, f"{name}: max |Δ| = {difference}"
    return len(expected)


def assert_same_gradients(ours: nn.Module, reference: nn.Module, tolerance: float) -> int:
    """After backward on both: every parameter has the same gradient; returns how many were compared."""
    expected = dict(reference.named_parameters())
    found = dict(ours.named_parameters())
    assert list(found) == list(expected)
    compared = 0
    for name, parameter in expected.items():
        assert (parameter.grad is None) == (found[name].grad is None), name
        if parameter.grad is not None:
            difference = largest_difference(found[name].grad, parameter.grad)
            assert difference <= tolerance, f"gradient of {name}: max |Δ| = {difference}"
            compared += 1
    return compared
