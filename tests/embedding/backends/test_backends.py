"""Vectors by onnxruntime and OpenVINO against torch's; when the model is called itself; what cannot be computed."""

import copy
from importlib import util

import pytest
import torch

from minibert import Embedder, InputError
from minibert.embedding.backends import backend as module
from minibert.embedding.backends.choosing import Measured, choose, mixed_rows
from minibert.embedding.backends.padding import cut_padded
from minibert.embedding.backends.weights import Snapshot
from minibert.errors import MissingExtraError
from minibert.tokenizer.windows import TokenRow
from tests.embedding.backends.conftest import FOLDER
from tests.support.small_models import small

TEXTS = ["", "the bank", "He sat on the bank of the river.", "나는 배를 타고 여행을 간다.", "word " * 40, "a"] * 7


def reference() -> Embedder:
    return Embedder.from_pretrained(FOLDER)


def close(found: torch.Tensor, expected: torch.Tensor) -> None:
    found, expected = (torch.nn.functional.normalize(x, dim=-1) for x in (found, expected))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() <= 1e-6


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"pooling": ["mean", "max", "cls"]},
        {"pooling": "weightedmean", "include_special_tokens": False},
        {"pooling": "lasttoken"},
        {"pooling": "pooler"},
        {"layers": [0, 1]},
        {"pooling": [1, 2]},
        {"long": "windows", "stride": 8},
        {"prompt": "the river: "},
        {"batch_size": 2},
    ],
    ids=str,
)
def test_vectors_are_those_of_torch(embedder, arguments, monkeypatch):
    expected = reference().encode(TEXTS, **arguments)
    # Other hidden states than the last are computed by torch, all else by the runtime.
    if "layers" not in arguments and arguments.get("pooling") != [1, 2]:
        monkeypatch.setattr("minibert.embedding.runner.packed_hidden_states", None)
    close(embedder.encode(TEXTS, **arguments), expected)
    for text, vector in zip(TEXTS[:6], expected[:6], strict=True):
        close(embedder.encode(text, **arguments), vector)
    assert embedder.encode([], **arguments).shape == (0, expected.shape[1])


@pytest.mark.parametrize("activation", ["relu", "gelu_new", "silu"])
def test_other_activations_in_openvino(activation):
    pytest.importorskip("openvino")
    embedder = Embedder(small(hidden_act=activation, vocab_size=100), reference().tokenizer)
    expected = embedder.encode(["the bank", "a"], layers=3)
    assert embedder.use_backend("openvino").name == "openvino"
    close(embedder.encode(["the bank", "a"], layers=3), expected)


def test_words_are_those_of_torch(embedder, monkeypatch):
    expected = reference().words(TEXTS[:4])
    monkeypatch.setattr("minibert.embedding.runner.packed_hidden_states", None)
    for found, other in zip(embedder.words(TEXTS[:4]), expected, strict=True):
        assert [word.text for word in found] == [word.text for word in other]
        assert (found.vectors - other.vectors).abs().max() <= 1e-5 if len(other.vectors) else True


def test_many_batches_with_several_threads(name, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    embedder = Embedder.from_pretrained(FOLDER, backend=name)
    assert embedder.runtime is not None
    embedder.runtime.tokens_per_batch = 40
    texts = TEXTS * 5
    expected = reference().encode(texts)
    for _ in range(2):
        close(embedder.encode(texts), expected)
    one_thread = embedder.encode(texts)
    assert torch.equal(embedder.encode(texts), one_thread)  # the same bits each time


def test_the_layers_of_the_default_pooling_are_in_the_graph(name):
    embedder = Embedder.from_pretrained(FOLDER, pooling=[0, 2], backend=name)
    assert embedder.runtime is not None
    assert embedder.runtime.layers == (0, 2)
    close(embedder.encode(TEXTS), reference().encode(TEXTS, [0, 2]))


def test_hooks_are_called(embedder):
    plain = embedder.encode(TEXTS)
    seen = []
    handle = embedder.model.encoder.layer[0].register_forward_hook(lambda *_: seen.append(1))
    close(embedder.encode(TEXTS), plain)
    assert seen
    handle.remove()
    seen.clear()
    embedder.encode(TEXTS)
    assert not seen


def test_changed_weights_are_noticed(embedder, caplog):
    before = embedder.encode(TEXTS)
    with torch.no_grad():
        embedder.model.encoder.layer[1].output.dense.weight[3].add_(0.5)
    after = embedder.encode(TEXTS)
    expected = Embedder(copy.deepcopy(embedder.model), embedder.tokenizer).encode(TEXTS)
    assert (after - before).abs().max() > 1e-3
    assert (after - expected).abs().max() == 0
    assert "optimize() builds it anew" in caplog.text
    assert embedder.backend.name == "torch"


def test_optimize_builds_the_graph_anew(name, embedder):
    with torch.no_grad():
        embedder.model.embeddings.word_embeddings.weight[:, 3].add_(1.5)
    report = embedder.optimize()
    assert report.name == embedder.backend.name == name
    assert embedder.runtime is not None
    close(embedder.encode(TEXTS), Embedder(embedder.model, embedder.tokenizer).encode(TEXTS))


@pytest.mark.parametrize("change", ["in place", "data", "replaced", "moved"])
def test_a_snapshot_sees_changes(change):
    model = small()
    snapshot = Snapshot(model)
    assert snapshot.holds()
    linear = model.encoder.layer[2].output.dense
    if change == "in place":
        model.load_state_dict(model.state_dict())
    elif change == "data":
        linear.weight.data = linear.weight.data.clone()
    elif change == "replaced":
        linear.bias = torch.nn.Parameter(linear.bias.detach().clone())
    else:
        model.half()
    assert not snapshot.holds()


def test_a_graph_that_differs_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    right = module.HiddenStates

    def wrong(model, layers):
        graph = right(model, layers)
        with torch.no_grad():
            graph.base.encoder.layer[1].attention.self.query.bias.add_(0.01)
        return graph

    monkeypatch.setattr(module, "HiddenStates", wrong)
    with pytest.raises(InputError, match=rf"{name} differs from the model on the input .*, hidden state 2, by"):
        Embedder.from_pretrained(FOLDER, backend=name)
    assert list((tmp_path / "backends").iterdir()) == []  # nothing half-built is left


def test_a_runtime_that_fails_gets_a_sentence(name, tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "HiddenStates", lambda *_: 1 / 0)
    with pytest.raises(InputError, match=f"{name} cannot run this model .ZeroDivisionError: division by zero"):
        Embedder.from_pretrained(FOLDER, backend=name)


@pytest.mark.parametrize(("backend", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_a_missing_package_gets_a_sentence(backend, extra, monkeypatch):
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda package: None if package == backend else real(package))
    with pytest.raises(MissingExtraError, match=rf"needs {backend}.*pip install '\.\[{extra}\]'"):
        Embedder.from_pretrained(FOLDER, backend=backend)


def test_other_dtypes_and_names_are_refused(name):
    with pytest.raises(InputError, match=r"on the CPU in float32; this model is bfloat16 on cpu"):
        Embedder.from_pretrained(FOLDER, backend=name, dtype=torch.bfloat16)
    with pytest.raises(InputError, match=r"'tensorrt' is no backend; there are auto, torch, onnxruntime, openvino"):
        Embedder.from_pretrained(FOLDER, backend="tensorrt")
    assert Embedder.from_pretrained(FOLDER, backend="auto", dtype=torch.bfloat16).backend.name == "torch"


def test_auto_chooses_by_both_measures():
    times = {"torch": Measured(1.0, 1.0), "onnxruntime": Measured(1.1, 0.5), "openvino": Measured(0.7, 0.5)}
    name, why = choose(times)
    assert name == "openvino"
    assert "openvino has 1.43 times torch's speed on texts of mixed length and 2.00 times on one of 16 tokens" in why
    assert choose({"torch": Measured(1.0, 1.0), "openvino": Measured(0.99, 0.99)})[0] == "torch"


def test_auto_keeps_its_choice(monkeypatch):
    pytest.importorskip("openvino")
    pytest.importorskip("onnxruntime")
    monkeypatch.setattr("minibert.embedding.backends.choosing.SECONDS", 0.01)
    first = Embedder.from_pretrained(FOLDER, backend="auto")
    monkeypatch.setattr("minibert.embedding.backends.choosing.measure", None)
    again = Embedder.from_pretrained(FOLDER, backend="auto")
    assert first.backend.name == again.backend.name
    assert f"auto chose {first.backend.name}: onnxruntime has" in str(first.backend)
    assert str(again.backend).endswith("Measured before, and kept.")
    close(again.encode(TEXTS), reference().encode(TEXTS))


def test_batches_have_little_padding():
    rows = mixed_rows(small(), 32, 3000)
    lengths = [len(row) for row in rows]
    order = sorted(range(len(rows)), key=lengths.__getitem__)
    parts = list(cut_padded(order, lengths, 512))
    assert [number for part in parts for number in part] == order
    areas = [len(part) * lengths[part[-1]] for part in parts]
    assert max(areas) <= 512
    assert sum(areas) <= 1.2 * sum(lengths)
    assert [len(part) for part in cut_padded(list(range(7)), [3] * 7, 512, 3)] == [3, 3, 1]
    assert list(cut_padded([0], [600], 512)) == [[0]]
    assert isinstance(rows[0], TokenRow)
