"""A training step with hardly any padding: the tokens of all its texts in one row, (1, tokens).

In a padded batch every text is as long as the longest, and most of the work may be done on padding.  But only attention
relates tokens to each other; all else is computed per token.  So the texts are sorted by length and cut into groups of
similar length, each padded to its own longest; the groups stand one after the other in one row, and only attention runs
group by group.  The sum of losses is that of the padded batch, but for rounding, and dropout draws otherwise.

All modules are called as usual, so hooks, adapters, gradient checkpointing and FSDP work.  They see (1, tokens, H), and
in place of the attention mask a :class:`BlockDiagonalMask`.  Start with :func:`packed`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.inputs import explain_lookup_failure
from minibert.model import BertModel
from minibert.training.examples import Batch

# What one more group costs a layer, forward and backward, beside its tokens, in floating-point operations that take as
# long: 0.4 ms on the CPU of the benchmarks.  On an accelerator some 25 kernels are launched; there it is an estimate.
CALL_FLOPS = 18e6
CALL_FLOPS_ON_AN_ACCELERATOR = 5e9
Groups = Sequence[tuple[int, int]]  # texts and T of each
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


def call_cost(config: BertConfig, device: torch.device) -> float:
    """What one more group costs a layer, in tokens: the price of a group in :func:`by_length`.

    Without gradients the call and its tokens both cost a third, so the number is the same.
    """
    H, intermediate = config.hidden_size, config.intermediate_size
    per_token = 3 * 2 * (4 * H * H + 2 * H * intermediate)  # forward and twice as much backward; a product and a sum
    return (CALL_FLOPS if device.type == "cpu" else CALL_FLOPS_ON_AN_ACCELERATOR) / per_token


def packed(groups: Sequence[Batch], per_token: Sequence[str] = ()) -> Batch:
    """Padded batches, shortest texts first, as one.

    Args:
        groups: padded batches, each (texts, T) with its own T; B texts and ``tokens`` = Σ texts · T in all.
        per_token: names of targets with a value per token; the others have one, or a row, per text.

    Returns:
        ``input_ids``, ``token_type_ids``, ``position_ids`` and ``attention_mask``, each (1, tokens) int64; ``groups``,
        (groups, 2) int64: texts and T of each; and the targets, (1, tokens) or (B, …).
    """
    shapes = [tuple(group["input_ids"].shape) for group in groups]
    flat = {*INPUTS, *per_token}
    result = {
        name: torch.cat([group[name].flatten() for group in groups])[None]
        if name in flat
        else torch.cat([group[name] for group in groups])
        for name in groups[0]
    }
    positions = torch.cat([torch.arange(T).repeat(texts) for texts, T in shapes])[None]
    return {**result, "position_ids": positions, "groups": torch.tensor(shapes)}


class BlockDiagonalMask:
    """Every text attends to itself alone: an attention mask of (tokens, tokens), block by block, that is never stored.

    In the place of a mask it makes ``F.scaled_dot_product_attention`` run group by group (by torch's protocol for
    arguments that are no tensors).  xFormers has a mask of that name.
    """

    def __init__(self, groups: Groups, attention_mask: Tensor) -> None:
        """``attention_mask``: (1, tokens), 0 for padding."""
        self.groups = groups
        masks = [mask[:, None, None] for mask in padded_groups(attention_mask[0].bool(), groups)]
        # (texts, 1, 1, T) for each group; where nothing is masked, attention is faster without a mask.
        self.masks = [None if mask.all() else mask for mask in masks]

    @classmethod
    def __torch_function__(
        cls,
        function: Callable[..., Any],
        types: Sequence[type],
        arguments: tuple[Any, ...] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Called by torch in place of ``function``."""
        if function is not F.scaled_dot_product_attention:
            return NotImplemented
        query, key, value, mask, *rest = arguments  # (1, N, tokens, D)
        heads = (padded_groups(x[0].transpose(0, 1), mask.groups) for x in (query, key, value))  # each (texts, T, N, D)
        contexts = []
        for *qkv, group_mask in zip(*heads, mask.masks, strict=True):
            q, k, v = (x.transpose(1, 2) for x in qkv)  # (texts, N, T, D)
            context = function(q, k, v, group_mask, *rest, **(options or {}))
            contexts.append(context.transpose(1, 2).flatten(0, 1))  # (texts · T, N, D)
        return torch.cat(contexts).transpose(0, 1)[None]  # (1, N, tokens, D)


def padded_groups(x: Tensor, groups: Groups) -> list[Tensor]:
    """(tokens, …) as the (texts, T, …) of each group."""
    parts = x.split_with_sizes([texts * T for texts, T in groups])
    return [part.view(texts, T, *x.shape[1:]) for part, (texts, T) in zip(parts, groups, strict=True)]


def packed_hidden_states(model: BertModel, batch: Batch) -> Tensor:
    """The last hidden states of a packed batch, (tokens, H)."""
    ids = batch["input_ids"], batch["token_type_ids"], batch["position_ids"]
    try:
        embeddings = model.embeddings(*ids)
    except (IndexError, RuntimeError) as error:  # as in BertModel.forward
        explain_lookup_failure(model, error, *ids, None)
        raise
    mask: Any = BlockDiagonalMask(batch["groups"].tolist(), batch["attention_mask"])
    hidden_states: Tensor = model.encoder(embeddings, mask).last_hidden_state
    return hidden_states[0]


def first_tokens(groups: Tensor) -> Tensor:
    """The place of each text's [CLS] among the tokens, (B,) int64."""
    texts, T = groups.unbind(dim=1)
    lengths = T.repeat_interleave(texts)
    return lengths.cumsum(0) - lengths
