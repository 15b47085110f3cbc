"""The parity gate of the page: every point of the engine against the readable model with the very same weights."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from minibert import BertTokenizer, trace
from minibert.auto import load_architecture
from minibert.pretrained import BertPreTrainedModel
from tests.parity.tolerances import PAGE
from tests.support.engine import Engine, differences, missing_points
from tests.support.small_models import small

TINY = {
    "vocab_size": 101,
    "hidden_size": 21,
    "num_attention_heads": 3,
    "intermediate_size": 17,
    "num_hidden_layers": 3,
    "max_position_embeddings": 128,
}
CONFIGS = [  # class, dtype of the weights, settings
    ("BertForPreTraining", "float16", {"hidden_act": "gelu"}),
    ("BertForPreTraining", "int8", {"hidden_act": "gelu_new", "num_attention_heads": 1, "intermediate_size": 64}),
    ("BertModel", "float32", {"hidden_act": "gelu_pytorch_tanh", "layer_norm_eps": 1e-3, "num_hidden_layers": 1}),
    ("BertForMaskedLM", "float16", {"hidden_act": "relu", "tie_word_embeddings": False, "type_vocab_size": 3}),
    ("BertForNextSentencePrediction", "int8", {"hidden_act": "silu", "hidden_size": 7, "num_attention_heads": 7}),
    ("BertForMaskedLM", "float32", {"hidden_act": "swish", "chunk_size_feed_forward": 2}),
    ("BertModel", "float16", {"hidden_act": "tanh", "hidden_size": 64, "num_attention_heads": 2}),
]
SINGLE, PAIR = "She sat by the bank of the river.", "나는 배를 타고 강을 건넜다. 😀"
TEXTS = [(SINGLE,), (PAIR,), (SINGLE, "She put the money in the bank."), (PAIR, "她在河边坐着。"), (SINGLE * 20,)]


def texts_for(settings: Mapping[str, int]) -> list[dict[str, Tensor]]:
    """One token, a sentence, a pair, a padded pair at other positions, 128 tokens: random ids."""
    draw = torch.Generator().manual_seed(1)
    segments = settings.get("type_vocab_size", 2)

    def ids(T: int) -> Tensor:
        return torch.randint(settings["vocab_size"], (1, T), generator=draw)

    padded = torch.tensor([[1] * 6 + [0] * 3])
    return [
        {"input_ids": ids(1)},
        {"input_ids": ids(5)},
        {"input_ids": ids(10), "token_type_ids": torch.randint(segments, (1, 10), generator=draw)},
        {"input_ids": ids(9), "attention_mask": padded, "position_ids": torch.randint(128, (1, 9), generator=draw)},
        {"input_ids": ids(128), "token_type_ids": (torch.arange(128)[None] > 60).long()},
    ]


def assert_same_points(engine: Engine, inputs: Mapping[str, Tensor]) -> None:
    found, traced = engine.run(inputs), trace(engine.model, inputs)
    prefix = engine.model.encoder_prefix
    assert missing_points(found, traced, prefix) == []
    shares = differences(found, traced, prefix)
    worst = max(shares, key=shares.__getitem__)
    assert shares[worst] <= PAGE, (worst, shares[worst])


@pytest.mark.parametrize(("name", "dtype", "settings"), CONFIGS)
def test_random_configurations(open_engine, name: str, dtype: str, settings: dict) -> None:
    model: BertPreTrainedModel = small(name, **{**TINY, **settings})
    engine = open_engine(model, dtype)
    tied, state = model.tied_names(), model.state_dict()
    weights = engine.weights()
    assert weights.keys() == state.keys() - tied.keys()
    assert all(torch.equal(value, state[name]) for name, value in weights.items())  # the very weights
    for inputs in texts_for({**TINY, **settings}):
        assert_same_points(engine, inputs)


@pytest.mark.parametrize(("name", "dtype", "settings"), CONFIGS[:2])
def test_plain_loops_where_webassembly_is_forbidden(open_engine, name: str, dtype: str, settings: dict) -> None:
    engine = open_engine(small(name, **{**TINY, **settings}), dtype, simd=False)
    for inputs in texts_for({**TINY, **settings}):
        assert_same_points(engine, inputs)


def assert_same_on_texts(engine: Engine, folder: str | Path, several: Sequence[tuple[str, ...]] = TEXTS) -> None:
    tokenizer = BertTokenizer.from_pretrained(folder)
    for texts in several:
        inputs = dict(tokenizer(*texts, return_tensors="pt", truncation=True, max_length=128))
        assert_same_points(engine, {name: torch.as_tensor(value) for name, value in inputs.items()})


def test_the_demo_on_a_pair(open_engine) -> None:
    assert_same_on_texts(open_engine(load_architecture("minibert-demo").eval(), "float16"), "minibert-demo", TEXTS[3:4])


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_the_demo(open_engine, dtype: str) -> None:
    assert_same_on_texts(open_engine(load_architecture("minibert-demo").eval(), dtype), "minibert-demo")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float16", "int8"])
def test_minilm(open_engine, minilm, dtype: str) -> None:
    assert_same_on_texts(open_engine(load_architecture(minilm).eval(), dtype), minilm)


def test_errors_are_sentences(open_engine) -> None:
    engine = open_engine(small("BertModel", **TINY))
    for inputs, sentence in (
        ({"ids": [3, 101]}, "101 is in ids; this model has 0 to 100."),
        ({"ids": [3, -1]}, "-1 is in ids"),
        ({"ids": [1.5]}, "1.5 is in ids"),
        ({"ids": []}, "There are no ids"),
        ({"ids": [1] * 129}, "The text has 129 tokens; this model reads 128 at most."),
        ({"ids": [1, 2], "segments": [0]}, "There are 1 segments; expected 2"),
        ({"ids": [1, 2], "segments": [0, 2]}, "2 is in segments; this model has 0 to 1."),
        ({"ids": [1], "positions": [128]}, "128 is in positions"),
        ({"ids": [1, 2], "mask": [1]}, "There are 1 numbers in mask"),
    ):
        assert sentence in engine.fails(inputs=inputs)
    zeroed = [["encoder.layer.9", [["zeroHeads", 0]]]]
    assert "encoder.layer.9 is edited, but it is not" in engine.fails(inputs={"ids": [1]}, edits=zeroed)
    assert engine.fails(inputs={"ids": [1]}) is None


def test_only_the_points_asked_for_are_kept(open_engine) -> None:
    engine = open_engine(small("BertModel", **TINY))
    inputs = {"input_ids": torch.tensor([[5, 6, 7]])}
    names = ["embeddings", "encoder.layer.1.attention.self.probabilities"]
    found, whole = engine.run(inputs, points=names), engine.run(inputs)
    assert list(found) == names
    assert all(torch.equal(found[name], whole[name]) for name in names)


def test_a_caller_gets_a_turn_twice_in_each_layer(browser, open_engine) -> None:
    open_engine(small("BertModel", **TINY))
    assert browser.run("return driver.pauses({ids: [5, 6, 7]})") == 2 * TINY["num_hidden_layers"]


def test_every_float16_number_is_read_exactly(browser, open_engine) -> None:
    open_engine(small("BertModel", **TINY))
    found = torch.frombuffer(bytearray(base64.b64decode(browser.run("return driver.halves()"))), dtype=torch.float32)
    expected = torch.arange(65536).to(torch.uint16).view(torch.float16).float()
    assert torch.equal(found.isnan(), expected.isnan()) and found.isnan().sum() == 2046
    assert torch.equal(found.nan_to_num(7), expected.nan_to_num(7))
    assert torch.equal(found.signbit()[~found.isnan()], expected.signbit()[~found.isnan()])


def test_erf(browser, open_engine) -> None:
    open_engine(small("BertModel", **TINY))
    numbers = torch.linspace(-7, 7, 4001, dtype=torch.float64)
    found = torch.tensor(browser.run("return driver.erf(arguments[0])", numbers.tolist()), dtype=torch.float64)
    assert (found - torch.erf(numbers)).abs().max() < 1e-15
