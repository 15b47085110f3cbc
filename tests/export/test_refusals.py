"""Sabotaged exporters: each is refused, with the value named, and no file is left.

Some are graphs that were changed after torch had written them, as wrong exporters write them; some are modules that
compute something else.  None of them fakes a result: the file is written, run and compared as ever.
"""

import contextlib
import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from minibert.cli import main
from minibert.embedding import Embedder
from minibert.errors import ProofError
from minibert.export import export_model, formats, sentence
from minibert.export import exporting as pipeline
from minibert.graphs import AllPoints, GraphModule, HiddenStates, Logits, exported_program, onnx_model, program
from tests.support.small_models import small

onnx = pytest.importorskip("onnx", reason="onnx is not installed (make test does)")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (make test does)")
pytest.importorskip("onnxscript", reason="onnxscript is not installed (make test does)")
numpy = pytest.importorskip("numpy")

SETTINGS = {"hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 90}
MIDDLE = "encoder.layer.1."


@pytest.fixture(scope="module")
def model():
    return small(**SETTINGS, num_hidden_layers=2)


@pytest.fixture(scope="module")
def graph(model):
    """What the exporter writes where nobody tampers with it."""
    module = HiddenStates(model)
    return onnx_model(module, exported_program(module))


def refused(source: Any, path: Path, **settings: Any) -> Any:
    """The reason why nothing was written."""
    with pytest.raises(ProofError, match="was not written") as caught:
        export_model(source, path, **settings)
    assert not list(path.parent.iterdir())
    assert not caught.value.report.same
    assert caught.value.report.reason.sentence in str(caught.value) or "[…]" in str(caught.value)
    return caught.value.report.reason


def keys(reason: Any) -> set[str]:
    return {mistake.key for finding in reason.explanation.findings for mistake in finding.mistakes}


# ── graphs ───────────────────────────────────────────────────────────────────────────────────────


def nodes(model: Any, kind: str, reads: str = "") -> list[Any]:
    return [node for node in model.graph.node if node.op_type == kind and (not reads or reads in node.input[0])]


def set_constant(model: Any, name: str, change: Callable[[Any], Any]) -> None:
    stored = next(each for each in model.graph.initializer if each.name == name)
    array = onnx.numpy_helper.to_array(stored)
    stored.CopyFrom(onnx.numpy_helper.from_array(change(array).astype(array.dtype), name))


def insert(model: Any, before: Any, *added: Any) -> None:
    place = list(model.graph.node).index(before)
    for number, node in enumerate(added):
        model.graph.node.insert(place + number, node)


def mask_dropped(model: Any) -> None:
    (where,) = nodes(model, "Where")
    set_constant(model, where.input[2], lambda lowest: lowest * 0)


def other_eps(model: Any) -> None:
    for node in nodes(model, "LayerNormalization"):
        next(each for each in node.attribute if each.name == "epsilon").f = 1e-3


def tanh_gelu(model: Any) -> None:
    for node in nodes(model, "Gelu"):
        next(each for each in node.attribute if each.name == "approximate").s = b"tanh"


def scale_missing(model: Any) -> None:
    scalars = {each.name for each in model.graph.initializer if not each.dims}
    for node in nodes(model, "Mul"):
        for name in node.input:
            if name in scalars:
                set_constant(model, name, numpy.ones_like)


def segments_dropped(model: Any) -> None:
    (gather,) = nodes(model, "Gather", "token_type_embeddings")
    insert(model, gather, onnx.helper.make_node("Sub", ["token_type_ids", "token_type_ids"], ["all_zero"]))
    gather.input[1] = "all_zero"


def positions_shifted(model: Any) -> None:
    (gather,) = nodes(model, "Gather", "position_embeddings")
    set_constant(model, gather.input[0], lambda table: numpy.concatenate([table[1:], table[:1]]))


def float16_inside(model: Any) -> None:
    gelu = nodes(model, "Gelu")[1]
    (out,) = gelu.output
    after = list(model.graph.node)[list(model.graph.node).index(gelu) + 1]
    for node in model.graph.node:
        node.input[:] = [f"{out}_back" if name == out else name for name in node.input]
    insert(
        model,
        after,
        onnx.helper.make_node("Cast", [out], [f"{out}_half"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("Cast", [f"{out}_half"], [f"{out}_back"], to=onnx.TensorProto.FLOAT),
    )


def residual_missing(model: Any) -> None:
    norm = nodes(model, "LayerNormalization")[1]
    add = next(node for node in model.graph.node if norm.input[0] in node.output)
    norm.input[0] = add.input[0]


def heads_side_by_side(model: Any) -> None:
    """The heads are merged without the transposition before it."""
    back = next(node for node in nodes(model, "Transpose") if "matmul" in node.input[0])
    for node in model.graph.node:
        node.input[:] = [back.input[0] if name == back.output[0] else name for name in node.input]


GRAPHS = {
    mask_dropped: ("encoder.layer.0.attention.self.probabilities", "mask.missing", "ignores the attention mask"),
    other_eps: ("embeddings", "norm.eps", "eps 1e-3"),
    tanh_gelu: ("encoder.layer.0.intermediate", "activation.other", "gelu (tanh)"),
    scale_missing: ("encoder.layer.0.attention.self.scores", "attention.no_scale", "not divided by √D"),
    segments_dropped: ("embeddings.token_type_embeddings", "embeddings.segments_all_zero", "ignore token_type_ids"),
    positions_shifted: ("embeddings.position_embeddings", "positions.from_one", "first token has position 1"),
    float16_inside: (f"{MIDDLE}intermediate", "values.rounded", "in float16"),
    residual_missing: ("encoder.layer.0.attention.output.residual", "residual.missing", ""),
    heads_side_by_side: ("encoder.layer.0.attention.output.dense", "", ""),
}


@pytest.mark.parametrize("sabotage", GRAPHS, ids=lambda each: each.__name__)
def test_a_wrong_graph_is_refused_with_the_value_named(sabotage, model, graph, tmp_path, monkeypatch) -> None:
    wrong = copy.deepcopy(graph)
    sabotage(wrong)
    monkeypatch.setattr(formats, "onnx_model", lambda *_: wrong)
    reason = refused(model, tmp_path / "model.onnx")
    point, key, words = GRAPHS[sabotage]
    assert reason.point == point
    assert f"The first value that is wrong is {point}. " in reason.sentence
    assert words in reason.sentence
    assert not key or key in keys(reason)


def batch_in_the_signature(model: Any) -> None:
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1


def length_inside(model: Any) -> None:
    """The inputs say that any length is taken; a shape that was computed once is not."""
    (size,) = [
        node for node in nodes(model, "Shape") if any(each.name == "start" and each.i == 1 for each in node.attribute)
    ]
    model.graph.node.remove(size)
    model.graph.initializer.append(onnx.numpy_helper.from_array(numpy.array([5]), size.output[0]))


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (batch_in_the_signature, "The batch is fixed at 1: on “no padding”"),
        (length_inside, "The length is fixed at 5: on "),
    ],
)
def test_a_size_that_is_fixed_is_named(sabotage, words, model, graph, tmp_path, monkeypatch) -> None:
    wrong = copy.deepcopy(graph)
    sabotage(wrong)
    monkeypatch.setattr(formats, "onnx_model", lambda *_: wrong)
    assert words in refused(model, tmp_path / "model.onnx").sentence


def test_a_graph_that_no_runtime_reads_is_refused(model, graph, tmp_path, monkeypatch) -> None:
    wrong = copy.deepcopy(graph)
    wrong.graph.node[3].op_type = "NoSuchOperation"
    monkeypatch.setattr(formats, "onnx_model", lambda *_: wrong)
    assert "NoSuchOperation" in refused(model, tmp_path / "model.onnx").sentence


# ── modules, as programs of torch ────────────────────────────────────────────────────────────────


def test_a_program_that_fixes_a_size_is_refused(model, tmp_path, monkeypatch) -> None:
    free = program.dynamic_shapes
    monkeypatch.setattr(
        program, "dynamic_shapes", lambda module: {name: {0: axes[0]} for name, axes in free(module).items()}
    )
    assert "The length is fixed at 5: on “no padding”" in refused(model, tmp_path / "model.pt2").sentence


def changed(monkeypatch: Any, change: Callable[[Any], None]) -> None:
    """Every graph is made of a model that was changed."""
    build = GraphModule.__init__

    def wrong(self: GraphModule, model: Any) -> None:
        build(self, model)
        with torch.no_grad():
            change(self.model.base_model)

    monkeypatch.setattr(GraphModule, "__init__", wrong)


def normalised_first(base: Any) -> None:
    """Pre-LN: the order of later transformers."""
    for layer in base.encoder.layer:

        def forward(hidden: Any, mask: Any = None, attentions: Any = None, layer: Any = layer) -> Any:
            norm, output = layer.attention.output.LayerNorm, layer.attention.output
            hidden = hidden + output.dense(layer.attention.self(norm(hidden), mask)[0])
            return hidden + layer.output.dense(layer.intermediate(layer.output.LayerNorm(hidden)))

        layer.forward = forward


def weights_in_bfloat16(base: Any) -> None:
    for parameter in base.encoder.layer[1].output.dense.parameters():
        parameter.copy_(parameter.bfloat16().float())


def query_and_key_exchanged(base: Any) -> None:
    own = base.encoder.layer[1].attention.self
    own.query, own.value = own.value, own.query


MODULES = {
    normalised_first: ("encoder.layer.0.attention.self.query", ""),
    weights_in_bfloat16: (f"{MIDDLE}output.dense", "dense.rounded"),
    query_and_key_exchanged: (f"{MIDDLE}attention.self.query", ""),
}


@pytest.mark.parametrize("sabotage", MODULES, ids=lambda each: each.__name__)
def test_a_wrong_program_is_refused_with_the_value_named(sabotage, model, tmp_path, monkeypatch) -> None:
    changed(monkeypatch, sabotage)
    reason = refused(model, tmp_path / "model.pt2")
    point, key = MODULES[sabotage]
    assert reason.point == point
    assert not key or key in keys(reason)


def test_of_openvino_the_graph_that_it_was_made_from_is_looked_at(model, graph, tmp_path, monkeypatch) -> None:
    pytest.importorskip("openvino", reason="openvino is not installed (make test does)")
    changed(monkeypatch, weights_in_bfloat16)
    reason = refused(model, tmp_path / "model.xml")
    assert f"{MIDDLE}output.dense (in the program that the file was made from)" in reason.sentence
    monkeypatch.undo()
    wrong = copy.deepcopy(graph)
    mask_dropped(wrong)
    monkeypatch.setattr(formats, "onnx_model", lambda *_: wrong)  # the program is right, the file is not
    reason = refused(model, tmp_path / "model.xml")
    assert reason.point == "last_hidden_state"
    assert "OpenVINO keeps no inner values" in reason.sentence


# ── what follows the encoder ─────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def embedder():
    demo = Embedder.from_pretrained("minibert-demo")
    base = small(vocab_size=len(demo.tokenizer), num_hidden_layers=1, max_position_embeddings=40)
    return Embedder(base, demo.tokenizer, normalize=True)


def over_the_padding(right: Any) -> Any:
    return lambda hidden, mask, names: right(hidden, torch.ones_like(mask), names)


def first_token(right: Any) -> Any:
    return lambda hidden, mask, names: hidden[:, 0]


@pytest.mark.parametrize(
    ("sabotage", "words"),
    [
        (over_the_padding, "the pooling (mean) counts the padding, too: it ignores attention_mask."),
        (first_token, "the pooling is cls, not mean."),
    ],
)
def test_a_wrong_pooling_is_named(sabotage, words, embedder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sentence, "pool_masked", sabotage(sentence.pool_masked))
    reason = refused(embedder, tmp_path / "model.pt2", output="sentence")
    assert reason.point == "sentence_embedding"
    assert f"The hidden states are right; {words}" in reason.sentence


def test_a_normalisation_that_is_left_out_is_named(embedder, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(sentence.Sentence, "finish", lambda self, pooled: self.steps(pooled))
    reason = refused(embedder, tmp_path / "model.onnx", output="sentence")
    assert "The hidden states are right; the normalisation to unit length is left out." in reason.sentence


def test_scores_in_another_order_are_refused(tmp_path, monkeypatch) -> None:
    right = Logits.forward

    def wrong(self: Any, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        return right(self, input_ids, attention_mask, token_type_ids)[::-1]

    monkeypatch.setattr(Logits, "forward", wrong)
    reason = refused(small("BertForQuestionAnswering", **SETTINGS), tmp_path / "model.pt2", output="logits")
    assert reason.point == "start_logits"


def test_a_point_that_is_another_is_named(tmp_path, monkeypatch) -> None:
    right = AllPoints.values

    def wrong(self: Any, *inputs: Any) -> Any:
        seen = right(self, *inputs)
        name = "encoder.layer.0.attention.self.probabilities"
        return {**seen, name: F.softmax(seen["encoder.layer.0.attention.self.scores"], dim=-1)}

    monkeypatch.setattr(AllPoints, "values", wrong)
    reason = refused(small(**SETTINGS, num_hidden_layers=1), tmp_path / "model.pt2", output="all-points")
    assert "encoder.layer.0.attention.self.probabilities differs by" in reason.sentence


# ── the command line, and what is left ───────────────────────────────────────────────────────────


def test_the_command_prints_the_reason_and_returns_1(tmp_path, capsys, monkeypatch) -> None:
    changed(monkeypatch, lambda base: base.embeddings.position_embeddings.weight.zero_())
    path = tmp_path / "model.pt2"
    assert main(["export", "-o", str(path)]) == 1
    printed = capsys.readouterr().out
    assert f"{path} was not written. On “no padding”, last_hidden_state differs by" in printed
    assert "The first value that is wrong is embeddings.sum." in printed
    assert not list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_what_was_there(model, tmp_path, monkeypatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "model.pt2").write_text("before")
    monkeypatch.setattr(pipeline, "card", interrupt)
    with contextlib.suppress(KeyboardInterrupt):
        export_model(model, tmp_path / "model.pt2")
        pytest.fail("it was not interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt2"]
    assert (tmp_path / "model.pt2").read_text() == "before"
