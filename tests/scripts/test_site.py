"""The site: every page of the course in three languages, no link that leads nowhere, nothing loaded from a network."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

import pytest

from minibert.learn import lesson_numbers
from tests.support.axe import SERIOUS, findings

TOOLS = Path(__file__).parents[2] / "scripts" / "tools"
LANGUAGES = ("en", "ko", "zh")


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(TOOLS))


@pytest.fixture
def check() -> ModuleType:
    return import_module("site_check")


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    for name in ("sphinx", "furo", "myst_parser", "latex2mathml"):
        pytest.importorskip(name)
    folder = tmp_path_factory.mktemp("site") / "site"
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(TOOLS))
        assert import_module("make_site").build(folder) == []
    return folder


@pytest.mark.slow
def test_the_site_is_whole(site: Path) -> None:
    assert 'src="live.html#lang=en"' in (site / "index.html").read_text(encoding="utf-8")
    assert 'src="../live.html#lang=ko"' in (site / "ko" / "index.html").read_text(encoding="utf-8")
    assert (site / "live.html").stat().st_size > 10_000_000
    for number in lesson_numbers():
        for language in LANGUAGES:
            folder = site if language == "en" else site / language
            page = (folder / "lessons" / f"lesson{number:02}.html").read_text(encoding="utf-8")
            assert f"lesson-{number}-{language}.ipynb" in page
            assert page.count('<details class="solution">') >= 3
            assert page.count('class="output"') >= 5
            assert "minibert/model.py.html#line-" in page or "source/minibert/" in page
            for other in LANGUAGES:
                assert f'hreflang="{other}"' in page
            assert (site / "notebooks" / f"lesson-{number}-{language}.ipynb").is_file()
    assert "minibert.BertModel" in (site / "api" / "model.html").read_text(encoding="utf-8")
    for language in LANGUAGES:
        assert (site / ("" if language == "en" else language) / "searchindex.js").stat().st_size > 1000


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize(
    ("folder", "query", "title"),
    [(".", "residual", "Lesson 4. The layer"), ("ko", "어텐션", "3과. "), ("zh", "残差", "第 4 课. ")],
)
def test_search_works_from_a_disk(folder: str, query: str, title: str, site: Path, browser) -> None:
    browser.allowed = ("file://",)
    browser.driver.get((site / folder / "search.html").as_uri() + f"?q={quote(query)}")
    browser.wait(lambda: browser.count("#search-results li"))
    assert title in browser.text("#search-results")
    browser.wait(lambda: any(letter.isdecimal() for letter in browser.text("#search-results p")))  # how many were found


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("name", ["index", "lessons/lesson03", "ko/lessons/lesson06", "zh/lessons/lesson01"])
def test_axe_finds_nothing_serious(name: str, site: Path, browser) -> None:
    browser.driver.get((site / f"{name}.html").as_uri())
    assert findings(browser, only=SERIOUS) == []


def test_faults_are_found(tmp_path, check) -> None:
    (tmp_path / "a.html").write_text(
        '<a href="b.html#here">1</a> <a href="b.html#there">2</a> <a href="c.html">3</a> <a href="https://example.org">4</a>'
        '<script src="https://example.org/x.js"></script> <a href="#own" id="own">5</a> '
        '<img src="data:image/png;base64,AA"> '
        '<link rel="stylesheet" href="//example.org/x.css"> <a href="folder/">6</a>',
        encoding="utf-8",
    )
    (tmp_path / "b.html").write_text('<p id="here">', encoding="utf-8")
    (tmp_path / "folder").mkdir()
    assert check.faults(tmp_path) == [
        "a.html leads to b.html#there, and that page has no such place",
        "a.html leads to c.html, which is not there",
        "a.html leads to folder/, which is not there",
        "a.html loads //example.org/x.css",
        "a.html loads https://example.org/x.js",
    ]
    for name in ("c.html", "folder/index.html"):
        (tmp_path / name).write_text("", encoding="utf-8")
    assert len(check.faults(tmp_path)) == 3
