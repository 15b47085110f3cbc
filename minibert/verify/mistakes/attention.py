"""Mistakes in self-attention: queries, keys and values, scores, mask, softmax, heads."""

from collections.abc import Callable, Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.verify.computation import Formula, Scope
from minibert.verify.mistakes.mistake import Mistake, dense_mistakes, with_value

Split = Callable[[Scope, Tensor], Tensor]
Masking = Callable[[Scope, Tensor], Tensor]
NAMES = ("query", "key", "value")
Q, K, V = (f"attention.self.{name}" for name in NAMES)
SCORES, PROBABILITIES, CONTEXT = (f"attention.self.{name}" for name in ("scores", "probabilities", "context"))
DENSE, RESIDUAL, OUT = "attention.output.dense", "attention.output.residual", "attention.output"


def attention_mistakes(config: BertConfig) -> Iterator[Mistake]:
    """All of them, in the order of computation."""
    for name in (Q, K, V):
        yield from dense_mistakes(name, name, "x")
    yield from _fused(config)
    yield from _scores(config)
    yield from _heads(config)
    yield from _mask()
    yield from _softmax()
    yield from _context()
    yield from dense_mistakes(DENSE, DENSE, CONTEXT)


def _fused(config: BertConfig) -> Iterator[Mistake]:
    """The blocks of a fused matrix, taken for each other."""
    for order in product(NAMES, repeat=3):
        changed = {f"attention.self.{mine}": taken for mine, taken in zip(NAMES, order, strict=True) if mine != taken}
        if changed:
            yield Mistake(
                "weights.qkv_order",
                {
                    value: with_value(f"attention.self.{taken}", lambda s, m: s.dense(m, s["x"]))
                    for value, taken in changed.items()
                },
                "q, k, v = " + ", ".join(f"x W_{name[0].upper()}" for name in order),
                {"order": ", ".join(order)},
            )
    H, N = config.hidden_size, config.num_attention_heads
    D = H // N

    def part(s: Scope, number: int, view: tuple[int, ...], axis: int) -> Tensor:
        weight = torch.cat([s.w(f"{name}.weight") for name in (Q, K, V)])
        bias = torch.cat([s.w(f"{name}.bias") for name in (Q, K, V)])
        y = F.linear(s["x"], weight, bias).view(*s.ids.shape, *view)  # the last axes as they are taken apart
        return y.select(axis - len(view), number).flatten(2)

    for how, view, axis in (
        ("head by head (N, 3, D)", (N, 3, D), 1),
        ("number by number (N, D, 3)", (N, D, 3), 2),
        ("number by number (D, N, 3)", (D, N, 3), 2),
    ):
        yield Mistake(
            "weights.qkv_interleaved",
            {value: with_value((n, view, axis), lambda s, how: part(s, *how)) for n, value in enumerate((Q, K, V))},
            f"[x W_Q, x W_K, x W_V] taken apart {how}",
            {"how": how},
        )

    def third(s: Scope, number: int, sizes: tuple[int, ...]) -> Tensor:
        parts = []
        for kind in ("weight", "bias"):
            rows = [s.w(f"{name}.{kind}") for name in (Q, K, V)]
            parts.append(torch.stack([each.view(*sizes, *each.shape[1:]) for each in rows], dim=1).flatten(0, 2))
        return F.linear(s["x"], *(part.chunk(3)[number] for part in parts))

    for how, sizes in (
        ("in thirds, its rows head by head", (N, D)),
        ("in thirds, its rows number by number", (H, 1)),
    ):
        yield Mistake(
            "weights.qkv_interleaved",
            {value: with_value((n, sizes), lambda s, how: third(s, *how)) for n, value in enumerate((Q, K, V))},
            f"x Wᵀ, x W'ᵀ, x W''ᵀ: {how}",
            {"how": how},
        )


def _scores(config: BertConfig) -> Iterator[Mistake]:
    D, H, N = config.hidden_size // config.num_attention_heads, config.hidden_size, config.num_attention_heads

    def scaled(by: float) -> Formula:
        return lambda s: s.heads(s[Q]) @ s.heads(s[K]).mT * by

    yield Mistake("attention.no_scale", {SCORES: scaled(1.0)}, "q kᵀ")
    for told, by in (
        ("1/D", 1 / D), ("1/√H", H**-0.5), ("√D", D**0.5), ("1/H", 1 / H), ("1/√N", N**-0.5), ("1/N", 1 / N),
        ("D", D), ("1/D^¼", D**-0.25), ("-1/√D", -(D**-0.5)), ("1/√(2D)", (2 * D) ** -0.5),
    ):  # fmt: skip
        yield Mistake("attention.wrong_scale", {SCORES: scaled(by)}, f"q kᵀ · {told}", {"scale": told})
    for told, power in (("1/√T", -0.5), ("1/T", -1.0)):
        yield Mistake(
            "attention.wrong_scale",
            {SCORES: with_value(power, lambda s, p: s.heads(s[Q]) @ s.heads(s[K]).mT * s.ids.shape[1] ** p)},
            f"q kᵀ · {told}",
            {"scale": told},
        )
    for told, name in (("query", Q), ("key", K)):

        def before_bias(s: Scope, name: str = name) -> Tensor:
            other = K if name == Q else Q
            early = (s[name] - s.w(f"{name}.bias")) * s.scale + s.w(f"{name}.bias")
            q, k = (early, s[other]) if name == Q else (s[other], early)
            return s.heads(q) @ s.heads(k).mT

        yield Mistake("attention.scale_before_bias", {SCORES: before_bias}, "(x W / √D + b) kᵀ", {"which": told})
    yield Mistake("attention.swapped_qk", {SCORES: lambda s: s.right(SCORES).mT}, "k qᵀ / √D")
    yield Mistake(
        "attention.query_for_key", {SCORES: lambda s: s.heads(s[Q]) @ s.heads(s[Q]).mT * s.scale}, "q qᵀ / √D"
    )
    yield Mistake(
        "attention.key_for_query", {SCORES: lambda s: s.heads(s[K]) @ s.heads(s[K]).mT * s.scale}, "k kᵀ / √D"
    )
    yield Mistake(
        "attention.swapped_kv",
        {
            SCORES: lambda s: s.heads(s[Q]) @ s.heads(s[V]).mT * s.scale,
            CONTEXT: lambda s: s.merged(s[PROBABILITIES] @ s.heads(s[K])),
        },
        "q vᵀ / √D, softmax(…) k",
    )
    yield Mistake(
        "attention.key_for_value", {CONTEXT: lambda s: s.merged(s[PROBABILITIES] @ s.heads(s[K]))}, "softmax(…) k"
    )
    yield Mistake(
        "attention.query_for_value", {CONTEXT: lambda s: s.merged(s[PROBABILITIES] @ s.heads(s[Q]))}, "softmax(…) q"
    )
    yield Mistake(
        "attention.key_reshaped",
        {
            SCORES: lambda s: (
                s.heads(s[Q]) @ s.heads(s[K]).reshape(*s.heads(s[K]).shape[:2], -1, s.ids.shape[1]) * s.scale
            )
        },
        "q reshape(k, (D, T)) / √D",
    )
    yield Mistake(
        "attention.normalised_qk",
        {SCORES: lambda s: F.normalize(s.heads(s[Q]), dim=-1) @ F.normalize(s.heads(s[K]), dim=-1).mT},
        "cosine(q, k)",
    )


def viewed(s: Scope, x: Tensor) -> Tensor:
    """(B, T, H) taken for (B, N, T, D) without moving a number."""
    return x.reshape(len(x), s.config.num_attention_heads, x.shape[1], -1)


def exchanged(s: Scope, x: Tensor) -> Tensor:
    """(B, T, H) split as (B, T, D, N): the numbers of a head do not lie together."""
    return x.view(*x.shape[:2], -1, s.config.num_attention_heads).permute(0, 3, 1, 2)


def _heads(config: BertConfig) -> Iterator[Mistake]:
    """Heads that are split or merged wrongly."""
    N, D = config.num_attention_heads, config.hidden_size // config.num_attention_heads
    for key, split, formula in (
        ("attention.heads_viewed", viewed, "view(B, N, T, D)"),
        ("attention.heads_exchanged", exchanged, "view(B, T, D, N)"),
    ):

        def scores(s: Scope, split: Split = split) -> Tensor:
            return split(s, s[Q]) @ split(s, s[K]).mT * s.scale

        def context(s: Scope, split: Split = split) -> Tensor:
            return s.merged(s[PROBABILITIES] @ split(s, s[V]))

        def both(s: Scope, split: Split = split) -> Tensor:
            heads = s[PROBABILITIES] @ split(s, s[V])
            return heads.reshape(len(heads), -1, N * D) if split is viewed else heads.permute(0, 2, 3, 1).flatten(2)

        yield Mistake(
            key, {SCORES: scores, CONTEXT: context}, f"q, k, v as {formula}", {"what": "query, key and value"}
        )
        yield Mistake(
            key,
            {SCORES: scores, CONTEXT: both},
            f"q, k, v as {formula}, and back the same way",
            {"what": "query, key and value, and merged back the same way"},
        )
        yield Mistake(key, {SCORES: scores}, f"q, k as {formula}", {"what": "query and key"})
        yield Mistake(key, {CONTEXT: context}, f"v as {formula}", {"what": "value"})
        yield Mistake(
            key,
            {CONTEXT: both},
            f"v as {formula}, and back the same way",
            {"what": "value, and merged back the same way"},
        )
        for told, name in (("query", Q), ("key", K)):

            def one(s: Scope, split: Split = split, name: str = name) -> Tensor:
                q = split(s, s[Q]) if name == Q else s.heads(s[Q])
                k = split(s, s[K]) if name == K else s.heads(s[K])
                return q @ k.mT * s.scale

            yield Mistake(key, {SCORES: one}, f"{told} as {formula}", {"what": told})
    if N == 1:
        return
    yield Mistake(
        "attention.one_head",
        {
            SCORES: lambda s: (s[Q] @ s[K].mT * s.config.hidden_size**-0.5)[:, None].expand(-1, N, -1, -1),
        },
        "one head of size H, scaled by 1/√H",
        {"scale": "1/√H"},
    )
    yield Mistake(
        "attention.one_head",
        {SCORES: lambda s: (s[Q] @ s[K].mT * s.scale)[:, None].expand(-1, N, -1, -1)},
        "one head of size H, scaled by 1/√D",
        {"scale": "1/√D"},
    )


def _merged_wrongly(s: Scope) -> Tensor:
    """(B, N, T, D) taken for (B, T, H) without moving a number."""
    heads = s.heads(s[CONTEXT])
    return heads.reshape(len(heads), -1, s.config.hidden_size)


def _context() -> Iterator[Mistake]:
    yield Mistake(
        "attention.probabilities_transposed", {CONTEXT: lambda s: s.merged(s[PROBABILITIES].mT @ s.heads(s[V]))}, "pᵀ v"
    )
    yield Mistake("attention.no_values", {CONTEXT: lambda s: s.merged(s[PROBABILITIES] @ s.heads(s["x"]))}, "p x")
    yield Mistake(
        "attention.merged_by_view",
        {DENSE: lambda s: s.dense(DENSE, _merged_wrongly(s))},
        "view(B, T, H) of (B, N, T, D)",
    )
    yield Mistake(
        "attention.merged_exchanged",
        {DENSE: lambda s: s.dense(DENSE, s.heads(s[CONTEXT]).permute(0, 2, 3, 1).flatten(2))},
        "(B, T, D, N) merged",
    )
    yield Mistake("attention.no_output_projection", {DENSE: lambda s: s[CONTEXT]}, "context")


def _mask() -> Iterator[Mistake]:
    """What hides the padding; told at the probabilities, because a masked score is any very negative number."""
    lowest = torch.finfo(torch.float32).min

    def masked(change: Masking) -> Formula:
        return lambda s: torch.softmax(change(s, s[SCORES]), dim=-1)

    def seen(s: Scope) -> Tensor:
        return s.c.visible[:, None, None].double()  # (B, 1, 1, T)

    def hide(scores: Tensor, visible: Tensor) -> Tensor:
        return scores + torch.where(visible.bool(), 0.0, lowest).double()

    def causal(s: Scope) -> Tensor:
        T = s.ids.shape[1]
        return torch.ones(T, T, dtype=torch.bool).tril()

    p = PROBABILITIES
    yield Mistake("mask.missing", {p: masked(lambda s, x: x)}, "softmax(scores)")
    yield Mistake(
        "mask.inverted", {p: masked(lambda s, x: hide(x, 1 - seen(s)))}, "softmax(scores + mask of the visible)"
    )
    yield Mistake(
        "mask.inverted",
        {p: lambda s: s[SCORES].masked_fill(s.c.visible[:, None, None], -torch.inf).softmax(-1).nan_to_num(0.0)},
        "softmax(scores + mask of the visible), 0 where nothing is seen",
    )
    yield Mistake("mask.multiplied", {p: masked(lambda s, x: x * seen(s))}, "softmax(scores · mask)")
    yield Mistake("mask.added_raw", {p: masked(lambda s, x: x + seen(s))}, "softmax(scores + mask), mask of 0 and 1")
    for told, size in (("-1", -1.0), ("-10", -10.0), ("-100", -100.0), ("+10000", 1e4), ("+1", 1.0)):
        yield Mistake(
            "mask.too_small",
            {p: with_value(size, lambda s, z: torch.softmax(s[SCORES] + (1 - seen(s)) * z, -1))},
            f"softmax(scores + {told} at padding)",
            {"number": told},
        )
    for told, size in (("-1", -1.0), ("-10", -10.0), ("-100", -100.0)):
        yield Mistake(
            "mask.before_scale",
            {p: with_value(size, lambda s, z: torch.softmax(s[SCORES] + (1 - seen(s)) * z * s.scale, -1))},
            f"softmax((q kᵀ + {told} at padding) / √D)",
            {"number": told},
        )
    yield Mistake("mask.after_softmax", {p: lambda s: torch.softmax(s[SCORES], -1) * seen(s)}, "softmax(scores) · mask")
    yield Mistake(
        "mask.added_after_softmax",
        {p: lambda s: torch.softmax(s[SCORES], -1) + torch.where(s.c.visible, 0.0, -1e4).double()[:, None, None]},
        "softmax(scores) + mask",
    )
    yield Mistake(
        "mask.wrong_axis",
        {p: masked(lambda s, x: hide(x, s.c.visible[:, None, :, None].double()))},
        "the mask on the asking tokens",
    )
    yield Mistake(
        "mask.causal",
        {p: masked(lambda s, x: hide(hide(x, seen(s)), causal(s)))},
        "softmax(scores + mask + causal mask)",
    )
    yield Mistake("mask.causal_only", {p: masked(lambda s, x: hide(x, causal(s)))}, "softmax(scores + causal mask)")
    yield Mistake(
        "mask.future_only",
        {p: masked(lambda s, x: hide(hide(x, seen(s)), causal(s).mT))},
        "softmax(scores + mask + mask of the past)",
    )
    yield Mistake(
        "mask.diagonal",
        {p: masked(lambda s, x: hide(hide(x, seen(s)), ~torch.eye(s.ids.shape[1], dtype=torch.bool)))},
        "no token sees itself",
    )
    yield Mistake(
        "mask.by_segment",
        {p: masked(lambda s, x: hide(hide(x, seen(s)), (s.segments[:, None, :, None] == s.segments[:, None, None])))},
        "a token sees its own segment only",
    )
    yield Mistake(
        "mask.segments",
        {p: masked(lambda s, x: hide(x, s.segments[:, None, None].double()))},
        "segments in place of the mask",
    )
    yield Mistake("mask.first_sample", {p: masked(lambda s, x: hide(x, seen(s)[:1]))}, "the first text's mask for all")
    yield Mistake("mask.across_texts", {CONTEXT: _across_texts}, "the tokens of all texts see one another")
    yield Mistake(
        "mask.filled_with_zero",
        {p: masked(lambda s, x: x.masked_fill(~s.c.visible[:, None, None], 0.0))},
        "masked_fill(scores, 0)",
    )
    yield Mistake(
        "mask.tiny",
        {p: masked(lambda s, x: x.masked_fill(~s.c.visible[:, None, None], 1e-9))},
        "masked_fill(scores, 1e-9)",
    )


def _across_texts(s: Scope) -> Tensor:
    """Attention among the visible tokens of all texts, as if they were one."""
    packed = [s[name][s.c.visible].view(1, -1, s.config.hidden_size) for name in (Q, K, V)]
    q, k, v = map(s.heads, packed)
    together = s.merged(torch.softmax(q @ k.mT * s.scale, -1) @ v)[0]
    context = torch.zeros_like(s[Q])
    context[s.c.visible] = together
    return context


def _softmax() -> Iterator[Mistake]:
    p = PROBABILITIES

    def shown(s: Scope) -> Tensor:
        return s.c.visible[:, None, None].double()  # (B, 1, 1, T)

    def over(s: Scope, dim: int) -> Tensor:
        return torch.softmax(s[SCORES] + s.mask, dim=dim)

    yield Mistake(
        "softmax.over_queries", {p: lambda s: over(s, 2)}, "softmax over the asking tokens", {"mask": "masked"}
    )
    yield Mistake(
        "softmax.over_queries",
        {p: lambda s: torch.softmax(s[SCORES] + s.mask.mT, dim=2)},
        "softmax over the asking tokens",
        {"mask": "mask on the same axis"},
    )
    yield Mistake("softmax.over_heads", {p: lambda s: over(s, 1)}, "softmax over the heads")
    # The same without padding, as in packed programs: nothing is read of what is hidden.
    yield Mistake("softmax.over_heads", {p: lambda s: over(s, 1) * shown(s)}, "softmax over the heads")
    yield Mistake(
        "softmax.over_queries",
        {p: lambda s: torch.softmax(s[SCORES] + s.mask.mT, dim=2) * shown(s)},
        "softmax over the asking tokens",
        {"mask": "mask on the same axis"},
    )
    yield Mistake("softmax.over_batch", {p: lambda s: over(s, 0)}, "softmax over the batch")
    yield Mistake("softmax.missing", {p: lambda s: s[SCORES]}, "scores")
    yield Mistake("softmax.missing_masked", {p: lambda s: s[SCORES] * s.c.visible[:, None, None]}, "scores · mask")
    yield Mistake("softmax.sigmoid", {p: lambda s: torch.sigmoid(s[SCORES] + s.mask)}, "sigmoid(scores + mask)")
    yield Mistake("softmax.log", {p: lambda s: torch.log_softmax(s[SCORES] + s.mask, -1)}, "log softmax(scores + mask)")
    yield Mistake("softmax.twice", {p: lambda s: torch.softmax(over(s, -1), -1)}, "softmax(softmax(scores + mask))")
    yield Mistake(
        "softmax.twice",
        {p: lambda s: torch.softmax(over(s, -1) + s.mask, -1)},
        "softmax(softmax(scores + mask) + mask)",
    )
    yield Mistake(
        "softmax.relu",
        {p: lambda s: F.normalize(torch.relu(s[SCORES]) * s.c.visible[:, None, None], p=1, dim=-1)},
        "relu(scores), made to sum to 1",
    )
    yield Mistake(
        "softmax.uniform", {p: lambda s: torch.softmax(s[SCORES] * 0 + s.mask, -1)}, "the same weight for every token"
    )
    yield Mistake(
        "softmax.plus_one",
        {p: lambda s: torch.exp(s[SCORES] + s.mask) / (1 + torch.exp(s[SCORES] + s.mask).sum(-1, True))},
        "exp(s) / (1 + Σ exp(s))",
    )
