"""Masking of pieces for masked language modelling (paper, section 3.1 and appendix A.1).

15% of the pieces are chosen.  Of these 80% become [MASK], 10% a random piece, and 10% stay as they are; all of them are
to be predicted.  The numbers are those of Google's create_masked_lm_predictions, with two differences.  Google counts
[CLS] and [SEP] when it takes 15%; here only pieces that can be chosen count.  And special tokens, [UNK] among them, are
neither chosen nor used as random pieces (Google would ask for an [UNK], which teaches nothing).  Read
:meth:`Masking.mask` first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minibert.losses import IGNORE_INDEX
from minibert.training.examples import generator

MASKING = 3  # seeds the generator; see passages.py
MASKED, REPLACED = 0.8, 0.1  # shares of the chosen pieces; the rest stay as they are


@dataclass(frozen=True)
class Masking:
    """How the pieces of a vocabulary are masked."""

    mask_id: int
    ordinary: Tensor  # (V,) bool: every piece that is no special token
    continues: Tensor  # (V,) bool: pieces that continue a word ("##ing")
    share: float = 0.15
    whole_word: bool = False  # all pieces of a word or none (Google's later models)

    def draw(self, seed: int, epoch: int, numbers: Sequence[int], lengths: Sequence[int], T: int) -> Tensor:
        """(B, 3, T) float64 in [0, 1): random numbers for the tokens of some examples, 1 behind an example's end.

        Those of an example depend on (seed, epoch, number) alone.
        """
        random = torch.ones(len(numbers), 3, T, dtype=torch.float64)
        for row, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
            draw = generator(seed, epoch, MASKING, number)
            random[row, :, :length] = torch.rand(3, length, generator=draw, dtype=torch.float64)
        return random

    def mask(self, input_ids: Tensor, random: Tensor) -> tuple[Tensor, Tensor]:
        """Choose pieces and mask them.

        Args:
            input_ids: (B, T) int64.
            random: (B, 3, T) in [0, 1): which pieces are chosen, what becomes of them, which random piece.

        Returns (B, T) int64 with pieces masked, and (B, T) int64 labels: the original piece where one was chosen, else
        IGNORE_INDEX.  At least one piece per row is chosen, unless the row has only special tokens.
        """
        candidates = self.ordinary[input_ids]
        counts = (self.share * candidates.sum(1).double()).round().clamp(min=1).long()  # half to even, as in Python
        order = random[:, 0].masked_fill(~candidates, 2.0)
        chosen = self._words(input_ids, candidates, order, counts) if self.whole_word else lowest(order, counts)
        chosen &= candidates
        labels = input_ids.masked_fill(~chosen, IGNORE_INDEX)
        fate = random[:, 1]
        masked = input_ids.masked_fill(chosen & (fate < MASKED), self.mask_id)
        pieces = self.ordinary.nonzero()[:, 0]
        random_pieces = pieces[(random[:, 2] * len(pieces)).long().clamp(max=len(pieces) - 1)]
        replaced = chosen & (fate >= MASKED) & (fate < MASKED + REPLACED)
        return torch.where(replaced, random_pieces, masked), labels

    def _words(self, input_ids: Tensor, candidates: Tensor, order: Tensor, counts: Tensor) -> Tensor:
        """(B, T) bool: whole words in the order of their first pieces, each that still fits into the row's count.

        As Google's do_whole_word_mask.  If no word is short enough, the first is taken.
        """
        chosen = torch.zeros_like(candidates)
        inside = (self.continues[input_ids] & candidates).tolist()
        rows = zip(candidates.tolist(), inside, order.tolist(), counts.tolist(), strict=True)
        for row, (are_candidates, are_inside, row_order, count) in enumerate(rows):
            words: list[list[int]] = []
            for place, (is_candidate, is_inside) in enumerate(zip(are_candidates, are_inside, strict=True)):
                if is_candidate and is_inside and words and words[-1][-1] == place - 1:
                    words[-1].append(place)
                elif is_candidate:
                    words.append([place])
            words.sort(key=lambda word: row_order[word[0]])
            places: list[int] = []
            for word in words:
                if len(places) + len(word) <= count:
                    places += word
            chosen[row, places or words[:1][0] if words else []] = True
        return chosen


def lowest(order: Tensor, counts: Tensor) -> Tensor:
    """(B, T) bool: the places of the ``counts`` (B,) smallest numbers in each row of ``order`` (B, T)."""
    ranks = order.argsort(dim=1, stable=True).argsort(dim=1)
    return ranks < counts[:, None]
