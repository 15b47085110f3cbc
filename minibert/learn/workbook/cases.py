"""What a step is made of: its inputs, the right values, and what known mistakes make of the same inputs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from minibert.learn.workbook.values import TOLERANCE, Adapt, first_difference, largest_difference


def same(value: Any) -> Any:
    """As it is."""
    return value


@dataclass(frozen=True)
class Case:
    """Inputs of a function.

    Attributes:
        name: what is special about them; a key of the texts.
        args: by position.
        expected: what the right function returns.
        others: what another right function may return.
        adapt: from what a function returns to what is compared: after the mask, the softmax.
    """

    name: str
    args: tuple[Any, ...]
    expected: Any
    others: Sequence[Any] = ()
    adapt: Adapt = same


@dataclass(frozen=True)
class Alternative:
    """What a known mistake makes of every case.

    Attributes:
        key: of its title and sentence, in texts/ or in verify's sentences.
        values: for each case, adapted; a case for which the mistake raises has none, and is never matched.
        details: what its sentence has blanks for.
    """

    key: str
    values: Sequence[Any]
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exercise:
    """The cases of one step for one seed.

    Attributes:
        cases: in the order in which they are tried.
        alternatives: makes the known mistakes; asked for only where something is wrong.
    """

    cases: Sequence[Case]
    alternatives: Callable[[], Iterable[Alternative]]


class Failed:
    """Stands for the value of a mistake that raises."""


def from_functions(
    cases: Sequence[Case],
    wrong: Iterable[tuple[str, Callable[..., Any]] | tuple[str, Callable[..., Any], dict[str, str]]],
) -> Iterable[Alternative]:
    """Known mistakes that are written as wrong functions of a step's own arguments."""
    for key, function, *details in wrong:
        values: list[Any] = []
        for case in cases:
            try:
                values.append(case.adapt(function(*case.args)))
            except Exception:  # a mistake that fails on an input; any error
                values.append(Failed())
        yield Alternative(key, values, details[0] if details else {})


MARGIN = 10 * TOLERANCE  # by how much a known mistake has to differ from what is right, of the largest number


def is_visible(alternative: Alternative, cases: Sequence[Case]) -> bool:
    """Whether these inputs show a mistake: its values are clearly not the right ones."""
    return any(_clearly_differs(case, value) for case, value in zip(cases, alternative.values, strict=True))


def _clearly_differs(case: Case, value: Any) -> bool:
    right = case.adapt(case.expected)
    found = first_difference(right, value)
    if found is None:
        return False
    if found.kind != "value":
        return True
    return any(_beyond(one, two) for one, two in pairs_of_numbers(right, value))


def pairs_of_numbers(right: Any, value: Any) -> Iterable[tuple[Any, Any]]:
    """The leaves of two values of the same structure, side by side."""
    if isinstance(right, Mapping):
        for key in right:
            yield from pairs_of_numbers(right[key], value[key])
    elif isinstance(right, list | tuple):
        for one, two in zip(right, value, strict=True):
            yield from pairs_of_numbers(one, two)
    else:
        yield right, value


def _beyond(right: Any, value: Any) -> bool:
    """Whether a leaf differs by more than the margin."""
    if isinstance(right, str) or right is None:
        return bool(right != value)
    if isinstance(right, int | float):
        return bool(abs(right - value) > MARGIN * abs(right))
    if not right.is_floating_point():
        return not bool((right == value).all())
    if bool((right.isfinite() != value.isfinite()).any()):
        return True
    return largest_difference(right, value) > MARGIN * float(right.abs().nan_to_num(0.0, 0.0, 0.0).max())
