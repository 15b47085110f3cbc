"""Tables for the terminal, in columns that line up for Korean and Chinese too (those letters are two cells wide)."""

import unicodedata
from collections.abc import Iterable, Sequence


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> str:
    """Rows under headers; the columns whose headers are in ``right`` are aligned to the right."""
    cells = [list(headers), *([visible(str(value)) for value in row] for row in rows)]
    widths = [max(width(row[column]) for row in cells) for column in range(len(headers))]
    lines = []
    for row in cells:
        parts = []
        for header, text, wide in zip(headers, row, widths, strict=True):
            space = " " * (wide - width(text))
            parts.append(space + text if header in right else text + space)
        lines.append("  ".join(parts).rstrip())
    lines.insert(1, "  ".join("─" * wide for wide in widths))
    return "\n".join(lines)


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
