"""Two texts beside each other: every token of one against every token of the other, and the words they share.

A word that stands in both texts has one word embedding; at another position it has another position embedding, too,
which mixes into every cosine.  So a word whose positions differ is compared once more with matched positions: the text
in which it comes earlier is run with ``position_ids`` moved so far that both words stand at the same position ([CLS]
stays at 0), as :func:`minibert.word_similarity` does.  What then differs comes from the texts around the word.  A word
of several pieces is their mean.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.explorer.numbers import pack
from minibert.explorer.reading import Reading
from minibert.explorer.walks import hidden_states
from minibert.pretrained import BertPreTrainedModel

MATCHED = 16  # runs with positions moved; the longest words come first
Word = tuple[str, tuple[int, ...]]  # its name, and the positions of its pieces


def compare(
    model: BertPreTrainedModel,
    readings: tuple[Reading, Reading],
    hidden: tuple[Tensor, Tensor],
    shown: tuple[int, int],
    kind: str,
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
    add_matched(model, readings, hidden, found)
    return {"words": found, "tensors": {"across": pack(torch.matmul(first, second.transpose(1, 2)), kind)}}


def add_matched(
    model: BertPreTrainedModel,
    readings: tuple[Reading, Reading],
    hidden: tuple[Tensor, Tensor],
    found: list[dict[str, Any]],
) -> None:
    """To each word its cosines with matched positions: of the MATCHED longest words, where the model has room for it.

    None where there are none; the cosines as they are, where the positions are the same already.
    """
    longest = model.config.max_position_embeddings
    moved: dict[int, tuple[Tensor, Tensor]] = {0: hidden}
    for entry in sorted(found, key=lambda entry: -len(entry["word"])):
        offset = entry["first"][0] - entry["second"][0]  # text 2 moves by it; below 0, text 1 by its size
        later = readings[1] if offset > 0 else readings[0]
        entry["matched"] = None
        if offset not in moved:
            if len(moved) > MATCHED or later.length + abs(offset) > longest:
                continue
            other = hidden_states(model, later.inputs, abs(offset))
            moved[offset] = (hidden[0], other) if offset > 0 else (other, hidden[1])
        ours, theirs = moved[offset]
        pair = ours[:, entry["first"]].mean(dim=1), theirs[:, entry["second"]].mean(dim=1)
        entry["matched"] = F.cosine_similarity(*pair, dim=-1).tolist()


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
