"""What the answers of lesson 2 are worth."""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from minibert.lens import trace
from minibert.model import BertModel
from minibert.tokenizer import BatchEncoding, BertTokenizer

CLOSE = 1e-4


@cache
def model() -> BertModel:
    """The checkpoint of the lesson."""
    return BertModel.from_pretrained("minibert-demo")


@cache
def pair() -> BatchEncoding:
    """The two sentences of the lesson."""
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    return tokenizer("배를 타고 여행을 간다.", "추석에 먹은 배가 맛있었다.", return_tensors="pt")


def segments(answer: Any) -> str:
    """The segments of [CLS] a a a [SEP] b b [SEP]."""
    given = [int(number) for number in answer]
    mistakes = {
        (0, 0, 0, 0, 0, 1, 1, 1): "right",
        (0, 0, 0, 0, 1, 1, 1, 1): "first-sep",
        (0, 0, 0, 0, 0, 1, 1, 0): "last-sep",
        (1, 1, 1, 1, 1, 0, 0, 0): "swapped",
        (1,) * 8: "all-ones",
        (0,) * 8: "all-zeros",
        (0, 0, 0, 1, 1): "no-special",
        (0, 0, 0, 0, 1, 1, 1): "one-sep",
        (0, 0, 0, 0, 0, 1, 1): "one-sep",
        (0, 0, 0, 0, 1, 1): "one-sep",
    }
    return mistakes.get(tuple(given), "length" if len(given) != 8 else "other")


@torch.no_grad()
def embeddings(answer: Any) -> str:
    """Hidden state 0 of the pair, (T, H), from the three tables."""
    ids, segment_ids = pair().input_ids[0], pair().token_type_ids[0]
    tables, T = model().embeddings, len(ids)
    starts = int(segment_ids.argmax())  # where B begins
    from_zero = torch.arange(T)
    restarted = torch.where(segment_ids.bool(), from_zero - starts, from_zero)
    words, kinds = tables.word_embeddings(ids), tables.token_type_embeddings(segment_ids)
    first, places = tables.token_type_embeddings.weight[0], tables.position_embeddings
    sums = {
        "right": words + kinds + places(from_zero),
        "one-segment": words + first + places(from_zero),
        "restarted": words + kinds + places(restarted),
        "from-one": words + kinds + places(from_zero + 1),
        "no-position": words + kinds,
        "no-segment": words + places(from_zero),
        "words-alone": words,
    }
    given = torch.as_tensor(answer).squeeze()
    if given.shape != words.shape:
        return "shape"
    if near(given, sums["right"]):
        return "no-norm"
    return next((name for name, total in sums.items() if near(given, tables.LayerNorm(total))), "other")


@torch.no_grad()
def trap(answer: Any) -> str:
    """How far the hidden states move when a tensor of ones is the second positional argument: not at all."""
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    ids = tokenizer("The dog bit the man.", return_tensors="pt").input_ids
    ones = torch.ones_like(ids)
    moved = model()(ids, token_type_ids=ones)[0] - model()(ids)[0]
    given = abs(float(answer))
    if given < CLOSE:
        return "right"
    return "keyword" if abs(given - float(moved.abs().max())) < 1e-3 else "other"


@torch.no_grad()
def mask(answer: Any) -> str:
    """What is added to the scores of "I love Paris" and two [PAD]."""
    tokenizer = BertTokenizer.from_pretrained("minibert-demo")
    inputs = tokenizer("I love Paris", padding="max_length", max_length=8, return_tensors="pt")
    values = trace(model(), inputs)
    scores = values["encoder.layer.0.attention.self.scores"][0]  # (N, T, T)
    expected = values["encoder.layer.0.attention.self.probabilities"][0]
    seen = inputs.attention_mask[0].float()  # (T,)
    given = torch.as_tensor(answer).float()
    given = given.reshape(given.shape[-2:])  # (1, 1, T, T) and the like are (T, T)
    everywhere = given.expand(8, 8)
    found = (scores + everywhere).softmax(dim=-1)
    outcomes = {
        "right": near(found[:, :6], expected[:, :6]),  # the rows of [PAD] are of no use
        "column": near(everywhere, everywhere[:, :1].expand(8, 8)),
        "all-masked": bool(found.isnan().any()),
        "inverted": float(found[..., :6].sum(dim=-1).max()) < CLOSE,
        "ones": near(everywhere, seen.expand(8, 8)),
        "too-small": bool(everywhere[:, 6:].max() < everywhere[:, :6].min()),
    }
    return next((name for name, is_so in outcomes.items() if is_so), "other")


def near(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors of one shape have the same numbers, up to rounding."""
    return bool((a - b).abs().max() < CLOSE)
