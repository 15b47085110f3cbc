"""The benchmark of training compares like with like: one order, one collation, one result; and counts errors right."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

from minibert.finetuning import TASKS
from minibert.training.settings import Settings
from tests.support.toy_tasks import toy_checkpoint, write_toy

SETTINGS = Settings(learning_rate=3e-3, epochs=3, save_every=10**9, seed=2)
pytest.importorskip("accelerate")


@pytest.fixture(autouse=True)
def beside_each_other(monkeypatch) -> None:
    """Scripts import each other as files of one folder."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "bench"))


@pytest.fixture
def bench() -> ModuleType:
    import bench_training

    return bench_training


@pytest.fixture
def contest(tmp_path):
    """A contest of a toy, 20 rows in steps of 8, so that the last step of an epoch is smaller."""
    from trainer import Contest

    checkpoint = toy_checkpoint(tmp_path / "start")

    def make(task: str) -> Contest:
        train, dev = write_toy(task, tmp_path / "train", 40), write_toy(task, tmp_path / "dev", 30, seed=1)
        return Contest(TASKS[task](), checkpoint, train, dev, 20, 8)

    return make


@pytest.mark.parametrize("task", ["classify", "entities"])
def test_without_dropout_trainer_ends_with_our_weights(bench, contest, tmp_path, task) -> None:
    here = contest(task)
    cells, same = bench.compare_exactly(here, SETTINGS, tmp_path)
    assert same
    assert cells[1] == cells[2] and cells[4] == "0.0e+00"
    assert 0 < float(cells[3]) < 1e-4  # packed: rounding


@pytest.mark.parametrize("task", ["classify", "entities"])
def test_trainer_has_our_batches(contest, task) -> None:
    """Put together by transformers, and padded to the longest: the same tensors."""
    from trainer import Order, collator

    here = contest(task)
    examples, collate = here.in_order(5), collator(here)
    order = Order(examples)
    for epoch in range(2):
        order.set_epoch(epoch)
        steps = examples.steps(epoch)
        assert list(order) == [number for step in steps for number in step]
        for numbers in steps:
            ours, theirs = examples.collate(numbers), collate([here.features[number] for number in numbers])
            assert ours.keys() == set(theirs)
            assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert here.in_order(6).steps(0) != examples.steps(0)


def test_both_begin_alike_and_differ_by_their_draws_alone(contest, tmp_path) -> None:
    from trainer import OURS, THEIRS, largest_difference

    here = contest("classify")
    assert largest_difference(here.model(1, 0.1), here.model(1, 0.1)) == 0.0
    assert largest_difference(here.model(1, 0.1), here.model(2, 0.1)) > 0.0  # the head
    ended = [here.run(side, SETTINGS, tmp_path / side, 0.1) for side in (OURS, THEIRS)]
    assert [len(one.clock) for one in ended] == [9, 9]  # 3 epochs of 3 steps
    assert largest_difference(ended[0].model, ended[1].model) > 0.0


def test_first_steps_are_not_counted() -> None:
    from trainer import Ended

    assert Ended(None, [9.0, 10.0, 11.0, 13.0]).seconds_per_step(2) == 1.5


def test_two_standard_errors(bench) -> None:
    cells, within = bench.verdict([0.80, 0.82, 0.84], [0.81, 0.85, 0.89])
    assert within
    assert cells == ["0.8200 ± 0.0115", "0.8500 ± 0.0231", "-0.0300", "0.0516", "yes"]
    assert bench.verdict([0.80, 0.80], [0.81, 0.81])[1] is False
    assert bench.verdict([0.80, 0.80], [0.80, 0.80])[1] is True


@pytest.mark.parametrize("tables", [["scores", "time"], pytest.param(["memory"], marks=pytest.mark.slow)])
def test_it_runs_and_prints_four_tables(bench, tmp_path, capsys, tables) -> None:
    checkpoint = toy_checkpoint(tmp_path / "start")
    train, dev = write_toy("classify", tmp_path / "train", 70), write_toy("classify", tmp_path / "dev", 30, seed=1)
    options = ["--tasks", "nsmc", "--model", str(checkpoint), "--train", str(train), "--dev", str(dev)]
    code = bench.main([*options, "--quick", "--tables", *tables])
    printed = capsys.readouterr().out
    assert "nsmc, from start; 64 rows, 2 steps of 32, rate 0.0001; 30 rows of dev data; " in printed
    shown = {"scores": ("0.0e+00", "accuracy, Trainer"), "time": ("a step, cpu time",), "memory": ("memory of a run",)}
    for table, texts in shown.items():
        assert all((text in printed) == (table in tables) for text in texts)
    assert "Trainer, by length" in printed
    assert code == (1 if " NO" in printed else 0)


def test_what_cannot_be_measured_is_said(bench, tmp_path, capsys) -> None:
    for options, sentence in (
        (["--seeds", "1"], "at least 2 are needed"),
        (["--train", "x.tsv", "--tasks", "nsmc"], "belong together"),
        (["--train", "x.tsv", "--dev", "y.tsv"], "to one task"),
    ):
        with pytest.raises(SystemExit):
            bench.main(options)
        assert sentence in capsys.readouterr().err
    absent = str(tmp_path / "absent.tsv")
    with pytest.raises(SystemExit, match="is not there; name your own data"):
        bench.main(["--tasks", "nsmc", "--train", absent, "--dev", absent])
