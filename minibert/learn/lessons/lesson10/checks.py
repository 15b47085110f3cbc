"""What the answers of lesson 10 are worth, and the model in which a mistake is to be found."""

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.checkpoint.names import read_name
from minibert.model import BertModel
from minibert.tokenizer import BertTokenizer

WRONG = "encoder.layer.1.output"


@cache
def model() -> BertModel:
    """The checkpoint of the lesson."""
    return BertModel.from_pretrained("minibert-demo")


@torch.no_grad()
def somebodys_model() -> BertModel:
    """The same, with one mistake."""
    theirs = BertModel.from_pretrained("minibert-demo")
    bias = theirs.get_submodule(f"{WRONG}.dense").bias
    assert isinstance(bias, Tensor)
    bias.zero_()
    return theirs


def ulps(answer: Any) -> str:
    """How many float32 lie between 10.5 and 10.50001."""
    given, difference = float(answer), 10.50001 - 10.5
    steps = {  # of one ulp each
        "unscaled": 2.0**-23,  # the spacing at 1
        "next-power": 2.0**-19,  # between 16 and 32
        "power-before": 2.0**-21,  # between 4 and 8
        "double": 2.0**-49,
    }
    if 9.9 <= given <= 11.1:
        return "right"
    if 7.9 <= given <= 8.1:
        return "relative"
    return next((name for name, step in steps.items() if abs(given * step / difference - 1) < 0.06), "other")


def first(answer: Any) -> str:
    """The first point that differs, in the order of computation."""
    name = "encoder." + answer.strip().removeprefix("encoder.")
    mistakes = {
        WRONG: "right",
        f"{WRONG}.dense": "right",
        "encoder.layer.3.output": "largest",
        "encoder.pooler": "last",
        "encoder.layer.1": "layer",
        "encoder.layer.1.attention.output": "attention",
        "encoder.layer.2.attention.self.query": "next",
        "encoder.layer.3.attention.self.context": "smallest",
    }
    return mistakes.get(name, "other")


@torch.no_grad()
def mend(answer: Any) -> str:
    """The two functions of the port: layer norm with this model's eps, and scaled scores."""
    norm, scores = answer
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(2, 3, 256, generator=drawn) * 1e-3  # so small that eps shows
    weight, bias = torch.randn(256, generator=drawn), torch.randn(256, generator=drawn)
    query, key = torch.randn(2, 4, 5, 64, generator=drawn), torch.randn(2, 4, 5, 64, generator=drawn)
    product = query @ key.transpose(-1, -2)
    normalised, scored = norm(x, weight, bias), scores(query, key)
    norm_is_right = near(normalised, F.layer_norm(x, (256,), weight, bias, eps=1e-12))
    outcomes = {
        "right": norm_is_right and near(scored, product / 8.0),
        "by-d": near(scored, product / 64.0),
        "by-hidden": near(scored, product / 16.0),
        "multiplied": near(scored, product * 8.0),
        "both-wrong": not norm_is_right and near(scored, product),
        "scale": norm_is_right and near(scored, product),
        "eps": near(scored, product / 8.0),
    }
    return next((name for name, is_so in outcomes.items() if is_so), "other")


@torch.no_grad()
def blind(answer: Any) -> str:
    """Whether a forgotten mask shows on these texts."""
    if isinstance(answer, str) or len(answer) == 1:
        return "one-text"
    texts = [str(text) for text in answer if isinstance(text, str)]
    if len(texts) < 2 or len(texts) > 100:
        return "other"
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    if bool(inputs.attention_mask.all()):
        return "equal-lengths"
    masked = model()(**inputs).last_hidden_state
    unmasked = model()(inputs.input_ids, token_type_ids=inputs.token_type_ids).last_hidden_state
    moved = (masked - unmasked)[inputs.attention_mask.bool()].abs().max()
    return "right" if moved > 1e-3 else "other"


def kernel(answer: Any) -> str:
    """Name and shape of a kernel of Google's here."""
    name, shape = answer
    right = read_name("bert/encoder/layer_0/intermediate/dense/kernel").ours
    given = (str(name).removeprefix("bert."), tuple(int(size) for size in shape))
    mistakes: dict[tuple[str, tuple[int, ...]], str] = {
        (right.removeprefix("bert."), (1024, 256)): "right",
        (right.removeprefix("bert."), (256, 1024)): "not-transposed",
        ("encoder.layer.0.intermediate.dense.kernel", (1024, 256)): "kernel",
        ("encoder.layer.0.intermediate.dense.kernel", (256, 1024)): "neither",
        ("bert/encoder/layer_0/intermediate/dense/kernel", (256, 1024)): "neither",
        ("encoder.layer_0.intermediate.dense.weight", (1024, 256)): "underscore",
    }
    return mistakes.get(given, "other")


def near(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same shape and, up to rounding, the same numbers."""
    return a.shape == b.shape and bool((a - b).abs().max() < 1e-4)
