"""The page around the views: keys, colours, sizes, and texts that are out to break it."""

import pytest

from minibert import explore
from tests.explorer.conftest import HOSTILE, content_in

VIEWS = ["tokens", "layer", "attention", "hidden", "predictions", "sensitivity", "comparison"]
HOSTILE_TEXTS = [
    HOSTILE,
    "\"'`</script><!-- <img src=x onerror=alert(1)> {{script}} {{content}} &lt;b&gt; \u2028 ]]>",
    "שלום \u202e evil\u202c 😀 👩‍👩‍👧 배를 中文",
    "the river " * 149,
]


def test_keys(browser, page) -> None:
    browser.open(page.as_uri())
    for number, name in enumerate(VIEWS, start=1):
        browser.press(str(number))
        assert browser.run("return document.querySelector('#view').dataset.view") == name
    browser.focus("#tab-comparison")
    browser.press("\ue014")  # from the last tab right to the first, where the focus is then
    assert browser.run("return document.activeElement.id") == "tab-tokens"
    browser.press("\ue012")
    assert browser.run("return document.activeElement.id") == "tab-comparison"
    browser.press("3")
    browser.focus('[data-token="0"]')
    browser.press("\ue014", "\ue014")
    assert browser.run("return document.activeElement.dataset.token") == "2"
    browser.press("t", "T", "L", "L", "l", "L", "h", "h")
    assert browser.texts(".view h2")[1] == "Layer 0, head 2, as lines"
    browser.press("l")
    browser.focus('[data-key="glance1-2"]')
    browser.press("\ue015", "\ue014")
    assert browser.run("return document.activeElement.dataset.key") == "glance2-3"
    assert browser.texts(".view h2")[1] == "Layer 2, head 3, as lines"


def test_focus_is_seen_and_reaches_everything(browser, page) -> None:
    browser.open(page.as_uri())
    browser.press("2")
    reached = set()
    for _ in range(60):
        browser.press("\ue004")  # Tab
        reached.add(browser.run("return document.activeElement.dataset.key ?? document.activeElement.id"))
        assert browser.run(
            "return document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle"
        ) in (True, "solid")
    assert {"theme", "tab-layer", "slide-layer", "slide-head", "step0", "next", "step-vector"} <= reached
    unnamed = browser.run(
        "return [...document.querySelectorAll('button, input, canvas[tabindex], [role=img]')].filter(e => "
        "!e.textContent.trim() && !e.getAttribute('aria-label') && !e.closest('label')).map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_dark_and_light(browser, page) -> None:
    paper = "return getComputedStyle(document.documentElement).backgroundColor"
    browser.colors("dark")
    browser.open(page.as_uri())
    assert browser.run(paper) == "rgb(20, 22, 26)"
    browser.click(".theme")
    assert browser.run(paper) == "rgb(251, 251, 250)"
    browser.colors("light")
    browser.open(page.as_uri())
    assert browser.run(paper) == "rgb(251, 251, 250)"


@pytest.mark.parametrize("width", [400, 1280, 1920])
def test_nothing_sticks_out(browser, page, width) -> None:
    browser.resize(width, 900)
    browser.open(page.as_uri())
    for number in range(1, 8):
        browser.press(str(number))
        assert browser.run("return document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("text", HOSTILE_TEXTS, ids=["script", "quotes", "letters", "long"])
def test_hostile_texts_are_text(browser, model, tokenizer, text, tmp_path) -> None:
    path = tmp_path / "page.html"
    second = text if len(text) < 1000 else None  # of a long one the maps alone would take a minute
    explore(model, tokenizer, text, second, path, name=f"tiny {HOSTILE}")
    browser.open(path.as_uri())
    elements = "return document.querySelectorAll('script, img, style, iframe, object, link').length"
    assert browser.run(elements) == 3  # the page's own style, its numbers, its script
    assert HOSTILE in browser.text(".model")
    tokens = content_in(path)["runs"][0]["tokens"]
    assert tokens == tokenizer(text).tokens()
    assert browser.texts(".token-table thead .piece") == tokens
    for number in range(1, 8 if second else 7):
        browser.press(str(number))
        assert browser.run(elements) == 3
    assert browser.texts(".said") == ([text, text] if second else [])
    assert browser.run("return document.title") == "minibert explorer"


def test_a_pieces_name_is_no_markup(browser, model, tokenizer, tmp_path) -> None:
    """Whole tokens of markup: what the vocabulary of a hostile checkpoint can hold."""
    import copy

    own = copy.deepcopy(tokenizer)
    own.add_tokens([HOSTILE, "<img src=x onerror=alert(1)>"])
    path = tmp_path / "page.html"
    explore(model, own, f"the {HOSTILE} <img src=x onerror=alert(1)>", path=path, samples=0)
    browser.open(path.as_uri())
    assert browser.texts(".token .piece")[2:4] == [HOSTILE, "<img src=x onerror=alert(1)>"]
    for number in range(1, 7):
        browser.press(str(number))
        assert browser.run("return document.querySelectorAll('script, img').length") == 2


def test_lines_of_korean_break_between_words(browser, page) -> None:
    """At every width each word of the first sentence stands in one line."""
    browser.open(page.as_uri() + "#lang=ko")
    for width in (360, 400, 440, 520):
        browser.resize(width, 900)
        broken = browser.run(
            "const text = document.querySelector('.begin').firstChild, range = document.createRange();"
            "return [...text.data.matchAll(/\\S+/g)].filter((word) => {"
            "  range.setStart(text, word.index); range.setEnd(text, word.index + word[0].length);"
            "  return new Set([...range.getClientRects()].map((box) => box.top)).size > 1;"
            "}).map(String)"
        )
        assert broken == []


def test_the_chosen_tab_stays_marked_below_the_pointer(browser, page) -> None:
    from selenium.webdriver import ActionChains

    browser.open(page.as_uri())
    color = "return getComputedStyle(document.querySelector('.tab.chosen')).borderBottomColor"
    marked = browser.run(color)
    tab = browser.driver.find_element("css selector", ".tab.chosen")
    ActionChains(browser.driver).move_to_element(tab).perform()
    assert browser.run("return document.querySelector('.tab.chosen').matches(':hover')")
    assert browser.run(color) == marked


def test_languages(browser, model, tokenizer, tmp_path) -> None:
    path = tmp_path / "page.html"
    explore(model, tokenizer, "배를 the", "中文 the", path, samples=0)
    browser.open(path.as_uri())
    assert browser.run("return document.querySelector('.token .piece').lang") == "ko"
    browser.click('[data-key="run-1"]')
    assert browser.run("return document.querySelector('.token .piece').lang") == "zh"
    assert "Noto Sans CJK SC" in browser.run(
        "return getComputedStyle(document.querySelector('.token .piece')).fontFamily"
    )


def test_the_policy_holds(browser, page) -> None:
    """What a breach would try: markup with a handler, a script, a style, a request; none of it works."""
    browser.open(page.as_uri())
    browser.run(
        "const box = document.createElement('div');"
        'box.innerHTML = \'<img src=x onerror="document.title = 1"><b style="color: red" onclick="alert(1)">b</b>\';'
        "const script = document.createElement('script'); script.textContent = 'document.title = 2';"
        "document.body.append(box, script)"
    )
    outcome = browser.driver.execute_async_script(
        "const done = arguments[0]; fetch('http://127.0.0.1:9/').then(() => done('sent'), () => done('stopped'))"
    )
    assert outcome == "stopped"
    assert browser.run("return document.title") == "minibert explorer"
    assert browser.run("return getComputedStyle(document.querySelector('b')).color") != "rgb(255, 0, 0)"
    complaints = browser.complaints()
    for rule in ("img-src", "script-src", "style-src", "connect-src"):
        assert any("Content Security Policy" in text and rule in text for text in complaints), rule
    browser.allowed = ("file://", "http://127.0.0.1:9/")  # asked for above, and stopped: it is in the log all the same
