"""The interventions of the live page, as edits of the model: ablated heads, noise at one token, attention rows.

The noise is one sample (stream 0 of a seed, random_normal.py) times the standard deviation: the slider scales the
perturbation in a fixed direction.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.explorer.values import encoder_of
from minibert.lens.editing import Change, edit, zero_head
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel
from minibert.random_normal import standard_normal

LARGEST_STD = 100.0
LARGEST_SEED = 2**31
SUM_TOLERANCE = 1e-3  # of probabilities
MOST_ROWS = 64  # of attention that are set
LARGEST_TEXT = 100_000  # positions; far above what any model reads


@dataclass(frozen=True)
class Noise:
    """Gaussian noise of ``std`` on the vector of one token in hidden state ``depth`` (0: the embeddings)."""

    std: float
    position: int
    depth: int
    seed: int

    @property
    def point(self) -> str:
        """The point it is added to."""
        return hidden_state_names(self.depth)[-1]

    def change(self, value: Tensor) -> Tensor:
        """``value`` (1, T, H) with the noise."""
        sample = standard_normal(self.seed, 0, value.shape[-1])
        noisy = value.clone()
        noisy[0, self.position] += self.std * sample.to(value)
        return noisy


@dataclass(frozen=True)
class AttentionRow:
    """What one token attends to in one head: its row of the probabilities, set to these."""

    layer: int
    head: int
    token: int
    probabilities: tuple[float, ...]  # one for each token

    @property
    def point(self) -> str:
        """The point that is changed."""
        return f"encoder.layer.{self.layer}.attention.self.probabilities"

    def change(self, value: Tensor) -> Tensor:
        """``value`` (1, N, T, T) with this row."""
        changed = value.clone()
        changed[0, self.head, self.token] = torch.tensor(self.probabilities).to(value)
        return changed


@dataclass(frozen=True)
class Interventions:
    """All interventions of one run."""

    heads: tuple[tuple[int, int], ...] = ()  # ablated: layer, head
    noise: Noise | None = None
    attention: tuple[AttentionRow, ...] = ()

    @contextmanager
    def on(self, model: BertPreTrainedModel) -> Iterator[None]:
        """Within the block, they act on the runs of ``model``."""
        changes = self.changes()
        if not changes:
            yield
            return
        with edit(encoder_of(model), changes):
            yield

    def changes(self) -> dict[str, Change]:
        """For :func:`minibert.edit`."""
        by_layer: dict[int, list[int]] = {}
        for layer, head in self.heads:
            by_layer.setdefault(layer, []).append(head)
        changes: dict[str, Change] = {
            f"encoder.layer.{layer}.attention.self.context_heads": zero_head(*heads)
            for layer, heads in by_layer.items()
        }
        if self.noise is not None:
            changes[self.noise.point] = self.noise.change
        by_point: dict[str, list[AttentionRow]] = {}
        for row in self.attention:
            by_point.setdefault(row.point, []).append(row)
        changes |= {point: partial(_in_turn, rows) for point, rows in by_point.items()}
        return changes


def _in_turn(rows: Sequence[AttentionRow], value: Tensor) -> Tensor:
    """``value`` with all ``rows``, which are of one layer."""
    for row in rows:
        value = row.change(value)
    return value


def parse_heads(config: BertConfig, heads: Any) -> tuple[tuple[int, int], ...]:
    """``[[layer, head], …]`` of a request; InputError for heads that the model does not have."""
    if (
        not isinstance(heads, list)
        or len(heads) > config.num_hidden_layers * config.num_attention_heads
        or not all(isinstance(pair, list) and len(pair) == 2 for pair in heads)
    ):
        raise InputError("heads is a list of pairs, [layer, head].")
    return tuple(
        (
            index_below(config.num_hidden_layers, "layer", layer),
            index_below(config.num_attention_heads, "head", head),
        )
        for layer, head in heads
    )


def parse_masked(masked: Any, texts: int) -> list[tuple[int, ...]]:
    """``[[position, …], …]`` of a request, a list for each text; whether a position can be masked, text.py checks."""
    if not (
        isinstance(masked, list)
        and len(masked) == texts
        and all(isinstance(each, list) and len(each) <= LARGEST_TEXT for each in masked)
        and all(isinstance(p, int) and not isinstance(p, bool) for each in masked for p in each)
    ):
        raise InputError("masked is a list of positions for each text.")
    return [tuple(sorted(set(each))) for each in masked]


def parse_noise(config: BertConfig, noise: Any, length: int) -> Noise | None:
    """The noise of a request, for a text of ``length`` tokens; None if its std is 0."""
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
        index_below(length, "position", noise.get("position", 0)),
        index_below(config.num_hidden_layers + 1, "depth", noise.get("depth", 0)),
        index_below(LARGEST_SEED, "seed", noise.get("seed", 0)),
    )


def parse_attention(config: BertConfig, rows: Any, length: int) -> tuple[AttentionRow, ...]:
    """``[{"layer", "head", "token", "probabilities"}, …]`` of a request, for a text of ``length`` tokens."""
    if (
        not isinstance(rows, list)
        or len(rows) > MOST_ROWS
        or not all(isinstance(row, Mapping) and isinstance(row.get("probabilities"), list) for row in rows)
    ):
        raise InputError(
            f"attention is a list of at most {MOST_ROWS} objects with layer, head, token and probabilities."
        )
    return tuple(
        AttentionRow(
            index_below(config.num_hidden_layers, "layer", row.get("layer")),
            index_below(config.num_attention_heads, "head", row.get("head")),
            index_below(length, "token", row.get("token")),
            _probabilities(row["probabilities"], length),
        )
        for row in rows
    )


def _probabilities(numbers: list[Any], length: int) -> tuple[float, ...]:
    are_numbers = all(isinstance(p, int | float) and not isinstance(p, bool) and 0 <= p <= 1 for p in numbers)
    if len(numbers) != length or not are_numbers or abs(sum(numbers) - 1) > SUM_TOLERANCE:
        raise InputError(f"probabilities are {length} numbers from 0 to 1 that sum to 1, one for each token.")
    return tuple(map(float, numbers))


def index_below(size: int, what: str, value: Any) -> int:
    """``value`` if it is an int from 0 to ``size`` − 1; InputError otherwise."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < size:
        raise InputError(f"{what} is a whole number from 0 to {size - 1}.")
    return value
