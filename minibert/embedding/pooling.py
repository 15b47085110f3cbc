"""From the vectors of a text's tokens to one vector of the text.

``mean`` is how sentence-transformers' models are trained (Reimers & Gurevych 2019, section 3); ``cls`` and ``pooler``
are BERT's own; ``max`` takes the largest value of each dimension.  The other names, and what they compute, are those of
sentence-transformers' Pooling: ``mean_sqrt_len_tokens`` is the sum divided by the square root of the number of tokens,
``weightedmean`` weights each token by its position, from 1 (SGPT, Muennighoff 2022), ``lasttoken`` is [SEP]'s vector.
"""

from math import sqrt

import torch
from torch import Tensor

from minibert.embedding.packed import Packed
from minibert.errors import InputError

TOKEN_POOLINGS = ("mean", "max", "cls", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
POOLINGS = (*TOKEN_POOLINGS, "pooler")


def mean_pooling(hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
    """The mean over the tokens that are not padding, [CLS] and [SEP] included.

    Args:
        hidden_states: (B, T, H) floating point.
        attention_mask: (B, T), nonzero for tokens.

    Returns (B, H).  Raises InputError for other shapes.
    """
    for name, value, dimensions in (("hidden_states", hidden_states, 3), ("attention_mask", attention_mask, 2)):
        if not isinstance(value, Tensor):
            raise InputError(f"{name} is a {type(value).__name__}, expected a tensor.")
        if value.dim() != dimensions or value.shape[:2] != hidden_states.shape[:2]:
            raise InputError(
                f"{name} has shape {tuple(value.shape)}; expected (B, T, H) for hidden_states and (B, T) for "
                "attention_mask: batch, tokens, hidden size."
            )
    if not hidden_states.is_floating_point():
        raise InputError(f"hidden_states is {hidden_states.dtype}, expected floating point.")
    weights = attention_mask.to(hidden_states.dtype)[:, :, None]  # (B, T, 1)
    return (hidden_states * weights).sum(dim=1) / weights.sum(dim=1).clamp(min=1e-9)


def pool_packed(
    values: Tensor, packed: Packed, poolings: tuple[str, ...], include_special_tokens: bool, skipped: int = 0
) -> Tensor:
    """One vector per text from (tokens, W), by each of ``poolings``, side by side.  Returns (texts, poolings · W).

    Args:
        values: of every token, (tokens, W).
        packed: which tokens are whose.
        poolings: names of TOKEN_POOLINGS.
        include_special_tokens: whether the first and the last token of each text, [CLS] and [SEP], count.  For ``cls``
            the first always does.
        skipped: how many tokens at the beginning do not count, those of a prompt; ``cls`` then is the next token.

    Where nothing is left to count, the vector is 0, and ``max`` raises InputError.
    """
    pooled = []
    for start, count, length in packed.groups():
        tokens = values[start : start + count * length].view(count, length, -1)  # (texts, T, W)
        first = skipped if include_special_tokens else max(skipped, 1)
        last = length if include_special_tokens else length - 1
        found = [pool(tokens, name, first, last, skipped) for name in poolings]
        pooled.append(torch.cat(found, dim=-1) if len(found) > 1 else found[0])
    return torch.cat(pooled) if len(pooled) > 1 else pooled[0]


def pool(tokens: Tensor, pooling: str, first: int, last: int, skipped: int) -> Tensor:  # noqa: PLR0911
    """(texts, T, W) to (texts, W), of the tokens from ``first`` up to ``last``, that excluded."""
    if pooling == "cls":
        return tokens[:, skipped if skipped < tokens.shape[1] else 0]
    if first >= last:
        if pooling == "max" and skipped:  # sentence-transformers gives -inf
            raise InputError("A text has no token beside its prompt's, so there is no largest value; use 'mean'.")
        return tokens.new_zeros(len(tokens), tokens.shape[2])
    counted = tokens[:, first:last]
    if pooling == "mean":
        return counted.mean(dim=1)
    if pooling == "max":
        return counted.amax(dim=1)
    if pooling == "lasttoken":
        return counted[:, -1]
    if pooling == "mean_sqrt_len_tokens":
        return counted.sum(dim=1) / sqrt(last - first)
    positions = torch.arange(first + 1, last + 1, device=tokens.device, dtype=tokens.dtype)  # from 1
    total: Tensor = (counted * positions[None, :, None]).sum(dim=1)
    return total / positions.sum()
