"""Curves as lines, numbers as bars."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from minibert.display.elements import FAINT, MUTED, Child, Html, Rule, element, framed, note, themed
from minibert.display.measures import fitting, nice_steps, number_text, text_width
from minibert.display.reading import as_named, as_number, as_numbers
from minibert.display.shown import Display
from minibert.errors import InputError
from minibert.palette import lines
from minibert.terminal import table

WIDTH, HEIGHT = 640.0, 300.0
SMALL = 11
POINTS = 40  # a curve of so many values or fewer has a mark at each
MOST_POINTS = 600  # drawn of one curve
MOST_CURVES = 12
MOST_BARS = 50
MOST_ROWS = 24  # of a curve in text
DASHES = ("", "6 3", "2 3", "8 3 2 3", "4 2", "1 2")


def show_curves(
    curves: Mapping[str, Any], *, x: Sequence[float] | None = None, x_label: str = "", y_label: str = ""
) -> Display:
    """Lists of numbers as lines in one chart.

    Args:
        curves: name → values, up to 12.
        x: where the values are, as many as there are values; default 0, 1, 2, ….
        x_label, y_label: what the axes are.

    A value that is not finite leaves a gap.  Of a curve of more than 600 values, the least and the greatest of each
    stretch are drawn.  Raises InputError.
    """
    named = {name: as_numbers(values, f"the curve {name!r}") for name, values in as_named(curves, "curves").items()}
    if len(named) > MOST_CURVES:
        raise InputError(f"There are {len(named)} curves; a chart can be read with up to {MOST_CURVES}.")
    longest = max(map(len, named.values()))
    places = [float(n) for n in range(longest)] if x is None else as_numbers(x, "x")
    if any(not math.isfinite(place) for place in places):
        raise InputError("x holds a number that is not finite.")
    for name, values in named.items():
        if x is not None and len(values) != len(places):
            raise InputError(f"The curve {name!r} has {len(values)} values for {len(places)} places in x.")
    points = {
        name: [(place, value) for place, value in zip(places, values, strict=False)] for name, values in named.items()
    }
    drawn = {name: thinned(each) for name, each in points.items()}
    html = framed(
        _names(named),
        _chart(drawn, (min(places), max(places)), x_label, y_label),
        [
            note(f"{name}: drawn are the least and the greatest of each stretch of its {len(points[name])} values.")
            for name in named
            if len(drawn[name]) < len(points[name])
        ],
        rules=_rules(len(named)),
    )
    return Display(html, lambda: _curves_text(named, places, x_label, y_label))


def thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """At most 600 points: of each stretch the one with the least and the one with the greatest value."""
    if len(points) <= MOST_POINTS:
        return points
    count = MOST_POINTS // 2
    kept = []
    for number in range(count):
        stretch = points[number * len(points) // count : (number + 1) * len(points) // count]
        known = [point for point in stretch if math.isfinite(point[1])] or stretch[:1]
        ends = {min(known, key=lambda point: point[1]), max(known, key=lambda point: point[1])}
        kept += sorted(ends, key=stretch.index)
    return kept


def _names(named: Iterable[str]) -> Html:
    """The names with their lines."""
    entries = (
        element(
            "span",
            element(
                "svg",
                element("path", d="M0 5H24", class_=f"mb-c{number}"),
                viewBox="0 0 24 10", width=24, height=10, aria_hidden="true", class_="mb-k",
            ),
            name,
            class_="mb-e",
        )
        for number, name in enumerate(named)
    )  # fmt: skip
    return element("div", entries, class_="mb-names")


def _chart(
    points: Mapping[str, list[tuple[float, float]]], ends: tuple[float, float], x_label: str, y_label: str
) -> Html:
    known = [point for each in points.values() for point in each if math.isfinite(point[1])]
    xs = [place for each in points.values() for place, _ in each]
    low_x, high_x = _spread(*ends, 0.0)
    ys = [value for _, value in known] or [0.0]
    low_y, high_y = _spread(min(ys), max(ys), 0.05)
    y_steps, x_steps = nice_steps(low_y, high_y), nice_steps(low_x, high_x, 8, whole=all(x.is_integer() for x in xs))
    written = [tick_text(step, y_steps) for step in y_steps]
    left = max(text_width(text, SMALL) for text in written) + 12 + (18 if y_label else 0)
    top, right, bottom = 8.0, WIDTH - 20, HEIGHT - (40 if x_label else 24)

    def at(place: float, value: float) -> tuple[float, float]:
        return (
            left + (place - low_x) / (high_x - low_x) * (right - left),
            bottom - (value - low_y) / (high_y - low_y) * (bottom - top),
        )

    title = f"{', '.join(points)}{f': {y_label}' if y_label else ''}{f' by {x_label}' if x_label else ''}"
    parts: list[Child] = [element("title", title)]
    for step, text in zip(y_steps, written, strict=True):
        y = at(low_x, step)[1]
        parts.append(element("path", d=f"M{left:.1f} {y:.1f}H{right:.1f}", class_="mb-g"))
        parts.append(element("text", text, x=left - 6, y=y, class_="mb-y"))
    for step in x_steps:
        x = at(step, low_y)[0]
        parts.append(element("path", d=f"M{x:.1f} {bottom:.1f}v4", class_="mb-a"))
        parts.append(element("text", tick_text(step, x_steps), x=x, y=bottom + 14, class_="mb-x"))
    parts.append(element("path", d=f"M{left:.1f} {bottom:.1f}H{right:.1f}", class_="mb-a"))
    if x_label:
        parts.append(
            element("text", fitting(x_label, SMALL, right - left), x=(left + right) / 2, y=HEIGHT - 8, class_="mb-x")
        )
    if y_label:
        middle = (top + bottom) / 2
        text = fitting(y_label, SMALL, bottom - top)
        parts.append(element("text", text, x=10, y=middle, class_="mb-x", transform=f"rotate(-90 10 {middle:.1f})"))
    for number, (name, each) in enumerate(points.items()):
        parts.append(element("path", d=_path([at(*point) for point in each]), class_=f"mb-c{number}"))
        if len(each) <= POINTS:
            for place, value in each:
                if math.isfinite(value):
                    cx, cy = at(place, value)
                    said = element("title", f"{name}, {number_text(place)}: {number_text(value)}")
                    parts.append(element("circle", said, cx=cx, cy=cy, r=3, class_=f"mb-d{number}"))
    box = f"0 0 {WIDTH:.0f} {HEIGHT:.0f}"
    return element("svg", parts, viewBox=box, width=round(WIDTH), height=round(HEIGHT), role="img", aria_label=title)


def _spread(low: float, high: float, margin: float) -> tuple[float, float]:
    """Ends of an axis that are apart."""
    if low == high:
        apart = abs(low) * 0.1 or 1.0
        return low - apart, high + apart
    return low - margin * (high - low), high + margin * (high - low)


def _path(points: Sequence[tuple[float, float]]) -> str:
    """A line through the points, with a gap where one is not finite."""
    parts, pen = [], "M"
    for x, y in points:
        if math.isfinite(y):
            parts.append(f"{pen}{x:.1f} {y:.1f}")
            pen = "L"
        else:
            pen = "M"
    return "".join(parts)


def tick_text(step: float, steps: Sequence[float]) -> str:
    """A number of an axis, with as many digits as its neighbours need."""
    apart = min((b - a for a, b in pairwise(steps)), default=abs(step) or 1.0)
    if abs(step) < apart * 1e-9:
        return "0"
    if not 1e-4 <= max(map(abs, steps)) < 1e6:
        return f"{step:.3g}".replace("-", "−")
    decimals = max(0, -math.floor(math.log10(apart) + 1e-9) + (1 if f"{apart:.1e}".startswith("2.5") else 0))
    return f"{step:.{decimals}f}".replace("-", "−")


def _rules(count: int) -> list[Rule]:
    light, dark = lines("light"), lines("dark")
    rules = [
        (".mb-names", "display:flex;flex-wrap:wrap;gap:.1em 1.2em"),
        (".mb-e", "display:inline-flex;align-items:center;gap:.4em"),
        (".mb-k", "flex:none"),
        ("svg .mb-y", f"font-size:{SMALL}px;text-anchor:end;dominant-baseline:central"),
        ("svg .mb-x", f"font-size:{SMALL}px;text-anchor:middle;dominant-baseline:central"),
        (".mb-g", f"stroke:{FAINT};fill:none"),
        (".mb-a", f"stroke:{MUTED};fill:none"),
    ]
    for number in range(count):
        color = light[number % len(light)], dark[number % len(dark)]
        dash = DASHES[number % len(DASHES)] if number < len(light) else DASHES[(number + 1) % len(DASHES)]
        line = f"{themed('stroke', *color)};stroke-width:2;fill:none;stroke-linejoin:round"
        rules.append((f".mb-c{number}", line + (f";stroke-dasharray:{dash}" if dash else "")))
        rules.append((f".mb-d{number}", themed("fill", *color)))
    return rules


def _curves_text(named: Mapping[str, list[float]], places: Sequence[float], x_label: str, y_label: str) -> str:
    """A row for each place; of many, evenly chosen ones."""
    count = len(places)
    chosen = range(count)
    if count > MOST_ROWS:
        chosen = sorted({round(n * (count - 1) / (MOST_ROWS - 1)) for n in range(MOST_ROWS)})  # type: ignore[assignment]
    heads = [x_label, *named]
    rows = [
        (number_text(places[n]), *(number_text(each[n]) if n < len(each) else "" for each in named.values()))
        for n in chosen
    ]
    lines_ = [y_label] if y_label else []
    lines_.append(table(heads, rows, right=heads))
    if len(chosen) < count:
        lines_.append(f"{len(chosen)} of {count} places")
    return "\n".join(lines_)


def show_bars(values: Mapping[str, Any], *, label: str = "") -> Display:
    """Numbers as horizontal bars, in the order given; those below 0 go to the left.

    Args:
        values: name → number.
        label: what the numbers are.

    More than 50 are cut, and a line says so.  Raises InputError.
    """
    named = {name: as_number(value, f"the bar {name!r}") for name, value in as_named(values, "values").items()}
    shown = dict(list(named.items())[:MOST_BARS])
    left_out = [f"Shown are the first {len(shown)} of {len(named)}."] if len(shown) < len(named) else []
    known = [value for value in shown.values() if math.isfinite(value)]
    low, high = min([0.0, *known]), max([0.0, *known])
    whole = (high - low) or 1.0
    rows = []
    for name, value in shown.items():
        bar = None
        if math.isfinite(value) and value:
            start, wide = (min(value, 0.0) - low) / whole * 100, abs(value) / whole * 100
            bar = element(
                "div", class_=f"mb-bar{' mb-neg' * (value < 0)}", style=f"margin-left:{start:.2f}%;width:{wide:.2f}%"
            )
        cells = (
            element("th", name, scope="row"),
            element("td", bar, class_="mb-track"),
            element("td", number_text(value).replace("-", "−"), class_="mb-v"),
        )
        rows.append(element("tr", cells))
    body = element("table", element("tbody", rows), class_="mb-bars", aria_label=label or None)
    light, dark = lines("light"), lines("dark")
    rules = [
        ("table.mb-bars", "border-collapse:collapse;margin:0;border:0;font-size:13px"),
        ("table.mb-bars tr", "background:none"),
        ("table.mb-bars tr th", "text-align:right;font-weight:normal;padding:1px 8px 1px 0;background:none;border:0;"
                              "max-width:16em;overflow-wrap:anywhere"),
        ("table.mb-bars tr .mb-track", "width:320px;min-width:120px;padding:1px 0;border:0"),
        ("table.mb-bars tr .mb-v", "text-align:right;padding:1px 0 1px 10px;border:0;font-variant-numeric:tabular-nums;"
                                   "white-space:nowrap"),
        (".mb-bar", f"height:12px;min-width:1px;border-radius:2px;{themed('background', light[0], dark[0])}"),
        (".mb-neg", themed("background", light[1], dark[1])),
    ]  # fmt: skip
    html = framed(note(label) if label else None, body, map(note, left_out), rules=rules)

    def text() -> str:
        body = table((label or "name", "value"), [(n, number_text(v)) for n, v in shown.items()], right=("value",))
        return "\n".join([body, *left_out])

    return Display(html, text)
