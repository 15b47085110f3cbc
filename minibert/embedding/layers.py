"""Which hidden states a vector is made of: every choice by its name.

BERT's paper compares six for features (Devlin et al. 2018, table 7): the embeddings, the second to last hidden, the
last hidden, a weighted sum of the last four, the last four concatenated, a weighted sum of all.  Here they are, and
any hidden state or list of them by number: 0 is the embeddings, 12 the last of 12 layers, -1 the last of any model.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from operator import index
from typing import Any

import torch
from torch import Tensor

from minibert.embedding.arguments import described
from minibert.errors import InputError

LayerChoice = str | int | Sequence[int]
LAST_FOUR = (-4, -3, -2, -1)
NAMES = (
    "last",
    "second_to_last",
    "embeddings",
    "sum_last4",
    "weighted_last4",
    "concat_last4",
    "sum_all",
    "weighted_all",
)


@dataclass(frozen=True)
class Layers:
    """Which hidden states, and how they are combined."""

    numbers: tuple[int, ...]  # 0 … L
    weights: tuple[float, ...] | None  # of the sum; None: concatenated

    @property
    def width(self) -> int:
        """The size of a vector as a multiple of the hidden size."""
        return len(self.numbers) if self.weights is None else 1

    def combine(self, hidden_states: Sequence[Tensor]) -> Tensor:
        """The hidden states of ``numbers``, in that order, each (…, H), to (…, H) or (…, layers · H)."""
        if self.weights is None:
            return torch.cat(list(hidden_states), dim=-1)
        if self.weights == (1.0,):
            return hidden_states[0]
        total = hidden_states[0] * self.weights[0]
        for hidden, weight in zip(hidden_states[1:], self.weights[1:], strict=True):
            total = total + hidden * weight
        return total


def choose_layers(choice: LayerChoice, layers: int, weights: Sequence[float] | None = None) -> Layers:
    """What ``choice`` means for a model with that many layers.

    Args:
        choice: one of NAMES, the number of a hidden state, or a list of numbers, which are concatenated (or summed,
            where there are ``weights``).
        layers: L; the hidden states are 0 … L.
        weights: of a weighted sum, one per hidden state in it; default equal, with sum 1.

    Raises InputError for an unknown name or number, and for weights that do not fit.
    """
    if isinstance(choice, str) and choice not in NAMES:
        raise InputError(
            f"{choice!r} is no choice of layers; there are {', '.join(NAMES)}, a number, or a list of them."
        )
    named: dict[str, Sequence[int]] = {
        "last": (-1,),
        "second_to_last": (-2,),
        "embeddings": (0,),
        **dict.fromkeys(("sum_last4", "weighted_last4", "concat_last4"), LAST_FOUR),
        **dict.fromkeys(("sum_all", "weighted_all"), range(layers + 1)),
    }
    chosen = tuple(named[choice]) if isinstance(choice, str) else read_numbers(choice)
    if unknown := [number for number in chosen if not -layers - 1 <= number <= layers]:
        raise InputError(f"There is no hidden state {unknown[0]}: this model has 0 (the embeddings) to {layers}.")
    numbers = tuple(number if number >= 0 else layers + 1 + number for number in chosen)
    if not numbers:
        raise InputError("The list of layers is empty; name at least one.")
    is_weighted = isinstance(choice, str) and choice.startswith("weighted_")
    if weights is not None:
        weights = read_weights(weights)
        if len(weights) != len(numbers) or (isinstance(choice, str) and not is_weighted):
            raise InputError(
                f"{len(weights)} weights for {choice!r}, which sums {len(numbers)} hidden states by weight."
            )
        return Layers(numbers, weights)
    if is_weighted:
        return Layers(numbers, (1 / len(numbers),) * len(numbers))
    if len(numbers) == 1 or (isinstance(choice, str) and choice.startswith("sum_")):
        return Layers(numbers, (1.0,) * len(numbers))
    return Layers(numbers, None)


def read_numbers(choice: Any) -> tuple[int, ...]:
    """One or several numbers of hidden states as a tuple; InputError for anything else."""
    try:
        numbers = tuple(choice) if isinstance(choice, Iterable) else (choice,)
        if not any(isinstance(number, bool) for number in numbers):
            return tuple(index(number) for number in numbers)
    except TypeError:
        pass
    raise InputError(
        f"{described(choice)} is no choice of layers; there are {', '.join(NAMES)}, a number, or a list of them."
    )


def read_weights(weights: Any) -> tuple[float, ...]:
    """``weights`` as finite numbers; InputError for anything else."""
    try:
        numbers = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"weights is {described(weights)}; expected a list of numbers.") from error
    if not all(map(isfinite, numbers)):
        raise InputError(f"weights is {described(weights)}; expected finite numbers.")
    return numbers
