"""ONNX files as runs that are explained: right graphs by either exporter, wrong graphs, graphs with fewer inputs."""

import contextlib
import io
import math
import sys
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import minibert
from minibert.errors import InputError, MissingExtraError
from minibert.verify.computation import Reference
from minibert.verify.onnx_runs import OnnxModel, explain_onnx, observe_onnx
from minibert.verify.search import explain_runs
from tests.support.small_models import small

numpy = pytest.importorskip("numpy")
onnx = pytest.importorskip("onnx", reason="onnx is not installed (make test does)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (make test does)")

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
SETTINGS = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 90}


class Port(nn.Module):
    """The model's last hidden states, for the exporters."""

    def __init__(self, model: nn.Module, **without: bool) -> None:
        super().__init__()
        self.model, self.without = model, without

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        mask = torch.ones_like(attention_mask) if self.without.get("mask") else attention_mask
        if self.without.get("mask_input"):
            mask = torch.ones_like(input_ids)
        segments = torch.zeros_like(input_ids) if self.without.get("segments") else token_type_ids
        return self.model(input_ids, mask, segments)[0]


def pairs(vocabulary: int = 90, T: int = 11) -> dict[str, dict[str, Tensor]]:
    """Padded pairs, and one text."""
    ids = torch.randint(1, vocabulary, (3, T), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(T) < torch.tensor([[T - 3], [T], [5]])).long()
    segments = (torch.arange(T) >= 4).long() * mask
    padded = dict(zip(INPUTS, (ids, mask, segments), strict=True))
    return {"pairs": padded, "one": {role: tensor[1:2] for role, tensor in padded.items()}}


def export(port: nn.Module, path: Any, *, padding: bool = True, dynamo: bool = False, fixed: bool = False, **more: Any):
    """Export from an example of (2, 7) with or without padding."""
    ids, mask, segments = (tensor[:2, :7].clone() for tensor in pairs()["pairs"].values())
    mask = torch.ones_like(mask)
    if padding:
        mask[1, 5:] = 0
    names = {"input_names": list(INPUTS), "output_names": ["hidden"], **more}
    if fixed:
        axes = {}
    elif dynamo:
        free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
        axes = {"dynamic_shapes": dict.fromkeys(INPUTS, free)}
    else:
        axes = {"dynamic_axes": {name: {0: "texts", 1: "tokens"} for name in (*INPUTS, "hidden")}}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        torch.onnx.export(port.eval(), (ids, mask, segments), str(path), dynamo=dynamo, **names, **axes)
    return path


def explain(path: Any, model: Any, batches: dict[str, dict[str, Tensor]]) -> Any:
    runs = {name: observe_onnx(path, batch) for name, batch in batches.items()}
    weights = {name: tensor.double() for name, tensor in model.state_dict().items() if not name.startswith("pooler")}
    reference = Reference(model.config, weights, dtype=next(model.parameters()).dtype)
    fitted = {name: batch for name, (batch, _) in runs.items()}
    return explain_runs(reference, fitted, {name: seen for name, (_, seen) in runs.items()})


def named(explanation: Any) -> list[set[str]]:
    return [{mistake.key for mistake in finding.mistakes} for finding in explanation.findings]


@pytest.fixture(scope="module")
def model():
    return small(**SETTINGS, attn_implementation="eager")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("padding", [True, False])
def test_a_right_graph_has_no_difference(attention, padding, tmp_path):
    model = small(**SETTINGS, attn_implementation=attention)
    path = export(Port(model), tmp_path / "model.onnx", padding=padding)
    before = path.read_bytes()
    found = explain(path, model, pairs())
    assert found.same
    assert all(point.status == "found" for point in found.points if "scores" not in point.point)
    assert path.read_bytes() == before


@pytest.mark.slow
@pytest.mark.parametrize("padding", [True, False])
def test_a_right_graph_of_the_dynamo_exporter_has_no_difference(model, padding, tmp_path):
    path = export(Port(model), tmp_path / "model.onnx", padding=padding, dynamo=True)
    found = explain(path, model, pairs())
    assert found.same
    assert all(point.status == "found" for point in found.points)


def test_external_data_is_found_beside_the_file(model, tmp_path, monkeypatch):
    path = export(Port(model), tmp_path / "model.onnx")
    apart = tmp_path / "apart" / "model.onnx"
    apart.parent.mkdir()
    onnx.save(onnx.load(path), apart, save_as_external_data=True, location="weights.bin", size_threshold=0)
    monkeypatch.chdir(tmp_path)
    assert explain("apart/model.onnx", model, pairs()).same
    (apart.parent / "weights.bin").unlink()
    with pytest.raises(InputError, match="cannot be run by onnxruntime"):
        observe_onnx(apart, pairs()["pairs"])


def test_values_have_their_names_and_stand_in_order(model, tmp_path):
    path = export(Port(model), tmp_path / "model.onnx", output_names=["eine_Ausgabe"])
    _, seen = observe_onnx(path, pairs()["pairs"])
    assert list(seen.outputs) == ["eine_Ausgabe"]
    assert [value.order for value in seen.values] == list(range(len(seen.values)))
    found = explain(path, model, pairs())
    places = {point.point: point.theirs for point in found.points}
    assert "Softmax" in places["encoder.layer.1.attention.self.probabilities"]
    assert "/layer.1/" in places["encoder.layer.1.attention.self.probabilities"]


def test_a_scale_of_one_over_d_is_named(model, tmp_path):
    path = export(Port(model), tmp_path / "model.onnx")
    graph = onnx.load(path)
    D, changed = 8, 0
    for tensor in [a.t for node in graph.graph.node for a in node.attribute if a.name == "value"]:
        number = onnx.numpy_helper.to_array(tensor)
        if number.size == 1 and math.isclose(number.item(), D**-0.5, rel_tol=1e-6):
            tensor.CopyFrom(onnx.numpy_helper.from_array((number / D**0.5).astype(number.dtype)))
            changed += 1
    assert changed == 3
    onnx.save(graph, path)
    found = explain(path, model, pairs())
    assert named(found) == [{"attention.wrong_scale"}]
    assert "1/D" in found.findings[0].mistakes[0].name
    assert found.findings[0].points[0] == "encoder.layer.0.attention.self.scores"
    assert len(found.findings[0].points) == 3


def test_a_tanh_gelu_is_named(model, tmp_path):
    wrong = small(**SETTINGS, attn_implementation="eager", hidden_act="gelu_pytorch_tanh")
    wrong.load_state_dict(model.state_dict())
    found = explain(export(Port(wrong), tmp_path / "model.onnx"), model, pairs())
    assert len(found.findings) == 1
    assert any("tanh" in mistake.name for mistake in found.findings[0].mistakes)
    assert found.findings[0].points[0] == "encoder.layer.0.intermediate"


def test_a_mask_without_effect_is_named(model, tmp_path):
    found = explain(export(Port(model, mask=True), tmp_path / "model.onnx"), model, pairs())
    assert len(found.findings) == 1
    assert any("mask" in mistake.key for mistake in found.findings[0].mistakes)
    assert found.findings[0].points[0] == "encoder.layer.0.attention.self.probabilities"


def test_a_graph_without_a_mask_runs_one_text_without_padding(model, tmp_path):
    path = export(Port(model, mask_input=True, segments=True), tmp_path / "model.onnx")
    theirs = OnnxModel(path)
    assert list(theirs.roles.values()) == ["input_ids"]
    batch, notes = theirs.fit(pairs()["pairs"])
    assert batch["input_ids"].tolist() == pairs()["pairs"]["input_ids"][1:2].tolist()
    assert batch["attention_mask"].all() and not batch["token_type_ids"].any()
    assert [note.split("no input ")[1] for note in notes] == [
        "token_type_ids: all segments are 0.",
        "attention_mask: one text is run, without padding.",
    ]
    assert explain(path, model, pairs()).same


def test_a_fixed_size_is_reached_by_padding(model, tmp_path):
    path = export(Port(model), tmp_path / "model.onnx", fixed=True)
    for T in (4, 9):
        batch, notes = OnnxModel(path).fit(pairs(T=T)["one"])
        assert batch["input_ids"].shape == (2, 7)
        assert len(notes) == 2
    assert explain(path, model, pairs(T=6)).same


def test_a_float16_graph_is_compared_in_its_own_rounding(tmp_path):
    model = small(**SETTINGS, attn_implementation="eager").half()
    path = export(Port(model), tmp_path / "model.onnx")
    _, seen = observe_onnx(path, pairs()["pairs"])
    assert {value.tensor.dtype for value in seen.values} >= {torch.float16}
    assert explain(path, model, pairs()).same
    assert named(explain(path, model.float(), pairs())) == [{"values.rounded"}]


def test_a_quantised_graph_is_observed(model, tmp_path):
    from onnxruntime.quantization import quantize_dynamic

    path, small_one = export(Port(model), tmp_path / "model.onnx"), tmp_path / "int8.onnx"
    quantize_dynamic(str(path), str(small_one))
    assert any(node.op_type == "MatMulInteger" for node in onnx.load(small_one).graph.node)
    batch, seen = observe_onnx(small_one, pairs()["pairs"])
    right = model(**batch).last_hidden_state[batch["attention_mask"].bool()]
    theirs = seen.outputs["hidden"].tensor[batch["attention_mask"].bool()]
    assert 0 < (right - theirs).abs().max() < 0.5
    assert torch.nn.functional.cosine_similarity(right, theirs, dim=-1).min() > 0.95


def graph_of(text: str, path: Any) -> Any:
    onnx.save(onnx.parser.parse_model(text), path)
    return path


HEADER = '<ir_version: 9, opset_import: ["" : 18, "own" : 1]>\n'


def test_values_inside_branches_and_functions_are_seen(tmp_path):
    path = graph_of(
        HEADER
        + """nested (int64[B,T] input_ids) => (float[B,T] out) {
            x = Cast<to=1>(input_ids)
            yes = Constant<value = bool {1}>()
            out = If(yes) <
                then_branch = then () => (float[B,T] a) { y = Exp(x)
                    no = Constant<value = bool {0}>()
                    a = If(no) <
                        then_branch = inner () => (float[B,T] c) { c = Neg(y) },
                        else_branch = other () => (float[B,T] d) { z = own.twice(y)
                            d = Sqrt(z) } > },
                else_branch = otherwise () => (float[B,T] b) { b = Neg(x) } >
        }
        <domain: "own", opset_import: ["" : 18]>
        twice (p) => (q) { q = Add(p, p) }
        """,
        tmp_path / "nested.onnx",
    )
    batch = {role: tensor % 4 for role, tensor in pairs()["one"].items()}
    batch["attention_mask"] = torch.ones_like(batch["attention_mask"])
    _, seen = observe_onnx(path, batch)
    x = batch["input_ids"].float()
    operations = [value.name.split("(")[1].strip(")").split()[0] for value in seen.values[:-1]]
    assert [name for name in operations if name != "Cast"] == ["Exp", "Add", "Sqrt"]
    assert torch.allclose(seen.outputs["out"].tensor, (2 * x.exp()).sqrt())


def test_what_is_no_onnx_file_is_told_in_a_sentence(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        OnnxModel(tmp_path / "absent.onnx")
    broken = tmp_path / "broken.onnx"
    for content in (b"", b"no onnx at all", b"\x08\x09"):
        broken.write_bytes(content)
        with pytest.raises(InputError, match=r"cannot be read as ONNX|is no ONNX model"):
            OnnxModel(broken)


def test_inputs_that_bert_does_not_have_are_told(tmp_path):
    path = graph_of(
        HEADER + "pixels (float[B,3] pixel_values) => (float[B,3] out) { out = Exp(pixel_values) }", tmp_path / "p.onnx"
    )
    with pytest.raises(InputError, match="takes pixel_values"):
        OnnxModel(path)


def test_an_operator_that_onnxruntime_does_not_have_is_told(tmp_path):
    path = graph_of(
        HEADER + "g (int64[B,T] input_ids) => (float[B,T] out) { out = own.mystery(input_ids) }", tmp_path / "o"
    )
    with pytest.raises(InputError, match="cannot be run by onnxruntime"):
        observe_onnx(path, pairs()["one"])


def test_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[onnx\]'"):
        OnnxModel(tmp_path / "model.onnx")


@pytest.mark.slow
@pytest.mark.parametrize(("padding", "dynamo"), [(True, False), (False, False), (True, True), (False, True)])
def test_all_minilm_has_no_difference(minilm, padding, dynamo, tmp_path):
    model = minibert.BertModel.from_pretrained(minilm, add_pooling_layer=False)
    path = export(Port(model), tmp_path / "model.onnx", padding=padding, dynamo=dynamo)
    assert explain(path, model, pairs(30000)).same


def draws(path: Any, kind: str) -> None:
    """Put something random into the graph, behind the embeddings' LayerNorm."""
    model = onnx.load(path)
    graph = model.graph
    norm = next(node for node in graph.node if node.op_type == "LayerNormalization")
    (after,) = {node.input[0] for node in graph.node if node.op_type == "MatMul" and norm.output[0] in node.input}
    make = onnx.helper.make_node
    if kind.startswith("dropout"):
        seed = {"seed": 5} if kind == "dropout with a seed" else {}
        more = [make("Dropout", [after, "ratio", "yes"], ["drawn"], **seed)]
        ratio, yes = numpy.array(0.1, "float32"), numpy.array(True)
        graph.initializer.extend(
            onnx.numpy_helper.from_array(value, name) for name, value in (("ratio", ratio), ("yes", yes))
        )
    else:
        more = [make(kind, [after], ["noise"]), make("Add", [after, "noise"], ["drawn"])]
    at = list(graph.node).index(norm) + 1
    for node in list(graph.node)[at:]:
        node.input[:] = ["drawn" if name == after else name for name in node.input]
    for node in reversed(more):
        graph.node.insert(at, node)
    onnx.save(model, path)


@pytest.mark.parametrize(
    "kind",
    [
        "dropout",
        "dropout with a seed",
        pytest.param("RandomNormalLike", marks=pytest.mark.slow),
        pytest.param("RandomUniformLike", marks=pytest.mark.slow),
    ],
)
def test_a_graph_that_draws_is_told(kind, model, tmp_path):
    path = export(Port(model), tmp_path / "model.onnx")
    draws(path, kind)
    found = explain_onnx(model, path, {"pairs": pairs()["pairs"]})
    assert found.findings[0].kind == "random"
    assert named(found)[0] == {"random.dropout"}
    assert ("Dropout" if kind.startswith("dropout") else kind) in found.findings[0].theirs
    if kind.startswith("dropout"):  # without it, the rest is right
        assert len(found.findings) == 1
        assert {point.status for point in found.points if point.point.endswith("output")} == {"found"}


def test_what_was_changed_for_the_graph_is_noted(model, tmp_path):
    path = export(Port(model, mask_input=True, segments=True), tmp_path / "model.onnx")
    found = explain_onnx(model, path, pairs())
    assert found.same
    assert found.notes[0].endswith("has no input token_type_ids: all segments are 0.")
    assert not any("nothing but padding" in note for note in found.notes)


INPUT = "g (int64[B,T] input_ids) => (float[B,T] out) { out = Cast<to=1>(input_ids) }"


def test_hostile_graphs_are_told(tmp_path):
    def told(change: Any = lambda _: None, text: str = INPUT) -> str:
        graph = onnx.parser.parse_model(HEADER + text)
        change(graph)
        onnx.save(graph, tmp_path / "hostile.onnx")
        with pytest.raises(InputError) as raised:
            observe_onnx(tmp_path / "hostile.onnx", pairs()["one"])
        return str(raised.value)

    def outside(graph: Any) -> None:
        stored = graph.graph.initializer.add(name="w", data_type=1, dims=[4], data_location=1)
        stored.external_data.add(key="location", value="../../../etc/passwd")
        graph.graph.node.add(op_type="Identity", input=["w"], output=["y"])

    assert "External data path escapes model directory" in told(outside)
    assert "an If has no input" in told(lambda graph: graph.graph.node.add(op_type="If", output=["z"]))

    def wide(graph: Any) -> None:
        graph.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 1 << 40

    assert "× 1099511627776 ids at once, too many to run here" in told(wide)
    function = '<domain: "own", opset_import: ["" : 18, "own" : 1]>\n'
    calls = "".join(
        f"{function}f{k} (p) => (q) {{ " + "".join(f"y{i} = own.f{k + 1}(p)\n" for i in range(8)) + "q = Neg(y0) }\n"
        for k in range(12)
    )
    laughs = INPUT.replace("out = Cast<to=1>(input_ids)", "x = Cast<to=1>(input_ids)\nout = own.f0(x)") + calls
    assert "operations with its functions inlined" in told(text=laughs)
    assert "must not be recursive" in told(text=laughs + f"{function}f12 (p) => (q) {{ q = own.f0(p) }}")


class Sentence(Port):
    """A sentence's vector of the last hidden states, for the exporters."""

    def __init__(self, model: nn.Module, pooling: str, dense: nn.Module | None = None) -> None:
        super().__init__(model)
        self.pooling, self.dense = pooling, dense

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        hidden = super().forward(input_ids, attention_mask, token_type_ids)
        weights = attention_mask.to(hidden.dtype)[:, :, None]
        if self.pooling == "cls":
            vectors = hidden[:, 0]
        elif self.pooling == "max":
            vectors = hidden.masked_fill(weights == 0, float("-inf")).amax(dim=1)
        elif self.pooling == "no tanh":
            return self.model.pooler.dense(hidden[:, 0])
        else:
            weights = weights * weights.cumsum(dim=1) if self.pooling == "weightedmean" else weights
            vectors = (hidden * weights).sum(dim=1) / weights.sum(dim=1)
        vectors = vectors if self.dense is None else torch.tanh(self.dense(vectors))
        return nn.functional.normalize(vectors, dim=-1)


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "weightedmean"])
def test_a_sentences_vector_is_not_taken_for_the_pooler(model, pooling, tmp_path):
    found = explain_onnx(
        model, export(Sentence(model, pooling), tmp_path / "s.onnx", output_names=["vectors"]), pairs()
    )
    assert found.same, found
    status = {point.point: point.status for point in found.points}
    assert status["encoder.layer.1.output"] == "found"
    assert {status["pooler.dense"], status["pooler"]} == {"absent"}


def test_a_dense_step_is_the_poolers_only_where_no_sentence_is_returned(model, tmp_path):
    port = Sentence(model, "mean", nn.Linear(24, 24))
    path = export(port, tmp_path / "s.onnx", output_names=["sentence_embedding"])
    assert explain_onnx(model, path, pairs()).same
    path = export(port, tmp_path / "p.onnx", output_names=["pooler_output"])
    assert explain_onnx(model, path, pairs()).first_difference == "pooler.dense"


@pytest.mark.parametrize("name", ["sentence_embedding", "vectors"])
def test_a_pooler_that_is_wrong_is_found_in_a_sentences_vector(model, name, tmp_path):
    path = export(Sentence(model, "no tanh"), tmp_path / "s.onnx", output_names=[name])
    assert named(explain_onnx(model, path, pairs())) == [{"pooler.activation"}]


def test_a_file_in_8_bits_has_one_finding_and_a_note(model, tmp_path):
    quantization = pytest.importorskip("onnxruntime.quantization")
    path = export(Port(model), tmp_path / "model.onnx")
    quantization.quantize_dynamic(path, tmp_path / "int8.onnx")
    found = explain_onnx(model, tmp_path / "int8.onnx", pairs())
    assert named(found) == [{"values.rounded"}]
    assert found.findings[0].mistakes[0].details["dtype"] == "int8"
    assert "int8.onnx computes in 8 bits" in " ".join(found.notes)
    assert not any("8 bits" in note for note in explain_onnx(model, path, pairs()).notes)
