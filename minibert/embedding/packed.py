"""The model without padding: the tokens of all texts of a batch in one matrix, (tokens, H).

In a padded batch every text is as long as the longest.  But only attention relates tokens to each other; all else is
computed per token.  So the texts are concatenated, and only attention runs per text, or rather for all texts of one
length at a time, without a mask.  The operations and their order are those of model.py.  Their results go into scratch
buffers, which pays: calling the modules instead, which allocate, takes a twelfth longer.

This reads weights without calling their modules, so it is for the plain model alone (:func:`is_plain`).  A model with
hooks, with adapters or other replaced modules, or one that is traced or edited, is called itself, on all texts of one
length at a time (:func:`called_outputs`), and its modules see (B, T, H) as usual.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from minibert.model import (
    BertAttention,
    BertEmbeddings,
    BertEncoder,
    BertIntermediate,
    BertLayer,
    BertModel,
    BertOutput,
    BertPooler,
    BertSelfAttention,
    BertSelfOutput,
)
from minibert.outputs import BertModelOutput
from minibert.tokenizer.windows import TokenRow

OURS = (BertModel, BertEmbeddings, BertEncoder, BertLayer, BertAttention, BertSelfAttention, BertSelfOutput)
PLAIN = frozenset({*OURS, BertIntermediate, BertOutput, BertPooler})
PLAIN |= {nn.ModuleList, nn.Linear, nn.LayerNorm, nn.Embedding, nn.Dropout, nn.Tanh}


@dataclass(frozen=True)
class Packed:
    """The token ids of several texts, concatenated, shortest text first."""

    input_ids: Tensor  # (tokens,) int64
    token_type_ids: Tensor  # (tokens,) int64
    position_ids: Tensor  # (tokens,) int64, from 0 in each text
    lengths: tuple[int, ...]  # tokens of each text, ascending

    @classmethod
    def of(cls, rows: Sequence[TokenRow], device: torch.device) -> "Packed":
        """``rows`` must be sorted by length."""
        lengths = tuple(len(row) for row in rows)
        ids, segments = (chain.from_iterable(lists) for lists in zip(*((x.ids, x.segments) for x in rows), strict=True))
        together = [*ids], [*segments], [*chain(*map(range, lengths))]
        input_ids, token_type_ids, position_ids = torch.tensor(together, dtype=torch.long).to(device)
        return cls(input_ids, token_type_ids, position_ids, lengths)

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """For the texts of each length: number of the first token, number of texts, tokens per text."""
        start = 0
        for length, texts in groupby(self.lengths):
            count = len(list(texts))
            yield start, count, length
            start += count * length


class Scratch(NamedTuple):
    """Scratch buffers for what a layer computes on the way, used again by the next layer and the next batch.

    Allocating five tensors per layer takes a tenth of the time, since the system hands out memory page by page, zeroed.
    And since their sizes differ from batch to batch, the memory would fragment, and the process grow.
    """

    query: Tensor  # (tokens, H), as key, value and context
    key: Tensor
    value: Tensor
    context: Tensor
    intermediate: Tensor  # (tokens, I)

    @classmethod
    def allocate(cls, model: BertModel, tokens: int) -> "Scratch":
        """Buffers for so many tokens."""
        config, weight = model.config, model.embeddings.word_embeddings.weight
        query, key, value, context = weight.new_empty(4, tokens, config.hidden_size)
        return cls(query, key, value, context, weight.new_empty(tokens, config.intermediate_size))

    def for_tokens(self, tokens: int) -> "Scratch":
        """The part that so many tokens need."""
        return Scratch(*(buffer[:tokens] for buffer in self))


def is_plain(model: nn.Module) -> bool:
    """Whether its weights alone say what a model computes: no hook, other class, watcher or training mode.

    Asked before each batch; takes some 0.2 µs per module.
    """
    return not (torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks) and _is_plain(model)


def _is_plain(module: nn.Module | None) -> bool:
    if module is None:  # a pooler that the checkpoint does not have
        return True
    own = module.__dict__  # a module takes much longer to look up an attribute that is absent
    if type(module) not in PLAIN or own["_forward_hooks"] or own["_forward_pre_hooks"]:
        return False
    if "forward" in own or "watchers" in own or own["training"]:
        return False
    if type(module) is nn.Linear and not all(type(tensor) is nn.Parameter for tensor in own["_parameters"].values()):
        return False  # without a bias, or with quantized weights
    return all(map(_is_plain, own["_modules"].values()))


@torch.no_grad()
def called_outputs(model: BertModel, packed: Packed) -> list[BertModelOutput]:
    """What the model returns for the texts of each length in turn, with hidden states and without dropout."""
    training = [module for module in model.modules() if module.training]
    outputs = []
    try:
        for module in training:
            module.training = False
        for start, count, length in packed.groups():
            here = slice(start, start + count * length)
            ids, segments, positions = (
                values[here].view(count, length)
                for values in (packed.input_ids, packed.token_type_ids, packed.position_ids)
            )
            inputs = {"token_type_ids": segments, "position_ids": positions}
            outputs.append(model(ids, **inputs, output_hidden_states=True, return_dict=True))  # hooks see the ids
    finally:
        for module in training:
            module.training = True
    return outputs


def called_hidden_states(model: BertModel, packed: Packed, layers: set[int]) -> dict[int, Tensor]:
    """As :func:`packed_hidden_states`, for any model."""
    outputs = called_outputs(model, packed)
    # The last one from last_hidden_state: a hook that changes the encoder's output changes it there alone.
    states = [(*(output.hidden_states or ())[:-1], output.last_hidden_state) for output in outputs]
    return {layer: torch.cat([group[layer].flatten(0, 1) for group in states]) for layer in layers}


@torch.no_grad()
def packed_hidden_states(
    model: BertModel, packed: Packed, layers: set[int], scratch: Scratch | None = None
) -> dict[int, Tensor]:
    """The hidden states of ``layers`` (0: the embeddings), each (tokens, H); layers above them are not run.

    ``model`` is plain (:func:`is_plain`).  ``scratch`` holds at least as many tokens; default: buffers of its own.
    """
    x = model.embeddings(packed.input_ids[None], packed.token_type_ids[None], packed.position_ids[None]).squeeze(0)
    groups, tokens = list(packed.groups()), len(x)
    scratch = Scratch.allocate(model, tokens) if scratch is None else scratch.for_tokens(tokens)
    hidden_states = {0: x}
    for number, layer in enumerate(list(model.encoder.layer)[: max(layers)], start=1):
        assert isinstance(layer, BertLayer)
        x = packed_layer(layer, x, groups, scratch)
        if number in layers:
            hidden_states[number] = x
    return {number: hidden_states[number] for number in layers}


def packed_layer(
    layer: BertLayer, hidden_states: Tensor, groups: Sequence[tuple[int, int, int]], scratch: Scratch
) -> Tensor:
    """One layer on (tokens, H): BertLayer.forward, with attention for the texts of one length at a time."""
    attention, mixing = layer.attention.self, layer.attention.output
    query = linear(hidden_states, attention.query, scratch.query)
    key = linear(hidden_states, attention.key, scratch.key)
    value = linear(hidden_states, attention.value, scratch.value)
    for start, count, length in groups:
        here = slice(start, start + count * length)
        q, k, v = (attention.split_heads(x[here].view(count, length, -1)) for x in (query, key, value))
        context = F.scaled_dot_product_attention(q, k, v, scale=attention.attention_head_size**-0.5)
        attention.split_heads(scratch.context[here].view(count, length, -1)).copy_(context)
    attended: Tensor = mixing.LayerNorm(linear(scratch.context, mixing.dense, scratch.query).add_(hidden_states))
    intermediate = linear(attended, layer.intermediate.dense, scratch.intermediate)
    intermediate = activated(layer.intermediate.intermediate_act_fn, intermediate)
    result: Tensor = layer.output.LayerNorm(linear(intermediate, layer.output.dense, scratch.query).add_(attended))
    return result


def activated(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """``function(values)``; exact GELU in place."""
    if function is F.gelu:
        torch.ops.aten.gelu_(values)
        return values
    return function(values)


def linear(x: Tensor, module: nn.Linear, out: Tensor) -> Tensor:
    """(tokens, in) → (tokens, out), written into ``out``."""
    return torch.addmm(module.bias, x, module.weight.t(), out=out)
