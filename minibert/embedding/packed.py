"""The same model without padding: all tokens of a batch as one matrix.

In a padded batch every text is as long as the longest.  But only attention looks across tokens; everything else is done
to each token by itself.  So the tokens of all texts stand one under the other, (tokens, H), and only the attention is
done text by text, or rather for all texts of one length at a time, without a mask.  The operations and their order are
the readable model's; their results go into memory that is used again, which pays: calling the modules instead, each
with fresh memory, takes a twelfth longer.

That reads weights without calling their modules, so it is for the plain model alone (:func:`is_plain`).  A model with
hooks, with adapters or other replaced modules, or one that is traced or edited, is called itself, on all texts of one
length at a time (:func:`called_outputs`): everything in it sees (B, T, H), as ever.
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
    """Token ids of several texts, shortest text first, one after the other."""

    input_ids: Tensor  # (tokens,) int64
    token_type_ids: Tensor  # (tokens,) int64
    position_ids: Tensor  # (tokens,) int64, from 0 in each text
    lengths: tuple[int, ...]  # tokens of each text, never falling

    @classmethod
    def of(cls, rows: Sequence[TokenRow], device: torch.device) -> "Packed":
        """``rows`` must be sorted by length."""
        lengths = tuple(len(row) for row in rows)
        ids, segments = (chain.from_iterable(lists) for lists in zip(*((x.ids, x.segments) for x in rows), strict=True))
        together = [*ids], [*segments], [*chain(*map(range, lengths))]
        input_ids, token_type_ids, position_ids = torch.tensor(together, dtype=torch.long).to(device)
        return cls(input_ids, token_type_ids, position_ids, lengths)

    def groups(self) -> Iterator[tuple[int, int, int]]:
        """Where the texts of each length are: first token, number of texts, tokens of each."""
        start = 0
        for length, texts in groupby(self.lengths):
            count = len(list(texts))
            yield start, count, length
            start += count * length


class Buffers:
    """Room for what a layer computes on the way, used again by the next layer and by the next batch.

    Asking the system for fresh memory five times a layer costs a tenth of the time: it comes page by page, zeroed.  And
    pieces of ever other sizes would leave gaps: the process would grow.
    """

    def __init__(self, model: BertModel, tokens: int) -> None:
        config, weight = model.config, model.embeddings.word_embeddings.weight
        self.narrow = weight.new_empty(4, tokens, config.hidden_size)
        self.wide = weight.new_empty(tokens, config.intermediate_size)

    def first(self, tokens: int) -> "Room":
        """The part that so many tokens need."""
        query, key, value, context = self.narrow[:, :tokens]
        return Room(query, key, value, context, self.wide[:tokens])


class Room(NamedTuple):
    """Where one batch's values go."""

    query: Tensor  # (tokens, H), as key, value and context
    key: Tensor
    value: Tensor
    context: Tensor
    wide: Tensor  # (tokens, I)


def is_plain(model: nn.Module) -> bool:
    """Whether a model does what its weights say and nothing else: no hook, other class, watcher or training mode.

    Asked before each batch; some 0.2 µs a module.
    """
    return not (torch_module._global_forward_hooks or torch_module._global_forward_pre_hooks) and _is_plain(model)


def _is_plain(module: nn.Module) -> bool:
    own = module.__dict__  # an attribute that is not there costs a module much more to find
    if type(module) not in PLAIN or own["_forward_hooks"] or own["_forward_pre_hooks"]:
        return False
    if "forward" in own or "watchers" in own or own["training"]:
        return False
    if type(module) is nn.Linear and not all(type(tensor) is nn.Parameter for tensor in own["_parameters"].values()):
        return False  # without a bias, or with quantized weights
    return all(map(_is_plain, own["_modules"].values()))


@torch.no_grad()
def called_outputs(model: BertModel, packed: Packed) -> list[BertModelOutput]:
    """What the model itself returns for the texts of each length in turn, hidden states included, without dropout."""
    training = [module for module in model.modules() if module.training]
    outputs = []
    try:
        for module in training:
            module.training = False
        for start, count, length in packed.groups():
            here = slice(start, start + count * length)
            inputs = (packed.input_ids, packed.token_type_ids, packed.position_ids)
            input_ids, token_type_ids, position_ids = (ids[here].view(count, length) for ids in inputs)
            outputs.append(
                model(
                    input_ids,
                    token_type_ids=token_type_ids,
                    position_ids=position_ids,
                    output_hidden_states=True,
                    return_dict=True,
                )
            )
    finally:
        for module in training:
            module.training = True
    return outputs


def called_hidden_states(model: BertModel, packed: Packed, wanted: set[int]) -> dict[int, Tensor]:
    """As :func:`packed_hidden_states`, of any model."""
    groups = [((output.hidden_states or ())[:-1], output.last_hidden_state) for output in called_outputs(model, packed)]
    last = len(model.encoder.layer)  # from the output itself: what changes the encoder's output changes it alone
    return {
        number: torch.cat([(final if number == last else below[number]).flatten(0, 1) for below, final in groups])
        for number in wanted
    }


@torch.no_grad()
def packed_hidden_states(
    model: BertModel, packed: Packed, wanted: set[int], buffers: Buffers | None = None
) -> dict[int, Tensor]:
    """The hidden states numbered ``wanted`` (0: the embeddings), each (tokens, H); layers above them are not run.

    ``model`` is plain (:func:`is_plain`).  ``buffers`` hold at least as many tokens; without them, memory is asked for.
    """
    hidden_states = model.embeddings(
        packed.input_ids[None], packed.token_type_ids[None], packed.position_ids[None]
    ).squeeze(0)
    groups, tokens = list(packed.groups()), len(hidden_states)
    room = (buffers or Buffers(model, tokens)).first(tokens)
    found = {0: hidden_states}
    for number, layer in enumerate(list(model.encoder.layer)[: max(wanted)], start=1):
        assert isinstance(layer, BertLayer)
        hidden_states = packed_layer(layer, hidden_states, groups, room)
        if number in wanted:
            found[number] = hidden_states
    return {number: found[number] for number in wanted}


def packed_layer(layer: BertLayer, hidden_states: Tensor, groups: Sequence[tuple[int, int, int]], room: Room) -> Tensor:
    """One layer on (tokens, H): BertLayer.forward, its attention done for one length at a time."""
    attention, mixing = layer.attention.self, layer.attention.output
    query = linear(hidden_states, attention.query, room.query)
    key = linear(hidden_states, attention.key, room.key)
    value = linear(hidden_states, attention.value, room.value)
    for start, count, length in groups:
        here = slice(start, start + count * length)
        q, k, v = (attention.split_heads(x[here].view(count, length, -1)) for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=attention.attention_head_size**-0.5)
        attention.split_heads(room.context[here].view(count, length, -1)).copy_(mixed)
    output: Tensor = mixing.LayerNorm(linear(room.context, mixing.dense, room.query).add_(hidden_states))
    wide = activated(layer.intermediate.intermediate_act_fn, linear(output, layer.intermediate.dense, room.wide))
    result: Tensor = layer.output.LayerNorm(linear(wide, layer.output.dense, room.query).add_(output))
    return result


def activated(function: Callable[[Tensor], Tensor], values: Tensor) -> Tensor:
    """``function(values)``; exact GELU in the memory of ``values``."""
    if function is F.gelu:
        torch.ops.aten.gelu_(values)
        return values
    return function(values)


def linear(x: Tensor, module: nn.Linear, out: Tensor) -> Tensor:
    """(tokens, in) → (tokens, out), written into ``out``."""
    return torch.addmm(module.bias, x, module.weight.t(), out=out)
