"""Checks of the exercises of lesson 4: what an answer is right by, and the mistakes that have a name."""

import math
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minibert.learn.answers import which_number, which_tensor
from minibert.lens import Trace, trace
from minibert.model import BertLayer, BertModel
from minibert.tokenizer import BertTokenizer

SENTENCE = "나는 배를 타고 여행을 간다."


@torch.no_grad()
def layernorm(answer: Any) -> str:
    """The sum of the attention's residual in layer 0, normalised."""
    run = values()
    u, x, o = (value(run, name) for name in ("attention.output.residual", "", "attention.output.dense"))
    norm = layer().attention.output.LayerNorm
    centred = u - u.mean(dim=1, keepdim=True)
    outcomes = {
        "right": norm(u),
        "unbiased": centred / u.std(dim=1, keepdim=True) * norm.weight + norm.bias,
        "no-weight": F.layer_norm(u, u.shape[1:]),
        "tokens": (u - u.mean(dim=0)) / u.std(dim=0, correction=0) * norm.weight + norm.bias,
        "whole": (u - u.mean()) / u.std(correction=0) * norm.weight + norm.bias,
        "no-root": centred / u.var(dim=1, correction=0, keepdim=True) * norm.weight + norm.bias,
        "no-mean": u / u.square().mean(dim=1, keepdim=True).sqrt() * norm.weight + norm.bias,
        "no-residual": norm(o),
        "only-x": norm(x),
    }
    return which_tensor(answer, outcomes, 2e-4)


def tokens(answer: Any) -> str:
    """How many of 12 tokens change after attention and after the feed-forward network when one token changes."""
    T = value(values(), "").shape[0]
    outcomes = {
        (T, 1): "right",
        (T, T): "both-all",
        (1, 1): "both-one",
        (1, T): "swapped",
        (T - 1, 1): "not-itself",
        (T - 1, 0): "not-itself",
    }
    attention, feed_forward = answer
    return outcomes.get((int(attention), int(feed_forward)), "other")


def collapse(answer: Any) -> str:
    """The numbers in the one matrix that two make without an activation: H = 768, I = 3072."""
    H, wide = 768, 3072
    return which_number(answer, {"right": H * H, "both": 2 * H * wide, "one": H * wide, "widest": wide * wide}, 1e-9)


def gelu(answer: Any) -> str:
    """GELU at -1, to four digits."""
    x = -1.0
    below = 0.5 * (1 + math.erf(x / math.sqrt(2)))  # Φ(x)
    outcomes = {
        "right": x * below,
        "tanh": float(F.gelu(torch.tensor(x), approximate="tanh")),
        "relu": 0.0,
        "phi": below,
        "upper": x * (1 - below),
        "density": x * math.exp(-x * x / 2) / math.sqrt(2 * math.pi),
        "silu": x / (1 + math.exp(-x)),
    }
    return which_number(answer, outcomes, 4e-4)


@torch.no_grad()
def order(answer: Any) -> str:
    """The output of layer 0 from the output of its attention."""
    run = values()
    a, g, x = (value(run, name) for name in ("attention.output", "output.dense", ""))
    norm, other_norm = layer().output.LayerNorm, layer().attention.output.LayerNorm
    outcomes = {
        "right": norm(a + g),
        "no-residual": norm(g),
        "no-norm": a + g,
        "late-residual": a + norm(g),
        "pre": a + feed_forward(norm(a)),
        "only-x": norm(x + g),
        "wrong-norm": other_norm(a + g),
        "both": norm(x + a + g),
    }
    return which_tensor(answer, outcomes)


def feed_forward(a: Tensor) -> Tensor:
    """The feed-forward network of layer 0, without residual and normalisation."""
    dense: nn.Linear = layer().output.dense
    g: Tensor = dense(layer().intermediate(a))
    return g


def value(run: Trace, name: str) -> Tensor:
    """A value of layer 0 of the sentence, without the batch; "" is what goes into the layer."""
    return run[f"encoder.layer.0.{name}" if name else "embeddings"][0]


@cache
def model() -> BertModel:
    """The checkpoint of the lesson."""
    return BertModel.from_pretrained("minibert-demo")


def layer() -> BertLayer:
    """Layer 0."""
    first = model().encoder.layer[0]
    assert isinstance(first, BertLayer)
    return first


@cache
def values() -> Trace:
    """Every value of a run on the sentence."""
    return trace(model(), BertTokenizer.from_pretrained("minibert-demo")(SENTENCE, return_tensors="pt"))
