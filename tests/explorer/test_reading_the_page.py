"""What a reader of the page relies on: one numbering, one name for one thing, one axis, nothing cut off, one click."""

import copy
import re
import unicodedata
from pathlib import Path

import pytest
import torch

from minibert import explore
from minibert.embedding.similarity import word_similarity
from minibert.explorer import page as pages
from minibert.lens.logit_lens import logit_lens
from minibert.palette import shades
from tests.explorer.conftest import FIRST, SECOND
from tests.support.browser import numbers

VIEWS = ["tokens", "layer", "attention", "hidden", "predictions", "sensitivity", "comparison"]
LONG = (
    "antidisestablishmentarianism the <script>alert(1)</script> she sat on the bank of the river of money , he put it ."
)
# What is cut off, in every view and at every step of a layer.
EVERYWHERE = """
const cut = [];
for (const tab of [...document.querySelectorAll(".tab")].map((tab) => tab.id)) {
document.getElementById(tab).click();
for (let step = 0; step < (tab === "tab-layer" ? 14 : 1); step++) {
document.querySelector(`[data-key="step${step}"]`)?.click();
for (const box of document.querySelectorAll(".view .scroller, .tabs, .token-strip, .steps ol"))
  if (box.scrollWidth > box.clientWidth + 1) cut.push(["scrolls", box.className, box.textContent.slice(0, 60)]);
for (const svg of document.querySelectorAll(".view svg.chart, .view svg.attention-lines")) {
  const frame = svg.getBoundingClientRect();
  for (const text of svg.querySelectorAll("text")) {
    const place = text.getBoundingClientRect();
    if (place.left < frame.left - 1 || place.right > frame.right + 1) cut.push(["outside its chart", text.textContent]);
  }
}
for (const node of document.querySelectorAll("#page *:not(.spoken)"))
  if (node.getBoundingClientRect().right > innerWidth + 1) cut.push(["outside the page", node.className]);
for (const node of document.querySelectorAll("button:not(.cell-button), h2, h3, p, td, th"))
  if (node.offsetParent && node.scrollWidth > node.clientWidth + 1) cut.push(["cut", node.textContent.slice(0, 60)]);
if (cut.length) return [tab, step, ...cut];
}
}
return cut;
"""


@pytest.fixture
def opened(browser, page):
    browser.colors("light")
    browser.open(page.as_uri())
    return browser


def test_one_numbering_for_hidden_states_and_one_for_layers(opened) -> None:
    for view in VIEWS:
        opened.view(view)
        for text in (opened.text("#page"), opened.run("return document.querySelector('#page').outerHTML")):
            assert not re.search(r"after layer|layer state|after the layer|\bemb\b", text, re.IGNORECASE)
    opened.view("hidden")
    opened.slide('[data-key="slide-depth"]', 0)
    assert "Cosine of every two tokens, hidden state 0 (embeddings)" in opened.texts("h2")
    opened.slide('[data-key="slide-depth"]', 3)
    assert "Cosine of every two tokens, hidden state 3" in opened.texts("h2")
    assert opened.texts(".slider output")[2] == "3 (0–3)"
    chart = ".card:last-child .chart .tick"
    assert opened.texts(chart)[-5:] == ["0", "1", "2", "3", "hidden state"]
    opened.view("sensitivity")
    assert opened.texts(".chart .tick")[-4:] == ["0", "1", "2", "layer"]
    opened.view("layer")
    opened.click('[data-step="input"]')
    assert opened.text(".step-body h2") == "Input (hidden state 2), layer 2"
    assert opened.text(".point code") == '"bert.encoder.layer.1"'
    opened.click('[data-step="output"]')
    assert opened.text(".step-body h2") == "Output: LayerNorm (hidden state 3), layer 2"
    opened.view("predictions")
    assert opened.texts(".guesses h3") == ["hidden state 0 (embeddings)", *(f"hidden state {k}" for k in (1, 2, 3))]
    for path in Path(pages.STATIC).glob("*.js"):
        assert not re.search(r"after layer|layer state", path.read_text(encoding="utf-8")), path.name


def test_one_name_for_one_thing(opened) -> None:
    opened.view("layer")
    names, formulas = [], []
    for step in range(14):
        opened.click(f'[data-key="step{step}"]')
        names.append(opened.run("return document.querySelector('.step.chosen').lastChild.textContent"))
        formulas.append(opened.run("return document.querySelector('.formula').firstChild.textContent"))
    assert len(set(names)) == 14 and not {"Output", "Layer output", "Way back", "Residual", "LayerNorm"} & set(names)
    assert names[7:] == [
        "Attention output: dense", "Attention output: residual", "Attention output: LayerNorm", "Intermediate",
        "Output: dense", "Output: residual", "Output: LayerNorm",
    ]  # fmt: skip
    results = [formula.split(" = ")[0] for formula in formulas]
    assert results == ["x", "q", "k", "v", "s", "p", "c", "o", "u", "a", "f", "g", "w", "y"]
    weights = [name for formula in formulas for name in re.findall(r"\b[Wb]_\w+", formula)]
    assert len(weights) == len(set(weights)) == 12
    opened.click('[data-step="output_residual"]')
    assert opened.texts(".numbers tbody th") == ["a", "+ g", "= w"]


def test_views_that_show_depth_open_at_the_last(opened) -> None:
    assert opened.texts(".slider output") == ["2 (0–2)", "0 (0–3)", "3 (0–3)"]
    opened.view("attention")
    assert "Layer 2, head 0, as lines" in opened.texts("h2")
    opened.view("comparison")
    assert opened.texts("h2")[3] == "Every token against every token, hidden state 3"


def test_the_chosen_head_beside_the_grid_above_the_fold(browser, model, tokenizer, tmp_path) -> None:
    explore(model, tokenizer, LONG, path=tmp_path / "page.html", samples=0)
    browser.resize(1280, 800)
    browser.open((tmp_path / "page.html").as_uri())
    browser.view("attention")
    box = "const r = document.querySelector(arguments[0]).getBoundingClientRect();"
    place = f"{box} return [r.left, r.top, r.right, r.bottom]"
    grid, lines, matrix = (browser.run(place, name) for name in (".glance", ".attention-lines", '[data-key="matrix"]'))
    assert grid[2] < lines[0] and lines[2] < matrix[0] and matrix[2] < 1280
    assert max(grid[3], matrix[3]) < 800 and lines[1] < 400
    browser.click('[data-key="glance1-2"]')
    assert browser.run("return scrollY") == 0 or browser.run(place, ".attention-lines")[1] < 400


@pytest.mark.parametrize("text", [LONG, "배를 타고 中文 the river"], ids=["long", "korean"])
def test_nothing_is_cut_off(browser, model, tokenizer, tmp_path, text) -> None:
    explore(model, tokenizer, text, f"the bank {text}", tmp_path / "page.html", samples=1)
    for width in (400, 800, 1280, 1920):
        browser.resize(width, 900)
        browser.open((tmp_path / "page.html").as_uri())
        assert browser.run(EVERYWHERE) == [], width


def test_korean_column_names_stand_upright(browser, model, tokenizer, tmp_path) -> None:
    own = copy.deepcopy(tokenizer)
    own.add_tokens(["배"])
    explore(model, own, "배 中文 the river", path=tmp_path / "page.html", samples=0)
    browser.open((tmp_path / "page.html").as_uri())
    browser.view("attention")
    found = browser.run(
        "return [...document.querySelectorAll('.column-names .name > span')].map(e => "
        "[e.textContent, getComputedStyle(e).textOrientation, getComputedStyle(e).transform])"
    )
    for name, orientation, turned in found:
        upright = bool(re.search("[가-힣一-鿿]", unicodedata.normalize("NFC", name)))
        assert (orientation == "upright", turned == "none") == (upright, upright), name
    assert {"배", "中", "river"} <= {unicodedata.normalize("NFC", name) for name, *_ in found}


def test_prediction_bars_have_one_scale(opened) -> None:
    opened.view("predictions")
    for token in (1, 5):
        opened.click(f'[data-token="{token}"]')
        rows = opened.run(
            "return [...document.querySelectorAll('.guesses .bar-row')].map(row => ["
            "row.querySelector('.bar-number').textContent, "
            "...['.bar', '.bar-track'].map(name => row.querySelector(name).getBoundingClientRect().width)])"
        )
        assert len({round(track) for _, _, track in rows}) == 1
        for said, bar, track in rows:
            assert bar / track == pytest.approx(numbers([said])[0], abs=0.01)


def test_what_the_model_sees_is_marked_and_one_click_masks_it(opened, model, tokenizer) -> None:
    opened.view("predictions")
    opened.click('[data-token="5"]')
    assert set(opened.texts(".seen td")) == {"visible"}
    assert opened.text(".visibility").startswith("Visible to the model: bank is part of the input")
    opened.click('[data-key="mask"]')
    assert opened.text(".visibility").startswith("Masked: this view shows the run with [MASK] in place of bank")
    expected = logit_lens(model, tokenizer(FIRST.replace("bank", "[MASK]"), return_tensors="pt"), k=5)
    for depth in range(4):
        card = f".guesses:nth-child({depth + 1})"
        assert opened.texts(f"{card} .bar-name") == tokenizer.convert_ids_to_tokens(expected.ids[depth, 5])
        shown = torch.tensor(numbers(opened.texts(f"{card} .bar-number")))
        torch.testing.assert_close(shown, expected.probabilities[depth, 5], rtol=1e-3, atol=1e-4)
    opened.press("m")
    assert opened.text(".visibility").startswith("Visible to the model")
    opened.click('[data-token="0"]')
    assert opened.count('[data-key="mask"]') == 0


def test_two_texts_pair_the_shared_word_and_say_that_positions_differ(opened, model, tokenizer) -> None:
    from minibert import Embedder

    opened.view("comparison")
    assert opened.texts(".card:last-child h2 .piece") == ["bank", "bank"]
    assert opened.text(".token.chosen .piece") == "bank"
    for match in (False, True):
        if match:
            opened.click('[data-key="matched-true"]')
        found = word_similarity(Embedder(model.bert, tokenizer), "bank", [FIRST, SECOND], match_positions=match)
        said = opened.text(".positions")
        first, last = re.findall(r"cosine (\S+) in hidden state 0 and (\S+) in hidden state 3\.", said)[0]
        assert numbers([first, last]) == pytest.approx(found.cosines[[0, 3], 0].tolist(), abs=2e-4)
        assert "position 5 in text 1 and 7 in text 2" in said
        assert ("Its positions differ" in said) != match
    assert "text 1 was run with its position_ids shifted by 2" in opened.text(".positions")
    opened.click('[data-token="4"]')
    assert opened.texts(".card:last-child h2 .piece") == ["the", "the"]
    opened.view("tokens")
    opened.click('[data-token="5"]')
    opened.click('[data-key="run-1"]')
    assert opened.text(".token.chosen .token-number").strip() == "7"
    opened.view("comparison")
    assert opened.text(".token.chosen .token-number").strip() == "5"


def test_charts_of_one_quantity_share_one_axis(opened) -> None:
    opened.view("comparison")
    axes = opened.run(
        "return [...document.querySelectorAll('.chart')].map(c => [...c.querySelectorAll('.tick[text-anchor=end]')]"
        ".map(t => t.textContent))"
    )
    assert len(axes) == 2 and axes[0] == axes[1]
    opened.click('[data-key="matched-true"]')
    assert opened.texts(".chart .tick[text-anchor=end]") == [*axes[0], *axes[0]]
    for view, legend in (("hidden", '[data-heat="norms"] '), ("sensitivity", "")):
        opened.view(view)
        scales = set()
        for run in (0, 1):
            opened.click(f'[data-key="run-{run}"]')
            for layer in range(3):
                if view == "sensitivity":
                    opened.slide('[data-key="slide-layer"]', layer)
                chart = opened.texts(".card:last-child .chart .tick[text-anchor=end]")
                scales.add((*opened.texts(f"{legend}.legend-numbers span"), *chart))
        assert len(scales) == 1
    opened.view("layer")
    opened.click('[data-step="scores"]')
    widths = set()
    for token in range(4):
        opened.click(f'[data-token="{token}"]')
        rows = opened.run(
            "return [...document.querySelectorAll('.bar-row')].map(row => ["
            "row.querySelector('.bar-number').textContent,"
            "row.querySelector('.bar').getBoundingClientRect().width])"
        )
        said, width = max(((abs(numbers([said])[0]), width) for said, width in rows), key=lambda pair: pair[0])
        widths.add(round(width / said))
    assert len(widths) == 1


def test_the_pages_colours_are_the_palettes(opened, page) -> None:
    for theme in ("light", "dark"):
        opened.colors(theme)
        opened.open(page.as_uri())
        opened.view("attention")
        drawn = opened.run(
            "return [...document.querySelector('.legend').querySelectorAll('rect')].map(r => r.getAttribute('fill'))"
        )
        known = {f"rgb({r} {g} {b})" for r, g, b in shades("amount", theme)}
        assert set(drawn) <= known and len(set(drawn)) == 64
