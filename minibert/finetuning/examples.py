"""What fine-tuning learns from: rows of token ids, padded to the longest of a batch, and what stands beside them.

A batch has the names that the heads' ``forward`` has (``input_ids``, ``labels``, ``start_positions`` …), here and in
transformers: ``model(**batch)`` gives the mean loss.  Start with :class:`TaskExamples`; :func:`run_rows` runs a model
over rows for scores and predictions.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.errors import InputError
from minibert.pretrained import BertPreTrainedModel
from minibert.tokenizer import BertTokenizer
from minibert.tokenizer.batch_encoding import collate
from minibert.tokenizer.windows import TokenRow
from minibert.training.examples import Batch, example_steps, generator, padded_batches

Found = TypeVar("Found")
Item = TypeVar("Item")
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
IGNORED = -100  # the label of tokens that do not count: torch's cross-entropy leaves them out
TOKENS_TOGETHER = 4096  # of a batch without gradients; on an accelerator eight times as many


class TaskExamples(ABC):
    """Examples as the loop wants them: shuffled each epoch, ``batch_size`` of them a step."""

    def __init__(self, rows: Sequence[TokenRow], pad_id: int, batch_size: int = 32, seed: int = 0) -> None:
        self.rows, self.pad_id, self.batch_size, self.seed = rows, pad_id, batch_size, seed
        self.lengths = [len(row) for row in rows]

    def __len__(self) -> int:
        return len(self.rows)

    def steps(self, epoch: int) -> list[list[int]]:
        """The epoch's steps, each the numbers of its examples."""
        return example_steps(len(self.rows), self.batch_size, generator(self.seed, epoch))

    def collate(self, numbers: Sequence[int], epoch: int = 0) -> Batch:
        """The inputs (B, T) of these examples, padded to the longest of them, with the labels of the task."""
        batch = collate([self.rows[number] for number in numbers], self.pad_id)
        return {**batch, **self.targets(numbers, batch["input_ids"].shape[1])}

    @abstractmethod
    def targets(self, numbers: Sequence[int], T: int) -> Batch:
        """The labels of these examples, in a batch that is ``T`` tokens wide."""


def at_least_float32(tensor: Tensor) -> Tensor:
    """Scores as losses and probabilities want them: bfloat16 would round them to three digits."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def run_rows(
    model: BertPreTrainedModel,
    rows: Sequence[TokenRow],
    pad_id: int,
    read: Callable[[Any, list[TokenRow]], Sequence[Found]],
    name: str | None = None,
) -> list[Found]:
    """What ``read`` finds for each row in the outputs of its batch; in the order of ``rows``.

    Rows of like length run together, so there is next to no padding.  The model is in eval mode meanwhile.  ``name``:
    of a progress bar, if there is to be one.
    """
    lengths = [len(row) for row in rows]
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    together = TOKENS_TOGETHER * (1 if model.device.type == "cpu" else 8)
    found: dict[int, Found] = {}
    bar = tqdm(total=len(rows), desc=name, unit=" rows", leave=False, disable=None if name else True)
    with bar, evaluating(model):
        for numbers in padded_batches(order, lengths, together):
            chosen = [rows[number] for number in numbers]
            batch = {key: tensor.to(model.device) for key, tensor in collate(chosen, pad_id).items()}
            found.update(zip(numbers, read(model(**batch), chosen), strict=True))
            bar.update(len(numbers))
    return [found[number] for number in range(len(rows))]


def progress(items: Sequence[Item], name: str, unit: str, many: int = 2000) -> Iterable[Item]:
    """The items, with a bar where there are ``many`` of them: fewer take no time."""
    bar: Iterable[Item] = tqdm(items, desc=name, unit=unit, leave=False, disable=None if len(items) > many else True)
    return bar


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode without gradients; afterwards every module is in the mode it was in.

    Not torch.inference_mode: weights that FSDP fetches meanwhile could not be trained with afterwards.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training


def longest_row(tokenizer: BertTokenizer, positions: int, asked: int | None, usual: int | None = None) -> int:
    """How many tokens a row may have: as asked, else as usual for the task, else what tokenizer and model allow.

    Raises InputError for more than the model reads.
    """
    if asked is None:
        return min(positions, tokenizer.model_max_length, usual or positions)
    if not 8 <= asked <= positions:
        raise InputError(f"max_length is {asked}; this model reads rows of 8 to {positions} tokens.")
    return asked
