"""Which parameter of one side of a training is which of the other: by name, by its numbers, by its gradient.

The same numbers may be transposed, or be rows of a fused matrix.  Start with :class:`Matching`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from minibert.verify.training_run import Side, StepRecord


@dataclass(frozen=True)
class Part:
    """Where a parameter of the first side is on the second."""

    theirs: str
    transposed: bool = False
    rows: tuple[int, int] | None = None

    def read(self, tensor: Tensor) -> Tensor:
        """The part of a tensor of theirs, in our layout; a view."""
        tensor = tensor if self.rows is None else tensor[self.rows[0] : self.rows[1]]
        return tensor.T if self.transposed else tensor


class Matching:
    """Where the parameters of a side are on another one: name → part."""

    def __init__(self, a: Side, b: Side) -> None:
        self.b = b
        by_alias = {alias: name for name, aliases in b.aliases.items() for alias in aliases}
        self.parts: dict[str, Part] = {}
        for name, aliases in a.aliases.items():
            theirs = next((by_alias[alias] for alias in aliases if alias in by_alias), None)
            if theirs is not None and b.parameters[theirs].shape == a.parameters[name].shape:
                self.parts[name] = Part(theirs)
        taken = {part.theirs for part in self.parts.values()}
        free = {name: p.detach() for name, p in b.parameters.items() if name not in taken}
        for name, parameter in a.parameters.items():
            if name not in self.parts and (part := find(parameter.detach(), free)) is not None:
                self.parts[name] = part

    def match_constants(self, first: StepRecord, second: StepRecord, bound: Callable[[str, Tensor], Tensor]) -> None:
        """Parameters that hold one number (all 0, all 1) are told apart by their gradients."""
        taken = {part.theirs for part in self.parts.values()}
        free = {name: value for name, value in second.gradients.items() if name not in taken}
        for name, value in first.gradients.items():
            if name in self.parts or value.dim() == 0:
                continue
            limit = float(bound(name, value).max())
            if float(value.abs().max()) <= 8 * limit:
                continue  # nothing but rounding, as a key's bias: it could be anything
            for other, gradient in free.items():
                if gradient.shape == value.shape and float((gradient - value).abs().max()) <= limit:
                    self.parts[name] = Part(other)
                    del free[other]
                    break

    def read(self, values: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
        """The second side's values of parameters under the first side's names and in its layout, and their names."""
        parts = {name: part for name, part in self.parts.items() if part.theirs in values}
        return {n: part.read(values[part.theirs]) for n, part in parts.items()}, {n: p.theirs for n, p in parts.items()}

    @torch.no_grad()
    def set_gradients(self, applied: Mapping[str, Tensor]) -> None:
        """Give the second side's optimizer the first side's gradients, which are its own but for rounding."""
        for name, part in self.parts.items():
            gradient = self.b.parameters[part.theirs].grad
            if name in applied and gradient is not None and not gradient.is_sparse:
                part.read(gradient).copy_(applied[name])

    @torch.no_grad()
    def go_on_from(self, first: StepRecord) -> None:
        """Give the second side the first side's weights and moments, which are its own but for rounding."""
        for name, part in self.parts.items():
            parameter = self.b.parameters[part.theirs]
            part.read(parameter.data).copy_(first.after[name])
            state = self.b.optimizer.state.get(parameter, {})
            for key in ("exp_avg", "exp_avg_sq"):
                if key in state and key in first.state.get(name, {}):
                    part.read(state[key]).copy_(first.state[name][key])


def find(value: Tensor, others: Mapping[str, Tensor]) -> Part | None:
    """The tensor that holds exactly these numbers, as it is, transposed, or among its rows."""
    if value.numel() < 2 or bool((value == value.reshape(-1)[0]).all()):
        return None
    for name, other in others.items():
        for transposed in (False, True) if value.dim() == 2 else (False,):
            wanted = value.T if transposed else value
            if other.shape == wanted.shape and torch.equal(other, wanted.to(other.dtype)):
                return Part(name, transposed)
            if other.dim() == wanted.dim() and other.shape[1:] == wanted.shape[1:] and len(other) > len(wanted):
                for start in range(0, len(other) - len(wanted) + 1, len(wanted)):
                    if torch.equal(other[start : start + len(wanted)], wanted.to(other.dtype)):
                        return Part(name, transposed, (start, start + len(wanted)))
    return None
