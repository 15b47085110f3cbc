"""Make the pictures of the explorer of README.md and docs/lens.md, docs/images/explorer-*.png.

    python scripts/tools/make_screenshots.py                    # those of the documents, 1280 pixels wide
    python scripts/tools/make_screenshots.py --look /tmp/look   # each in three languages, three widths, light and dark
    python scripts/tools/make_screenshots.py --look /tmp/look --only layer live --width 400 --theme dark

All of them show one page of `minibert explore --live` with minibert-demo, opened from its file.  What each shows stands
in the fragment of its address (explorer/static/address.js).  Needs Chromium with chromedriver, selenium and Pillow.  A
picture of more than 150 kB is kept in 256 colours.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from minibert import BertTokenizer, explore  # noqa: E402
from minibert.auto import load_architecture  # noqa: E402
from minibert.source import DEMO  # noqa: E402
from tests.support.browser import Browser, programs  # noqa: E402

FIRST, SECOND = "He sat on the bank of the river.", "She put money in the bank."
WIDTHS, THEMES, LANGUAGES = (400, 1280, 1920), ("light", "dark"), ("en", "ko", "zh")
WINDOW = 900  # pixels: the height in which the tour is shown
TALLEST = {"documents": 1600, "look": 3000}  # pixels of a page that a picture shows
LARGEST = 150_000  # bytes of a picture in all its colours
PICTURES = {  # token 5 is "bank"; step 4 of a layer is the scores
    "embeddings": "view=tokens&token=5",
    "layer": "view=layer&step=4&layer=2&head=1&token=5",
    "attention": "view=attention&layer=2&head=1&token=5",
    "hidden-states": "view=hidden&depth=3&token=5",
    "predictions": "view=predictions&token=5&mask1=5",
    "sensitivity": "view=sensitivity&layer=2&token=5",
    "two-texts": "view=comparison&depth=3&token=5&other=6",
    "live": "view=layer&step=5&layer=2&head=1&token=5&show=change&heads=2.1&noise=0.5_5_0_0",
    "tour": "view=attention&layer=2&head=1&token=5&touring=1&tour=8",
}
IS_DRAWN = "return !document.querySelector('[aria-busy], .opening, .measuring, #view .reason')"


def main() -> None:
    options = parse()
    found = programs()
    if found is None:
        raise SystemExit("There is no chromium with chromedriver here; on Debian: apt-get install chromium-driver.")
    browser = Browser(*found)
    browser.driver.execute_cdp_cmd("Emulation.setScrollbarsHidden", {"hidden": True})
    try:
        with tempfile.TemporaryDirectory() as folder:
            page = Path(folder) / "page.html"
            tokenizer = BertTokenizer.from_pretrained(DEMO)
            explore(load_architecture(DEMO), tokenizer, FIRST, SECOND, page, name=DEMO, live=True)
            for width in options.width:
                for theme in options.theme:
                    browser.colors(theme)
                    browser.resize(width, WINDOW)
                    browser.forget()
                    browser.open(page.as_uri())
                    take_all(browser, options, page.as_uri(), width, theme)
    finally:
        browser.quit()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--look", type=Path, metavar="FOLDER", help="make pictures to be looked at, in this folder")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES))
    for name, choices in (("width", WIDTHS), ("theme", THEMES), ("language", LANGUAGES)):
        parser.add_argument(f"--{name}", nargs="+", type=type(choices[0]), choices=choices, help="with --look")
    options = parser.parse_args()
    options.width = options.width or (WIDTHS if options.look else [1280])
    options.theme = options.theme or (THEMES if options.look else ["light"])
    options.language = options.language or LANGUAGES
    (options.look or ROOT / "docs" / "images").mkdir(parents=True, exist_ok=True)
    return options


def take_all(browser: Browser, options: argparse.Namespace, address: str, width: int, theme: str) -> None:
    for language in options.language:
        for name in options.only:
            if options.look:
                path = options.look / f"{name}-{width}-{theme}-{language}.png"
            elif name == "tour":
                path = ROOT / "docs" / "images" / f"explorer-tour-{language}.png"
            elif language == "en":
                path = ROOT / "docs" / "images" / f"explorer-{name}.png"
            else:
                continue
            browser.driver.get(f"{address}#{PICTURES[name]}&lang={language}")
            tallest = WINDOW if name == "tour" else TALLEST["look" if options.look else "documents"]
            take(browser, path, width, tallest)


def take(browser: Browser, path: Path, width: int, tallest: int) -> None:
    """What the page shows, from its top; of the tour, from the card in which it marks something."""
    from PIL import Image

    time.sleep(0.3)  # the page draws itself again a moment after its address or its size changed
    browser.wait(lambda: browser.run(IS_DRAWN))
    browser.resize(width, min(browser.run("return document.documentElement.scrollHeight"), tallest))
    time.sleep(0.3)
    browser.run("scrollTo(0, 0); document.querySelector('.card:has(.marked)')?.scrollIntoView({block: 'start'})")
    browser.driver.save_screenshot(str(path))
    browser.resize(width, WINDOW)
    with Image.open(path) as picture:
        plain = picture.convert("RGB")
    plain.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        plain.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
