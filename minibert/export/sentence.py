"""The vector of a text as a graph: the encoder, then what the embedding engine does with its hidden states.

Everything that follows the tokens is inside: the choice of layers, the pooling, further steps (Dense, LayerNorm),
unit length, the cut to fewer numbers.  A prompt is text, so it stays outside: put it before each text.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.embedding import Embedder
from minibert.errors import InputError
from minibert.graphs import GraphModule


class Sentence(GraphModule):
    """``sentence_embedding`` (B, W): what :meth:`Embedder.encode` gives for the same tokens, in any padding."""

    outputs = ("sentence_embedding",)

    def __init__(self, embedder: Embedder) -> None:
        """``embedder`` is copied, never changed; its settings are those of the graph.

        Raises InputError where the tokens of a prompt are left out of the pooling, since a graph sees no prompt.
        """
        if not embedder.include_prompt and any(embedder.prompts.values()):
            raise InputError(
                "This checkpoint leaves the tokens of a prompt out of the pooling (include_prompt is false), and a "
                "graph does not see where a prompt ends. Export the hidden states, and pool them yourself."
            )
        super().__init__(embedder.model)
        self.poolings, self.layers = embedder.choose(embedder.pooling, "last", None)
        self.steps = copy.deepcopy(embedder.steps).eval().requires_grad_(False)
        self.normalize, self.truncate_dim = embedder.normalize, embedder.truncate_dim
        if self.poolings != ("pooler",):
            self.model.pooler = None  # type: ignore[assignment]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Each argument (B, T) int64."""
        found = self.model(input_ids, attention_mask, token_type_ids, output_hidden_states=True, return_dict=True)
        if self.poolings == ("pooler",):
            pooled = found.pooler_output
        else:
            hidden_states = self.layers.combine([found.hidden_states[number] for number in self.layers.numbers])
            pooled = pool_masked(hidden_states, attention_mask, self.poolings)
        return (self.finish(pooled),)

    def finish(self, pooled: Tensor) -> Tensor:
        """(B, pooled width) to (B, W): the steps, unit length, the first numbers."""
        vectors: Tensor = self.steps(pooled)
        if self.normalize:
            vectors = F.normalize(vectors, dim=-1)
        return vectors if self.truncate_dim is None else vectors[:, : self.truncate_dim]


def pool_masked(hidden_states: Tensor, attention_mask: Tensor, poolings: Sequence[str]) -> Tensor:
    """:func:`minibert.embedding.pooling.pool_packed` for a padded batch: (B, T, H) to (B, poolings · H).

    Args:
        hidden_states: (B, T, H) floating point.
        attention_mask: (B, T), nonzero for tokens, which may stand anywhere: ``cls`` is the first of them,
            ``weightedmean`` counts them from 1.
        poolings: names of TOKEN_POOLINGS.

    A row of nothing but padding gives zeros.
    """
    seen = attention_mask.to(hidden_states.dtype)  # (B, T)
    seen = torch.where(attention_mask != 0, torch.ones_like(seen), torch.zeros_like(seen))
    return torch.cat([pool_one(hidden_states, seen, name) for name in poolings], dim=-1)


def pool_one(hidden_states: Tensor, seen: Tensor, pooling: str) -> Tensor:
    """(B, T, H) to (B, H) by one pooling; ``seen``: (B, T), 1.0 for tokens and 0.0 for padding."""
    holds_any = seen.amax(dim=1, keepdim=True)  # (B, 1)
    places = seen.cumsum(dim=1)  # (B, T): 1 for the first token, 2 for the second …
    if pooling == "cls":
        return token_at(hidden_states, seen.argmax(dim=1)) * holds_any
    if pooling == "lasttoken":
        return token_at(hidden_states, (places * seen).argmax(dim=1)) * holds_any
    if pooling == "max":
        lowest = torch.finfo(hidden_states.dtype).min
        return hidden_states.masked_fill(seen[:, :, None] == 0, lowest).amax(dim=1) * holds_any
    weights = places * seen if pooling == "weightedmean" else seen
    total = (hidden_states * weights[:, :, None]).sum(dim=1)
    count = weights.sum(dim=1, keepdim=True).clamp(min=1.0)
    return total / (count.sqrt() if pooling == "mean_sqrt_len_tokens" else count)


def token_at(hidden_states: Tensor, places: Tensor) -> Tensor:
    """The vector at one place of each text: (B, T, H) and (B,) to (B, H)."""
    index = places[:, None, None].expand(-1, 1, hidden_states.shape[2])
    return hidden_states.gather(1, index)[:, 0]
