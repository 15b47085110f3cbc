"""Values as text: a summary of a whole tensor, or the numbers of one head and token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from minibert.points import Point
from minibert.terminal import table


@dataclass(frozen=True)
class Summary:
    """Norm, mean and standard deviation of all numbers of a tensor."""

    norm: float  # √(sum of squares)
    mean: float
    std: float

    @classmethod
    def of(cls, value: Tensor) -> "Summary":
        """Computed in float64: the square of the mask's −3.4e38 overflows float32."""
        value = value.detach().double()
        return cls(value.norm().item(), value.mean().item(), value.std(correction=0).item())

    def __str__(self) -> str:
        return f"norm {self.norm:.4g}, mean {self.mean:.4g}, std {self.std:.4g}"


@dataclass(frozen=True)
class TokenNumbers:
    """The numbers of one token; of one head, if the value has heads."""

    head: int | None
    token: int | None
    numbers: list[float]


def shape_text(value: Tensor) -> str:
    """A shape as ``1×12×13×64``."""
    return "×".join(map(str, value.shape)) or "a number"


def trace_table(trace: Mapping[str, Tensor], points: Mapping[str, Point], layer: int | None = None) -> str:
    """Step, point, formula, shape, norm, mean and std of every value, or of those in one layer."""
    rows = []
    for step, (name, value) in enumerate(trace.items(), start=1):
        point = points.get(name, Point(name))
        if layer is None or point.layer == layer:
            summary = Summary.of(value)
            numbers = (f"{x:.4g}" for x in (summary.norm, summary.mean, summary.std))
            rows.append((step, name, point.formula, shape_text(value), *numbers))
    headers = ("step", "point", "formula", "shape", "norm", "mean", "std")
    return table(headers, rows, right=("step", "norm", "mean", "std"))


def rows_of(value: Tensor, head: int | None = None, token: int | None = None) -> Iterator[TokenNumbers]:
    """The numbers of the first text in the batch: those of ``head`` and ``token``, or of all heads and tokens.

    (B, N, T, …) has one row per head and token, (B, T, …) one per token, (B, …) a single one.  A value without heads
    has no row for a ``head``, and one without tokens none for a ``token``.
    """
    if value.dim() == 4:
        for n in range(value.shape[1]) if head is None else (head,):
            for t in range(value.shape[2]) if token is None else (token,):
                yield TokenNumbers(n, t, value[0, n, t].tolist())
    elif value.dim() == 3 and head is None:
        for t in range(value.shape[1]) if token is None else (token,):
            yield TokenNumbers(None, t, value[0, t].tolist())
    elif value.dim() in (0, 2) and head is None and token is None:
        yield TokenNumbers(None, None, value[0].tolist() if value.dim() else [value.item()])


def numbers_text(numbers: list[float], at_most: int) -> str:
    """The first ``at_most`` numbers of a row, and the total if there are more."""
    shown = ", ".join(f"{number:+.4g}" for number in numbers[:at_most])
    return shown if len(numbers) <= at_most else f"{shown}, … ({len(numbers)} numbers)"


def numbers_table(
    values: Mapping[str, Tensor],
    points: Mapping[str, Point],
    tokens: Sequence[str],
    *,
    layer: int | None,
    head: int | None,
    token: int | None,
    at_most: int,
) -> str:
    """The numbers of a head, a token, or both, a row for each point; of one layer, where it is given."""
    rows = [
        (
            name,
            "" if row.head is None else row.head,
            "" if row.token is None else f"{row.token} {tokens[row.token]}",
            numbers_text(row.numbers, at_most),
        )
        for name, value in values.items()
        if layer is None or points[name].layer == layer
        for row in rows_of(value, head, token)
    ]
    return table(("point", "head", "token", "numbers"), rows, right=("head",))


def trace_entries(
    values: Mapping[str, Tensor],
    points: Mapping[str, Point],
    *,
    layer: int | None,
    head: int | None,
    token: int | None,
) -> Iterator[dict[str, object]]:
    """The points for JSON; with all the numbers of the head or token, where one is given."""
    for step, (name, value) in enumerate(values.items(), start=1):
        point = points[name]
        if layer is not None and point.layer != layer:
            continue
        entry: dict[str, object] = {"step": step, "point": name, "formula": point.formula}
        entry |= {"shape": list(value.shape), **asdict(Summary.of(value))}
        entry["spread"] = entry["std"]  # older name, until 0.3
        if head is not None or token is not None:
            entry["rows"] = [asdict(row) for row in rows_of(value, head, token)]
        yield entry
