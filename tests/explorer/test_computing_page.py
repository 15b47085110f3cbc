"""The page that computes, driven from file:// without a network: all that the served page does, it does alone.

The browser fixture holds that there is no error on the console and no request to anywhere.
"""

import os
import re
import time
from pathlib import Path

import pytest
import torch

from minibert import BertForPreTraining, BertModel, edit, explore, logit_lens, trace, zero_head
from minibert.errors import InputError
from minibert.explorer.sentences import words
from minibert.explorer.weights import pack_weights, with_weights
from tests.explorer.conftest import FIRST, HOSTILE, SECOND
from tests.support.browser import Browser, numbers, programs

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def path(model, tokenizer, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("computing") / "page.html"
    explore(model, tokenizer, FIRST, path=path, name="tiny", live=True, samples=2)
    return path


@pytest.fixture
def offline(browser, path):
    """The page, opened where there is no network."""
    browser.driver.execute_cdp_cmd("Network.enable", {})
    cut = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", cut)
    browser.allowed = ("file://", "blob:null/")
    browser.open(path.as_uri(), "file://")
    browser.allowed = ("file://", "blob:null/")
    yield browser
    browser.driver.execute_cdp_cmd("Network.emulateNetworkConditions", cut | {"offline": False})


def type_text(browser, text: str, field: int = 0) -> None:
    """Type into a field as a person does; the text that stood there is replaced."""
    browser.run("document.querySelector(arguments[0]).select()", f"[data-key=text{field}]")
    browser.focus(f"[data-key=text{field}]")
    browser.driver.find_element("css selector", f"[data-key=text{field}]").send_keys(text)


def tokens(browser) -> list[str]:
    return browser.texts(".token .piece")


def submit(browser, text: str, expected: int, field: int = 0) -> None:
    """Type a text and press Enter; wait for its number of tokens."""
    type_text(browser, text, field)
    browser.press("\ue007")
    browser.wait(lambda: len(tokens(browser)) == expected)


def switch(browser, language: str) -> None:
    """Choose a language in the header."""
    browser.run(
        "const box = document.querySelector('[data-key=language]'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('change', {bubbles: true}))",
        language,
    )


def idle(browser) -> None:
    browser.wait(lambda: not browser.count(".live[aria-busy]"))


def test_opens_with_its_own_first_run(offline) -> None:
    assert tokens(offline) == ["[CLS]", "he", "sat", "on", "the", "bank", "of", "the", "river", ".", "[SEP]"]
    assert offline.texts(".tab")[-1].endswith("Sensitivity")
    assert "exactly" not in offline.text(".footer") and "float16" in offline.text(".footer")
    assert re.search(r"by at most [\d.e−]+% of its norm", offline.text(".footer"))


def test_typing_runs_another_text(offline) -> None:
    submit(offline, "the bank", 4)
    assert tokens(offline) == ["[CLS]", "the", "bank", "[SEP]"]
    type_text(offline, "the river bank", field=1)
    offline.press("\ue007")
    offline.wait(lambda: offline.count("#tab-comparison") == 1)
    offline.view("comparison")
    assert offline.texts(".words button .piece")[:2] == ["the", "bank"]
    offline.wait(lambda: "position 2 in text 1 and 3 in text 2" in offline.text(".positions"))
    offline.click("[data-key=matched-true]")
    assert "shifted by 1" in offline.text(".positions")


def test_noise_changes_what_comes_after_it(offline) -> None:
    offline.slide("[data-key=noise]", 1.0)
    offline.wait(lambda: "downstream" in offline.text("#view"))
    assert offline.texts("[data-key=show-edited]") == ["Edited"]
    offline.click("[data-key=clear]")
    offline.wait(lambda: "downstream" not in offline.text("#view"))


def test_an_ablated_head_has_the_effect_it_has_in_python(offline, model, tokenizer) -> None:
    offline.view("layer")
    offline.slide("[data-key=slide-layer]", 1)
    offline.slide("[data-key=slide-head]", 2)
    offline.click("[data-key=ablate]")
    offline.wait(lambda: offline.count('[data-heat="relative-change"]') == 1)
    offline.click('[data-token="5"]')
    offline.click('[data-step="output"]')
    same, inputs = with_weights(model, pack_weights(model)), tokenizer(FIRST, return_tensors="pt")
    original = trace(same, inputs)["bert.encoder.layer.1"][0, 5, :6]
    with edit(same, "bert.encoder.layer.1.attention.self.context_heads", zero_head(2)):
        edited = trace(same, inputs)["bert.encoder.layer.1"][0, 5, :6]
    for show, expected in (("edited", edited), ("original", original), ("change", edited - original)):
        offline.click(f"[data-key=show-{show}]")
        shown = numbers(offline.texts(".numbers tbody td:not(.statistic)"))[:6]
        torch.testing.assert_close(torch.tensor(shown), expected, rtol=0, atol=6e-5)


def test_a_row_of_attention_is_set_by_hand(offline) -> None:
    offline.view("attention")
    offline.click("[data-key=row-even]")
    offline.wait(lambda: offline.count(".chip") == 1)
    offline.wait(lambda: offline.count("[data-key=row-restore]") == 1)
    assert offline.run("return document.querySelector('[data-key=row-typed]').value").split() == ["0.09091"] * 11
    offline.run("document.querySelector('[data-key=row-typed]').value = '1 x'")
    offline.click("[data-key=row-set]")
    assert "at most 11 numbers" in offline.text("[role=alert]:not(.live .message)")
    offline.run("document.querySelector('[data-key=row-typed]').value = '0, 3, 1'")
    offline.click("[data-key=row-set]")
    offline.wait(
        lambda: offline.run("return document.querySelector('[data-key=row-typed]').value").startswith("0 0.75")
    )
    offline.click("[data-key=row-restore]")
    offline.wait(lambda: offline.count(".chip") == 0)


def test_a_row_that_is_being_typed_outlives_what_is_drawn_meanwhile(offline) -> None:
    offline.view("attention")
    offline.focus("[data-key=row-typed]")
    offline.press("1", " ", "3", "\ue012")  # the last one: to the left
    offline.slide("[data-key=noise]", 1.0)
    offline.wait(lambda: offline.count("[data-key=show-edited]") == 1)
    idle(offline)
    offline.press("2")
    assert offline.run("return document.activeElement.value") == "1 23"
    offline.click('[data-token="5"]')
    assert offline.run("return document.querySelector('[data-key=row-typed]').value") == ""


def test_a_slider_that_moves_shows_its_effect_and_ends_with_the_newest(offline) -> None:
    """One request at a time: a drag of many steps is answered by few of them, and the last is among these."""
    offline.run(
        "window.asked = []; const post = Worker.prototype.postMessage;"
        "Worker.prototype.postMessage = function (message) {"
        "  if (message.name) asked.push(message.request.noise.std);"
        "  post.call(this, message);"
        "};"
        "const s = document.querySelector('[data-key=noise]');"
        "for (let i = 1; i <= 20; i++) { s.value = i / 10; s.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    offline.wait(lambda: offline.run("return asked.length") == 2)
    idle(offline)
    assert offline.run("return asked") == [0.1, 2.0]
    assert "2.000" in offline.text(".where") and offline.count("[data-key=show-edited]") == 1


def test_a_page_left_alone_uses_no_processor(offline) -> None:
    """After a text, an edit and maps that were stopped, no timer and no frame waits, and the worker rests."""
    submit(offline, " ".join(["the bank of the river"] * 25), 127)
    offline.slide("[data-key=noise]", 1.0)
    offline.wait(lambda: offline.count("[data-key=show-edited]") == 1)
    offline.view("sensitivity")
    offline.wait(lambda: re.search(r"\d+ of 508 runs", offline.text(".measuring")))
    offline.click("[data-key=stop]")
    offline.wait(lambda: "Stopped" in offline.text("#view"))
    offline.view("predictions")
    offline.wait(lambda: offline.count(".guesses") == 4)
    offline.run("document.activeElement.blur()")

    def worked() -> tuple[float, int]:
        """Seconds of the processes that show pages; how often something of this page was drawn."""
        fields = [(process / "stat").read_text().rsplit(")", 1)[1].split() for process in offline.renderers()]
        ticks = sum(int(user) + int(system) for user, system in (each[11:13] for each in fields))
        metrics = offline.driver.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
        drawn = sum(entry["value"] for entry in metrics if entry["name"] in ("LayoutCount", "RecalcStyleCount"))
        return ticks / os.sysconf("SC_CLK_TCK"), int(drawn)

    offline.driver.execute_cdp_cmd("Performance.enable", {})
    time.sleep(0.5)
    offline.run(
        "window.later = 0;"
        "for (const name of ['setTimeout', 'setInterval', 'requestAnimationFrame', 'requestIdleCallback']) {"
        "  const own = window[name]; window[name] = (...given) => { window.later++; return own(...given); };"
        "}"
    )
    seconds, drawn = worked()
    time.sleep(2)
    after, drawn_after = worked()
    assert offline.run("return window.later") == 0
    assert drawn_after == drawn
    assert after - seconds < 0.1


def test_masks_are_typed_and_clicked(offline, model, tokenizer) -> None:
    offline.view("predictions")
    submit(offline, "he sat on the [MASK] .", 8)
    offline.click('[data-token="5"]')
    offline.wait(lambda: offline.count(".guesses") == 4)
    same = with_weights(model, pack_weights(model))

    def guesses(text: str) -> torch.Tensor:
        return logit_lens(same, tokenizer(text, return_tensors="pt"), k=5).probabilities[3, 5]

    shown = numbers(offline.texts(".guesses:last-child .bar-number"))
    torch.testing.assert_close(torch.tensor(shown), guesses("he sat on the [MASK] ."), rtol=0, atol=6e-5)
    offline.click("[data-key=mask2]")
    offline.wait(lambda: tokens(offline)[2] == "[MASK]" and offline.count(".guesses") == 4)
    shown = numbers(offline.texts(".guesses:last-child .bar-number"))
    torch.testing.assert_close(torch.tensor(shown), guesses("he [MASK] on the [MASK] ."), rtol=0, atol=6e-5)
    offline.click("[data-key=mask2]")
    offline.wait(lambda: tokens(offline)[2] == "sat")


def test_sensitivity_shows_its_progress_and_stops(offline) -> None:
    submit(offline, " ".join(["the bank of the river"] * 25), 127)
    offline.view("sensitivity")
    offline.wait(lambda: re.search(r"\d+ of 508 runs", offline.text(".measuring")))
    offline.click("[data-key=stop]")
    offline.wait(lambda: "Stopped" in offline.text("#view"))
    submit(offline, "he sat", 4)
    offline.wait(lambda: offline.count("#view canvas") > 0)
    assert "2 samples" in offline.text("#view")


def open_link(browser, path: Path, fragment: str) -> None:
    browser.driver.get("about:blank")
    browser.open(f"{path.as_uri()}#{fragment}")
    browser.allowed = ("file://", "blob:null/")
    idle(browser)


def test_an_edit_is_answered_before_the_components_of_its_text(offline, path) -> None:
    """The worker answers an edit before what follows of the text: the hidden states wait for both."""
    hold = (
        "window.held = [];"
        "const own = Object.getOwnPropertyDescriptor(Worker.prototype, 'onmessage');"
        "Object.defineProperty(Worker.prototype, 'onmessage', {set(handle) {"
        "  own.set.call(this, (event) => event.data.answer?.runs?.[0].explained_variance && !window.free"
        "    ? window.held.push(() => handle(event)) : handle(event));"
        "}});"
    )
    given = offline.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": hold})
    open_link(offline, path, "view=hidden&text1=the+river+bank&heads=1.2")
    offline.wait(lambda: offline.count('[data-heat="relative-change"]') == 1)
    assert "Being computed" in offline.text("#view")
    offline.run("window.free = true; window.held.forEach((handle) => handle())")
    offline.wait(lambda: "variance" in offline.text("#view"))
    offline.slide("[data-key=noise]", 1.0)  # edits are still answered
    offline.wait(lambda: offline.text(".where").startswith("1.000") and not offline.count(".live[aria-busy]"))
    offline.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", given)


def test_a_link_without_the_second_text(browser, tokenizer, model, tmp_path) -> None:
    explore(model, tokenizer, FIRST, SECOND, tmp_path / "page.html", live=True)
    open_link(browser, tmp_path / "page.html", "")
    browser.run("document.querySelector('[data-key=text1]').value = ''")
    submit(browser, "the bank", 4)
    assert browser.count("#tab-comparison") == 0
    open_link(browser, tmp_path / "page.html", browser.run("return location.hash.slice(1)"))
    assert tokens(browser) == ["[CLS]", "the", "bank", "[SEP]"]
    assert browser.count("#tab-comparison") == 0


def test_noise_of_a_link_and_of_the_other_text(browser, tokenizer, model, tmp_path) -> None:
    explore(model, tokenizer, FIRST, SECOND, tmp_path / "page.html", live=True)
    open_link(browser, tmp_path / "page.html", "run=1&token=7&noise=1_7_2_0")

    def shown() -> list[str]:
        return [
            browser.run(f"return document.querySelector('[data-key={key}]').value") for key in ("noise", "noise-depth")
        ]

    browser.wait(lambda: browser.text(".where") == "1.000 at bank (7)")
    assert shown() == ["1", "2"]
    browser.run(
        "const s = document.querySelector('[data-key=language]'); s.value = 'ko'; s.dispatchEvent(new Event('change'))"
    )
    assert shown() == ["1", "2"]
    browser.click("[data-key=run-0]")  # its token 7 is another word, and has no noise
    assert shown() == ["0", "2"] and "(5)" in browser.text(".where")


def test_the_place_to_fill_is_chosen(offline) -> None:
    submit(offline, "he sat on the [MASK] .", 8)
    assert offline.text(".token.chosen .piece") == "[MASK]"


def test_a_cut_text_says_so_beside_its_tokens(offline) -> None:
    submit(offline, " ".join(["bank"] * 400), 320)
    assert offline.text(".cut") == "The text has 402 tokens; this model reads 320 at most, so it was cut."
    height = offline.run("return document.querySelector('[data-key=text0]').offsetHeight")
    assert height < 250
    submit(offline, "the bank", 4)
    assert offline.run("return document.querySelector('.cut').hidden")


def test_a_pair_is_read_at_once(offline, path) -> None:
    """Segment 1 for the second text; the switch outlives the language, and stands in the link."""
    submit(offline, "he sat", 4)
    offline.click("[data-key=pair]")  # nothing to do without a second text
    type_text(offline, "the bank", field=1)
    offline.press("\ue007")
    offline.wait(lambda: tokens(offline) == ["[CLS]", "he", "sat", "[SEP]", "the", "bank", "[SEP]"])
    assert offline.texts(".token-table tbody tr:nth-child(2) td") == ["0"] * 4 + ["1"] * 3
    assert offline.count("#tab-comparison") == 0
    switch(offline, "ko")
    assert offline.run("return document.querySelector('[data-key=pair]').checked")
    link = offline.run("return location.hash.slice(1)")
    assert "pair=1" in link
    open_link(offline, path, link)
    offline.wait(lambda: len(tokens(offline)) == 7)
    assert offline.run("return document.querySelector('[data-key=text1]').value") == "the bank"
    offline.click("[data-key=pair]")
    offline.wait(lambda: offline.count("#tab-comparison") == 1)
    assert "pair" not in offline.run("return location.hash")


def test_the_page_of_a_pair(browser, model, tokenizer, tmp_path) -> None:
    """What --pair writes; a link takes the pair apart."""
    torch.manual_seed(8)
    trained = BertForPreTraining(model.config).eval()
    explore(trained, tokenizer, "he sat", "the bank", tmp_path / "page.html", pair=True, live=True)
    open_link(browser, tmp_path / "page.html", "view=predictions")
    same = with_weights(trained, pack_weights(trained))
    with torch.no_grad():
        logits = same(**tokenizer("he sat", "the bank", return_tensors="pt")).seq_relationship_logits
    expected = logits.softmax(dim=-1)[0, 0].item()
    assert abs(numbers(browser.texts(".follows b"))[0] - expected) < 6e-5
    browser.slide("[data-key=noise]", 2.0)
    browser.wait(lambda: abs(numbers(browser.texts(".follows b"))[0] - expected) > 6e-4)
    open_link(browser, tmp_path / "page.html", "pair=0")
    browser.wait(lambda: browser.count("#tab-comparison") == 1)
    explore(trained, tokenizer, "he sat", "the bank", tmp_path / "static.html", pair=True)
    browser.open((tmp_path / "static.html").as_uri() + "#view=predictions")
    with torch.no_grad():
        logits = trained(**tokenizer("he sat", "the bank", return_tensors="pt")).seq_relationship_logits
    assert abs(numbers(browser.texts(".follows b"))[0] - logits.softmax(dim=-1)[0, 0].item()) < 6e-5


def test_pairs_that_are_none(model, tokenizer) -> None:
    with pytest.raises(InputError, match="A pair is two texts"):
        explore(model, tokenizer, FIRST, pair=True)
    with pytest.raises(InputError, match="The second text is empty; leave it out"):
        explore(model, tokenizer, FIRST, " ")


def test_what_went_wrong_is_said_in_the_language_that_is_chosen(offline) -> None:
    type_text(offline, "  ")
    offline.press("\ue007")
    for language in ("en", "ko", "zh"):
        switch(offline, language)
        offline.wait(lambda language=language: offline.text(".live .message") == words(language)["error.empty"])
    submit(offline, "the bank", 4)
    assert offline.text(".live .message") == ""


def test_a_row_of_the_other_text_is_given_back_alone(browser, tokenizer, model, tmp_path) -> None:
    explore(model, tokenizer, FIRST, SECOND, tmp_path / "page.html", live=True)
    rows = "1_2_3_" + "_".join(["0.5", "0.5", *["0"] * 8])
    open_link(browser, tmp_path / "page.html", f"run=1&token=7&noise=1_7_2_0&rows={rows}")
    browser.wait(lambda: browser.count(".chip") == 1)
    browser.click("[data-key=run-0]")
    browser.click(".chip")
    browser.wait(lambda: browser.count(".chip") == 0)
    idle(browser)
    browser.click("[data-key=run-1]")
    assert browser.text(".where") == "1.000 at bank (7)"
    assert browser.run("return document.querySelector('[data-key=noise]').value") == "1"


def test_the_third_card_of_attention_is_as_wide_as_both(offline) -> None:
    offline.view("attention")
    widths = offline.run("return [...document.querySelectorAll('.duo > .card')].map(c => c.offsetWidth)")
    assert len(widths) == 3 and widths[2] >= widths[0] + widths[1]


@pytest.mark.parametrize("language", ["en", "ko", "zh"])
def test_examples_are_in_the_languages_of_the_vocabulary(browser, demo_page, language) -> None:
    """Whatever the language of the page: a sentence, a mask, a word in two sentences, a pair, in all three."""
    examples = words("examples")
    assert list(examples) == ["en", "ko", "zh"]
    open_link(browser, demo_page, f"lang={language}")
    names = [words(language)[f"language.{code}"] for code in examples]
    for said in (browser.text(".examples summary"), browser.text(".model")):
        assert re.search(".+".join(names), said)
    browser.click(".examples summary")
    assert browser.texts(".examples span") == names
    own = examples[language]

    def shown() -> list[str]:
        return [browser.run(f"return document.querySelector('[data-key=text{index}]').value") for index in (0, 1)]

    for kind, view in (("sentence", "tokens"), ("mask", "predictions"), ("two", "comparison"), ("pair", "predictions")):
        browser.click(f"[data-key=example-{language}-{kind}]")
        idle(browser)
        assert [text for text in shown() if text] == own[kind]
        assert browser.run("return document.querySelector('#view').dataset.view") == view
        if kind == "mask":
            browser.wait(lambda: browser.count(".guesses") == 5)
            assert browser.text(".token.chosen .piece") == "[MASK]"
        elif kind == "two":
            assert {"en": "left", "ko": "배", "zh": "行"}[language] in browser.texts(".words button .piece")
        elif kind == "pair":
            assert numbers(browser.texts(".follows b"))[0] > 0.2


def test_another_vocabulary_has_no_examples_of_languages_that_it_lacks(offline) -> None:
    assert offline.count(".examples") == 0 and "vocabulary of" not in offline.text(".model")


def test_a_text_that_the_page_would_refuse_makes_no_page(model, tokenizer, tmp_path) -> None:
    with pytest.raises(InputError, match="20001 characters; the live page takes 20000"):
        explore(model, tokenizer, "a" * 20_001, path=tmp_path / "page.html", live=True)
    assert not list(tmp_path.iterdir())


def test_hostile_texts_are_text(offline) -> None:
    type_text(offline, f"{HOSTILE} <img src=x onerror=alert(1)>")
    offline.press("\ue007")
    offline.wait(lambda: "<" in tokens(offline) or HOSTILE in tokens(offline))
    for view in ("tokens", "layer", "attention", "hidden", "predictions"):
        offline.view(view)
    assert offline.count("#page img") == 0 and offline.count("#page script") == 0


def test_long_texts_are_shown_in_less_detail_and_cut(offline) -> None:
    submit(offline, " ".join(["bank"] * 298), 300)
    offline.view("attention")
    submit(offline, " ".join(["bank"] * 400), 320)
    assert "402 tokens; this model reads 320" in offline.text(".footer")


def test_an_empty_text_is_refused_with_a_sentence(offline) -> None:
    type_text(offline, "  ")
    offline.press("\ue007")
    offline.wait(lambda: "empty" in offline.text(".live .message"))
    assert len(tokens(offline)) == 11


def test_without_a_head_that_predicts(browser, tokenizer, model, tmp_path) -> None:
    torch.manual_seed(3)
    explore(BertModel(model.config).eval(), tokenizer, FIRST, SECOND, tmp_path / "page.html", live=True)
    browser.open((tmp_path / "page.html").as_uri())
    browser.allowed = ("file://", "blob:null/")
    browser.view("predictions")
    browser.wait(lambda: "no head that predicts words" in browser.text("#view"))


def test_the_policy_is_strict(path) -> None:
    html = path.read_text(encoding="utf-8")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert rules["worker-src"] == "blob:" and rules["img-src"] == "blob: data:"
    assert re.fullmatch(r"'sha256-[\w+/=]+' 'wasm-unsafe-eval'", rules["script-src"])
    assert "unsafe-inline" not in policy and "'unsafe-eval'" not in policy


def test_the_worker_asks_nobody_either(offline) -> None:
    """The worker inherits the page's policy: no request, no eval, no other script."""
    asked = offline.driver.execute_async_script(
        """
        const done = arguments[0];
        const tried = `
          const outcome = {};
          const attempts = {
            fetch: () => fetch("https://example.org/"),
            file: () => fetch("file:///etc/hostname"),
            eval: async () => (0, eval)("1"),
            import: async () => importScripts("data:text/javascript,1"),
          };
          (async () => {
            for (const [name, attempt] of Object.entries(attempts))
              outcome[name] = await attempt().then(() => "allowed", () => "refused");
            postMessage(outcome);
          })();`;
        const worker = new Worker(URL.createObjectURL(new Blob([tried])));
        worker.onmessage = ({ data }) => done(data);
        """
    )
    assert asked == dict.fromkeys(("fetch", "file", "eval", "import"), "refused")
    offline.complaints()  # of those attempts
    offline.driver.get_log("performance")


@pytest.fixture
def alone(chromium):
    """A browser of its own, whose memory no earlier page has filled."""
    browser = Browser(*programs())
    yield browser
    browser.quit()


@pytest.mark.slow
def test_memory_stays_flat(alone, path) -> None:
    """200 runs and edits leave no more memory than the first few."""
    alone.open(path.as_uri())

    def resident() -> int:
        """Of the processes that show pages, in bytes."""
        told = [(process / "status").read_text() for process in alone.renderers()]
        return sum(int(re.search(r"VmRSS:\s+(\d+)", text)[1]) << 10 for text in told)

    def rounds(count: int) -> None:
        for number in range(count):
            submit(alone, "he sat on the bank" + " the river" * (number % 2), 7 + 2 * (number % 2))
            alone.slide("[data-key=noise]", 0.5 + number % 2)
            alone.wait(lambda: alone.count("[data-key=show-edited]"))
            idle(alone)

    rounds(20)
    before = resident()
    rounds(100)
    assert resident() - before < 40_000_000


def test_a_stray_int8_is_refused(model, tokenizer) -> None:
    with pytest.raises(InputError, match="give live=True"):
        explore(model, tokenizer, FIRST, int8=True)
