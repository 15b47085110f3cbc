"""What HTML in a notebook must not have: scripts, handlers, addresses, ids, a style that reaches outside."""

import re
from html.parser import HTMLParser

ELEMENTS = {
    *("div", "span", "p", "b", "br", "wbr", "code", "details", "summary", "style"),
    *("table", "thead", "tbody", "tr", "th", "td"),
    *("svg", "g", "path", "circle", "text", "title"),
}
ATTRIBUTES = {
    *("class", "lang", "title", "role", "aria-label", "aria-hidden", "tabindex", "scope", "colspan", "style"),
    *("viewbox", "width", "height", "x", "y", "d", "r", "cx", "cy", "transform", "shape-rendering"),
}
VOID = {"br", "wbr"}
INLINE = re.compile(r"(?:(?:width|margin-left):[\d.]+%;?)+")
PROPERTIES = {
    *("align-items", "background", "border", "border-bottom", "border-collapse", "border-left-color"),
    *("border-left-width", "border-radius", "border-top", "color", "color-scheme", "cursor", "display"),
    *("dominant-baseline", "fill", "flex", "flex-direction", "flex-wrap", "font-family", "font-size"),
    *("font-variant-numeric", "font-weight", "gap", "height", "justify-content", "line-height", "margin"),
    *("max-height", "max-width", "min-height", "min-width", "opacity", "overflow", "overflow-wrap", "overflow-x"),
    *("padding", "pointer-events", "stroke", "stroke-dasharray", "stroke-linejoin", "stroke-width", "text-align"),
    *("text-anchor", "vertical-align", "white-space", "width", "word-break"),
}


class Display(HTMLParser):
    """The parsed HTML of one display; AssertionError for what must not be there."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.roots = 0
        self.own = ""
        self.style = ""
        self.texts: list[str] = []
        self.numbers_in: list[tuple[str, str]] = []  # (classes of the element, its text)
        self._classes: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == [] and self.roots == 1
        check_style(self.style, self.own)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS, tag
        said = dict(attributes)
        assert len(said) == len(attributes) and said.keys() <= ATTRIBUTES, said
        assert said.get("style") is None or INLINE.fullmatch(str(said["style"])), said["style"]
        classes = str(said.get("class") or "")
        assert all(each.startswith("mb-") for each in classes.split()), classes
        if not self.open:
            self.roots += 1
            self.own = classes
            assert tag == "div" and re.fullmatch(r"mb-[0-9a-f]{10}", classes)
        if tag == "svg" and said.get("aria-hidden") != "true":
            assert said.get("role") == "img"
        if tag == "style":
            assert self.open == ["div"]
        if tag not in VOID:
            self.open.append(tag)
            self._classes.append(classes)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._classes.pop()

    def handle_data(self, data: str) -> None:
        if self.open[-1] == "style":
            self.style += data
        else:
            self.texts.append(data)
            self.numbers_in.append((self._classes[-1], data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    handle_decl = handle_pi = unknown_decl = handle_comment

    def inside(self, class_: str) -> list[str]:
        """The texts of the elements of a class."""
        return [text for classes, text in self.numbers_in if class_ in classes.split()]


def check_style(style: str, own: str) -> None:
    """Every selector begins with the display's own class; every property is known; nothing is loaded."""
    assert style and not re.search(r"@|url|image|expression|behavior|import|/\*|\\|<|>", style), style
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", style)
    assert "".join(f"{selector}{{{said}}}" for selector, said in rules) == style
    for selector, said in rules:
        # Commas stand only within :is(…), whose parts look at what the display is in.
        outside = re.sub(r":is\([^()]*\)", "", selector)
        assert "," not in outside and re.fullmatch(rf"\.{own}(?:[ ][\w.-]+)*", outside), selector
        if ":is" in selector:
            assert re.fullmatch(rf"\.{own}:is\((?:[^(),]+ \*,?)+\)", selector), selector
        for declaration in said.split(";"):
            name, _, value = declaration.partition(":")
            assert name in PROPERTIES and value and "fixed" not in value and "important" not in value, declaration
