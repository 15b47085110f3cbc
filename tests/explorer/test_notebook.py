"""In a notebook: styles and keys of the page stay in its frame, those of the notebook stay outside."""

import json

import pytest

from minibert import explore
from tests.explorer.conftest import FIRST, HOSTILE

# A notebook with styles for everything and with keys of its own; "before" is what it looks like without a page.
HOST = """<!DOCTYPE html><html><head><meta charset="utf-8"><style>
button { background: rgb(1, 2, 3) !important; border-radius: 0 !important } * { letter-spacing: 3px } h2 { color: red }
</style></head><body><h1>notebook</h1><button id="host">host</button><div id="output">OUTPUT</div><script>
window.heard = [];
document.addEventListener("keydown", (event) => window.heard.push([event.key, event.defaultPrevented]));
const looks = () => ["html", "body", "h1", "#host"].map((name) => {
  const found = getComputedStyle(document.querySelector(name));
  return [found.fontFamily, found.fontSize, found.margin, found.backgroundColor, found.borderRadius, found.padding];
});
</script></body></html>"""

# What a notebook does with HTML(…): the markup goes in, then its scripts are made anew so that they run.
INSERT = """
const output = document.querySelector("#output");
output.innerHTML = arguments[0];
for (const old of output.querySelectorAll("script")) {
  const script = document.createElement("script");
  for (const { name, value } of old.attributes) script.setAttribute(name, value);
  script.textContent = old.textContent;
  old.replaceWith(script);
}
"""


@pytest.fixture(scope="module")
def html(model, tokenizer):
    return explore(model, tokenizer, f"{FIRST} {HOSTILE}", samples=0)


def test_is_text_that_shows_itself(html, tmp_path, model, tokenizer) -> None:
    assert isinstance(html, str) and html.startswith("<!DOCTYPE html>")
    assert len(repr(html)) < 100 and repr(html).startswith("<minibert page, 0.")
    shown = html._repr_html_()
    assert shown.startswith("<iframe ") and 'sandbox="allow-scripts allow-downloads"' in shown
    assert "<script" not in shown.split("srcdoc=")[1] and shown.count('"') == 8
    explore(model, tokenizer, FIRST, path=tmp_path / "page.html", samples=0)
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == str(explore(model, tokenizer, FIRST, samples=0))


def test_a_page_that_computes_is_a_file_beside_the_notebook(browser, tmp_path, model, tokenizer, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    shown = explore(model, tokenizer, FIRST, live=True)._repr_html_()
    assert (tmp_path / "minibert-explorer.html").stat().st_size > 100_000
    assert 'src="minibert-explorer.html"' in shown and len(shown) < 300
    (tmp_path / "a folder").mkdir()
    again = explore(model, tokenizer, FIRST, path=tmp_path / "a folder" / "page.html", live=True)
    assert 'src="a%20folder/page.html"' in again._repr_html_()
    (tmp_path / "host.html").write_text(f"<!DOCTYPE html>{shown}", encoding="utf-8")
    browser.driver.get((tmp_path / "host.html").as_uri())
    browser.driver.switch_to.frame(0)
    browser.wait(lambda: browser.count(".tab") == 6)
    browser.driver.switch_to.default_content()


@pytest.mark.parametrize("way", ["displayed", "HTML()"])
def test_nothing_leaks_out_or_in(browser, html, tmp_path, way) -> None:
    driver, path = browser.driver, tmp_path / "host.html"
    browser.allowed = ("file://", "about:srcdoc")
    path.write_text(HOST, encoding="utf-8")
    browser.colors("light")
    driver.get(path.as_uri())
    before = browser.run("return looks()")
    if way == "displayed":
        browser.run("document.querySelector('#output').innerHTML = arguments[0]", html._repr_html_())
    else:
        browser.run(INSERT, str(html))
    browser.wait(lambda: browser.count("iframe") == 1)
    assert browser.run("return looks()") == before
    assert browser.count("#output style, #output script, #page, .tab") == 0

    def inside(question: str):
        driver.switch_to.frame(0)
        try:
            return browser.run(question)
        finally:
            driver.switch_to.default_content()

    view = "return document.querySelector('#view')?.dataset.view"
    browser.wait(lambda: inside(view) == "tokens")
    assert inside("return getComputedStyle(document.querySelector('.tab')).letterSpacing") == "normal"
    assert inside("return getComputedStyle(document.querySelector('.tab')).backgroundColor") == "rgba(0, 0, 0, 0)"

    browser.click("#host")
    browser.press("3", "t", "n")  # the notebook's keys: nobody else takes them
    assert browser.run("return window.heard") == [["3", False], ["t", False], ["n", False]]
    assert inside(view) == "tokens"
    driver.switch_to.frame(0)
    browser.click("#tab-hidden")
    browser.press("3")
    assert browser.run(view) == "attention"
    driver.switch_to.default_content()
    assert len(browser.run("return window.heard")) == 3  # the page's keys: the notebook does not hear them
    complaints = browser.complaints()  # that the policy stood in no head; the frame has it in its own
    assert len(complaints) == (way == "HTML()") and all("outside the document's <head>" in said for said in complaints)


def test_two_pages_in_one_notebook(browser, model, tokenizer, tmp_path) -> None:
    path = tmp_path / "host.html"
    browser.allowed = ("file://", "about:srcdoc")
    pages = [explore(model, tokenizer, text, samples=0) for text in ("the bank", "he sat on the bank")]
    path.write_text(HOST.replace("OUTPUT", "".join(page._repr_html_() for page in pages)), encoding="utf-8")
    browser.driver.get(path.as_uri())
    for number, tokens in enumerate((4, 7)):
        browser.driver.switch_to.frame(number)
        browser.wait(lambda: browser.count(".token") > 0)
        assert browser.count(".token") == tokens
        browser.driver.switch_to.default_content()
    assert json.loads(json.dumps(pages[0])) == pages[0]
