"""Vectors: packed against the readable model on a padded batch, and against sentence-transformers."""

import pytest
import torch
import torch.nn.functional as F

import minibert
from minibert import Embedder, InputError
from minibert.embedding.layers import NAMES, choose_layers
from tests.parity.tolerances import EMBEDDING, EMBEDDING_NORMALIZED

TEXTS = [
    "She sat by the bank of the river.",
    "hello",
    "배를 타고 여행을 간다!",
    "",
    "the bank was closed, so she went home again",
    "hello",
    "The pear tree is in bloom. " * 3,
]


def by_the_readable_model(embedder: Embedder, texts: list[str], pooling, special: bool = True) -> torch.Tensor:
    """The same vectors, written down plainly: one padded batch, 13 hidden states, a mask."""
    inputs = embedder.tokenizer(
        texts, padding=True, truncation=True, max_length=embedder.max_length, return_tensors="pt"
    )
    with torch.no_grad():
        output = embedder.model(**inputs, output_hidden_states=True)
    states, mask = output.hidden_states, inputs["attention_mask"]
    if pooling == "pooler":
        return output.pooler_output
    if not special:
        mask = mask.clone()
        mask[:, 0] = 0
        mask[torch.arange(len(texts)), inputs["attention_mask"].sum(1) - 1] = 0
    layers = {
        "second_to_last": states[-2],
        "embeddings": states[0],
        "sum_last4": sum(states[-4:]),
        "weighted_last4": sum(states[-4:]) / 4,
        "concat_last4": torch.cat(states[-4:], dim=-1),
        "sum_all": sum(states),
        "weighted_all": sum(states) / len(states),
        2: states[2],
        (1, 2): torch.cat([states[1], states[2]], dim=-1),
    }
    key = tuple(pooling) if isinstance(pooling, list) else pooling
    values = layers.get(key, states[-1])
    if pooling == "cls":
        return values[:, 0]
    if pooling == "max":
        return values.masked_fill(mask[:, :, None] == 0, float("-inf")).amax(dim=1)
    weights = mask[:, :, None].to(values.dtype)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=1)


def assert_close(found: torch.Tensor, expected: torch.Tensor) -> None:
    scale = expected.abs().amax(dim=-1, keepdim=True).clamp(min=1e-6)
    assert ((found - expected).abs() / scale).max().item() <= EMBEDDING
    difference = F.normalize(found, dim=-1) - F.normalize(expected, dim=-1)
    assert difference.abs().max().item() <= EMBEDDING_NORMALIZED


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "pooler", *NAMES, 2, -1, [1, 2]], ids=str)
def test_every_pooling_equals_the_readable_model(minilm_embedder, pooling) -> None:
    expected = by_the_readable_model(minilm_embedder, TEXTS, pooling)
    assert_close(minilm_embedder.encode(TEXTS, pooling, normalize=False), expected)


def test_mean_pooling_of_a_padded_batch(minilm_embedder) -> None:
    inputs = minilm_embedder.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = minilm_embedder.model(**inputs).last_hidden_state
    found = minibert.mean_pooling(states, inputs["attention_mask"])
    for row, mask, vector in zip(states, inputs["attention_mask"], found, strict=True):
        assert torch.allclose(vector, row[mask.bool()].mean(dim=0), atol=1e-6)
    assert_close(found, minilm_embedder.encode(TEXTS, "mean", normalize=False))


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_without_cls_and_sep(tiny, pooling) -> None:
    texts = [text for text in TEXTS if text]
    expected = by_the_readable_model(tiny, texts, pooling, special=False)
    assert_close(tiny.encode(texts, pooling, include_special_tokens=False), expected)
    assert tiny.encode("", pooling, include_special_tokens=False).abs().max() == 0


def test_layers_with_another_pooling_and_weights(tiny) -> None:
    first = tiny.encode(TEXTS, "cls", layers=1)
    second = tiny.encode(TEXTS, "cls", layers=2)
    assert torch.allclose(tiny.encode(TEXTS, "cls", layers=[1, 2], weights=[0.25, 2.0]), 0.25 * first + 2 * second)
    assert torch.equal(tiny.encode(TEXTS, "cls", layers=[1, 2]), torch.cat([first, second], dim=-1))
    weighted = tiny.encode(TEXTS, "weighted_all", weights=[0.0, 1.0, 0.0])
    assert torch.allclose(weighted, tiny.encode(TEXTS, 1))


def test_equals_sentence_transformers(minilm, minilm_embedder) -> None:
    library = pytest.importorskip("sentence_transformers")
    texts = [*TEXTS, "A long one. " * 300]
    expected = torch.tensor(library.SentenceTransformer(str(minilm), device="cpu").encode(texts))
    found = minilm_embedder.encode(texts)
    assert (minilm_embedder.pooling, minilm_embedder.normalize, minilm_embedder.max_length) == ("mean", True, 256)
    assert minilm_embedder.truncated == 1
    assert (found - expected).abs().max().item() <= EMBEDDING_NORMALIZED
    assert (found * expected).sum(-1).min().item() >= 1 - 1e-6


def test_a_text_does_not_depend_on_its_company(minilm_embedder) -> None:
    together = minilm_embedder.encode(TEXTS)
    alone = torch.stack([minilm_embedder.encode(text) for text in TEXTS])
    turned = minilm_embedder.encode(TEXTS[::-1]).flip(0)
    assert (together - alone).abs().max().item() <= EMBEDDING_NORMALIZED
    assert (together - turned).abs().max().item() <= EMBEDDING_NORMALIZED
    assert torch.equal(together[1], together[5])  # the same text twice


def test_shapes_order_and_windows_of_texts(tiny, monkeypatch) -> None:
    assert tiny.encode("hello").shape == (16,)
    assert tiny.encode([]).shape == (0, 16)
    assert tiny.encode(TEXTS, "concat_last4" if len(tiny.model.encoder.layer) > 3 else [0, 1]).shape == (7, 32)
    whole = tiny.encode(TEXTS)
    monkeypatch.setattr("minibert.embedding.embedder.TEXTS_PER_BLOCK", 2)
    monkeypatch.setattr("minibert.embedding.runner.TOKENS_PER_BATCH", 10)
    assert torch.allclose(tiny.encode(TEXTS), whole, atol=1e-5)


def test_long_texts_are_cut_and_counted_or_read_in_windows(tiny, caplog) -> None:
    words = ["bank", "river", "pear", "tree", "home"] * 12  # 60 pieces; the model reads 32
    text = " ".join(words)
    cut = tiny.encode([text, "hello"])
    assert tiny.truncated == 1
    assert "1 of 2 texts have more than 32 tokens and were cut" in caplog.text
    assert_close(cut[:1], tiny.encode([" ".join(words[:30])]))
    windows = tiny.encode([text, "hello"], long="windows", stride=10)
    assert tiny.truncated == 0
    parts = [words[:30], words[20:50], words[40:60]]
    expected = torch.stack([tiny.encode(" ".join(part)) for part in parts]).mean(0)
    assert_close(windows[:1], expected[None])
    assert_close(windows[1:], tiny.encode(["hello"]))


def test_numpy_on_request(tiny) -> None:
    numpy = pytest.importorskip("numpy")
    found = tiny.encode(TEXTS, convert_to_numpy=True)
    assert isinstance(found, numpy.ndarray)
    assert found.dtype == numpy.float32


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"pooling": "median"}, "'median' is no pooling; there are mean, max, cls, mean_sqrt_len_tokens, "),
        ({"pooling": 9}, r"There is no hidden state 9: this model has 0 \(the embeddings\) to 2"),
        ({"pooling": -4}, "There is no hidden state -4"),
        ({"pooling": []}, "The list of layers is empty"),
        ({"layers": "middle"}, "'middle' is no choice of layers"),
        ({"pooling": "concat_last4"}, "There is no hidden state -4"),
        ({"pooling": "pooler", "layers": 1}, "The pooler reads the last layer"),
        ({"layers": [1, 2], "weights": [1.0]}, "1 weights for"),
        ({"layers": "sum_all", "weights": [1.0, 1.0, 1.0]}, "3 weights for 'sum_all'"),
        ({"long": "fold"}, "long is 'fold'"),
    ],
)
def test_choices_that_are_none(tiny, arguments: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        tiny.encode(TEXTS, **arguments)


def test_no_pooler(tiny) -> None:
    bare = Embedder(minibert.BertModel(tiny.model.config, add_pooling_layer=False), tiny.tokenizer)
    with pytest.raises(InputError, match="has no pooler"):
        bare.encode("hello", "pooler")


def test_layer_choices_are_what_the_paper_calls_them() -> None:
    assert choose_layers("concat_last4", 12).numbers == (9, 10, 11, 12)
    assert choose_layers("weighted_all", 12).numbers == tuple(range(13))
    assert sum(choose_layers("weighted_all", 12).weights) == pytest.approx(1)
    assert choose_layers("second_to_last", 12).numbers == (11,)
    assert choose_layers("concat_last4", 12).width == 4
