"""What the functions of this room are given, as plain lists of numbers and texts; InputError where it does not fit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minibert.errors import InputError

EXPECTED = {1: "a list of numbers", 2: "a matrix of rows and columns"}


def shape_of(values: Any) -> tuple[int, ...]:
    """The shape of a tensor, an array or nested lists; lists are measured by their first elements."""
    shape = getattr(values, "shape", None)
    if shape is not None:
        return tuple(int(size) for size in shape)
    if isinstance(values, list | tuple | range):
        return (len(values), *(shape_of(values[0]) if values else ()))
    return ()


def shape_text(shape: Sequence[int]) -> str:
    """A shape as ``12×13``."""
    return "×".join(map(str, shape)) or "of a single number"


def as_numbers(values: Any, what: str) -> list[float]:
    """A list of numbers, from a tensor, an array or a sequence."""
    return list(map(_number(what), _plain(values, what, 1)))


def as_matrix(values: Any, what: str) -> list[list[float]]:
    """Rows of numbers, all of one length."""
    rows = _plain(values, what, 2)
    lengths = sorted({len(row) for row in rows})
    if len(lengths) > 1:
        raise InputError(f"{what} has rows of {lengths[0]} to {lengths[-1]} numbers; expected rows of one length.")
    number = _number(what)
    return [list(map(number, row)) for row in rows]


def as_number(value: Any, what: str) -> float:
    """One number, also of a tensor that holds one."""
    if hasattr(value, "item") and shape_of(value) in ((), (1,)):
        value = value.item()
    return _number(what)(value)


def as_labels(labels: Sequence[Any], size: int, what: str) -> list[str]:
    """A text for each of ``size`` rows, columns or tokens."""
    if isinstance(labels, str) or not hasattr(labels, "__iter__"):
        raise InputError(f"{what} is {labels!r:.80}; expected a list of {size} texts.")
    listed = [str(label) for label in labels]
    if len(listed) != size:
        raise InputError(f"There are {len(listed)} {what} for {size} in the values; give one for each.")
    return listed


def as_named(values: Any, what: str) -> dict[str, Any]:
    """Name → value, at least one."""
    if not isinstance(values, Mapping):
        raise InputError(f"{what} is {type(values).__name__}; expected a dictionary from names to values.")
    if not values:
        raise InputError(f"{what} is empty; give at least one name with its value.")
    return {str(name): value for name, value in values.items()}


def _plain(values: Any, what: str, dimensions: int) -> Any:
    """Nested lists with so many dimensions."""
    if isinstance(values, Mapping | str | bytes) or not (hasattr(values, "__len__") or hasattr(values, "shape")):
        raise InputError(f"{what} is {values!r:.80}; expected {EXPECTED[dimensions]}.")
    plain = values.tolist() if hasattr(values, "tolist") else [_listed(value) for value in values]
    shape = shape_of(values) if hasattr(values, "shape") else shape_of(plain)
    if 0 in shape:
        raise InputError(f"{what} is empty (shape {shape_text(shape)}); there is nothing to show.")
    if len(shape) != dimensions:
        raise InputError(f"{what} has the shape {shape_text(shape)}; expected {EXPECTED[dimensions]}.")
    return plain


def _listed(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return [_listed(each) for each in value] if isinstance(value, list | tuple | range) else value


def _number(what: str) -> Callable[[Any], float]:
    def number(value: Any) -> float:
        if isinstance(value, int | float):
            return float(value)
        raise InputError(f"{what} holds {value!r:.60}, which is not a real number.")

    return number
