"""Mistakes above the layers: the pooler, and the heads."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minibert.verify.computation import Reference, Scope
from minibert.verify.mistakes.layer import activation_mistakes
from minibert.verify.mistakes.mistake import Mistake, dense_mistakes, norm_mistakes, with_value

DENSE, POOLED = "pooler.dense", "pooler"
PREDICTIONS = "cls.predictions"
TRANSFORM = "cls.predictions.transform"
TRANSFORM_DENSE, ACTIVATED = f"{TRANSFORM}.dense", f"{TRANSFORM}.transform_act_fn"
NEXT = "cls.seq_relationship"


def head_mistakes(reference: Reference) -> Iterator[Mistake]:
    """All of them, for what this model has."""
    names = reference.names
    if POOLED in names:
        yield from _pooler()
    if PREDICTIONS in names:
        yield from _predictions(reference)
    for head, source in (
        (NEXT, POOLED),
        ("classifier", "last" if reference.tokens_are_classified else POOLED),
        ("qa_outputs", "last"),
    ):
        if head in names:
            yield from dense_mistakes(head, head, source)
            yield Mistake(
                "head.order",
                {head: with_value(head, lambda s, h: s.right(h).flip(-1))},
                "the classes in reverse order",
                {"where": head},
            )
            yield Mistake(
                "head.softmax",
                {head: with_value(head, lambda s, h: s.right(h).softmax(-1))},
                "softmax(logits)",
                {"where": head},
            )
            yield Mistake(
                "head.log_softmax",
                {head: with_value(head, lambda s, h: s.right(h).log_softmax(-1))},
                "log softmax(logits)",
                {"where": head},
            )
            if source == POOLED:
                yield Mistake(
                    "head.reads_dense",
                    {head: with_value(head, lambda s, h: s.dense(h, s[DENSE]))},
                    "the head reads the pooler before tanh",
                    {"where": head},
                )
                yield Mistake(
                    "head.reads_cls",
                    {head: with_value(head, lambda s, h: s.dense(h, s["last"][:, 0]))},
                    "the head reads [CLS] without the pooler",
                    {"where": head},
                )


def _pooler() -> Iterator[Mistake]:
    yield from dense_mistakes(DENSE, DENSE, "last[:, 0]")

    def visible(s: Scope) -> Tensor:
        return s.c.visible[..., None].double()

    def last(s: Scope) -> Tensor:
        return s["last"][torch.arange(len(s.ids)), s.c.visible.long().sum(1).clamp(min=1) - 1]

    for what, read in (
        ("the mean of all tokens, padding too", lambda s: s["last"].mean(1)),
        ("the mean of the tokens", lambda s: (s["last"] * visible(s)).sum(1) / visible(s).sum(1).clamp(min=1)),
        ("the sum of the tokens", lambda s: (s["last"] * visible(s)).sum(1)),
        (
            "the largest of the tokens",
            lambda s: s["last"].masked_fill(visible(s) == 0, -torch.inf).amax(1).nan_to_num(neginf=0),
        ),
        ("the largest of all places, padding too", lambda s: s["last"].amax(1)),
        ("the last place of the row, padding or not", lambda s: s["last"][:, -1]),
        ("the last token", last),
        ("the second token", lambda s: s["last"][:, 1]),
        ("the first token of the embeddings", lambda s: s.c["embeddings"][:, 0]),
        ("the first token of the layer before the last", lambda s: _before_last(s)[:, 0]),
    ):
        yield Mistake(
            "pooler.reads",
            {DENSE: with_value(read, lambda s, r: s.dense(DENSE, r(s)))},
            f"W · {what} + b",
            {"what": what},
        )
    yield Mistake("pooler.no_dense", {DENSE: lambda s: s["last"][:, 0]}, "tanh of the first token's vector")
    for name, function in (
        ("none", lambda x: x),
        ("relu", torch.relu),
        ("gelu", torch.nn.functional.gelu),
        ("sigmoid", torch.sigmoid),
    ):
        yield Mistake(
            "pooler.activation",
            {POOLED: with_value(function, lambda s, f: f(s[DENSE]))},
            f"{name} in place of tanh",
            {"theirs": name},
        )
    yield Mistake(
        "pooler.activation", {POOLED: lambda s: s[DENSE].tanh().tanh()}, "tanh twice", {"theirs": "tanh twice"}
    )
    yield Mistake("pooler.no_dense", {POOLED: lambda s: s["last"][:, 0]}, "the first token's vector as it is")


def _before_last(s: Scope) -> Tensor:
    L = s.config.num_hidden_layers
    return s.c[f"encoder.layer.{L - 2}.output" if L > 1 else "embeddings"]


def _predictions(reference: Reference) -> Iterator[Mistake]:
    yield from dense_mistakes(TRANSFORM_DENSE, TRANSFORM_DENSE, "last")
    yield Mistake(
        "head.no_transform",
        {PREDICTIONS: lambda s: s.dense(f"{PREDICTIONS}.decoder", s["last"])},
        "last_hidden_state @ Wᵀ + b",
    )
    yield from activation_mistakes(ACTIVATED, TRANSFORM_DENSE, reference.config)
    yield Mistake(
        "head.norm_before_activation",
        {TRANSFORM: lambda s: s.act(s.layer_norm(f"{TRANSFORM}.LayerNorm", s[TRANSFORM_DENSE]))},
        "activation(LayerNorm(W h + b))",
    )
    yield from norm_mistakes(TRANSFORM, f"{TRANSFORM}.LayerNorm", ACTIVATED, reference.config.layer_norm_eps)
    yield from dense_mistakes(PREDICTIONS, f"{PREDICTIONS}.decoder", TRANSFORM)
    yield Mistake(
        "head.softmax",
        {PREDICTIONS: lambda s: s.right(PREDICTIONS).softmax(-1)},
        "softmax(logits)",
        {"where": PREDICTIONS},
    )
    yield Mistake(
        "head.log_softmax",
        {PREDICTIONS: lambda s: s.right(PREDICTIONS).log_softmax(-1)},
        "log softmax(logits)",
        {"where": PREDICTIONS},
    )
