"""Packed texts as a padded batch, and back: runtimes take (B, T), the rest of the engine one row per token.

A batch for a runtime holds texts of nearly the same length (:func:`cut_padded`), so there is little padding.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from minibert.embedding.backends.runtime import Padded
from minibert.embedding.packed import Packed

MOST_PADDING = 0.03  # of a batch that is not small
SMALL = 128  # tokens; a smaller batch takes further texts however much padding they bring
ONES = torch.ones(1, 512, dtype=torch.long)  # the mask of a single text; making one takes longer than it seems


def pad(packed: Packed) -> Padded:
    """The texts of ``packed``, each as long as the longest, with a mask."""
    longest, count = packed.lengths[-1], len(packed.lengths)
    if packed.lengths[0] == longest:
        input_ids, token_type_ids = (x.view(count, longest) for x in (packed.input_ids, packed.token_type_ids))
        ones = ONES[:, :longest] if count == 1 and longest <= ONES.shape[1] else torch.ones_like(input_ids)
        return Padded(input_ids, ones, token_type_ids)
    mask = torch.arange(longest) < torch.tensor(packed.lengths)[:, None]
    input_ids, token_type_ids = torch.zeros(2, count, longest, dtype=torch.long)
    input_ids[mask], token_type_ids[mask] = packed.input_ids, packed.token_type_ids
    return Padded(input_ids, mask.long(), token_type_ids)


def unpad(hidden_states: Tensor, packed: Packed) -> Tensor:
    """(B, T, H) to (tokens, H): without the padding."""
    longest = hidden_states.shape[1]
    if packed.lengths[0] == longest:
        return hidden_states.flatten(0, 1)
    return torch.cat([row[:length] for row, length in zip(hidden_states, packed.lengths, strict=True)])


def cut_padded(order: list[int], lengths: list[int], most: int, batch_size: int | None = None) -> Iterator[list[int]]:
    """Cut the row numbers ``order``, shortest first, into batches of at most ``most`` tokens with their padding.

    A batch that is not small ends where another row would make more than ``MOST_PADDING`` of it padding.
    """
    batch: list[int] = []
    tokens = 0
    for number in order:
        length = lengths[number]
        area = (len(batch) + 1) * length
        is_full = area > most or len(batch) == batch_size
        if batch and (is_full or (tokens >= SMALL and area - tokens - length > MOST_PADDING * area)):
            yield batch
            batch, tokens = [], 0
        batch.append(number)
        tokens += length
    if batch:
        yield batch
