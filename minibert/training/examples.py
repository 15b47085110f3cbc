"""What a run learns from, seen from the loop: numbered examples, and which of them make each step.

Everything here is a pure function of a seed and of numbers.  So a run that was interrupted, or that goes on with
another number of workers, finds the same examples in the same order with the same masks, and nothing about the order
has to be stored.  Start with :class:`Examples`; :func:`token_steps` is how pre-training fills its batches.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

Batch = dict[str, Tensor]

WINDOW = 50  # steps' worth of examples that are sorted by length together: little padding, and still a good shuffle


class Examples(Protocol):
    """Numbered examples.  What is drawn at random depends on the seed, the epoch and an example's number alone."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each example, [CLS] and [SEP] included."""

    def steps(self, epoch: int) -> list[list[int]]:
        """The epoch's steps in their order, each the numbers of its examples: its *global* batch."""

    def collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        """The inputs and labels of these examples, padded to the longest of them."""


def generator(*numbers: int) -> torch.Generator:
    """A CPU generator of its own for (seed, epoch, example, …); numbers that are close give unrelated draws."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def example_steps(count: int, size: int, draw: torch.Generator) -> list[list[int]]:
    """The numbers below ``count``, shuffled and cut into steps of ``size``; the last may be smaller."""
    order = torch.randperm(count, generator=draw).tolist()
    return [order[start : start + size] for start in range(0, count, size)]


def token_steps(lengths: Sequence[int], budget: int, draw: torch.Generator) -> list[list[int]]:
    """All examples in steps of about ``budget`` tokens, padding counted, examples of like length together.

    They are shuffled, sorted by length within windows of some ``WINDOW`` steps, cut where the padded batch would
    exceed the budget, and the steps are shuffled again.  An example longer than the budget is a step by itself.
    """
    order = torch.randperm(len(lengths), generator=draw).tolist()
    steps = []
    for window in _windows(order, lengths, WINDOW * budget):
        window.sort(key=lambda number: lengths[number])
        steps += padded_batches(window, lengths, budget)
    return [steps[number] for number in torch.randperm(len(steps), generator=draw).tolist()]


def padded_batches(order: Sequence[int], lengths: Sequence[int], budget: int) -> list[list[int]]:
    """``order`` cut so that no batch, padded to its longest example, exceeds ``budget`` tokens."""
    batches: list[list[int]] = []
    longest = 0
    for number in order:
        longest = max(longest, lengths[number])
        if not batches or (len(batches[-1]) + 1) * longest > budget:
            batches.append([])
            longest = lengths[number]
        batches[-1].append(number)
    return batches


def _windows(order: Sequence[int], lengths: Sequence[int], tokens: int) -> list[list[int]]:
    """``order`` cut into runs of about ``tokens`` tokens."""
    windows: list[list[int]] = [[]]
    total = 0
    for number in order:
        if total >= tokens:
            windows.append([])
            total = 0
        windows[-1].append(number)
        total += lengths[number]
    return windows


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, for torch.manual_seed."""
    return generator(*numbers).initial_seed() % (1 << 63)
