"""Training examples: rows of token ids with their targets, packed or padded to the longest row of a batch.

The keys of a padded batch are arguments of the heads' ``forward`` (``input_ids``, ``labels``, ``start_positions`` …),
here and in transformers: ``model(**batch)`` gives the mean loss.  Start with :class:`TaskExamples`; :func:`run_rows`
runs a model over rows for scores and predictions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.errors import InputError
from minibert.finetuning.packing import call_cost, packed
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import collate
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch, by_length, example_steps, generator, padded_batches

Value = TypeVar("Value")
Item = TypeVar("Item")
TOKENS_PER_BATCH = 4096  # without gradients; on an accelerator eight times as many


class TaskExamples(ABC):
    """The examples of a training run: shuffled each epoch, ``batch_size`` of them per step."""

    batch_size, seed = 32, 0
    call_cost: float | None = None  # of a group of similar length (packing.py), in tokens; None: one padded batch
    per_token: tuple[str, ...] = ()  # the targets with a value per token

    def __init__(self, rows: Sequence[TokenRow], pad_id: int) -> None:
        self.rows, self.pad_id = rows, pad_id
        self.lengths = [len(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self, epoch: int) -> list[list[int]]:
        """The steps of an epoch, each the numbers of its examples."""
        return example_steps(len(self), self.batch_size, generator(self.seed, epoch))

    def collate(self, numbers: Sequence[int], epoch: int = 0) -> Batch:
        """The inputs of these examples with the targets of the task: packed, or padded to the longest."""
        if self.call_cost is None:
            return self.padded(numbers)
        groups = by_length(numbers, self.lengths, self.call_cost)
        return packed([self.padded(group) for group in groups], self.per_token)

    def padded(self, numbers: Sequence[int]) -> Batch:
        """The same as (B, T) int64, padded to the longest."""
        batch = collate([self.rows[number] for number in numbers], self.pad_id)
        return {**batch, **self.targets(numbers, batch["input_ids"].shape[1])}

    @abstractmethod
    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """The targets of these examples by their names, in a batch that is ``T`` tokens wide."""


def at_least_float32(tensor: Tensor) -> Tensor:
    """Logits in the precision for losses and probabilities: bfloat16 would round them to three digits."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def run_rows(
    model: BertPreTrainedModel,
    rows: Sequence[TokenRow],
    pad_id: int,
    read: Callable[[Any, list[TokenRow]], Sequence[Value]],
    name: str | None = None,
    run: Callable[[Batch], Any] | None = None,
) -> list[Value]:
    """One value per row, in the order of ``rows``: ``read(output, rows)`` of each batch, joined.

    Batches hold rows of similar length, so there is little padding (:func:`minibert.training.examples.by_length`).  The
    model is in eval mode meanwhile.  ``name``: of a progress bar; None: no bar.  ``run``: instead of calling the model
    with the batch.
    """
    lengths = [len(row) for row in rows]
    tokens = TOKENS_PER_BATCH * (1 if model.device.type == "cpu" else 8)
    values: dict[int, Value] = {}
    bar = tqdm(total=len(rows), desc=name, unit=" rows", leave=False, disable=None if name else True)
    with bar, evaluating(model):
        groups = by_length(range(len(rows)), lengths, call_cost(model.config, model.device)) if rows else []
        for numbers in chain.from_iterable(padded_batches(group, lengths, tokens) for group in groups):
            chosen = [rows[number] for number in numbers]
            batch = {key: tensor.to(model.device) for key, tensor in collate(chosen, pad_id).items()}
            output = model(**batch) if run is None else run(batch)
            values.update(zip(numbers, read(output, chosen), strict=True))
            bar.update(len(numbers))
    return [values[number] for number in range(len(rows))]


def progress(items: Sequence[Item], name: str, unit: str, many: int = 2000) -> Iterable[Item]:
    """The items, with a progress bar where there are more than ``many`` of them."""
    bar: Iterable[Item] = tqdm(items, desc=name, unit=unit, leave=False, disable=None if len(items) > many else True)
    return bar


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every module is in its previous mode.

    Not torch.inference_mode: weights that FSDP gathers meanwhile could not be trained afterwards.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def longest_row(tokenizer: BertTokenizer, positions: int, max_length: int | None, usual: int | None = None) -> int:
    """The most tokens of a row: ``max_length``, else the task's ``usual``, as far as tokenizer and model allow.

    Raises InputError for a ``max_length`` that the model cannot read.
    """
    if max_length is None:
        return min(positions, tokenizer.model_max_length, usual or positions)
    if not 8 <= max_length <= positions:
        raise InputError(f"max_length is {max_length}; this model reads rows of 8 to {positions} tokens.")
    return max_length
