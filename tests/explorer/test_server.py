"""The live page: what it refuses, and that its answers are those of edit() in Python."""

import http.client
import json
import socket
from typing import Any

import pytest
import torch

from minibert import edit, trace, zero_head
from minibert.explorer.packing import unpack
from minibert.random_normal import standard_normal
from tests.explorer.conftest import FIRST, HOSTILE, SECOND
from tests.support.browser import numbers

uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed (make test does)")


def ask(port: int, path: str, question: Any = None, **headers: str) -> tuple[int, Any]:
    """Status and answer; a question that is not bytes is sent as JSON."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    body = None if question is None else question if isinstance(question, bytes) else json.dumps(question)
    named = {"Content-Type": "application/json"} if body is not None else {}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("POST" if body is not None else "GET", path, body, named)
    answer = connection.getresponse()
    content = answer.read().decode()
    connection.close()
    return answer.status, json.loads(content) if "json" in str(answer.getheader("Content-Type")) else content


def test_answers_only_under_its_own_name(port) -> None:
    assert ask(port, "/")[0] == 200
    assert ask(port, "/", Host=f"localhost:{port}")[0] == 200
    for host in (
        "evil.example",
        f"evil.example:{port}",
        "127.0.0.1",
        f"127.0.0.1:{port + 1}",
        "",
        f"127.0.0.1.evil:{port}",
    ):
        status, answer = ask(port, "/", Host=host)
        assert (status, list(answer)) == (403, ["error"]), host


def test_answers_no_other_site(port) -> None:
    question = {"texts": [FIRST]}
    ours = f"http://127.0.0.1:{port}"
    assert ask(port, "/runs", question, Origin=ours, Sec_Fetch_Site="same-origin")[0] == 200
    assert ask(port, "/runs", question)[0] == 200  # no browser: curl
    for origin in (
        "https://evil.example",
        "null",
        f"https://127.0.0.1:{port}",
        ours + ".evil.example",
        "http://127.0.0.1:1",
    ):
        assert ask(port, "/runs", question, Origin=origin)[0] == 403, origin
        assert ask(port, "/", Origin=origin)[0] == 403, origin
    assert ask(port, "/runs", question, Origin=ours, Sec_Fetch_Site="cross-site")[0] == 403
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""):
        assert ask(port, "/runs", question, Content_Type=kind)[0] == 415  # what a form of another site could send
    assert ask(port, "/runs")[0] == 405
    assert ask(port, "/elsewhere")[0] == 404


def test_listens_at_home_only(port) -> None:
    addresses = {info[4][0] for info in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)} - {"127.0.0.1"}
    for address in addresses:
        if not str(address).startswith("127."):
            with pytest.raises(OSError), socket.create_connection((str(address), port), timeout=2):
                pass


def test_tells_the_browser_to_keep_it_to_itself(port) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    answer = connection.getresponse()
    policy = str(answer.getheader("Content-Security-Policy"))
    assert "connect-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert answer.getheader("Cross-Origin-Resource-Policy") == "same-origin"
    assert answer.getheader("Cache-Control") == "no-store"
    answer.read()
    connection.close()


@pytest.mark.parametrize(
    ("path", "question", "sentence"),
    [
        ("/runs", b"{", "JSON object"),
        ("/runs", b"[" * 100_000, "JSON object"),
        ("/runs", b"\xff", "JSON object"),
        ("/runs", [], "JSON object"),
        ("/runs", {}, "list of one or two texts"),
        ("/runs", {"texts": ["a", "b", "c"]}, "list of one or two texts"),
        ("/runs", {"texts": [5]}, "list of one or two texts"),
        ("/runs", {"texts": [" "]}, "text is empty"),
        ("/runs", {"texts": ["\ud800"]}, "lone surrogate"),
        ("/runs", {"texts": ["a" * 20_001]}, "20001 characters"),
        ("/edits", {"texts": [FIRST], "heads": [[3, 0]]}, "layer is a whole number from 0 to 2"),
        ("/edits", {"texts": [FIRST], "heads": [[0, True]]}, "head is a whole number from 0 to 3"),
        ("/edits", {"texts": [FIRST], "heads": "all"}, "list of pairs"),
        ("/edits", {"texts": [FIRST], "noise": {"std": -1}}, "number from 0 to 100"),
        ("/edits", {"texts": [FIRST], "noise": {"std": 1e400}}, "number from 0 to 100"),
        ("/edits", {"texts": [FIRST], "noise": {"std": 1, "position": 99}}, "position is a whole number"),
        ("/edits", {"texts": [FIRST], "noise": {"std": 1, "seed": 2**40}}, "seed is a whole number"),
        ("/sensitivity", {"text": None}, "list of one or two texts"),
    ],
)
def test_bad_questions_are_sentences(port, path, question, sentence) -> None:
    status, answer = ask(port, path, question)
    assert status == 400 and sentence in answer["error"]


def test_large_questions_are_not_read(port) -> None:
    status, answer = ask(port, "/runs", b" " * (300 << 10))
    assert (status, answer["error"]) == (413, "A request has 262144 bytes at most.")


def test_a_missing_head_is_edit_with_zero_head(port, model, tokenizer) -> None:
    status, answer = ask(port, "/edits", {"texts": [FIRST, SECOND], "heads": [[1, 2], [1, 0]]})
    assert status == 200
    for text, run in zip((FIRST, SECOND), answer["runs"], strict=True):
        inputs = tokenizer(text, return_tensors="pt")
        original = trace(model, inputs)
        with edit(model, "bert.encoder.layer.1.attention.self.context_heads", zero_head(0, 2)):
            found = trace(model, inputs)
        layers = [f"bert.encoder.layer.{number}" for number in range(3)]
        hidden = torch.stack([found[name][0] for name in ("bert.embeddings", *layers)])
        assert torch.equal(unpack(run["tensors"]["hidden"]), hidden)
        before = torch.stack([original[name][0] for name in ("bert.embeddings", *layers)])
        expected = (hidden - before).norm(dim=-1) / before.norm(dim=-1)
        torch.testing.assert_close(unpack(run["tensors"]["relative_change"]), expected)
        assert bool((expected[:2] == 0).all()) and bool((expected[2:] > 0).all())


def test_noise_is_edit_at_the_place(port, model, tokenizer) -> None:
    noise = {"std": 0.5, "position": 5, "depth": 1, "seed": 3}
    _, answer = ask(port, "/edits", {"texts": [FIRST], "noise": noise})
    drawn = standard_normal(3, 0, 24).float()

    def add(value: torch.Tensor) -> torch.Tensor:
        changed = value.clone()
        changed[0, 5] += 0.5 * drawn
        return changed

    inputs = tokenizer(FIRST, return_tensors="pt")
    with edit(model, "bert.encoder.layer.0", add):
        found = trace(model, inputs)
    for layer in range(3):
        expected = found[f"bert.encoder.layer.{layer}"][0]
        assert torch.equal(unpack(answer["runs"][0]["tensors"]["hidden"])[layer + 1], expected)
    assert unpack(answer["runs"][0]["tensors"]["relative_change"])[0].count_nonzero() == 0
    _, none = ask(port, "/edits", {"texts": [FIRST], "noise": noise | {"std": 0}})
    assert unpack(none["runs"][0]["tensors"]["relative_change"]).count_nonzero() == 0


def test_sensitivity_without_a_head(port, model, tokenizer) -> None:
    from minibert.lens.noise import sensitivity

    _, answer = ask(port, "/sensitivity", {"text": FIRST, "heads": [[0, 1]]})
    with edit(model.bert, "encoder.layer.0.attention.self.context_heads", zero_head(1)):
        expected = sensitivity(model.bert, tokenizer(FIRST, return_tensors="pt"), samples=4).maps
    assert torch.equal(unpack(answer["tensors"]["single"]), expected.float())
    assert answer["heads"] == [[0, 1]]


@pytest.fixture
def live(browser, port):
    browser.colors("light")
    browser.open(f"http://127.0.0.1:{port}/", allowed=f"http://127.0.0.1:{port}/")
    return browser


def test_knocking_a_head_out_in_the_browser(live, model, tokenizer) -> None:
    live.view("layer")
    live.slide('[data-key="slide-layer"]', 1)
    live.slide('[data-key="slide-head"]', 2)
    live.click('[data-key="ablate"]')
    live.wait(lambda: live.count('[data-heat="relative-change"]') == 1)
    live.click('[data-token="5"]')
    live.click('[data-step="output"]')
    inputs = tokenizer(FIRST, return_tensors="pt")
    with edit(model, "bert.encoder.layer.1.attention.self.context_heads", zero_head(2)):
        edited = trace(model, inputs)["bert.encoder.layer.1"][0, 5, :6]
    original = trace(model, inputs)["bert.encoder.layer.1"][0, 5, :6]
    for show, expected in (("edited", edited), ("original", original), ("change", edited - original)):
        live.click(f'[data-key="show-{show}"]')
        shown = numbers(live.texts(".numbers tbody td:not(.statistic)"))[:6]
        torch.testing.assert_close(torch.tensor(shown), expected, rtol=0, atol=6e-5)
    for number in range(1, 7):
        live.press(str(number))
        assert live.count(".card") >= 2
    live.click('[data-key="clear"]')
    live.wait(lambda: live.count('[data-heat="relative-change"]') == 0)


def test_the_noise_slider_in_the_browser(live) -> None:
    live.view("hidden")
    live.click('[data-token="4"]')

    def change_at(std: float) -> str:
        live.slide('[data-key="noise"]', std)
        live.wait(
            lambda: live.count('.live[aria-busy="true"]') == 0 and live.count('[data-heat="relative-change"]') == 1
        )
        live.run("document.activeElement.blur()")
        live.focus('[data-key="relative-change"]')
        live.press("\ue015", "\ue013")
        return live.spoken()

    small, large = change_at(0.5), change_at(2.5)
    assert small.startswith("the, hidden state 0 (embeddings): changed by ")
    shares = [float(said.split()[-1].rstrip("%")) for said in (small, large)]
    assert shares[1] == pytest.approx(5 * shares[0], rel=2e-3)
    assert live.text(".where").startswith("2.500 at the")


def test_another_text_in_the_browser(live, tokenizer) -> None:
    field = live.driver.find_element("css selector", '[data-key="text0"]')
    field.clear()
    field.send_keys(HOSTILE)
    live.click('[data-key="run"]')
    live.wait(lambda: live.texts(".token .piece") == tokenizer(HOSTILE).tokens())
    assert live.run("return document.querySelectorAll('script, img').length") == 2
    field.clear()
    field.send_keys("the bank")
    second = live.driver.find_element("css selector", '[data-key="text1"]')
    second.send_keys("the river\n")
    live.wait(lambda: live.count("#tab-comparison") == 1)
    live.view("sensitivity")
    live.wait(lambda: live.count('[data-heat="sensitivity"]') == 1)


def test_a_refused_text_in_the_browser(live) -> None:
    live.driver.find_element("css selector", '[data-key="text0"]').clear()
    live.click('[data-key="run"]')
    live.wait(lambda: live.text(".message") == "The text is empty: there is nothing to look at.")
    assert live.count(".token") > 2
    (logged,) = live.complaints()  # the browser's own line about a status of 400
    assert "/runs" in logged and "400" in logged


def test_masking_with_one_click_in_the_browser(live, model, tokenizer) -> None:
    from minibert.lens.logit_lens import logit_lens

    live.view("predictions")
    assert live.texts(".seen button")[4] == "visible"
    live.click('[data-key="mask5"]')  # one click, whichever token is chosen
    live.wait(lambda: live.texts(".seen button")[4] == "masked")
    assert live.text('[data-token="5"] .piece') == "[MASK]" and live.text('[data-token="5"] s') == "bank"
    live.click('[data-token="5"]')
    expected = logit_lens(model, tokenizer(FIRST.replace("bank", "[MASK]"), return_tensors="pt"), k=5)
    shown = numbers(live.texts(".guesses:last-child .bar-number"))
    torch.testing.assert_close(torch.tensor(shown), expected.probabilities[3, 5], rtol=0, atol=6e-5)
    live.view("tokens")
    masked = tokenizer(FIRST.replace("bank", "[MASK]"))["input_ids"]
    assert [int(x) for x in live.texts(".token-table tbody tr:first-child td")] == masked
    live.press("m")
    live.wait(lambda: live.text('[data-token="5"] .piece') == "bank")


def test_two_texts_pair_the_shared_word_when_they_are_typed(live) -> None:
    second = live.driver.find_element("css selector", '[data-key="text1"]')
    second.send_keys("She put the money in the bank.\n")
    live.wait(lambda: live.count("#tab-comparison") == 1)
    live.view("comparison")
    assert live.texts(".card:last-child h2 .piece") == ["bank", "bank"]
    assert "Its positions differ: position 5 in text 1 and 7 in text 2" in live.text(".positions")


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ({}, "list of at most 64"),
        ([{"layer": 0, "head": 0, "token": 0}], "list of at most 64"),
        ([{"layer": 3, "head": 0, "token": 0, "probabilities": [1.0, 0, 0, 0]}], "layer is a whole number from 0 to 2"),
        ([{"layer": 0, "head": 0, "token": 4, "probabilities": [1.0, 0, 0, 0]}], "token is a whole number from 0 to 3"),
        ([{"layer": 0, "head": 0, "token": 0, "probabilities": [1.0]}], "4 numbers from 0 to 1 that sum to 1"),
        ([{"layer": 0, "head": 0, "token": 0, "probabilities": [0.5, 0, 0, 0]}], "4 numbers from 0 to 1"),
        ([{"layer": 0, "head": 0, "token": 0, "probabilities": [2.0, -1.0, 0, 0]}], "4 numbers from 0 to 1"),
        ([{"layer": 0, "head": 0, "token": 0, "probabilities": [True, 0, 0, 0]}], "4 numbers from 0 to 1"),
        ([{"layer": 0, "head": 0, "token": 0, "probabilities": [float("nan"), 1, 0, 0]}], "4 numbers from 0 to 1"),
    ],
)
def test_rows_of_attention_are_validated(port, rows, sentence) -> None:
    status, answer = ask(port, "/edits", {"texts": ["he sat"], "attention": rows})
    assert status == 400 and sentence in answer["error"]


def test_a_row_of_attention_is_set_as_edit_does(port, model, tokenizer) -> None:
    row = {"layer": 1, "head": 2, "token": 0, "probabilities": [0.0, 0.25, 0.75, 0.0]}
    status, answer = ask(port, "/edits", {"texts": ["he sat"], "attention": [row]})
    assert status == 200

    def change(value: torch.Tensor) -> torch.Tensor:
        value = value.clone()
        value[0, 2, 0] = torch.tensor([0.0, 0.25, 0.75, 0.0])
        return value

    with edit(model, "bert.encoder.layer.1.attention.self.probabilities", change):
        expected = trace(model, tokenizer("he sat", return_tensors="pt"))
    tensors = answer["runs"][0]["tensors"]
    assert unpack(tensors["probabilities"])[1, 2, 0].tolist() == [0.0, 0.25, 0.75, 0.0]
    assert torch.equal(unpack(tensors["hidden"])[3], expected["bert.encoder.layer.2"][0])


def test_tells_how_far_the_maps_of_a_page_are(model, tokenizer) -> None:
    from minibert.explorer.live import Live

    live = Live(model, tokenizer, "tiny", samples=2)
    assert live.progress({"page": "mine"}) == {"done": 0, "total": 0}
    live.sensitivity({"page": "mine", "text": "he sat"})
    assert live.progress({"page": "mine"}) == {"done": 16, "total": 16}  # 4 tokens, 2 samples, in 2 modes
    assert live.progress({"page": "another"}) == live.progress({}) == {"done": 0, "total": 0}
