"""Vectors in fewer bytes: sentence-transformers' bytes, bit for bit, and what comes back of them."""

import logging
import math

import pytest
import torch

from minibert import InputError, dequantize_embeddings, quantize_embeddings
from minibert.embedding.precision import BUCKETED, FEW, PACKED, PRECISIONS, bytes_per_vector

THEIRS = [name for name in PRECISIONS if name != "float16"]
QUANTIZED = (*BUCKETED, *PACKED)


@pytest.fixture(scope="module")
def theirs():
    pytest.importorskip("sentence_transformers", reason="compared with sentence-transformers, which is not installed")
    from sentence_transformers.util.quantization import quantize_embeddings as function

    return function


def draw(rows: int, width: int, seed: int = 0) -> torch.Tensor:
    """Normal vectors with what is awkward: zeros of both signs, a dimension of one value, outliers."""
    vectors = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed))
    vectors[:, 0] = 0.25
    vectors[0, 1], vectors[1, 1], vectors[2, 1] = 0.0, -0.0, 1e-42
    vectors[3, 2] = 1e6
    return vectors


@pytest.mark.parametrize("width", [8, 13, 384])
@pytest.mark.parametrize("precision", THEIRS)
def test_the_bytes_of_sentence_transformers(theirs, precision: str, width: int) -> None:
    for dtype in (torch.float32, torch.float64, torch.float16):
        vectors, other = draw(200, width).clamp(-6e4, 6e4).to(dtype), draw(300, width, 1).clamp(-6e4, 6e4).to(dtype)
        ranges = torch.stack((other.amin(0) / 2, other.amax(0) / 3 + 0.5)).to(dtype)  # narrow: some are clipped
        for settings in ({}, {"calibration_embeddings": other}, {"ranges": ranges}):
            expected = theirs(vectors, precision, **{name: value.numpy() for name, value in settings.items()})
            found = quantize_embeddings(vectors, precision, **settings)
            assert torch.equal(found, torch.from_numpy(expected)), (dtype, settings.keys())
            assert found.dtype == PRECISIONS[precision]
            assert found[0].nbytes == bytes_per_vector(precision, width)
            for given in (vectors.numpy(), list(vectors), list(vectors.numpy())):
                assert torch.equal(quantize_embeddings(given, precision, **settings), found)
        single = theirs(vectors[0].numpy(), precision, ranges=ranges.numpy())
        assert torch.equal(quantize_embeddings(vectors[0], precision, ranges), torch.from_numpy(single))
    rows = draw(5, width).tolist()
    assert torch.equal(quantize_embeddings(rows, precision), torch.from_numpy(theirs(rows, precision)))
    assert quantize_embeddings(torch.empty(0, width), precision).shape == theirs(torch.empty(0, width), precision).shape


def test_bytes_by_hand() -> None:
    vectors = torch.tensor([[0.0, 1.0], [255.0, 1.0], [127.5, 1.0], [300.0, 3.0], [-9.0, 0.5]])
    ranges = torch.tensor([[0.0, 1.0], [255.0, 1.0]])  # the second dimension has one value: its buckets are 1 wide
    buckets = [[0, 0], [255, 0], [127, 0], [255, 2], [0, 0]]
    assert quantize_embeddings(vectors, "uint8", ranges).tolist() == buckets
    assert quantize_embeddings(vectors, "int8", ranges).tolist() == [[a - 128, b - 128] for a, b in buckets]
    bits = torch.tensor([[1.0, -1, 0, 2, 0, 0, 0, 3, 5]])
    assert quantize_embeddings(bits, "ubinary").tolist() == [[0b10010001, 0b10000000]]
    assert quantize_embeddings(bits, "binary").tolist() == [[0b10010001 - 128, 0]]
    assert quantize_embeddings(torch.tensor([1.0, 1 / 3]), "float16").tolist() == [1.0, 0.333251953125]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_what_comes_back(precision: str) -> None:
    vectors = torch.randn(500, 21, generator=torch.Generator().manual_seed(3))
    vectors[:, 4] = -0.5
    ranges = torch.stack((vectors.amin(0), vectors.amax(0)))
    stored = quantize_embeddings(vectors, precision, ranges)
    back = dequantize_embeddings(stored, precision, 21, ranges)
    assert (back.dtype, back.shape) == (torch.float64, (500, 21))
    assert torch.equal(dequantize_embeddings(stored[7].numpy(), precision, 21, ranges), back[7])
    error = (back - vectors.double()).abs()
    if precision in BUCKETED:
        steps = (ranges[1] - ranges[0]).double() / 255
        assert (error <= steps / 2 + 1e-6).all()  # the middle of the bucket
        assert error[:, 4].max() == 0
        assert 0.2 < (error / steps)[:, :4].mean() < 0.3
    elif precision in PACKED:
        assert torch.equal(back, torch.where(vectors > 0, 1.0, -1.0).double())
    else:
        assert torch.equal(back, vectors.to(PRECISIONS[precision]).double())
        assert error.max() <= (0 if precision == "float32" else 4 * 2**-11)


def test_few_vectors_warn_and_a_single_one_is_refused(tiny, caplog) -> None:
    vectors = draw(FEW, 8)
    with caplog.at_level(logging.WARNING, "minibert.embedding"):
        quantize_embeddings(vectors, "int8")
        quantize_embeddings(vectors[:5], "binary")
        quantize_embeddings(vectors[:5], "int8", calibration_embeddings=vectors[:5])
        assert caplog.text == ""
        quantize_embeddings(vectors[:-1], "uint8")
    assert "The ranges of uint8 are those of 99 vectors only" in caplog.text
    for call in (
        lambda: quantize_embeddings(vectors[:1], "int8"),
        lambda: quantize_embeddings(vectors[0], "int8"),
        lambda: tiny.encode("the bank", precision="int8"),
    ):
        with pytest.raises(InputError, match=r"The int8 ranges of a single vector .* many texts together"):
            call()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((torch.ones(2, 3), "int4"), "precision is 'int4'"),
        ((torch.ones(2, 3, dtype=torch.int8), "int8"), r"dtype torch.int8; expected \(n, W\) or \(W,\) floating point"),
        ((torch.ones(2, 3, 4), "binary"), r"embeddings has shape \(2, 3, 4\)"),
        ((torch.tensor([[1.0, math.nan]]), "binary"), "embeddings holds NaN or infinity"),
        ((torch.tensor([[1.0, math.inf]]), "float16"), "embeddings holds NaN or infinity"),
        ((torch.tensor([[1.0, -7e4]]), "float16"), "embeddings holds 70000, and torch.float16 ends at 65504"),
        ((torch.ones(2, 3), "int8", torch.ones(3, 3)), r"ranges has the shape \(3, 3\), expected \(2, 3\)"),
        ((torch.ones(2, 2), "int8", [[0.0, 1], [1, 0.5]]), r"ranges\[0\]\[1\] is 1 and ranges\[1\]\[1\] is 0.5"),
        ((torch.ones(2, 2), "int8", [[0.0, 1], [1, math.nan]]), "ranges holds NaN"),
        ((torch.ones(2, 2), "int8", None, torch.ones(5, 3)), r"calibration_embeddings has the shape \(5, 3\)"),
        (("a text", "int8"), "embeddings is 'a text'"),
    ],
)
def test_mistakes(arguments: tuple, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        quantize_embeddings(*arguments)


def test_mistakes_in_what_is_stored() -> None:
    with pytest.raises(InputError, match=r"torch.uint8 \(2, 3\); 3 numbers in int8 are torch.int8, 3 a row"):
        dequantize_embeddings(torch.ones(2, 3, dtype=torch.uint8), "int8", 3, torch.ones(2, 3))
    with pytest.raises(InputError, match=r"17 numbers in ubinary are torch.uint8, 3 a row"):
        dequantize_embeddings(torch.ones(2, 2, dtype=torch.uint8), "ubinary", 17)
    with pytest.raises(InputError, match="int8 is read with the ranges that it was made with"):
        dequantize_embeddings(torch.ones(2, 3, dtype=torch.int8), "int8", 3)


def test_what_is_stored_is_not_compared_as_numbers(tiny) -> None:
    small = tiny.encode(["the bank", "the river"], precision="binary")
    with pytest.raises(InputError, match=r"dtype torch.int8; expected .* dequantize_embeddings reads int8 and bits"):
        tiny.similarity(small, small)
    read_back = dequantize_embeddings(small, "binary", 16)
    assert torch.allclose(tiny.similarity(read_back, read_back).diag(), torch.ones(2).double())


@pytest.mark.parametrize("precision", PRECISIONS)
def test_encode(tiny, precision: str) -> None:
    texts = ["the bank of the river", "she sat by the bank", "배를 타고", ""]
    for settings in ({}, {"normalize": True}, {"truncate_dim": 11}):
        found = tiny.encode(texts, precision=precision, **settings)
        assert torch.equal(found, quantize_embeddings(tiny.encode(texts, **settings), precision))
        assert tiny.encode(texts, precision=precision, convert_to_numpy=True, **settings).dtype == found.numpy().dtype
    assert tiny.encode([], precision=precision).shape == (0, 2 if precision in PACKED else 16)
    assert torch.equal(tiny.encode_query(texts, precision=precision), tiny.encode(texts, precision=precision))
    if precision not in BUCKETED:
        assert torch.equal(tiny.encode(texts[0], precision=precision), tiny.encode(texts[:1], precision=precision)[0])


def test_encode_like_sentence_transformers(minilm, minilm_embedder) -> None:
    """The two models' floats differ in the last bits, so a number at the edge of a bucket may fall on either side."""
    library = pytest.importorskip("sentence_transformers")
    texts = [f"{number} boats on the river" for number in range(120)]
    model = library.SentenceTransformer(str(minilm), device="cpu")
    for precision in QUANTIZED:
        ours, expected = minilm_embedder.encode(texts, precision=precision), model.encode(texts, precision=precision)
        assert (ours.numpy().dtype, ours.shape) == (expected.dtype, expected.shape)
        differing = (ours != torch.from_numpy(expected)).float().mean().item()
        assert differing < 0.001
        if precision in BUCKETED:
            assert (ours.int() - torch.from_numpy(expected).int()).abs().max() <= 1
