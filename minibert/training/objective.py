"""What a model is trained for, as sums of losses.

Processes and micro-batches have different numbers of masked pieces, pairs or words, so the mean of their means is not
the mean of the whole batch.  An objective therefore returns sums, and says beforehand how many terms each has; the loop
divides by the number of terms of the whole step.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from minibert.pretrained import BertPreTrainedModel
from minibert.training.examples import Batch

Result = TypeVar("Result")


class Objective(nn.Module, ABC):
    """A model and its losses.  ``objective.model`` is what is saved in the end."""

    takes_packed = False  # whether the batches may be those of packing.py, with the tokens of all texts in one row
    divisible = True  # whether a step may be computed in parts, since each term of a loss is about one example
    micro_tokens: int | None = None  # of the settings, for an objective that is not divisible

    def __init__(self, model: BertPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def counts(self, batch: Batch) -> Mapping[str, float]:
        """The number of terms of each sum of :meth:`forward`, from the labels; the same keys for every batch.

        Where terms have weights, the sum of the weights.
        """

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sum of each loss, a float32 scalar in nats (or squared units)."""

    def call(self, function: Callable[[BertPreTrainedModel], Result]) -> Result:
        """``function(self.model)``; FSDP fetches the parts of a sharded model around this method."""
        return function(self.model)
