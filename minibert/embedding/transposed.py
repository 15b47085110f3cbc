"""Low-latency inference for one short text: activations transposed to (H, T).

model.py keeps one row per token, (T, H), so its matrix products have as many rows as the text has tokens.  With 16
rows, the matrix library finds too little to divide among the cores.  Transposed, W · x + b with x (H, T), a product has
as many rows as the weights have, hundreds or thousands.  The numbers are the same, and take about three quarters of the
time; a compiler that fuses what stands between the products saves another fifth.  Above ``MAX_TOKENS`` tokens there is
no difference.  The library is fastest for multiples of ``BLOCK``: 13 tokens take half as long again as 16.  So the text
is padded to a multiple of BLOCK, and the padding is masked.

Start with :func:`transposed_layer`, which is BertLayer.forward line by line; ``Embedder.optimize`` is how it is used.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.embedding.packed import Packed
from minibert.model import BertLayer, BertModel

MAX_TOKENS = 128  # up to which this is faster
BLOCK = 16  # columns that the matrix library computes at once
WARM_UP = (16, 32)  # lengths that are run once, so that the compiler sees that the length varies


@dataclass(frozen=True)
class Optimized:
    """What :meth:`Embedder.optimize` did; printed, it is a sentence."""

    compiled: bool
    seconds: float  # that the setting up took
    why_not: str = ""  # it was not compiled

    def __str__(self) -> str:
        how = "compiled" if self.compiled else f"transposed, but not compiled ({self.why_not})"
        return f"Single texts of up to {MAX_TOKENS} tokens: {how}; setting up took {self.seconds:.1f} s."


class Transposed:
    """A BertModel whose hidden states are computed as (H, T)."""

    def __init__(self, model: BertModel) -> None:
        """Copies the weights of query, key and value, stacked; all other weights are the model's own."""
        self.model = model
        self.layers = cast(list[BertLayer], list(model.encoder.layer))
        self.stacked = [stack(layer) for layer in self.layers]
        self.run: Callable[[Tensor, Tensor, Tensor, Tensor], list[Tensor]] = self.forward

    def fits(self, packed: Packed) -> bool:
        """Whether ``packed`` is one text, and short enough."""
        return len(packed.lengths) == 1 and packed.lengths[0] <= MAX_TOKENS

    def hidden_states(self, packed: Packed, layers: set[int]) -> dict[int, Tensor]:
        """As :func:`minibert.embedding.packed.packed_hidden_states`, for the single text in ``packed``."""
        length = packed.lengths[0]
        padding = -length % BLOCK
        inputs = [packed.input_ids, packed.token_type_ids, packed.position_ids]
        mask = torch.zeros(length + padding, device=packed.input_ids.device)
        if padding:
            inputs = [F.pad(ids, (0, padding)) for ids in inputs]
            mask[length:] = -torch.inf
        input_ids, token_type_ids, position_ids = inputs
        hidden_states = self.run(input_ids, token_type_ids, position_ids, mask)
        return {layer: hidden_states[layer][:length] for layer in layers}

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, position_ids: Tensor, mask: Tensor) -> list[Tensor]:
        """All hidden states of one text, each (T, H).  Arguments are (T,); ``mask`` is 0, and -inf for padding."""
        embeddings: Tensor = self.model.embeddings(input_ids[None], token_type_ids[None], position_ids[None])
        x = embeddings[0].t().contiguous()  # (H, T)
        hidden_states = [x]
        for layer, (weight, bias) in zip(self.layers, self.stacked, strict=True):
            x = transposed_layer(layer, weight, bias, x, mask)
            hidden_states.append(x)
        return [x.t() for x in hidden_states]

    def compile(self) -> Optimized:
        """Let torch.compile fuse what stands between the matrix products; without a C++ compiler, go on without."""
        start = time.perf_counter()
        device = self.model.device
        # With cpp_wrapper the calls of the kernels are compiled, too; from Python they would take a tenth longer.
        options: dict[str, Any] = {"cpp_wrapper": True, "size_asserts": False} if device.type == "cpu" else {}
        compiled = torch.compile(self.forward, dynamic=True, fullgraph=True, options=options)
        try:
            with torch.inference_mode():
                for length in WARM_UP:
                    zeros = torch.zeros(length, dtype=torch.long, device=device)
                    compiled(zeros, zeros, zeros, zeros.float())
        except Exception as error:  # a compiler, or the lack of one, may raise anything
            reason = " ".join(str(error).split("\n")[0].split())[:120] or type(error).__name__
            return Optimized(False, time.perf_counter() - start, reason)
        self.run = compiled
        return Optimized(True, time.perf_counter() - start)


def transposed_layer(layer: BertLayer, weight: Tensor, bias: Tensor, x: Tensor, mask: Tensor) -> Tensor:
    """One layer on (H, T); ``weight`` (3H, H) and ``bias`` (3H, 1) are those of query, key and value."""
    attention = layer.attention.self
    N, D = attention.num_attention_heads, attention.attention_head_size
    query, key, value = torch.addmm(bias, weight, x).view(3, N, D, -1)  # each (N, D, T)
    scores = torch.bmm(query.transpose(1, 2), key) * D**-0.5 + mask  # (N, T, T)
    context = torch.bmm(value, F.softmax(scores, dim=-1).transpose(1, 2)).flatten(0, 1)  # (H, T)
    x = layer_norm(linear(context, layer.attention.output.dense) + x, layer.attention.output.LayerNorm)
    intermediate = layer.intermediate.intermediate_act_fn(linear(x, layer.intermediate.dense))  # (I, T)
    return layer_norm(linear(intermediate, layer.output.dense) + x, layer.output.LayerNorm)


def linear(x: Tensor, module: nn.Linear) -> Tensor:
    """(in, T) → (out, T)."""
    return torch.addmm(module.bias[:, None], module.weight, x)


def layer_norm(x: Tensor, module: nn.LayerNorm) -> Tensor:
    """(H, T) → (H, T), normalised over H."""
    result: Tensor = module(x.t()).t()
    return result.contiguous()


def stack(layer: BertLayer) -> tuple[Tensor, Tensor]:
    """The weights of query, key and value, stacked: (3H, H), and their biases (3H, 1)."""
    parts = layer.attention.self.query, layer.attention.self.key, layer.attention.self.value
    weight = torch.cat([part.weight.detach() for part in parts])
    return weight, torch.cat([part.bias.detach() for part in parts])[:, None]
