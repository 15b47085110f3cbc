"""Search, pairs and groups are sentence-transformers', also where similarities are equal; memory stays bounded."""

import pytest
import torch

from minibert import InputError, community_detection, cos_sim, dot_score, paraphrase_mining, semantic_search
from minibert.embedding import euclidean_sim, manhattan_sim, paraphrase_mining_embeddings

SCORES = {"cos_sim": cos_sim, "dot_score": dot_score, "euclidean_sim": euclidean_sim, "manhattan_sim": manhattan_sim}


@pytest.fixture(scope="module")
def util():
    pytest.importorskip("sentence_transformers", reason="compared with sentence-transformers, which is not installed")
    from sentence_transformers import util

    return util


def vectors(count: int, width: int = 8, seed: int = 0, ties: bool = False) -> torch.Tensor:
    """Random vectors; with ``ties`` of a few values, so that many similarities are equal to the last bit."""
    draw = torch.Generator().manual_seed(seed)
    if ties:
        return torch.randint(0, 2, (count, width), generator=draw).float() + torch.eye(width)[0]
    return torch.randn(count, width, generator=draw)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", SCORES)
@pytest.mark.parametrize("chunks", [(100, 500000), (7, 13)])
def test_search_is_the_librarys(util, name, ties, chunks) -> None:
    queries, corpus = vectors(20, ties=ties), vectors(90, seed=1, ties=ties)
    sizes = dict(zip(("query_chunk_size", "corpus_chunk_size"), chunks, strict=True))
    found = semantic_search(queries, corpus, **sizes, top_k=5, score_function=SCORES[name])
    assert found == util.semantic_search(queries, corpus, **sizes, top_k=5, score_function=getattr(util, name))
    assert all(len(hits) == 5 for hits in found)


def test_search_finds_the_nearest(util) -> None:
    corpus = torch.tensor([[1.0, 0.0], [0.0, 2.0], [-3.0, 0.1]])
    (hits,) = semantic_search(torch.tensor([0.1, 1.0]), corpus)
    assert [hit["corpus_id"] for hit in hits] == [1, 0, 2]
    assert hits[0]["score"] == pytest.approx(1 / 1.01**0.5, abs=1e-6)
    assert semantic_search(corpus.numpy(), corpus.tolist(), top_k=1) == util.semantic_search(corpus, corpus, top_k=1)
    assert semantic_search(corpus, torch.empty(0, 2)) == [[], [], []]
    assert semantic_search(corpus.half(), corpus) == util.semantic_search(corpus.half().float(), corpus)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"query_chunk_size": 7, "corpus_chunk_size": 11}, {"max_pairs": 30}])
@pytest.mark.parametrize("top_k", [1, 4, 100])
def test_pairs_are_the_librarys(util, ties, sizes, top_k) -> None:
    corpus = vectors(60, ties=ties)
    found = paraphrase_mining_embeddings(corpus, **sizes, top_k=top_k)
    assert found == util.paraphrase_mining_embeddings(corpus, **sizes, top_k=top_k)
    assert len({(i, j) for _, i, j in found}) == len(found)
    assert all(i < j for _, i, j in found)


def test_pairs_of_texts(util, minilm, minilm_embedder) -> None:
    texts = [
        "A cat sat there.",
        "The stock market fell.",
        "A cat was sitting there.",
        "Shares lost value.",
        "It rains.",
    ]
    found = paraphrase_mining(minilm_embedder, texts, top_k=2, max_pairs=3)
    from sentence_transformers import SentenceTransformer

    expected = util.paraphrase_mining(SentenceTransformer(str(minilm), device="cpu"), texts, top_k=2, max_pairs=3)
    assert [pair[1:] for pair in found] == [pair[1:] for pair in expected]
    assert [pair[0] for pair in found] == pytest.approx([pair[0] for pair in expected], abs=1e-5)
    assert found[0][1:] == [0, 2]


@pytest.mark.parametrize("kind", ["random", "ties", "groups"])
@pytest.mark.parametrize("arguments", [{}, {"threshold": 0.5, "min_community_size": 3}, {"batch_size": 9}])
def test_groups_are_the_librarys(util, kind, arguments) -> None:
    corpus = vectors(150, ties=kind == "ties")
    if kind == "groups":
        corpus = vectors(12, seed=5)[torch.arange(150) % 12] + 0.1 * corpus
    found = community_detection(corpus, **arguments)
    assert found == util.community_detection(corpus, **arguments)
    assert kind == "random" or found
    numbers = [number for group in found for number in group]
    assert len(set(numbers)) == len(numbers)


def test_few_vectors_are_no_group() -> None:
    assert community_detection(vectors(5)) == []
    assert community_detection([]) == []
    assert community_detection(torch.ones(3, 4), min_community_size=3) == [[0, 1, 2]]


@pytest.mark.parametrize("name", ["cosine", "dot", "euclidean", "manhattan"])
def test_similarities_two_by_two(minilm, minilm_embedder, name) -> None:
    library = pytest.importorskip("sentence_transformers")
    theirs = library.SentenceTransformer(str(minilm), device="cpu", similarity_fn_name=name)
    minilm_embedder.similarity_fn_name = name
    try:
        a, b = vectors(6, 384), vectors(6, 384, seed=1)
        for first, second in ((a, b), (a, b[0]), (a[0], b[0]), (a[:1], b)):
            found, expected = (model.similarity_pairwise(first, second) for model in (minilm_embedder, theirs))
            assert found.shape == expected.shape
            assert torch.equal(found, expected)
        assert torch.allclose(found, minilm_embedder.similarity(a[:1], b)[0], atol=1e-4)
        assert torch.equal(minilm_embedder.similarity(a, b), theirs.similarity(a, b))
    finally:
        minilm_embedder.similarity_fn_name = "cosine"


def test_memory_is_that_of_a_chunk() -> None:
    """No matrix of similarities is larger than the two chunks allow."""
    seen: list[int] = []

    def watched(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        seen.append(a.shape[0] * b.shape[0])
        return dot_score(a, b)

    corpus = vectors(1000)
    semantic_search(corpus, corpus, query_chunk_size=10, corpus_chunk_size=50, score_function=watched)
    paraphrase_mining_embeddings(corpus, query_chunk_size=10, corpus_chunk_size=50, score_function=watched)
    assert max(seen) == 500
    assert len(seen) == 2 * 100 * 20


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: semantic_search(v, v, top_k=0), "top_k is 0"),
        (lambda v: semantic_search(v, v, query_chunk_size=True), "query_chunk_size is True"),
        (lambda v: semantic_search(v, v, score_function="cosine"), "score_function is 'cosine'"),
        (lambda v: semantic_search(v, v[:, :3]), "Vectors of 8 and 3 numbers cannot be compared"),
        (lambda v: semantic_search("texts", v), "embeddings1 is a str, expected vectors"),
        (lambda v: semantic_search(v / 0, v), "NaN or infinity"),
        (lambda v: semantic_search(v.long(), v), "expected .n, W. floating point"),
        (lambda v: paraphrase_mining_embeddings(v, max_pairs=0), "max_pairs is 0"),
        (lambda v: paraphrase_mining(v, ["a"]), "expected an Embedder"),
        (lambda v: community_detection(v, threshold=75), "threshold is 75"),
        (lambda v: community_detection(v, min_community_size=0), "min_community_size is 0"),
        (lambda v: community_detection(5), "embeddings has shape .."),
    ],
)
def test_what_is_no_vector_is_refused(call, message) -> None:
    with pytest.raises(InputError, match=message):
        call(vectors(4))


def test_counts_must_agree(tiny) -> None:
    with pytest.raises(InputError, match="there are 4 and 3"):
        tiny.similarity_pairwise(vectors(4), vectors(3))
    with pytest.raises(InputError, match="sentences is one text"):
        paraphrase_mining(tiny, "one text")
