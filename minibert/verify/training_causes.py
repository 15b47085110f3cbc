"""Known causes of a difference between two training runs, each a formula that is named only where its value is theirs.

A cause is claimed only if the one side's number equals its formula within rounding, and the other side's equals the
right one.  ``loss_causes`` recomputes the loss from the logits, ``gradient_causes`` the gradients from one another,
``update_causes`` one step of Adam in float64.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.losses import IGNORE_INDEX
from minibert.verify.sentences import cause


@dataclass(frozen=True)
class Cause:
    """A known cause: who does it, its key, a sentence, the formula; ``told`` and ``details`` make the sentence."""

    key: str  # for example "optimizer.no_bias_correction"
    side: str
    sentence: str  # in English, without its full stop
    formula: str = ""
    told: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, key: str, side: str, formula: str = "", /, told: str = "", **details: str) -> "Cause":
        """With the sentence that sentences/ has for ``told`` (by default the key); its blank "side" is ``side``."""
        told, details = told or key, {"side": side, **details}
        return cls(key, side, cause("training", told, details), formula, told, details)

    def said(self, language: str = "en") -> str:
        """The sentence; InputError for a language other than "en", "ko" and "zh"."""
        return cause("training", self.told, self.details, language) if self.told else self.sentence


LOSSES = {
    "loss.mean_over_all": "Σ loss / (B·T)",
    "loss.sum": "Σ loss",
    "loss.mean_of_means": "mean over rows of (Σ loss / count)",
    "loss.ignored_as_zero": "labels.clamp(min=0)",
    "loss.ignored_from_end": "log_softmax(x)[-100]",
    "loss.shifted": "x[:, :-1], labels[:, 1:]",
    "loss.bits": "loss / ln 2",
    "loss.smoothed": "label_smoothing=0.1",
}


def losses(logits: Tensor, labels: Tensor) -> Iterator[tuple[str, float]]:
    """(key, value) of the right loss ("right") and of every known wrong one; float64."""
    x, C = logits.detach().double(), logits.shape[-1]
    flat, target = x.reshape(-1, C), labels.reshape(-1)
    each = F.cross_entropy(flat, target, reduction="none")
    count = int((target != IGNORE_INDEX).sum())
    if not count:
        return
    total = float(each.sum())
    yield "right", total / count
    yield "loss.mean_over_all", total / len(target)
    yield "loss.sum", total
    yield "loss.bits", total / count / 0.6931471805599453
    yield "loss.smoothed", float(F.cross_entropy(flat, target, label_smoothing=0.1))
    yield "loss.ignored_as_zero", float(F.cross_entropy(flat, target.where(target != IGNORE_INDEX, 0)))
    if C >= -IGNORE_INDEX:
        yield "loss.ignored_from_end", float(F.cross_entropy(flat, target.where(target >= 0, C + IGNORE_INDEX)))
    if labels.dim() == 2:
        counts = (labels != IGNORE_INDEX).sum(dim=1)
        if bool((counts > 0).all()):
            yield "loss.mean_of_means", float((each.view_as(labels).sum(dim=1) / counts).mean())
        if bool((labels[:, 1:] != IGNORE_INDEX).any()):
            shifted = F.cross_entropy(x[:, :-1].reshape(-1, C), labels[:, 1:].reshape(-1))
            yield "loss.shifted", float(shifted)


def loss_causes(logits: Tensor, labels: Tensor, values: Mapping[str, float], bound: float) -> list[Cause]:
    """Why the losses of two sides (name → value) differ although their logits do not."""
    if labels.shape != logits.shape[:-1] or labels.is_floating_point():
        return []
    known = dict(losses(logits, labels))
    right = known.pop("right", None)
    if right is None:
        return []
    wrong = [side for side, value in values.items() if abs(value - right) > bound]
    if len(wrong) != 1:
        return []
    (side,) = wrong
    fitting = [key for key, value in known.items() if abs(values[side] - value) <= bound * max(1.0, abs(value))]
    return [Cause.of(key, side, LOSSES[key]) for key in fitting]


def proportional(found: Mapping[str, Tensor], base: Mapping[str, Tensor], eps: float) -> float | None:
    """The factor c with found = c · base everywhere within rounding; None where there is none."""
    if set(found) != set(base) or not base:
        return None
    below = sum(float(value.double().square().sum()) for value in base.values())
    if below == 0.0:
        return None
    c = sum(float((found[name].double() * base[name].double()).sum()) for name in base) / below
    for name, value in base.items():
        far = float((found[name].double() - c * value.double()).abs().max()) if value.numel() else 0.0
        if far > 16 * eps * max(abs(c) * float(value.abs().max()), 1e-30):
            return None
    return c


def norm(gradients: Mapping[str, Tensor]) -> float:
    """The norm of all gradients together, computed in float64."""
    return math.sqrt(sum(float(value.double().square().sum()) for value in gradients.values()))


@dataclass(frozen=True)
class Applied:
    """How a side's optimizer was given its gradients."""

    accumulated: bool
    factor: float
    clipped: float | None  # to which norm
    by_value: float | None = None  # clipped to ± this


def how_applied(
    applied: Mapping[str, Tensor], gradients: Mapping[str, Tensor], left: Mapping[str, Tensor], eps: float
) -> Applied | None:
    """The formula by which a side's ``.grad`` came from its gradients and from what was left in ``.grad`` before."""
    bases = [(False, dict(gradients))]
    if any(bool(value.any()) for value in left.values()):
        bases.append((True, {name: value + left.get(name, 0) for name, value in gradients.items()}))
    for accumulated, base in bases:
        c = proportional(applied, base, eps)
        if c is not None:
            if abs(c - 1) <= 16 * eps:
                return Applied(accumulated, 1.0, None)
            limit = c * (norm(base) + 1e-6)
            return Applied(accumulated, c, limit if 0 < c < 1 and is_round(limit) else None)
        if set(applied) == set(base):
            limit = max(float(value.abs().max()) for value in applied.values() if value.numel())
            if all(torch.equal(applied[name], value.clamp(-limit, limit)) for name, value in base.items()):
                return Applied(accumulated, 1.0, None, limit)
    return None


def is_round(number: float) -> bool:
    """Whether a person may have written this number: two digits, within the rounding of a norm in float32."""
    return abs(number - float(f"{number:.1e}")) <= 1e-5 * abs(number)


def applied_causes(sides: Mapping[str, Applied | None]) -> list[Cause]:
    """Why two sides give their optimizers other gradients although the backward passes agree."""
    (a, first), (b, second) = sides.items()
    if first is None or second is None:
        return []
    causes = []
    if first.accumulated != second.accumulated:
        side = a if first.accumulated else b
        causes.append(Cause.of("gradients.not_zeroed", side, "grad = grad of the step before + gradient"))
    if first.by_value != second.by_value:
        for side, how in sides.items():
            if how is not None and how.by_value is not None:
                most = f"{how.by_value:g}"
                causes.append(Cause.of("clipping.by_value", side, f"gradient.clamp(-{most}, …)", limit=most))
        return causes
    if abs(first.factor - second.factor) <= 1e-5 * max(abs(first.factor), abs(second.factor)):
        return causes
    clipped = {side: how.clipped for side, how in sides.items() if how is not None and how.clipped is not None}
    if len(clipped) == 2:
        norms = {"first": f"{clipped[a]:.4g}", "second": f"{clipped[b]:.4g}"}
        causes.append(Cause.of("clipping.other_norm", b, f"gradient · {clipped[b]:.4g} / norm", other=a, **norms))
    elif len(clipped) == 1:
        ((side, limit),) = clipped.items()
        other, how = (b, second) if side == a else (a, first)
        if how.factor == 1.0:
            causes.append(Cause.of("clipping.missing", other, "gradient as it is", other=side, limit=f"{limit:.4g}"))
    return causes


@dataclass(frozen=True)
class Adam:
    """One form of Adam's step."""

    betas: tuple[float, float]
    eps: float
    decay: float  # of the parameter at hand
    bias_correction: bool = True
    coupled: bool = False  # weight decay is added to the gradient (Adam with L2), instead of to the update (AdamW)
    eps_inside: bool = False

    def step(
        self, p: Tensor, g: Tensor, m: Tensor, v: Tensor, number: int, rate: float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The parameter and both moments after step ``number`` (from 1), and the divisor of the update; float64."""
        g = g + self.decay * p if self.coupled else g
        b1, b2 = self.betas
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        c1, c2 = (1 - b1**number, 1 - b2**number) if self.bias_correction else (1.0, 1.0)
        root = (v / c2 + self.eps).sqrt() if self.eps_inside else (v / c2).sqrt() + self.eps
        p = p if self.coupled else p - rate * self.decay * p
        return p - rate * (m / c1) / root, m, v, root * c1


@dataclass(frozen=True, eq=False)
class Update:
    """One parameter before and after a step, on one side."""

    name: str
    before: Tensor
    gradient: Tensor
    m: Tensor
    v: Tensor
    number: int
    rate: float
    after: Tensor
    state: Mapping[str, Tensor]  # what the optimizer remembers afterwards, where that is known
    settings: Mapping[str, Any]
    small: bool  # a bias or of a LayerNorm

    def fits(self, adam: Adam) -> bool:
        """Whether a form of Adam makes this step, within rounding, number by number."""
        p, g, m, v = (t.double() for t in (self.before, self.gradient, self.m, self.v))
        after, m1, v1, root = adam.step(p, g, m, v, self.number, self.rate)
        eps = torch.finfo(self.before.dtype).eps
        bound, size = update_bound(p, after, self.rate, eps), g.abs()
        if adam.coupled:  # gradient and weight decay may cancel, and leave the rounding of their sum
            size = size + adam.decay * p.abs()
            bound = bound + abs(self.rate) * 2 * eps * size / root.clamp(min=1e-38)
        if not within(self.after, after, bound):
            return False
        pairs = (("exp_avg", m1, m.abs() + size), ("exp_avg_sq", v1, v.abs() + size * size))
        return all(k not in self.state or within(self.state[k], value, 16 * eps * near) for k, value, near in pairs)


def update_bound(before: Tensor, after: Tensor, rate: float, eps: float) -> Tensor:
    """The rounding of one step, number by number: 2 units of the parameter, 16 of the update."""
    return 2 * eps * before.abs() + 16 * eps * ((after - before).abs() + abs(rate)) + 1e-38


def within(found: Tensor, expected: Tensor, bound: Tensor) -> bool:
    """Whether every number is within its own bound."""
    return bool(((found.double() - expected).abs() <= bound).all())


Form = dict[str, Any]  # bias_correction, coupled, eps, eps_inside, betas, decay (of matrices), small_decay


def form_of(updates: list[Update]) -> Form | None:
    """The form that a side's settings promise; None if they are not Adam's."""
    settings = updates[0].settings
    if "betas" not in settings or "eps" not in settings:
        return None
    decays = {small: [u.settings.get("weight_decay", 0.0) for u in updates if u.small is small] for small in (0, 1)}
    return {
        "bias_correction": True,
        "coupled": False,
        "eps": float(settings["eps"]),
        "eps_inside": False,
        "betas": tuple(map(float, settings["betas"])),
        "decay": max(map(float, decays[0]), default=0.0),
        "small_decay": max(map(float, decays[1]), default=0.0),
    }


def fits(form: Form, updates: list[Update]) -> bool:
    """Whether a form makes the steps of all parameters."""
    adam = Adam(form["betas"], form["eps"], 0.0, form["bias_correction"], form["coupled"], form["eps_inside"])
    return all(u.fits(replace(adam, decay=form["small_decay" if u.small else "decay"])) for u in updates)


def forms(base: Form, other: Form | None) -> Iterator[Form]:
    """Forms near ``base``, those with fewer changes first."""
    choices: dict[str, list[Any]] = {
        "bias_correction": [False],
        "coupled": [True],
        "eps": [1e-8, 1e-6, 1e-7, 1e-5, 1e-12],
        "eps_inside": [True],
        "betas": [(0.9, 0.999), (0.9, 0.98), (0.9, 0.95), (0.95, 0.999), (0.9, 0.99)],
        "decay": [0.0, 0.01, 0.1],
        "small_decay": [0.0, 0.01, 0.1],
    }
    for key, values in choices.items():
        if other is not None:
            values.insert(0, other[key])
        if key == "small_decay":
            values.insert(0, base["decay"])
        choices[key] = [value for value in dict.fromkeys(values) if value != base[key]]
    yield base
    for size in (1, 2, 3):
        for keys in combinations(choices, size):
            for chosen in product(*(choices[key] for key in keys)):
                yield base | dict(zip(keys, chosen, strict=True))


def nearest(base: Form, other: Form | None, updates: list[Update]) -> list[Form]:
    """The forms with the fewest changes that make a side's step."""
    best: list[Form] = []
    fewest = 99
    # A few parameters rule out most forms.
    sample = sorted(updates, key=lambda u: u.before.numel())[:8]
    for form in forms(base, other):
        changes = sum(form[key] != base[key] for key in base)
        if changes > fewest:
            break
        if fits(form, sample) and fits(form, updates):
            best.append(form)
            fewest = changes
    return best


def update_causes(a: str, b: str, first: list[Update], second: list[Update]) -> list[Cause]:
    """Why the optimizers of two sides make other steps from the same gradients."""
    promised = form_of(first) or form_of(second)
    if promised is None or not first or not second:
        return []
    other = form_of(second)
    for_a = nearest(promised, other, first)
    if not for_a:
        return []
    for_b = nearest(for_a[0], other, second)
    # Several forms may fit on these numbers; a cause is named only if all of them have it.
    found = [{cause.key: cause for cause in differences(a, b, x, y)} for x in for_a[:3] for y in for_b]
    if not found:
        return []
    return [cause for key, cause in found[0].items() if all(key in others for others in found)]


def differences(a: str, b: str, first: Form, second: Form) -> Iterator[Cause]:
    """What tells two forms of Adam apart, in words."""
    if first["bias_correction"] != second["bias_correction"]:
        side = b if first["bias_correction"] else a
        yield Cause.of("optimizer.no_bias_correction", side, "p - lr · m / (√v + eps)")
    if first["coupled"] != second["coupled"]:
        side = b if second["coupled"] else a
        yield Cause.of("optimizer.coupled_decay", side, "g + weight_decay · p")
    if first["eps"] != second["eps"]:
        values = {"first": f"{first['eps']:g}", "second": f"{second['eps']:g}"}
        yield Cause.of("optimizer.eps", b, f"√v + {values['second']}", other=a, **values)
    if first["eps_inside"] != second["eps_inside"]:
        side = b if second["eps_inside"] else a
        yield Cause.of("optimizer.eps_inside", side, "√(v + eps)")
    if first["betas"] != second["betas"]:
        values = {"first": str(first["betas"]), "second": str(second["betas"])}
        yield Cause.of("optimizer.betas", b, f"β = {values['second']}", other=a, **values)
    if first["decay"] != second["decay"]:
        values = {"first": f"{first['decay']:g}", "second": f"{second['decay']:g}"}
        yield Cause.of("optimizer.decay", b, f"p - lr · {values['second']} · p", other=a, **values)
    if first["small_decay"] != second["small_decay"]:
        formula = "p - lr · weight_decay · p, for biases too"
        if 0.0 in (first["small_decay"], second["small_decay"]):
            side, which = (b, second) if second["small_decay"] else (a, first)
            decay = f"{which['small_decay']:g}"
            yield Cause.of("optimizer.decay_of_small", side, formula, told="optimizer.decay_of_small_too", decay=decay)
        else:
            values = {"first": f"{first['small_decay']:g}", "second": f"{second['small_decay']:g}"}
            yield Cause.of("optimizer.decay_of_small", b, formula, other=a, **values)
