"""From the vectors of a text's tokens to one vector of the text.

``mean`` is how sentence-transformers' models are trained (Reimers & Gurevych 2019, section 3); ``cls`` and ``pooler``
are BERT's own; ``max`` takes the largest value of each dimension.
"""

import torch
from torch import Tensor

from minibert.embedding.packed import Packed

POOLINGS = ("mean", "max", "cls", "pooler")


def mean_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the tokens that are not padding, [CLS] and [SEP] included.

    Args:
        hidden_states: (B, T, H).
        attention_mask: (B, T), nonzero for tokens.

    Returns (B, H).
    """
    weights = attention_mask.to(hidden_states.dtype)[:, :, None]  # (B, T, 1)
    return (hidden_states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def pool_packed(values: Tensor, packed: Packed, pooling: str, include_special_tokens: bool) -> Tensor:
    """One vector a text from (tokens, W): ``mean``, ``max`` or ``cls``.  Returns (texts, W).

    Without special tokens the first and the last token of each text, [CLS] and [SEP], do not count; a text that
    is nothing else has the vector 0.
    """
    pooled = []
    for start, count, length in packed.groups():
        tokens = values[start : start + count * length].view(count, length, -1)  # (texts, T, W)
        if pooling == "cls":
            pooled.append(tokens[:, 0])
            continue
        if not include_special_tokens:
            tokens = tokens[:, 1:-1]
        if not tokens.shape[1]:
            pooled.append(torch.zeros_like(values[:1]).expand(count, -1))
        else:
            pooled.append(tokens.mean(dim=1) if pooling == "mean" else tokens.amax(dim=1))
    return torch.cat(pooled) if len(pooled) > 1 else pooled[0]
