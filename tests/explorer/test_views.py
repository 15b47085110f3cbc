"""Every view of the file, opened in a browser: what stands there is what the trace has, to float16's three digits."""

import pytest
import torch

from minibert import trace
from tests.explorer.conftest import FIRST, SECOND
from tests.support.browser import numbers

NEAR = {"rtol": 1e-3, "atol": 1e-4}  # half a unit in float16's last place is 5e-4, and the page writes 4 decimals


@pytest.fixture(scope="module")
def found(model, tokenizer):
    return trace(model, tokenizer(FIRST, return_tensors="pt"))


@pytest.fixture
def opened(browser, page):
    browser.colors("light")
    browser.open(page.as_uri())
    browser.click('[data-token="5"]')  # bank
    return browser


def assert_near(shown, expected) -> None:
    torch.testing.assert_close(torch.tensor(shown), torch.as_tensor(expected).float(), **NEAR)


def row(browser, number: int, statistics: bool = True) -> list[float]:
    """The numbers of a row of the table of vectors, and of its norm, mean and spread."""
    kind = "td" if statistics else "td:not(.statistic)"
    return numbers(browser.texts(f".numbers tbody tr:nth-child({number}) {kind}"))


def test_embeddings_add_up(opened, found, tokenizer) -> None:
    opened.view("tokens")
    assert opened.texts(".token-table thead .piece") == tokenizer(FIRST).tokens()
    assert [int(x) for x in opened.texts(".token-table tbody tr:first-child td")] == tokenizer(FIRST)["input_ids"]
    names = ("word_embeddings", "token_type_embeddings", "position_embeddings", "sum", "LayerNorm")
    for number, name in enumerate(names, start=1):
        value = found[f"bert.embeddings.{name}"][0, 5]
        shown = row(opened, number)
        assert_near(shown[:8], value[:8])
        assert_near(shown[8:], [value.norm(), value.mean(), value.std(correction=0)])
    opened.click('[data-key="turn8"]')
    assert_near(row(opened, 4, statistics=False), found["bert.embeddings.sum"][0, 5, 8:16])


def test_every_step_of_a_layer(opened, found) -> None:
    opened.view("layer")
    opened.slide('[data-key="slide-layer"]', 1)
    opened.slide('[data-key="slide-head"]', 2)
    layer = "bert.encoder.layer.1"
    vectors = {
        "input": "bert.encoder.layer.0",
        "attention_dense": f"{layer}.attention.output.dense",
        "attention_output": f"{layer}.attention.output",
        "output_dense": f"{layer}.output.dense",
        "output": layer,
    }
    heads = {name: f"{layer}.attention.self.{name}_heads" for name in ("query", "key", "value", "context")}
    maps = {name: f"{layer}.attention.self.{name}" for name in ("scores", "probabilities")}
    sums = {"attention_residual": f"{layer}.attention.output.residual", "output_residual": f"{layer}.output.residual"}
    seen = []
    opened.click('[data-step="input"]')
    while True:
        step = opened.run("return document.querySelector('.step-numbers').dataset.step")
        seen.append(step)
        if step in vectors:
            assert opened.text(".point code") == f'"{vectors[step]}"'
            assert_near(row(opened, 1)[:6], found[vectors[step]][0, 5, :6])  # as many as fit beside the steps
        elif step in heads:
            assert_near(row(opened, 1), found[heads[step]][0, 2, 5])
        elif step in maps:
            assert_near(numbers(opened.texts(".bar-number")), found[maps[step]][0, 2, 5])
        elif step in sums:
            value = found[sums[step]][0, 5]
            shown = row(opened, 3)
            torch.testing.assert_close(torch.tensor(shown[:6]), value[:6], rtol=2e-3, atol=2e-3)  # of two roundings
            assert_near(shown[-3:], [value.norm(), value.mean(), value.std(correction=0)])
        else:
            assert step == "neurons"
            value = found[f"{layer}.intermediate"][0, 5]
            strongest = value.abs().topk(16).indices
            assert_near(numbers(opened.texts(".bar-number")), value[strongest])
            assert opened.texts(".bar-name") == [f"neuron {number}" for number in strongest.tolist()]
        if opened.run("return document.querySelector('[data-key=next]').disabled"):
            break
        opened.press("n")
    assert seen == [
        "input", "query", "key", "value", "scores", "probabilities", "context", "attention_dense", "attention_residual",
        "attention_output", "neurons", "output_dense", "output_residual", "output",
    ]  # fmt: skip
    opened.press("p")
    assert opened.text(".step.chosen") == "12Output: residual"


def test_attention_at_a_glance_as_lines_and_as_a_matrix(opened, found) -> None:
    opened.view("attention")
    assert opened.count(".glance-cell canvas") == 3 * 4
    opened.click('[data-key="glance2-3"]')
    assert "Layer 2, head 3, as a matrix" in opened.texts("h2")
    probabilities = found["bert.encoder.layer.2.attention.self.probabilities"][0, 3]
    assert opened.count(".attention-line") == int((probabilities.half() >= 0.02).sum())
    opened.focus('[data-key="matrix"]')
    opened.press("\ue015", "\ue014", "\ue014")  # down, right, right: from the chosen row, 5
    said = opened.spoken()
    assert said.startswith("of → sat: ")
    assert_near(numbers([said.split(": ")[1]]), [probabilities[6, 2]])
    opened.press("\ue007")  # Enter chooses the row
    assert opened.text(".token.chosen .piece") == "of"


def test_hidden_states(opened, found) -> None:
    opened.view("hidden")
    opened.slide('[data-key="slide-depth"]', 3)
    hidden = found["bert.encoder.layer.2"][0]
    opened.focus('[data-key="cosines"]')
    opened.press("\ue013")  # up: row 4, "the"
    assert_near(numbers([opened.spoken().split(": ")[1]]), [torch.cosine_similarity(hidden[4], hidden[0], dim=0)])
    opened.click('[data-key="norm-table"]')
    opened.focus('[data-key="norms"]')
    opened.press("\ue014")
    assert opened.spoken().startswith("of, hidden state 3: ")
    assert_near(numbers([opened.spoken().split(": ")[1]]), [hidden[6].norm()])
    assert opened.count(".card:nth-child(2) polyline, .pair polyline") >= len(hidden)


def test_predictions_of_every_layer(opened, model, tokenizer) -> None:
    from minibert.lens.logit_lens import logit_lens

    opened.view("predictions")
    expected = logit_lens(model, tokenizer(FIRST, return_tensors="pt"), k=5)
    for depth in range(4):
        card = f".guesses:nth-child({depth + 1})"
        assert opened.texts(f"{card} .bar-name") == tokenizer.convert_ids_to_tokens(expected.ids[depth, 5])
        assert_near(numbers(opened.texts(f"{card} .bar-number")), expected.probabilities[depth, 5])
    opened.click('[data-key="guess2-7"]')
    assert opened.texts(".guesses.chosen h3") == ["hidden state 2"]
    assert opened.text(".token.chosen .token-number").strip() == "7"


def test_says_that_there_is_no_head_to_predict_with(browser, model, tokenizer, tmp_path) -> None:
    from minibert import explore

    explore(model.bert, tokenizer, FIRST, path=tmp_path / "page.html", samples=0)
    browser.open((tmp_path / "page.html").as_uri())
    browser.view("predictions")
    assert "loaded as BertModel: it has no head that predicts words" in browser.text(".reason")
    browser.view("sensitivity")
    assert "ask for them with --samples 4" in browser.text(".reason")


def test_sensitivity(opened, model, tokenizer) -> None:
    from minibert.lens.noise import sensitivity

    opened.view("sensitivity")
    opened.slide('[data-key="slide-layer"]', 2)
    inputs = tokenizer(FIRST, return_tensors="pt")
    for mode in ("single", "per_layer"):
        opened.click(f'[data-key="mode-{mode}"]')
        maps = sensitivity(model.bert, inputs, samples=4, mode=mode).maps
        opened.focus('[data-key="sensitivity"]')
        opened.press("\ue015" if mode == "single" else "\ue014")
        said = opened.spoken()
        assert said.startswith("noise at of changes [CLS]: " if mode == "single" else "noise at of changes he: ")
        assert_near(numbers([said.split(": ")[1]]), [maps[2, 6, 0 if mode == "single" else 1]])
    opened.click('[data-key="diagonal"]')
    assert not opened.run("return document.querySelector('[data-key=diagonal]').checked")


def test_the_same_word_in_two_texts(opened, model, tokenizer) -> None:
    opened.view("comparison")
    assert opened.texts(".said") == [FIRST, SECOND]
    hidden = [trace(model, tokenizer(text, return_tensors="pt"))["bert.encoder.layer.2"][0] for text in (FIRST, SECOND)]
    opened.slide('[data-key="slide-depth"]', 3)
    words = opened.texts(".words li")
    assert [word.split()[0] for word in words] == ["the", "the", "bank", "the", "the"]
    expected = torch.cosine_similarity(hidden[0][5], hidden[1][7], dim=0)
    assert_near(numbers([words[2].split()[-1]]), [expected])
    opened.click('[data-key="word2"]')
    assert opened.texts(".card:last-child h2 .piece") == ["bank", "bank"]
    opened.view("tokens")
    opened.click('[data-key="run-1"]')
    assert opened.texts(".token-table thead .piece") == tokenizer(SECOND).tokens()
