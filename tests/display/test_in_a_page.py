"""All displays in one page of a browser: readable in both themes, for everybody, and without a trace outside."""

from pathlib import Path
from typing import Any

import pytest

from tests.display.every import EVERY, every
from tests.support.axe import findings
from tests.support.browser import Browser

PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="color-scheme" content="{scheme}">
<title>displays</title><style>{own}</style></head><body{said}><main><h1>displays</h1><p>a <code>name</code></p>
<table><tr><th>head</th><td>cell</td></tr></table><svg width="20" height="20"><text y="9">text</text></svg>{displays}
</main></body></html>"""
OUTSIDE = """
return ['html', 'body', 'h1', 'p', 'code', 'table', 'th', 'td', 'svg', 'text'].map(name => {
  const style = getComputedStyle(document.querySelector(name));
  return [...style].map(key => style.getPropertyValue(key));
}).map(all => all.filter(value => !/px|%|matrix/.test(value)));
"""
# Of each display its colour scheme, the fill of its first coloured cell and the colour of its text.
LOOKS = """
return [...document.querySelectorAll('div > style')].map(style => style.parentElement).map(root => [
  getComputedStyle(root).colorScheme, getComputedStyle(root).color,
  root.querySelector('.mb-f0') && getComputedStyle(root.querySelector('.mb-f0')).fill]);
"""


def write(path: Path, scheme: str, own: str = "", said: str = "", *, empty: bool = False) -> str:
    displays = "" if empty else "".join(every(name)._repr_html_() for name in EVERY)
    path.write_text(PAGE.format(scheme=scheme, own=own, said=said, displays=displays), encoding="utf-8")
    return path.as_uri()


def look(browser: Browser, address: str) -> list[Any]:
    browser.driver.get(address)
    found = browser.run(LOOKS)
    assert len(found) == len(EVERY)
    return list(found)


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(theme: str, chromium: Browser, tmp_path: Path) -> None:
    chromium.colors(theme)
    chromium.driver.set_script_timeout(60)
    chromium.driver.get(write(tmp_path / "page.html", "light dark"))
    assert findings(chromium) == []
    chromium.colors("light")


def test_nothing_outside_changes_and_nothing_is_asked_for(chromium: Browser, tmp_path: Path) -> None:
    chromium.forget()
    chromium.allowed = ("file://",)
    chromium.driver.get(write(tmp_path / "empty.html", "light", empty=True))
    before = chromium.run(OUTSIDE)
    chromium.driver.get(write(tmp_path / "page.html", "light"))
    assert chromium.run(OUTSIDE) == before
    assert chromium.run("return document.querySelectorAll('[id], script, link, img, iframe').length") == 0
    chromium.assert_quiet()


def test_the_page_decides_on_the_theme(chromium: Browser, tmp_path: Path) -> None:
    """By color-scheme, or by the mark of a notebook or a site; a page that is light stays light on a dark system."""
    cells = {}
    chromium.colors("dark")
    cells["light page"] = look(chromium, write(tmp_path / "light.html", "light"))
    cells["either"] = look(chromium, write(tmp_path / "either.html", "light dark"))
    chromium.colors("light")
    dark = "body{background:#111;color:#eee}"
    marks = ('data-jp-theme-light="false"', 'data-vscode-theme-kind="vscode-dark"', 'data-md-color-scheme="slate"')
    for number, mark in enumerate(marks):
        cells[mark] = look(chromium, write(tmp_path / f"{number}.html", "light", dark, f" {mark}"))
    place = list(EVERY).index("map of cosines")
    fills = {name: found[place][2] for name, found in cells.items()}
    assert fills["light page"] != fills["either"] and len({*fills.values()} - {fills["light page"]}) == 1
    schemes = {name: found[place][0] for name, found in cells.items()}
    assert all(schemes[mark] == "dark" for mark in marks)
    for found in cells.values():
        assert len({color for _, color, _ in found}) == 1  # the page's own
