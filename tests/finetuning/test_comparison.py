"""Two checkpoints on one file: the difference of each score, and its paired interval."""

import json

import pytest
import torch

from minibert import InputError
from minibert.finetuning import Evaluation, Predictor, compare, evaluate
from minibert.finetuning.bootstrap import Interval, draws
from minibert.finetuning.outcomes import ClassOutcome, MeanOutcome, Outcome
from tests.support.toy_tasks import class_rows, write_jsonl

pytest.importorskip("sklearn")
NAMES = ["a", "b"]


def evaluation(outcome: Outcome, name: str = "mine", **fields) -> Evaluation:
    scores = {key: Interval(value, value, value) for key, value in outcome.scores().items()}
    usual = {
        "checkpoint": name, "file": "x", "digest": "1", "task": "classify", "examples": len(outcome),
        "units": outcome.units, "scores": scores, "metric": "accuracy", "resamples": 500, "confidence": 0.9,
        "outcome": outcome,
    }  # fmt: skip
    return Evaluation(**{**usual, **fields})


def test_the_difference_has_the_interval_of_the_paired_resamples() -> None:
    draw = torch.Generator().manual_seed(0)
    gold = torch.randint(2, (200,), generator=draw)
    noisy = torch.where(torch.rand(200, generator=draw) < 0.3, 1 - gold, gold)
    noisier = torch.where(torch.rand(200, generator=draw) < 0.1, 1 - noisy, noisy)  # mostly the same mistakes
    outcomes = [ClassOutcome(gold.tolist(), one.tolist(), NAMES) for one in (noisy, noisier)]
    found = compare(evaluation(outcomes[0]), evaluation(outcomes[1], "theirs"))
    difference = (noisy == gold).double() - (noisier == gold).double()
    resampled = torch.cat([difference[block].mean(dim=1) for block in draws(200, 500, seed=0)])
    one = found.differences["accuracy"]
    assert one.value == pytest.approx(float(difference.mean()))
    assert (one.low, one.high) == pytest.approx(torch.quantile(resampled, torch.tensor([0.05, 0.95]).double()).tolist())
    apart = 2 * 1.645 * (2 * 0.7 * 0.3 / 200) ** 0.5  # the width if the two were scored on different texts
    assert one.high - one.low < 0.8 * apart
    assert list(found.differences) == ["accuracy", "macro_f1"]
    lines = str(found).splitlines()
    assert lines[0] == "mine (first) against theirs (second) on x"
    assert lines[2].split() == ["score", "first", "second", "difference", "90%", "from", "to"]
    assert lines[4].split()[3] == f"{one.value:+.4f}"
    content = json.loads(json.dumps(found.to_dict()))
    assert (content["first"], content["differences"]["accuracy"]["low"]) == ("mine", pytest.approx(one.low))


def test_of_two_trained_toys(trained, tmp_path) -> None:
    predictor = Predictor.from_pretrained(trained["classify"][0])
    file = write_jsonl(tmp_path / "x.jsonl", class_rows(60, seed=4))
    good = evaluate(predictor, file, resamples=100)
    with torch.no_grad():
        predictor.model.classifier.bias[0] += 5
    bad = evaluate(predictor, file, resamples=100)
    found = compare(good, bad).differences["accuracy"]
    one, other = (evaluate(predictor, class_rows(60, seed=seed), resamples=100) for seed in (4, 5))
    with pytest.raises(InputError, match=r"on the list of dicts \(test data\), which holds other data"):
        compare(one, other)  # equally many rows, and the same name
    assert found.value == good.scores["accuracy"].value - bad.scores["accuracy"].value
    assert 0 < found.low <= found.value <= found.high
    assert compare(bad, good).differences["accuracy"].value == -found.value


def test_what_cannot_be_compared() -> None:
    classes = evaluation(ClassOutcome([0, 1], [0, 1], NAMES))
    means = evaluation(MeanOutcome({"f1": torch.ones(2, dtype=torch.float64)}, "texts"))
    for first, second, sentence in (
        (classes, evaluation(ClassOutcome([0], [0], NAMES), "b"), "mine was evaluated with examples 2, b with 1"),
        (
            classes,
            evaluation(ClassOutcome([0, 1], [0, 1], NAMES), "b", file="y", digest="2"),
            "mine was evaluated on x, and b on y, which holds other data",
        ),
        (classes, means, "mine has the scores accuracy, macro_f1; the other, f1"),
    ):
        with pytest.raises(InputError, match=sentence):
            compare(first, second)
