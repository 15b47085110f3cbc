"""The page for everybody: axe-core finds nothing to mend in any view, language or colours; the map is a way around."""

import pytest

from tests.support.axe import findings

VIEWS = ["tokens", "layer", "attention", "hidden", "predictions", "sensitivity", "comparison"]


@pytest.mark.parametrize(("theme", "language"), [("light", "en"), ("dark", "ko"), ("light", "zh")])
def test_axe_finds_nothing(browser, page, theme, language) -> None:
    browser.colors(theme)
    for view in VIEWS:
        browser.open(f"{page.as_uri()}#view={view}&lang={language}&touring=1")
        assert findings(browser) == [], view
        browser.forget()
    browser.colors("light")


def test_axe_finds_nothing_on_a_page_that_computes(browser, port) -> None:
    address = f"http://127.0.0.1:{port}/"
    browser.open(f"{address}#view=predictions&heads=1.2", allowed=address)
    browser.wait(lambda: browser.count('[data-heat="relative-change"]') == 1)
    assert findings(browser) == []


@pytest.mark.parametrize(
    ("theme", "language", "width"), [("dark", "en", 1280), ("light", "ko", 400), ("dark", "zh", 400)]
)
def test_axe_finds_nothing_on_a_page_with_the_model_in_it(browser, demo_page, theme, language, width) -> None:
    """From file://, with edits, an error message, the examples and the tour."""
    browser.colors(theme)
    browser.resize(width, 900)
    row = "0_1_2_" + "_".join(["1", *["0"] * 6])
    browser.open(f"{demo_page.as_uri()}#lang={language}&noise=1_3_1_0&heads=1.2&rows={row}&touring=1&tour=13")
    browser.allowed = ("file://", "blob:null/")
    browser.wait(lambda: browser.count("[data-heat=relative-change]") == 1)
    browser.run("document.querySelectorAll('.examples, .footer details').forEach((box) => (box.open = true))")
    for view in VIEWS:
        browser.run("document.querySelector(arguments[0]).click()", f"#tab-{view}")  # the tour may cover it
        assert findings(browser) == [], view
    browser.run("document.querySelector('[data-key=text0]').value = ' '; document.querySelector('.run').click()")
    browser.wait(lambda: browser.text(".live .message"))
    assert findings(browser) == []
    browser.colors("light")


def test_the_map_says_where_one_is_and_leads_there(browser, page) -> None:
    browser.open(page.as_uri())
    here = '[aria-current="location"]'
    assert browser.text(".map-here") == "You are here: Embeddings"
    browser.click('[data-key="map-head1-2"]')
    assert browser.texts(".view h2")[1] == "Layer 1, head 2, as lines"
    assert browser.run(f"return document.querySelector('{here}').dataset.key") == "map-head1-2"
    browser.click('[data-key="map-state3"]')
    assert browser.text(".map-here") == "You are here: hidden state 3"
    browser.click('[data-key="map-layer0"]')
    assert browser.run("return document.querySelector('#view').dataset.view") == "layer"
    browser.click('[data-key="map-predictions"]')
    assert browser.text(".tab.chosen") == "5Predictions"
    browser.resize(400, 900)
    browser.open(page.as_uri())
    assert browser.run("return document.querySelector('.map').open") is False
