"""Search in vectors, pairs that say the same, groups of similar texts: what one does with an Embedder's vectors.

Names, arguments and results are those of sentence-transformers (``util.semantic_search``, ``util.paraphrase_mining``,
``util.community_detection``), also where several vectors are equally similar.  Each compares one chunk of vectors with
another at a time, so that memory stays bounded however many there are: a chunk of similarities, not all of them.  For
files that do not fit in memory there are ``embed_corpus`` and ``nearest``.  Start with :func:`semantic_search`.
"""

from collections.abc import Iterator, Sequence
from heapq import heappush, heappushpop
from operator import itemgetter
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from minibert.embedding.arguments import check_flag, check_whole, described
from minibert.embedding.embedder import Embedder
from minibert.embedding.similarity_functions import Score, as_matrices, as_matrix, cos_sim
from minibert.errors import InputError

SMALLEST_SORTED = 50  # of community_detection: so many neighbours are sorted at least


def semantic_search(
    query_embeddings: Any,
    corpus_embeddings: Any,
    query_chunk_size: int = 100,
    corpus_chunk_size: int = 500000,
    top_k: int = 10,
    score_function: Score = cos_sim,
) -> list[list[dict[str, int | float]]]:
    """The ``top_k`` vectors of a corpus that are most similar to each query.

    Args:
        query_embeddings: (queries, W) or (W,), floating point.
        corpus_embeddings: (texts, W), floating point.
        query_chunk_size: queries that are compared at once.
        corpus_chunk_size: vectors of the corpus that they are compared with at once.
        top_k: the most results per query.
        score_function: (n, W) and (m, W) to (n, m): ``cos_sim``, ``dot_score``, or another of
            :mod:`minibert.embedding.similarity_functions`.

    Returns for each query a list of ``{"corpus_id": 5, "score": 0.81}``, the most similar first.  Raises InputError for
    arguments of another type or shape.
    """
    queries, corpus = as_matrices(query_embeddings, corpus_embeddings)
    query_chunk_size = check_whole("query_chunk_size", query_chunk_size, 1)
    corpus_chunk_size = check_whole("corpus_chunk_size", corpus_chunk_size, 1)
    top_k = check_whole("top_k", top_k, 1)
    score, is_cosine = check_function(score_function), score_function is cos_sim
    heaps: list[list[tuple[float, int]]] = [[] for _ in queries]  # of each query the best (score, number)
    for corpus_start, corpus_chunk in chunks(corpus, corpus_chunk_size):
        # Cosines: each chunk of the corpus is normalized once, not for each chunk of queries.
        texts = F.normalize(corpus_chunk, dim=-1) if is_cosine else corpus_chunk
        for query_start, query_chunk in chunks(queries, query_chunk_size):
            scores = F.normalize(query_chunk, dim=-1) @ texts.T if is_cosine else score(query_chunk, texts)
            best = torch.topk(scores, min(top_k, len(texts)), dim=1, sorted=False)
            values, numbers = best.values.tolist(), (best.indices + corpus_start).tolist()
            for heap, row, ids in zip(heaps[query_start:], values, numbers, strict=False):
                for candidate in zip(row, ids, strict=True):
                    if len(heap) < top_k:
                        heappush(heap, candidate)
                    else:
                        heappushpop(heap, candidate)
    return [
        [{"corpus_id": number, "score": value} for value, number in sorted(heap, key=itemgetter(0), reverse=True)]
        for heap in heaps
    ]


def paraphrase_mining(
    model: Embedder,
    sentences: Sequence[str],
    show_progress_bar: bool = False,
    batch_size: int | None = None,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: Score = cos_sim,
    truncate_dim: int | None = None,
    prompt_name: str | None = None,
    prompt: str | None = None,
) -> list[list[float | int]]:
    """The pairs of texts that are most similar: embeds the texts and calls :func:`paraphrase_mining_embeddings`.

    Args:
        model: embeds the texts, with ``show_progress_bar``, ``batch_size`` (default: by tokens), ``truncate_dim``,
            ``prompt_name`` and ``prompt`` of :meth:`Embedder.encode`.
        sentences: the texts.
        show_progress_bar, batch_size, truncate_dim, prompt_name, prompt: see above.
        query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function: as below.

    Returns ``[[score, number, number], …]``, the most similar first.  Raises InputError for arguments of another type.
    """
    if not isinstance(model, Embedder):
        raise InputError(f"model is {described(model)}; expected an Embedder.")
    if isinstance(sentences, str):
        raise InputError("sentences is one text; expected a list of texts to compare with each other.")
    embeddings = model.encode(
        sentences,
        show_progress_bar=show_progress_bar,
        batch_size=batch_size,
        truncate_dim=truncate_dim,
        prompt_name=prompt_name,
        prompt=prompt,
    )
    return paraphrase_mining_embeddings(
        embeddings, query_chunk_size, corpus_chunk_size, max_pairs, top_k, score_function
    )


def paraphrase_mining_embeddings(
    embeddings: Any,
    query_chunk_size: int = 5000,
    corpus_chunk_size: int = 100000,
    max_pairs: int = 500000,
    top_k: int = 100,
    score_function: Score = cos_sim,
) -> list[list[float | int]]:
    """The pairs of vectors that are most similar, each pair once.

    Args:
        embeddings: (texts, W), floating point.
        query_chunk_size: vectors that are compared at once.
        corpus_chunk_size: vectors that they are compared with at once.
        max_pairs: the most pairs that are returned.
        top_k: how many of its most similar vectors are looked at for each vector.
        score_function: as in :func:`semantic_search`; symmetric.

    Returns ``[[score, number, number], …]``, the most similar first, the smaller number first.  Raises InputError for
    arguments of another type or shape.
    """
    vectors = as_matrix("embeddings", embeddings)
    query_chunk_size = check_whole("query_chunk_size", query_chunk_size, 1)
    corpus_chunk_size = check_whole("corpus_chunk_size", corpus_chunk_size, 1)
    max_pairs, top_k = check_whole("max_pairs", max_pairs, 1), check_whole("top_k", top_k, 1)
    score = check_function(score_function)
    heap: list[tuple[float, int, int]] = []  # the least similar pair first
    queued: set[tuple[int, int]] = set()
    least = float("-inf")
    for start, chunk in chunks(vectors, query_chunk_size):
        values, numbers = nearest_of_all(chunk, vectors, top_k + 1, corpus_chunk_size, score)
        for i, (row, ids) in enumerate(zip(values.tolist(), numbers.tolist(), strict=True), start=start):
            others = [(value, j) for value, j in zip(row, ids, strict=True) if i != j][:top_k]
            for value, j in others:
                pair = (i, j) if i < j else (j, i)
                if value <= least or pair in queued:
                    continue
                queued.add(pair)
                if len(heap) < max_pairs:
                    heappush(heap, (value, *pair))
                else:
                    least, *dropped = heappushpop(heap, (value, *pair))
                    queued.discard((dropped[0], dropped[1]))
    return sorted(([value, i, j] for value, i, j in heap), key=itemgetter(0), reverse=True)


def nearest_of_all(queries: Tensor, corpus: Tensor, k: int, chunk_size: int, score: Score) -> tuple[Tensor, Tensor]:
    """The scores and the numbers of the ``k`` vectors of ``corpus`` that are most similar: both (queries, ≤ k)."""
    values, numbers = queries.new_empty(len(queries), 0), torch.empty(len(queries), 0, dtype=torch.long)
    numbers = numbers.to(queries.device)
    for start, chunk in chunks(corpus, chunk_size):
        best = torch.topk(score(queries, chunk).detach(), min(k, len(chunk)), dim=1)
        if not start:
            values, numbers = best.values, best.indices
            continue
        values = torch.cat([values, best.values], dim=1)
        numbers = torch.cat([numbers, best.indices + start], dim=1)
        values, places = torch.topk(values, min(k, values.shape[1]), dim=1)
        numbers = numbers.gather(1, places)
    return values, numbers


def community_detection(
    embeddings: Any,
    threshold: float = 0.75,
    min_community_size: int = 10,
    batch_size: int = 1024,
    show_progress_bar: bool = False,
) -> list[list[int]]:
    """Groups of vectors whose cosine with the group's central vector is at least ``threshold``.

    Args:
        embeddings: (texts, W), floating point.
        threshold: the least cosine.
        min_community_size: smaller groups are left out.
        batch_size: vectors that are compared with all others at once.
        show_progress_bar: on stderr.

    Returns the numbers of each group, the largest group first, its central vector first; no number is in two groups.
    Raises InputError for arguments of another type or shape.
    """
    smallest, batch_size = (
        check_whole("min_community_size", min_community_size, 1),
        check_whole("batch_size", batch_size, 1),
    )
    if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not -1 <= threshold <= 1:
        raise InputError(f"threshold is {described(threshold)}; expected a cosine, a number between -1 and 1.")
    check_flag("show_progress_bar", show_progress_bar)
    if isinstance(embeddings, list) and not embeddings:
        return []
    vectors = F.normalize(as_matrix("embeddings", embeddings), dim=-1)
    count = len(vectors)
    if count < smallest:
        return []
    least = torch.tensor(threshold, device=vectors.device)  # float32, as the cosines
    found: list[tuple[int, Tensor]] = []  # the central vector and its group, itself included; int32 on the CPU
    size = min(max(2 * smallest, SMALLEST_SORTED), count)
    bar = tqdm(total=count, desc="finding groups", disable=not show_progress_bar)
    with bar:
        for start, chunk in chunks(vectors, batch_size):
            cosines = chunk @ vectors.T  # (batch, n)
            is_center = torch.topk(cosines, smallest, dim=1).values[:, -1] >= least
            for row in is_center.nonzero()[:, 0].tolist():
                values, numbers = torch.topk(cosines[row], size)
                while values[-1] >= least and size < count:
                    size = min(2 * size, count)
                    values, numbers = torch.topk(cosines[row], size)
                found.append((start + row, numbers[values >= least].int().cpu()))
            bar.update(len(chunk))
    return without_overlap(found, count, smallest)


def without_overlap(groups: list[tuple[int, Tensor]], count: int, smallest: int) -> list[list[int]]:
    """The groups of ``count`` numbers, each with its central one first, without the numbers of larger groups."""
    is_taken = torch.zeros(count, dtype=torch.bool)
    kept = []
    for center, group in sorted(groups, key=lambda one: len(one[1]), reverse=True):
        if is_taken[center]:
            continue
        free = group[~is_taken[group]]
        if len(free) >= smallest:
            kept.append([center, *free[free != center].tolist()])
            is_taken[kept[-1]] = True
    return sorted(kept, key=len, reverse=True)


def chunks(matrix: Tensor, size: int) -> Iterator[tuple[int, Tensor]]:
    """The rows in chunks, each with the number of its first row."""
    return ((start, matrix[start : start + size]) for start in range(0, len(matrix), size))


def check_function(score_function: Any) -> Score:
    """``score_function``; InputError for what cannot be called."""
    if not callable(score_function):
        raise InputError(
            f"score_function is {described(score_function)}; expected a function of two matrices of vectors, such as "
            "minibert.embedding.dot_score."
        )
    return score_function  # type: ignore[no-any-return]
