"""What goes into a page: the trace's numbers in float16, as much as fits, in a file that only shows."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest
import torch

import minibert
from minibert import BertConfig, BertForMaskedLM, BertTokenizer, InputError, explore, trace
from minibert.explorer import page as pages
from minibert.explorer.packing import choose_detail, pack, size_of, unpack
from minibert.explorer.text import language_of
from minibert.explorer.values import Projection, cosines, relative_change
from tests.explorer.conftest import FIRST, HOSTILE, SECOND, content_in


def test_numbers_come_back() -> None:
    value = torch.randn(3, 4, 5)
    for kind, expected in (("float32", value), ("float16", value.half())):
        assert torch.equal(unpack(pack(value, kind)), expected)
        assert torch.equal(unpack(pack(value.transpose(0, 2), kind)), expected.transpose(0, 2))
    assert unpack(pack(torch.tensor([1e9, -torch.inf, 7.0]))).tolist() == [65504.0, -65504.0, 7.0]
    assert unpack(pack(torch.zeros(0, 3))).shape == (0, 3)
    assert unpack(pack(torch.tensor([[7, -1]]), "int32")).tolist() == [[7, -1]]


def test_every_tensor_is_the_traces(model, tokenizer, page) -> None:
    runs = content_in(page)["runs"]
    for text, run in zip((FIRST, SECOND), runs, strict=True):
        found = trace(model, tokenizer(text, return_tensors="pt"))
        layers = [f"bert.encoder.layer.{number}" for number in range(3)]
        points = {
            "query": "attention.self.query",
            "key": "attention.self.key",
            "value": "attention.self.value",
            "scores": "attention.self.scores",
            "probabilities": "attention.self.probabilities",
            "context": "attention.self.context",
            "attention_dense": "attention.output.dense",
            "attention_output": "attention.output",
            "output_dense": "output.dense",
        }
        for name, point in points.items():
            expected = torch.stack([found[f"{layer}.{point}"][0] for layer in layers])
            assert torch.equal(unpack(run["tensors"][name]), expected.half()), name
        hidden = torch.stack([found[name][0] for name in ("bert.embeddings", *layers)])
        assert torch.equal(unpack(run["tensors"]["hidden"]), hidden.half())
        assert torch.equal(unpack(run["tensors"]["norms"]), hidden.norm(dim=-1))
        torch.testing.assert_close(unpack(run["tensors"]["cosines"]).float(), cosines(hidden), rtol=1e-3, atol=1e-3)
        assert run["tokens"] == tokenizer(text).tokens() and run["shown"] == len(run["tokens"])


def test_the_page_has_names_formulas_and_shapes_from_the_table_of_points(model, page) -> None:
    points = model.points().by_name
    described = content_in(page)["model"]
    assert len(described["steps"]) == 14
    for step in described["steps"]:
        assert len(step["points"]) == 3
        for number, name in enumerate(step["points"]):
            point = points[name]
            assert point.layer == (number if step["kind"] != "input" else number - 1 if number else None)
            assert step["formula"] == (point.letters if step["kind"] != "input" else "x")
            assert step["shape"] == point.shape.replace("B, ", "")
    assert described["embeddings"]["formula"] == points["bert.embeddings"].letters
    written = "".join(path.read_text(encoding="utf-8") for path in sorted(Path(pages.STATIC).glob("*.js")))
    assert not re.search(
        r"attention\.self|_heads\b|softmax\(|LayerNorm\(|W_[QKVI]\b|\([NT], T|\(T, [HI]\) =.*\$", written
    )


def test_a_plane_keeps_what_lies_in_it() -> None:
    flat = torch.randn(4, 6, 2, dtype=torch.float64) @ torch.linalg.qr(torch.randn(7, 2, dtype=torch.float64))[0].T + 3
    plane = Projection.of(flat)
    places = plane.project(flat).flatten(0, 1)
    torch.testing.assert_close(torch.cdist(places, places), torch.cdist(flat.flatten(0, 1), flat.flatten(0, 1)))
    assert sum(plane.explained_variance) == pytest.approx(1)
    assert Projection.of(torch.ones(1, 1, 7)).project(torch.ones(1, 1, 7)).tolist() == [[[0.0, 0.0]]]
    assert relative_change(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])).tolist() == [pytest.approx(4 / 3)]


def test_bert_base_with_32_tokens_stays_under_8_megabytes() -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "word"]
    tokenizer = BertTokenizer({token: number for number, token in enumerate(vocabulary)})
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig(vocab_size=len(vocabulary))).eval()
    html = explore(model, tokenizer, "word " * 30, samples=0)
    maps = 2 * 12 * 32 * 32 * 8 / 3  # of both kinds of noise, which would take the test half a minute
    content = json.loads(html.split('id="content">')[1].split("</script>")[0])
    assert content["runs"][0]["shown"] == 32 and content["runs"][0]["numbers"] == 768
    assert len(html.encode()) + maps < 8_000_000


def test_less_detail_for_longer_texts_and_it_is_said() -> None:
    base = BertConfig()
    assert choose_detail(base, 32, 7_700_000).omissions(base, 32)[2:] == []
    before = None
    for length in (32, 40, 64, 100, 300, 512):
        detail = choose_detail(base, length, 7_700_000)
        assert size_of(base, detail) <= 7_700_000
        said = " ".join(map(str, detail.omissions(base, length)))
        assert ("first 96 of 768 numbers" in said) == (detail.numbers == 96)
        assert ("Scores are left out" in said) == (not detail.scores)
        assert (f"read all {length} tokens; numbers are kept for the first {detail.tokens}" in said) == (
            detail.tokens < length
        )
        rank = (detail.numbers == 768, detail.scores, detail.tokens == length)
        assert before is None or rank <= before
        before = rank
    assert choose_detail(base, 300, 0).tokens == 2


def test_the_size_is_foreseen(model, tokenizer) -> None:
    from minibert.explorer.content import trace_text
    from minibert.explorer.values import pack_run

    traced = trace_text(model, tokenizer, "the river " * 30)
    run = pack_run(traced.values, model.config, traced.detail, projection=traced.projection)
    assert len(json.dumps(run)) < size_of(model.config, traced.detail) + 10_000


def test_an_abridged_run_has_the_first_numbers_of_each_head(model, tokenizer) -> None:
    from dataclasses import replace

    from minibert.explorer.content import trace_text
    from minibert.explorer.values import pack_run

    traced = trace_text(model, tokenizer, FIRST)
    short = pack_run(
        traced.values, model.config, replace(traced.detail, tokens=4, numbers=8), projection=traced.projection
    )
    query, whole = unpack(short["tensors"]["query"]), traced.values.vectors["query"].half()
    assert query.shape == (3, 4, 8)
    assert torch.equal(query[..., 2:4], whole[:, :4, 6:8])  # head 1 of 4, D = 6: its first two numbers
    assert torch.equal(unpack(short["tensors"]["hidden"]), traced.values.hidden[:, :4, :8].half())
    assert torch.equal(
        unpack(short["tensors"]["query_statistics"])[..., 0], traced.values.vectors["query"][:, :4].norm(dim=-1)
    )


def test_a_text_is_cut_to_what_the_model_reads(model, tokenizer) -> None:
    content = json.loads(explore(model, tokenizer, "bank " * 400).split('id="content">')[1].split("</script>")[0])
    (run,) = content["runs"]
    assert (len(run["tokens"]), run["full_length"]) == (320, 402)
    assert run["omitted"][0] == {"key": "omitted.cut", "places": {"full": 402, "length": 320}}
    assert run["sensitivity"]["reason"] == {"key": "reason.no_maps", "places": {"tokens": 320}}


def test_refusals(model, tokenizer) -> None:
    for text in ("", " \n"):
        with pytest.raises(InputError, match="text is empty"):
            explore(model, tokenizer, text)
    model.train()
    try:
        with pytest.raises(InputError, match=r"training mode.*model\.eval\(\)"):
            explore(model, tokenizer, FIRST)
    finally:
        model.eval()


def test_json_can_not_end_its_element() -> None:
    nasty = {HOSTILE: ["</script>", "<!--", "]]>", "&amp;", "\u2028\u2029", "\ud83d"]}
    text = pages.safe_json(nasty)
    assert not re.search("[<>&\u2028\u2029\ud800-\udfff]", text)
    assert json.loads(text) == nasty


def test_the_policy_allows_what_stands_in_the_page_and_nothing_else(page) -> None:
    html = page.read_text(encoding="utf-8")
    allowed = re.search('Content-Security-Policy" content="([^"]*)"', html)
    assert allowed is not None
    rules = dict(rule.split(" ", 1) for rule in allowed[1].split("; "))
    closed = ("default-src", "connect-src", "worker-src", "base-uri", "form-action")
    assert set(rules) == {"script-src", "style-src", "img-src", *closed}
    assert rules["img-src"] == "blob: data:"
    for name in closed:
        assert rules[name] == "'none'"
    for kind, element in (("script-src", "script"), ("style-src", "style")):
        (content,) = re.findall(f"<{element}>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[kind] == f"'sha256-{digest}'"
    assert "connect-src 'self'" in pages.policy(server=True)
    shell = re.sub('<script type="application/json".*?</script>', "", html, flags=re.DOTALL)
    assert set(re.findall(r"https?://[^\s\"']+", shell)) == {"http://www.w3.org/2000/svg"}  # a name, not an address
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|new Function| style=", shell)


def test_modules_share_no_name() -> None:
    places: dict[str, Path] = {}
    for path in sorted(Path(pages.STATIC).rglob("*.js")):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 400
        for name in re.findall(r"^(?:export )?(?:async )?(?:function\*?|const|let|class) (\w+)", text, re.MULTILINE):
            assert name not in places, f"{name} is in {places[name].name} and {path.name}: they become one script"
            places[name] = path
    script = pages.script()
    assert not re.search(r"^(import|export) ", script, re.MULTILINE)
    for name, path in places.items():
        found = len(re.findall(rf"^(?:async )?(?:function\*?|const|let|class) {name}\b", script, re.MULTILINE))
        assert found == 1 or (found == 0 and path.parent != pages.STATIC), name


@pytest.mark.parametrize(
    ("text", "tag"), [("the bank", ""), ("나는 배를", "ko"), ("中文", "zh"), ("日本語です", "ja"), ("שלום", "he")]
)
def test_languages(text, tag) -> None:
    assert language_of(text) == tag


def test_is_public() -> None:
    assert minibert.explore is explore
