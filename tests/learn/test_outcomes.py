"""What the exercises of the lessons on attention, the layer and the tree say to a mistake: the mistake by its name."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from minibert import BertModel, BertTokenizer, trace
from minibert.learn import open_lesson


@pytest.fixture(scope="module")
def run() -> dict[str, torch.Tensor]:
    inputs = BertTokenizer.from_pretrained("minibert-demo")("나는 배를 타고 여행을 간다.", return_tensors="pt")
    return {name: value[0] for name, value in trace(BertModel.from_pretrained("minibert-demo"), inputs).items()}


@pytest.fixture(scope="module")
def layer() -> Any:
    return BertModel.from_pretrained("minibert-demo").encoder.layer[0]


def keys_of(answers: dict[str, torch.Tensor]) -> dict[str, str]:
    """Each answer is named after the key that it should be told."""
    return {key: key for key in answers}


@pytest.mark.parametrize(
    ("lesson", "exercise", "answer", "key"),
    [
        (3, "score", 2, "right"),
        (3, "score", torch.tensor(2.0), "right"),
        (3, "score", 4.0, "unscaled"),
        (3, "score", 1, "by-d"),
        (3, "score", 3, "other-way"),
        (3, "score", 2.5, "other"),
        (3, "scale", 8, "right"),
        (3, "scale", 64, "squared"),
        (3, "scale", 27.71, "hidden"),
        (3, "scale", 12**0.5, "heads"),
        (3, "bias", "key", "right"),
        (3, "bias", "Key.bias", "right"),
        (3, "bias", "value", "value"),
        (3, "bias", "query", "query"),
        (3, "bias", 3, "other"),
        (4, "tokens", (12, 1), "right"),
        (4, "tokens", [torch.tensor(12), 1], "right"),
        (4, "tokens", (12, 12), "both-all"),
        (4, "tokens", (1, 1), "both-one"),
        (4, "tokens", (1, 12), "swapped"),
        (4, "tokens", (11, 1), "not-itself"),
        (4, "tokens", (5, 3), "other"),
        (4, "collapse", 768**2, "right"),
        (4, "collapse", 2 * 768 * 3072, "both"),
        (4, "collapse", 768 * 3072, "one"),
        (4, "collapse", 3072**2, "widest"),
        (4, "gelu", -0.1587, "right"),
        (4, "gelu", -0.15865525, "right"),
        (4, "gelu", -0.1588, "tanh"),
        (4, "gelu", 0, "relu"),
        (4, "gelu", 0.1587, "phi"),
        (4, "gelu", -0.8413, "upper"),
        (4, "gelu", -0.24197, "density"),
        (4, "gelu", -0.26894, "silu"),
        (5, "unpack", 1, "right"),
        (5, "unpack", -1, "right"),
        (5, "unpack", 2, "hidden-states"),
        (5, "unpack", 3, "all-fields"),
        (5, "unpack", 0, "first"),
        (5, "unpack", "attentions", "other"),
        (5, "count", (13, 6), "right"),
        (5, "count", (13, 5), "off-by-one"),
        (5, "count", (12, 5), "layers-only"),
        (5, "count", (12, 6), "layers-only"),
        (5, "count", (14, 6), "pooler"),
        (5, "count", (7, 7), "other"),
        (5, "memory", 6.29, "right"),
        (5, "memory", 6.0, "right"),  # of 2²⁰ bytes
        (5, "memory", 50.33, "whole"),
        (5, "memory", 1.573, "narrow"),
        (5, "memory", 3.146, "numbers"),
        (5, "memory", 0.393, "one-text"),
        (5, "memory", 0.786, "chunks"),
        (5, "memory", 6291456, "other"),
        (5, "dropout", 1.1111, "right"),
        (5, "dropout", 1, "unscaled"),
        (5, "dropout", 0.9, "shrunk"),
        (5, "dropout", 10, "over-p"),
        (5, "dropout", 1.1, "plus"),
        (5, "parameters", 7087872, "right"),
        (5, "parameters", 12 * 768**2 + 4 * 768, "no-bias"),
        (5, "parameters", 12 * 768**2, "matrices"),
        (5, "parameters", 12 * 768**2 + 9 * 768, "no-norm"),
        (5, "parameters", 12 * 768**2 + 11 * 768, "one-norm"),
        (5, "parameters", 11 * 768**2 + 12 * 768, "no-mix"),
        (5, "parameters", 4 * 768**2 + 6 * 768, "attention"),
        (5, "parameters", 8 * 768**2 + 7 * 768, "feed-forward"),
        (5, "parameters", 12 * 7087872, "all-layers"),
        (5, "parameters", 7087873, "other"),
    ],
)
def test_numbers(lesson: int, exercise: str, answer: object, key: str) -> None:
    assert open_lesson(lesson).outcome(exercise, answer) == key


def test_softmax() -> None:
    q = torch.tensor([[3.0, 0, 0, 0], [0, 2, 1, 0], [2, 0, 0, 0]])
    k = torch.tensor([[0.0, 2, 0, 2], [2, 0, 0, 0], [0, 0, 2, 0]])
    scores = q @ k.T / 2
    answers = {
        "right": torch.softmax(scores, -1),
        "columns": torch.softmax(scores, 0),
        "whole": scores.exp() / scores.exp().sum(),
        "one-row": torch.softmax(scores[1], -1),
        "no-exp": scores / scores.sum(1, keepdim=True),
        "only-exp": torch.exp(scores),
        "unscaled": torch.softmax(q @ k.T, -1),
        "other": torch.softmax(-scores, -1),
    }
    assert {key: open_lesson(3).outcome("softmax", answer) for key, answer in answers.items()} == keys_of(answers)
    assert open_lesson(3).outcome("softmax", answers["right"].tolist()) == "right"


def test_split(run) -> None:
    q = run["encoder.layer.0.attention.self.query"]
    answers = {
        "right": torch.stack(q.split(64, dim=1)),
        "only-reshaped": q.view(4, 12, 64),
        "tokens-first": q.view(12, 4, 64),
        "interleaved": torch.stack([q[:, n::4] for n in range(4)]),
        "features-first": torch.stack([part.T for part in q.split(64, dim=1)]),
        "other": torch.stack(q.split(64, dim=1)).flip(0),
    }
    assert {key: open_lesson(3).outcome("split", answer) for key, answer in answers.items()} == keys_of(answers)
    assert open_lesson(3).outcome("split", answers["right"][None]) == "right"


def test_layernorm(run, layer) -> None:
    u, x = run["encoder.layer.0.attention.output.residual"], run["embeddings"]
    norm = layer.attention.output.LayerNorm
    w, b = norm.weight, norm.bias
    mean, var = u.mean(1, keepdim=True), u.var(1, correction=0, keepdim=True)
    answers = {
        "right": (u - mean) / torch.sqrt(var + 1e-12) * w + b,
        "unbiased": (u - mean) / u.std(1, keepdim=True) * w + b,
        "no-weight": (u - mean) / var.sqrt(),
        "tokens": (u - u.mean(0)) / u.var(0, correction=0).sqrt() * w + b,
        "whole": (u - u.mean()) / u.var(correction=0).sqrt() * w + b,
        "no-root": (u - mean) / var * w + b,
        "no-mean": u / (u**2).mean(1, keepdim=True).sqrt() * w + b,
        "no-residual": norm(u - x),
        "only-x": norm(x),
        "other": norm(u) + 1,
    }
    assert {key: open_lesson(4).outcome("layernorm", answer) for key, answer in answers.items()} == keys_of(answers)


def test_order(run, layer) -> None:
    x, a = run["embeddings"], run["encoder.layer.0.attention.output"]
    norm = layer.output.LayerNorm
    g = layer.output.dense(F.gelu(layer.intermediate.dense(a)))
    answers = {
        "right": norm(g + a),
        "no-residual": norm(g),
        "no-norm": a + g,
        "late-residual": norm(g) + a,
        "pre": a + layer.output.dense(F.gelu(layer.intermediate.dense(norm(a)))),
        "only-x": norm(g + x),
        "wrong-norm": layer.attention.output.LayerNorm(a + g),
        "both": norm(x + a + g),
        "other": norm(a - g),
    }
    assert {key: open_lesson(4).outcome("order", answer) for key, answer in answers.items()} == keys_of(answers)


def test_every_outcome_is_tried() -> None:
    """The keys of the hints are those that this file reaches."""
    source = Path(__file__).read_text(encoding="utf-8")
    for number in (3, 4, 5):
        for exercise in open_lesson(number).exercises:
            assert all(f'"{key}"' in source for key in exercise.hints), exercise.name
