"""The modules of a sentence-transformers folder that follow the pooling: Dense, LayerNorm, Normalize.

LaBSE is the best-known example: the [CLS] vector, a Dense layer with tanh, unit length.  No class that a file names is
imported: a name is looked up in a table (activations.py), or refused.  Start with :class:`Dense`.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.checkpoint.weights import open_file
from minibert.errors import CheckpointError, InputError
from minibert.source import Checkpoint

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")


class Dense(nn.Module):
    """activation(W · x + b), with ``use_residual`` plus x, or plus R · x where the sizes differ."""

    def __init__(self, in_features: int, out_features: int, bias: bool, activation: nn.Module, residual: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = in_features, out_features
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation = activation
        self.use_residual = residual
        if residual and in_features != out_features:
            self.residual = nn.Linear(in_features, out_features, bias=False)

    def forward(self, vectors: Tensor) -> Tensor:
        """(texts, in_features) to (texts, out_features)."""
        result: Tensor = self.activation(self.linear(vectors))
        if not self.use_residual:
            return result
        return result + (vectors if self.in_features == self.out_features else self.residual(vectors))


class LayerNorm(nn.Module):
    """torch's LayerNorm, under the name that sentence-transformers gives it in its files."""

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.in_features = self.out_features = dimension
        self.norm = nn.LayerNorm(dimension)

    def forward(self, vectors: Tensor) -> Tensor:
        """(texts, dimension) to the same shape."""
        result: Tensor = self.norm(vectors)
        return result


class Normalize(nn.Module):
    """Scales to unit length where another step follows; the last step is ``Embedder.normalize`` instead."""

    def forward(self, vectors: Tensor) -> Tensor:
        """(texts, W) to the same shape."""
        return F.normalize(vectors, dim=-1)


def output_width(steps: nn.Sequential, width: int) -> int:
    """The size of a vector of ``width`` numbers after ``steps``; InputError where a step takes another size."""
    for step in steps:
        if isinstance(step, Dense | LayerNorm):
            if step.in_features != width:
                raise InputError(
                    f"This checkpoint's {type(step).__name__} takes vectors of {step.in_features} numbers; this choice "
                    f"of pooling and layers gives {width}. Embedder.from_pretrained(…, steps=()) leaves such steps out."
                )
            width = step.out_features
    return width


def load_step(step: nn.Module, checkpoint: Checkpoint, folder: str) -> nn.Module:
    """``step``, on the meta device, with the weights of its ``folder``; CheckpointError where they do not fit."""
    path = next((path for name in WEIGHT_FILES if (path := checkpoint.at(f"{folder}/{name}"))), None)
    if path is None:
        raise CheckpointError(f"{checkpoint} lacks the weights of {folder}: {' or '.join(WEIGHT_FILES)}.")
    weights = open_file(path)
    expected = {name: tuple(tensor.shape) for name, tensor in step.state_dict().items()}
    stored = {name: weights.describe(name)[0] for name in weights.names()}
    if stored != expected:
        raise CheckpointError(f"{path} holds {stored}; expected {expected}, by the config.json beside it.")
    step.load_state_dict({name: read_finite(path, name, weights.tensor(name)) for name in expected}, assign=True)
    return step


def read_finite(path: Path, name: str, tensor: Tensor) -> Tensor:
    """``tensor`` as float32; CheckpointError unless it is floating point and finite."""
    if not tensor.is_floating_point() or not torch.isfinite(tensor).all():
        raise CheckpointError(f"{path}: {name} holds NaN, infinity or whole numbers, expected finite numbers.")
    return tensor.float().clone()
