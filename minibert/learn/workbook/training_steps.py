"""The steps about training: the loss, and a step of AdamW."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.learn.workbook import reference as right
from minibert.learn.workbook.cases import Case, Exercise, from_functions

IGNORED = -100


def mlm_loss(seed: int) -> Exercise:
    """Of a few scores; rows with different numbers of labels, and scores so large that a probability is 0."""
    draw = torch.Generator().manual_seed(seed)

    def given(B: int, T: int, V: int, size: float) -> tuple[Tensor, Tensor]:
        logits = torch.randn(B, T, V, generator=draw, dtype=torch.float64) * size
        labels = torch.full((B, T), IGNORED)
        for row in range(B):
            count = 1 + 2 * row
            places = torch.randperm(T, generator=draw)[:count]
            labels[row, places] = torch.randint(1, V, (count,), generator=draw)
        return logits, labels

    shapes = {"labels": (3, 7, 150, 2.0), "one_row": (1, 5, 120, 2.0), "large": (2, 6, 130, 2000.0)}
    args = {name: given(*shape) for name, shape in shapes.items()}
    cases = [Case(name, pair, right.mlm_loss(*pair)) for name, pair in args.items()]
    return Exercise(cases, lambda: from_functions(cases, loss_mistakes()))


def losses(logits: Tensor, labels: Tensor) -> Tensor:
    """(B, T): that of every token, 0 where the label is -100."""
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)


def loss_mistakes() -> Iterator[Any]:
    """Key and wrong function."""

    def mean(logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def mean_of_means(logits: Tensor, labels: Tensor) -> Tensor:
        return (losses(logits, labels).sum(1) / (labels != IGNORED).sum(1)).mean()

    def with_labels(change: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda logits, labels: mean(logits, change(labels))

    def picked(logits: Tensor, labels: Tensor, of: Callable[[Tensor], Tensor]) -> Tensor:
        asked = labels != IGNORED
        return of(logits[asked]).gather(1, labels[asked][:, None])

    def shifted(logits: Tensor, labels: Tensor) -> Tensor:
        return mean(logits[:, :-1], labels[:, 1:])

    def squared(logits: Tensor, labels: Tensor) -> Tensor:
        asked = labels != IGNORED
        return F.mse_loss(logits[asked].softmax(-1), F.one_hot(labels[asked], logits.shape[-1]).double())

    yield "loss.sum", lambda logits, labels: losses(logits, labels).sum()
    yield "loss.mean_over_all", lambda logits, labels: losses(logits, labels).mean()
    yield "loss.mean_of_means", mean_of_means
    yield "loss.sum_per_text", lambda logits, labels: losses(logits, labels).sum() / len(labels)
    yield "loss.ignored_as_zero", with_labels(lambda labels: labels.clamp(min=0))
    yield "loss.ignored_from_end", lambda z, y: mean(z, torch.where(y == IGNORED, z.shape[-1] + y, y))
    yield "loss.shifted", shifted
    yield "loss.bits", lambda logits, labels: mean(logits, labels) / math.log(2)
    yield "loss.softmax_twice", lambda logits, labels: mean(logits.softmax(-1), labels)
    yield "loss.sign", lambda logits, labels: -mean(logits, labels)
    yield "loss.no_log", lambda logits, labels: picked(logits, labels, lambda z: z.softmax(-1)).mean()
    yield "loss.no_log", lambda logits, labels: -picked(logits, labels, lambda z: z.softmax(-1)).mean()
    yield "loss.no_softmax", lambda logits, labels: -picked(logits, labels, lambda z: z).mean()
    yield "loss.no_softmax", lambda logits, labels: picked(logits, labels, lambda z: z).mean()
    yield "loss.overflow", lambda logits, labels: -picked(logits, labels, lambda z: z.softmax(-1).log()).mean()
    yield (
        "loss.overflow",
        lambda logits, labels: -picked(logits, labels, lambda z: (z.exp() / z.exp().sum(-1, True)).log()).mean(),
    )
    yield (
        "loss.overflow",
        lambda logits, labels: -picked(logits, labels, lambda z: z - z.exp().sum(-1, True).log()).mean(),
    )
    yield "loss.smoothed", lambda z, y: F.cross_entropy(z.flatten(0, 1), y.flatten(), label_smoothing=0.1)
    yield "loss.log_of_mean", lambda logits, labels: -picked(logits, labels, lambda z: z.softmax(-1)).mean().log()
    yield "loss.squared", squared
    yield "loss.each", losses
    yield "loss.each", lambda logits, labels: losses(logits, labels)[labels != IGNORED]
    yield (
        "loss.over_tokens",
        lambda z, y: -torch.log_softmax(z, 1)[y != IGNORED].gather(1, y[y != IGNORED][:, None]).mean(),
    )


Tensors = dict[str, Tensor]
SHAPES: dict[str, tuple[int, ...]] = {
    "embed.word": (6, 4),
    "embed.norm_weight": (4,),
    "layers.0.query_weight": (4, 4),
    "layers.0.query_bias": (4,),
    "layers.0.output_norm_weight": (4,),
    "layers.0.output_norm_bias": (4,),
}


def adamw_step(seed: int) -> Exercise:
    """The first step, from moments of 0, and the third; some gradients are so small that eps counts."""
    draw = torch.Generator().manual_seed(seed)

    def drawn(size: float) -> Tensors:
        return {name: torch.randn(shape, generator=draw, dtype=torch.float64) * size for name, shape in SHAPES.items()}

    def gradients() -> Tensors:
        return {
            name: value * 10.0 ** torch.randint(-6, 1, value.shape, generator=draw)
            for name, value in drawn(1.0).items()
        }

    cases = []
    for name, step, lr, betas, eps, decay in (
        ("first_step", 1, 0.01, (0.9, 0.999), 1e-6, 0.1),
        ("third_step", 3, 0.02, (0.8, 0.99), 1e-4, 0.2),
    ):
        weights, grads = drawn(0.5), gradients()
        zero = {key: torch.zeros_like(value) for key, value in grads.items()}
        m = zero if step == 1 else {key: value * 0.1 for key, value in gradients().items()}
        v = zero if step == 1 else {key: value.square() * 0.05 for key, value in gradients().items()}
        args = (weights, grads, m, v, step, lr, betas, eps, decay)
        # Decay of the weights before their change or after it: both are written "AdamW" in well-known libraries.
        cases.append(Case(name, args, right.adamw_step(*args), others=[adamw(decay_last=True)(*args)]))
    return Exercise(cases, lambda: from_functions(cases, adamw_mistakes()))


def is_small(name: str) -> bool:
    """A bias, or a weight of a LayerNorm."""
    return "norm" in name or name.endswith("bias")


def adamw(
    *,
    corrected: tuple[bool, bool] = (True, True),
    decayed: Callable[[str], bool] = lambda name: not is_small(name),
    coupled: bool = False,
    decay_last: bool = False,
    no_rate: bool = False,
    decay_sign: float = 1.0,
    inside: bool = False,
    no_eps: bool = False,
    root: bool = True,
    swapped: bool = False,
    sign: float = -1.0,
    squared: bool = True,
    weighted: tuple[bool, bool] = (True, True),
    shift: int = 0,
    no_moments: bool = False,
    first: str = "m",
    square_of_m: bool = False,
) -> Callable[..., tuple[Tensors, Tensors, Tensors]]:
    """The step with its rules changed."""

    def adamw_step(
        weights: Tensors,
        grads: Tensors,
        m: Tensors,
        v: Tensors,
        step: int,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        decay: float,
    ) -> tuple[Tensors, Tensors, Tensors]:
        b1, b2 = betas[::-1] if swapped else betas
        step = step + shift
        result: tuple[Tensors, Tensors, Tensors] = ({}, {}, {})
        for name, weight in weights.items():
            own = decay if decayed(name) else 0.0
            g = grads[name] + own * weight if coupled else grads[name]
            new_m = b1 * m[name] + ((1 - b1) if weighted[0] else 1.0) * g
            source = new_m if square_of_m else g
            new_v = b2 * v[name] + ((1 - b2) if weighted[1] else 1.0) * (source**2 if squared else source.abs())
            mean = (new_m / (1 - b1**step) if corrected[0] else new_m) if first == "m" else g
            square = new_v / (1 - b2**step) if corrected[1] else new_v
            if no_moments:
                mean, square = m[name] / (1 - b1**step), v[name] / (1 - b2**step)
            small = 0.0 if no_eps else eps
            below = (square + small).sqrt() if inside else ((square.sqrt() if root else square) + small)
            changed = weight + sign * lr * mean / below
            if not coupled:
                base = changed if decay_last else weight
                changed = changed - decay_sign * (1.0 if no_rate else lr) * own * base
            for place, value in zip(result, (changed, new_m, new_v), strict=True):
                place[name] = value
        return result

    return adamw_step


def adamw_mistakes() -> Iterator[Any]:
    """Key and wrong function; also each as it is where the decay comes last."""
    for last in (False, True):

        def made(last: bool = last, **rules: Any) -> Callable[..., tuple[Tensors, Tensors, Tensors]]:
            return adamw(decay_last=last, **rules)

        yield "adamw.no_bias_correction", made(corrected=(False, False))
        yield "adamw.corrected_first_only", made(corrected=(True, False))
        yield "adamw.corrected_second_only", made(corrected=(False, True))
        yield "adamw.decays_all", made(decayed=lambda name: True)
        yield "adamw.decays_norms", made(decayed=lambda name: not name.endswith("bias"))
        yield "adamw.decays_biases", made(decayed=lambda name: "norm" not in name)
        yield "adamw.decays_small_only", made(decayed=is_small)
        yield "adamw.no_decay", made(decayed=lambda name: False)
        yield "adamw.decay_without_rate", made(no_rate=True)
        yield "adamw.decay_sign", made(decay_sign=-1.0)
        yield "adamw.eps_inside", made(inside=True)
        yield "adamw.no_eps", made(no_eps=True)
        yield "adamw.no_root", made(root=False)
        yield "adamw.betas_swapped", made(swapped=True)
        yield "adamw.ascends", made(sign=1.0)
        yield "adamw.not_squared", made(squared=False)
        yield "adamw.moments_not_weighted", made(weighted=(False, False))
        yield "adamw.moments_not_weighted", made(weighted=(False, True))
        yield "adamw.moments_not_weighted", made(weighted=(True, False))
        yield "adamw.step_from_zero", made(shift=-1)
        yield "adamw.step_ahead", made(shift=1)
        yield "adamw.old_moments", made(no_moments=True)
        yield "adamw.gradient_for_moment", made(first="g")
        yield "adamw.square_of_moment", made(square_of_m=True)
        # Two that often come together, as in Google's BERT and in Adam with L2.
        yield "adamw.no_bias_correction_decays_all", made(corrected=(False, False), decayed=lambda name: True)
    for decayed, key in ((lambda name: not is_small(name), "adamw.coupled"), (lambda name: True, "adamw.coupled_all")):
        yield key, adamw(coupled=True, decayed=decayed)
    yield "adamw.moments_returned_corrected", corrected_moments
    yield "adamw.sgd", sgd


def corrected_moments(*args: Any) -> tuple[Tensors, Tensors, Tensors]:
    """The moments as they are after the correction, which the next step would correct again."""
    new, m, v = right.adamw_step(*args)
    step, (b1, b2) = args[4], args[6]
    return (
        new,
        {name: value / (1 - b1**step) for name, value in m.items()},
        {name: value / (1 - b2**step) for name, value in v.items()},
    )


def sgd(*args: Any) -> tuple[Tensors, Tensors, Tensors]:
    """Gradient descent, with the moments left as they are."""
    weights, grads, m, v, _, lr = args[:6]
    return {name: weight - lr * grads[name] for name, weight in weights.items()}, m, v
