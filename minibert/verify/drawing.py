"""How the findings of a report are drawn in a terminal; ``minibert.display`` draws them in a notebook."""

import re
from collections.abc import Iterable

from minibert.terminal import text_width, width, wrap

# What a line does not break: a word, or a Chinese character, with the punctuation that belongs to it.
CHINESE = "\u2e80-\u9fff\uff00-\uff60"
UNBROKEN = re.compile(rf"\s*[（“]*(?:[{CHINESE}]|[^\s“”{CHINESE}]+)[，。；：！？、）”]*")


def folded(text: str, indent: int = 0) -> str:
    """A line of text, folded to the terminal's width if there is one; every line is indented."""
    room = text_width()
    lines = [text] if room is None else fold(text, max(20, room - indent))
    return "\n".join(" " * indent + line for line in lines)


def fold(text: str, cells: int) -> list[str]:
    """A text in lines of at most ``cells`` cells, broken between words or Chinese characters."""
    lines, line = [], ""
    for part in UNBROKEN.findall(text):
        if width(line + part) > cells and line:
            lines.append(line)
            line = ""
        line += part if line else part.lstrip()
        if width(line) > cells:  # a word that is longer than a line
            *whole, line = wrap(line, cells)
            lines += whole
    return [*lines, line] if line else lines


def labelled(rows: Iterable[tuple[str, str]], indent: int = 2) -> str:
    """Rows of a label and a text, the texts below each other; rows without a text are left out."""
    kept = [(label, text) for label, text in rows if text]
    wide = max((width(label) for label, _ in kept), default=0) + 2
    lines = []
    for label, text in kept:
        body = folded(text, indent + wide)
        lines.append(" " * indent + label + " " * (wide - width(label)) + body[indent + wide :])
    return "\n".join(lines)
