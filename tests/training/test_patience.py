"""Early stopping: a run ends when its score has not risen for some evaluations; more patience continues it."""

import pytest

from minibert import InputError
from minibert.training.metrics import read_metrics
from minibert.training.settings import Settings
from tests.support.toy_training import same, weights
from tests.training.test_loop import run

SCORES = {5: 0.2, 10: 0.9, 15: 0.5, 20: 0.9, 25: 0.95, 30: 0.1}  # after each of six epochs


def scored(folder):
    """An evaluation that reads the score of the step from a table."""
    return lambda model: {"accuracy": SCORES[len([e for e in read_metrics(folder) if "loss" in e])]}


def test_a_run_stops_and_keeps_the_best(tmp_path):
    model, result = run(tmp_path, evaluate=scored(tmp_path), keep_best="accuracy", epochs=6, patience=2)
    assert (result.steps, result.total, result.kept_step, result.scores) == (20, 30, 10, {"accuracy": 0.9})
    assert result.stopped and not result.interrupted
    again, result = run(tmp_path, evaluate=scored(tmp_path), keep_best="accuracy", epochs=6, patience=2)
    assert (result.steps, result.stopped, result.kept_step) == (20, True, 10)
    assert same(weights(model), weights(again))


def test_more_patience_continues_as_if_it_had_been_there(tmp_path):
    whole, _ = run(tmp_path / "a", evaluate=scored(tmp_path / "a"), keep_best="accuracy", epochs=6, dropout=0.1)
    shared = {"evaluate": scored(tmp_path / "b"), "keep_best": "accuracy", "epochs": 6, "dropout": 0.1}
    assert run(tmp_path / "b", **shared, patience=1)[1].steps == 15
    model, result = run(tmp_path / "b", **shared, patience=3)
    assert (result.steps, result.kept_step, result.stopped) == (30, 25, False)
    assert same(weights(model), weights(whole))
    assert (tmp_path / "a/metrics.jsonl").read_bytes() == (tmp_path / "b/metrics.jsonl").read_bytes()


def test_patience_without_a_score_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"patience is 2, but no score says which weights are best.*--dev"):
        run(tmp_path, patience=2)
    with pytest.raises(InputError, match="patience is 2, but no score"):
        run(tmp_path, patience=2, evaluate=lambda model: {"accuracy": 1.0})
    with pytest.raises(InputError, match=r"patience is 0; it must lie between 1"):
        Settings(patience=0)
