"""Which pieces are hidden, and behind what: masked-language modelling (paper, section 3.1 and appendix A.1).

15% of the pieces are chosen; of these 80% become [MASK], 10% a random piece, 10% stay as they are, and all of them are
to be guessed.  The numbers are those of Google's create_masked_lm_predictions, but for two: Google counts [CLS] and
[SEP] when it takes 15%, here only what can be chosen counts; and special tokens, [UNK] among them, are neither chosen
nor put in place of a piece (Google would ask for an [UNK], which teaches nothing).  Look first at :meth:`Masking.hide`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minibert.training.examples import generator

MASKING = 3  # what the generator is for; see passages.py
NOT_ASKED = -100  # the label of a position where there is nothing to guess
MASKED, REPLACED = 0.8, 0.1  # shares of the chosen pieces; the rest stay


@dataclass(frozen=True)
class Masking:
    """How pieces of one vocabulary are hidden."""

    mask_id: int
    ordinary: Tensor  # (V,) bool: every piece that is no special token
    continues: Tensor  # (V,) bool: pieces that go on with a word ("##ing")
    share: float = 0.15
    whole_word: bool = False  # all pieces of a word or none (Google's later models)

    def draws(self, seed: int, epoch: int, numbers: Sequence[int], lengths: Sequence[int], T: int) -> Tensor:
        """(B, 3, T) float64 in [0, 1): the chance of each token of some examples, 1 beyond an example's end.

        An example's own depends on (seed, epoch, number) alone.
        """
        chance = torch.ones(len(numbers), 3, T, dtype=torch.float64)
        for row, (number, length) in enumerate(zip(numbers, lengths, strict=True)):
            draw = generator(seed, epoch, MASKING, number)
            chance[row, :, :length] = torch.rand(3, length, generator=draw, dtype=torch.float64)
        return chance

    def hide(self, input_ids: Tensor, chance: Tensor) -> tuple[Tensor, Tensor]:
        """Choose pieces and hide them.

        Args:
            input_ids: (B, T) int64.
            chance: (B, 3, T) in [0, 1): which are chosen, what becomes of them, which random piece.

        Returns (B, T) int64 with pieces hidden, and (B, T) int64 labels: the piece that stood there, NOT_ASKED where
        none is asked for.  A row has at least one, unless it has nothing but special tokens.
        """
        candidates = self.ordinary[input_ids]
        wanted = (self.share * candidates.sum(1).double()).round().clamp(min=1).long()  # Python's round: half to even
        order = chance[:, 0].masked_fill(~candidates, 2.0)
        chosen = self._words(input_ids, candidates, order, wanted) if self.whole_word else lowest(order, wanted)
        chosen &= candidates
        labels = input_ids.masked_fill(~chosen, NOT_ASKED)
        fate = chance[:, 1]
        hidden = input_ids.masked_fill(chosen & (fate < MASKED), self.mask_id)
        pieces = self.ordinary.nonzero()[:, 0]
        random_pieces = pieces[(chance[:, 2] * len(pieces)).long().clamp(max=len(pieces) - 1)]
        replaced = chosen & (fate >= MASKED) & (fate < MASKED + REPLACED)
        return torch.where(replaced, random_pieces, hidden), labels

    def _words(self, input_ids: Tensor, candidates: Tensor, order: Tensor, wanted: Tensor) -> Tensor:
        """(B, T) bool: whole words in the order of their first pieces' chance, each that does not exceed the number.

        As Google's do_whole_word_mask.  Where not even one word is short enough, the first of them is taken.
        """
        chosen = torch.zeros_like(candidates)
        inside = (self.continues[input_ids] & candidates).tolist()
        rows = zip(candidates.tolist(), inside, order.tolist(), wanted.tolist(), strict=True)
        for row, (may, goes_on, chance, count) in enumerate(rows):
            words: list[list[int]] = []
            for place, (is_candidate, is_inside) in enumerate(zip(may, goes_on, strict=True)):
                if is_candidate and is_inside and words and words[-1][-1] == place - 1:
                    words[-1].append(place)
                elif is_candidate:
                    words.append([place])
            words.sort(key=lambda word: chance[word[0]])
            places: list[int] = []
            for word in words:
                if len(places) + len(word) <= count:
                    places += word
            chosen[row, places or words[:1][0] if words else []] = True
        return chosen


def lowest(order: Tensor, wanted: Tensor) -> Tensor:
    """(B, T) bool: the places of the ``wanted`` (B,) smallest numbers of each row of ``order`` (B, T)."""
    rank = order.argsort(dim=1, stable=True).argsort(dim=1)
    return rank < wanted[:, None]
