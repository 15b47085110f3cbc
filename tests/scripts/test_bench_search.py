"""The benchmarks of search make corpora that search reads, vectors as they say, and compare the same answers."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from minibert import index_corpus, nearest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "bench"


@pytest.fixture
def vectors(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import vectors

    return vectors


def test_noise_is_as_long_as_the_distance_to_the_nearest_other(vectors, tmp_path) -> None:
    real = F.normalize(torch.randn(200, 384, generator=torch.Generator().manual_seed(0)), dim=1)
    distances = vectors.distances_to_nearest(real)
    expected = torch.cdist(real, real).fill_diagonal_(9).amin(dim=1)
    assert torch.allclose(distances, expected, atol=1e-3)
    blocks = list(vectors.noisy_blocks(real, distances, 5000))
    found = torch.cat(blocks)
    assert found.shape == (5000, 384) and torch.allclose(found.norm(dim=1), torch.ones(5000), atol=1e-6)
    # In so many dimensions the noise is at nearly a right angle, so the tangent of the angle to the sum is its length.
    cosines = (found * real.repeat(25, 1)).sum(dim=1)
    tangents = (1 / cosines.square() - 1).clamp(min=0).sqrt()
    assert (tangents / distances.repeat(25)).median().item() == pytest.approx(1, abs=0.1)
    assert vectors.write_corpus(tmp_path / "corpus", blocks) == 5000
    assert vectors.is_corpus(tmp_path / "corpus", 5000) and not vectors.is_corpus(tmp_path / "corpus", 4000)
    (hits,) = nearest(tmp_path / "corpus", found[4500:4501], 3)
    assert hits[0].row == 4501 and hits[0].score == pytest.approx(1, abs=1e-6)


def test_the_curve_in_small(vectors, tmp_path) -> None:
    """Recall and shares of the lists as the large run has them; its figures are in the documentation."""
    pytest.importorskip("faiss")
    real = F.normalize(torch.randn(100, 48, generator=torch.Generator().manual_seed(0)), dim=1)
    blocks = list(vectors.noisy_blocks(real, vectors.distances_to_nearest(real) / 2, 6000))
    vectors.write_corpus(tmp_path / "corpus", blocks)
    report = index_corpus(tmp_path / "corpus")
    assert report.recall >= 0.98 and report.probes < report.lists / 3


def test_the_exact_search_against_the_others(tmp_path) -> None:
    pytest.importorskip("faiss")
    arguments = ["--quick", "--vectors", "3000", "--width", "32", "--queries", "1", "5", "--threads", "1"]
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / "bench_search.py"), *arguments], capture_output=True, text=True, check=True
    )
    assert done.stdout.count("1 of 1") == 3 and done.stdout.count("5 of 5") == 3
    assert "3,000 vectors of 32 numbers" in done.stdout and "theirs / ours" in done.stdout
