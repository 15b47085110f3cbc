"""Two texts beside each other: every token of one against every token of the other, and the words they share.

A word that stands in both texts begins as one vector (but for its position) and is told apart by what stands around
it; how fast, layer by layer, is what teachers show first.  A word of several pieces is their mean.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.explorer.numbers import pack
from minibert.explorer.reading import Reading

Word = tuple[str, tuple[int, ...]]  # its name, and the positions of its pieces


def compare(
    readings: tuple[Reading, Reading], hidden: tuple[Tensor, Tensor], shown: tuple[int, int], kind: str
) -> dict[str, Any]:
    """Cosines of the hidden states (L + 1, T, H) of two runs; of the ``shown`` first tokens of each."""
    first, second = (F.normalize(states[:, :tokens], dim=-1) for states, tokens in zip(hidden, shown, strict=True))
    found = []
    for name, positions in words(readings[0], shown[0]):
        for other, others in words(readings[1], shown[1]):
            if name == other:
                ours, theirs = hidden[0][:, positions].mean(dim=1), hidden[1][:, others].mean(dim=1)
                values = F.cosine_similarity(ours, theirs, dim=-1).tolist()
                found.append({"word": name, "first": positions, "second": others, "cosines": values})
    return {"words": found, "tensors": {"across": pack(torch.matmul(first, second.transpose(1, 2)), kind)}}


def words(reading: Reading, shown: int) -> list[Word]:
    """The words of a text with a letter in them; of a word of several pieces also its first one (배 of 배를)."""
    positions: dict[int, list[int]] = {}
    for position, word in enumerate(reading.words[:shown]):
        if word is not None and not reading.special[position]:
            positions.setdefault(word, []).append(position)
    found: list[Word] = []
    for pieces in positions.values():
        names = [reading.tokens[position].removeprefix("##") for position in pieces]
        if any(letter.isalnum() for name in names for letter in name):
            found.append(("".join(names), tuple(pieces)))
            if len(pieces) > 1:
                found.append((names[0], (pieces[0],)))
    return found
