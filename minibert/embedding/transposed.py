"""One short text, fast: the model with a column a token.

The readable model keeps a row a token, (T, H), and its matrix products have as many rows as the text has tokens.  With
16 rows, the library that computes them finds too little to share out among the cores.  Written the other way round,
W · x + b with x (H, T), the rows are those of the weights, hundreds or thousands, and the same numbers come out in
about three quarters of the time; a compiler that joins what stands between the products gains a fifth again.  From
``COLUMNS`` tokens on the difference is gone.  The library is quick where the columns fill its blocks of ``BLOCK``: 13
of them cost half as much again as 16.  So a text is filled up with columns that nobody looks at.

Start with :func:`transposed_layer`, which is BertLayer.forward line by line; ``Embedder.optimize`` is how it is used.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.embedding.packed import Packed
from minibert.model import BertLayer, BertModel

COLUMNS = 128  # tokens up to which columns pay
BLOCK = 16  # columns that the matrix library computes in one go
WARM_UP = (16, 32)  # widths run once, so that the compiler sees that the width varies


@dataclass(frozen=True)
class Optimized:
    """What :meth:`Embedder.optimize` did; printed, it is a sentence."""

    compiled: bool
    seconds: float  # that the setting up took
    why_not: str = ""  # it was not compiled

    def __str__(self) -> str:
        how = "compiled" if self.compiled else f"not compiled ({self.why_not}), but still a column a token"
        return f"Single texts of up to {COLUMNS} tokens: {how}; setting up took {self.seconds:.1f} s."


class Transposed:
    """A BertModel whose hidden states are computed with a column a token."""

    def __init__(self, model: BertModel) -> None:
        """The weights of query, key and value are copied, one under the other; all others are the model's own."""
        self.model = model
        self.layers = [as_bert_layer(layer) for layer in model.encoder.layer]
        self.stacked = [stack(layer) for layer in self.layers]
        self.run: Callable[[Tensor, Tensor, Tensor, Tensor], list[Tensor]] = self.forward

    def hidden_states(self, packed: Packed, wanted: set[int]) -> dict[int, Tensor]:
        """As :func:`minibert.embedding.packed.packed_hidden_states`, for the single text in ``packed``."""
        length = packed.lengths[0]
        filling = -length % BLOCK
        inputs = [packed.input_ids, packed.token_type_ids, packed.position_ids]
        mask = torch.zeros(length + filling, device=packed.input_ids.device)
        if filling:
            inputs = [F.pad(ids, (0, filling)) for ids in inputs]
            mask[length:] = -torch.inf
        ids, kinds, places = inputs
        found = self.run(ids, kinds, places, mask)
        return {number: found[number][:length] for number in wanted}

    def forward(self, input_ids: Tensor, token_type_ids: Tensor, position_ids: Tensor, mask: Tensor) -> list[Tensor]:
        """All hidden states of one text, each (W, H); the arguments are (W,), ``mask`` 0 or, for filling, -inf."""
        embeddings: Tensor = self.model.embeddings(input_ids[None], token_type_ids[None], position_ids[None])
        columns = embeddings[0].t().contiguous()  # (H, W)
        found = [columns]
        for layer, (weight, bias) in zip(self.layers, self.stacked, strict=True):
            columns = transposed_layer(layer, weight, bias, columns, mask)
            found.append(columns)
        return [columns.t() for columns in found]

    def fits(self, packed: Packed) -> bool:
        """Whether this is the way to run ``packed``."""
        return len(packed.lengths) == 1 and packed.lengths[0] <= COLUMNS

    def on_cpu(self) -> bool:
        """Whether the model is on a CPU."""
        return self.model.device.type == "cpu"

    def compile(self) -> Optimized:
        """Let torch.compile join what stands between the matrix products; without a C++ compiler, go on without."""
        start = time.perf_counter()
        # What calls the compiled pieces is compiled too: called from Python they would take a tenth longer.
        options: dict[str, Any] = {"cpp_wrapper": True, "size_asserts": False} if self.on_cpu() else {}
        compiled = torch.compile(self.forward, dynamic=True, fullgraph=True, options=options)
        try:
            with torch.inference_mode():
                for width in WARM_UP:
                    zeros = torch.zeros(width, dtype=torch.long, device=self.model.device)
                    compiled(zeros, zeros, zeros, zeros.float())
        except Exception as error:  # whatever a compiler, or the lack of one, may come up with
            reason = " ".join(str(error).split("\n")[0].split())[:120] or type(error).__name__
            return Optimized(False, time.perf_counter() - start, reason)
        self.run = compiled
        return Optimized(True, time.perf_counter() - start)


def transposed_layer(layer: BertLayer, weight: Tensor, bias: Tensor, columns: Tensor, mask: Tensor) -> Tensor:
    """One layer on (H, W); ``weight`` (3H, H) and ``bias`` (3H, 1) are those of query, key and value."""
    attention = layer.attention.self
    N, D = attention.num_attention_heads, attention.attention_head_size
    query, key, value = torch.addmm(bias, weight, columns).view(3, N, D, -1)  # each (N, D, W)
    scores = torch.bmm(query.transpose(1, 2), key) * D**-0.5 + mask  # (N, W, W)
    context = torch.bmm(value, F.softmax(scores, dim=-1).transpose(1, 2)).flatten(0, 1)  # (H, W)
    mixed = normalised(linear(context, layer.attention.output.dense) + columns, layer.attention.output.LayerNorm)
    wide = layer.intermediate.intermediate_act_fn(linear(mixed, layer.intermediate.dense))  # (I, T)
    return normalised(linear(wide, layer.output.dense) + mixed, layer.output.LayerNorm)


def linear(columns: Tensor, module: nn.Linear) -> Tensor:
    """(in, W) → (out, W)."""
    return torch.addmm(module.bias[:, None], module.weight, columns)


def normalised(columns: Tensor, norm: nn.LayerNorm) -> Tensor:
    """(H, W), normalised over H."""
    result: Tensor = norm(columns.t()).t()
    return result.contiguous()


def stack(layer: BertLayer) -> tuple[Tensor, Tensor]:
    """The weights of query, key and value one under the other, (3H, H), and their biases, (3H, 1)."""
    parts = layer.attention.self.query, layer.attention.self.key, layer.attention.self.value
    weight = torch.cat([part.weight.detach() for part in parts])
    return weight, torch.cat([part.bias.detach() for part in parts])[:, None]


def as_bert_layer(module: Any) -> BertLayer:
    """``module``, for the type checker."""
    assert isinstance(module, BertLayer)
    return module
