"""A checkpoint against every kind of other side, as a user names it: what differs is named, and mistakes are told."""

import hashlib
import json

import pytest
import torch
from safetensors.torch import save_file

import minibert
from minibert import InputError
from minibert.cli import main
from minibert.verify import make_golden, verify, verify_models, verify_values
from minibert.verify.observe import observe
from tests.support.small_models import small
from tests.verify.test_onnx_runs import Port, export

SETTINGS = {
    "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 90, "num_hidden_layers": 2,
}  # fmt: skip
T = 13
MASK = (torch.arange(T) < torch.tensor([9, 13, 5])[:, None]).long()
BATCH = {
    "input_ids": torch.randint(90, (3, T), generator=torch.Generator().manual_seed(0)),
    "attention_mask": MASK,
    "token_type_ids": (torch.arange(T) >= 4).long() * MASK,
}


def model(**settings):
    return small("BertForPreTraining", **SETTINGS, attn_implementation="eager", **settings)


def exchanged(weights):
    for name in [name for name in weights if ".layer.0." in name]:
        other = name.replace(".layer.0.", ".layer.1.")
        weights[name], weights[other] = weights[other], weights[name]


def gamma_and_beta(weights):
    name = "bert.encoder.layer.1.output.LayerNorm"
    weights[f"{name}.weight"], weights[f"{name}.bias"] = weights[f"{name}.bias"], weights[f"{name}.weight"]


def wrong(kind):
    """A model with one mistake, the mistake's key, and the first value in which it is."""
    settings = {"eps": {"layer_norm_eps": 1e-3}, "act": {"hidden_act": "gelu_new"}}.get(kind, {})
    theirs = model(**settings)
    weights = dict(model().state_dict())
    {"layers": exchanged, "gamma": gamma_and_beta}.get(kind, lambda _: None)(weights)
    theirs.load_state_dict(weights)
    return theirs


NAMED = {
    "eps": ("norm.eps", "embeddings"),
    "act": ("activation", "encoder.layer.0.intermediate"),
    "layers": ("layers.exchanged", "encoder.layer.0.attention.self.query"),
    "gamma": ("norm.swapped", "encoder.layer.1.output"),
}


def check(report, kind):
    key, point = NAMED[kind]
    assert report.verdict == "differs"
    (finding,) = report.explanation.findings
    assert finding.kind == "mistake" and finding.points[0] == point
    assert any(key in mistake.key for mistake in finding.mistakes), finding.mistakes[0].key


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("right")
    model().save_pretrained(place)
    return place


@pytest.mark.parametrize("kind", NAMED)
def test_what_a_checkpoint_has_wrong_is_named(kind, folder, tmp_path):
    wrong(kind).save_pretrained(tmp_path)
    report = verify(tmp_path, folder)
    assert report.first_difference.point == NAMED[kind][1]
    check(report, kind)


def test_what_differs_at_the_padding_alone_is_no_mistake():
    theirs = model()
    last = theirs.bert.encoder.layer[-1].output
    last.register_forward_hook(lambda _module, _args, output: output * MASK[: len(output), :, None])
    report = verify_models(model(), theirs, {"padded": BATCH})
    assert report.first_difference.point == "encoder.layer.1.output"
    assert report.explanation is None
    assert "every value is what BERT makes of the values before it" in str(report)


def test_checkpoints_of_other_sizes_are_not_explained(folder, tmp_path):
    small("BertForPreTraining", **SETTINGS | {"intermediate_size": 44}).save_pretrained(tmp_path)
    report = verify(tmp_path, folder)
    assert report.first_difference.point == "encoder.layer.0.attention.self.query" or not report.same
    assert report.explanation is None


@pytest.mark.parametrize(("kind", "ending"), [("eps", "npz"), ("act", "safetensors")])
def test_what_recorded_values_have_wrong_is_named(kind, ending, folder, tmp_path, capsys):
    numpy = pytest.importorskip("numpy")
    values = {f"t{value.order}": value.tensor.contiguous().clone() for value in observe(wrong(kind), BATCH).values}
    path = tmp_path / f"run.{ending}"
    if ending == "npz":
        numpy.savez(path, **{name: tensor.numpy() for name, tensor in (values | BATCH).items()})
    else:
        save_file(values | BATCH, path)
    check(verify(folder, values=path), kind)
    if kind != "act":
        return
    assert main(["verify", str(folder), "--values", str(path), "--json", "--language", "ko"]) == 1
    (finding,) = json.loads(capsys.readouterr().out)["explanation"]["findings"]
    assert "활성화" in finding["title"] and "encoder.layer.0.intermediate" in finding["where"]


def test_right_values_have_no_difference(folder, tmp_path, capsys):
    save_file(
        {f"t{v.order}": v.tensor.contiguous().clone() for v in observe(model(), BATCH).values} | BATCH,
        tmp_path / "r.safetensors",
    )
    assert main(["verify", str(folder), "--values", str(tmp_path / "r.safetensors")]) == 0
    said = capsys.readouterr().out
    assert "No value differs: 40 of BERT's 40 values were found" in said


def test_values_of_texts(tmp_path, capsys):
    """The ids are those of --text, in the vocabulary of the checkpoint."""
    theirs = minibert.BertModel.from_pretrained("minibert-demo")
    tokenizer = minibert.BertTokenizer.from_pretrained("minibert-demo")
    texts = ["She sat by the bank.", "배가 고프다."]
    states = theirs(**tokenizer(texts, padding=True, return_tensors="pt"), output_hidden_states=True).hidden_states
    save_file({f"h{i}": state.detach().contiguous() for i, state in enumerate(states)}, tmp_path / "h.safetensors")
    said = ["verify", "--values", str(tmp_path / "h.safetensors")]
    assert main([*said, "--text", texts[0], "--text", texts[1]]) == 0
    assert main(said) == 2
    assert "say the text (--text)" in capsys.readouterr().err
    assert main([*said, "--text", "The river."]) == 2
    assert "Nothing there has the shape of a value of this model" in capsys.readouterr().err


def test_verify_values_of_several_batches():
    batches = {"all": BATCH, "one": {"input_ids": BATCH["input_ids"][1:2]}}
    values = {n: {v.name: v.tensor for v in observe(model(), complete(b)).values} for n, b in batches.items()}
    report = verify_values(model(), values, batches, names=("ours", "theirs"))
    assert (
        report.same and report.ours == "theirs" and {point.status for point in report.explanation.points} == {"found"}
    )
    with pytest.raises(InputError, match="batches called all, one, and values of all"):
        verify_values(model(), {"all": values["all"]}, batches)
    wrong_values = {
        n: {v.name: v.tensor for v in observe(wrong("gamma"), complete(b)).values} for n, b in batches.items()
    }
    check(verify_values(model(), wrong_values, batches), "gamma")
    check(verify_values(model(), wrong_values["all"], BATCH), "gamma")


def complete(batch):
    return {"attention_mask": torch.ones_like(batch["input_ids"]), "token_type_ids": batch["input_ids"] * 0} | batch


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"input_ids": BATCH["input_ids"] + 80},
            r"hold \d+ at \(0, .\), which is outside this model's vocabulary of 90",
        ),
        ({"token_type_ids": BATCH["token_type_ids"] * 7}, "hold 7 at .* outside this model's table of segments of 2"),
        ({"input_ids": torch.ones(3, 40, dtype=torch.long)}, "have 40 tokens; this model has 32 positions"),
        ({"x": torch.randn(3, T, 20)}, "Nothing there has the shape .* of 3 × 13 × 24"),
        ({"x": torch.randn(3, 7, 24)}, "Nothing there has the shape .* of 3 × 13 × 24"),
    ],
)
def test_values_that_are_not_of_this_model(changed, sentence):
    values = {"x": torch.randn(3, T, 24), **BATCH} | changed
    if values["input_ids"].shape[1] != T:
        values = {"x": values["x"], "input_ids": values["input_ids"]}
    with pytest.raises(InputError, match=sentence):
        verify_values(model(), values)


def sums(path):
    return {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in path.iterdir()}


@pytest.fixture
def graphs(tmp_path):
    """ONNX files of the right model and of one with a mistake, the latter also with its weights apart."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    export(Port(model().bert), tmp_path / "right.onnx")
    export(Port(wrong("act").bert), tmp_path / "wrong.onnx")
    apart = {"save_as_external_data": True, "location": "weights.bin", "size_threshold": 0}
    onnx.save(onnx.load(tmp_path / "wrong.onnx"), tmp_path / "apart.onnx", **apart)
    return tmp_path


def test_onnx_files(graphs, folder, capsys):
    before = sums(graphs)
    assert main(["verify", str(folder), "--against", str(graphs / "right.onnx")]) == 0
    assert "No value differs: 33 of BERT's 40 values" in capsys.readouterr().out
    assert main(["verify", str(folder), "--against", str(graphs / "apart.onnx"), "--json", "--language", "zh"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"] == "differs"
    assert [finding["title"] for finding in report["explanation"]["findings"]] == ["激活函数不同"]
    check(verify_models(model(), graphs / "wrong.onnx"), "act")
    assert sums(graphs) == before


def test_mistakes_with_onnx_files(graphs, folder, tmp_path, monkeypatch, capsys):
    other = small(**SETTINGS | {"hidden_size": 12})
    export(Port(other), tmp_path / "other.onnx")
    export(Port(small(**SETTINGS | {"vocab_size": 91})), tmp_path / "more.onnx")
    (tmp_path / "weights.bin").unlink()
    (tmp_path / "text.onnx").write_text("no graph")
    for file, more, sentence in (
        ("none.onnx", [], "There is no file"),
        ("text.onnx", [], "cannot be read as ONNX"),
        (
            "other.onnx",
            [],
            "Nothing there has the shape of a value of this model, which has hidden states of 4 × 13 × 24",
        ),
        ("apart.onnx", [], "apart.onnx cannot be run by onnxruntime"),
        ("right.onnx", ["--dtype", "float64"], "have a dtype of their own"),
    ):
        assert main(["verify", str(folder), "--against", str(tmp_path / file), *more]) == 2
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1, said
    with pytest.raises(InputError, match="leave dtype out"):
        verify_models(model(), tmp_path / "right.onnx", dtype="float64")
    with pytest.raises(InputError, match="is no .onnx file"):
        verify_models(model(), tmp_path / "right")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    assert main(["verify", str(folder), "--against", str(tmp_path / "right.onnx")]) == 2
    assert "onnxruntime is not installed; for ONNX files: in a checkout" in capsys.readouterr().err


def test_one_other_side_and_only_one():
    with pytest.raises(InputError, match="against, or values, and not both"):
        verify("minibert-demo")
    with pytest.raises(InputError, match="against, or values, and not both"):
        verify("minibert-demo", "transformers", values="x.npz")


def test_files_given_to_the_wrong_option(folder, tmp_path, capsys):
    """A golden to --values, recorded values to --against, and a bound of 0 for either."""
    make_golden(folder, tmp_path / "golden.safetensors", only_layers=True)
    save_file({"x": torch.randn(3, T, 24), **BATCH}, tmp_path / "values.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no header")
    for option, file, more, sentence in (
        ("--values", "golden.safetensors", [], "is a golden, which brings its inputs: compare with it by --against"),
        ("--values", "broken.safetensors", [], "is not a whole safetensors file"),
        ("--values", "values.safetensors", ["--bound", "0"], "bound is 0: values that are found by their numbers"),
        ("--against", "values.safetensors", [], "compare with them by --values"),
    ):
        assert main(["verify", str(folder), option, str(tmp_path / file), *more]) == 2
        said = capsys.readouterr().err
        assert sentence in said and said.count("\n") == 1, said
    with pytest.raises(InputError, match="bound is 0"):
        verify_models(model(), lambda input_ids: input_ids.float(), bound=0)
