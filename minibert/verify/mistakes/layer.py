"""Mistakes in what a layer does with the context: residual sums, LayerNorms, the feed-forward network."""

from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.model import ACTIVATIONS
from minibert.verify.computation import Scope
from minibert.verify.mistakes.attention import CONTEXT, DENSE, OUT, RESIDUAL, K, Q, V
from minibert.verify.mistakes.mistake import Mistake, dense_mistakes, norm_mistakes, with_value

NORM, LAST_NORM = "attention.output.LayerNorm", "output.LayerNorm"
UP, ACTIVATED, DOWN, SECOND, LAST = "intermediate.dense", "intermediate", "output.dense", "output.residual", "output"
OTHERS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu (erf)": F.gelu,
    "gelu (tanh)": ACTIVATIONS["gelu_new"],
    "relu": F.relu,
    "silu": F.silu,
    "quick gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "gelu with erf(x) for erf(x/√2)": lambda x: 0.5 * x * (1 + torch.erf(x)),
    "gelu without its ½": lambda x: 2 * F.gelu(x),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "elu": F.elu,
    "leaky relu": F.leaky_relu,
    "relu²": lambda x: F.relu(x).square(),
    "softplus": F.softplus,
    "mish": F.mish,
    "selu": F.selu,
}


def layer_mistakes(config: BertConfig) -> Iterator[Mistake]:
    """All of them, in the order of computation."""
    eps = config.layer_norm_eps
    yield from _pre_norm()
    yield from _sums(RESIDUAL, DENSE, "x", {"the context": CONTEXT, "the query": Q, "the value": V})
    yield from norm_mistakes(OUT, NORM, RESIDUAL, eps)
    yield Mistake(
        "norm.before_sum", {OUT: lambda s: s.layer_norm(NORM, s[DENSE]) + s["x"]}, "x + LayerNorm(o)", {"where": NORM}
    )
    yield from _exchanged_norms()
    yield from dense_mistakes(UP, UP, OUT)
    yield Mistake("layer.feed_forward_reads_x", {UP: lambda s: s.dense(UP, s["x"])}, "x W_I + b_I")
    yield Mistake("layer.feed_forward_reads_sum", {UP: lambda s: s.dense(UP, s[RESIDUAL])}, "u W_I + b_I")
    yield from activation_mistakes(ACTIVATED, UP, config)
    yield from dense_mistakes(DOWN, DOWN, ACTIVATED)
    yield Mistake("layer.activation_after_output", {DOWN: lambda s: s.act(s.right(DOWN))}, "gelu(f W_O + b_O)")
    yield from _sums(
        SECOND,
        DOWN,
        OUT,
        {
            "the layer's input": "x",
            "the attention's sum before its LayerNorm": RESIDUAL,
            "the attention's dense output": DENSE,
        },
    )
    yield from norm_mistakes(LAST, LAST_NORM, SECOND, eps)
    yield Mistake(
        "norm.before_sum",
        {LAST: lambda s: s.layer_norm(LAST_NORM, s[DOWN]) + s[OUT]},
        "a + LayerNorm(g)",
        {"where": LAST_NORM},
    )
    yield Mistake("layer.no_feed_forward", {LAST: lambda s: s[OUT]}, "a")
    yield Mistake("layer.extra_residual", {LAST: lambda s: s.right(LAST) + s["x"]}, "LayerNorm(w) + x")
    yield Mistake(
        "layer.no_attention",
        {UP: lambda s: s.dense(UP, s["x"]), SECOND: lambda s: s[DOWN] + s["x"]},
        "the feed-forward network alone",
    )


def _pre_norm() -> Iterator[Mistake]:
    """LayerNorm before each part, as in GPT-2, in place of after each sum."""
    reading = {name: (lambda s, n=name: s.dense(n, s.layer_norm(NORM, s["x"]))) for name in (Q, K, V)}
    yield Mistake(
        "layer.pre_norm",
        {
            **reading,
            OUT: lambda s: s[RESIDUAL],
            UP: lambda s: s.dense(UP, s.layer_norm(LAST_NORM, s[OUT])),
            LAST: lambda s: s[SECOND],
        },
        "a = x + attention(LayerNorm(x)), y = a + feed_forward(LayerNorm(a))",
    )


def _sums(value: str, new: str, old: str, others: dict[str, str]) -> Iterator[Mistake]:
    """Of ``value = new + old``."""
    where = {"where": value}
    yield Mistake("residual.missing", {value: lambda s: s[new]}, new, where)
    for told, name in others.items():
        yield Mistake(
            "residual.elsewhere",
            {value: with_value(name, lambda s, n: s[new] + s[n])},
            f"{new} + {name}",
            {**where, "from": told},
        )
    yield Mistake(
        "residual.elsewhere",
        {value: lambda s: s[new] + s.c["embeddings"]},
        f"{new} + embeddings",
        {**where, "from": "the embeddings"},
    )
    yield Mistake("residual.twice", {value: lambda s: s[new] + 2 * s[old]}, f"{new} + 2 {old}", where)
    yield Mistake("residual.new_twice", {value: lambda s: 2 * s[new]}, f"2 {new}", where)
    yield Mistake("residual.subtracted", {value: lambda s: s[new] - s[old]}, f"{new} - {old}", where)
    yield Mistake("residual.subtracted", {value: lambda s: s[old] - s[new]}, f"{old} - {new}", where)
    yield Mistake("residual.halved", {value: lambda s: (s[new] + s[old]) / 2}, f"({new} + {old}) / 2", where)
    yield Mistake("residual.only_old", {value: lambda s: s[old]}, old, where)
    yield Mistake("residual.multiplied", {value: lambda s: s[old] * s[new]}, f"{new} · {old}", where)


def _exchanged_norms() -> Iterator[Mistake]:
    first = {OUT: lambda s: s.layer_norm(LAST_NORM, s[RESIDUAL])}
    second = {LAST: lambda s: s.layer_norm(NORM, s[SECOND])}
    yield Mistake("norm.exchanged", {**first, **second}, "the two LayerNorms exchanged")
    yield Mistake("norm.shared", first, "the second LayerNorm's weights in both places", {"which": LAST_NORM})
    yield Mistake("norm.shared", second, "the first LayerNorm's weights in both places", {"which": NORM})
    yield Mistake(
        "norm.shared_with_embeddings",
        {OUT: lambda s: _embeddings_norm(s, s[RESIDUAL])},
        "the embeddings' LayerNorm",
        {"where": NORM},
    )
    yield Mistake(
        "norm.shared_with_embeddings",
        {LAST: lambda s: _embeddings_norm(s, s[SECOND])},
        "the embeddings' LayerNorm",
        {"where": LAST_NORM},
    )


def _embeddings_norm(s: Scope, x: Tensor) -> Tensor:
    weight, bias = (s.c.reference.weight(f"embeddings.LayerNorm.{kind}") for kind in ("weight", "bias"))
    return F.layer_norm(x, x.shape[-1:], weight, bias, s.config.layer_norm_eps)


def activation_mistakes(value: str, source: str, config: BertConfig) -> Iterator[Mistake]:
    """Of ``value = activation(source)``."""
    right = str(config.hidden_act)
    yield Mistake("activation.missing", {value: lambda s: s[source]}, source, {"right": right})
    yield Mistake(
        "activation.twice", {value: lambda s: s.act(s.act(s[source]))}, f"{right}({right}({source}))", {"right": right}
    )
    for name, function in OTHERS.items():
        yield Mistake(
            "activation.other",
            {value: with_value(function, lambda s, f: f(s[source]))},
            f"{name}({source})",
            {"right": right, "theirs": name},
        )
    yield Mistake(
        "activation.before_bias",
        {value: lambda s: s.act(s[source] - s.w(f"{source}.bias")) + s.w(f"{source}.bias")},
        f"{right}(x W) + b",
        {"right": right},
    )
