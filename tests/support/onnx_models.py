"""BERT as an ONNX graph, written by hand in the ways that exporters, optimisers and quantisers write it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

import minibert

MS = "com.microsoft"
INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class GraphOfBert:
    """One graph; ``how`` chooses the writing.

    how: ``norm``: "op" | "written" | "skip" (onnxruntime's SkipLayerNormalization); ``gelu``: "erf" | "op" | "bias" |
    "tanh" | "relu" | "fast" | "sigmoid" (no BERT's); ``attention``: "written" | "fused" | "multi" | "op" | "split";
    ``weights``: "float" | "float16" | "qdq" | "dynamic"; ``dense``: "MatMul" | "Gemm" | "Transposed"; ``names``:
    "kept" | "biases" | "none"; ``eps``, ``scale`` and ``heads`` are what the graph computes with.
    """

    def __init__(self, model: minibert.BertModel, **how: Any) -> None:
        self.model, self.config = model, model.config
        self.how = {"norm": "op", "gelu": "erf", "attention": "written", "weights": "float", "dense": "MatMul",
                    "names": "biases", "prefix": "", **how}  # fmt: skip
        self.state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.count = 0
        self.eps = how.get("eps", self.config.layer_norm_eps)
        self.heads = how.get("heads", self.config.num_attention_heads)
        self.dtype = torch.float16 if self.how["weights"] == "float16" else torch.float32

    # ── writing ──────────────────────────────────────────────────────────────────────────────────

    def op(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> str:
        self.count += 1
        names = [f"v{self.count}" + ("" if number == 0 else f"_{number}") for number in range(outputs)]
        self.nodes.append(helper.make_node(kind, inputs, names, f"/{kind}_{self.count}", domain=domain, **attributes))
        return names[0]

    def store(self, tensor: torch.Tensor, name: str = "") -> str:
        name = name or f"onnx::Constant_{len(self.tensors)}"
        self.tensors[name] = numpy_helper.from_array(tensor.contiguous().numpy(), name)
        return name

    def number(self, *values: float) -> str:
        tensor = torch.tensor(values if len(values) > 1 else values[0])
        return self.store(tensor.to(self.dtype) if tensor.is_floating_point() else tensor)

    def sizes(self, *values: int) -> str:
        return self.store(torch.tensor(values))

    def weight(self, name: str, transposed: bool = False) -> str:
        """A stored tensor of the model, under the name that the writing gives it."""
        tensor = self.state[name].to(self.dtype)
        kept = self.how["names"] == "kept" or (self.how["names"] == "biases" and not transposed)
        return self.store(tensor.T if transposed else tensor, self.how["prefix"] + name if kept else "")

    def quantized(self, name: str, tensor: torch.Tensor, axis: int | None) -> tuple[str, str, str]:
        """Int8 numbers, scale and zero point; the state becomes what they stand for."""
        size = tensor.abs().amax(dim=1 - axis) if axis is not None else tensor.abs().max()
        scale = (size / 127).clamp(min=1e-9)
        by = scale if axis is None else scale.unsqueeze(1 - axis)
        numbers = (tensor / by).round().clamp(-127, 127).to(torch.int8)
        self.quantized_state[name] = numbers.float() * by
        zero = torch.zeros_like(scale, dtype=torch.int8)
        base = self.how["prefix"] + name if self.how["names"] == "kept" else f"onnx::MatMul_{len(self.tensors)}"
        return (self.store(numbers, f"{base}_quantized"), self.store(scale, f"{base}_scale"),
                self.store(zero, f"{base}_zero_point"))  # fmt: skip

    # ── steps ────────────────────────────────────────────────────────────────────────────────────

    def table(self, name: str, ids: str) -> str:
        if self.how["weights"] == "dynamic":
            numbers, scale, zero = self.quantized(name, self.state[name], None)
            return self.op("DequantizeLinear", self.op("Gather", numbers, ids), scale, zero)
        if self.how["weights"] == "qdq":  # a scale for each row
            numbers, scale, zero = self.quantized(name, self.state[name], 0)
            return self.op("Gather", self.op("DequantizeLinear", numbers, scale, zero, axis=0), ids)
        return self.op("Gather", self.weight(name), ids)

    def product(self, name: str, x: str) -> str:
        weight = f"{name}.weight"
        match self.how["weights"]:
            case "qdq":
                numbers, scale, zero = self.quantized(weight, self.state[weight].T, 1)
                self.quantized_state[weight] = self.quantized_state[weight].T
                return self.op("MatMul", x, self.op("DequantizeLinear", numbers, scale, zero, axis=1))
            case "dynamic":
                numbers, scale, zero = self.quantized(weight, self.state[weight].T, None)
                self.quantized_state[weight] = self.quantized_state[weight].T
                whole = self.op("DynamicQuantizeLinear", x, outputs=3)
                product = self.op("MatMulInteger", whole, numbers, f"{whole}_2", zero)
                return self.op("Mul", self.op("Cast", product, to=1), self.op("Mul", f"{whole}_1", scale))
        if self.how["dense"] == "Transposed":
            return self.op("MatMul", x, self.op("Transpose", self.weight(weight), perm=[1, 0]))
        return self.op("MatMul", x, self.weight(weight, transposed=True))

    def dense(self, name: str, x: str) -> str:
        if self.how["dense"] == "Gemm" and self.how["weights"] in ("float", "float16"):
            width = self.state[f"{name}.weight"].shape
            flat = self.op("Reshape", x, self.sizes(-1, width[1]))
            found = self.op("Gemm", flat, self.weight(f"{name}.weight"), self.weight(f"{name}.bias"), transB=1)
            return self.op("Reshape", found, self.op("Concat", self.rows, self.sizes(-1, width[0]), axis=0))
        return self.op("Add", self.weight(f"{name}.bias"), self.product(name, x))

    def norm(self, name: str, x: str) -> str:
        weight, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        if self.how["norm"] != "written":
            return self.op("LayerNormalization", x, weight, bias, axis=-1, epsilon=self.eps)
        centred = self.op("Sub", x, self.op("ReduceMean", x, axes=[-1]))
        square = self.op("Pow", centred, self.number(2.0))
        variance = self.op("Add", self.op("ReduceMean", square, axes=[-1]), self.number(self.eps))
        normal = self.op("Div", centred, self.op("Sqrt", variance))
        return self.op("Add", self.op("Mul", normal, weight), bias)

    def add_and_norm(self, dense: str, norm: str, x: str, residual: str) -> str:
        if self.how["norm"] == "skip":
            return self.op(
                "SkipLayerNormalization", self.product(dense, x), residual, self.weight(f"{norm}.weight"),
                self.weight(f"{norm}.bias"), self.weight(f"{dense}.bias"), domain=MS, epsilon=self.eps,
            )  # fmt: skip
        return self.norm(norm, self.op("Add", self.dense(dense, x), residual))

    def activated(self, name: str, x: str) -> str:
        how = self.how["gelu"]
        if how in ("bias", "fast"):
            kind = "BiasGelu" if how == "bias" else "FastGelu"
            return self.op(kind, self.product(name, x), self.weight(f"{name}.bias"), domain=MS)
        x = self.dense(name, x)
        match how:
            case "op":
                return self.op("Gelu", x, domain=MS)
            case "relu":
                return self.op("Relu", x)
            case "sigmoid":
                return self.op("Sigmoid", x)
            case "tanh":
                cube = self.op("Mul", self.op("Pow", x, self.number(3.0)), self.number(0.044715))
                inner = self.op("Mul", self.op("Add", x, cube), self.number(0.7978845608))
                right = self.op("Add", self.op("Tanh", inner), self.number(1.0))
                return self.op("Mul", self.op("Mul", self.number(0.5), x), right)
        right = self.op("Add", self.op("Erf", self.op("Div", x, self.number(2**0.5))), self.number(1.0))
        return self.op("Mul", self.op("Mul", x, right), self.number(0.5))

    def attention(self, name: str, hidden: str) -> str:
        H, N = self.config.hidden_size, self.heads
        D = H // N
        scale = self.how.get("scale", D**-0.5)
        parts = ("query", "key", "value")
        how = self.how["attention"]
        if how == "fused":
            weight = torch.cat([self.state[f"{name}.{part}.weight"].T for part in parts], dim=1).to(self.dtype)
            bias = torch.cat([self.state[f"{name}.{part}.bias"] for part in parts]).to(self.dtype)
            return self.op("Attention", hidden, self.store(weight, f"Attention_{self.count}_qkv_weight"),
                           self.store(bias), self.lengths, domain=MS, num_heads=N)  # fmt: skip
        if how == "multi":
            layers = [self.product(f"{name}.{part}", hidden) for part in parts]
            bias = torch.cat([self.state[f"{name}.{part}.bias"] for part in parts]).to(self.dtype)
            return self.op("MultiHeadAttention", *layers, self.store(bias), self.whole_mask, domain=MS, num_heads=N)
        if how == "split":
            weight = torch.cat([self.state[f"{name}.{part}.weight"].T for part in parts], dim=1).to(self.dtype)
            bias = torch.cat([self.state[f"{name}.{part}.bias"] for part in parts]).to(self.dtype)
            joined = self.op("Add", self.op("MatMul", hidden, self.store(weight)), self.store(bias))
            first = self.op("Split", joined, self.sizes(H, H, H), outputs=3, axis=-1)
            layers = [first, f"{first}_1", f"{first}_2"]
        else:
            layers = [self.dense(f"{name}.{part}", hidden) for part in parts]
        heads = [self.op("Reshape", layer, self.sizes(0, 0, N, D)) for layer in layers]
        query, key, value = (
            self.op("Transpose", each, perm=[0, 2, 3, 1] if number == 1 and how != "op" else [0, 2, 1, 3])
            for number, each in enumerate(heads)
        )
        if how == "op":
            none = self.op("Mul", self.op("Transpose", self.mask, perm=[0, 1, 3, 2]), self.number(0.0))
            mask = self.op("Add", self.mask, none)  # for every query
            context = self.op("Attention", query, key, value, mask, scale=scale)
        else:
            scores = self.op("Mul", self.op("MatMul", query, key), self.number(scale))
            context = self.op("MatMul", self.op("Softmax", self.op("Add", scores, self.mask), axis=-1), value)
        return self.op("Reshape", self.op("Transpose", context, perm=[0, 2, 1, 3]), self.sizes(0, 0, H))

    # ── the whole ────────────────────────────────────────────────────────────────────────────────

    def build(self) -> onnx.ModelProto:
        self.quantized_state: dict[str, torch.Tensor] = {}
        zero, one = self.sizes(0), self.sizes(1)
        shape = self.op("Shape", "input_ids")
        self.rows = self.op("Slice", shape, zero, one)
        self.whole_mask = self.op("Cast", "attention_mask", to=6)
        self.lengths = self.whole_mask
        kind = TensorProto.FLOAT16 if self.dtype == torch.float16 else TensorProto.FLOAT
        mask = self.op("Cast", self.op("Unsqueeze", "attention_mask", self.sizes(1, 2)), to=kind)
        self.mask = self.op("Mul", self.op("Sub", self.number(1.0), mask), self.number(torch.finfo(self.dtype).min))
        E = "embeddings"
        positions = self.op(
            "Slice", self.store(torch.arange(self.config.max_position_embeddings)[None]), zero,
            self.op("Slice", shape, one, self.sizes(2)), one,
        )  # fmt: skip
        words = self.table(f"{E}.word_embeddings.weight", "input_ids")
        types = self.table(f"{E}.token_type_embeddings.weight", "token_type_ids")
        places = self.table(f"{E}.position_embeddings.weight", positions)
        hidden = self.norm(f"{E}.LayerNorm", self.op("Add", self.op("Add", words, types), places))
        for number in range(self.config.num_hidden_layers):
            layer = f"encoder.layer.{number}"
            context = self.attention(f"{layer}.attention.self", hidden)
            output = f"{layer}.attention.output"
            middle = self.add_and_norm(f"{output}.dense", f"{output}.LayerNorm", context, hidden)
            wide = self.activated(f"{layer}.intermediate.dense", middle)
            hidden = self.add_and_norm(f"{layer}.output.dense", f"{layer}.output.LayerNorm", wide, middle)
        self.op("Identity", hidden)
        self.nodes[-1].output[0] = "last_hidden_state"
        first = self.op("Gather", hidden, self.store(torch.tensor(0)), axis=1)
        gemm = self.op("Gemm", first, self.weight("pooler.dense.weight"), self.weight("pooler.dense.bias"), transB=1)
        self.op("Tanh", gemm)
        self.nodes[-1].output[0] = "pooler_output"
        inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, ["b", "t"]) for name in INPUTS]
        H = self.config.hidden_size
        outputs = [helper.make_tensor_value_info("last_hidden_state", kind, ["b", "t", H]),
                   helper.make_tensor_value_info("pooler_output", kind, ["b", H])]  # fmt: skip
        graph = helper.make_graph(self.nodes, "bert", inputs, outputs, list(self.tensors.values()))
        opset = 23 if self.how["attention"] == "op" else 17
        opsets = [helper.make_opsetid("", opset), helper.make_opsetid(MS, 1)]
        model = helper.make_model(graph, opset_imports=opsets, producer_name="by hand", ir_version=10)
        self.state |= self.quantized_state
        return model


def change(path: Path, how: Callable[[onnx.ModelProto], object]) -> None:
    """Edit an ONNX file."""
    model = onnx.load(path, load_external_data=False)
    how(model)
    path.write_bytes(model.SerializeToString())


def run(path: Path, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> list[torch.Tensor]:
    """What onnxruntime computes, in float32."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # Optimised, a product of int8 weights rounds what it is given, too.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = dict(zip(INPUTS, (ids, mask, types), strict=True))
    taken = [each.name for each in session.get_inputs()]
    outputs = session.run(None, {name: np.asarray(feed[name]) for name in taken})
    return [torch.from_numpy(np.asarray(each)).float() for each in outputs]
