"""Is a folder of HTML whole?  Every link leads to a page and a place in it, and nothing is loaded from a network."""

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class References(HTMLParser):
    """The links, ids and loaded things of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what one element refers to."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag == "link" and given.get("rel") not in ("canonical", "next", "prev"):
            self.loaded.append(given["href"])
        self.loaded += [given["src"]] if "src" in given else []


def faults(site: Path) -> list[str]:
    """Links that lead nowhere, and everything that would be loaded from a network."""
    pages = {
        file: References(file.read_text(encoding="utf-8")) for file in site.rglob("*.html") if file.name != "live.html"
    }
    found = []
    for file, references in pages.items():
        for target in references.links + references.loaded:
            address = urlsplit(target)
            if address.scheme or address.netloc:
                if target in references.loaded and address.scheme != "data":
                    found.append(f"{file.relative_to(site)} loads {target}")
                continue
            goal = (file.parent / unquote(address.path)).resolve() if address.path else file
            goal = goal / "index.html" if goal.is_dir() else goal
            if not goal.is_file():
                found.append(f"{file.relative_to(site)} leads to {target}, which is not there")
            elif address.fragment and goal in pages and unquote(address.fragment) not in pages[goal].ids:
                found.append(f"{file.relative_to(site)} leads to {target}, and that page has no such place")
    return sorted(set(found))
