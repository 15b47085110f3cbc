"""edit: replace any value during the forward pass; everything computed after it uses the new value.

    with edit(model, "encoder.layer.3.attention.self.context_heads", zero_head(2)):  # ablation
        outputs = model(**inputs)  # without head 2 of layer 3

    with edit(model, {"encoder.layer.5": other["encoder.layer.5"]}):  # activation patching, from a trace of another run
        outputs = model(**inputs)

A change is a tensor, or a function of the value.  The functions below make the usual ones.
"""

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.inputs import whole_numbers
from minibert.lens.tracing import watchable
from minibert.points import names_in, select
from minibert.watch import Watch

Change = Callable[[Tensor], Tensor | None] | Tensor  # a function that returns None keeps the value


@contextmanager
def edit(
    model: nn.Module, point: str | Iterable[str] | Mapping[str, Change], change: Change | None = None
) -> Iterator[None]:
    """Within the block, the model continues with ``change`` in place of the value at ``point``.

    Args:
        model: any model of minibert.  Within the block its attention is eager, so that there are scores to edit.
        point: one or several names of points, with ``*`` and ``**`` as in :func:`minibert.points.select`; or a mapping
            from names to changes.
        change: a tensor with the shape and dtype of the value; or a function of the value that returns such a tensor,
            or None to keep the value.  The function may run the model: this edit is suspended meanwhile.

    Several edits of one point act in the order in which they were opened (in a mapping: in its order), each on the
    result of the one before.  Only runs of this thread are edited.  Raises InputError for an unknown point, and during
    the run for a change that does not fit; warns at the end of the block about points that were never computed in it.
    """
    if getattr(model, "_orig_mod", model) is not model:
        raise InputError("A compiled model does not come by its points; edit and run the model that was compiled.")
    model = watchable(model)
    changes: dict[str, list[Change]] = {}
    for names, new in (point if isinstance(point, Mapping) else {_key(point): change}).items():
        if new is None:
            raise InputError(f"There is no change given for {names}: edit(model, point, change).")
        if not isinstance(new, Tensor) and not callable(new):
            raise InputError(f"The change given for {names} is {new!r:.80}; expected a tensor or a function of one.")
        for name in select(model, names):
            changes.setdefault(name, []).append(new)
    missed = set(changes)

    def apply(name: str, value: Tensor) -> Tensor:
        missed.discard(name)
        for one in changes[name]:
            new = one if isinstance(one, Tensor) else one(value)
            value = value if new is None else check_replacement(name, value, new)
        return value

    with Watch(model, apply, frozenset(changes)):
        yield
    if missed:
        warnings.warn(
            f"{', '.join(sorted(missed))}: edited, but never computed in the block. Only runs of the model itself in "
            "this thread are edited, not those of a compiled one.",
            RuntimeWarning,
            stacklevel=3,
        )


def _key(point: str | Iterable[str]) -> str | tuple[str, ...]:
    return point if isinstance(point, str) else tuple(names_in(point))


def check_replacement(name: str, value: Tensor, new: object) -> Tensor:
    """``new``, if it has the shape, dtype and device of ``value``; InputError otherwise."""
    if not isinstance(new, Tensor):
        raise InputError(f"The change at {name} gave a {type(new).__name__}; expected a tensor, or None to leave it.")
    for what, actual, expected in (
        ("shape", tuple(new.shape), tuple(value.shape)),
        ("dtype", new.dtype, value.dtype),
        ("device", new.device, value.device),
    ):
        if actual != expected:
            raise InputError(f"The change at {name} gave {what} {actual}, expected {expected} as the value there has.")
    return new


def zero_head(*heads: int) -> Callable[[Tensor], Tensor]:
    """Zero ablation: zeros for these heads of a value (B, N, T, …), such as ``context_heads``."""
    return lambda value: torch.where(_chosen(value, None, heads), value.new_zeros(()), value)


def mean_head(*heads: int, attention_mask: Tensor | None = None) -> Callable[[Tensor], Tensor]:
    """Mean ablation: for these heads of a value (B, N, T, D), the mean over all tokens of the batch.

    ``attention_mask`` (B, T) excludes padding, where it is 0, from the mean.
    """

    def change(value: Tensor) -> Tensor:
        chosen = _chosen(value, None, heads)
        if attention_mask is None:
            mean = value.mean(dim=(0, 2), keepdim=True)
        else:
            counts = attention_mask.to(value)[:, None, :, None]
            mean = (value * counts).sum(dim=(0, 2), keepdim=True) / counts.sum()
        return torch.where(chosen, mean, value)

    return change


def patch(
    value: Tensor, *, tokens: int | Sequence[int] | None = None, heads: int | Sequence[int] | None = None
) -> Callable[[Tensor], Tensor]:
    """Activation patching: replace a value by ``value``, everywhere or for some tokens or heads.

    The shape of ``value`` is that of the value it replaces, or expands to it.  Tokens are the second to last dimension:
    of (B, N, T, T), the queries.
    """
    if not isinstance(value, Tensor):
        raise InputError(f"A patch is {value!r:.80}; expected a tensor.")

    def change(old: Tensor) -> Tensor:
        try:
            new = value.expand(old.shape)
        except RuntimeError as error:
            raise InputError(f"A patch of shape {tuple(value.shape)} does not fit {tuple(old.shape)}.") from error
        return new if tokens is None and heads is None else torch.where(_chosen(old, tokens, heads), new, old)

    return change


def force_attention(pattern: Tensor, *, heads: int | Sequence[int] | None = None) -> Callable[[Tensor], Tensor]:
    """Set ``attention.self.probabilities`` to ``pattern``: (T, T), (N, T, T) or (B, N, T, T); each row sums to 1."""
    if not isinstance(pattern, Tensor) or pattern.dim() < 2 or not pattern.is_floating_point():
        raise InputError(
            f"An attention pattern is {pattern!r:.80}; expected a tensor (T, T), (N, T, T) or (B, N, T, T)."
        )
    if not torch.allclose(pattern.sum(-1), pattern.new_ones(()), atol=1e-3):
        raise InputError("Each row of an attention pattern sums to 1: it is how a token's attention is shared out.")
    return patch(pattern, heads=heads)


def _chosen(value: Tensor, tokens: int | Sequence[int] | None, heads: int | Sequence[int] | None) -> Tensor:
    """True at these tokens and heads of ``value``, in a shape that expands to that of ``value``."""
    chosen = torch.ones((), dtype=torch.bool, device=value.device)
    for what, numbers, dim, expected in (("token", tokens, -2, 3), ("head", heads, -3, 4)):
        if numbers is None:
            continue
        if value.dim() < expected:
            raise InputError(f"A value of shape {tuple(value.shape)} has no {what}s to choose from.")
        size, rows = value.shape[dim], whole_numbers(f"{what}s", numbers)
        outside = [number for number in rows if not -size <= number < size]
        if outside:
            raise InputError(f"There is no {what} {outside[0]}: the value has {what}s 0 to {size - 1}.")
        mask = torch.zeros(size, dtype=torch.bool)
        mask[rows] = True
        chosen = chosen & mask.to(value.device).view(size, *[1] * (-dim - 1))
    return chosen
