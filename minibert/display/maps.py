"""Heat maps: any matrix, and attention.  Start with :func:`show_map`."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

from minibert.display.elements import Child, Html, Rule, element, framed, note
from minibert.display.measures import cell_text, fitting, number_text, text_width
from minibert.display.reading import as_labels, as_matrix, shape_of, shape_text
from minibert.display.scale import STEPS, Scale
from minibert.display.shown import Display
from minibert.errors import InputError
from minibert.terminal import table, visible

MOST_ROWS, MOST_COLUMNS, MOST_TOKENS = 64, 128, 64  # of one map
MOST_CELLS = 40_000  # of several maps together
WITH_NUMBERS = 400  # cells
WITH_TITLES = 1600  # cells that say their value where the pointer rests
WIDTH = 860  # a map of many columns
TEXT, SMALL = 12, 11  # font sizes
LABEL = 150  # the widest label of a row or column
SLANT = math.sqrt(0.5)  # the labels of columns are turned by 45°


@dataclass(frozen=True)
class Panel:
    """One map."""

    title: str
    values: list[list[float]]


def show_map(values: Any, rows: Sequence[Any], columns: Sequence[Any] | None = None, *, label: str = "") -> Display:
    """A matrix as a heat map, with its numbers in the cells where there is room.

    Args:
        values: (R, C), a tensor, an array or lists.
        rows: R labels.
        columns: C labels; default those of the rows if the matrix is square, else numbers.
        label: what the numbers are.

    The colours go from 0 to the largest value or, where a value is below 0, from −m to m.  Of a matrix larger than
    64 × 128 the beginning is shown.  Raises InputError.
    """
    matrix = as_matrix(values, "values")
    R, C = len(matrix), len(matrix[0])
    if columns is None:
        columns = rows if R == C else range(C)
    row_labels, column_labels = as_labels(rows, R, "rows"), as_labels(columns, C, "columns")
    shown = [row[:MOST_COLUMNS] for row in matrix[:MOST_ROWS]]
    left_out = []
    if (R, C) != (len(shown), len(shown[0])):
        left_out.append(f"Shown are the first {len(shown)} × {len(shown[0])} of {R} × {C} values.")
    scale = Scale.of(chain.from_iterable(matrix))
    title = label or f"a matrix of {R} × {C} numbers"
    picture = labelled_map(shown, row_labels[: len(shown)], column_labels[: len(shown[0])], scale, title)
    parts = [note(label) if label else None, picture.html, map(note, left_out)]
    html = framed(*parts, rules=picture.rules)
    return Display(html, lambda: matrix_text(shown, row_labels, column_labels, label, left_out))


def show_attention(
    attentions: Any, tokens: Sequence[str], *, layer: int | None = None, head: int | None = None, text: int = 0
) -> Display:
    """Attention as heat maps: a row for the token that looks, a column for the token looked at.

    Args:
        attentions: what a model returned with ``output_attentions=True``, its field ``attentions``, or the (N, T, T) of
            one layer or the (T, T) of one head.
        tokens: the T tokens.
        layer, head: which, from 0; default all.
        text: the row of the batch.

    One head has its tokens at both sides; of several heads with many tokens the maps are small and without labels.
    More than 64 tokens are cut, fewer where there are many heads, and a line says so.  Raises InputError.
    """
    layers = _layers(attentions, text)
    single = len(layers) == 1 and not isinstance(getattr(attentions, "attentions", attentions), list | tuple)
    picked = [
        (n, h, layers[n][h])
        for n in _chosen("layer", layer, len(layers))
        for h in _chosen("head", head, len(layers[n]))
    ]
    T = shape_of(picked[0][2])[-1]
    labels = as_labels(tokens, T, "tokens")
    side = min(T, MOST_TOKENS, max(4, math.isqrt(MOST_CELLS // len(picked))))
    panels = []
    for n, h, matrix in picked:
        title = "attention" if single and len(layers[n]) == 1 else f"head {h}" if single else f"layer {n}, head {h}"
        panels.append(Panel(title, as_matrix([row[:side] for row in matrix[:side]], "attentions")))
    left_out = [] if side == T else [f"Shown are the first {side} of {T} tokens; attention to the others is left out."]
    scale = Scale.of(chain.from_iterable(row for panel in panels for row in panel.values))
    how = "a row: the token that looks; a column: the token looked at"
    if len(panels) == 1:
        picture = labelled_map(panels[0].values, labels[:side], labels[:side], scale, panels[0].title)
        parts: list[Child] = [note(f"{panels[0].title} ({how})"), picture.html]
    else:
        across = len(layers[picked[0][0]]) if layer is None and head is None else math.ceil(math.sqrt(len(panels)))
        picture = many_maps(panels, labels[:side], across, scale)
        parts = [note(f"attention, {len(panels)} heads ({how})"), picture.html]
    html = framed(*parts, map(note, left_out), rules=picture.rules)
    return Display(html, lambda: attention_text(panels, labels[:side], left_out))


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Picture:
    """An SVG and the rules of its classes."""

    html: Html
    rules: list[Rule]


def labelled_map(
    values: list[list[float]], rows: Sequence[str], columns: Sequence[str], scale: Scale, title: str
) -> Picture:
    """One map with labels at both sides, and its scale."""
    R, C = len(values), len(values[0])
    size = TEXT
    written = [[cell_text(value) for value in row] for row in values] if R * C <= WITH_NUMBERS else []
    wide = max((text_width(text, SMALL) for row in written for text in row), default=0) + 10
    with_numbers = bool(written) and wide * C <= WIDTH
    cell_w = max(wide, 28.0) if with_numbers else max(5.0, min(22.0, WIDTH / C))
    cell_h = 24.0 if with_numbers else max(9.0, min(22.0, WIDTH / R, max(cell_w, 12.0)))
    row_labels = [fitting(label, size, LABEL) for label in rows]
    column_labels = [fitting(label, size, LABEL) for label in columns]
    widths = [text_width(label, size) for label in column_labels]
    level = max(widths) <= cell_w * 1.0 - 4
    left = max(text_width(label, size) for label in row_labels) + 8
    top = size + 8 if level else max(widths) * SLANT + size
    every = 1 if level else math.ceil(13 / cell_w)
    over = 0.0 if level else max(0.0, *(x * SLANT - (C - 1 - n) * cell_w - cell_w / 2 for n, x in enumerate(widths)))
    right, down = left + C * cell_w, top + R * cell_h
    parts: list[Child] = [element("title", title)]
    for y, (label, whole) in enumerate(zip(row_labels, rows, strict=True)):
        if y % math.ceil(13 / cell_h) == 0:
            parts.append(_label(label, whole, left - 6, top + (y + 0.5) * cell_h, size, "end"))
    for x, (label, whole) in enumerate(zip(column_labels, columns, strict=True)):
        if x % every == 0:
            middle = left + (x + 0.5) * cell_w
            if level:
                parts.append(_label(label, whole, middle, top - size / 2 - 2, size, "middle"))
            else:
                parts.append(_label(label, whole, middle, top - 7, size, "start", turn=-45))
    parts.append(_cells(values, left, top, cell_w, cell_h, scale, rows, columns))
    if with_numbers:
        for y, row in enumerate(written):
            for x, text in enumerate(row):
                place = {"x": left + (x + 0.5) * cell_w, "y": top + (y + 0.5) * cell_h}
                parts.append(element("text", text, class_=f"mb-n mb-t{scale.step(values[y][x])}", **place))
    legend = _legend(scale, left, down + 12)
    width = max(right + over, left + LEGEND) + 4
    parts.append(legend)
    return Picture(_svg(parts, width, down + 12 + 26, title), _rules(scale, values))


def many_maps(panels: Sequence[Panel], tokens: Sequence[str], across: int, scale: Scale) -> Picture:
    """Small maps in lines of ``across``; with tokens at the left of each line if there are few."""
    T, size = len(tokens), 10
    across = max(1, min(across, 16))
    down = math.ceil(len(panels) / across)
    cell = max(1.0, min(14.0, (WIDTH - 120) / across / T))
    labelled = cell >= 11
    left = (max(text_width(fitting(token, size, 90), size) for token in tokens) + 8) if labelled else 2.0
    side, gap, head = cell * T, 10.0, 16.0
    titles = [fitting(panel.title, size, max(side + gap - 4, 30)) for panel in panels]
    short = any(title.endswith("…") for title in titles)
    if short:
        titles = [_short(panel.title) for panel in panels]
    parts: list[Child] = [element("title", f"attention of {len(panels)} heads")]
    for number, panel in enumerate(panels):
        x, y = left + number % across * (side + gap), number // across * (side + head + 4)
        parts.append(element("text", titles[number], x=x, y=y + 10, class_="mb-s"))
        if labelled and number % across == 0:
            for row, token in enumerate(tokens):
                place = (left - 5, y + head + (row + 0.5) * cell)
                parts.append(_label(fitting(token, size, 90), token, *place, size, "end"))
        name = element("title", panel.title)
        parts.append(element("g", name, _cells(panel.values, x, y + head, cell, cell, scale, (), ())))
    bottom = down * (side + head + 4) + 8
    parts.append(_legend(scale, left, bottom))
    width = max(left + across * (side + gap), left + LEGEND + 4)
    rules = _rules(scale, [row for panel in panels for row in panel.values])
    return Picture(_svg(parts, width, bottom + 26, f"attention of {len(panels)} heads"), rules)


LEGEND = 240.0


def _legend(scale: Scale, left: float, top: float) -> Html:
    """The colours from one end to the other, with their values."""
    low, high = ("0" if scale.low == 0 else number_text(scale.low, 3).replace("-", "−")), number_text(scale.high, 3)
    start = left + text_width(low, SMALL) + 6
    wide = 120 / STEPS
    bars = [
        element("rect", x=start + n * wide, y=top, width=wide + 0.3, height=10, class_=f"mb-f{n}") for n in range(STEPS)
    ]
    middle = top + 5
    return element(
        "g",
        element("text", low, x=left, y=middle, class_="mb-s"),
        bars,
        element("text", high, x=start + 126, y=middle, class_="mb-s"),
    )


def _cells(
    values: list[list[float]],
    left: float,
    top: float,
    cell_w: float,
    cell_h: float,
    scale: Scale,
    rows: Sequence[str],
    columns: Sequence[str],
) -> Html:
    """The coloured cells: each with a title that says its value, or where there are very many, a path per colour."""
    if rows and len(values) * len(values[0]) <= WITH_TITLES:
        return element("g", (
            element(
                "rect",
                element("title", f"{rows[y]} → {columns[x]}: {number_text(value)}"),
                class_=f"mb-f{scale.step(value)}",
                x=left + x * cell_w, y=top + y * cell_h, width=cell_w + 0.2, height=cell_h + 0.2,
            )
            for y, row in enumerate(values) for x, value in enumerate(row)
        ))  # fmt: skip
    drawn: dict[int, list[str]] = {}
    for y, row in enumerate(values):
        for x, length, step in _runs([scale.step(value) for value in row]):
            drawn.setdefault(step, []).append(f"M{x} {y}h{length}v1h-{length}z")
    paths = (element("path", d="".join(parts), class_=f"mb-f{step}") for step, parts in drawn.items())
    place = f"translate({left:.2f} {top:.2f}) scale({cell_w:.4f} {cell_h:.4f})"
    return element("g", paths, transform=place, shape_rendering="crispEdges")


def _runs(steps: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(start, length, step) of neighbours of one colour."""
    start = 0
    for step, same in groupby(steps):
        length = len(list(same))
        yield start, length, step
        start += length


def _label(text: str, whole: str, x: float, y: float, size: float, anchor: str, turn: float | None = None) -> Html:
    said: dict[str, str | float | None] = {"x": x, "y": y, "font_size": size, "text_anchor": anchor}
    if turn is not None:
        said["transform"] = f"rotate({turn:g} {x:.2f} {y:.2f})"
    full = element("title", whole) if text != visible(whole) else None
    return element("text", text, full, class_="mb-l", **said)


def _svg(parts: Sequence[Child], width: float, height: float, title: str) -> Html:
    box = f"0 0 {width:.0f} {height:.0f}"
    return element("svg", parts, viewBox=box, width=round(width), height=round(height), role="img", aria_label=title)


def _rules(scale: Scale, values: list[list[float]]) -> list[Rule]:
    used = {scale.step(value) for row in values for value in row}
    return [
        ("svg .mb-n", f"font-size:{SMALL}px;text-anchor:middle;dominant-baseline:central;pointer-events:none"),
        ("svg .mb-s", f"font-size:{SMALL - 1}px;dominant-baseline:central"),
        ("svg .mb-l", "dominant-baseline:central"),
        *scale.rules({*used, *range(STEPS)}),
    ]


# ── reading and printing ─────────────────────────────────────────────────────────────────────────


def _layers(attentions: Any, text: int) -> list[list[Any]]:
    """For each layer its heads, each (T, T)."""
    attentions = getattr(attentions, "attentions", attentions)
    if attentions is None:
        raise InputError("There is no attention here; run the model with output_attentions=True.")
    shape = shape_of(attentions)
    if isinstance(attentions, list | tuple) and attentions and hasattr(attentions[0], "shape"):
        return [_heads(each, text) for each in attentions]
    if len(shape) not in (2, 3, 4):
        raise InputError(
            f"attentions has the shape {shape_text(shape)}; expected the model's tuple with (B, N, T, T) per layer, or "
            "(N, T, T) or (T, T)."
        )
    return [_heads(attentions, text)]


def _heads(values: Any, text: int) -> list[Any]:
    shape = shape_of(values)
    if len(shape) not in (2, 3, 4) or 0 in shape or shape[-1] != shape[-2]:
        raise InputError(
            f"The attention of a layer has the shape {shape_text(shape)}; expected (B, N, T, T), (N, T, T) or (T, T)."
        )
    if len(shape) == 4:
        if not -shape[0] <= text < shape[0]:
            raise InputError(f"There is no text {text}: this batch has 0 to {shape[0] - 1}.")
        values = values[text]
    return [values] if len(shape) == 2 else list(values)


def _chosen(what: str, number: int | None, size: int) -> range:
    if number is None:
        return range(size)
    if type(number) is not int or not 0 <= number < size:
        raise InputError(f"There is no {what} {number}: there are 0 to {size - 1}.")
    return range(number, number + 1)


def _short(title: str) -> str:
    return title.replace("layer ", "").replace("head ", "").replace(", ", "·")


def matrix_text(
    values: list[list[float]], rows: Sequence[str], columns: Sequence[str], label: str, left_out: Sequence[str]
) -> str:
    """A matrix as a table, under its label."""
    heads = ["", *(visible(column) for column in columns[: len(values[0])])]
    body = [(rows[y], *map(number_text, row)) for y, row in enumerate(values)]
    return "\n".join([*([label] if label else []), table(heads, body, right=heads[1:]), *left_out])


def attention_text(panels: Sequence[Panel], tokens: Sequence[str], left_out: Sequence[str]) -> str:
    """One head as a table; of several, where each is strongest."""
    if len(panels) == 1:
        return matrix_text([[round(x, 4) for x in row] for row in panels[0].values], tokens, tokens, panels[0].title,
                           left_out)  # fmt: skip
    rows = []
    for panel in panels:
        best, y, x = max((value, y, x) for y, row in enumerate(panel.values) for x, value in enumerate(row))
        rows.append((panel.title, f"{tokens[y]} → {tokens[x]}", number_text(best)))
    return "\n".join([table(("head", "strongest", "attention"), rows, right=("attention",)), *left_out])
