"""What a function returned against what it should return: the first value that differs, in whatever holds it.

A value is a tensor, a number, a text, None, or a list, tuple or dict of values.  A list and a tuple are the same, and
so are a number and a tensor with one number in it where a number is expected.  Numbers are the same up to ``TOLERANCE``
of the largest in their tensor: more than float64 needs for a formula in another order, less than any known mistake
makes (mistakes.py sees to that).
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TOLERANCE = 3e-6

Adapt = Callable[[Any], Any]


@dataclass(frozen=True)
class Difference:
    """The first place where two values differ.

    Attributes:
        kind: "type", "shape", "dtype", "length", "key_missing", "key_extra" or "value".
        place: ``[0, 3]``, ``[1]['query_weight']``, ``""`` where it is the value as a whole.
        expected: as text.
        found: as text.
    """

    kind: str
    place: str
    expected: str
    found: str


def first_difference(expected: Any, found: Any, place: str = "") -> Difference | None:
    """The first place where ``found`` is not ``expected``, or None."""
    return next(differences(expected, found, place), None)


def differences(expected: Any, found: Any, place: str) -> Iterator[Difference]:
    """Every place; what is in a list of another length is not looked at."""
    if isinstance(expected, Mapping):
        yield from _in_mapping(expected, found, place)
    elif isinstance(expected, list | tuple):
        yield from _in_list(expected, found, place)
    elif isinstance(expected, Tensor):
        yield from _in_tensor(expected, found, place)
    elif isinstance(expected, int | float) and not isinstance(expected, bool):
        yield from _in_number(expected, found, place)
    elif found is None or type(found) is not type(expected):
        if found is not expected:
            yield Difference("type", place, kind_of(expected), kind_of(found))
    elif found != expected:
        yield Difference("value", place, shown(expected), shown(found))


def _in_mapping(expected: Mapping[str, Any], found: Any, place: str) -> Iterator[Difference]:
    if not isinstance(found, Mapping):
        yield Difference("type", place, kind_of(expected), kind_of(found))
        return
    for key, right in expected.items():
        if key not in found:
            yield Difference("key_missing", place, repr(key), "")
        else:
            yield from differences(right, found[key], f"{place}[{key!r}]")
    for key in found:
        if key not in expected:
            yield Difference("key_extra", place, "", repr(key))


def _in_list(expected: list[Any] | tuple[Any, ...], found: Any, place: str) -> Iterator[Difference]:
    if isinstance(found, Tensor) and found.dim() == 1 and not any(isinstance(part, Tensor) for part in expected):
        found = found.tolist()
    if not isinstance(found, list | tuple):
        yield Difference("type", place, kind_of(expected), kind_of(found))
    elif len(found) != len(expected):
        yield Difference("length", place, str(len(expected)), str(len(found)))
    else:
        for number, (right, theirs) in enumerate(zip(expected, found, strict=True)):
            yield from differences(right, theirs, f"{place}[{number}]")


def _in_number(expected: int | float, found: Any, place: str) -> Iterator[Difference]:
    number = found.item() if isinstance(found, Tensor) and found.numel() == 1 else found
    if isinstance(number, bool) or not isinstance(number, int | float):
        yield Difference("type", place, kind_of(expected), kind_of(found))
    elif not _is_close(torch.tensor(float(expected)), torch.tensor(float(number))).all():
        yield Difference("value", place, shown(expected), shown(number))


def _in_tensor(expected: Tensor, found: Any, place: str) -> Iterator[Difference]:
    if not isinstance(found, Tensor):
        yield Difference("type", place, kind_of(expected), kind_of(found))
    elif found.shape != expected.shape:
        yield Difference("shape", place, str(tuple(expected.shape)), str(tuple(found.shape)))
    elif found.dtype != expected.dtype:
        yield Difference("dtype", place, name_of(expected.dtype), name_of(found.dtype))
    else:
        wrong = ~_is_close(expected, found.detach())
        if wrong.any():
            index = tuple(wrong.nonzero()[0].tolist())
            at = f"{place}[{', '.join(map(str, index))}]" if index else place
            yield Difference("value", at, shown(expected[index].item()), shown(found[index].item()))


def _is_close(expected: Tensor, found: Tensor) -> Tensor:
    """For each number, whether the two are the same up to rounding; NaN is NaN and ∞ is ∞."""
    if not expected.is_floating_point():
        return expected == found
    size = expected.abs().nan_to_num(0.0, 0.0, 0.0).max() if expected.numel() else torch.zeros(())
    same = (expected == found) | (expected.isnan() & found.isnan())
    return same | ((expected - found).abs() <= TOLERANCE * size)


def largest_difference(expected: Any, found: Any) -> float:
    """The largest |Δ| of all numbers of two values of the same structure; 0.0 where there are none."""
    if isinstance(expected, Mapping):
        return max((largest_difference(expected[key], found[key]) for key in expected), default=0.0)
    if isinstance(expected, list | tuple):
        pairs = zip(expected, found, strict=True)
        return max((largest_difference(right, theirs) for right, theirs in pairs), default=0.0)
    if isinstance(expected, Tensor):
        found = found.detach()
        return float((expected.double() - found.double()).abs().nan_to_num(0.0).max()) if expected.numel() else 0.0
    if isinstance(expected, int | float):
        return abs(float(expected) - float(found))
    return 0.0


def copied(value: Any) -> Any:
    """A copy, so that nobody changes the original; what is neither a tensor nor holds one is returned as it is."""
    if isinstance(value, Tensor):
        return value.clone()
    if isinstance(value, dict):
        return {key: copied(part) for key, part in value.items()}
    if isinstance(value, list):
        return [copied(part) for part in value]
    return tuple(copied(part) for part in value) if type(value) is tuple else value


def is_unchanged(before: Any, after: Any) -> bool:
    """Whether every number is the one that it was, to the last bit."""
    if isinstance(before, Tensor):
        return before.shape == after.shape and bool(((before == after) | before.isnan()).all())
    if isinstance(before, dict):
        return list(before) == list(after) and all(is_unchanged(before[key], after[key]) for key in before)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(is_unchanged, before, after))
    return before is after or bool(before == after)


def kind_of(value: Any) -> str:
    """A value's type as a learner would write it: ``list[int]``, ``Tensor (2, 3)``."""
    if isinstance(value, Tensor):
        return f"Tensor {tuple(value.shape)}"
    name = "None" if value is None else type(value).__name__
    inside = {"None" if part is None else type(part).__name__ for part in value} if type(value) in (list, tuple) else ()
    return f"{name}[{' | '.join(sorted(inside))}]" if inside else name


def name_of(dtype: torch.dtype) -> str:
    """``float64``."""
    return str(dtype).removeprefix("torch.")


def shown(value: Any) -> str:
    """A number with six digits; a text in quotes."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:60]}…{text[-15:]}"
