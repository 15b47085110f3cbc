"""An Embedder of a changed model: hooks, adapters, replaced modules and edits count, as in the model itself."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import minibert
from minibert import Embedder, InputError, edit, force_attention, trace, zero_head
from minibert.embedding import packed
from minibert.embedding.packed import is_plain
from tests.parity.tolerances import EMBEDDING

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
TEXTS = ["the bank", "He sat on the bank of the river.", "", "the pear", "a boat on the river, and another one"]


@pytest.fixture
def embedder() -> Embedder:
    return Embedder.from_pretrained(FOLDER)


def by_the_model(embedder: Embedder, texts: list[str] = TEXTS, pooling: str = "mean") -> torch.Tensor:
    """One text at a time through the model, pooled by hand."""
    vectors = []
    for text in texts:
        with torch.no_grad():
            outputs = embedder.model(**embedder.tokenizer(text, return_tensors="pt"))
        vectors.append(outputs.pooler_output[0] if pooling == "pooler" else outputs.last_hidden_state[0].mean(dim=0))
    return torch.stack(vectors)


def assert_as_the_model(embedder: Embedder, unlike: torch.Tensor) -> None:
    """The vectors are those of the model as it is now, and no longer ``unlike``; a single text's, too."""
    assert not is_plain(embedder.model)
    expected = by_the_model(embedder)
    assert (expected - unlike).abs().max() > 1e-3
    tolerance = EMBEDDING * expected.abs().max()
    assert (embedder.encode(TEXTS) - expected).abs().max() <= tolerance
    assert (embedder.encode(TEXTS[1]) - expected[1]).abs().max() <= tolerance
    words = embedder.words(TEXTS[1], find="bank")
    assert torch.isfinite(words.vectors).all()


class Lora(nn.Module):
    """A linear layer with two thin ones beside it."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base
        self.down, self.up = nn.Linear(base.in_features, 2, bias=False), nn.Linear(2, base.out_features, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base(x) + self.up(self.down(x))


class Scale(nn.Module):
    """A parametrization: one and a half times the weight."""

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * 1.5


def lora(model: minibert.BertModel) -> None:
    for layer in model.encoder.layer:
        layer.attention.self.query = Lora(layer.attention.self.query)
        layer.attention.self.value = Lora(layer.attention.self.value)


def half(model: minibert.BertModel) -> None:
    whole = model.encoder.layer[0].forward
    model.encoder.layer[0].forward = lambda *arguments: whole(*arguments) * 0.5


def no_bias(model: minibert.BertModel) -> None:
    dense = model.encoder.layer[0].output.dense
    model.encoder.layer[0].output.dense = nn.Linear(dense.in_features, dense.out_features, bias=False)


CHANGES = {
    "a Linear with an adapter": lora,
    "an activation module": lambda model: setattr(
        model.encoder.layer[0].intermediate, "intermediate_act_fn", nn.ReLU()
    ),
    "a forward of one layer's own": half,
    "a Linear without bias": no_bias,
    "a quantized Linear": lambda model: torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, inplace=True),
    "a parametrization": lambda model: parametrize.register_parametrization(
        model.encoder.layer[0].output.dense, "weight", Scale()
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("change", CHANGES)
def test_replaced_modules(embedder: Embedder, change: str) -> None:
    before = embedder.encode(TEXTS)
    embedder.optimize(compile=False)
    torch.manual_seed(0)
    CHANGES[change](embedder.model)
    if change == "a quantized Linear":  # its scale depends on the batch, so the numbers are not those of one text
        assert not is_plain(embedder.model)
        assert 1e-4 < (embedder.encode(TEXTS) - before).abs().max() < 0.2
        return
    assert_as_the_model(embedder, before)


def test_a_replaced_function_needs_no_detour(embedder: Embedder) -> None:
    before = embedder.encode(TEXTS)
    embedder.model.encoder.layer[0].intermediate.intermediate_act_fn = torch.relu
    assert is_plain(embedder.model)
    found, expected = embedder.encode(TEXTS), by_the_model(embedder)
    assert (expected - before).abs().max() > 1e-3
    assert (found - expected).abs().max() <= EMBEDDING * expected.abs().max()


PARTS = ("", "embeddings", "encoder", "encoder.layer.1", "encoder.layer.1.attention.self.query",
         "encoder.layer.1.intermediate", "encoder.layer.1.output.LayerNorm")  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("before_or_after", ["forward", "forward_pre"])
def test_hooks_are_called(embedder: Embedder, part: str, before_or_after: str) -> None:
    plain = embedder.encode(TEXTS)
    shapes = []

    def see(_module: nn.Module, *values: object) -> None:
        value = values[-1] if before_or_after == "forward" else values[0][0]
        if isinstance(value, torch.Tensor):
            shapes.append(tuple(value.shape[:2]))

    module = embedder.model.get_submodule(part)
    calls = []
    with (
        getattr(module, f"register_{before_or_after}_hook")(see),
        module.register_forward_hook(lambda *_: calls.append(1)),
    ):
        assert torch.allclose(embedder.encode(TEXTS), plain, atol=1e-5)
    assert len(calls) == len({len(row) for row in embedder.tokenizer(TEXTS)["input_ids"]})
    assert all(rows < len(TEXTS) and tokens > 1 for rows, tokens in shapes)
    assert is_plain(embedder.model)


def test_a_hook_changes_the_vectors_as_it_changes_the_model(embedder: Embedder) -> None:
    before = embedder.encode(TEXTS)
    embedder.optimize(compile=False)
    zeroes_cls = lambda _module, _inputs, output: output * (torch.arange(output.shape[1]) > 0)[:, None]  # noqa: E731
    for change in (lambda _module, _inputs, output: output * 0, zeroes_cls):
        with embedder.model.encoder.layer[1].register_forward_hook(change):
            assert_as_the_model(embedder, before)
    assert is_plain(embedder.model) and (embedder.encode(TEXTS) - before).abs().max() == 0
    handle = nn.modules.module.register_module_forward_hook(
        lambda module, _inputs, output: output * 2 if isinstance(module, nn.LayerNorm) else None
    )
    with handle:
        assert_as_the_model(embedder, before)


def test_edits_and_traces(embedder: Embedder) -> None:
    before = embedder.encode(TEXTS)
    model = embedder.model
    heads = "encoder.layer.1.attention.self.context_heads"
    for point, change in (
        (heads, zero_head(0)),
        ("encoder.layer.0.attention.self.scores", torch.zeros_like),
        ("encoder.layer.1.attention.self.probabilities", torch.zeros_like),
        ("encoder.layer.0", lambda value: value * 2 + value.roll(1, -1)),
        ("encoder/last_hidden_state", torch.zeros_like),
    ):
        with edit(model, point, change):
            assert_as_the_model(embedder, before)
    pooled = embedder.encode(TEXTS, "pooler")
    for point in ("pooler", "/pooler_output", heads):
        with edit(model, point, lambda value: value * 0.5):
            found, expected = embedder.encode(TEXTS, "pooler"), by_the_model(embedder, pooling="pooler")
        assert (found - expected).abs().max() <= EMBEDDING < (found - pooled).abs().max()
    assert is_plain(model) and (embedder.encode(TEXTS) - before).abs().max() == 0


def test_forced_attention_reaches_the_vectors(embedder: Embedder) -> None:
    text = TEXTS[1]
    before = embedder.encode(text)
    inputs = embedder.tokenizer(text, return_tensors="pt")
    point = "encoder.layer.0.attention.self.probabilities"
    uniform = torch.full_like(trace(embedder.model, inputs, points=point)[point], 1 / inputs["input_ids"].shape[1])
    with edit(embedder.model, point, force_attention(uniform[0, 0], heads=0)):
        found, expected = embedder.encode(text), by_the_model(embedder, [text])[0]
    assert (found - expected).abs().max() <= EMBEDDING < (found - before).abs().max()


def test_dropout_stays_off_and_the_mode_as_it_was(embedder: Embedder) -> None:
    before = embedder.encode(TEXTS)
    embedder.model.train()
    embedder.model.encoder.layer[0].eval()
    assert torch.allclose(embedder.encode(TEXTS), before, atol=1e-5)
    with embedder.model.encoder.register_forward_hook(lambda *_: None):
        first, second = embedder.encode(TEXTS), embedder.encode(TEXTS)
    assert torch.equal(first, second) and torch.allclose(first, before, atol=1e-5)
    assert embedder.model.training and not embedder.model.encoder.layer[0].training
    assert embedder.model.encoder.layer[1].attention.self.dropout.training


def test_a_plain_model_is_never_called_and_another_always(embedder: Embedder, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("packed_layer", "called_outputs"):
        monkeypatch.setattr(packed, name, None)
    with pytest.raises(TypeError):
        embedder.encode(TEXTS)
    lora(embedder.model)
    with pytest.raises(TypeError):
        embedder.encode(TEXTS)
    assert copy.deepcopy(embedder.model) is not None


def test_what_is_not_plain_is_not_optimized(embedder: Embedder) -> None:
    lora(embedder.model)
    with pytest.raises(InputError, match="nothing to optimize: it is called as it is"):
        embedder.optimize(compile=False)


def test_peft(embedder: Embedder) -> None:
    peft = pytest.importorskip("peft")
    before = embedder.encode(TEXTS)
    settings = peft.LoraConfig(target_modules=["query", "value"], r=2, init_lora_weights=False)
    torch.manual_seed(0)
    adapted = peft.get_peft_model(embedder.model, settings)
    assert_as_the_model(embedder, before)
    with_adapter = embedder.encode(TEXTS)
    adapted.merge_and_unload()
    assert is_plain(embedder.model)
    merged = embedder.encode(TEXTS)
    assert (merged - with_adapter).abs().max() <= 2e-5 * merged.abs().max()
