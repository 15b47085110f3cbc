"""Exports in 8 bits: what is in the file, what it loses, and when there is no file."""

import copy
import json
import re

import pytest
import torch
import torch.nn.functional as F

import minibert
from minibert.cli import main
from minibert.errors import CheckpointError, InputError, ProofError
from minibert.export import export_model
from tests.support.command import mistake
from tests.support.sentence_folders import FOLDER
from tests.support.small_models import small

onnx = pytest.importorskip("onnx", reason="onnx is not installed (make test does)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (make test does)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (make test does)")

from minibert.export.calibration import EVERY, calibration_texts  # noqa: E402
from minibert.export.int8 import quantize  # noqa: E402
from minibert.export.loss import measure  # noqa: E402
from minibert.export.right import right_values  # noqa: E402
from minibert.export.rounding import saturates  # noqa: E402
from minibert.graphs import HiddenStates, Logits, onnx_model  # noqa: E402

WIDE = {
    "vocab_size": 120,
    "hidden_size": 96,
    "num_attention_heads": 4,
    "intermediate_size": 160,
    "num_hidden_layers": 2,
}
WORDS = "the bank of a river was closed so she went home again and read until it was too dark to see".split()  # noqa: SIM905
TEXTS = [" ".join(WORDS[(start * step) % 19] for step in range(1, 4 + start % 9)) for start in range(1, 60)]


def batches(seed: int, count: int = 6) -> list[dict[str, torch.Tensor]]:
    draw = torch.Generator().manual_seed(seed)
    made = []
    for number in range(count):
        T = 6 + 3 * number
        ids = torch.randint(WIDE["vocab_size"], (8, T), generator=draw)
        mask = (torch.arange(T) < torch.randint(3, T + 1, (8, 1), generator=draw)).long()
        made.append({"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)})
    return made


def session_of(model):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    taken = [each.name for each in session.get_inputs()]

    def run(batch):
        found = session.run(names, {name: batch[name].numpy() for name in taken})
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    return run


@pytest.fixture(scope="module")
def encoder():
    model = small(**WIDE)
    with torch.no_grad():  # outliers, as trained models have them
        for block in model.encoder.layer:
            block.attention.output.LayerNorm.weight[[5, 50]] *= 12
            block.output.LayerNorm.bias[7] += 9
    model.set_attn_implementation("eager")
    graph = onnx_model(HiddenStates(model))
    return model, graph, quantize(graph, batches(1))


def constants(graph) -> dict[str, torch.Tensor]:
    return {each.name: torch.from_numpy(onnx.numpy_helper.to_array(each).copy()) for each in graph.graph.initializer}


def test_no_linear_layer_can_saturate_whatever_its_inputs_are(encoder) -> None:
    _, _, found = encoder
    weights = {name: value for name, value in constants(found).items() if name.endswith("_weight_int8")}
    assert len(weights) == 12
    for weight in weights.values():
        assert weight.dtype == torch.int8
        assert not saturates(weight)
        assert 100 < int(weight.abs().max()) <= 127  # all 8 bits are used
    zeros = [node.input[2] for node in found.graph.node if node.op_type == "QuantizeLinear"]
    assert {constants(found)[name].dtype for name in zeros} == {torch.uint8}


def test_nothing_large_stays_in_float32(encoder) -> None:
    model, _, found = encoder
    floats = {name: value for name, value in constants(found).items() if value.dtype == torch.float32}
    H = WIDE["hidden_size"]
    assert max(value.numel() for value in floats.values()) <= 2 * 160  # two outlier inputs of the wider layers
    outliers = [value for name, value in floats.items() if name.endswith("_outlier_weight")]
    assert {value.shape[0] for value in outliers} == {H // 48}
    assert len(found.SerializeToString()) < 0.45 * 4 * sum(each.numel() for each in model.parameters())


def test_tables_of_embeddings_have_a_scale_per_row(encoder) -> None:
    model, _, found = encoder
    by_name = constants(found)
    table = next(value for name, value in by_name.items() if name.endswith("word_embeddings.weight_int8"))
    scale = next(value for name, value in by_name.items() if name.endswith("word_embeddings.weight_scale"))
    weight = model.embeddings.word_embeddings.weight.detach()
    assert table.dtype == torch.int8
    assert scale.shape == (120, 1)
    assert float((table * scale - weight).abs().max()) <= float(scale.max()) / 2 * 1.0001
    assert torch.equal(table.abs().amax(dim=1), torch.full((120,), 127, dtype=torch.int8))


def test_inputs_outputs_and_free_sizes_are_those_of_the_float32_graph(encoder) -> None:
    _, graph, found = encoder
    assert found.graph.input == graph.graph.input
    assert found.graph.output == graph.graph.output
    assert {entry.domain for entry in found.opset_import} == {""}
    run = session_of(found)
    for shape in ((1, 1), (5, 32), (2, 3)):
        ids = torch.ones(shape, dtype=torch.long)
        out = run({"input_ids": ids, "attention_mask": ids, "token_type_ids": ids - 1})
        assert out["last_hidden_state"].shape == (*shape, 96)
        assert bool(out["last_hidden_state"].isfinite().all())


def test_vectors_are_close_and_no_text_depends_on_those_beside_it(encoder) -> None:
    model, _, found = encoder
    loss = measure(session_of(found), right_values(model, "hidden_states"), batches(2), "hidden_states")
    assert loss.texts == 48
    assert 1e-7 < loss.mean < 5e-4
    assert loss.mean < loss.percentile <= loss.worst < 1e-3
    assert loss.company < 1e-6
    assert loss.within


def test_the_same_graph_and_texts_give_the_same_bytes(encoder) -> None:
    _, graph, found = encoder
    before = graph.SerializeToString()
    assert quantize(graph, batches(1)).SerializeToString() == found.SerializeToString()
    assert graph.SerializeToString() == before


def test_a_row_of_nothing_but_padding_and_huge_inputs_stay_finite(encoder) -> None:
    _, _, found = encoder
    batch = batches(3, 1)[0]
    batch["attention_mask"][0] = 0
    assert bool(session_of(found)(batch)["last_hidden_state"].isfinite().all())


class WithoutMask(HiddenStates):
    """A sabotaged exporter: padding is seen."""

    def forward(self, input_ids, attention_mask, token_type_ids):
        return super().forward(input_ids, torch.ones_like(attention_mask), token_type_ids)


def test_a_dropped_mask_is_not_taken_for_a_loss(encoder) -> None:
    model, _, _ = encoder
    found = quantize(onnx_model(WithoutMask(model)), batches(1))
    loss = measure(session_of(found), right_values(model, "hidden_states"), batches(2), "hidden_states", bound=0.5)
    alone = copy.copy(loss)
    assert loss.company > 0.002
    alone.bound = 0.002
    assert not alone.within
    assert "the graph is wrong, not only less precise" in alone.sentence


@pytest.mark.parametrize(
    "name", ["BertForSequenceClassification", "BertForMultipleChoice", "BertForMaskedLM", "BertForQuestionAnswering"]
)
def test_logits_of_heads(name) -> None:
    model = small(name, hidden_size=48, num_hidden_layers=1)
    model.set_attn_implementation("eager")
    module = Logits(model)
    made = [{role: value % 60 for role, value in batch.items()} for batch in batches(4, 3)]
    if "choices" in module.input_axes:
        made = [{role: torch.stack([value, value.roll(1, 0)], 1) for role, value in batch.items()} for batch in made]
    loss = measure(session_of(quantize(onnx_model(module), made)), right_values(model, "logits"), made, "logits")
    assert 0 < loss.mean < 2e-3
    assert loss.agreement is not None
    assert loss.agreement >= 0.9


def test_the_default_text_is_of_the_vocabularys_languages(minilm) -> None:
    demo, english = (minibert.BertTokenizer.from_pretrained(source) for source in ("minibert-demo", minilm))
    config = minibert.BertConfig(vocab_size=30522)
    counts = {}
    for name, tokenizer in (("demo", demo), ("english", english)):
        texts = calibration_texts(tokenizer, config)
        counts[name] = [sum(len(batch["input_ids"]) for batch in part) for part in texts]
        rows = [
            {
                tuple(row[seen.bool()].tolist())
                for b in part
                for row, seen in zip(b["input_ids"], b["attention_mask"], strict=True)
            }
            for part in texts
        ]
        assert not rows[0] & rows[1]
        assert counts[name][0] == pytest.approx((EVERY - 1) * counts[name][1], abs=EVERY)
    assert sum(counts["demo"]) > 1200
    assert 550 < sum(counts["english"]) < 700  # the Korean and Chinese are left out


def test_an_export_prints_and_keeps_what_it_loses(tmp_path, capsys) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    rows = [
        f"{first}\t{second}\t{number % 6}" for number, (first, second) in enumerate(zip(TEXTS, TEXTS[5:], strict=False))
    ]
    (tmp_path / "pairs.tsv").write_text("\n".join(["sentence1\tsentence2\tscore", *rows]), encoding="utf-8")
    path = tmp_path / "model.onnx"
    arguments = [
        "export", str(FOLDER), "--output", "sentence", "--int8", "--calibration", str(tmp_path / "texts.txt"),
        "--pairs", str(tmp_path / "pairs.tsv"), "--max-loss", "0.05", "-o", str(path), "--json",
    ]  # fmt: skip
    assert main(arguments) == 0
    report = json.loads(capsys.readouterr().out)
    loss = report["loss"]
    assert report["same"]
    assert report["proof"]["figure"] <= 1e-5
    assert 0 < loss["mean"] <= loss["percentile"] <= loss["worst"] < 0.05
    assert loss["pairs"] == len(rows)
    assert loss["spearman"][0] == pytest.approx(loss["spearman"][1], abs=0.05)
    card = (tmp_path / "model.onnx.md").read_text(encoding="utf-8")
    assert "## What int8 loses" in card
    assert f"1st percentile {loss['percentile']:.2g}" in card
    embedder = minibert.Embedder.from_pretrained(FOLDER)
    inputs = embedder.tokenizer(TEXTS[:5], padding=True, return_tensors="pt")
    found = session_of(onnx.load(path))(dict(inputs))["sentence_embedding"]
    assert float(F.cosine_similarity(found, embedder.encode(TEXTS[:5]), dim=1).min()) > 0.95
    kept = {each.key: each.value for each in onnx.load(path).metadata_props}
    assert kept["quantization"] == "int8"


def test_beyond_max_loss_there_is_no_file(tmp_path) -> None:
    with pytest.raises(ProofError, match=r"was not written\. In 8 bits one text in a hundred of \d+ loses") as caught:
        export_model(FOLDER, tmp_path / "model.onnx", int8=True, calibration=TEXTS, max_loss=1e-9)
    assert list(tmp_path.iterdir()) == []
    assert caught.value.report.loss.percentile > 1e-9
    assert not caught.value.report.same


def test_a_folder_holds_the_graph_under_the_name_of_transformers_js(tmp_path) -> None:
    export_model(FOLDER, tmp_path / "exported", int8=True, calibration=TEXTS, max_loss=0.05)
    with pytest.raises(CheckpointError, match=r"was written by minibert export --int8.*that it was made from, "):
        minibert.BertModel.from_pretrained(tmp_path / "exported" / "onnx" / "model_quantized.onnx")
    assert (tmp_path / "exported" / "onnx" / "model_quantized.onnx").is_file()
    assert not (tmp_path / "exported" / "onnx" / "model.onnx").exists()
    config = json.loads((tmp_path / "exported" / "config.json").read_text(encoding="utf-8"))
    assert config["transformers.js_config"] == {"dtype": "q8"}


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"calibration": TEXTS}, "calibration is for an export in 8 bits: give int8=True (--int8), too."),
        ({"max_loss": 0.1}, "max_loss is for an export in 8 bits: give int8=True (--int8), too."),
        ({"int8": True, "calibration_column": "a"}, "give calibration (--calibration FILE), too."),
        ({"int8": True, "calibration": TEXTS, "calibration_column": 3}, "calibration_column is a int; expected"),
        ({"int8": True, "output": "all-points"}, "all-points is for looking inside, in float32"),
        ({"int8": True, "max_loss": 0.0}, "max_loss (--max-loss) is 0.0; it is 1 - cosine, a number between 0 and 1."),
        ({"int8": True, "max_loss": float("nan")}, "max_loss (--max-loss) is nan"),
        (
            {"int8": True, "pair_columns": {"text": "a"}},
            "The column of the calibration is calibration_column (--calibration-column).",
        ),
        ({"int8": True, "pairs": [], "pair_columns": {"label": "a"}}, "'label' is no column of pairs"),
        ({"int8": True, "calibration": TEXTS[:3]}, "int8 is calibrated on at least 20 texts"),
    ],
)
def test_settings_that_do_not_go_together(settings, sentence, tmp_path) -> None:
    with pytest.raises(InputError, match=re.escape(sentence)):
        export_model(FOLDER, tmp_path / "model.onnx", **settings)
    assert list(tmp_path.iterdir()) == []


def test_the_column_of_the_calibration_can_be_named(tmp_path, capsys) -> None:
    rows = [f"{number},{text},{number}" for number, text in enumerate(TEXTS)]
    (tmp_path / "texts.csv").write_text("\n".join(["a,b,c", *rows]), encoding="utf-8")
    arguments = ["export", str(FOLDER), "--int8", "--calibration", str(tmp_path / "texts.csv")]
    said = mistake(capsys, [*arguments, "-o", str(tmp_path / "x.onnx")], after_others=True)
    assert "holds the texts of the calibration (--calibration-column NAME); it has a, b, c." in said
    named = [*arguments, "--calibration-column", "b", "--max-loss", "0.05", "-o", str(tmp_path / "x.onnx")]
    assert main(named) == 0
    export_model(FOLDER, tmp_path / "y.onnx", int8=True, calibration=TEXTS, max_loss=0.05)
    assert (tmp_path / "x.onnx").read_bytes() == (tmp_path / "y.onnx").read_bytes()
    usual = (tmp_path / "texts.csv").read_text(encoding="utf-8").replace("a,b,c", "a,body,c")
    (tmp_path / "texts.csv").write_text(usual, encoding="utf-8")
    named[named.index("b")] = "body"  # found by itself, too
    assert main(named) == 0
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    with pytest.raises(InputError, match=r"every row is a text\. Leave --calibration-column out\."):
        export_model(FOLDER, tmp_path / "z.onnx", int8=True, calibration=tmp_path / "texts.txt", calibration_column="b")


def test_other_formats_and_models_without_a_tokenizer(tmp_path, capsys) -> None:
    said = mistake(capsys, ["export", str(FOLDER), "--int8", "-o", str(tmp_path / "model.pt2")])
    assert "int8 is written as ONNX" in said
    with pytest.raises(InputError, match="BertModel has no tokenizer, and int8 is calibrated on text"):
        export_model(small(), tmp_path / "model.onnx", int8=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.peers
def test_all_minilm_l6_v2_keeps_its_vectors(minilm, tmp_path) -> None:
    """The goal: at most 25 MB, and 200 texts that nobody calibrated on with a cosine of at least 0.998 each."""
    path = tmp_path / "model.onnx"
    report = export_model(minilm, path, output="sentence", int8=True)
    assert report.bytes < 25e6
    assert report.loss.percentile < 0.002
    weights = constants(onnx.load(path))
    assert not any(saturates(value) for name, value in weights.items() if name.endswith("_weight_int8"))
    lines = json.loads((FOLDER.parents[2] / "scripts" / "tools" / "demo_lines.json").read_text(encoding="utf-8"))
    texts = [
        text.replace("[MASK]", answer) for text, found in lines["english"].items() for answer in (found or ["day"])
    ]
    embedder = minibert.Embedder.from_pretrained(minilm)
    inputs = embedder.tokenizer(texts, padding=True, return_tensors="pt")
    cosines = F.cosine_similarity(
        session_of(onnx.load(path))(dict(inputs))["sentence_embedding"], embedder.encode(texts)
    )
    assert float(cosines.min()) >= 0.998
