"""What a mistake is, and those that any dense layer and any LayerNorm can have."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.verify.computation import Formula, Scope

X = TypeVar("X")
Change = Callable[[Tensor], Tensor]  # of a weight
Normalise = Callable[[Tensor, float], Tensor]  # of an input, with the right eps


@dataclass(frozen=True, eq=False)
class Mistake:
    """A known mistake in one part of BERT.

    Attributes:
        key: its name in sentences.py, for example "attention.no_scale".
        formulas: value (its name in the layer) → the formula that takes the place of the right one.
        formula: the wrong formula in letters, for the report.
        details: what the sentence has blanks for.
    """

    key: str
    formulas: Mapping[str, Formula]
    formula: str
    details: Mapping[str, str] = field(default_factory=dict)

    @property
    def first(self) -> str:
        """The first value that it makes wrong."""
        return next(iter(self.formulas))

    @property
    def name(self) -> str:
        """The key with its details: one name for each variant, wherever in BERT it is."""
        details = [value for blank, value in self.details.items() if blank not in ("where", "weight", "largest")]
        return self.key + (f" ({', '.join(details)})" if details else "")


def with_value(value: X, formula: Callable[[Scope, X], Tensor]) -> Formula:
    """A formula that is also given a value, for the lines of a loop."""
    return lambda s: formula(s, value)


EPS = (1e-5, 1e-6, 1e-7, 1e-8, 1e-3, 1e-12, 0.0)


def dense_mistakes(value: str, module: str, source: str) -> Iterator[Mistake]:
    """Of ``value = source @ Wᵀ + b``, where ``module`` has W and b."""
    where = {"where": module}

    def with_weight(key: str, change: Change, formula: str, **details: str) -> Mistake:
        def wrong(s: Scope) -> Tensor:
            return F.linear(read(s, source), change(stored(s, s.w(f"{module}.weight"))).double(), s.w(f"{module}.bias"))

        return Mistake(key, {value: wrong}, f"{source} @ {formula} + b", {**where, **details})

    yield Mistake(
        "dense.no_bias", {value: lambda s: read(s, source) @ s.w(f"{module}.weight").T}, f"{source} @ Wᵀ", where
    )
    yield with_weight("dense.transposed", transposed, "W")
    yield with_weight("dense.reshaped", lambda w: w.reshape(w.shape[1], w.shape[0]).T, "reshape(W)")
    for dtype in ("float16", "bfloat16"):
        yield with_weight("dense.rounded", rounder(dtype), f"{dtype}(W)ᵀ", dtype=dtype)
    yield with_weight("dense.rounded", int8_per_tensor, "int8(W)ᵀ", dtype="int8, one scale for the matrix")
    yield with_weight("dense.rounded", int8_per_row, "int8(W)ᵀ", dtype="int8, one scale for each output")
    for dtype in ("float16", "bfloat16"):

        def all_rounded(s: Scope, dtype: str = dtype) -> Tensor:
            to = rounder(dtype)
            weight, bias = (to(stored(s, s.w(f"{module}.{kind}"))) for kind in ("weight", "bias"))
            return F.linear(read(s, source), weight, bias)

        yield Mistake(
            "dense.rounded",
            {value: all_rounded},
            f"{source} @ {dtype}(W)ᵀ + {dtype}(b)",
            {**where, "dtype": f"{dtype}, with the bias"},
        )
    if source != "last[:, 0]":

        def viewed(s: Scope) -> Tensor:
            x = read(s, source)
            return s.dense(module, x.reshape(x.shape[0], x.shape[2], x.shape[1]).mT)

        yield Mistake("dense.input_viewed", {value: viewed}, f"view({source}, (B, H, T))ᵀ @ Wᵀ + b", where)
    yield Mistake(
        "dense.bias_twice",
        {value: lambda s: s.dense(module, read(s, source)) + s.w(f"{module}.bias")},
        f"{source} @ Wᵀ + 2b",
        where,
    )
    yield Mistake(
        "dense.bias_subtracted",
        {value: lambda s: s.dense(module, read(s, source)) - 2 * s.w(f"{module}.bias")},
        f"{source} @ Wᵀ - b",
        where,
    )


def norm_mistakes(value: str, module: str, source: str, right_eps: float) -> Iterator[Mistake]:
    """Of ``value = LayerNorm(source)``, where ``module`` has γ and β."""
    where = {"where": module}

    def gamma(s: Scope) -> Tensor:
        return s.w(f"{module}.weight")

    def beta(s: Scope) -> Tensor:
        return s.w(f"{module}.bias")

    def variant(key: str, normalised: Normalise, formula: str, **details: str) -> Mistake:
        def wrong(s: Scope) -> Tensor:
            return normalised(read(s, source), right_eps) * gamma(s) + beta(s)

        return Mistake(key, {value: wrong}, f"γ · {formula} + β", {**where, **details})

    yield Mistake("norm.missing", {value: lambda s: read(s, source)}, source, where)
    for eps in EPS:
        told = f"{eps:.0e}".replace("e-0", "e-") if eps else "0"
        if eps != right_eps:
            yield variant("norm.eps", _inside(eps), f"(u - μ) / √(σ² + {told})", eps=told, right=f"{right_eps:g}")
        if eps >= 1e-8:
            yield variant("norm.eps_outside", _outside(eps), f"(u - μ) / (σ + {told})", eps=told)
            yield variant("norm.unbiased", _unbiased(eps, True), f"(u - μ) / √(s² + {told}), s² over H - 1", eps=told)
            yield variant(
                "norm.unbiased",
                _unbiased(eps, False),
                f"(u - μ) / (s + {told}), s over H - 1",
                eps=f"{told} outside the root",
            )
    yield variant(
        "norm.unbiased", _unbiased(right_eps, True), "(u - μ) / √(s² + eps), s² over H - 1", eps=f"{right_eps:g}"
    )
    yield variant("norm.no_mean", lambda x, e: x * (x.square().mean(-1, True) + e).rsqrt(), "u / √(mean(u²) + eps)")
    yield variant(
        "norm.no_mean", lambda x, e: x / (x.var(-1, unbiased=False, keepdim=True) + e).sqrt(), "u / √(σ² + eps)"
    )
    for dtype in ("float16", "bfloat16"):

        def rounded(s: Scope, dtype: str = dtype) -> Tensor:
            to = rounder(dtype)
            return norm(read(s, source), right_eps) * to(gamma(s)) + to(beta(s))

        yield Mistake("dense.rounded", {value: rounded}, f"{dtype}(γ) · LN(u) + {dtype}(β)", {**where, "dtype": dtype})
    yield variant("norm.no_variance", lambda x, e: x - x.mean(-1, True), "(u - μ)")
    yield variant(
        "norm.variance_for_std",
        lambda x, e: (x - x.mean(-1, True)) / (x.var(-1, unbiased=False, keepdim=True) + e),
        "(u - μ) / (σ² + eps)",
    )
    yield variant(
        "norm.over_tokens",
        lambda x, e: (x - x.mean(1, True)) / x.std(1, unbiased=False, keepdim=True),
        "(u - μ) / σ over the tokens",
    )
    yield variant(
        "norm.over_tokens",
        lambda x, e: (x - x.mean(1, True)) / (x.var(1, unbiased=False, keepdim=True) + e).sqrt(),
        "(u - μ) / √(σ² + eps) over the tokens",
    )
    yield variant(
        "norm.over_tokens_and_features",
        lambda x, e: F.layer_norm(x, x.shape[1:], eps=e),
        "(u - μ) / √(σ² + eps) over tokens and features together",
    )
    yield Mistake(
        "norm.swapped", {value: lambda s: norm(read(s, source), right_eps) * beta(s) + gamma(s)}, "β · LN(u) + γ", where
    )
    yield Mistake("norm.no_beta", {value: lambda s: norm(read(s, source), right_eps) * gamma(s)}, "γ · LN(u)", where)
    yield Mistake("norm.no_gamma", {value: lambda s: norm(read(s, source), right_eps) + beta(s)}, "LN(u) + β", where)
    yield Mistake("norm.no_affine", {value: lambda s: norm(read(s, source), right_eps)}, "LN(u)", where)
    yield Mistake(
        "norm.one_plus_gamma",
        {value: lambda s: norm(read(s, source), right_eps) * (1 + gamma(s)) + beta(s)},
        "(1 + γ) · LN(u) + β",
        where,
    )
    yield Mistake(
        "norm.twice", {value: lambda s: s.layer_norm(module, s.layer_norm(module, read(s, source)))}, "LN(LN(u))", where
    )


def stored(s: Scope, weight: Tensor) -> Tensor:
    """A weight in the dtype that they have it in: rounded in float64, some would fall to the other side of a half."""
    return weight.to(torch.promote_types(s.c.reference.dtype, torch.float32))


def read(s: Scope, source: str) -> Tensor:
    """A value by name; "last[:, 0]" is the first token of the last hidden state."""
    return s["last"][:, 0] if source == "last[:, 0]" else s[source]


def norm(x: Tensor, eps: float) -> Tensor:
    """LayerNorm without γ and β."""
    return F.layer_norm(x, x.shape[-1:], eps=eps)


def _inside(eps: float) -> Normalise:
    return lambda x, _: norm(x, eps)


def _outside(eps: float) -> Normalise:
    return lambda x, _: (x - x.mean(-1, True)) / (x.std(-1, unbiased=False, keepdim=True) + eps)


def _unbiased(eps: float, inside: bool) -> Normalise:
    if inside:
        return lambda x, _: (x - x.mean(-1, True)) / (x.var(-1, unbiased=True, keepdim=True) + eps).sqrt()
    return lambda x, _: (x - x.mean(-1, True)) / (x.std(-1, unbiased=True, keepdim=True) + eps)


def transposed(w: Tensor) -> Tensor:
    """W where Wᵀ belongs; only a square matrix can be taken the wrong way round without an error."""
    return w.T if w.shape[0] == w.shape[1] else w


def rounder(dtype: str) -> Change:
    """Rounding to a shorter dtype and back."""
    short = getattr(torch, dtype)
    return lambda w: w.to(short).double()


def int8_per_tensor(w: Tensor) -> Tensor:
    """Symmetric 8-bit rounding with one scale."""
    scale = w.abs().max() / 127
    return ((w / scale).round().clamp(-128, 127) * scale).double()


def int8_per_row(w: Tensor) -> Tensor:
    """Symmetric 8-bit rounding with a scale for each output."""
    scale = w.abs().amax(dim=1, keepdim=True) / 127
    return ((w / scale).round().clamp(-128, 127) * scale).double()
