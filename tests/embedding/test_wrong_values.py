"""What people hand to the public functions of the embedding room by mistake: the value, or a sentence of ours.

Every parameter of every public signature is given every wrong value, all others being right; nothing but a result or a
MinibertError may come out.
"""

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

import minibert
from minibert import Embedder, InputError, nearest
from minibert.embedding import mean_pooling, span_vectors, word_similarity
from minibert.embedding.arguments import NOT_HERE
from minibert.embedding.words import word_vectors
from minibert.errors import MinibertError
from tests.support.sentence_folders import FOLDER

TEXTS = ["the bank of the river", "She sat by the bank."]
WRONG: list[Any] = [
    None, True, False, 0, 1, -1, 2, 7, 10**9, 10**30, -(10**30), 0.5, math.nan, math.inf, 1 + 2j,
    "", "x", "mean", "\ud800", "\0", b"x", bytearray(b"x"),
    [], ["x"], [1], [0, 1], [-99], [None], [["a", "b"]], [("a", "b")], ("a", 1), [b"x"], [math.nan], [True],
    ["mean", "pooler"], ["mean", 1], {}, {"a": 1}, {"x"}, object(), print, int, range(2), slice(1),
    torch.tensor(1), torch.ones(3), torch.ones(2, 16), torch.tensor([math.nan]),
]  # fmt: skip


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def corpus(embedder, tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "x.txt").write_text("\n".join(TEXTS))
    minibert.embed_corpus(embedder, folder / "x.txt", folder / "out")
    return folder / "out"


def public(embedder: Embedder, corpus: Any) -> list[tuple[Callable[..., Any], dict[str, Any], set[str]]]:
    """Each function with right arguments, and the parameters that are another test's."""
    model, tokenizer = embedder.model, embedder.tokenizer
    vectors = embedder.encode(TEXTS)
    return [
        (Embedder, {"model": model, "tokenizer": tokenizer}, set()),
        (embedder.encode, {"texts": TEXTS}, set()),
        (embedder.encode_query, {"texts": TEXTS}, set()),
        (embedder.encode_document, {"texts": TEXTS}, set()),
        (embedder.words, {"texts": TEXTS}, set()),
        (embedder.similarity, {"embeddings1": vectors, "embeddings2": vectors}, set()),
        (minibert.quantize_embeddings, {"embeddings": vectors, "precision": "int8"}, set()),
        (
            minibert.dequantize_embeddings,
            {"stored": vectors.to(torch.int8), "precision": "int8", "width": 16, "ranges": [[0.0] * 16, [1.0] * 16]},
            set(),
        ),
        (minibert.embed_texts, {"model": model, "tokenizer": tokenizer, "texts": TEXTS}, set()),
        (mean_pooling, {"hidden_states": torch.ones(1, 2, 3), "attention_mask": torch.ones(1, 2)}, set()),
        (word_vectors, {"embedder": embedder, "texts": TEXTS}, set()),
        (span_vectors, {"embedder": embedder, "text": TEXTS[0], "spans": [(0, 3)]}, set()),
        (word_similarity, {"embedder": embedder, "word": "bank", "texts": TEXTS}, set()),
        (nearest, {"folder": corpus, "queries": vectors[0]}, {"folder", "model"}),
        (nearest, {"folder": corpus, "queries": "bank", "model": embedder}, {"folder", "model"}),
    ]


def test_every_parameter_with_every_wrong_value(embedder, corpus) -> None:
    asked, refused = 0, 0
    for function, right, elsewhere in public(embedder, corpus):
        names = [
            name
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is not parameter.VAR_KEYWORD and name not in elsewhere
        ]
        for name in names:
            for value in WRONG:
                asked += 1
                try:
                    function(**{**right, name: value})
                except MinibertError as error:
                    refused += 1
                    assert str(error).endswith((".", ")")), (function, name, value, str(error))
                except Exception as error:
                    raise AssertionError(f"{function.__qualname__}({name}={value!r})") from error
    assert (asked > 3000, refused > 2000) == (True, True), (asked, refused)


def test_arguments_of_sentence_transformers(embedder) -> None:
    """Those that ask for nothing else are accepted, the others refused, the unknown ones Python's."""
    expected = embedder.encode(TEXTS)
    for given in (
        {"batch_size": 1}, {"show_progress_bar": False}, {"convert_to_tensor": True}, {"normalize_embeddings": False},
        {"output_value": "sentence_embedding"}, {"precision": "float32"}, {"device": "cpu"}, {"pool": None},
        {"chunk_size": None}, {"task": "query"}, {"processing_kwargs": None}, {"convert_to_numpy": False},
        {"convert_to_numpy": True, "convert_to_tensor": True},
    ):  # fmt: skip
        assert torch.allclose(embedder.encode(TEXTS, **given), expected, atol=1e-6), given
    normalized = embedder.encode(TEXTS, normalize_embeddings=True)
    assert torch.equal(normalized, embedder.encode(TEXTS, normalize=True))
    assert torch.allclose(normalized.norm(dim=-1), torch.ones(2), atol=1e-6)
    for given, sentence in (
        ({"output_value": "token_embeddings"}, "one vector per text; .* Embedder.words"),
        ({"precision": "int4"}, r"precision is 'int4' \(str\); expected one of float32, float16, int8, uint8, binary"),
        ({"pool": {}}, "encode runs in one process"),
        ({"task": "clustering"}, "the tasks that encode knows are 'query' and 'document'"),
        ({"device": ["cpu", "cpu"]}, "an Embedder runs on one device, cpu"),
        ({"device": "meta"}, "The model is on cpu; encode does not move it to 'meta'"),
        ({"normalize": False, "normalize_embeddings": True}, "normalize is False and normalize_embeddings is True"),
        ({"batch_size": 0}, r"batch_size is 0 \(int\); expected a whole number of at least 1"),
        ({"prompt_name": "passage"}, r"prompt_name is 'passage' \(str\); expected one of query, document"),
        ({"truncate_dim": -1}, "truncate_dim is -1"),
    ):
        with pytest.raises(InputError, match=sentence):
            embedder.encode(TEXTS, **given)
    for name in NOT_HERE:
        for value in (object(), 3, "x"):
            with pytest.raises(InputError, match=f"encode\\(\\) got {name}="):
                embedder.encode(TEXTS, **{name: value})
    with pytest.raises(TypeError, match="unexpected keyword argument 'batchsize'"):
        embedder.encode(TEXTS, batchsize=3)


@pytest.mark.parametrize(
    ("texts", "sentence"),
    [
        (None, "texts is None; expected a text"),
        (3, r"texts is 3 \(int\); expected a text"),
        (b"bank", r"texts is b'bank' \(bytes\); expected a text"),
        (["bank", None], r"texts\[1\] is None; expected a text"),
        ([["bank", "river"]], r"texts\[0\] is \['bank', 'river'\] \(list\); .*a pair is no text"),
        ([("bank", "river")], "a pair is no text: embed its texts one by one"),
        ({"text": "bank"}, r"texts is .* \(dict\); expected a text"),
        (torch.ones(2), r"texts is a tensor of shape \(2,\); expected"),
    ],
)
def test_what_is_no_text(embedder, texts: Any, sentence: str) -> None:
    for call in (embedder.encode, embedder.encode_query, embedder.words):
        with pytest.raises(InputError, match=sentence):
            call(texts)


def test_texts_may_come_from_anywhere(embedder) -> None:
    numpy = pytest.importorskip("numpy")
    expected = embedder.encode(TEXTS)
    for texts in (tuple(TEXTS), iter(TEXTS), numpy.array(TEXTS), numpy.array(TEXTS, dtype=object)):
        assert torch.equal(embedder.encode(texts), expected)


@pytest.mark.parametrize("length", [0, 1, -1, "x", True, 12.0, [12]])
def test_lengths_that_are_none(embedder, length: Any) -> None:
    with pytest.raises(InputError, match="max_length is .*; expected a whole number of at least 2"):
        Embedder(embedder.model, embedder.tokenizer, max_length=length)


def test_a_tokenizer_that_leaves_no_room(embedder) -> None:
    tokenizer = copy.deepcopy(embedder.tokenizer)
    tokenizer.model_max_length = 1
    with pytest.raises(InputError, match="max_length, by the tokenizer and the model, is 1 .*at least 2"):
        Embedder(embedder.model, tokenizer)


def test_vectors_that_are_not_finite(embedder) -> None:
    sick = copy.deepcopy(embedder)
    with torch.no_grad():
        sick.model.encoder.layer[1].output.dense.bias[3] = math.inf
    for call in (lambda: sick.encode(TEXTS), lambda: sick.encode(TEXTS[0]), lambda: sick.words(TEXTS)):
        with pytest.raises(InputError, match="holds NaN or infinity. Either the weights do, or float16 is too narrow"):
            call()
    assert torch.equal(sick.encode(TEXTS, layers=1), embedder.encode(TEXTS, layers=1))
    with pytest.raises(InputError, match="embeddings2 holds NaN"):
        embedder.similarity(torch.ones(2, 16), torch.full((16,), math.nan))


@pytest.mark.parametrize("kind", ["DataFrame", "Dataset", "list"])
def test_a_table_is_no_list_of_texts(kind: str, embedder: Embedder) -> None:
    """Its column is: iterating a DataFrame gives the names of its columns, which would be embedded."""
    rows = [{"text": text} for text in TEXTS]
    if kind == "DataFrame":
        table = pytest.importorskip("pandas").DataFrame(rows)
    else:
        table = rows if kind == "list" else pytest.importorskip("datasets").Dataset.from_list(rows)
    with pytest.raises(
        InputError, match=rf"texts is a {kind} with columns or dicts.*Give the column, such as data\['te"
    ):
        embedder.encode(table)
    if kind != "list":
        assert torch.equal(embedder.encode(table["text"]), embedder.encode(TEXTS))
