"""Attention and sensitivity maps: as pictures (.png, .svg, .pdf, a figure in a notebook) or as cells in a terminal.

matplotlib draws the pictures; it comes with the extra ``plot``.  The colours are those of the page (palette.py).
Tokens are drawn literally, a dollar sign starts no formula, and Korean and Chinese characters use any installed font
that has them.

In a terminal each map is a block of shaded cells, with as many blocks side by side as fit.  Rows are labelled with
tokens, columns with positions.  All blocks share one scale.  For sensitivities it ends at the largest value off the
diagonal: the diagonal is so much larger that it would leave the rest blank.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.lens.noise import Sensitivity, layer_title
from minibert.palette import terminal_ramp
from minibert.pictures import check_picture, colour_map, fonts_for, need_matplotlib, new_figure, write_picture
from minibert.renamed import older_arguments
from minibert.terminal import drawing_width, visible, wants_colours, width

LABELLED = 40  # tokens in a picture of one panel; more would be written over each other
NARROW = 24  # tokens in one of several panels
MANY = 16  # panels; in more of them there are no labels, all heads of all layers are for a glance
UNIT = "change per unit of noise"


@older_arguments
def draw_attention(
    trace: Mapping[str, Tensor],
    path: str | Path | None = None,
    *,
    tokens: Sequence[str] | None = None,
    layer: int | None = None,
    head: int | None = None,
    text: int = 0,
) -> Any:
    """Draw the attention of one head, of the heads of one layer, or of all heads of all layers.

    Args:
        trace: what :func:`minibert.trace` returned; only the points ``**.attention.self.probabilities`` are needed.
        path: the file to write, with the ending .png, .svg or .pdf; default: no file.
        tokens: the labels; default numbers.
        layer, head: which, from 0; default all.
        text: the row of the batch.

    Returns the matplotlib figure, which a notebook shows.  Warns about characters that no installed font has.  Raises
    InputError, MissingExtraError.
    """
    maps = [value for name, value in trace.items() if name.endswith(".attention.self.probabilities")]
    if not maps:
        raise InputError("There is no attention in this trace: trace it with '**.attention.self.probabilities'.")
    layers = chosen("layer", layer, len(maps))
    heads = chosen("head", head, maps[0].shape[1])
    panels = [(f"layer {n}, head {h}", maps[n][text, h]) for n in layers for h in heads]
    T = maps[0].shape[-1]
    labels = [str(i) for i in range(T)] if tokens is None else [visible(token) for token in tokens]
    if len(labels) != T:
        raise InputError(f"There are {len(labels)} tokens for attention over {T}.")
    across = len(heads) if len(layers) > 1 else math.ceil(math.sqrt(len(heads)))
    return _draw(panels, path, labels, labels, across, ("query", "key", "probability"), top=1.0)


@older_arguments
def draw_sensitivity(
    sensitivity: Sensitivity,
    path: str | Path | None = None,
    *,
    tokens: Sequence[str] | None = None,
    layers: Iterable[int] | None = None,
    text: int = 0,
) -> Any:
    """Draw how much each token changes when one is perturbed, with one panel per measured point.

    Args:
        sensitivity: what :func:`minibert.sensitivity` or :func:`minibert.exact_sensitivity` returned.
        path: the file to write, with the ending .png, .svg or .pdf; default: no file.
        tokens: the labels; default the tokens in ``sensitivity``, or numbers.
        layers: which of the measured points, from 0; default all.
        text: which text, if there are several.

    Returns the matplotlib figure, which a notebook shows.  The scale ends at the largest value off the diagonal.  Warns
    about characters that no installed font has.  Raises InputError, MissingExtraError.
    """
    if sensitivity.maps.dim() == 4:
        sensitivity = sensitivity.text(text)
    T = sensitivity.maps.shape[-1]
    known = tokens or (sensitivity.tokens and sensitivity.tokens[0]) or [str(i) for i in range(T)]
    labels = [visible(token) for token in known]
    if len(labels) != T:
        raise InputError(f"There are {len(labels)} tokens for tables of {T}.")
    panels = list(zip(sensitivity.points, sensitivity.maps, strict=True))
    if layers is not None:
        panels = [panels[chosen("map", layer, len(panels))[0]] for layer in layers]
    rows = [" ".join(labels[i] for i in group) for group in sensitivity.positions]
    top = largest([table for _, table in panels], sensitivity.positions)[0] or 1.0
    return _draw(panels, path, rows, labels, math.ceil(math.sqrt(len(panels))), ("perturbed", "changed", UNIT), top)


def chosen(what: str, number: int | None, size: int) -> list[int]:
    """``number`` alone, or all numbers if it is None; InputError if it is out of range."""
    if number is not None and not 0 <= number < size:
        raise InputError(f"There is no {what} {number}: there are 0 to {size - 1}.")
    return list(range(size)) if number is None else [number]


def _draw(
    panels: Sequence[tuple[str, Tensor]],
    path: str | Path | None,
    rows: Sequence[str],
    columns: Sequence[str],
    across: int,
    names: tuple[str, str, str],  # of the rows, the columns, the colours
    top: float,
) -> Any:
    """Panels of (R, T) values from 0 to ``top``, ``across`` in a line, with one colour bar; the figure."""
    matplotlib = need_matplotlib()
    if path is not None:
        check_picture(path)
    down = math.ceil(len(panels) / across)
    at_most = LABELLED if len(panels) == 1 else NARROW if len(panels) <= MANY else 0
    side = max(1.0, 0.16 * len(columns)) if max(len(rows), len(columns)) <= at_most else 1.6
    size = (min(40.0, across * (side + 1.0) + 1.2), min(60.0, down * (side + 1.0) + 0.4))
    families = fonts_for("".join((*rows, *columns)))
    with matplotlib.rc_context({"font.family": families}):
        figure = new_figure(size)
        grid = figure.subplots(down, across, squeeze=False)
        image: Any = None
        for number, axes in enumerate(grid.flat):
            if number >= len(panels):
                axes.set_axis_off()
                continue
            title, values = panels[number]
            image = axes.imshow(values.detach().double().cpu().tolist(), vmin=0, vmax=top, cmap=colour_map())
            axes.set_title(title, fontsize=8, parse_math=False)
            _label(axes, rows, columns, at_most)
            axes.set_ylabel(names[0] if number % across == 0 else "", fontsize=7)
            axes.set_xlabel(names[1] if number + across >= len(panels) else "", fontsize=7)
        over = any((table.nan_to_num() > top * 1.0001).any() for _, table in panels)
        bar = figure.colorbar(image, ax=grid, shrink=0.6, extend="max" if over else "neither")
        bar.ax.tick_params(labelsize=7)
        bar.set_label(names[2], fontsize=7)
        if path is not None:
            write_picture(figure, path)
    return figure


def _label(axes: Any, rows: Sequence[str], columns: Sequence[str], at_most: int) -> None:
    """Label a panel with tokens, or with numbers if there are more than ``at_most``."""
    for axis, labels, turn in ((axes.yaxis, rows, 0), (axes.xaxis, columns, 90)):
        if len(labels) <= at_most:
            axis.set_ticks(range(len(labels)))
            axis.set_ticklabels(labels, fontsize=7, rotation=turn, parse_math=False)
    axes.tick_params(length=0, labelsize=7)


SHADES = " ░▒▓█"
RAMP = terminal_ramp(10)  # of a terminal's 256 colours; of more levels some would look alike
LONGEST = 14  # cells of a terminal for a token
GAP = "   "


def largest(maps: Sequence[Tensor], groups: Sequence[Sequence[int]]) -> tuple[float, float]:
    """The largest value outside each row's own group, and the largest of all; at least 0, without NaN."""
    values = torch.stack(list(maps)).double().cpu().nan_to_num()  # (maps, R, T)
    own = torch.zeros(values.shape[1:], dtype=torch.bool)
    for row, group in enumerate(groups):
        own[row, list(group)] = True
    return float(values.masked_fill(own, 0.0).max()), float(values.max())


@dataclass(frozen=True)
class Scale:
    """Values from 0 to ``top`` as shades or colours; larger values are shown as ``top``."""

    top: float
    highest: float  # of all values, with the diagonal
    colours: bool

    @classmethod
    def of(cls, maps: Sequence[Tensor], groups: Sequence[Sequence[int]], colours: bool) -> "Scale":
        """The scale for all ``maps`` (R, T), whose rows are the positions ``groups``."""
        off_diagonal, highest = largest(maps, groups)
        return cls(off_diagonal or highest or 1.0, highest, colours)

    def cell(self, value: float, cells: int) -> str:
        """One value, ``cells`` wide."""
        if math.isnan(value):
            return "·".center(cells)
        share = min(max(value / self.top, 0.0), 1.0)
        if self.colours:
            return f"\x1b[48;5;{RAMP[round(share * (len(RAMP) - 1))]}m{' ' * cells}\x1b[0m"
        return SHADES[math.ceil(share * (len(SHADES) - 1) - 0.5)] * cells

    def legend(self) -> str:
        """The values of the shades."""
        levels = len(RAMP if self.colours else SHADES) - 1
        shades = "".join(self.cell(self.top * level / levels, 2) for level in range(levels + 1))
        over = f"; all above as {self.top:.3g}, up to {self.highest:.3g}" if self.highest > self.top else ""
        return f"0 {shades} {self.top:.3g}{over}"


def draw_blocks(
    titles: Sequence[str],
    maps: Sequence[Tensor],
    tokens: Sequence[str],
    groups: Sequence[Sequence[int]],
    columns: int,
    colours: bool,
    *,
    diagonal: bool = False,
) -> str:
    """The maps (R, T) under their titles, in lines of at most ``columns`` cells, and the legend.

    ``groups``: the positions of each row.  ``diagonal``: the scale includes the diagonal.  A map that is wider than
    ``columns`` shows the first tokens that fit, and a note.
    """
    scale = Scale.of(maps, [()] * len(groups) if diagonal else groups, colours)
    labels = [row_label(group, tokens) for group in groups]
    wide = max(map(width, labels))
    room = columns - wide - 1
    cells = 2 if len(tokens) <= 10 else len(str(len(tokens) - 1)) + 1
    if len(tokens) * cells > room:
        cells = 1
    shown = max(1, min(len(tokens), room // cells))
    block = min(room, max([shown * cells, *map(width, titles)]))
    across = max(1, (room + len(GAP)) // (block + len(GAP)))
    lines = []
    for start in range(0, len(maps), across):
        some = maps[start : start + across]
        heads = [fitting(title, block) for title in titles[start : start + across]]
        lines.append(" " * (wide + 1) + GAP.join(head + " " * (block - width(head)) for head in heads).rstrip())
        lines.append(" " * (wide + 1) + GAP.join([numbers(shown, cells).ljust(block)] * len(some)).rstrip())
        for row, label in enumerate(labels):
            rest = " " * (block - shown * cells)
            strips = [
                "".join(scale.cell(value, cells) for value in table[row, :shown].tolist()) + rest for table in some
            ]
            lines.append(label + " " * (wide - width(label) + 1) + GAP.join(strips).rstrip())
        lines.append("")
    lines.append(scale.legend())
    if shown < len(tokens):
        lines.append(f"{columns} columns have room for {shown} of {len(tokens)} tokens; a picture or --json has all.")
    return "\n".join(lines)


def row_label(group: Sequence[int], tokens: Sequence[str]) -> str:
    """``3 york``, ``3+4 york city``; cut to LONGEST cells."""
    return fitting(f"{'+'.join(map(str, group))} {' '.join(visible(tokens[i]) for i in group)}", LONGEST)


def fitting(text: str, cells: int) -> str:
    """``text``, or its beginning and an ellipsis, in at most ``cells`` cells of a terminal."""
    if width(text) <= cells:
        return text
    while text and width(text) > cells - 1:
        text = text[:-1]
    return text + "…"


def numbers(count: int, cells: int) -> str:
    """The numbers of the columns; every tenth if a cell is one character wide."""
    if cells > 1:
        return "".join(str(number).rjust(cells) for number in range(count))
    marks = [" "] * count
    for number in range(0, count, 10):
        for place, digit in enumerate(str(number)):
            if number + place < count:
                marks[number + place] = digit
    return "".join(marks)


def sensitivity_text(found: Sensitivity, tokens: Sequence[str]) -> str:
    """The sensitivities as blocks of shaded cells, with a description."""
    how = "the limit of small noise (Jacobian norms)"
    if found.std is not None:
        spread = " times the spread" if found.relative else ""
        how = f"noise of standard deviation {found.std:g}{spread}, {found.samples} samples, seed {found.seed}"
    into = "at each layer's input" if found.mode == "per_layer" else f"once, at {found.at[0]}"
    titles = []
    for point, values in zip(found.points, found.maps, strict=True):
        known = values[~values.isnan()]
        titles.append(f"{layer_title(point)}: {known.min():.2g} to {known.max():.2g}")
    lines = [
        f"{how}, {into}: change of the column's token per unit of noise at the row's token",
        "each block is the output of a layer; that of layer k is hidden state k + 1\n",
        draw_blocks(titles, list(found.maps), tokens, found.positions, drawing_width(), wants_colours()),
    ]
    if found.samples is not None and found.samples > 1:
        moved = found.maps > 0
        share = (found.standard_error[moved] / found.maps[moved]).to(torch.float64).median()
        lines.append(f"standard error: {share:.1%} of an entry, in the median; more --samples make it smaller")
    return "\n".join(lines)


def attention_text(
    maps: Sequence[Tensor], layers: Sequence[int], heads: Sequence[int], tokens: Sequence[str], *, mean: bool
) -> str:
    """Attention maps, (N, T, T) per layer, as blocks: one per head, or with ``mean`` one per layer."""
    shown = [(f"layer {n}, head {h}", maps[n][h]) for n in layers for h in heads]
    if mean:
        shown = [(f"layer {n}, mean", maps[n].mean(dim=0)) for n in layers]
    titles, tables = zip(*shown, strict=True)
    each = [(number,) for number in range(len(tokens))]
    blocks = draw_blocks(titles, tables, tokens, each, drawing_width(), wants_colours(), diagonal=True)
    return f"attention of the row's token to the column's token\n\n{blocks}"
