"""A view saved as SVG and as PNG: plain shapes and texts with the legend, nothing that is loaded from elsewhere."""

import re
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

SVG = "{http://www.w3.org/2000/svg}"
OPEN = ":not(details:not([open]) *)"  # not in a part that is folded
VIEWS = ["tokens", "layer", "attention", "hidden", "predictions", "sensitivity", "comparison"]


def saved(browser, folder: Path, kind: str, view: str) -> Path:
    """The file that the button makes."""
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    browser.click(f'[data-key="save-{kind}"]')
    path = folder / f"minibert-{view}.{kind.lower()}"
    end = time.monotonic() + 20
    while not (path.exists() and path.stat().st_size) and time.monotonic() < end:
        time.sleep(0.05)
    return path


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_as_svg(browser, page, tmp_path, view) -> None:
    browser.colors("light")
    browser.open(f"{page.as_uri()}#view={view}")
    picture = ElementTree.fromstring(saved(browser, tmp_path, "SVG", view).read_bytes())
    names = {node.tag.removeprefix(SVG) for node in picture.iter()}
    assert names <= {"svg", "g", "title", "rect", "text", "line", "image", "clipPath", "path", "polyline", "circle"}
    said = re.sub(r"\s+", "", "".join(node.text or "" for node in picture.iter(f"{SVG}text")))
    for text in browser.texts(f".view h2, .legend-unit{OPEN}, .legend-numbers span{OPEN}"):
        assert re.sub(r"\s+", "", text) in said, text
    hrefs = [node.get("href") for node in picture.iter(f"{SVG}image")]
    assert len(hrefs) == browser.count(f".view canvas{OPEN}") and all(
        h.startswith("data:image/png;base64,") for h in hrefs
    )
    assert "url(http" not in ElementTree.tostring(picture, encoding="unicode")
    width, height = float(picture.get("width")), float(picture.get("height"))
    for node in picture.iter(f"{SVG}image"):
        assert float(node.get("x")) + float(node.get("width")) <= width
        assert float(node.get("y")) + float(node.get("height")) <= height


def test_a_view_as_png(browser, page, tmp_path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    browser.colors("light")
    browser.open(f"{page.as_uri()}#view=attention&lang=ko")
    width, height = browser.run(
        "const r = document.querySelector('#view').getBoundingClientRect(); return [r.width, r.height]"
    )
    with image.open(saved(browser, tmp_path, "PNG", "attention")) as picture:
        assert abs(picture.width - 2 * (width + 32)) <= 4 and abs(picture.height - 2 * (height + 72)) <= 4
        colors = picture.convert("RGB").getcolors(1 << 24)
    assert len(colors) > 100 and max(count for count, _ in colors) < 0.95 * picture.width * picture.height
