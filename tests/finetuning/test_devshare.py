"""Dev rows drawn from the training data: how many, always the same, and never a part of what belongs together."""

import pytest

from minibert import InputError
from minibert.data.questions import Question
from minibert.data.sentences import Sentence
from minibert.finetuning import finetune
from minibert.finetuning.devshare import share_of, split_rows
from minibert.finetuning.texts import LabelledText
from minibert.training.metrics import read_metrics
from tests.support.toy_tasks import toy_checkpoint, write_toy


def test_rows_are_drawn_by_the_seed():
    rows = [LabelledText(f"text {number}", "a") for number in range(200)]
    train, dev = split_rows(rows, 0.1, 0)
    assert (len(train), len(dev)) == (180, 20)
    assert sorted([*train, *dev], key=rows.index) == rows
    assert train == [row for row in rows if row in set(train)]  # in their order
    assert split_rows(rows, 0.1, 0) == (train, dev) != split_rows(rows, 0.1, 1)


@pytest.mark.parametrize(
    "row",
    [
        lambda number: Question(f"question {number}?", f"context {number // 10}", ()),
        lambda number: LabelledText((f"premise {number // 10}", f"hypothesis {number}"), "a"),
        lambda number: LabelledText(f"copied{' ' * (number % 10)}{number // 10}", "a"),
        lambda number: Sentence(["the", f"same{number // 10}"], ["O", "O"], number),
    ],
)
def test_rows_that_belong_together_stay_together(row):
    rows = [row(number) for number in range(100)]
    train, dev = split_rows(rows, 0.2, 3)
    assert (len(train), len(dev)) == (80, 20)
    numbers = {rows.index(one) // 10 for one in dev}
    assert len(numbers) == 2 and not numbers & {rows.index(one) // 10 for one in train}


def test_shares_in_words(tmp_path, monkeypatch):
    assert [share_of(text) for text in ("10%", " 12.5 % ", "dev.tsv", None)] == [0.1, 0.125, None, None]
    for wrong in ("0%", "100%", "-5%", "many%", "%", "nan%"):
        with pytest.raises(InputError, match=r"The dev share is .*; expected a percentage above 0 and below 100"):
            share_of(wrong)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "10%").touch()
    assert share_of("10%") is None  # a file of that name
    rows = [LabelledText("one", "a")] * 5
    with pytest.raises(
        InputError, match=r"0\.1 of the training data's 5 rows \(1 texts or contexts, which stay whole\)"
    ):
        split_rows(rows, 0.1, 0)
    with pytest.raises(InputError, match=r"are 0 dev rows; expected at least one"):
        split_rows([LabelledText(str(number), "a") for number in range(4)], 0.1, 0)


@pytest.mark.parametrize("task", ["classify", "answers"])
def test_a_run_is_scored_on_its_share_and_belongs_to_it(tmp_path, task):
    model = toy_checkpoint(tmp_path / "start")
    path = write_toy(task, tmp_path / "x", count=60)
    shared = {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3}
    report = finetune(task, model, path, tmp_path / "out", "20%", **shared, patience=5)
    assert report.examples == 48 and report.scores
    assert sum("scores" in entry for entry in read_metrics(tmp_path / "out")) == 2
    assert finetune(task, model, path, tmp_path / "out", "20%", **shared) == report
    with pytest.raises(InputError, match="with dev share 0.2, and this one has 0.3"):
        finetune(task, model, path, tmp_path / "out", "30%", **shared)
    with pytest.raises(InputError, match=r"patience is 2, and there is no dev data to score: name it \(--dev FILE"):
        finetune(task, model, path, tmp_path / "none", **shared, patience=2)
    assert not (tmp_path / "none").exists()
