"""Gradient checkpointing (Chen et al. 2016): keep a layer's input, and compute its activations again in backward."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class CheckpointedForward:
    """A layer's forward that, in training, keeps only its input for the backward pass.

    Dropout draws from the same random state again, so the gradients are those of the plain layer, bit for bit.  It
    replaces ``layer.forward`` and does not wrap the layer: hooks on the layer, FSDP's among them, run once.
    """

    def __init__(self, layer: nn.Module, function: Callable[..., Any], settings: dict[str, Any]) -> None:
        self.layer, self.function, self.settings = layer, function, settings

    def __call__(self, *arguments: Any) -> Any:
        """The layer's output."""
        if self.layer.training and torch.is_grad_enabled():
            return checkpoint(self.function, *arguments, **self.settings)
        return self.function(*arguments)


def checkpoint_layers(layers: Iterable[nn.Module], settings: dict[str, Any], every: int = 1) -> None:
    """Checkpoint the first of every ``every`` layers; ``settings`` are those of ``torch.utils.checkpoint``."""
    for number, layer in enumerate(layers):
        restore_layer(layer)
        if number % every == 0:
            layer.forward = CheckpointedForward(layer, layer.forward, settings)


def restore_layer(layer: nn.Module) -> None:
    """Give a checkpointed layer its own forward back; leave any other layer as it is."""
    wrapped = vars(layer).get("forward")
    if isinstance(wrapped, CheckpointedForward):
        del layer.forward
        if getattr(wrapped.function, "__func__", None) is not type(layer).forward:  # the instance had one of its own
            layer.forward = wrapped.function


def is_checkpointed(layer: nn.Module) -> bool:
    """Whether a layer keeps only its input in training."""
    return isinstance(vars(layer).get("forward"), CheckpointedForward)
