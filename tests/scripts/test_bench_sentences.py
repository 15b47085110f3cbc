"""The benchmark of embedding training compares like with like: one order, the same losses, the same weights."""

from pathlib import Path
from types import ModuleType

import pytest

from minibert.training.settings import Settings
from tests.support.toy_tasks import toy_checkpoint, write_toy

pytest.importorskip("accelerate")
pytest.importorskip("sentence_transformers")


@pytest.fixture
def bench(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "bench"))
    import bench_sentences

    monkeypatch.setattr(bench_sentences, "BELONG", 1.0)  # of the toy, whose scores are 0 and 1
    return bench_sentences


@pytest.mark.parametrize("task", ["scored", "pairs"])
def test_without_dropout_losses_and_scores_are_the_same(bench, tmp_path, task) -> None:
    train, dev = write_toy("embedding", tmp_path / "train", 40), write_toy("embedding", tmp_path / "dev", 30, seed=1)
    contest = bench.Contest(bench.LOSSES[task], toy_checkpoint(tmp_path / "start"), train, dev, 40, 8)
    assert (len(contest.examples) == 40) == (task == "scored")
    settings = Settings(learning_rate=1e-3, epochs=2, save_every=10**9, seed=3)
    cells, same = bench.compare_exactly(contest, settings, tmp_path)
    assert same
    assert float(cells[1]) < 1e-4  # rounding, after ten steps
    assert cells[2] == cells[3]
