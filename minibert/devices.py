"""Devices by name, for everything that runs a model."""

import torch

from minibert.errors import InputError


def find_device(name: str | torch.device | None) -> torch.device:
    """The device ``name``, by default the CPU; InputError when this machine or this torch does not have it."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(name or "cpu")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(
            f"There is no device {str(name)!r} here ({str(error).splitlines()[0]}); 'cpu' always is, and 'auto' takes "
            "the best there is."
        ) from error
    return device
