"""Which values after the last hidden states are steps towards a sentence's vector, and so none of BERT's own.

An export for search (``sentence_embedding``) takes the mean of the tokens, or the first, and scales it to unit length.
Its values have the pooler's shape, (B, H), and are no pooler.
"""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.verify.layouts import Value

NAME = "sentence_embedding"  # of the output, in minibert, sentence-transformers and optimum
NEAR = 1e-4  # of vectors of unit length: nothing that a matrix has changed is as near


def steps_of_a_sentence(values: Iterable[Value], last: Tensor, visible: Tensor, after: int) -> set[Value]:
    """Those values that are a pooling of the last hidden states, or tokens of them, each times a number of its own.

    A mask or a length, repeated for each of the H numbers, is such a step as well.

    Args:
        values: what was computed.
        last: the last hidden states, (B, T, H).
        visible: (B, T) bool, False for padding.
        after: the number of a value; what is not after it is left out.
    """
    B, T, H = last.shape
    pooled = [F.normalize(each, dim=-1) for each in poolings(last, visible)]
    tokens = F.normalize(last, dim=-1)[visible]  # (visible tokens, H)
    found = set()
    for value in values:
        if value.order <= after or not value.tensor.is_floating_point():
            continue
        theirs = value.tensor.to(last.dtype)
        if theirs.dim() == 0 or theirs.shape[-1] != H or theirs.numel() not in (B * H, B * T * H):
            continue
        if theirs.numel() == B * H:
            rows, right = theirs.reshape(B, H), pooled
        else:
            rows, right = theirs.reshape(B, T, H)[visible], [tokens]
        unit = F.normalize(rows, dim=-1)
        is_count = torch.equal(rows, rows[:, :1].expand_as(rows))  # what they are divided by, once for each number
        if is_count or any(float((unit - each).abs().max()) <= NEAR for each in right):
            found.add(value)
    return found


def poolings(last: Tensor, visible: Tensor) -> Iterator[Tensor]:
    """(B, T, H) to (B, H): the sum of the tokens, that by place, the largest, the first and the last."""
    weights = visible.to(last.dtype)[:, :, None]  # (B, T, 1)
    yield (last * weights).sum(dim=1)
    yield (last * weights * weights.cumsum(dim=1)).sum(dim=1)
    yield last.masked_fill(weights == 0, float("-inf")).amax(dim=1)
    yield last[:, 0]
    ends = (visible * weights[:, :, 0].cumsum(dim=1)).argmax(dim=1)
    yield last[range(len(last)), ends]
