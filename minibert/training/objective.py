"""What a model is trained for, as sums: so micro-batches and workers add up to exactly the loss of the whole batch.

Ranks and micro-batches hold different numbers of masked pieces, pairs or words.  A mean of their means would weigh the
pieces of a small batch more; so an objective says beforehand how many terms it will sum, and the loop divides by the
number of the whole step (the mean that one large batch would have had).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeVar

from torch import Tensor, nn

from minibert.pretrained import BertPreTrainedModel
from minibert.training.examples import Batch

Found = TypeVar("Found")


class Objective(nn.Module, ABC):
    """A model and its losses.  ``objective.model`` is what is saved in the end."""

    def __init__(self, model: BertPreTrainedModel) -> None:
        super().__init__()
        self.model = model

    @abstractmethod
    def counts(self, batch: Batch) -> Mapping[str, float]:
        """How many terms each sum of :meth:`forward` will have, read off the labels.  The same keys for every batch.

        Where terms have weights, the sum of these.
        """

    @abstractmethod
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Under each key the sum of its terms, a scalar in nats (or squared units), in float32."""

    def call(self, function: Callable[[BertPreTrainedModel], Found]) -> Found:
        """``function(self.model)``; where the model is shared out among workers, with its parts fetched."""
        return function(self.model)
