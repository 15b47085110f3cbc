"""A checkpoint that is an ONNX file: every weight found, to the bit, in every writing; and nothing run."""

import json
import random
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import Tensor, nn

import minibert
from minibert import BertConfig, BertModel, CheckpointError
from minibert.cli import main
from tests.support.onnx_models import GraphOfBert, change, run

SIZES = {
    "vocab_size": 40, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 20,
    "max_position_embeddings": 18,
}  # fmt: skip


def model_of(name: str = "BertModel", seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    model = getattr(minibert, name)(BertConfig(**{**SIZES, **settings}))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def written(folder: Path, model: BertModel, name: str = "model.onnx", **how: Any) -> GraphOfBert:
    """A folder with a graph and its config."""
    graph = GraphOfBert(model, **how)
    folder.mkdir(exist_ok=True)
    (folder / name).parent.mkdir(exist_ok=True)
    onnx.save(graph.build(), folder / name)
    model.config.save_pretrained(folder)
    return graph


def assert_same(found: nn.Module, expected: dict[str, Tensor]) -> None:
    state = found.state_dict()
    assert state.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor.float()), name


WRITINGS = [
    {},
    {"names": "kept"},
    {"names": "none"},
    {"names": "biases", "prefix": "0.auto_model."},
    {"names": "kept", "prefix": "model.bert."},
    {"norm": "written", "gelu": "tanh", "names": "none"},
    {"norm": "skip", "gelu": "bias", "attention": "fused"},
    {"norm": "skip", "gelu": "fast", "attention": "multi", "names": "none"},
    {"attention": "op", "gelu": "op"},
    {"attention": "split", "gelu": "relu", "names": "none"},
    {"dense": "Gemm"},
    {"dense": "Gemm", "names": "none"},
    {"dense": "Transposed", "names": "kept"},
    {"dense": "Transposed", "names": "none"},
    {"weights": "float16"},
    {"weights": "float16", "norm": "written", "names": "none"},
    {"weights": "qdq", "names": "none"},
    {"weights": "qdq", "names": "kept"},
    {"weights": "dynamic", "names": "kept"},
    {"weights": "dynamic", "norm": "written", "names": "none"},
]
ACTIVATIONS = {"tanh": "gelu_new", "fast": "gelu_pytorch_tanh", "relu": "relu"}


def text(batch: int = 3, tokens: int = 9, vocabulary: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(batch * tokens)
    ids = torch.randint(1, vocabulary, (batch, tokens), generator=generator)
    mask = torch.ones_like(ids)
    mask[-1, tokens // 2 :] = 0
    types = (torch.arange(tokens) > tokens // 2).long().expand(batch, tokens).contiguous()
    return ids, mask, types


@pytest.mark.parametrize("how", WRITINGS, ids=lambda how: "-".join(f"{k}={v}" for k, v in how.items()) or "plain")
def test_every_writing(how: dict[str, Any], tmp_path: Path) -> None:
    model = model_of(hidden_act=ACTIVATIONS.get(how.get("gelu", ""), "gelu"))
    graph = written(tmp_path, model, **how)
    found = BertModel.from_pretrained(tmp_path)
    assert_same(
        found, graph.state if how.get("weights") != "float16" else {n: t.half() for n, t in graph.state.items()}
    )
    assert found.load_report is not None
    listed = [tensor.name for tensor in found.load_report.tensors]
    stored = [tensor.name for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer]
    assert len(set(listed)) == len(listed)
    assert {name.split("[")[0] for name in listed} == set(stored)  # every tensor of the file is accounted for
    # And the graph computes what the model computes: the writing is right, and so is what was read.
    ids, mask, types = text()
    theirs = run(tmp_path / "model.onnx", ids, mask, types)[0]
    with torch.no_grad():
        ours = found(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
    bound = {"float16": 1e-2, "dynamic": 0.1}.get(how.get("weights", ""), 2e-5)  # rounded on the way
    assert float((ours - theirs)[mask.bool()].abs().max()) < bound * float(ours.abs().max())


def test_what_the_report_says(tmp_path: Path) -> None:
    written(tmp_path, model_of(), prefix="model.", weights="dynamic")
    report = BertModel.from_pretrained(tmp_path).load_report
    assert report is not None
    assert "ONNX, written by by hand; the graph was not run" in report.notes[0]
    assert "15 int8 weights dequantised to float32" in report.notes[0]  # three tables, six matrices in each layer
    assert {record.dtype for record in report.loaded} == {"float32"}
    query = next(t for t in report.loaded if t.parameter == "encoder.layer.0.attention.self.query.weight")
    assert query.name.endswith("_quantized")
    assert query.note == "found by the bias beside it; int8 dequantised; transposed"
    assert any(t.note == "the scale or zero point of an int8 weight" for t in report.unused)


def test_a_sweep_of_configurations(tmp_path: Path) -> None:
    """Random sizes and writings."""
    drawn = random.Random(3)
    for number in range(24):
        heads = drawn.choice([1, 2, 3, 4])
        settings = {
            "hidden_size": heads * drawn.choice([4, 5, 8]), "num_attention_heads": heads,
            "num_hidden_layers": drawn.choice([1, 2, 4]), "intermediate_size": drawn.choice([7, 24]),
            "type_vocab_size": drawn.choice([2, 3]), "layer_norm_eps": drawn.choice([1e-12, 1e-6, 1e-5]),
        }  # fmt: skip
        how = {
            "norm": drawn.choice(["op", "written", "skip"]), "gelu": drawn.choice(["erf", "op", "bias"]),
            "attention": drawn.choice(["written", "fused", "multi", "op", "split"]),
            "weights": drawn.choice(["float", "qdq", "dynamic"]), "names": drawn.choice(["kept", "biases", "none"]),
            "dense": drawn.choice(["MatMul", "Gemm", "Transposed"]),
        }  # fmt: skip
        model = model_of(seed=number, **settings)
        graph = written(tmp_path / str(number), model, **how)
        assert_same(BertModel.from_pretrained(tmp_path / str(number)), graph.state)
        (tmp_path / str(number) / "config.json").unlink()
        found = BertModel.from_pretrained(tmp_path / str(number))
        assert_same(found, graph.state)
        shown = {name: getattr(found.config, name) for name in (*settings, "vocab_size", "hidden_act")}
        assert shown == {name: getattr(model.config, name) for name in shown}


# ── a real one ─────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("batch", "tokens"), [(1, 1), (1, 16), (4, 33), (2, 128), (1, 512)])
def test_parity_with_onnxruntime_on_a_real_file(paraphrase_onnx: Path, batch: int, tokens: int) -> None:
    """Three layers of MiniLM: hidden states within 1e-5 of the largest value."""
    model = BertModel.from_pretrained(paraphrase_onnx)  # without a config.json: the graph shows all of it
    ids, mask, types = text(batch, tokens, vocabulary=30522)
    mask[0] = 1
    theirs = next(each for each in run(paraphrase_onnx, ids, mask, types) if each.shape == (batch, tokens, 384))
    with torch.no_grad():
        ours = model(input_ids=ids, attention_mask=mask).last_hidden_state
    visible = mask.bool()
    assert float((ours - theirs)[visible].abs().max()) <= 1e-5 * float(theirs[visible].abs().max())


def test_the_account_of_a_real_file(paraphrase_onnx: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(paraphrase_onnx), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert {name: report["config"][name] for name in ("hidden_size", "num_attention_heads", "layer_norm_eps")} == {
        "hidden_size": 384, "num_attention_heads": 12, "layer_norm_eps": 1e-12
    }  # fmt: skip
    assert report["parameters"] == 17_241_984
    assert len(report["tensors"]) == 53  # three tables, a norm, three layers of 16
    assert all(tensor["parameter"] for tensor in report["tensors"])
    assert sum("found by the bias beside it; transposed" in tensor["note"] for tensor in report["tensors"]) == 18


@pytest.mark.parametrize("names", ["kept", "biases", "none"])
def test_local_functions(names: str, tmp_path: Path) -> None:
    """The whole BERT in one function, which is called by another."""
    model = model_of()
    written(tmp_path, model, names=names)

    def wrap(proto: onnx.ModelProto) -> None:
        graph, helper = proto.graph, onnx.helper
        inputs = [each.name for each in (*graph.input, *graph.initializer)]
        outputs = [each.name for each in graph.output]
        formal = {name: f"x{number}" for number, name in enumerate(inputs)}
        inner = []
        for each in graph.node:
            each.input[:] = [formal.get(name, name) for name in each.input]
            if each.op_type == "LayerNormalization":  # the epsilon comes from the call
                next(a for a in each.attribute if a.name == "epsilon").ref_attr_name = "small"
            inner.append(each)
        opsets = list(proto.opset_import)
        own = helper.make_function("local", "Bert", [*formal.values()], outputs, inner, opsets, ["small"])
        call = helper.make_node("Bert", [*formal.values()], outputs, domain="local", small=1e-12)
        outer = helper.make_function(
            "local", "Outer", [*formal.values()], outputs, [call], [*opsets, helper.make_opsetid("local", 1)]
        )
        proto.functions.extend([own, outer])
        del graph.node[:]
        graph.node.append(helper.make_node("Outer", inputs, outputs, domain="local"))
        proto.opset_import.append(helper.make_opsetid("local", 1))

    change(tmp_path / "model.onnx", wrap)
    found = BertModel.from_pretrained(tmp_path)
    assert_same(found, model.state_dict())
    assert found.load_report is not None
    assert "not followed" not in str(found.load_report)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("how", [{"norm": "written", "names": "none"}, {"weights": "dynamic", "attention": "fused"}])
def test_damaged_at_random(how: dict[str, Any], tmp_path: Path) -> None:
    """A few bytes changed or lost: the file loads, since most bytes are numbers, or there is a sentence."""
    content = GraphOfBert(model_of(), **how).build().SerializeToString()
    drawn = random.Random(7)
    refused = 0
    for number in range(80):
        damaged = bytearray(content)
        for _ in range(drawn.choice([1, 2, 5])):
            damaged[drawn.randrange(len(damaged))] ^= 1 << drawn.randrange(8)
        if number % 8 == 0:
            start = drawn.randrange(len(damaged))
            del damaged[start : start + drawn.randrange(1, 40)]
        (tmp_path / "model.onnx").write_bytes(damaged)
        try:
            BertModel.from_pretrained(tmp_path)
        except minibert.MinibertError as error:
            refused += 1
            assert str(error).isprintable()
    assert refused > 20


# ── where it lies ────────────────────────────────────────────────────────────────────────────────


def test_folders_and_paths(tmp_path: Path) -> None:
    model = model_of()
    written(tmp_path / "a", model)
    written(tmp_path / "b", model, "onnx/model.onnx")
    written(tmp_path / "c", model, "onnx/model_quantized.onnx", weights="dynamic")
    for source in ("a", "a/model.onnx", "b", "b/onnx/model.onnx"):
        assert_same(BertModel.from_pretrained(tmp_path / source), model.state_dict())
    assert BertModel.from_pretrained(tmp_path / "c" / "onnx" / "model_quantized.onnx").config.to_dict() == {
        **model.config.to_dict(), "model_type": "bert"
    }  # fmt: skip
    with pytest.raises(
        CheckpointError, match=r"It holds onnx/model_quantized\.onnx: to read that graph, give the path"
    ):
        BertModel.from_pretrained(tmp_path / "c")
    with pytest.raises(CheckpointError, match="holds no weights"):
        BertModel.from_pretrained(tmp_path / "a", use_safetensors=True)


def test_weights_of_another_format_come_first(tmp_path: Path) -> None:
    model = model_of(seed=1)
    model.save_pretrained(tmp_path)
    written(tmp_path, model_of(seed=2))
    assert_same(BertModel.from_pretrained(tmp_path), model.state_dict())
    assert_same(BertModel.from_pretrained(tmp_path / "model.onnx"), model_of(seed=2).state_dict())


def test_external_data(tmp_path: Path) -> None:
    model = model_of()
    graph = GraphOfBert(model).build()
    (tmp_path / "onnx").mkdir()
    onnx.save(graph, tmp_path / "onnx" / "model.onnx", save_as_external_data=True, location="model.onnx_data",
              size_threshold=0)  # fmt: skip
    model.config.save_pretrained(tmp_path)
    found = BertModel.from_pretrained(tmp_path)
    assert_same(found, model.state_dict())
    assert found.load_report is not None
    assert [Path(file).name for file in found.load_report.files] == ["model.onnx", "model.onnx_data"]


def test_external_data_beyond_4_gigabytes(tmp_path: Path) -> None:
    """The numbers lie at the end of a file that is empty before them, and takes no room on the disk."""
    model = model_of()
    graph = GraphOfBert(model).build()
    position = 5 << 30
    with (tmp_path / "model.onnx.data").open("wb") as file:
        for tensor in graph.graph.initializer:
            file.seek(position)
            file.write(tensor.raw_data)
            entries = {"location": "model.onnx.data", "offset": position, "length": len(tensor.raw_data)}
            position += len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in entries.items():
                tensor.external_data.add(key=key, value=str(value))
    (tmp_path / "model.onnx").write_bytes(graph.SerializeToString())
    model.config.save_pretrained(tmp_path)
    assert_same(BertModel.from_pretrained(tmp_path), model.state_dict())


def test_external_data_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache keeps each file as a link into blobs/; the file with the numbers is fetched when the graph names it."""
    model = model_of()
    snapshot, blobs = tmp_path / "snapshots" / ("0" * 40), tmp_path / "blobs"
    for folder in (snapshot / "onnx", blobs):
        folder.mkdir(parents=True)
    onnx.save(GraphOfBert(model).build(), tmp_path / "model.onnx", save_as_external_data=True,
              location="model.onnx_data", size_threshold=0)  # fmt: skip
    model.config.save_pretrained(tmp_path)
    asked = []

    def hub_file(_: str, name: str, **__: object) -> Path | None:
        asked.append(name)
        own = tmp_path / Path(name).name
        if name not in ("config.json", "onnx/model.onnx", "onnx/model.onnx_data"):
            return None
        if own.exists():
            own.rename(blobs / own.name)
            (snapshot / name).symlink_to(blobs / own.name)
        return snapshot / name

    monkeypatch.setattr("minibert.hub.hub_file", hub_file)
    assert_same(BertModel.from_pretrained("owner/name"), model.state_dict())
    assert asked[-1] == "onnx/model.onnx_data"


def test_numbers_that_are_not_raw(tmp_path: Path) -> None:
    """float_data, int32_data (which holds float16 and int8, too), int64_data, bfloat16."""
    model = model_of()
    for kind in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE):
        written(tmp_path, model)
        expected = dict(model.state_dict())

        def spread(proto: onnx.ModelProto, kind: int = kind, expected: dict[str, Tensor] = expected) -> None:
            for tensor in proto.graph.initializer:
                array = onnx.numpy_helper.to_array(tensor)
                to = kind if array.dtype == "float32" else tensor.data_type
                values = array.flatten().tolist()
                tensor.CopyFrom(onnx.helper.make_tensor(tensor.name, to, array.shape, values))
                assert not tensor.raw_data
            cast = {onnx.TensorProto.FLOAT16: torch.float16, onnx.TensorProto.BFLOAT16: torch.bfloat16}
            expected.update({name: each.to(cast.get(kind, torch.float32)) for name, each in expected.items()})

        change(tmp_path / "model.onnx", spread)
        assert_same(BertModel.from_pretrained(tmp_path), expected)


def test_verbs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    demo = minibert.BertTokenizer.from_pretrained("minibert-demo")
    model = model_of(vocab_size=len(demo), max_position_embeddings=64)
    written(tmp_path / "x", model, "onnx/model.onnx", names="none")
    demo.save_pretrained(tmp_path / "x")
    assert main(["inspect", str(tmp_path / "x"), "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert len([t for t in listed["tensors"] if t["parameter"]]) == len(model.state_dict())
    assert main(["convert", str(tmp_path / "x"), "-o", str(tmp_path / "y")]) == 0
    assert_same(BertModel.from_pretrained(tmp_path / "y"), model.state_dict())
    capsys.readouterr()
    assert main(["verify", str(tmp_path / "x"), "--against", str(tmp_path / "y")]) == 0
    assert main(["verify", str(tmp_path / "y"), "--against", str(tmp_path / "x" / "onnx" / "model.onnx")]) == 0
    capsys.readouterr()
    texts = ["나는 배를 타고 간다.", "The weather is lovely today."]
    first, second = (minibert.Embedder.from_pretrained(tmp_path / name).encode(texts) for name in "xy")
    assert torch.equal(torch.as_tensor(first), torch.as_tensor(second))
    assert_same(minibert.AutoModel.from_pretrained(tmp_path / "x"), model.state_dict())


# ── settings ─────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("how", "config", "words"),
    [
        ({"eps": 1e-5}, {}, r"layer_norm_eps 1e-05, but config.json says 1e-12"),
        ({"eps": 1e-5, "norm": "written"}, {}, r"layer_norm_eps 1e-05, but config.json says 1e-12"),
        ({"gelu": "tanh"}, {}, r"hidden_act gelu_new, but config.json says gelu"),
        ({"gelu": "fast"}, {}, r"hidden_act gelu_new, but config.json says gelu"),
        ({"heads": 3}, {}, r"num_attention_heads 3, but config.json says 2"),
        ({"heads": 3, "attention": "fused"}, {}, r"num_attention_heads 3, but config.json says 2"),
        ({"scale": 0.25}, {}, r"multiplies its scores by 0.25, and BERT with 2 heads by 0.408248"),
        ({"scale": 1.0}, {}, r"multiplies its scores by 1, and BERT"),
        ({"gelu": "sigmoid"}, {}, r"encoder.layer.0.intermediate has an activation that is none of gelu"),
    ],
)
def test_settings_that_the_graph_contradicts(
    how: dict[str, Any], config: dict[str, Any], words: str, tmp_path: Path
) -> None:
    written(tmp_path, model_of(**config), **how)
    with pytest.raises(CheckpointError, match=words):
        BertModel.from_pretrained(tmp_path)


def test_a_setting_that_was_asked_for(tmp_path: Path) -> None:
    written(tmp_path, model_of(), eps=1e-5)
    assert BertModel.from_pretrained(tmp_path, layer_norm_eps=1e-5).config.layer_norm_eps == 1e-5
    assert BertModel.from_pretrained(tmp_path, layer_norm_eps=1e-3).config.layer_norm_eps == 1e-3


def test_one_layer_with_another_epsilon(tmp_path: Path) -> None:
    written(tmp_path, model_of())

    def spoil(proto: onnx.ModelProto) -> None:
        norms = [node for node in proto.graph.node if node.op_type == "LayerNormalization"]
        next(a for a in norms[3].attribute if a.name == "epsilon").f = 1e-3

    change(tmp_path / "model.onnx", spoil)
    with pytest.raises(CheckpointError, match=r"computes something else than BERT: .*layer_norm_eps 0.001, others"):
        BertModel.from_pretrained(tmp_path)


# ── what cannot be placed ────────────────────────────────────────────────────────────────────────


def test_names_that_contradict_the_graph(tmp_path: Path) -> None:
    written(tmp_path, model_of(), names="kept")

    def swap(proto: onnx.ModelProto) -> None:
        a, b = "encoder.layer.0.attention.self.query.bias", "encoder.layer.0.attention.self.key.bias"
        for tensor in proto.graph.initializer:
            tensor.name = {a: b, b: a}.get(tensor.name, tensor.name)
        for node in proto.graph.node:
            node.input[:] = [{a: b, b: a}.get(name, name) for name in node.input]

    change(tmp_path / "model.onnx", swap)
    with pytest.raises(CheckpointError, match=r"calls encoder.layer.0.attention.self.query.bias what is bert"):
        BertModel.from_pretrained(tmp_path)


def test_equal_tensors_that_are_stored_once(tmp_path: Path) -> None:
    """As torch's exporter stores them: zeros of one layer under the name of another."""
    model = model_of()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
    written(tmp_path, model, names="kept")
    kept: dict[bytes, str] = {}

    def once(proto: onnx.ModelProto) -> None:
        other: dict[str, str] = {}
        for tensor in list(proto.graph.initializer):
            key = tensor.raw_data + bytes(str(tensor.dims), "ascii")
            if tensor.name.endswith("bias") and kept.setdefault(key, tensor.name) != tensor.name:
                other[tensor.name] = kept[key]
                proto.graph.initializer.remove(tensor)
        for node in proto.graph.node:
            node.input[:] = [other.get(name, name) for name in node.input]

    change(tmp_path / "model.onnx", once)
    assert_same(BertModel.from_pretrained(tmp_path), model.state_dict())


def test_a_graph_that_is_not_understood(tmp_path: Path) -> None:
    """The names still tell; without them, the message names the matrices and who uses them."""
    model = model_of()

    def spoil(proto: onnx.ModelProto) -> None:  # an operation of nobody's in the attention of layer 1
        node = [each for each in proto.graph.node if each.op_type == "Softmax"][1]
        node.op_type, node.domain = "Sparsemax", "ai.somebody"
        del node.attribute[:]

    written(tmp_path / "kept", model, names="kept")
    written(tmp_path / "none", model, names="none")
    for name in ("kept", "none"):
        change(tmp_path / name / "model.onnx", spoil)
    found = BertModel.from_pretrained(tmp_path / "kept")
    assert_same(found, model.state_dict())
    assert found.load_report is not None
    assert "the graph was not followed to its end, so not all settings were compared" in str(found.load_report)
    with pytest.raises(CheckpointError, match=r"Not placed: onnx::Constant_\d+ \(12, 12\), used by MatMul /MatMul_\d+"):
        BertModel.from_pretrained(tmp_path / "none")


def test_a_matrix_after_the_encoder(tmp_path: Path) -> None:
    model = model_of()
    written(tmp_path, model)

    def more(proto: onnx.ModelProto) -> None:
        tensor = onnx.numpy_helper.from_array(torch.randn(12, 5).numpy(), "onnx::MatMul_999")
        proto.graph.initializer.append(tensor)
        proto.graph.node.append(onnx.helper.make_node("MatMul", ["pooler_output", tensor.name], ["x"], "/extra/MatMul"))

    change(tmp_path / "model.onnx", more)
    found = BertModel.from_pretrained(tmp_path)
    assert_same(found, model.state_dict())
    assert found.load_report is not None
    assert "onnx::MatMul_999 — could not be placed: MatMul /extra/MatMul uses it" in str(found.load_report)
    with pytest.raises(CheckpointError, match=r"lacks 2 of .* Not placed: onnx::MatMul_999 \(12, 5\)"):
        minibert.BertForSequenceClassification.from_pretrained(tmp_path)


def test_positions_of_roberta(tmp_path: Path) -> None:
    written(tmp_path, model_of())

    def spoil(proto: onnx.ModelProto) -> None:
        places = [each for each in proto.graph.node if each.op_type == "Gather"][2]
        proto.graph.node.insert(0, onnx.helper.make_node("Add", ["input_ids", "input_ids"], ["positions"]))
        places.input[1] = "positions"

    change(tmp_path / "model.onnx", spoil)
    with pytest.raises(CheckpointError, match="chosen by what the ids are, as RoBERTa's positions are"):
        BertModel.from_pretrained(tmp_path)


def test_a_relative_position_bias_is_no_mask(tmp_path: Path) -> None:
    model = model_of()
    written(tmp_path, model, names="none")

    def spoil(proto: onnx.ModelProto) -> None:
        table = onnx.numpy_helper.from_array(torch.randn(32, 2).numpy(), "relative")
        proto.graph.initializer.append(table)
        add = next(n for n in proto.graph.node if n.op_type == "Add" and n.output[0] in
                   [m.input[0] for m in proto.graph.node if m.op_type == "Softmax"])  # fmt: skip
        proto.graph.node.insert(0, onnx.helper.make_node("Gather", ["relative", "input_ids"], ["bias"]))
        add.input[1] = "bias"

    change(tmp_path / "model.onnx", spoil)
    with pytest.raises(CheckpointError, match="not recognised as attention"):
        BertModel.from_pretrained(tmp_path)
