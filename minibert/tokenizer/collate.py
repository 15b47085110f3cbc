"""Rows to a batch: padded at the right to the longest, as int64 tensors.

Training, fine-tuning and whatever scores rows make their batches here; ``BertTokenizer.pad`` (padding.py) is the
ecosystem's way, for lists and fields of other people.  The embedder does not pad: it packs (embedding/packed.py).
Apart from the rest of the room because it needs torch.
"""

from collections.abc import Sequence
from itertools import chain

import torch
from torch import Tensor

from minibert.tokenizer.layout import TokenRow


def collate(rows: Sequence[TokenRow], pad_id: int) -> dict[str, Tensor]:
    """``input_ids``, ``attention_mask`` and ``token_type_ids``, each (B, T) int64, T being the longest row's."""
    input_ids, is_token = _padded([row.ids for row in rows], pad_id)
    second = torch.tensor([row.second for row in rows])
    is_second = is_token & (torch.arange(is_token.shape[1]) >= second[:, None])
    return {"input_ids": input_ids, "attention_mask": is_token.long(), "token_type_ids": is_second.long()}


def padded(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    """(B, T) int64: each row, and ``fill`` up to the longest."""
    return _padded(rows, fill)[0]


def _padded(rows: Sequence[Sequence[int]], fill: int) -> tuple[Tensor, Tensor]:
    """The rows, and (B, T) bool: where they are."""
    lengths = torch.tensor([len(row) for row in rows])
    is_there = torch.arange(int(lengths.max())) < lengths[:, None]
    values = torch.full(is_there.shape, fill)
    values[is_there] = torch.tensor(list(chain.from_iterable(rows)), dtype=torch.long)
    return values, is_there
