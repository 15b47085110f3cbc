"""The first look in float32 changes no answer: against a full sort of float64 scores."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from minibert.corpus import exact
from minibert.corpus.exact import NearestRows, error_bound, exact_scores
from minibert.corpus.opened import measured
from minibert.corpus.vector_format import VectorFormat
from minibert.embedding.precision import ranges_of


def full_sort(stored: Tensor, queries: Tensor, count: int, stored_as: VectorFormat) -> list[list[tuple[float, int]]]:
    """Every score in float64, rounded to float32; the best, equal ones in order."""
    wide = stored_as.dequantize(stored)
    found = []
    for query in queries:
        scores = ((wide * query).sum(dim=1) / wide.norm(dim=1).clamp(min=1e-12)).float()
        product = wide @ query / wide.norm(dim=1).clamp(min=1e-12)  # sums in another order
        assert torch.allclose(scores.double(), product, rtol=2e-7, atol=1e-14)
        values, rows = scores.sort(descending=True, stable=True)
        found.append(list(zip(values[:count].tolist(), rows[:count].tolist(), strict=True)))
    return found


def search(stored: Tensor, queries: Tensor, count: int, stored_as: VectorFormat, block: int) -> list:
    """The same by blocks."""
    nearest = NearestRows(queries, count, stored_as)
    for start in range(0, len(stored), block):
        nearest.look_at(measured(start, stored[start : start + block], stored_as))
    return nearest.found()


def make(generator: random.Random, rows: int, width: int, kind: str) -> Tensor:
    """Vectors with what is hard: copies, near copies, zeros, tiny and huge ones."""
    draw = torch.Generator().manual_seed(generator.getrandbits(32))
    vectors = torch.randn(rows, width, generator=draw)
    if kind == "whole":  # scores with many ties
        return vectors.mul_(2).round_()
    if kind == "copies":
        return vectors[: max(1, rows // 10)][torch.randint(0, max(1, rows // 10), (rows,), generator=draw)]
    if kind == "near":
        vectors = vectors[:1] + 1e-6 * vectors
    if kind == "unit":
        return torch.nn.functional.normalize(vectors, dim=1)
    if kind == "mixed":
        powers = torch.randint(-44, 38, (rows, 1), generator=draw).double()
        vectors = (vectors.double() * 10**powers).clamp(-3e38, 3e38).float()
        vectors[torch.rand(rows, generator=draw) < 0.2] = 0
    if kind == "rising":  # the nearest come last
        target = torch.randn(1, width, generator=draw)
        vectors += target * torch.linspace(0, 5, rows)[:, None]
    return vectors


KINDS = ("whole", "copies", "near", "unit", "mixed", "rising")


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(KINDS), st.sampled_from(("float32", "float16", "int8", "uint8")))
def test_equals_a_full_sort(seed: int, kind: str, precision: str) -> None:
    generator = random.Random(seed)
    rows, width = generator.choice((1, 7, 200, 900)), generator.choice((1, 3, 16, 65))
    vectors = make(generator, rows, width, kind)
    if precision == "float16":
        vectors = vectors.clamp(-60000, 60000)
    stored_as = VectorFormat(precision, width, ranges_of(vectors) if precision in ("int8", "uint8") else None)
    stored = stored_as.quantize(vectors)
    queries = torch.nn.functional.normalize(
        make(generator, generator.choice((1, 2, 20)), width, "near").double(), dim=1
    )
    queries[0] = torch.nn.functional.normalize(stored_as.dequantize(stored[-1:]), dim=1)[0]  # one of the rows
    count, block = generator.choice((1, 3, 10, 300)), generator.choice((1, 50, 128, 1000))
    assert search(stored, queries, count, stored_as, block) == full_sort(stored, queries, count, stored_as)


@pytest.mark.parametrize(
    ("kind", "precision"), [*((kind, "float32") for kind in KINDS), ("whole", "int8"), ("unit", "int8")]
)
def test_rough_scores_are_within_the_bound(kind: str, precision: str) -> None:
    vectors = make(random.Random(3), 3000, 384, kind)
    stored_as = VectorFormat(precision, 384, ranges_of(vectors) if precision == "int8" else None)
    block = measured(0, stored_as.quantize(vectors), stored_as)
    queries = torch.nn.functional.normalize(torch.randn(9, 384, generator=torch.Generator().manual_seed(1)), dim=1)
    queries = torch.nn.functional.normalize(queries.double(), dim=1)
    rough = (queries.float() @ stored_as.roughly(block.stored).T) * block.inverses
    score = torch.stack([exact_scores(stored_as.dequantize(block.stored), q.expand(3000, -1)) for q in queries])
    off = (rough - score).abs()
    off[:, block.special] = 0
    assert 0 < off.max() < error_bound(stored_as) / 2  # far within: roundings rarely add up
    assert len(block.special) < 2000 if kind == "mixed" else not len(block.special)


def test_few_rows_are_scored_in_float64(monkeypatch) -> None:
    scored = []
    monkeypatch.setattr(
        exact, "exact_scores", lambda rows, queries: scored.append(len(rows)) or exact_scores(rows, queries)
    )
    vectors = make(random.Random(5), 20000, 64, "unit")
    stored_as = VectorFormat("float32", 64)
    queries = torch.nn.functional.normalize(torch.randn(4, 64, dtype=torch.float64), dim=1)
    assert search(vectors, queries, 10, stored_as, 1000) == full_sort(vectors, queries, 10, stored_as)
    assert sum(scored) < 4 * 300  # of 80,000


def test_a_setting_of_torch_that_drops_digits_changes_nothing() -> None:
    vectors = make(random.Random(6), 500, 48, "near")
    stored_as, queries = VectorFormat("float32", 48), vectors[:3].double()
    queries = torch.nn.functional.normalize(queries, dim=1)
    torch.set_float32_matmul_precision("medium")
    try:
        assert search(vectors, queries, 10, stored_as, 100) == full_sort(vectors, queries, 10, stored_as)
    finally:
        torch.set_float32_matmul_precision("highest")
