"""Values as text: a summary of a whole tensor, or the numbers of one head and token."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from minibert.display.elements import joined, note
from minibert.display.maps import MOST_COLUMNS, labelled_map
from minibert.display.measures import number_text
from minibert.display.scale import Scale
from minibert.display.tables import code, html_table, paragraph, spark, tabled, unbroken
from minibert.points import Point
from minibert.terminal import table

BINS = 24  # of a histogram
STEP_ROWS = 24  # of the map of one value
MASKED = -1e30  # what is below was masked: the mask's −3.4e38 would leave the rest of a histogram blank


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


def trace_html(trace: Mapping[str, Tensor], points: Mapping[str, Point]) -> str:
    """A row for each value: what ``trace_table`` has, the least and the greatest number, and a histogram."""
    rows = []
    for step, (name, value) in enumerate(trace.items(), start=1):
        summary = Summary.of(value)
        low, high = extremes(value)
        numbers = (number_text(x) for x in (summary.mean, summary.std, low, high))
        formula = points.get(name, Point(name)).formula
        said = joined([code(name), note(formula) if formula else None])
        rows.append((str(step), said, unbroken(shape_text(value)), *numbers, histogram(value)))
    heads = ("step", "point", "shape", "mean", "std", "min", "max", "numbers")
    return tabled(html_table(heads, rows, right=("step", "mean", "std", "min", "max"), name="trace"))


def step_html(number: int, point: Point, value: Tensor) -> str:
    """One value: its formula, a summary, and the numbers of the first text (and head) as a map."""
    low, high = extremes(value)
    said = f"{shape_text(value)}; {Summary.of(value)}, min {number_text(low)}, max {number_text(high)}"
    head = joined(
        [f"[{number}] ", code(point.name), " = " if point.formula else "", code(point.formula.removeprefix("= "))]
    )
    parts, rules = [paragraph(said)], []
    matrix, which = _matrix_of(value)
    if matrix is not None and matrix.numel():
        shown = matrix[:STEP_ROWS, :MOST_COLUMNS].detach().double().cpu()
        known = shown.masked_fill(shown < MASKED, float("nan")).tolist()
        scale = Scale.of(x for row in known for x in row)
        rows, columns = (list(map(str, range(size))) for size in shown.shape)
        picture = labelled_map(known, rows, columns, scale, f"{point.name}{which}")
        R, C = matrix.shape
        cut = (
            ""
            if matrix.shape == shown.shape
            else f": the first {shown.shape[0]} × {shown.shape[1]} of {R} × {C} numbers"
        )
        parts += [note(f"{which.removeprefix(', ') or 'the numbers'}{cut}"), picture.html]
        rules = picture.rules
    return tabled(head, parts, rules=rules)


def _matrix_of(value: Tensor) -> tuple[Tensor | None, str]:
    """The numbers of the first text and head as a matrix, and which they are."""
    if value.dim() == 4:
        several = ", head 0" if value.shape[1] > 1 else ""
        return value[0, 0], (", text 0" if len(value) > 1 else "") + several
    if value.dim() == 3:
        return value[0], ", text 0" if len(value) > 1 else ""
    return (value, "") if value.dim() == 2 else (None, "")


def extremes(value: Tensor) -> tuple[float, float]:
    """The least and the greatest number."""
    if not value.numel():
        return float("nan"), float("nan")
    low, high = value.detach().aminmax()
    return low.item(), high.item()


def histogram(value: Tensor) -> str:
    """How the numbers of a value are spread, as small as a word; without those that are masked."""
    numbers = value.detach().float().flatten()
    numbers = numbers[numbers.isfinite() & (numbers > MASKED)]
    if not len(numbers):
        return ""
    low, high = (end.item() for end in numbers.aminmax())
    counts = torch.histc(numbers, BINS, low, high).tolist() if high > low else [float(len(numbers))]
    without = "" if len(numbers) == value.numel() else f", without {value.numel() - len(numbers):,} that are masked"
    return spark(counts, f"{len(numbers):,} numbers from {number_text(low)} to {number_text(high)}{without}")


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
