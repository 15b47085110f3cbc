"""Small HTML: elements with escaped text, framed as one display whose style stays inside it.

:func:`element` makes an element; what is not made by it is text and is escaped.  :func:`framed` puts elements and CSS
rules into one ``<div>``: every rule begins with a class of the display's own, and colours follow the page's theme
(``color-scheme``, or the mark by which a notebook says that it is dark).  There are no scripts, no ids, no addresses.
"""

from collections.abc import Iterable
from hashlib import sha256
from html import escape

from minibert.palette import Color
from minibert.terminal import visible

VOID = frozenset({"br", "wbr"})  # elements of HTML without an end
# How notebooks and sites say that they are dark or light, where they do not set color-scheme.
DARK = (
    '[data-jp-theme-light="false"]', '[data-vscode-theme-kind$="dark"]', '[data-vscode-theme-kind$="high-contrast"]',
    'html[theme="dark"]', '[data-theme="dark"]', '[data-md-color-scheme="slate"]',
)  # fmt: skip
LIGHT = ('[data-jp-theme-light="true"]', '[data-vscode-theme-kind$="light"]', '[data-theme="light"]')
FAINT = "color-mix(in srgb, currentColor 18%, transparent)"
MUTED = "color-mix(in srgb, currentColor 72%, transparent)"
MONOSPACE = "var(--jp-code-font-family, ui-monospace, Menlo, Consolas, monospace)"
Rule = tuple[str, str]  # a selector inside the display ("" for itself), and declarations
BASE: tuple[Rule, ...] = (
    ("", "font-size:13px;line-height:1.5;max-width:100%;overflow-x:auto;padding:2px 0"),
    (".mb-note", f"margin:.3em 0;color:{MUTED}"),
    ("svg", "display:block;max-width:100%;height:auto"),
    ("svg text", f"fill:currentColor;font-family:{MONOSPACE}"),
)

# Korean breaks between words, Chinese between any two characters.
WORDS: dict[str | None, tuple[Rule, ...]] = {"ko": (("", "word-break:keep-all"),)}


class Html(str):
    """Markup: what :func:`element` does not escape again."""

    __slots__ = ()


Child = str | None | Iterable["Child"]


def element(name: str, /, *children: Child, **attributes: str | float | None) -> Html:
    """``<name attributes>children</name>``; text is escaped and its invisible characters are shown as escapes.

    In the name of an attribute an underscore stands for a hyphen, and one at the end is left out: ``class_``.  An
    attribute that is None is left out.
    """
    said = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(amount(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Html(f"<{name}{said}>") if name in VOID else Html(f"<{name}{said}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Html:
    """Elements and texts, one after the other."""
    return Html("".join(_markup(child) for child in children))


def _markup(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    return escape(visible(child)) if isinstance(child, str) else joined(child)


def amount(value: str | float) -> str:
    """A text as it is, a length with at most two decimals."""
    return value if isinstance(value, str) else f"{value:.2f}".rstrip("0").rstrip(".") if value else "0"


def framed(*parts: Child, rules: Iterable[Rule] = (), language: str | None = None) -> Html:
    """One display: the parts, and a style that applies to them alone.

    Its class is made of the rules, so that displays share it only where their rules are the same, and another number
    in a display does not change it.
    """
    body, all_rules = joined(parts), (*BASE, *WORDS.get(language, ()), *rules)
    own = "mb-" + sha256(repr(all_rules).encode()).hexdigest()[:10]
    style = "".join(f".{own}{' ' * bool(selector)}{selector}{{{said}}}" for selector, said in all_rules)
    for scheme, marks in (("light", LIGHT), ("dark", DARK)):
        style += f".{own}:is({','.join(f'{mark} *' for mark in marks)}){{color-scheme:{scheme}}}"
    return element("div", element("style", Html(style)), body, lang=language, tabindex="0", class_=own)


def themed(name: str, light: Color, dark: Color) -> str:
    """A declaration of a colour for either theme; a browser without light-dark() takes the light one."""
    return f"{name}:{hexadecimal(light)};{name}:light-dark({hexadecimal(light)},{hexadecimal(dark)})"


def hexadecimal(color: Color) -> str:
    """``#1f5fd0``."""
    return "#" + "".join(f"{channel:02x}" for channel in color)


def note(text: str) -> Html:
    """A line of small print."""
    return element("div", text, class_="mb-note")
