"""The same model without padding: all tokens of a batch as one matrix.

In a padded batch every text is as long as the longest.  But only attention looks across tokens; everything else is done
to each token by itself.  So the tokens of all texts stand one under the other, (tokens, H), go through the readable
model's own modules, and only the attention is done text by text, or rather for all texts of one length at a time,
without a mask.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.model import BertLayer, BertModel


@dataclass(frozen=True)
class Packed:
    """Token ids of several texts, shortest text first, one after the other."""

    input_ids: Tensor  # (tokens,) int64
    token_type_ids: Tensor  # (tokens,) int64
    position_ids: Tensor  # (tokens,) int64, from 0 in each text
    lengths: tuple[int, ...]  # tokens of each text, never falling

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]], segments: Sequence[Sequence[int]], device: torch.device) -> "Packed":
        """``rows`` must be sorted by length."""
        lengths = tuple(len(row) for row in rows)
        return cls(
            torch.tensor([number for row in rows for number in row], dtype=torch.long).to(device),
            torch.tensor([number for row in segments for number in row], dtype=torch.long).to(device),
            torch.cat([torch.arange(length) for length in lengths]).to(device),
            lengths,
        )

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """Where the texts of each length are: first token, number of texts, tokens of each."""
        start = 0
        for length, texts in groupby(self.lengths):
            count = len(list(texts))
            yield start, count, length
            start += count * length


def packed_hidden_states(model: BertModel, packed: Packed, wanted: set[int]) -> dict[int, Tensor]:
    """The hidden states numbered ``wanted`` (0: the embeddings), each (tokens, H); layers above them are not run."""
    hidden_states = model.embeddings(
        packed.input_ids[None], packed.token_type_ids[None], packed.position_ids[None]
    ).squeeze(0)
    groups = list(packed.groups())
    found = {0: hidden_states}
    for number, layer in enumerate(list(model.encoder.layer)[: max(wanted)], start=1):
        assert isinstance(layer, BertLayer)
        hidden_states = packed_layer(layer, hidden_states, groups)
        if number in wanted:
            found[number] = hidden_states
    return {number: found[number] for number in wanted}


def packed_layer(layer: BertLayer, hidden_states: Tensor, groups: Sequence[tuple[int, int, int]]) -> Tensor:
    """One layer on (tokens, H): BertLayer.forward, its attention done for one length at a time."""
    attention = layer.attention.self
    query, key, value = attention.query(hidden_states), attention.key(hidden_states), attention.value(hidden_states)
    context = torch.empty_like(hidden_states)
    for start, count, length in groups:
        here = slice(start, start + count * length)
        q, k, v = (attention.split_heads(x[here].view(count, length, -1)) for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=attention.attention_head_size**-0.5)
        context[here] = attention.merge_heads(mixed).view(count * length, -1)
    attention_output = layer.attention.output(context, hidden_states)
    return layer.feed_forward_chunk(attention_output)
