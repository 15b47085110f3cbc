"""The server and the engine answer the same requests with the same JSON."""

import math
from typing import Any

import pytest
import torch

from minibert import BertForPreTraining, BertModel
from minibert.explorer import explore
from minibert.explorer.live import Live
from minibert.explorer.packing import unpack
from minibert.explorer.sentences import PageError
from minibert.explorer.weights import pack_weights, with_weights
from tests.explorer.conftest import FIRST, HOSTILE, NASTY, SECOND
from tests.parity.tolerances import PAGE
from tests.support.page_worker import PageWorker

pytestmark = pytest.mark.browser
LONG = " ".join(["the bank of the river"] * 80)  # 400 words; the model reads 320 tokens
ROW = [0.0, 0.5, 0.0, 0.25, 0.25]


@pytest.fixture(scope="module", params=["float16", "int8"])
def both(request, chromium, model, tokenizer, tmp_path_factory):
    """The worker of a page, and the server with the very weights of that page."""
    int8 = request.param == "int8"
    path = tmp_path_factory.mktemp("live") / "page.html"
    explore(model, tokenizer, FIRST, path=path, name="tiny", live=True, int8=int8, samples=2)
    worker = PageWorker(chromium, path)
    server = Live(with_weights(model, pack_weights(model, int8=int8)), tokenizer, "tiny", samples=2)
    return worker, server


def assert_same(found: Any, expected: Any, place: str = "") -> None:
    """Equal, but for the rounding of numbers: of a tensor, in shares of its largest value."""
    if isinstance(expected, dict) and {"shape", "dtype", "data"} <= set(expected):
        assert (found["shape"], found["dtype"]) == (expected["shape"], expected["dtype"]), place
        ours, theirs = unpack(expected).double(), unpack(found).double()
        largest = ours.abs().max().item() if ours.numel() else 0
        delta = (ours - theirs).abs().max().item() if ours.numel() else 0
        assert delta <= PAGE * max(largest, 1e-6), (place, delta, largest)
    elif isinstance(expected, dict):
        assert set(found) == set(expected), place
        for key, value in expected.items():
            assert_same(found[key], value, f"{place}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), place
        for number, value in enumerate(expected):
            assert_same(found[number], value, f"{place}[{number}]")
    elif isinstance(expected, float):
        assert math.isclose(found, expected, rel_tol=PAGE, abs_tol=PAGE), (place, found, expected)
    else:
        assert found == expected, place


def without_weights(answer: dict[str, Any]) -> dict[str, Any]:
    """The page says what its weights are, the server does not."""
    answer.get("model", {}).pop("weights", None)
    return answer


@pytest.mark.parametrize(
    "texts",
    [
        [FIRST],
        [FIRST, SECOND],
        [HOSTILE, " ".join(NASTY)],
        ["배를 中文 he", "배 sat 中"],
        ["he sat 龍 [MASK]", "she 虎 sat [MASK]"],
        ["he"],
        [LONG],
        [SECOND, LONG],
        [["배를 中文 he", SECOND]],
        [[SECOND, LONG]],
    ],
    ids=["one", "two", "hostile", "words", "unknown", "short", "long", "short and long", "pair", "cut pair"],
)
def test_runs(both, texts) -> None:
    worker, server = both
    assert_same(without_weights(worker.answer("runs", {"texts": texts})), server.runs({"texts": texts}))


def test_masked_runs(both) -> None:
    worker, server = both
    request = {"texts": [FIRST, "she [MASK] the money"], "masked": [[5, 2], []]}
    answer = worker.answer("runs", request)
    assert answer["runs"][0]["mask_positions"] == [2, 5] and answer["runs"][1]["mask_positions"] == [2]
    assert_same(without_weights(answer), server.runs(request))


@pytest.mark.parametrize(
    "edits",
    [
        {"heads": [[0, 1], [0, 3], [2, 0]]},
        {"noise": {"std": 1.5, "position": 3, "depth": 0, "seed": 7}},
        {"noise": {"std": 0.7, "position": 1, "depth": 2, "seed": 0}, "heads": [[1, 1]]},
        {"noise": {"std": 0.7, "position": 1, "depth": 3, "seed": 1}},
        {"attention": [{"layer": 1, "head": 2, "token": 0, "probabilities": ROW}]},
        {
            "attention": [
                {"layer": 0, "head": 0, "token": 4, "probabilities": [0.2] * 5},
                {"layer": 0, "head": 1, "token": 1, "probabilities": ROW},
                {"layer": 2, "head": 0, "token": 1, "probabilities": [0.0, 0.0, 0.0, 0.0, 1.0]},
            ],
            "heads": [[0, 1]],
            "noise": {"std": 0.3, "position": 2, "depth": 1, "seed": 0},
        },
    ],
    ids=["heads", "noise", "noise and head", "last", "row", "all"],
)
def test_edits(both, edits) -> None:
    worker, server = both
    request = {"texts": ["he sat on", "she put money in the bank"], "run": 0} | edits
    found, expected = worker.answer("edits", request), server.edits(request)
    assert_same(found, expected)
    changed = unpack(expected["runs"][0]["tensors"]["relative_change"])
    assert changed[-1].max() > 1e-3  # the edit does something


def test_a_row_of_attention_is_set(both) -> None:
    worker, _ = both
    row = {"layer": 1, "head": 2, "token": 3, "probabilities": ROW}
    answer = worker.answer("edits", {"texts": ["he sat on"], "attention": [row], "run": 0})
    probabilities = unpack(answer["runs"][0]["tensors"]["probabilities"])
    assert probabilities[1, 2, 3].tolist() == ROW
    change = unpack(answer["runs"][0]["tensors"]["relative_change"])
    assert change[:2].abs().max() == 0  # before the layer nothing changes
    assert change[2, 3] > 1e-4 and change[2, [0, 1, 2, 4]].abs().max() == 0 and change[3].min() > 0


@pytest.mark.parametrize("heads", [[], [[1, 0], [2, 3]]])
def test_sensitivity(both, heads) -> None:
    worker, server = both
    request = {"text": "he sat on the bank", "masked": [3], "heads": heads}
    assert_same(worker.answer("sensitivity", request), server.sensitivity(request))


def test_progress_reaches_the_number_of_runs(both) -> None:
    worker, _ = both
    told = [m["progress"] for m in worker.messages("sensitivity", {"text": "he sat"}) if "progress" in m]
    assert [(each["done"], each["total"]) for each in told] == [(n, 16) for n in range(1, 17)]  # 2 · 4 tokens · 2


def test_both_refuse_with_the_same_sentences(both) -> None:
    worker, server = both
    for request in (
        {"texts": ["  \n "]},
        {"texts": ["a" * 20_001]},
        {"texts": [FIRST], "masked": [[0]]},
        {"texts": [FIRST], "masked": [[99]]},
    ):
        with pytest.raises(PageError) as error:
            server.runs(request)
        assert worker.error("runs", request) == error.value.sentence.describe()
    assert_same(worker.answer("sensitivity", {"text": LONG}), server.sensitivity({"text": LONG}))


def test_without_a_head_that_predicts(chromium, tokenizer, model, tmp_path) -> None:
    torch.manual_seed(3)
    bare = BertModel(model.config).eval()
    explore(bare, tokenizer, FIRST, SECOND, tmp_path / "page.html", name="bare", live=True)
    worker = PageWorker(chromium, tmp_path / "page.html")
    server = Live(with_weights(bare, pack_weights(bare)), tokenizer, "bare")
    request = {"texts": [FIRST, SECOND]}
    answer = without_weights(worker.answer("runs", request))
    assert answer["runs"][0]["predictions"]["reason"]["key"] == "reason.no_head"
    assert_same(answer, server.runs(request))


def test_the_next_sentence_of_a_pair(chromium, model, tokenizer, tmp_path) -> None:
    """Both texts in one run, its edits and its maps; the next-sentence head answers only for a pair."""
    torch.manual_seed(8)
    trained = BertForPreTraining(model.config).eval()
    explore(trained, tokenizer, FIRST, path=tmp_path / "page.html", name="tiny", live=True, samples=1)
    worker = PageWorker(chromium, tmp_path / "page.html")
    same = with_weights(trained, pack_weights(trained))
    server = Live(same, tokenizer, "tiny", samples=1)
    request = {"texts": [[FIRST, "she [MASK] the money"]], "masked": [[2]]}
    inputs = tokenizer(FIRST, "she [MASK] the money", return_tensors="pt")
    inputs["input_ids"][0, 2] = tokenizer.mask_token_id
    with torch.no_grad():
        expected = same(**inputs).seq_relationship_logits.softmax(dim=-1)[0, 0].item()
    answer = worker.answer("runs", request)
    assert 0.01 < expected < 0.99 and abs(answer["runs"][0]["next_sentence"] - expected) < 1e-6
    assert answer["runs"][0]["segments"] == [0] * 11 + [1] * 5
    assert_same(without_weights(answer), server.runs(request))
    edits = request | {"heads": [[0, 1]], "noise": {"std": 2.0, "position": 12, "depth": 1, "seed": 3}}
    edited = worker.answer("edits", edits)
    assert abs(edited["runs"][0]["next_sentence"] - expected) > 1e-4
    assert_same(edited, server.edits(edits))
    maps = {"text": request["texts"][0], "masked": [2], "heads": []}
    assert_same(worker.answer("sensitivity", maps), server.sensitivity(maps))
    assert worker.answer("runs", {"texts": [FIRST]})["runs"][0]["next_sentence"] is None
    assert worker.error("runs", {"texts": [[FIRST, " "]]}) == {"key": "error.empty", "places": {}}
