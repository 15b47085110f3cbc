"""What the trace shows is what forward hooks on transformers' eager model see, bit for bit.

A watched model does not chunk its feed-forward: a value is seen once, and whole.  So the reference does not either; the
chunked run that nobody watches is compared with transformers' chunked run in tests/parity, at 0.0 as well.
"""

import pytest
import torch
from torch import Tensor

import minibert
from minibert import trace
from minibert.verify.checkpoints import on_equal_footing
from tests.parity.cases import KINDS_OF_INPUT, NUMBER_OF_CONFIGURATIONS, random_inputs, random_settings
from tests.parity.compare import assert_same_outputs, twins
from tests.parity.tolerances import EAGER_AGAINST_SDPA
from tests.support.small_models import assert_same_bits, eager, set_chunk

transformers = pytest.importorskip("transformers")


def hooked(model, inputs) -> dict[str, Tensor]:
    """Every module's output in transformers' model, without chunks: a tuple's first, a record's fields."""
    set_chunk(model, 0)
    seen: dict[str, Tensor] = {}

    def keep(name: str):
        def hook(_module, _inputs, output) -> None:
            if isinstance(output, transformers.utils.ModelOutput):
                for field, value in output.items():
                    if isinstance(value, Tensor):
                        seen[f"{name}/{field}"] = value
            else:
                seen[name] = output[0] if isinstance(output, tuple) else output

        return hook

    handles = [module.register_forward_hook(keep(name)) for name, module in model.named_modules()]
    with torch.no_grad():
        model(**inputs)
    for handle in handles:
        handle.remove()
    return seen


def assert_same_points(ours, reference, our_inputs, their_inputs) -> set[str]:
    """All that both have is the same; returns the names."""
    found, expected = trace(ours, our_inputs), hooked(reference, their_inputs)
    shared = set(found) & set(expected)
    for name in shared:
        assert torch.equal(found[name], expected[name]), name
    modules = {name for name, _ in ours.named_modules()} & {name for name, _ in reference.named_modules()}
    uncalled = ("layer", "attention.self.dropout", *(["word_embeddings"] if "inputs_embeds" in our_inputs else []))
    never_called = {name for name in modules if name.endswith(uncalled)}
    records = {"", "bert", "encoder", "bert.encoder"}
    assert modules - never_called - records <= shared
    return shared


@pytest.mark.parametrize("number", range(NUMBER_OF_CONFIGURATIONS))
def test_random_configurations(number: int) -> None:
    settings = random_settings(number)
    ours, reference = twins("BertModel", transformers.BertModel, settings, "eager")
    for kind in KINDS_OF_INPUT:
        our_inputs, their_inputs = random_inputs(settings, kind, "eager")
        shared = assert_same_points(ours, reference, our_inputs, their_inputs)
        assert len(shared) >= 9 + 15 * settings["num_hidden_layers"]
        assert {"/last_hidden_state", "encoder/last_hidden_state", "pooler.activation"} <= shared


def test_a_fused_model_is_shown_as_the_eager_one() -> None:
    settings = random_settings(1)
    ours, reference = twins("BertModel", transformers.BertModel, settings, "eager")
    ours.set_attn_implementation("sdpa")
    for kind in ("padding", "all ones", "hidden row", "3-D"):
        our_inputs, their_inputs = random_inputs(settings, kind, "eager")
        assert_same_points(ours, reference, our_inputs, their_inputs)
    assert ours.config.attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "name",
    [
        "BertForPreTraining",
        "BertForMaskedLM",
        "BertForNextSentencePrediction",
        "BertForSequenceClassification",
        "BertForTokenClassification",
        "BertForQuestionAnswering",
    ],
)
def test_heads(name: str) -> None:
    for number in (0, 2, 4):
        settings = random_settings(number)
        ours, reference = twins(name, getattr(transformers, name), settings, "eager")
        inputs, same = random_inputs(settings, "pairs", "eager")
        shared = assert_same_points(ours, reference, inputs, same)
        assert len([point for point in shared if point.startswith("/")]) >= 1
        if name == "BertForMaskedLM":
            assert "cls.predictions.transform.transform_act_fn" in shared  # a module there, a mark here


def test_in_float64() -> None:
    settings = random_settings(3)
    ours, reference = twins("BertModel", transformers.BertModel, settings, "eager", torch.float64)
    inputs, same = random_inputs(settings, "padding", "eager")
    assert_same_points(ours, reference, inputs, same)


def test_a_real_checkpoint(minilm, threads: int) -> None:
    ours = on_equal_footing(minibert.BertModel.from_pretrained(minilm))
    reference = on_equal_footing(transformers.BertModel.from_pretrained(minilm, attn_implementation="eager"))
    tokenizer = minibert.BertTokenizer.from_pretrained(minilm)
    texts = ["She sat by the bank.", "Hello!", "The pear tree is in bloom."]
    pairs = ["The bank was closed, so she went home.", "", "It is spring."]
    for inputs in (
        tokenizer(texts[0], return_tensors="pt"),
        tokenizer(texts, pairs, padding=True, return_tensors="pt"),
    ):
        assert len(assert_same_points(ours, reference, inputs, dict(inputs))) == 12 + 16 * 6


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("chunk", [1, 3, 4, 5, 7, 50])
def test_a_chunked_feed_forward_is_shown_whole_with_the_bits_of_the_model_without_chunks(
    chunk: int, batch: int
) -> None:
    """The chunks that nobody watches round otherwise, and by no more than that: a matrix product by its height."""
    for activation in ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu", "silu", "tanh"):
        settings = random_settings(0) | {"chunk_size_feed_forward": chunk, "hidden_act": activation}
        for intermediate in (37, 64):
            config = minibert.BertConfig(**settings | {"intermediate_size": intermediate})
            torch.manual_seed(chunk)
            model = minibert.BertModel(config).eval()
            inputs = {"input_ids": torch.randint(60, (batch, 12))}
            found = trace(model, inputs)
            assert found["encoder.layer.0.intermediate.dense"].shape == (batch, 12, intermediate)
            assert_same_bits(found.outputs, eager(model, inputs))
            model.set_attn_implementation("eager")
            with torch.no_grad():
                assert_same_outputs(model(**inputs), found.outputs, EAGER_AGAINST_SDPA)


def test_in_training_mode_the_same_dropout_is_drawn() -> None:
    settings = random_settings(1)
    ours, reference = twins("BertModel", transformers.BertModel, settings, "eager")
    inputs, same = random_inputs(settings, "padding", "eager")
    torch.manual_seed(5)
    found = trace(ours.train(), inputs)
    torch.manual_seed(5)
    expected = hooked(reference.train(), same)
    shared = set(found) & set(expected)
    assert len(shared) > 20 and all(torch.equal(found[name], expected[name]) for name in shared)
    assert not torch.equal(found["embeddings.dropout"], found["embeddings.LayerNorm"])
    assert ours.training
