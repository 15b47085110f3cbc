"""The numbers in every display are those of the values."""

import math
import re

import pytest
import torch

from minibert import logit_lens, sensitivity, show_attention, show_bars, show_curves, show_map, trace, walk
from minibert.display.measures import cell_text, fitting, nice_steps, number_text, text_width
from minibert.display.scale import MISSING, STEPS, Scale, contrast, ink_on
from minibert.palette import lines, shades
from tests.display import every as made
from tests.display.every import WIDE, every
from tests.display.sanitising import Display


def shown(name: str) -> Display:
    return Display(every(name)._repr_html_())


def rows_of(html: str) -> list[list[str]]:
    """The cells of a table."""
    rows = [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr>(.*?)</tr>", html)]
    return [[re.sub(r"<[^>]*>", "", cell) for cell in row] for row in rows]


def test_attention_says_its_values_in_cells_and_titles() -> None:
    values = made.attentions()[1][0, 2]
    tokens = made.inputs().tokens()
    html = show_attention(made.attentions(), tokens, layer=1, head=2)
    titles = [text for text in Display(html._repr_html_()).texts if " → " in text]
    expected = [
        f"{tokens[i]} → {tokens[j]}: {values[i, j]:.4g}" for i in range(len(tokens)) for j in range(len(tokens))
    ]
    assert titles == expected
    small = Display(show_attention(values[:3, :3], tokens[:3])._repr_html_())
    assert small.inside("mb-n") == [f"{x:.2f}" for x in values[:3, :3].flatten().tolist()]


def test_heads_and_layers_have_their_names() -> None:
    titles = shown("attention").texts
    assert titles.count("layer 2, head 3") == 2  # above the map, and where the pointer rests
    one_layer = Display(show_attention(made.attentions()[0][0], made.inputs().tokens())._repr_html_())
    assert "head 3" in one_layer.texts and not any("layer" in text for text in one_layer.texts)
    second = show_attention([x.repeat(2, 1, 1, 1) for x in made.attentions()], made.inputs().tokens(), text=1)
    assert second._repr_html_() == every("attention")._repr_html_()


def test_a_map_without_titles_has_every_cell_once() -> None:
    html = every("large map")._repr_html_()
    cells = sum(int(length) for length in re.findall(r"M\d+ \d+h(\d+)v1h-\d+z", html))
    assert cells == 64 * 128


def test_a_map_has_the_colours_of_the_palette() -> None:
    html = show_map([[0.0, 0.5, 1.0]], ["a"])._repr_html_()
    steps = [int(step) for step in re.findall(r'class="mb-f(\d+)" d="M\d+ 0h', html)]
    assert steps == [0, round(0.5 * (STEPS - 1)), STEPS - 1]
    light, dark = (shades("amount", theme, STEPS)[-1] for theme in ("light", "dark"))
    hexes = ["#" + "".join(f"{channel:02x}" for channel in color) for color in (light, dark)]
    assert f".mb-f{STEPS - 1}{{fill:{hexes[0]};fill:light-dark({hexes[0]},{hexes[1]})}}" in html


def test_scales() -> None:
    assert Scale.of([0.0, 2.0]) == Scale(0.0, 2.0)
    assert Scale.of([-1.0, 3.0]) == Scale(-3.0, 3.0, signed=True)
    assert Scale.of([0.9, 1.0]) == Scale(0.9, 1.0)  # differences of what is alike
    assert Scale.of([0.4, 1.0, math.nan, math.inf]) == Scale(0.0, 1.0)
    assert Scale.of([]) == Scale(0.0, 1.0) and Scale.of([0.0]).high == 1.0 and Scale.of([0.5]) == Scale(0.0, 0.5)
    scale = Scale(0.0, 1.0)
    assert [scale.step(x) for x in (-9.0, 0.0, 1.0, 9.0, math.nan)] == [0, 0, STEPS - 1, STEPS - 1, MISSING]
    for kind in ("amount", "sign"):
        for theme in ("light", "dark"):
            assert all(contrast(color, ink_on(color)) >= 4.5 for color in shades(kind, theme, STEPS))


def test_lines_read_on_their_background() -> None:
    for theme, ground in (("light", (255, 255, 255)), ("dark", (33, 33, 33))):
        assert len(set(lines(theme))) == 6 and all(contrast(color, ground) >= 3 for color in lines(theme))


def test_curves_are_where_their_values_are() -> None:
    html = show_curves({"a": [0.0, 1.0, 4.0]}, x=[10, 20, 30])._repr_html_()
    points = [(float(x), float(y)) for x, y in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', html)]
    (x0, y0), (x1, y1), (x2, y2) = points
    assert x1 - x0 == pytest.approx(x2 - x1, abs=0.02) and (y0 - y2) == pytest.approx(4 * (y0 - y1), abs=0.1)
    assert re.findall(r"<title>(a, [^<]*)</title>", html) == ["a, 10: 0", "a, 20: 1", "a, 30: 4"]
    gap = show_curves({"a": [1.0, math.nan, 2.0, 3.0]})._repr_html_()
    path = re.findall(r'<path d="([^"]*)" class="mb-c0">', gap)[-1]
    assert path.count("M") == 2 and path.count("L") == 1


def test_long_curves_keep_their_extremes() -> None:
    values = [0.0] * 10_000
    values[1234], values[7777] = 5.0, -5.0
    html = show_curves({"a": values})._repr_html_()
    path = re.findall(r'<path d="([^"]*)" class="mb-c0">', html)[-1]
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([\d.]+)", path)]
    assert len(heights) <= 600 and heights.count(min(heights)) == 1 and heights.count(max(heights)) == 1


def test_bars_are_as_long_as_their_values() -> None:
    html = show_bars({"a": 2.0, "b": -1.0, "c": 0})._repr_html_()
    assert re.findall(r"margin-left:([\d.]+)%;width:([\d.]+)%", html) == [("33.33", "66.67"), ("0.00", "33.33")]
    assert Display(html).inside("mb-v") == ["2", "−1", "0"]


def test_the_batch_has_its_numbers() -> None:
    batch = every("batch")
    texts = shown("batch").texts
    for number in range(2):
        row = batch["input_ids"][number].tolist()
        tokens = batch.tokens(number)
        start = [i for i, text in enumerate(texts) if text == "token"][number]
        assert texts[start + 1 : start + 1 + len(tokens)] == tokens
        start = [i for i, text in enumerate(texts) if text == "input_ids"][number]
        assert texts[start + 1 : start + 1 + len(row)] == list(map(str, row))
    assert "input_ids, token_type_ids, attention_mask: 2 × 12, torch.int64" in texts
    from minibert import BatchEncoding

    for data in ({}, {"input_ids": []}, {"labels": [1]}, {"input_ids": [[1, 2], [3]], "labels": [0, 1]}):
        Display(BatchEncoding(data)._repr_html_())
    assert "labels: [0, 1]" in BatchEncoding({"input_ids": [[1], [3]], "labels": [0, 1]})._repr_html_()


def test_the_trace_has_its_numbers() -> None:
    values = trace(made.model(), made.inputs())
    rows = rows_of(values._repr_html_())
    assert (
        rows[0] == ["step", "point", "shape", "mean", "std", "min", "max", "numbers"] and len(rows) == len(values) + 1
    )
    for row, (name, value) in zip(rows[1:], values.items(), strict=True):
        assert row[1].startswith(name)
        expected = (value.double().mean(), value.double().std(correction=0), value.min(), value.max())
        assert row[3:7] == [number_text(x.item()) for x in expected]
        assert row[7].startswith(f"{value.numel():,} numbers from ")
    html = trace(made.model(), made.tokenizer()(["he sat", "he"], padding=True, return_tensors="pt"))._repr_html_()
    assert "that are masked" in html


def test_a_step_shows_the_numbers_of_the_first_head() -> None:
    step = next(
        step for step in walk(made.model(), made.inputs()) if step.name.endswith("layer.0.attention.self.scores")
    )
    titles = [text for text in Display(step._repr_html_()).texts if " → " in text]
    value = step.value[0, 0]
    assert titles[:2] == [f"0 → {j}: {value[0, j]:.4g}" for j in range(2)] and len(titles) == value.numel()
    masked = next(
        step
        for step in walk(made.model(), made.tokenizer()(["he", "he sat on"], padding=True, return_tensors="pt"))
        if step.name.endswith("masked_scores")
    )
    assert Display(masked._repr_html_()).inside("mb-ink").count("nan") == 5 * 2


def test_predictions_have_their_pieces() -> None:
    found = logit_lens(made.model(), made.inputs())
    display = Display(found.show(made.tokenizer(), made.inputs().tokens())._repr_html_())
    pieces = [made.tokenizer().convert_ids_to_tokens(row) for row in found.ids[..., 0].tolist()]
    titles = [text for text in display.texts if text.startswith("state 3 → ")]
    assert len(titles) == len(pieces[3])
    for token, piece, chance, title in zip(
        made.inputs().tokens(), pieces[3], found.probabilities[3, :, 0].tolist(), titles, strict=True
    ):
        assert title.startswith(f"state 3 → {token}: ") and title.endswith(number_text(chance))
        assert title.removeprefix(f"state 3 → {token}: ").startswith(fitting(piece, 11, 110)[:5])
    both = logit_lens(made.model(), made.tokenizer()(["he sat", "he put"], return_tensors="pt"))
    assert "Shown is text 0 of 2." in both._repr_html_()


def test_sensitivities_have_their_numbers() -> None:
    found = sensitivity(made.model(), made.inputs(), samples=1, points="encoder.layer.2", progress=False)
    titles = [text for text in Display(found._repr_html_()).texts if " → " in text]
    assert [title.rpartition(": ")[2] for title in titles] == [number_text(x) for x in found.maps.flatten().tolist()]


def test_words_and_similarities_have_their_numbers() -> None:
    words = every("words")
    rows = rows_of(words._repr_html_())[1:]
    assert [row[5] for row in rows] == [number_text(word.vector.norm().item()) for word in words]
    found = every("similarity")
    titles = [text for text in shown("similarity").texts if text.startswith("1–2 → ")]
    assert titles == [f"1–2 → {state}: {value:.4g}" for state, value in enumerate(found.cosines[:, 0].tolist())]


def test_widths_and_texts() -> None:
    assert text_width("ab", 10) < text_width(WIDE[:2], 10) and text_width("e\u0301", 10) == text_width("e", 10)
    assert fitting("abcdef", 10, 20) == "ab…" and fitting("ab", 10, 20) == "ab" and fitting(WIDE, 10, 5) == "…"
    assert [cell_text(x) for x in (-0.001, -1.0, 123.4, 1e9, math.inf)] == ["0.00", "−1.00", "123", "1e+09", "inf"]
    assert nice_steps(0, 10, 5) == [0, 2, 4, 6, 8, 10] and nice_steps(1, 1) == [1]
    assert nice_steps(0, 3, 8, whole=True) == [0, 1, 2, 3]


def test_everything_takes_tensors_of_any_kind() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.int64, torch.bool):
        show_map(torch.ones(2, 2).to(dtype), ["a", "b"])
    show_map(torch.ones(2, 2, requires_grad=True), ["a", "b"])
    show_attention(torch.ones(1, 2, 2, requires_grad=True), ["a", "b"])
    show_bars({"a": torch.tensor(1.0), "b": torch.tensor([1.0])})
    numpy = pytest.importorskip("numpy")
    show_map(numpy.ones((2, 2)), ["a", "b"])
    show_curves({"a": numpy.ones(3), "b": [torch.tensor(1.0)] * 3})
