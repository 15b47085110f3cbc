"""Numbered examples, and which of them make each step.

Everything here is a pure function of a seed and of numbers.  So a run that was interrupted, or that is resumed with
another number of processes, finds the same examples in the same order with the same masks, and no order is stored.
Start with :class:`Examples`; :func:`token_steps` fills the batches of pre-training.
"""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

Batch = dict[str, Tensor]

WINDOW = 50  # steps whose examples are sorted by length together: little padding, and still a good shuffle


class Examples(Protocol):
    """Numbered examples.  Random draws depend only on the seed, the epoch and an example's number."""

    @property
    def lengths(self) -> Sequence[int]:
        """Tokens of each example, [CLS] and [SEP] included; where they depend on the epoch, at most so many."""

    def steps(self, epoch: int) -> list[list[int]]:
        """The epoch's steps in order, each the numbers of the examples in its global batch."""

    def collate(self, numbers: Sequence[int], epoch: int) -> Batch:
        """The inputs and labels of these examples, padded to the longest."""


def generator(*numbers: int) -> torch.Generator:
    """A CPU generator for (seed, epoch, example, …); even close numbers give unrelated draws."""
    digest = hashlib.sha256(repr(numbers).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))


def example_steps(count: int, size: int, draw: torch.Generator) -> list[list[int]]:
    """The numbers below ``count``, shuffled and cut into steps of ``size``; the last may be smaller."""
    order = torch.randperm(count, generator=draw).tolist()
    return [order[start : start + size] for start in range(0, count, size)]


def token_steps(
    lengths: Sequence[int], budget: int, draw: torch.Generator, groups: Sequence[Sequence[int]] | None = None
) -> list[list[int]]:
    """All examples in steps of about ``budget`` tokens, padding counted, examples of similar length together.

    They are shuffled, sorted by length within windows of about ``WINDOW`` steps, and cut where the padded batch would
    exceed the budget; then the steps are shuffled.  An example longer than the budget is a step by itself.  The
    examples of one of ``groups`` are in the same step; by default each example is its own group.
    """
    groups = groups or [[number] for number in range(len(lengths))]
    longest, sizes = [max(lengths[number] for number in group) for group in groups], list(map(len, groups))
    order = torch.randperm(len(groups), generator=draw).tolist()
    steps = []
    for window in _windows(order, longest, sizes, WINDOW * budget):
        window.sort(key=lambda number: longest[number])
        steps += padded_batches(window, longest, budget, sizes)
    return [
        [number for group in steps[step] for number in groups[group]]
        for step in torch.randperm(len(steps), generator=draw).tolist()
    ]


def padded_batches(
    order: Sequence[int], lengths: Sequence[int], budget: int, sizes: Sequence[int] | None = None
) -> list[list[int]]:
    """``order`` cut so that no batch, padded to its longest example, exceeds ``budget`` tokens.

    Each number is an example, or with ``sizes`` a group of so many examples, the longest of which has that length.
    """
    batches: list[list[int]] = []
    longest = total = 0
    for number in order:
        size = 1 if sizes is None else sizes[number]
        longest = max(longest, lengths[number])
        if not batches or (total + size) * longest > budget:
            batches.append([])
            longest, total = lengths[number], 0
        batches[-1].append(number)
        total += size
    return batches


def by_length(numbers: Sequence[int], lengths: Sequence[int], call_cost: float) -> list[list[int]]:
    """The numbers sorted by length, and cut into groups of similar length so that the sum of their costs is lowest.

    A group costs its tokens when padded to its longest, and ``call_cost`` tokens for being one more: where that is 0,
    there is a group for each length, and where it is high, there is one group.  ``numbers`` must not be empty.
    """
    order = sorted(numbers, key=lengths.__getitem__)
    ends = [n for n in range(1, len(order)) if lengths[order[n - 1]] < lengths[order[n]]]  # where a cut can be
    ends = [0, *ends, len(order)]
    lowest, cut_before = (
        [0.0],
        [0],
    )  # for the examples before each of the ends: their cost, and their last group's start
    for number, end in enumerate(ends[1:], start=1):
        longest = lengths[order[end - 1]]
        costs = [lowest[start] + (end - ends[start]) * longest + call_cost for start in range(number)]
        lowest.append(min(costs))
        cut_before.append(costs.index(lowest[-1]))
    groups = []
    number = len(ends) - 1
    while number:
        groups.append(order[ends[cut_before[number]] : ends[number]])
        number = cut_before[number]
    return groups[::-1]


def _windows(order: Sequence[int], lengths: Sequence[int], sizes: Sequence[int], tokens: int) -> list[list[int]]:
    """``order`` cut into windows of about ``tokens`` tokens."""
    windows: list[list[int]] = [[]]
    total = 0
    for number in order:
        if total >= tokens:
            windows.append([])
            total = 0
        windows[-1].append(number)
        total += lengths[number] * sizes[number]
    return windows


def seed_of(*numbers: int) -> int:
    """One seed from several numbers, for torch.manual_seed."""
    return generator(*numbers).initial_seed() % (1 << 63)
