"""How the findings of a report are drawn: paragraphs in a terminal, tables in a notebook."""

import re
from collections.abc import Iterable, Sequence
from html import escape

from minibert.terminal import text_width, width, wrap

# Colours are the page's own, so that a table reads as well on a dark page.
CELL = (
    "text-align:left; vertical-align:top; padding:.4em .8em; border-top:1px solid rgba(128,128,128,.4); "
    "overflow-wrap:break-word"
)
HEAD = "text-align:left; vertical-align:bottom; padding:.4em .8em"
WORDS = {"ko": "word-break:keep-all"}  # Korean breaks between words, Chinese between any two characters
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


def html_table(heads: Sequence[str], rows: Iterable[Sequence[str]], first: str = "auto") -> str:
    """A table for a notebook; heads and cells are HTML (see :func:`cell`, :func:`code`), ``first`` is a CSS width."""
    widths = [first, *["auto"] * (len(heads) - 1)]
    head = "".join(f'<th style="{HEAD}; width:{wide}">{name}</th>' for name, wide in zip(heads, widths, strict=True))
    body = "".join("<tr>" + "".join(f'<td style="{CELL}">{each}</td>' for each in row) + "</tr>" for row in rows)
    return f'<table style="border-collapse:collapse"><tr>{head}</tr>{body}</table>'


def html_page(parts: Iterable[str], language: str) -> str:
    """Parts in HTML as one that says which language it is in."""
    return f'<div lang="{language}" style="{WORDS.get(language, "")}">{"".join(parts)}</div>'


def cell(*texts: str, bold: bool = False) -> str:
    """Text for a cell, escaped, a line for each; the first of them in bold type if wished."""
    lines = [escape(text) for text in texts if text]
    if bold and lines:
        lines[0] = f"<b>{lines[0]}</b>"
    return "<br>".join(lines)


def code(text: str) -> str:
    """A formula or a name for a cell, escaped; a long one breaks between its words."""
    return f"<code>{escape(text)}</code>" if text else ""
