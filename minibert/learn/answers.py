"""Which of several outcomes an answer is: what the checks of the exercises share."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

OTHER = "other"


def which_number(answer: Any, outcomes: Mapping[str, float], tolerance: float = 2e-3) -> str:
    """The key of the first number that ``answer`` is, within ``tolerance`` of itself; else ``other``."""
    return next((key for key, number in outcomes.items() if math.isclose(answer, number, rel_tol=tolerance)), OTHER)


def which_tensor(answer: Any, outcomes: Mapping[str, Tensor], tolerance: float = 1e-3) -> str:
    """The key of the first tensor that ``answer`` is; else ``other``.

    ``tolerance`` is relative to the largest absolute value.  A leading dimension of 1 in ``answer`` is ignored.
    """
    given = torch.as_tensor(answer, dtype=torch.float32).detach()
    for key, tensor in outcomes.items():
        shaped = given[0] if given.dim() == tensor.dim() + 1 and given.shape[0] == 1 else given
        if shaped.shape == tensor.shape and (shaped - tensor).abs().max() <= tolerance * tensor.abs().max():
            return key
    return OTHER
