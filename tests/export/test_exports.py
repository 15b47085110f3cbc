"""Exports that are proven: three small models with other heads and formats, and what lies there afterwards."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

import minibert
from minibert.cli import main
from minibert.embedding import Embedder
from minibert.errors import InputError
from minibert.export import export_model
from minibert.graphs import HiddenStates
from tests.support.command import mistake
from tests.support.small_models import inputs_for, small

onnx = pytest.importorskip("onnx", reason="onnx is not installed (make test does)")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (make test does)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (make test does)")

KINDS = [
    "no padding", "padding", "a row of nothing but padding", "pairs", "one token", "the longest length",
    "the last ids of the vocabulary", "one text alone", "holes and left padding",
]  # fmt: skip


def run(path: Path, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    found = session.run(names, {name: value.numpy() for name, value in inputs.items()})
    return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}


def snippet(card: Path) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", card.read_text(encoding="utf-8"), re.DOTALL)
    return code


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three exports: the encoder with chunks, a head of three axes, every point of a head."""
    folder = tmp_path_factory.mktemp("exports")
    models = {
        "encoder": (small(hidden_act="gelu_new", chunk_size_feed_forward=4, type_vocab_size=1), "hidden_states"),
        "choice": (small("BertForMultipleChoice", hidden_act="relu"), "logits"),
        "answers": (small("BertForQuestionAnswering", num_hidden_layers=1, layer_norm_eps=1e-3), "all-points"),
    }
    return {
        name: (model, export_model(model, folder / name / "model.onnx", output=output))
        for name, (model, output) in models.items()
    }


@pytest.mark.parametrize("name", ["encoder", "choice", "answers"])
def test_it_is_proven_on_nine_kinds_of_input(name, three) -> None:
    _, report = three[name]
    assert report.same
    assert list(report.proof.kinds) == KINDS
    assert 0 < report.proof.figure < 5e-6
    assert report.proof.bound == 1e-5
    B, *_, T = report.proof.kinds["the longest length"]
    assert (B, T) == (1, 32)
    assert report.proof.kinds["holes and left padding"][0] == 17


@pytest.mark.parametrize("name", ["encoder", "choice", "answers"])
def test_the_file_gives_the_models_values_on_other_inputs(name, three) -> None:
    model, report = three[name]
    inputs = inputs_for("BertForMultipleChoice" if name == "choice" else "", seed=5)
    if name == "encoder":
        inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    found = run(report.destination, inputs)
    model.set_attn_implementation("eager")
    values = minibert.trace(model, inputs)
    if name == "answers":
        assert set(found) == set(values)
        expected = dict(values)
    else:
        outputs = dict(values.outputs.items())
        expected = {each: outputs[each] for each in found}
    for point, value in expected.items():
        wanted = value.masked_fill(value < -1e30, 0.0)
        got = found[point].masked_fill(found[point] < -1e30, 0.0)
        assert float((got - wanted).abs().max()) < 1e-5 * float(wanted.abs().max()), point


def test_names_and_axes_are_the_ecosystems(three) -> None:
    _, report = three["encoder"]
    model = onnx.load(report.destination)
    dims = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    tokens = ["batch", "length"]
    assert dims == {
        "input_ids": tokens, "attention_mask": tokens, "token_type_ids": tokens, "last_hidden_state": [*tokens, 12],
    }  # fmt: skip
    _, choice = three["choice"]
    assert choice.inputs["input_ids"] == "(batch, choices, length)"
    assert choice.outputs == {"logits": "(batch, choices)"}
    assert [(each.domain, each.version) for each in model.opset_import] == [("", 20)]


def test_the_file_says_what_it_is_and_nothing_of_this_machine(three) -> None:
    _, report = three["encoder"]
    model = onnx.load(report.destination)
    said = {each.key: each.value for each in model.metadata_props}
    assert said["minibert_version"] == minibert.__version__
    assert said["source_sha256"] == report.sha256["weights"]
    assert said["output"] == "hidden_states"
    assert not any(node.metadata_props or node.doc_string for node in model.graph.node)
    assert str(Path(minibert.__file__).parent).encode() not in report.destination.read_bytes()


def test_the_card_has_the_figures_and_a_program_that_runs(three, monkeypatch) -> None:
    model, report = three["encoder"]
    path = Path(f"{report.destination}.md")
    text = path.read_text(encoding="utf-8")
    assert sorted(each.name for each in path.parent.iterdir()) == ["model.onnx", "model.onnx.md"]
    assert report.files == [path, report.destination]
    for cells in report.proof.rows():
        assert f"| {' | '.join(cells)} |" in text
    assert report.sha256["weights"] in text
    assert f"onnxruntime {onnxruntime.__version__}" in text
    monkeypatch.chdir(path.parent)
    names: dict[str, object] = {}
    exec(compile(snippet(path), str(path), "exec"), names)
    inputs = {name: torch.from_numpy(value) for name, value in names["inputs"].items()}
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(**inputs).last_hidden_state
    assert float((torch.from_numpy(names["last_hidden_state"]) - expected).abs().max()) < 1e-5


def test_weights_that_are_too_large_for_one_file_lie_beside_it(tmp_path) -> None:
    model = small(num_hidden_layers=1)
    report = export_model(model, tmp_path / "new" / "big.onnx", largest_file=1000)
    names = [path.name for path in report.files]
    assert names == ["big.onnx_data", "big.onnx.md", "big.onnx"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(names)
    assert report.bytes == sum((tmp_path / "new" / name).stat().st_size for name in names if name[-3:] != ".md")
    stored = onnx.load(report.destination, load_external_data=False).graph.initializer
    apart = [each for each in stored if each.external_data]
    assert {pair.value for each in apart for pair in each.external_data if pair.key == "location"} == {"big.onnx_data"}
    inputs = inputs_for(seed=3)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        expected = model(**inputs).last_hidden_state
    assert float((run(report.destination, inputs)["last_hidden_state"] - expected).abs().max()) < 1e-5


def test_a_program_of_torch_is_the_model_to_the_last_bit(tmp_path, monkeypatch) -> None:
    model = small("BertForTokenClassification")
    report = export_model(model, tmp_path / "model.pt2", output="logits")
    assert report.format == "torch"
    assert report.proof.figure == 0.0
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    code = snippet(tmp_path / "model.pt2.md")
    assert "made-up numbers" in code and "vocabulary gives" not in code  # the model has no tokenizer
    exec(compile(code, "card", "exec"), names)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        assert torch.equal(names["logits"], model(**names["inputs"]).logits)


def test_openvino_is_told_to_compute_in_float32(tmp_path, monkeypatch) -> None:
    openvino = pytest.importorskip("openvino", reason="openvino is not installed (make test does)")
    model = small(num_hidden_layers=1)
    report = export_model(model, tmp_path / "model.xml")
    assert [path.name for path in report.files] == ["model.bin", "model.xml.md", "model.xml"]
    assert report.proof.figure < 5e-6
    read = openvino.Core().read_model(tmp_path / "model.xml")
    assert read.get_rt_info(["runtime_options", "INFERENCE_PRECISION_HINT"]).astype(str) == "f32"
    assert read.get_rt_info(["minibert", "output"]).astype(str) == "hidden_states"
    assert (tmp_path / "model.bin").stat().st_size > 4 * 0.9 * sum(p.numel() for p in model.encoder.parameters())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(snippet(tmp_path / "model.xml.md"), "card", "exec"), names)
    assert names["last_hidden_state"].shape == (2, 4, 12)


def test_the_command_line(tmp_path, capsys) -> None:
    embedder = Embedder.from_pretrained("minibert-demo")
    path = tmp_path / "sentence.onnx"
    assert (
        main(["export", "--output", "sentence", "--pooling", "cls,mean", "--normalize", "-o", str(path), "--json"]) == 0
    )
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert report["same"]
    assert "proving it on “Korean” (7 of 9)" in printed.err
    assert report["outputs"] == {"sentence_embedding": "(batch, 512)"}
    texts = ["나는 배를 타고 여행을 간다.", "Yes."]
    tokens = dict(embedder.tokenizer(texts, padding=True, return_tensors="pt"))
    expected = embedder.encode(texts, pooling=["cls", "mean"], normalize=True)
    assert float((run(path, tokens)["sentence_embedding"] - expected).abs().max()) < 1e-6


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-o {0}/x.bin", "does not end in .onnx, .pt2, .xml; give the name of a file, such as model.onnx, or"),
        ("-o {0}/x --output sentence", "A folder is for loaders, which know hidden states and a head's logits"),
        ("-o {0}/x.onnx --format torch", "is the name of a file for onnx, and the format is torch: end it in .pt2."),
        (
            "-o {0}/x.onnx --normalize",
            "normalize (--normalize) makes the vector of a sentence: give output='sentence' (--output sentence), too.",
        ),
        ("-o {0}/x.onnx --output sentence --truncate-dim 300", "have 256 numbers; give at most 256."),
        ("-o {0}/ --truncate-dim 300", "truncate_dim (--truncate-dim) is 300, and the vectors of "),
        ("-o {0}/x.onnx --max-loss 0.1", "max_loss is for an export in 8 bits: give int8=True (--int8), too."),
        ("-o {0}/.onnx", ".onnx is the ending of a file without its name; give one, such as model.onnx."),
        ("-o .PT2", ".PT2 is the ending of a file without its name; give one, such as model.PT2."),
        ("-o {0}/x.onnx --head BertModel", "head (--head) is the class of a checkpoint's model"),
        ("-o {0}/x.onnx --output sentence --pooling median", "'median' is no pooling"),
        ("-o {0}/x.onnx --output logits --head BertModel", "BertModel has no head, so it has no logits"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(words, said, tmp_path, capsys) -> None:
    sentence = mistake(capsys, ["export", *words.format(tmp_path).split()], after_others=True)
    assert said in sentence
    assert not list(tmp_path.iterdir())


def test_an_empty_destination_is_named_as_such(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "destination (-o) is empty; give the name of a file" in mistake(capsys, ["export", "-o", ""])
    assert not list(tmp_path.iterdir())


def test_a_model_from_memory_has_no_pooling() -> None:
    with pytest.raises(InputError, match="give an Embedder"):
        export_model(small(), "x.onnx", output="sentence")


@pytest.mark.parametrize(
    ("missing", "name", "said"),
    [
        (
            "onnx",
            "x.onnx",
            "onnx is not installed; to write ONNX files: in a checkout of minibert, pip install '.[onnx]'.",
        ),
        ("onnxruntime", "x.onnx", "onnxruntime is not installed; to prove an ONNX file: in a checkout of minibert, "),
        (
            "openvino",
            "x.xml",
            "openvino is not installed; to write and prove OpenVINO files: in a checkout of minibert, ",
        ),
        ("onnxscript", "x.xml", "OpenVINO's files are made from an ONNX graph: in a checkout of minibert, "),
    ],
)
def test_a_package_that_is_missing_is_named(missing, name, said, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert said in mistake(capsys, ["export", "-o", str(tmp_path / name)])
    assert not list(tmp_path.iterdir())


def test_a_model_that_cannot_be_traced_gets_a_sentence(tmp_path, monkeypatch) -> None:
    def wrong(
        self: object, input_ids: torch.Tensor, attention_mask: torch.Tensor, token_type_ids: torch.Tensor
    ) -> object:
        return (self.base(input_ids, attention_mask).last_hidden_state,) if int(input_ids.sum()) > 3 else ()

    monkeypatch.setattr(HiddenStates, "forward", wrong)
    with pytest.raises(InputError, match="torch.export cannot trace HiddenStates: "):
        export_model(small(), tmp_path / "x.pt2")
    assert not list(tmp_path.iterdir())
