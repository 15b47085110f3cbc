"""Checks of the exercises of lesson 3: what an answer is right by, and the mistakes that have a name."""

import math
from functools import cache
from typing import Any

import torch
from torch import Tensor

from minibert.learn.answers import which_number, which_tensor
from minibert.lens import trace
from minibert.model import BertModel
from minibert.tokenizer import BertTokenizer

QUERIES = torch.tensor([[3.0, 0.0, 0.0, 0.0], [0.0, 2.0, 1.0, 0.0], [2.0, 0.0, 0.0, 0.0]])  # red, boat, sails
KEYS = torch.tensor([[0.0, 2.0, 0.0, 2.0], [2.0, 0.0, 0.0, 0.0], [0.0, 0.0, 2.0, 0.0]])
SENTENCE = "나는 배를 타고 여행을 간다."


def score(answer: Any) -> str:
    """The score of boat's query with red's key."""
    raw = float(QUERIES[1] @ KEYS[0])
    D = KEYS.shape[1]
    outcomes = {
        "right": raw / math.sqrt(D),
        "unscaled": raw,
        "by-d": raw / D,
        "other-way": float(QUERIES[0] @ KEYS[1]) / math.sqrt(D),
    }
    return which_number(answer, outcomes)


def softmax(answer: Any) -> str:
    """The probabilities from the scores of the small sentence."""
    scores = QUERIES @ KEYS.T / 2
    outcomes = {
        "right": scores.softmax(dim=1),
        "columns": scores.softmax(dim=0),
        "whole": scores.flatten().softmax(dim=0).view(3, 3),
        "no-exp": scores / scores.sum(dim=1, keepdim=True),
        "unscaled": (2 * scores).softmax(dim=1),
        "only-exp": scores.exp(),
        "one-row": scores[1].softmax(dim=0),
    }
    return which_tensor(answer, outcomes)


def scale(answer: Any) -> str:
    """The divisor of the scores in BERT-base: H = 768, N = 12."""
    outcomes = {"right": math.sqrt(768 / 12), "squared": 768 / 12, "hidden": math.sqrt(768), "heads": math.sqrt(12)}
    return which_number(answer, outcomes)


def split(answer: Any) -> str:
    """The query of layer 0, split into heads."""
    q = query()
    T, N, D = q.shape[0], 4, 64
    outcomes = {
        "right": q.view(T, N, D).transpose(0, 1),
        "only-reshaped": q.reshape(N, T, D),
        "tokens-first": q.view(T, N, D),
        "interleaved": q.view(T, D, N).permute(2, 0, 1),
        "features-first": q.view(T, N, D).permute(1, 2, 0),
    }
    return which_tensor(answer, outcomes)


def bias(answer: Any) -> str:
    """The projection whose bias has no effect."""
    name = str(answer).strip().lower().removesuffix(".bias")
    return "right" if name in ("key", "k") else name if name in ("query", "value") else "other"


@cache
def query() -> Tensor:
    """The query of layer 0 of minibert-demo: (T, H)."""
    inputs = BertTokenizer.from_pretrained("minibert-demo")(SENTENCE, return_tensors="pt")
    name = "encoder.layer.0.attention.self.query"
    return trace(BertModel.from_pretrained("minibert-demo"), inputs, points=name, stop=True)[name][0]
