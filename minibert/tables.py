"""Tables for the terminal, in columns that line up for Korean and Chinese too (those letters are two cells wide).

A table that is wider than the terminal wraps its text columns; where that is not enough, the last columns are left out,
with a line that names them.  In a pipe nothing is wrapped.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from minibert.terminal import text_width

GAP = 2  # cells between two columns
NARROWEST = 8  # cells that a wrapped column keeps
# Where a cell may be broken: after a space, and after what joins the parts of a name or a path.
PARTS = re.compile(r"[^\s./,_|]*[\s./,_|]?")


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> str:
    """Rows under headers; the columns whose headers are in ``right`` are aligned to the right and never wrapped."""
    cells = [list(headers), *([visible(str(value)) for value in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(headers))]
    room, left_out = text_width(), 0
    if room is not None and total(widths) > room:
        fixed = [header in right for header in headers]
        while left_out < len(headers) - 1 and total(narrowest(widths, fixed)) > room:
            widths, left_out = widths[:-1], left_out + 1
        widths = fit(widths, fixed, room)
    lines = []
    for row in cells:
        wrapped = [wrap(text, wide) for text, wide in zip(row, widths, strict=False)]
        for number in range(max(map(len, wrapped))):
            parts = []
            for header, pieces, wide in zip(headers, wrapped, widths, strict=False):
                text = pieces[number] if number < len(pieces) else ""
                space = " " * (wide - width(text))
                parts.append(space + text if header in right else text + space)
            lines.append((" " * GAP).join(parts).rstrip())
        if row is cells[0]:
            lines.append((" " * GAP).join("─" * wide for wide in widths))
    if left_out:
        names = ", ".join(header.strip() or "(unnamed)" for header in headers[-left_out:])
        lines.append(f"left out for want of room: {names}; --wide, or a wider terminal, shows all columns")
    return "\n".join(lines)


def total(widths: Sequence[int]) -> int:
    """How wide a table of such columns is."""
    return sum(widths) + GAP * (len(widths) - 1)


def narrowest(widths: Sequence[int], fixed: Sequence[bool]) -> list[int]:
    """The columns wrapped as far as they may be; ``fixed`` says which may not."""
    return [wide if fix else min(wide, NARROWEST) for wide, fix in zip(widths, fixed, strict=False)]


def fit(widths: Sequence[int], fixed: Sequence[bool], room: int) -> list[int]:
    """Widths that fit into ``room``: the widest column that may be wrapped gives way first."""
    result = list(widths)
    while total(result) > room:
        column = max(range(len(result)), key=lambda number: -1 if fixed[number] else result[number])
        if fixed[column] or result[column] <= NARROWEST:
            break  # not even one column fits
        result[column] -= 1
    return result


def wrap(text: str, cells: int) -> list[str]:
    """``text`` in lines of at most ``cells`` cells, broken between words or parts of a name where that is possible."""
    if width(text) <= cells:
        return [text]
    lines, line = [], ""
    for part in PARTS.findall(text):
        rest = part
        while width(line + rest.rstrip()) > cells:
            if line:
                lines.append(line.rstrip())
                line = ""
                continue
            end = 1
            while width(rest[: end + 1]) <= cells:
                end += 1
            lines.append(rest[:end])
            rest = rest[end:]
        line += rest
    return [*lines, line.rstrip()] if line.strip() else lines


def width(text: str) -> int:
    """How many cells of a terminal ``text`` takes."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def visible(text: str) -> str:
    """``text`` with what would move the cursor or hide the rest written as an escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
