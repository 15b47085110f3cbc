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
MOST_CELLS = 30_000  # of several maps together
PRINTED = 24  # rows and columns in text
WITH_NUMBERS = 400  # cells of a map that has its numbers in them
WITH_TITLES = 900  # cells that say their value where the pointer rests
WIDTH = 860  # of a map with many columns
TEXT, SMALL, SMALLEST = 12, 11, 10  # font sizes
LABEL = 150  # the widest label of a row or column
SLANTED = 17  # narrower columns have their labels upright: turned by 45°, they would overlap


@dataclass(frozen=True)
class Panel:
    """One map."""

    title: str
    values: list[list[float]]


@dataclass(frozen=True)
class Picture:
    """An SVG and the rules of its classes."""

    html: Html
    rules: list[Rule]


def show_map(values: Any, rows: Sequence[Any], columns: Sequence[Any] | None = None, *, label: str = "") -> Display:
    """A matrix as a heat map, with its numbers in the cells where there is room.

    Args:
        values: (R, C), a tensor, an array or lists.
        rows: R labels.
        columns: C labels; default those of the rows if the matrix is square, else numbers.
        label: what the numbers are.

    The colours go from 0 to the largest value; from the smallest, where all are above half the largest; from −m to m,
    where a value is below 0.  Of a matrix larger than 64 × 128 the beginning is shown.  Raises InputError.
    """
    matrix = as_matrix(values, "values")
    R, C = len(matrix), len(matrix[0])
    if columns is None:
        columns = rows if R == C else range(C)
    row_labels, column_labels = as_labels(rows, R, "rows"), as_labels(columns, C, "columns")
    shown, left_out = cut(matrix)
    picture = labelled_map(shown, row_labels, column_labels, Scale.of(chain.from_iterable(matrix)), label or "a matrix")
    html = framed(note(label) if label else None, picture.html, map(note, left_out), rules=picture.rules)
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

    One head has its tokens at both sides and numbers where there is room; of several heads the maps are small.  More
    than 64 tokens are cut, fewer where there are many heads, and a line says so.  Raises InputError.
    """
    layers, numbered = _layers(attentions, text)
    picked = [
        (n, h, layers[n][h])
        for n in _chosen("layer", layer, len(layers))
        for h in _chosen("head", head, len(layers[n]))
    ]
    T = shape_of(picked[0][2])[-1]
    labels = as_labels(tokens, T, "tokens")
    side = min(T, MOST_TOKENS, max(4, math.isqrt(MOST_CELLS // len(picked))))
    left_out = [] if side == T else [f"Shown are the first {side} of {T} tokens; attention to the others is left out."]
    labels, panels = labels[:side], []
    for n, h, matrix in picked:
        title = f"layer {n}, head {h}" if numbered else f"head {h}" if len(layers[n]) > 1 else "attention"
        panels.append(Panel(title, as_matrix([row[:side] for row in matrix[:side]], "attentions")))
    scale = Scale.of(chain.from_iterable(row for panel in panels for row in panel.values))
    how = "a row: the token that looks; a column: the token looked at"
    if len(panels) == 1:
        said = f"{panels[0].title} ({how})"
        picture = labelled_map(panels[0].values, labels, labels, scale, panels[0].title)
    else:
        said = f"attention of {len(panels)} heads ({how})"
        several = layer is None and head is None and len(layers) > 1
        across = len(layers[0]) if several else math.ceil(math.sqrt(len(panels)))
        picture = many_maps(panels, labels, labels, across, scale, f"attention of {len(panels)} heads")
    html = framed(note(said), picture.html, map(note, left_out), rules=picture.rules)
    return Display(html, lambda: attention_text(panels, labels, left_out))


def cut(matrix: list[list[float]]) -> tuple[list[list[float]], list[str]]:
    """The beginning of a large matrix, and a sentence about the rest."""
    shown = [row[:MOST_COLUMNS] for row in matrix[:MOST_ROWS]]
    sizes = (len(matrix), len(matrix[0]))
    if sizes == (len(shown), len(shown[0])):
        return shown, []
    return shown, [f"Shown are the first {len(shown)} × {len(shown[0])} of {sizes[0]:,} × {sizes[1]:,} values."]


# ── drawing ──────────────────────────────────────────────────────────────────────────────────────


def labelled_map(
    values: list[list[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    scale: Scale,
    title: str,
    texts: Sequence[Sequence[str]] | None = None,
) -> Picture:
    """One map with labels at both sides, and its scale; ``texts`` stand in the cells instead of the numbers."""
    R, C = len(values), len(values[0])
    written = texts or ([[cell_text(value) for value in row] for row in values] if R * C <= WITH_NUMBERS else [])
    wide = math.ceil(max((text_width(text, SMALL) for row in written for text in row), default=0)) + 10
    if wide * C > WIDTH and not texts:
        written = []
    cell_w = max(wide, 28) if written else max(5, min(22, WIDTH // C))
    cell_h = 24 if written else max(9, min(22, WIDTH // R, max(cell_w, 12)))
    row_labels = [fitting(label, TEXT, LABEL) for label in rows[:R]]
    column_labels = [fitting(label, TEXT, LABEL) for label in columns[:C]]
    widths = [text_width(label, TEXT) for label in column_labels]
    every = math.ceil((max(widths) + 4) / cell_w)
    level = every == 1 or all(label.isdecimal() for label in column_labels)
    every = every if level else math.ceil(13 / cell_w)
    left = math.ceil(max(text_width(label, TEXT) for label in row_labels)) + 8
    turn = 0 if level else 45 if cell_w * every >= SLANTED else 90
    rise, reach = math.sin(math.radians(turn)), math.cos(math.radians(turn))
    top = 20 if level else math.ceil(max(widths) * rise) + 14
    parts: list[Child] = [element("title", title)]
    for y in range(0, R, math.ceil(13 / cell_h)):
        parts.append(_label(row_labels[y], rows[y], left - 6, top + (y + 0.5) * cell_h, "mb-e"))
    for x in range(0, C, every):
        place = (left + (x + 0.5) * cell_w, top - (8 if level else 7))
        parts.append(_label(column_labels[x], columns[x], *place, "mb-m" if level else "mb-l", turn))
    names = (rows, columns) if R * C <= WITH_TITLES else None
    parts.append(_cells(values, (left, top), (cell_w, cell_h), scale, names, texts))
    for y, line in enumerate(written):
        said = (
            element("text", text, x=(x + 0.5) * cell_w, class_=f"mb-n {scale.ink(values[y][x])}")
            for x, text in enumerate(line)
        )
        parts.append(element("g", said, transform=f"translate({left} {top + (y + 0.5) * cell_h:g})"))
    legend, end = _legend(scale, left, top + R * cell_h + 12)
    parts.append(legend)
    over = max(x * reach - (C - 1 - n) * cell_w - cell_w / 2 for n, x in enumerate(widths))
    right = left + C * cell_w + (0 if level else max(0, math.ceil(over)))
    return Picture(_svg(parts, max(right, end) + 4, top + R * cell_h + 30, title), _rules(scale, values))


def many_maps(
    panels: Sequence[Panel], rows: Sequence[str], columns: Sequence[str], across: int, scale: Scale, title: str
) -> Picture:
    """Small maps in lines of ``across``; with the rows' labels at the left of each line if there are few."""
    R, C = len(panels[0].values), len(panels[0].values[0])
    across = max(1, min(across, 16))
    down = math.ceil(len(panels) / across)
    cell = max(1, min(max(14, 160 // C), (WIDTH - 60) // across // C))
    labelled = cell >= 12
    labels = [fitting(label, SMALLEST, 90) for label in rows]
    left = math.ceil(max(text_width(label, SMALLEST) for label in labels)) + 8 if labelled else 0
    gap, head, apart = 12, 16, cell * R + 22
    room = cell * C + gap - 4
    titles = [panel.title for panel in panels]
    if any(text_width(each, SMALLEST) > room for each in titles):
        titles = [fitting(_short(each), SMALLEST, room) for each in titles]
    parts: list[Child] = [element("title", title)]
    with_titles = len(panels) * R * C <= WITH_NUMBERS
    for number, panel in enumerate(panels):
        x, y = left + number % across * (cell * C + gap), number // across * apart
        parts.append(element("text", titles[number], x=x, y=y + 9, class_="mb-s"))
        if labelled and number % across == 0:
            for row, label in enumerate(labels):
                parts.append(_label(label, rows[row], left - 5, y + head + (row + 0.5) * cell, "mb-s mb-e"))
        cells = _cells(panel.values, (x, y + head), (cell, cell), scale, (rows, columns) if with_titles else None)
        parts.append(element("g", element("title", panel.title), cells))
    legend, end = _legend(scale, left, down * apart + 6)
    parts.append(legend)
    width = max(left + min(across, len(panels)) * (cell * C + gap), end + 4)
    values = [row for panel in panels for row in panel.values]
    return Picture(_svg(parts, width, down * apart + 24, title), _rules(scale, values))


def _legend(scale: Scale, left: float, top: float) -> tuple[Html, float]:
    """The colours from one end to the other, with their values; and where it ends."""
    low, high = (number_text(end, 3).replace("-", "−") for end in (scale.low, scale.high))
    if scale.beyond is not None:
        high += f" and above, up to {number_text(scale.beyond, 3)}"
    start, wide = left + math.ceil(text_width(low, SMALLEST)) + 6, 4
    bars = [
        element("path", d=f"M{start + n * wide:g} {top:g}h{wide + 0.3}v10h-{wide + 0.3}z", class_=f"mb-f{n}")
        for n in range(STEPS)
    ]
    first = element("text", low, x=left, y=top + 5, class_="mb-s")
    after = start + STEPS * wide + 6
    last = element("text", high, x=after, y=top + 5, class_="mb-s")
    return element("g", first, bars, last), after + text_width(high, SMALLEST)


def _cells(
    values: list[list[float]],
    at: tuple[float, float],
    size: tuple[float, float],
    scale: Scale,
    names: tuple[Sequence[str], Sequence[str]] | None,
    texts: Sequence[Sequence[str]] | None = None,
) -> Html:
    """The coloured cells; with names each has a title that says its value, else there is a path for each colour."""
    (left, top), (wide, high) = at, size
    if names is None:
        drawn: dict[int, list[str]] = {}
        for y, row in enumerate(values):
            for x, length, step in _runs([scale.step(value) for value in row]):
                drawn.setdefault(step, []).append(f"M{x} {y}h{length}v1h-{length}z")
        paths = [element("path", d="".join(parts), class_=f"mb-f{step}") for step, parts in sorted(drawn.items())]
        place = f"translate({left:g} {top:g}) scale({wide:g} {high:g})"
        return element("g", paths, transform=place, shape_rendering="crispEdges")
    rows, columns = names
    said = [[number_text(value) for value in row] for row in values]
    if texts:
        said = [
            [f"{text}, {number}" for text, number in zip(*both, strict=True)] for both in zip(texts, said, strict=True)
        ]
    cells = [
        element(
            "path",
            element("title", f"{rows[y]} → {columns[x]}: {said[y][x]}"),
            class_=f"mb-f{scale.step(value)}",
            d=f"M{x * wide:g} {y * high:g}h{wide:g}v{high:g}h-{wide:g}z",
        )
        for y, row in enumerate(values)
        for x, value in enumerate(row)
    ]
    return element("g", cells, transform=f"translate({left:g} {top:g})", shape_rendering="crispEdges")


def _runs(steps: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """(start, length, step) of neighbours of one colour."""
    start = 0
    for step, same in groupby(steps):
        length = len(list(same))
        yield start, length, step
        start += length


def _label(text: str, whole: str, x: float, y: float, class_: str, turn: int = 0) -> Html:
    full = element("title", whole) if text != visible(whole) else None
    turned = f"rotate(-{turn} {x:g} {y:g})" if turn else None
    return element("text", text, full, x=x, y=y, class_=class_, transform=turned)


def _svg(parts: Sequence[Child], width: float, height: float, title: str) -> Html:
    box = f"0 0 {width:.0f} {height:.0f}"
    return element("svg", parts, viewBox=box, width=round(width), height=round(height), role="img", aria_label=title)


def _rules(scale: Scale, values: list[list[float]]) -> list[Rule]:
    return [
        ("svg text", f"font-size:{TEXT}px;dominant-baseline:central"),
        ("svg .mb-s", f"font-size:{SMALLEST}px"),
        ("svg .mb-e", "text-anchor:end"),
        ("svg .mb-m", "text-anchor:middle"),
        ("svg .mb-n", f"font-size:{SMALL}px;text-anchor:middle;pointer-events:none"),
        *scale.rules(missing=any(math.isnan(value) for row in values for value in row)),
    ]


# ── reading and printing ─────────────────────────────────────────────────────────────────────────


def _layers(attentions: Any, text: int) -> tuple[list[list[Any]], bool]:
    """For each layer its heads, each (T, T); and whether the layers have numbers."""
    attentions = getattr(attentions, "attentions", attentions)
    if attentions is None:
        raise InputError("There is no attention here; run the model with output_attentions=True.")
    if isinstance(attentions, list | tuple) and attentions and hasattr(attentions[0], "shape"):
        if any(each is None for each in attentions):
            raise InputError("A layer has no attention here; run the model with output_attentions=True.")
        return [_heads(each, text) for each in attentions], True
    return [_heads(attentions, text)], False


def _heads(values: Any, text: int) -> list[Any]:
    shape = shape_of(values)
    if len(shape) not in (2, 3, 4) or 0 in shape or shape[-1] != shape[-2]:
        raise InputError(
            f"The attention has the shape {shape_text(shape)}; expected the model's tuple with (B, N, T, T) for each "
            "layer, or (N, T, T) or (T, T)."
        )
    if len(shape) == 4:
        if not 0 <= text < shape[0]:
            raise InputError(f"There is no text {text}: there are 0 to {shape[0] - 1}.")
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
    """A matrix as a table, under its label; of a large one the beginning."""
    R, C = len(values), len(values[0])
    shown = [row[:PRINTED] for row in values[:PRINTED]]
    heads = ["", *(visible(column) for column in columns[: len(shown[0])])]
    body = [(rows[y], *map(number_text, row)) for y, row in enumerate(shown)]
    if max(R, C) > PRINTED:
        left_out = [f"Printed are the first {len(shown)} × {len(shown[0])} values.", *left_out]
    return "\n".join([*([label] if label else []), table(heads, body, right=heads[1:]), *left_out])


def attention_text(panels: Sequence[Panel], tokens: Sequence[str], left_out: Sequence[str]) -> str:
    """One head as a table; of several, where each is strongest."""
    if len(panels) == 1:
        rounded = [[round(value, 4) for value in row] for row in panels[0].values]
        return matrix_text(rounded, tokens, tokens, panels[0].title, left_out)
    rows = []
    for panel in panels:
        best, y, x = max((value, y, x) for y, row in enumerate(panel.values) for x, value in enumerate(row))
        rows.append((panel.title, f"{tokens[y]} → {tokens[x]}", number_text(best)))
    return "\n".join([table(("head", "strongest", "attention"), rows, right=("attention",)), *left_out])
