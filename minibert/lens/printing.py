"""How values are shown in a terminal: one line for a whole tensor, or the numbers of the head and token you ask for."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from minibert.points import Point
from minibert.tables import table


@dataclass(frozen=True)
class Summary:
    """What of a tensor stands in a table."""

    norm: float  # √(sum of squares)
    mean: float
    spread: float  # the standard deviation, of all numbers together

    @classmethod
    def of(cls, value: Tensor) -> "Summary":
        """In float64: the square of a mask's −3.4e38 is too much for float32."""
        wide = value.detach().double()
        return cls(wide.norm().item(), wide.mean().item(), wide.std(correction=0).item())

    def __str__(self) -> str:
        return f"norm {self.norm:.4g}, mean {self.mean:.4g}, spread {self.spread:.4g}"


@dataclass(frozen=True)
class Row:
    """The numbers of one token, in one head where the value has heads."""

    head: int | None
    token: int | None
    numbers: list[float]


def shape_text(value: Tensor) -> str:
    """A shape as ``1×12×13×64``."""
    return "×".join(map(str, value.shape)) or "a number"


def trace_table(found: Mapping[str, Tensor], points: Mapping[str, Point], layer: int | None = None) -> str:
    """Step, point, formula, shape, norm, mean, spread; of one layer, where it is given."""
    rows = []
    for step, (name, value) in enumerate(found.items(), start=1):
        point = points.get(name, Point(name))
        if layer is None or point.layer == layer:
            summary = Summary.of(value)
            numbers = (f"{x:.4g}" for x in (summary.norm, summary.mean, summary.spread))
            rows.append((step, name, point.formula, shape_text(value), *numbers))
    headers = ("step", "point", "formula", "shape", "norm", "mean", "spread")
    return table(headers, rows, right=("step", "norm", "mean", "spread"))


def rows_of(value: Tensor, head: int | None = None, token: int | None = None) -> Iterator[Row]:
    """The rows of the batch's first text: of ``head`` and ``token``, or of all where they are None.

    (B, N, T, …) has a row for each head and token, (B, T, …) for each token, (B, …) one.  A value without heads has no
    rows when a head is asked for, nor one without tokens when a token is.
    """
    if value.dim() == 4:
        for number in range(value.shape[1]) if head is None else (head,):
            for row in _token_rows(value[0, number], token):
                yield Row(number, row.token, row.numbers)
    elif value.dim() == 3 and head is None:
        yield from _token_rows(value[0], token)
    elif value.dim() == 2 and head is None and token is None:
        yield Row(None, None, value[0].tolist())
    elif value.dim() == 0 and head is None and token is None:
        yield Row(None, None, [value.item()])


def _token_rows(value: Tensor, token: int | None) -> Iterator[Row]:
    for number in range(value.shape[0]) if token is None else (token,):
        yield Row(None, number, value[number].tolist())


def numbers_text(numbers: list[float], at_most: int) -> str:
    """The first numbers of a row, and how many there are where that is not all."""
    shown = ", ".join(f"{number:+.4g}" for number in numbers[:at_most])
    return shown if len(numbers) <= at_most else f"{shown}, … ({len(numbers)} numbers)"
