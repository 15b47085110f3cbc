"""Position × position maps in a terminal: a block of shaded cells for each, as many side by side as there is room.

Rows are labelled with their token, columns with their number.  All blocks share one scale.  For sensitivities it ends
at the largest value off the diagonal: what a token does to itself is so much more that it would leave the rest blank.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from minibert.palette import terminal_ramp
from minibert.tables import visible, width

SHADES = " ░▒▓█"
RAMP = terminal_ramp(10)  # of a terminal's 256 colours; of more levels some would look alike
LONGEST = 14  # cells of a terminal for a token
GAP = "   "


@dataclass(frozen=True)
class Scale:
    """Values from 0 to ``top`` as shades or colours; those above it as the last."""

    top: float
    highest: float  # of all values, the diagonal too
    colours: bool

    @classmethod
    def of(cls, maps: Sequence[Tensor], groups: Sequence[Sequence[int]], colours: bool) -> "Scale":
        """The scale for all ``maps`` (R, T), their rows being the positions ``groups``."""
        beside, every = 0.0, 0.0
        for table in maps:
            for group, row in zip(groups, table.tolist(), strict=True):
                known = [(j, value) for j, value in enumerate(row) if not math.isnan(value)]
                every = max([every, *(value for _, value in known)])
                beside = max([beside, *(value for j, value in known if j not in group)])
        return cls(beside or every or 1.0, every, colours)

    def cell(self, value: float, cells: int) -> str:
        """One value, ``cells`` wide."""
        if math.isnan(value):
            return "·".center(cells)
        share = min(max(value / self.top, 0.0), 1.0)
        if self.colours:
            return f"\x1b[48;5;{RAMP[round(share * (len(RAMP) - 1))]}m{' ' * cells}\x1b[0m"
        return SHADES[math.ceil(share * (len(SHADES) - 1) - 0.5)] * cells

    def legend(self) -> str:
        """What the shades stand for."""
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
    """The maps (R, T each) under their titles, in lines of at most ``columns`` cells, and the legend.

    ``groups``: the positions of each row.  ``diagonal``: the scale ends at the largest value of all.  Where a block is
    wider than ``columns``, it shows the first tokens that fit, and says so.
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
    """``3 york``, ``3+4 york city``; cut where it is long."""
    return fitting(f"{'+'.join(map(str, group))} {' '.join(visible(tokens[i]) for i in group)}", LONGEST)


def fitting(text: str, cells: int) -> str:
    """``text``, or its beginning, in ``cells`` cells of a terminal."""
    if width(text) <= cells:
        return text
    while text and width(text) > cells - 1:
        text = text[:-1]
    return text + "…"


def numbers(count: int, cells: int) -> str:
    """The columns' numbers; every tenth where a cell has no room for one."""
    if cells > 1:
        return "".join(str(number).rjust(cells) for number in range(count))
    marks = [" "] * count
    for number in range(0, count, 10):
        for place, digit in enumerate(str(number)):
            if number + place < count:
                marks[number + place] = digit
    return "".join(marks)
