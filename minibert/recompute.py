"""Gradient checkpointing (Chen et al. 2016): keep a layer's input, compute the rest again when it is needed."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Recomputed:
    """A layer's forward that, in training, keeps only its input for the way back.

    The random numbers are drawn again from the same state, so the gradients are those of the plain layer, bit for bit.
    Inside the layer's call, not around it: hooks on the layer, FSDP's among them, run once.
    """

    def __init__(self, layer: nn.Module, function: Callable[..., Any], settings: dict[str, Any]) -> None:
        self.layer, self.function, self.settings = layer, function, settings

    def __call__(self, *arguments: Any) -> Any:
        """The layer's output."""
        if self.layer.training and torch.is_grad_enabled():
            return checkpoint(self.function, *arguments, **self.settings)
        return self.function(*arguments)


def recompute_layers(layers: Iterable[nn.Module], settings: dict[str, Any], every: int = 1) -> None:
    """Recompute the first of every ``every`` layers; ``settings`` are those of ``torch.utils.checkpoint``."""
    for number, layer in enumerate(layers):
        keep_layer(layer)
        if number % every == 0:
            layer.forward = Recomputed(layer, layer.forward, settings)


def keep_layer(layer: nn.Module) -> None:
    """Undo it for one layer; a layer that is not recomputed stays as it is."""
    wrapped = vars(layer).get("forward")
    if isinstance(wrapped, Recomputed):
        del layer.forward
        if getattr(wrapped.function, "__func__", None) is not type(layer).forward:  # somebody else's, put there before
            layer.forward = wrapped.function


def is_recomputed(layer: nn.Module) -> bool:
    """Whether a layer keeps only its input in training."""
    return isinstance(vars(layer).get("forward"), Recomputed)
