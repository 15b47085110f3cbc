"""The tour: every step opens its view, marks what it speaks of, and notices that the reader has tried it."""

import re
from pathlib import Path

import pytest

from minibert import explore
from minibert.explorer.sentences import words
from tests.explorer.conftest import FIRST, SECOND

# What the reader does at each step: selectors to click, or a slider and its value.
TRIES = {
    "pieces": '[data-key="cell3"]',
    "embeddings": '[data-key="turn8"]',
    "map": '[data-key="map-layer1"]',
    "query": '[data-key="next"]',
    "scores": ('[data-key="slide-head"]', 3),
    "softmax": '[data-token="6"]',
    "context": '[data-step="value"]',
    "heads": '[data-key="glance1-2"]',
    "lines": '[data-token="4"]',
    "residual": '[data-key="next"]',
    "neurons": '[data-token="5"]',
    "hidden": ('[data-key="slide-depth"]', 0),
    "mask": '[data-key="mask"]',
    "missing": None,  # on a page that computes
    "noise": '[data-key="mode-per_layer"]',
    "two": ('[data-key="slide-depth"]', 1),
    "end": None,
}


@pytest.fixture(scope="module")
def computing(model, tokenizer, tmp_path_factory) -> Path:
    """The page of two texts, with the model in it."""
    path = tmp_path_factory.mktemp("computing") / "page.html"
    explore(model, tokenizer, FIRST, SECOND, path, live=True, samples=1)
    return path


def test_every_step_can_be_tried(browser, page) -> None:
    browser.open(page.as_uri())
    browser.click('[data-key="tour"]')
    for number, (name, attempt) in enumerate(TRIES.items(), start=1):
        assert browser.text(".tour-head span") == f"Tour, step {number} of {len(TRIES)}"
        assert browser.text(".tour h2") == words("en")[f"tour.{name}.title"]
        if name == "missing":
            assert "must be able to compute" in browser.text(".tour-try")
        else:
            assert_marked(browser, name)
        if attempt:
            assert browser.count(".tour-try.done") == 0, name
            browser.slide(*attempt) if isinstance(attempt, tuple) else press(browser, attempt)
            assert browser.count(".tour-try.done") == 1, name
        browser.click('[data-key="tour-next"]')
    assert browser.count(".tour:not([hidden])") == 0 and browser.text('[data-key="tour"]') == "Take the tour"


@pytest.mark.parametrize("language", ["en", "ko", "zh"])
def test_every_step_can_be_tried_on_a_page_that_computes(browser, computing, language) -> None:
    """From file://, where also a head can be taken out."""
    browser.open(f"{computing.as_uri()}#lang={language}")
    browser.allowed = ("file://", "blob:null/")
    browser.click('[data-key="tour"]')
    for name, attempt in (TRIES | {"missing": '[data-key="ablate"]'}).items():
        assert browser.text(".tour h2") == words(language)[f"tour.{name}.title"]
        assert browser.text(".tour-try").endswith(words(language)[f"tour.{name}.try"])
        if name in ("query", "hidden", "mask"):  # what follows of an answer may move what is below it
            browser.wait(lambda: not browser.count(".live[aria-busy]"))
        browser.wait(lambda: browser.count(".marked") == 1)  # the maps are computed when their view is opened
        if name != "noise":
            assert_marked(browser, name)
        if attempt:
            assert browser.count(".tour-try.done") == 0, name
            browser.slide(*attempt) if isinstance(attempt, tuple) else press(browser, attempt)
            browser.wait(lambda: browser.count(".tour-try.done") == 1)
        browser.click('[data-key="tour-next"]')
    assert (
        browser.count(".tour:not([hidden])") == 0 and browser.text('[data-key="tour"]') == words(language)["tour.begin"]
    )


def assert_marked(browser, name: str) -> None:
    """One thing is marked; it begins in the window, below the bar that stays at the top."""
    assert browser.count(".marked") == 1, name
    top, bar, height = browser.run(
        "const box = (selector) => document.querySelector(selector).getBoundingClientRect();"
        "return [box('.marked').top, box('.controls').bottom, innerHeight]"
    )
    above = name in ("missing", "end")  # what they mark stands above the bar, which then does not stick
    assert (0 if above else bar) <= top < height, (name, top, bar)


def press(browser, selector: str) -> None:
    """A click that the panel of the tour cannot catch."""
    browser.run("document.querySelector(arguments[0]).click()", selector)


def test_it_is_left_and_resumed_and_stands_in_the_address(browser, page) -> None:
    browser.open(page.as_uri() + "#tour=4&touring=1&view=layer&step=4&lang=zh")
    assert browser.text(".tour h2") == words("zh")["tour.scores.title"]
    browser.focus('[data-key="tour-next"]')
    browser.press("\ue00c")  # Escape
    assert browser.count(".tour:not([hidden])") == 0 and browser.count(".marked") == 0
    assert browser.text('[data-key="tour"]') == "继续导览（第 5 步）"
    browser.view("tokens")
    browser.click('[data-key="tour"]')
    assert browser.text(".tour h2") == words("zh")["tour.scores.title"]
    assert browser.run("return document.querySelector('#view').dataset.view") == "layer"


def test_steps_that_a_page_cannot_show_say_so(browser, model, tokenizer, tmp_path) -> None:
    explore(model.bert, tokenizer, FIRST, path=tmp_path / "page.html", samples=0)
    browser.open((tmp_path / "page.html").as_uri())
    names = list(TRIES)
    for name, key in (("mask", "needs_head"), ("missing", "needs_live"), ("noise", "needs_maps"), ("two", "needs_two")):
        browser.run("location.hash = arguments[0]", f"touring=1&tour={names.index(name)}&lang=ko")
        browser.wait(lambda name=name: browser.text(".tour h2") == words("ko")[f"tour.{name}.title"])
        assert browser.text(".tour-try") == words("ko")[f"tour.{key}"]


def test_a_head_is_taken_out_on_a_page_that_computes(browser, port) -> None:
    address = f"http://127.0.0.1:{port}/"
    browser.open(f"{address}#touring=1&tour={list(TRIES).index('missing')}&view=attention", allowed=address)
    assert browser.run("return document.querySelector('.marked').dataset.key") == "ablate"
    browser.click('[data-key="ablate"]')
    browser.wait(lambda: browser.count(".tour-try.done") == 1)


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("language", ["en", "ko", "zh"])
def test_it_fits_the_window(browser, page, width, language) -> None:
    browser.resize(width, 900)
    for step in range(len(TRIES)):
        browser.run("location.hash = arguments[0]", f"touring=1&tour={step}") if step else browser.open(
            f"{page.as_uri()}#touring=1&lang={language}"
        )
        box = browser.run(
            "const p = document.querySelector('.tour'), r = p.getBoundingClientRect();"
            "return [r.left, r.right, r.top, r.bottom, p.scrollWidth - p.clientWidth]"
        )
        assert box[0] >= 0 and box[1] <= width and box[2] > 250 and box[3] <= 900 and box[4] <= 1, (step, box)


def test_the_step_numbers_agree() -> None:
    keys = [re.match(r"tour\.(\w+)\.title", key) for key in words("en")]
    assert [match[1] for match in keys if match] == list(TRIES)
