"""What the live page asks to change, as edits of the model: heads that write nothing, noise at one token.

The noise is one draw, made of a seed, times the std: as the slider moves the disturbance grows in one direction,
and what follows can be watched growing with it.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.explorer.values import encoder_of
from minibert.lens.editing import Change, edit, zero_head
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel

LARGEST_STD = 100.0
LARGEST_SEED = 2**31
LARGEST_TEXT = 100_000  # positions; far above what any model reads


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of ``std`` on the vector of one token in hidden state ``depth``; 0: the embeddings."""

    std: float
    position: int
    depth: int
    seed: int

    @property
    def point(self) -> str:
        """Where it is added."""
        return hidden_state_names(self.depth)[-1]

    def change(self, value: Tensor) -> Tensor:
        """``value`` (1, T, H) with the noise."""
        drawn = torch.randn(value.shape[-1], generator=torch.Generator().manual_seed(self.seed))
        noisy = value.clone()
        noisy[0, self.position] += self.std * drawn.to(value)
        return noisy


@dataclass(frozen=True)
class Edits:
    """All that is changed at once."""

    heads: tuple[tuple[int, int], ...] = ()  # layer, head
    noise: Noise | None = None

    @contextmanager
    def on(self, model: BertPreTrainedModel) -> Iterator[None]:
        """Within the block, runs of ``model`` are edited."""
        with ExitStack() as stack:
            if self.changes():
                stack.enter_context(edit(encoder_of(model), self.changes()))
            yield

    def changes(self) -> dict[str, Change]:
        """For :func:`minibert.edit`."""
        by_layer: dict[int, list[int]] = {}
        for layer, head in self.heads:
            by_layer.setdefault(layer, []).append(head)
        found: dict[str, Change] = {
            f"encoder.layer.{layer}.attention.self.context_heads": zero_head(*heads)
            for layer, heads in by_layer.items()
        }
        if self.noise is not None:
            found[self.noise.point] = self.noise.change
        return found


def parse_heads(config: BertConfig, heads: Any) -> tuple[tuple[int, int], ...]:
    """``[[layer, head], …]`` of a question; InputError for heads that are not there."""
    if not isinstance(heads, list) or len(heads) > config.num_hidden_layers * config.num_attention_heads:
        raise InputError("heads is a list of pairs, [layer, head].")
    found = []
    for pair in heads:
        if not (isinstance(pair, list) and len(pair) == 2):
            raise InputError("heads is a list of pairs, [layer, head].")
        layer = whole_number("layer", pair[0], config.num_hidden_layers)
        found.append((layer, whole_number("head", pair[1], config.num_attention_heads)))
    return tuple(found)


def parse_masked(masked: Any, texts: int) -> list[tuple[int, ...]]:
    """``[[position, …], …]`` of a question, a list for each text; text.py checks the positions."""
    if not (isinstance(masked, list) and len(masked) == texts and all(isinstance(each, list) for each in masked)):
        raise InputError("masked is a list of positions for each text.")
    for each in masked:
        if len(each) > LARGEST_TEXT or not all(isinstance(p, int) and not isinstance(p, bool) for p in each):
            raise InputError("masked is a list of positions for each text.")
    return [tuple(sorted(set(each))) for each in masked]


def parse_noise(config: BertConfig, noise: Any, length: int) -> Noise | None:
    """The noise of a question, for a text of ``length`` tokens; None where its std is 0."""
    if noise is None:
        return None
    if not isinstance(noise, Mapping):
        raise InputError("noise is an object with std, position, depth and seed.")
    std = noise.get("std", 0)
    is_number = isinstance(std, int | float) and not isinstance(std, bool)
    if not (is_number and 0 <= std <= LARGEST_STD):
        raise InputError(f"The noise's std is a number from 0 to {LARGEST_STD:g}.")
    if not std:
        return None
    return Noise(
        float(std),
        whole_number("position", noise.get("position", 0), length),
        whole_number("depth", noise.get("depth", 0), config.num_hidden_layers + 1),
        whole_number("seed", noise.get("seed", 0), LARGEST_SEED),
    )


def whole_number(what: str, value: Any, size: int) -> int:
    """``value``, from 0 to below ``size``."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
        raise InputError(f"{what} is a whole number from 0 to {size - 1}.")
    return value
