"""What the page shows of hidden states beside their numbers: lengths, angles, a plane, and how far an edit reaches.

The plane is that of the two directions in which the hidden states of all layers and tokens differ most (principal
components): a map of where each token goes, which keeps as much of the distances as two numbers can.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


def cosines(hidden: Tensor) -> Tensor:
    """(…, T, H) to (…, T, T): the cosine of every two tokens."""
    unit = F.normalize(hidden, dim=-1)
    return unit @ unit.transpose(-1, -2)


@dataclass(frozen=True)
class Plane:
    """Two directions in the space of hidden states, and the point that is drawn in the middle."""

    middle: Tensor  # (H,) float64
    directions: Tensor  # (H, 2) float64
    share: tuple[float, float]  # of the variance, along each

    @classmethod
    def of(cls, hidden: Tensor) -> "Plane":
        """The plane of the hidden states (L + 1, T, H) of one run."""
        points = hidden.detach().flatten(0, -2).double()
        middle = points.mean(dim=0)
        _, spreads, directions = torch.linalg.svd(points - middle, full_matrices=False)
        directions = F.pad(directions[:2], (0, 0, 0, max(0, 2 - len(directions))))
        largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        directions = directions * torch.where(largest < 0, -1.0, 1.0)  # a direction and its opposite are the same plane
        shares = F.pad(spreads.square() / spreads.square().sum().clamp_min(1e-300), (0, 2))[:2].tolist()
        return cls(middle, directions.T, (shares[0], shares[1]))

    def place(self, hidden: Tensor) -> Tensor:
        """(…, H) to (…, 2)."""
        placed: Tensor = (hidden.double() - self.middle) @ self.directions
        return placed


def ripple(edited: Tensor, whole: Tensor) -> Tensor:
    """How far each hidden state is from that of the run without edits, relative to it: (L + 1, T) for (L + 1, T, H)."""
    distance = (edited - whole).norm(dim=-1)
    share: Tensor = distance / whole.norm(dim=-1).clamp_min(1e-12)
    return share
