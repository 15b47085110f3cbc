"""What torch's two exporters, onnxruntime's optimizer and its quantisers write is read back to the bit."""

import random
import warnings
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
import transformers
from torch import Tensor, nn

import minibert
from minibert import BertConfig, BertModel
from minibert.graphs import AllPoints, HiddenStates, Logits, onnx_model
from tests.support.onnx_models import INPUTS

SIZES = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 20, "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip


# The newer exporter takes seconds.
EXPORTERS = ["torchscript", pytest.param("dynamo", marks=pytest.mark.slow)]


class Positional(nn.Module):
    """A model that takes its inputs by position, as an exporter gives them."""

    def __init__(self, model: nn.Module, holder: str = "model") -> None:
        super().__init__()
        self.holder = holder
        self.add_module(holder, model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Any:
        arguments = {"attention_mask": attention_mask, "token_type_ids": token_type_ids, "return_dict": False}
        return self.get_submodule(self.holder)(input_ids=input_ids, **arguments)


def model_of(library: Any, name: str, attention: str, seed: int = 0, **settings: Any) -> Any:
    torch.manual_seed(seed)
    kind = BertConfig if library is minibert else transformers.BertConfig
    config = kind(**{**SIZES, **settings}, attn_implementation=attention)
    model = getattr(library, name)(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.eval()


def export(model: nn.Module, folder: Path, exporter: str, holder: str = "model") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "model.onnx"
    ids = torch.randint(1, 40, (2, 7))
    inputs = (ids, torch.ones_like(ids), torch.zeros_like(ids))
    arguments: dict[str, Any] = {"input_names": list(INPUTS), "dynamo": exporter == "dynamo", "verbose": False}
    if exporter == "dynamo":
        arguments |= {"dynamic_shapes": [{0: torch.export.Dim("b"), 1: torch.export.Dim("t")}] * 3}
    else:
        arguments |= {"dynamic_axes": {name: {0: "b", 1: "t"} for name in INPUTS}, "opset_version": 17}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(Positional(model, holder).eval(), inputs, str(path), **arguments)
    settings = {name: value for name, value in model.config.to_dict().items() if name in BertConfig().to_dict()}
    BertConfig(**settings).save_pretrained(folder)
    return path


def assert_same(found: nn.Module, expected: dict[str, Tensor], cast: torch.dtype = torch.float32) -> None:
    state = found.state_dict()
    assert state.keys() <= expected.keys()
    for name, tensor in state.items():
        assert torch.equal(tensor, expected[name].to(cast).float()), name


@pytest.mark.parametrize("exporter", ["torchscript", "dynamo"])
@pytest.mark.parametrize("library", [minibert, transformers], ids=["minibert", "transformers"])
@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_exporters(library: Any, attention: str, exporter: str, tmp_path: Path) -> None:
    model = model_of(library, "BertModel", attention)
    export(model, tmp_path, exporter)
    found = BertModel.from_pretrained(tmp_path)
    assert_same(found, model.state_dict())
    (tmp_path / "config.json").unlink()
    assert_same(BertModel.from_pretrained(tmp_path), model.state_dict())


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    "name",
    ["BertForMaskedLM", "BertForPreTraining", "BertForSequenceClassification", "BertForTokenClassification",
     "BertForQuestionAnswering"],
)  # fmt: skip
def test_heads(name: str, exporter: str, tmp_path: Path) -> None:
    labels = {} if name == "BertForQuestionAnswering" else {"num_labels": 3}
    model = model_of(minibert, name, "eager", **labels)
    export(model, tmp_path, exporter)
    assert_same(getattr(minibert, name).from_pretrained(tmp_path, **labels), model.state_dict())


@pytest.mark.parametrize("kind", [HiddenStates, Logits, AllPoints])
def test_our_own_export(kind: Any, tmp_path: Path) -> None:
    """What ``minibert export`` writes."""
    model = model_of(minibert, "BertForMaskedLM", "eager")
    onnx.save(onnx_model(kind(model)), tmp_path / "model.onnx")
    model.config.save_pretrained(tmp_path)
    if kind is HiddenStates:
        expected = {name.removeprefix("bert."): tensor for name, tensor in model.state_dict().items()}
        assert_same(BertModel.from_pretrained(tmp_path), expected)
    else:
        assert_same(minibert.BertForMaskedLM.from_pretrained(tmp_path), model.state_dict())


def test_equal_tensors(tmp_path: Path) -> None:
    """A new model: its biases are all zeros and its norms all ones, which the exporter stores once."""
    model = BertModel(BertConfig(**SIZES, attn_implementation="eager")).eval()
    export(model, tmp_path, "torchscript")
    stored = onnx.load(tmp_path / "model.onnx").graph.initializer
    assert len(stored) < len(model.state_dict())
    assert_same(BertModel.from_pretrained(tmp_path), model.state_dict())


def test_onnxruntime_optimizer(tmp_path: Path) -> None:
    """One operation for the embeddings, one for attention, query, key and value in one matrix; float16."""
    optimizer = pytest.importorskip("onnxruntime.transformers.optimizer")
    model = model_of(transformers, "BertModel", "eager")
    path = export(model, tmp_path, "torchscript")
    fused = optimizer.optimize_model(str(path), model_type="bert", num_heads=2, hidden_size=16, opt_level=0)
    assert fused.get_fused_operator_statistics()["Attention"] == 2
    fused.save_model_to_file(str(path))
    assert_same(BertModel.from_pretrained(tmp_path), model.state_dict())
    fused.convert_float_to_float16()
    fused.save_model_to_file(str(path))
    assert_same(BertModel.from_pretrained(tmp_path), model.state_dict(), torch.float16)


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_onnxruntime_dynamic_quantisation(exporter: str, per_channel: bool, tmp_path: Path) -> None:
    """Every weight within half a step of its scale."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    model = model_of(minibert, "BertForMaskedLM", "eager")
    path = export(model, tmp_path, exporter)
    for kind in (quantization.QuantType.QInt8, quantization.QuantType.QUInt8):
        quantization.quantize_dynamic(
            str(path), str(tmp_path / "small.onnx"), per_channel=per_channel, weight_type=kind
        )
        found = minibert.BertForMaskedLM.from_pretrained(tmp_path / "small.onnx")
        assert found.load_report is not None
        assert "int8 weights dequantised to float32" in str(found.load_report)
        assert any("rounded to int8 in another way" in tensor.note for tensor in found.load_report.unused)
        changed = 0
        for name, tensor in model.state_dict().items():
            other = found.state_dict()[name]
            step = 2 * float(tensor.abs().max()) / 254  # of symmetric int8
            assert float((other - tensor).abs().max()) <= 0.51 * step, name
            changed += not torch.equal(other, tensor)
        assert changed >= 15


@pytest.mark.parametrize("per_channel", [False, True])
def test_onnxruntime_static_quantisation(per_channel: bool, tmp_path: Path) -> None:
    """Activations, biases and small constants go through int8, too (QDQ)."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    model = model_of(transformers, "BertModel", "eager")
    path = export(model, tmp_path, "torchscript")
    ids = torch.randint(1, 40, (2, 7)).numpy()
    feeds = iter([dict.fromkeys(INPUTS, ids % 2) | {"input_ids": ids}] * 2)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> Any:
            return next(feeds, None)

    small = tmp_path / "small.onnx"
    quantization.quantize_static(str(path), str(small), Reader(), per_channel=per_channel)
    found = BertModel.from_pretrained(small).state_dict()
    for name, tensor in model.state_dict().items():
        assert float((found[name] - tensor).abs().max()) <= 1.02 * float(tensor.abs().max()) / 127, name


@pytest.mark.parametrize("level", ["BASIC", "EXTENDED", "ALL"])
def test_onnxruntime_session(level: str, tmp_path: Path) -> None:
    """What a session keeps as its optimised model."""
    runtime = pytest.importorskip("onnxruntime")
    model = model_of(transformers, "BertModel", "sdpa")
    path = export(model, tmp_path, "torchscript")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    assert_same(BertModel.from_pretrained(tmp_path / "optimised.onnx"), model.state_dict())


@pytest.mark.slow
def test_a_sweep(tmp_path: Path) -> None:
    """Fourteen random configurations, both exporters, either library."""
    drawn = random.Random(5)
    for number in range(14):
        heads = drawn.choice([1, 2, 3, 4])
        settings = {
            "hidden_size": heads * drawn.choice([4, 6, 8]), "num_attention_heads": heads,
            "num_hidden_layers": drawn.choice([1, 2, 3]), "hidden_act": drawn.choice(["gelu", "gelu_new", "relu"]),
            "layer_norm_eps": drawn.choice([1e-12, 1e-5]), "type_vocab_size": drawn.choice([2, 3]),
        }  # fmt: skip
        library, attention = drawn.choice([minibert, transformers]), drawn.choice(["eager", "sdpa"])
        model = model_of(library, "BertModel", attention, number, **settings)
        for exporter in ("torchscript", "dynamo"):
            folder = tmp_path / f"{number}-{exporter}"
            export(model, folder, exporter, drawn.choice(["model", "bert", "auto_model"]))
            assert_same(BertModel.from_pretrained(folder), model.state_dict())
