"""Every display stays inside its element, loads nothing, and shows texts as texts."""

import re

import pytest

from minibert.display.elements import Html, element, framed
from tests.display.every import EVERY, HOSTILE, STYLE, every
from tests.display.sanitising import Display, check_style

SENTENCES = {  # what is too large says what is left out
    "many tokens": "Shown are the first 200 of 302 tokens.",
    "attention of many": "Shown are the first 64 of 512 tokens; attention to the others is left out.",
    "attention of all heads of many": "Shown are the first 14 of 128 tokens; attention to the others is left out.",
    "large map": "Shown are the first 64 × 128 of 100 × 768 values.",
    "long curves": "loss: drawn are the least and the greatest of each stretch of its 5000 values.",
    "many bars": "Shown are the first 50 of 100.",
    "large batch": "Shown are the first 8 of 9 texts.",
    "many points": "rows 101 to 237 of 337 are left out",
    "load report": "rows 101 to 151 of 251 are left out",
}
LARGEST = 560_000  # characters, of 144 maps without two cells of one colour beside each other


@pytest.mark.parametrize("name", EVERY)
def test_a_display_is_clean(name: str) -> None:
    html = every(name)._repr_html_()
    shown = Display(html)
    assert isinstance(html, str)
    assert len(html) < LARGEST and "id=" not in html
    for part in ("<script", "<img", "<!--", "</style><style", "http", "javascript:", 'onload="', 'onerror="'):
        assert part not in html.lower(), part
    if name in SENTENCES:
        assert SENTENCES[name] in shown.texts


@pytest.mark.parametrize("name", EVERY)
def test_the_same_in_every_run_and_also_as_text(name: str) -> None:
    assert EVERY[name]()._repr_html_() == every(name)._repr_html_()
    text = str(every(name))
    assert text and "<div" not in text and "mb-" not in text


def test_hostile_texts_stay_texts() -> None:
    for name in ("tokens", "batch", "words", "attention of a head", "map", "curves", "bars", "load report", "verify"):
        shown = Display(every(name)._repr_html_())
        assert any(HOSTILE in text for text in shown.texts), name
    assert any(STYLE in text for text in Display(every("map")._repr_html_()).texts)


def test_two_displays_in_one_page_share_nothing_but_equal_rules() -> None:
    """They have no ids; where the class is the same, so is the style."""
    styles: dict[str, str] = {}
    for name in EVERY:
        shown = Display(every(name)._repr_html_())
        assert styles.setdefault(shown.own, shown.style) == shown.style
    assert len(styles) > 8


def test_another_number_does_not_change_the_class() -> None:
    """So the outputs of a lesson may be compared between processors."""
    from minibert import show_map

    one, other = (Display(show_map([[1.0, x]], ["a"])._repr_html_()) for x in (0.25, 0.2501))
    assert one.own == other.own


def test_elements_escape_what_they_did_not_make() -> None:
    made = element("p", "<b>", [element("b", "a&b"), None, "\u202e\x00"], title='"<', class_="mb-x", x=1.5, y=None)
    assert made == '<p title="&quot;&lt;" class="mb-x" x="1.5">&lt;b&gt;<b>a&amp;b</b>\\u202e\\x00</p>'
    assert isinstance(made, Html) and element("br") == "<br>"


@pytest.mark.parametrize(
    "html",
    [
        "<div class='mb-0123456789'><style>.mb-0123456789{color:red}</style><script></script></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789{color:red}</style><p onclick='x'></p></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789{color:red}p{color:red}</style></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789,p{color:red}</style></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789{background:url(x)}</style></div>",
        "<div class='mb-0123456789'><style>@media print{.mb-0123456789{color:red}}</style></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789{position:fixed}</style></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789{color:red}</style><a href='x'>x</a></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789{color:red}</style></div><p></p>",
        "<div class='mb-0123456789' id='a'><style>.mb-0123456789{color:red}</style></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789 ~ p{color:red}</style></div>",
        "<div class='mb-0123456789'><style>.mb-0123456789 p:is(*,b){color:red}</style></div>",
    ],
)
def test_the_check_sees_what_must_not_be_there(html: str) -> None:
    with pytest.raises(AssertionError):
        Display(html)


def test_colours_follow_the_theme_that_the_page_says() -> None:
    style = Display(framed("x")).style
    assert re.search(r':is\([^)]*\[data-jp-theme-light="false"\] \*[^)]*\)\{color-scheme:dark\}', style)
    assert "prefers-color-scheme" not in style  # the page decides: it may be light where the system is dark
    check_style(style, Display(framed("x")).own)
    assert "light-dark(#" in Display(every("map")._repr_html_()).style
