"""The picture of an evaluation: which cells, labels and colours it has."""

import warnings
from xml.etree import ElementTree

import pytest
import torch

from minibert import InputError
from minibert.finetuning import Evaluation, draw_evaluation
from minibert.finetuning.bootstrap import Interval
from minibert.finetuning.outcomes import (
    ClassOutcome,
    LabelledOutcome,
    LabelsOutcome,
    MeanOutcome,
    NumberOutcome,
    Outcome,
)

pytest.importorskip("matplotlib")
NAMES = ["정치", "经济", "a $b$ <c>"]


def evaluation(outcome: Outcome) -> Evaluation:
    confusion = outcome.confusion() if isinstance(outcome, LabelledOutcome) else None
    scores = {"accuracy": Interval(0.5, 0.25, 0.75)}
    return Evaluation("a/model", "b/test.tsv", "classify", len(outcome), outcome.units, scores, "accuracy",
                      confusion=confusion, digest="", outcome=outcome)  # fmt: skip


def texts_in(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_confusion_matrix(tmp_path) -> None:
    found = evaluation(ClassOutcome([0, 0, 0, 1, 2, 2], [0, 0, 1, 1, 2, 0], NAMES))
    figure = draw_evaluation(found, tmp_path / "confusion.svg")
    axes = figure.axes[0]
    assert texts_in(axes) == ["2", "1", "0", "0", "1", "0", "1", "0", "1"]
    assert [label.get_text() for label in axes.get_yticklabels()] == NAMES
    assert [label.get_text() for label in axes.get_xticklabels()] == NAMES
    (image,) = axes.images
    assert image.get_array().tolist() == [[2 / 3, 1 / 3, 0], [0, 1, 0], [0.5, 0, 0.5]]
    assert image.get_clim() == (0, 1)
    assert [text.get_color() for text in axes.texts[:2]] == ["white", "black"]  # readable on the colour of its cell
    assert figure.get_suptitle() == "model on test.tsv\naccuracy 0.5000 (0.2500 to 0.7500)"
    ElementTree.parse(tmp_path / "confusion.svg")
    draw_evaluation(found, tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_bytes() == (tmp_path / "confusion.svg").read_bytes()


def test_of_many_labels_the_matrix_stays_readable() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gold = list(range(30))
        axes = draw_evaluation(evaluation(ClassOutcome(gold, gold, ["x" * 40] * 30))).axes[0]
        assert texts_in(axes) == []
        assert axes.get_yticklabels()[0].get_text() == "x" * 29 + "…"
        gold = list(range(100))
        figure = draw_evaluation(evaluation(ClassOutcome(gold, gold, ["x"] * 100)))
        assert figure.axes[0].get_yticklabels()[99].get_text() == "99"
        assert max(figure.get_size_inches()) < 16


def test_several_labels_and_numbers() -> None:
    gold = torch.tensor([[1, 0], [1, 1], [0, 1]])
    axes = draw_evaluation(evaluation(LabelsOutcome(gold, torch.tensor([[1, 1], [0, 1], [0, 1]]), ["a", "b"]))).axes[0]
    assert texts_in(axes) == ["1", "1", "0", "2", "0", "1"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["found", "missed", "wrong"]
    axes = draw_evaluation(evaluation(NumberOutcome([1.0, 2.0], [1.5, 2.5]))).axes[0]
    (points,) = axes.collections
    assert points.get_offsets().tolist() == [[1.0, 1.5], [2.0, 2.5]]


def test_what_cannot_be_drawn(tmp_path) -> None:
    answers = evaluation(MeanOutcome({"f1": torch.ones(2)}, "questions"))
    with pytest.raises(InputError, match="There is no picture for questions of the task"):
        draw_evaluation(answers, tmp_path / "x.svg")
    with pytest.raises(InputError, match="ends in .gif"):
        draw_evaluation(answers, tmp_path / "x.gif")
    assert list(tmp_path.iterdir()) == []
