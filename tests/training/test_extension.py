"""A finished run is made longer: it continues with the schedule of the longer run, and resumes like any other."""

import json
import logging

import pytest

from minibert import InputError
from minibert.training.metrics import read_metrics
from minibert.training.optimizer import scheduled_learning_rate
from minibert.training.settings import Settings
from minibert.training.snapshot import snapshots
from tests.support.toy_training import same, weights
from tests.training.test_loop import run

SHARED = {"dropout": 0.1, "keep_snapshots": 3}


def rates(folder) -> list[float]:
    return [entry["learning_rate"] for entry in read_metrics(folder) if "loss" in entry]


def test_an_extended_run_has_the_schedule_of_its_length(tmp_path, caplog):
    run(tmp_path, **SHARED, epochs=2)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with caplog.at_level(logging.WARNING):
        _, result = run(tmp_path, **SHARED, epochs=3)
    assert (result.steps, result.total) == (15, 15)
    assert (
        "This run ended after 10 steps and is extended to 15. Its learning rate was 1.1e-03 in the last" in caplog.text
    )
    assert "continues at 3.6e-03, on the linear schedule of 15 steps" in caplog.text
    assert (tmp_path / "metrics.jsonl").read_bytes().startswith(before)
    chosen = Settings(learning_rate=1e-2)
    expected = [scheduled_learning_rate(chosen, step, 10 if step < 10 else 15) for step in range(15)]
    assert rates(tmp_path) == expected
    assert [entry["epoch"] for entry in read_metrics(tmp_path)] == [0] * 5 + [1] * 5 + [2] * 5
    assert json.loads((tmp_path / "run.json").read_text())["extended"] == [{"epochs": 2, "steps": None}]


def test_an_interrupted_extension_resumes_bit_for_bit(tmp_path):
    for name in ("whole", "parts"):
        run(tmp_path / name, **SHARED, epochs=2)
    whole, _ = run(tmp_path / "whole", **SHARED, epochs=4)
    run(tmp_path / "parts", **SHARED, epochs=4, stop_after=13)
    for path in snapshots(tmp_path / "parts")[:2]:  # even from before the extension
        path.unlink()
    assert [path.name for path in snapshots(tmp_path / "parts")] == ["step-00000010.safetensors"]
    model, result = run(tmp_path / "parts", **SHARED, epochs=4)
    assert result.steps == 20
    assert same(weights(model), weights(whole))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_a_constant_rate_extends_to_the_run_from_the_start(tmp_path):
    shared = {**SHARED, "schedule": "constant", "warmup": 0.0}
    whole, _ = run(tmp_path / "whole", **shared, epochs=3)
    run(tmp_path / "parts", **shared, epochs=1)
    run(tmp_path / "parts", **shared, epochs=2)
    model, _ = run(tmp_path / "parts", **shared, epochs=3)  # twice
    assert same(weights(model), weights(whole))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_the_best_weights_of_before_stay_the_best(tmp_path):
    scores = iter([0.9, 0.2, 0.5])
    shared = {**SHARED, "evaluate": lambda model: {"accuracy": next(scores)}, "keep_best": "accuracy"}
    first, _ = run(tmp_path, **shared, epochs=1)
    model, result = run(tmp_path, **shared, epochs=3)
    assert (result.steps, result.kept_step, result.scores) == (15, 5, {"accuracy": 0.9})
    assert same(weights(model), weights(first))


def test_what_cannot_be_extended(tmp_path):
    run(tmp_path, epochs=2, stop_after=6)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(InputError, match=r"a run of 10 steps, of which 6 are done, and this one has 15\. End that run"):
        run(tmp_path, epochs=3)
    run(tmp_path, epochs=2)
    with pytest.raises(InputError, match=r"holds a run of 10 steps, and this one has 5\. A run can be made longer"):
        run(tmp_path, epochs=1)
    with pytest.raises(InputError, match=r"holds a run with settings.epochs 2, and this one has 3\."):
        run(tmp_path, epochs=3, seed=1)
    assert (tmp_path / "run.json").read_bytes() == before
    assert run(tmp_path, steps=12)[1].steps == 12
