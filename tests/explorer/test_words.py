"""The words of the page: none is missing in a language, none is left over, no view shows English ones instead."""

import re
from pathlib import Path

import pytest

from minibert import explore
from minibert.explorer import page as pages
from minibert.explorer.sentences import LANGUAGES, PLACE, PageError, Sentence, words
from tests.explorer.conftest import FIRST, SECOND

VIEWS = ["tokens", "layer", "attention", "hidden", "predictions", "sensitivity", "comparison"]
KEY = re.compile(r"[\"`]([a-z]+(?:\.(?:\w+|\$\{[^}]*\}))+)[\"`]")
SCRIPTS = sorted(path for path in Path(pages.STATIC).rglob("*.js") if path.parent.name != "words")
PROGRAMS = sorted(Path(pages.STATIC).parent.glob("*.py"))


def used_keys() -> set[str]:
    """The keys in the scripts, with ``*`` for what a template fills in, and those in Python."""
    scripts, programs = ("\n".join(path.read_text(encoding="utf-8") for path in paths) for paths in (SCRIPTS, PROGRAMS))
    groups = {key.split(".")[0] for key in words("en")}
    keys = {re.sub(r"\$\{[^}]*\}", "*", key) for key in KEY.findall(scripts)}
    in_python = re.findall(r'(?:Sentence\.of|PageError)\(\s*"([\w.]+)"', programs)
    return {key for key in keys if key.split(".")[0] in groups} | set(in_python)


def matches(pattern: str, key: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"\w+"), key) is not None


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_every_text_with_the_same_places(language) -> None:
    english, own = words("en"), words(language)
    assert list(own) == list(english)
    for key, text in own.items():
        assert text.strip(), key
        places = {place[1] for place in PLACE.finditer(text)}
        assert places == {place[1] for place in PLACE.finditer(english[key])}, key
        assert not re.search(r"[{}]", PLACE.sub("", text)), key


@pytest.mark.parametrize(("language", "script"), [("ko", "[가-힣]"), ("zh", "[\u4e00-\u9fff]")])
def test_the_words_are_of_their_language(language, script) -> None:
    for key, text in words(language).items():
        said = PLACE.sub("", text)
        assert re.search(script, said) or not re.search(r"[^\W\d]", said), key


def test_no_key_is_missing_and_none_is_left_over() -> None:
    used, known = used_keys(), set(words("en"))
    missing = {pattern for pattern in used if not any(matches(pattern, key) for key in known)}
    unused = {key for key in known if not any(matches(pattern, key) for pattern in used)}
    assert (missing, unused) == (set(), set())


def test_scripts_hold_no_sentences() -> None:
    """A text with a space between two words of letters is one for words/."""
    for path in (path for path in SCRIPTS if path.parent.name != "engine"):
        script = re.sub(r"^\s*//.*$|\s//.*$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        for text in re.findall(r'"([^"\n]*)"', script):
            looks_like_words = re.search(r"\b[A-Za-z]{3,} [a-z]{2,} [a-z]{2,}|^[A-Z][a-z]+ [a-z]+", text)
            assert not looks_like_words or text in {"minibert explorer", "use strict"}, (path.name, text)


def test_sentences_of_python() -> None:
    sentence = Sentence.of("omitted.cut", full=402, length=320)
    assert str(sentence) == "The text has 402 tokens; this model reads 320 at most, so it was cut."
    assert str(Sentence.of("live.tokens", n=1)) == "1 token"
    assert sentence.describe() == {"key": "omitted.cut", "places": {"full": 402, "length": 320}}
    assert str(PageError("error.empty")) == "The text is empty: there is nothing to look at."


# What a reader sees or hears, without what is the same in every language: tokens, formulas, names of points.
READ = """
const same =
  ".piece, .formula, .point, h1, .model strong, .said, textarea, .line-token, .place, code, [lang]:not(html)";
const found = [];
const walk = document.createTreeWalker(document.querySelector("#page"), NodeFilter.SHOW_TEXT);
for (let node = walk.nextNode(); node; node = walk.nextNode())
  if (!node.parentElement.closest(same)) found.push(node.textContent);
for (const node of document.querySelectorAll("#page [aria-label], #page [placeholder], #page [title]"))
  for (const name of ["aria-label", "placeholder", "title"])
    if (!node.closest("[lang]:not(html)")) found.push(node.getAttribute(name) ?? "");
return found;
"""
TERMS = {"BERT", "LayerNorm", "softmax", "logit", "Enter", "minibert", "explore", "serve", "noise", "samples", "tab"}
TERMS |= {"float16", "float32", "MASK", "CLS", "encoder.layer", "hidden_states", "position_ids", "SVG", "PNG"}
TERMS |= {"attention.output.dense", "output.dense", "W_AO", "W_O", "BertForMaskedLM", "BertForPreTraining", "BertModel"}


def english_in(texts: list[str], tokens: set[str]) -> set[str]:
    """The words of three Latin letters or more that are neither tokens nor terms; (terms) beside others are fine."""
    known = "|".join(re.escape(token) for token in sorted(tokens, key=len, reverse=True))
    found = set()
    for text in texts:
        left = re.sub(rf"(?<![A-Za-z])(?:{known})(?![A-Za-z])", " ", text)
        left = re.sub(r"[(（][A-Za-z -]+[)）,，]?", " ", left)
        found |= set(re.findall(r"[A-Za-z_][A-Za-z0-9_.]*[A-Za-z0-9_]{2}", left)) - TERMS
    return found


@pytest.mark.parametrize("language", ["ko", "zh"])
def test_no_english_is_left_in_any_view(browser, page, tokenizer, language) -> None:
    browser.open(page.as_uri())
    assert browser.run("return document.documentElement.lang") == "en"
    switch(browser, language)
    assert browser.run("return document.documentElement.lang") == {"ko": "ko", "zh": "zh-Hans"}[language]
    tokens = {token for token in tokenizer.get_vocab() if len(token) > 1} | {"**"}
    for view in VIEWS:
        browser.view(view)
        assert browser.texts(".tab.chosen")[0].endswith(words(language)[f"tab.{view}"])
        for step in range(14 if view == "layer" else 1):
            if view == "layer":
                browser.click(f'[data-key="step{step}"]')
            assert english_in(browser.run(READ), tokens) == set(), (view, step)
    browser.view("attention")
    browser.focus('[data-key="matrix"]')
    browser.press("\ue014")
    assert english_in([browser.spoken()], tokens) == set()
    switch(browser, "en")
    assert browser.texts(".tab")[1] == "2Inside a layer"


@pytest.mark.parametrize("language", ["ko", "zh"])
def test_no_english_is_left_on_a_page_that_computes(browser, model, tokenizer, tmp_path, language) -> None:
    """Opened from file://: with edits, while maps are computed, after an error, and with a pair."""
    explore(model, tokenizer, FIRST, SECOND, tmp_path / "page.html", live=True, samples=1)
    row = "_".join(["1", *["0"] * 10])
    address = f"{(tmp_path / 'page.html').as_uri()}#lang={language}&noise=1_3_1_0&heads=0.1&rows=1_2_3_{row}&mask1=2"
    tokens = {token for token in tokenizer.get_vocab() if len(token) > 1} | {"**"}

    def assert_none_left(*where: object) -> None:
        assert english_in(browser.run(READ), tokens) == set(), where

    browser.open(address)
    browser.allowed = ("file://", "blob:null/")
    browser.wait(lambda: browser.count("[data-heat=relative-change]") == 1)
    assert browser.count(".chip") == 2
    for view in VIEWS:
        browser.view(view)
        assert_none_left(view)  # in some, with "Being computed …"
        browser.wait(lambda: not browser.count(".live[aria-busy], .measuring"))
        for show in ("original", "edited", "change") if view not in ("sensitivity", "comparison") else ():
            browser.click(f"[data-key=show-{show}]")
            assert_none_left(view, show)
    browser.run("document.querySelector('[data-key=text0]').value = ' '")
    browser.click("[data-key=run]")
    browser.wait(lambda: browser.text(".live .message"))
    assert_none_left("message")
    browser.run("document.querySelector('[data-key=text0]').value = 'he sat'")
    browser.click("[data-key=pair]")
    browser.wait(lambda: browser.count("#tab-comparison") == 0)
    assert_none_left("pair")


def test_reasons_and_omissions_in_korean(browser, model, tokenizer, tmp_path) -> None:
    explore(model.bert, tokenizer, FIRST, path=tmp_path / "page.html", samples=0)
    browser.open((tmp_path / "page.html").as_uri())
    switch(browser, "ko")
    browser.view("predictions")
    reason = words("ko")["reason.no_head"].replace("{model}", "BertModel")
    assert browser.text(".reason") == reason.replace("(checkpoint)", "(checkpoint)\u2060")  # no line begins with 는
    browser.view("sensitivity")
    assert browser.text(".reason").startswith("토큰이 11개인 이 텍스트에는 민감도 맵을 만들지 않았습니다.")
    assert words("ko")["omitted.sums"] in browser.texts(".footer li")


@pytest.mark.parametrize(("tags", "language"), [("ko-KR,en", "ko"), ("fr,zh-TW,en", "zh"), ("fr-FR,de", "en")])
def test_the_language_of_the_browser(browser, page, tags, language) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": "x", "acceptLanguage": tags})
    try:
        browser.open(page.as_uri())
        assert browser.texts(".tab")[0] == "1" + words(language)["tab.tokens"]
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setUserAgentOverride", {"userAgent": "", "acceptLanguage": "en-US"})


def switch(browser, language: str) -> None:
    """Choose a language in the header."""
    browser.run(
        "const box = document.querySelector('[data-key=language]'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('change', {bubbles: true}))",
        language,
    )


def test_two_texts_in_chinese(browser, page) -> None:
    browser.open(page.as_uri())
    switch(browser, "zh")
    browser.view("comparison")
    assert browser.texts(".said") == [FIRST, SECOND]
    assert browser.texts("h2")[:2] == ["文本 1", "文本 2"]
