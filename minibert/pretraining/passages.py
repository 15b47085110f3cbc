"""Passages: runs of sentences that fill an example, the same in every epoch.

As in the paper (appendix A.2) and Google's create_pretraining_data.py, a passage is neighbouring sentences of a
document up to the length of an example, and now and then up to a shorter length.  Where it is cut into A and B is drawn
once per epoch, in pairs.py.  Only sentences too long for an example are cut, and never inside a word.  Read
:func:`pack`.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.pretraining.tokenized import TokenizedText
from minibert.tokenizer.windows import special_count
from minibert.training.examples import generator

SPECIAL_TOKENS = special_count(is_pair=True)
PACKING = 1  # part of the generator's seed, different for each purpose, so that the draws are independent


@dataclass(frozen=True)
class Passages:
    """N runs of sentences, each of one document."""

    starts: Tensor  # (S + 1,) int64: the first piece of each sentence, after long sentences were cut
    first: Tensor  # (N,) int64: the first sentence of each passage
    end: Tensor  # (N,) int64: the sentence behind its last
    document: Tensor  # (N,) int64

    def __len__(self) -> int:
        return len(self.first)


def pack(text: TokenizedText, continues: Tensor, *, max_length: int, short_share: float, seed: int) -> Passages:
    """Divide a text into passages.

    Args:
        text: (P,) pieces.
        continues: (V,) bool: the pieces that continue a word ("##ing").
        max_length: tokens of an example, [CLS] and two [SEP] included.
        short_share: share of passages with a random shorter length (Google: 0.1), so that the model learns short
            texts too.
        seed: of the random lengths.

    Two sentences that fit are always together, so that there is a pair.  A sentence too long for a passage is first cut
    at a space, or between two words if there is none; a word too long for a passage is left out.

    Raises InputError when ``max_length`` has no room for two pieces, or when no sentence fits.
    """
    room = max_length - SPECIAL_TOKENS
    if room < 2:
        raise InputError(f"max_length is {max_length}; [CLS] A [SEP] B [SEP] needs at least 5 tokens.")
    starts = cut_long_sentences(text, continues, room)
    document_starts = torch.searchsorted(starts, text.sentences[text.documents])
    lengths = starts.diff().tolist()
    draws = torch.rand(2, len(lengths), generator=generator(seed, PACKING), dtype=torch.float64)
    targets = torch.where(draws[0] < short_share, 2 + (draws[1] * (room - 1)).long(), room).tolist()
    passages = array("q")  # first, last and document of each
    for document, (begin, end) in enumerate(pairwise(document_starts.tolist())):
        for first_and_last in fill(lengths, targets, begin, end, room):
            passages.extend((*first_and_last, document))
    if not passages:
        raise InputError(f"No sentence of the text fits into {max_length} tokens. Ask for a longer max_length.")
    first, last, document_of = torch.frombuffer(passages, dtype=torch.int64).view(-1, 3).unbind(1)
    return Passages(starts, first.contiguous(), last.contiguous(), document_of.contiguous())


def fill(lengths: list[int], targets: list[int], begin: int, end: int, room: int) -> Iterator[tuple[int, int]]:
    """The passages of the sentences from ``begin`` up to ``end``: the first sentence and the one behind the last."""
    while begin < end:
        last, total = begin + 1, lengths[begin]
        while last < end:
            limit = room if last == begin + 1 else targets[begin]
            total += lengths[last]
            if total > limit:
                break
            last += 1
        if lengths[begin] <= room:
            yield begin, last
        begin = last


def cut_long_sentences(text: TokenizedText, continues: Tensor, room: int) -> Tensor:
    """(S' + 1,) int64: the first piece of each sentence, after those of more than ``room`` pieces were cut."""
    begin, end = text.sentences[:-1], text.sentences[1:]
    cuts: list[int] = []
    for number in (end - begin > room).nonzero()[:, 0].tolist():
        here = slice(int(begin[number]), int(end[number]))
        spaces = text.begins_stretch[here].nonzero()[:, 0].tolist()
        words = (~continues[text.pieces[here]]).nonzero()[:, 0].tolist()
        cuts += (here.start + place for place in places_to_cut(spaces, words, here.stop - here.start, room))
    return torch.cat([text.sentences, torch.tensor(cuts, dtype=torch.int64)]).sort().values


def places_to_cut(spaces: list[int], words: list[int], length: int, room: int) -> Iterator[int]:
    """Where to cut ``length`` pieces into parts of at most ``room``; only a single word may be longer.

    ``spaces`` and ``words`` are the ascending places where text after white space, and where a word, begins.
    """
    at = 0
    while length - at > room:
        parts = -(-(length - at) // room)
        size = -(-(length - at) // parts)  # equal parts, not a full one and a short rest
        place = last_up_to(spaces, at + size) or last_up_to(words, at + size)
        if place <= at:
            place = last_up_to(spaces, at + room)
        if place <= at:
            place = last_up_to(words, at + room)
        if place <= at:  # one word that is longer than the room
            following = bisect_right(words, at)
            if following == len(words):
                return
            place = words[following]
        yield place
        at = place


def last_up_to(places: list[int], limit: int) -> int:
    """The last of ``places`` up to ``limit``; 0 if there is none."""
    number = bisect_right(places, limit)
    return places[number - 1] if number else 0
