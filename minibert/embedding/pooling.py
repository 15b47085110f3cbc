"""From the vectors of a text's tokens to one vector per text.

``mean`` is how sentence-transformers' models are trained (Reimers & Gurevych 2019, section 3); ``cls`` and ``pooler``
are BERT's own; ``max`` takes the largest value of each dimension.  The other names, and what they compute, are those of
sentence-transformers' Pooling: ``mean_sqrt_len_tokens`` is the sum divided by the square root of the number of tokens,
``weightedmean`` weights each token by its position, from 1 (SGPT, Muennighoff 2022), ``lasttoken`` is [SEP]'s vector.
"""

from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

from minibert.embedding.layers import NAMES, LayerChoice, Layers, choose_layers
from minibert.embedding.packed import Packed
from minibert.errors import InputError

TOKEN_POOLINGS = ("mean", "max", "cls", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
POOLINGS = (*TOKEN_POOLINGS, "pooler")

Pooling = LayerChoice | Sequence[str]


def choose_pooling(
    pooling: Pooling, layers: LayerChoice, weights: Sequence[float] | None, *, depth: int, has_pooler: bool
) -> tuple[tuple[str, ...], Layers]:
    """The poolings and the layers that the arguments of ``Embedder.encode`` mean, for a model of ``depth`` layers."""
    if isinstance(pooling, list | tuple) and pooling and all(isinstance(name, str) for name in pooling):
        if unknown := [name for name in pooling if name not in TOKEN_POOLINGS]:
            raise InputError(
                f"{unknown[0]!r} is no pooling to put beside others; there are {', '.join(TOKEN_POOLINGS)}."
            )
        return tuple(map(str, pooling)), choose_layers(layers, depth, weights)
    if not isinstance(pooling, str) or pooling in NAMES:
        return ("mean",), choose_layers(pooling, depth, weights)  # type: ignore[arg-type]
    if pooling not in POOLINGS:
        raise InputError(f"{pooling!r} is no pooling; there are {', '.join((*POOLINGS, *NAMES))}, or layer numbers.")
    chosen = choose_layers(layers, depth, weights)
    if pooling == "pooler":
        if not has_pooler:
            raise InputError("This checkpoint has no pooler; choose another pooling, such as 'mean' or 'cls'.")
        if chosen.numbers != (depth,) or chosen.weights != (1.0,):
            raise InputError("The pooler reads the last layer and no other; leave layers out.")
    return (pooling,), chosen


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


def pool_padded(
    hidden_states: Tensor, attention_mask: Tensor, poolings: Sequence[str], skipped: Tensor | None = None
) -> Tensor:
    """:func:`pool_packed` for a padded batch, with a gradient for training: (B, T, H) to (B, poolings · H).

    Args:
        hidden_states: (B, T, H) floating point.
        attention_mask: (B, T), 1 for tokens, which come first.
        poolings: names of TOKEN_POOLINGS.
        skipped: (B,) int64, how many tokens at the beginning of each text do not count, those of a prompt.
    """
    lengths = attention_mask.sum(dim=1)  # (B,)
    first = torch.zeros_like(lengths) if skipped is None else torch.where(skipped < lengths, skipped, 0)
    places = torch.arange(attention_mask.shape[1], device=attention_mask.device)
    counted = (places < lengths[:, None]) & (places >= first[:, None])  # (B, T)
    vectors = [pool_counted(hidden_states, counted, name, first, lengths - 1) for name in poolings]
    return torch.cat(vectors, dim=-1)


def pool_counted(hidden_states: Tensor, counted: Tensor, pooling: str, first: Tensor, last: Tensor) -> Tensor:
    """(B, T, H) to (B, H), over the tokens in ``counted``, (B, T), which are those from ``first`` to ``last``."""
    texts = torch.arange(len(hidden_states), device=hidden_states.device)
    if pooling == "cls":
        return hidden_states[texts, first]
    if pooling == "lasttoken":
        return hidden_states[texts, last]
    if pooling == "max":
        return hidden_states.masked_fill(~counted[:, :, None], float("-inf")).amax(dim=1)
    weights = counted.to(hidden_states.dtype)
    if pooling == "weightedmean":
        weights = weights * torch.arange(1, counted.shape[1] + 1, device=weights.device, dtype=weights.dtype)
    total = (hidden_states * weights[:, :, None]).sum(dim=1)
    count = weights.sum(dim=1, keepdim=True)
    return total / (count.sqrt() if pooling == "mean_sqrt_len_tokens" else count)


def pool_packed(
    hidden_states: Tensor,
    packed: Packed,
    poolings: tuple[str, ...],
    include_special_tokens: bool,
    skipped: int = 0,
    ends: tuple[int, int] = (1, 1),
) -> Tensor:
    """One vector per text, by each of ``poolings``, concatenated: (tokens, W) to (texts, poolings · W).

    Args:
        hidden_states: (tokens, W).
        packed: which tokens belong to which text.
        poolings: names of TOKEN_POOLINGS.
        include_special_tokens: whether the special tokens around each text, [CLS] and [SEP], count.  For ``cls`` the
            first token always does.
        skipped: how many tokens at the beginning do not count, those of a prompt; ``cls`` is then the next token.
        ends: how many special tokens each text begins and ends with.

    Where no token counts, the vector is 0, and ``max`` raises InputError.
    """
    pooled = []
    for start, count, length in packed.groups():
        tokens = hidden_states[start : start + count * length].view(count, length, -1)  # (texts, T, W)
        first = skipped if include_special_tokens else max(skipped, ends[0])
        last = length if include_special_tokens else length - ends[1]
        vectors = [pool(tokens, name, first, last, skipped) for name in poolings]
        pooled.append(torch.cat(vectors, dim=-1) if len(vectors) > 1 else vectors[0])
    return torch.cat(pooled) if len(pooled) > 1 else pooled[0]


def pool(tokens: Tensor, pooling: str, first: int, last: int, skipped: int) -> Tensor:  # noqa: PLR0911
    """(texts, T, W) to (texts, W), over the tokens from ``first`` up to but not including ``last``."""
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
