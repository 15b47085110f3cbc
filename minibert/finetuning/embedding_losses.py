"""What the vectors of sentences are trained for: three losses, with the names and values of sentence-transformers.

Each takes the vectors of a step, (K, B, W): K texts of each of B examples, W numbers per vector; and, where examples
have one, their scores, (B,).  It returns the sum of its terms.

- :class:`MultipleNegativesRankingLoss` (Henderson et al. 2017; InfoNCE): of all second texts of the step, and of all
  further ones, the first text must find its own.  So the others are negatives that cost nothing.
- :class:`CoSENTLoss` (Su 2022): for each two examples, the one with the higher score must have the higher cosine.
- :class:`CosineSimilarityLoss` (Reimers & Gurevych 2019): the cosine must be the score.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class EmbeddingLoss(ABC):
    """A loss on the vectors of a step."""

    needs_scores: ClassVar[bool]  # whether each example is a pair with a score

    scale: float = 20.0  # what a cosine is multiplied by: the inverse of a temperature

    @abstractmethod
    def terms(self, examples: int) -> int:
        """The number of terms of so many examples."""

    @abstractmethod
    def sum(self, vectors: Tensor, scores: Tensor | None) -> Tensor:
        """The sum of the terms, a scalar in the precision of ``vectors``, (K, B, W); ``scores``: (B,)."""


@dataclass(frozen=True)
class MultipleNegativesRankingLoss(EmbeddingLoss):
    """A cross-entropy for each example: which of the step's texts belongs to the first one."""

    needs_scores: ClassVar[bool] = False

    def terms(self, examples: int) -> int:
        return examples

    def sum(self, vectors: Tensor, scores: Tensor | None) -> Tensor:
        unit = F.normalize(vectors, dim=-1)
        anchors, candidates = unit[0], unit[1:].flatten(0, 1)  # (B, W), ((K - 1) · B, W)
        logits = anchors @ candidates.T * self.scale  # (B, (K - 1) · B); the positives come first, in order
        return F.cross_entropy(logits, torch.arange(len(anchors), device=logits.device), reduction="sum")


@dataclass(frozen=True)
class CoSENTLoss(EmbeddingLoss):
    """log(1 + Σ exp(scale · (cos i - cos j))) over all pairs of examples where i has the lower score."""

    needs_scores: ClassVar[bool] = True

    def terms(self, examples: int) -> int:
        return 1

    def sum(self, vectors: Tensor, scores: Tensor | None) -> Tensor:
        assert scores is not None
        cosines = pair_cosines(vectors) * self.scale
        differences = cosines[:, None] - cosines[None, :]  # (B, B)
        wrong = differences[scores[:, None] < scores[None, :]]
        return torch.cat([wrong.new_zeros(1), wrong]).logsumexp(dim=0)  # e⁰ is the 1


@dataclass(frozen=True)
class CosineSimilarityLoss(EmbeddingLoss):
    """The squared difference between an example's cosine and its score."""

    needs_scores: ClassVar[bool] = True

    def terms(self, examples: int) -> int:
        return examples

    def sum(self, vectors: Tensor, scores: Tensor | None) -> Tensor:
        assert scores is not None
        return F.mse_loss(F.cosine_similarity(vectors[0], vectors[1], dim=-1), scores, reduction="sum")


LOSSES: dict[str, type[EmbeddingLoss]] = {
    kind.__name__: kind for kind in (MultipleNegativesRankingLoss, CoSENTLoss, CosineSimilarityLoss)
}


def pair_cosines(vectors: Tensor) -> Tensor:
    """The cosine of each example's two vectors: (2, B, W) to (B,)."""
    unit = F.normalize(vectors, dim=-1)
    return (unit[0] * unit[1]).sum(dim=-1)
