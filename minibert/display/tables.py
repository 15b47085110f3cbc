"""Tables, and small pictures for their cells."""

import re
from collections.abc import Iterable, Sequence

from minibert.display.elements import FAINT, MONOSPACE, MUTED, Child, Html, Rule, element, framed, joined

MOST_ROWS = 200
DOTS = re.compile(r"(?<=\.)(?=[^\W\d])")
TALL, BROAD = 30, 9  # rows and columns of a table that scrolls in a box of its own
RULES: tuple[Rule, ...] = (
    ("table.mb-table", "border-collapse:collapse;margin:.3em 0;border:0;font-size:13px;width:auto"),
    ("table.mb-table tr", "background:none;text-align:left"),
    (
        "table.mb-table tr th",
        f"text-align:left;vertical-align:bottom;font-weight:600;padding:.2em 1.1em .2em 0;border:0;"
        f"border-bottom:1px solid {MUTED};background:none",
    ),
    (
        "table.mb-table tr td",
        f"text-align:left;vertical-align:top;padding:.2em 1.1em .2em 0;border:0;border-bottom:1px solid {FAINT};"
        "background:none;overflow-wrap:break-word;max-width:44em",
    ),
    ("table.mb-table tr .mb-r", "text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap"),
    ("table.mb-table tr .mb-h", f"font-weight:normal;color:{MUTED};border-bottom:1px solid {FAINT};white-space:nowrap"),
    ("code.mb-code.mb-code", f"background:none;padding:0;color:inherit;font-family:{MONOSPACE};font-size:12px"),
    ("table.mb-table tr .mb-nw", "white-space:nowrap"),
    ("p", "margin:.4em 0"),
    ("summary", "cursor:pointer"),
    (".mb-scroll", "max-height:34em;overflow:auto"),
    ("svg.mb-spark", "display:inline-block;vertical-align:middle;max-width:none"),
    (".mb-spark path", "fill:currentColor;opacity:.75"),
)


def html_table(
    heads: Sequence[str],
    rows: Sequence[Sequence[Child]],
    right: Iterable[str] = (),
    *,
    first: str | None = None,
    most: int = MOST_ROWS,
    name: str = "",
) -> Html:
    """Rows under headers; the columns whose headers are in ``right`` are aligned to the right.

    ``first`` is the CSS width of the first column.  Of more than ``most`` rows the first and the last are shown, and a
    line says which are left out.  A large table scrolls in a box, which ``name`` names.
    """
    sides = ["mb-r" if head in set(right) else None for head in heads]
    styles = [f"width:{first}" if first and not n else None for n in range(len(heads))]
    head = [
        element("th" if text else "td", text, class_=side, style=style, scope="col" if text else None)
        for text, side, style in zip(heads, sides, styles, strict=True)
    ]
    body = [
        element("tr", [element("td", each, class_=side) for each, side in zip(row, sides, strict=True)]) for row in rows
    ]
    left_out = len(body) - most
    if left_out > 0:
        start, end = most - most // 2, len(body) - most // 2
        gap = element("td", f"rows {start + 1:,} to {end:,} of {len(body):,} are left out", colspan=len(heads))
        body[start:end] = [element("tr", gap)]
    whole = element("table", element("thead", element("tr", head)), element("tbody", body), class_="mb-table")
    return scrolling(whole, name) if len(body) > TALL or len(heads) > BROAD else whole


def scrolling(part: Html, name: str) -> Html:
    """A part in a box that scrolls, also by the keyboard."""
    return element("div", part, class_="mb-scroll", tabindex="0", role="group", aria_label=name or "table")


def side_table(rows: Sequence[tuple[str, Sequence[Child]]], name: str = "") -> Html:
    """Rows with their names at the left; for values that go on to the right."""
    body = []
    for head, cells in rows:
        values = [element("td", each, class_="mb-r") for each in cells]
        body.append(element("tr", element("th", head, scope="row", class_="mb-h"), values))
    whole = element("table", element("tbody", body), class_="mb-table")
    return scrolling(whole, name) if max((len(cells) for _, cells in rows), default=0) > BROAD else whole


def tabled(*parts: Child, rules: Iterable[Rule] = (), language: str | None = None) -> Html:
    """A display of tables and paragraphs."""
    return framed(*parts, rules=(*RULES, *rules), language=language)


def paragraph(*texts: str) -> Html | None:
    """Text, a line for each; None without text."""
    return element("p", lines(*texts)) if any(texts) else None


def lines(*texts: str, bold: bool = False) -> Html:
    """A line for each text that is not empty; the first of them in bold type if wished."""
    parts: list[Child] = []
    for text in filter(None, texts):
        parts += [element("br")] if parts else []
        parts.append(element("b", text) if bold and not parts else text)
    return joined(parts)


def code(text: str) -> Html:
    """A formula or a name, which may be broken after a dot between letters."""
    parts: list[Child] = []
    for part in DOTS.split(text):
        parts += [element("wbr"), part] if parts else [part]
    return element("code", parts, class_="mb-code") if text else Html()


def unbroken(text: str) -> Html:
    """A text on one line."""
    return element("span", text, class_="mb-nw")


def folded_away(summary: str, *parts: Child) -> Html:
    """What is shown when somebody opens it."""
    return element("details", element("summary", summary), parts)


def spark(heights: Sequence[float], title: str) -> Html:
    """A histogram as small as a word."""
    top = max(heights, default=0.0) or 1.0
    bars = (f"M{3 * n} 16V{16 - max(1, round(15 * height / top))}h3V16" for n, height in enumerate(heights) if height)
    parts = (element("title", title), element("path", d="".join(bars)))
    wide = 3 * len(heights)
    return element("svg", parts, viewBox=f"0 0 {wide} 16", width=wide, height=16, role="img", class_="mb-spark")
