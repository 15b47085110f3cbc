"""``evaluate``: the scores of predictions for a file, intervals, labels, and what is refused."""

import json
from dataclasses import replace

import pytest

from minibert import InputError
from minibert.finetuning import Predictor, evaluate
from tests.support.toy_tasks import (
    HEADED,
    TINY,
    class_rows,
    embedding_rows,
    score_rows,
    train_toy,
    write_jsonl,
    write_toy,
)

metrics = pytest.importorskip("sklearn.metrics")
stats = pytest.importorskip("scipy.stats")


@pytest.fixture(scope="module")
def predictors(trained) -> dict[str, Predictor]:
    return {task: Predictor.from_pretrained(folder) for task, (folder, _) in trained.items()}


def flipped(rows: list[dict], every: int) -> list[dict]:
    """Some of the labels are wrong, so that a perfect model is not."""
    other = {"about pear": "about river", "about river": "about pear"}
    return [{**row, "label": other[row["label"]]} if n % every == 0 else row for n, row in enumerate(rows)]


@pytest.mark.parametrize("task", HEADED)
def test_dev_data_have_the_scores_that_training_gave_them(task: str, trained, tmp_path) -> None:
    folder, report = trained[task]
    found = evaluate(folder, write_toy(task, tmp_path / "dev", seed=1), resamples=50)
    assert {name: score.value for name, score in found.scores.items()} == pytest.approx(report.scores)
    assert list(found.scores) == list(report.scores)
    assert (found.task, found.metric, found.examples) == (task, report.metric, 128)
    assert all(score.low <= score.value <= score.high for score in found.scores.values())


def test_classes_against_the_written_predictions(predictors, tmp_path) -> None:
    """The scores are those of scikit-learn on what ``predict`` writes for the same file."""
    file = write_jsonl(tmp_path / "test.jsonl", flipped(class_rows(200, seed=5), every=6))
    predictors["classify"].predict_file(file, tmp_path / "y.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "y.jsonl").read_text().splitlines()]
    gold, predicted = [line["input_label"] for line in lines], [line["label"] for line in lines]
    found = evaluate(predictors["classify"], file)
    assert 0.8 < found.scores["accuracy"].value == metrics.accuracy_score(gold, predicted) < 0.9
    names = ["about pear", "about river"]
    assert [list(row) for row in found.confusion.counts] == metrics.confusion_matrix(gold, predicted).tolist()
    table = metrics.classification_report(gold, predicted, output_dict=True)
    assert list(found.labels) == names
    for name, one in found.labels.items():
        expected = [table[name][score] for score in ("precision", "recall", "f1-score", "support")]
        assert [one.precision, one.recall, one.f1.value, one.support] == pytest.approx(expected)
        assert one.f1.low < one.f1.value < one.f1.high
    accuracy = found.scores["accuracy"]
    width = 2 * 1.96 * (accuracy.value * (1 - accuracy.value) / 200) ** 0.5
    assert accuracy.high - accuracy.low == pytest.approx(width, rel=0.12)
    wider = evaluate(predictors["classify"], file, confidence=0.99).scores["accuracy"]
    assert wider.low < accuracy.low < accuracy.high < wider.high
    assert evaluate(predictors["classify"], file) == found  # the same seed
    assert evaluate(predictors["classify"], file, seed=1).scores["accuracy"] != accuracy


def test_numbers_against_the_written_predictions(predictors, tmp_path) -> None:
    file = write_jsonl(tmp_path / "test.jsonl", score_rows(100, seed=5))
    predictors["score"].predict_file(file, tmp_path / "y.jsonl")
    lines = [json.loads(line) for line in (tmp_path / "y.jsonl").read_text().splitlines()]
    pair = [line["input_score"] for line in lines], [line["score"] for line in lines]
    found = evaluate(predictors["score"], file)
    assert found.scores["pearson"].value == pytest.approx(stats.pearsonr(*pair).statistic)
    assert found.scores["spearman"].value == pytest.approx(stats.spearmanr(*pair).statistic)
    assert (found.labels, found.confusion) == ({}, None)


def test_vectors_of_scored_pairs_and_of_pairs(toy, tmp_path) -> None:
    train_toy("embedding", toy, tmp_path, epochs=1)
    rows = embedding_rows(40, seed=5)
    scored = evaluate(tmp_path / "model", write_jsonl(tmp_path / "scored.jsonl", rows), resamples=50)
    assert (scored.examples, scored.units, list(scored.scores)) == (40, "pairs", ["spearman", "pearson"])
    pairs = [{"anchor": row["sentence1"], "positive": row["sentence2"]} for row in rows]
    found = evaluate(tmp_path / "model", write_jsonl(tmp_path / "pairs.jsonl", pairs), resamples=50)
    assert (found.units, found.metric) == ("queries", "recall@1")
    assert list(found.scores) == ["recall@1", "recall@5", "recall@10", "mrr@10"]
    assert found.scores["recall@1"].value <= found.scores["recall@10"].value <= 1


def test_the_report(predictors, tmp_path) -> None:
    file = write_toy("entities", tmp_path / "test", 40, seed=5)
    found = evaluate(predictors["entities"], file, resamples=50)
    content = json.loads(json.dumps(found.to_dict()))
    assert content["scores"]["f1"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    assert content["labels"]["fruit"]["support"] == sum(row == "pear\tB-fruit" for row in file.read_text().splitlines())
    assert content["confusion"]["rows"] == ["fruit", "place", "none"]
    assert (content["units"], content["resamples"], content["confidence"]) == ("sentences", 50, 0.95)
    blocks = str(found).split("\n\n")
    assert blocks[0].endswith(f"on {file}: entities, 40 sentences")
    assert blocks[1].splitlines()[0].split() == ["score", "value", "95%", "from", "to"]
    assert blocks[1].splitlines()[2].split() == ["f1", "1.0000", "1.0000", "1.0000"]
    assert blocks[2].splitlines()[0].split()[:4] == ["label", "precision", "recall", "f1"]
    assert blocks[3].startswith("right \\ predicted")
    other = replace(found, checkpoint="a", file="b", task="classify", examples=1, units="texts")
    assert str(other) == str(found).replace(blocks[0], "a on b: classify, 1 texts")


def test_few_examples_are_said(predictors, tmp_path, caplog) -> None:
    evaluate(predictors["classify"], write_jsonl(tmp_path / "x.jsonl", class_rows(8)), resamples=10)
    assert "x.jsonl has 8 texts; the intervals of so few are too narrow" in caplog.text


def test_a_prompt_and_an_activation_count_as_in_predictions(predictors, tmp_path) -> None:
    """Of a cross-encoder: the scores are those of what ``predict`` gives."""
    rows = score_rows(40, seed=5)
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    own = predictors["score"]
    other = Predictor(own.model, own.tokenizer, type(own.task)(activation="Sigmoid", prompt="the tree "))
    predicted = [one.score for one in other([(row["sentence1"], row["sentence2"]) for row in rows])]
    expected = stats.pearsonr([row["score"] for row in rows], predicted).statistic
    assert evaluate(other, file, resamples=10).scores["pearson"].value == pytest.approx(expected, abs=1e-6)
    assert abs(evaluate(own, file, resamples=10).scores["pearson"].value - expected) > 1e-3


def test_what_does_not_fit_is_refused(predictors, trained, tmp_path) -> None:
    def file(name: str, rows: list[dict]):
        return write_jsonl(tmp_path / name, rows)

    texts = class_rows(8)
    conll = write_toy("entities", tmp_path / "words", 8)
    (tmp_path / "o.conll").write_text("she\tO\nsat\tO\n", encoding="utf-8")
    refused = [
        ("classify", file("a.jsonl", [*texts, {"text": "a", "label": "birds"}]), "row 9 has the label 'birds' in"),
        ("classify", file("b.jsonl", [{"text": "she sat"}]), "Say which column of .*b.jsonl holds the labels"),
        ("classify", conll, "ends in '.conll'"),
        ("score", file("c.jsonl", texts), "row 1 has 'about .*' in 'label', expected a number"),
        ("score", file("d.jsonl", [{**row, "score": 1} for row in score_rows(8)]), "all 8 texts have the number 1"),
        ("entities", file("e.jsonl", texts), "expected a list of spans"),
        ("entities", tmp_path / "o.conll", "every word has the label O, so there is no entity to find"),
        ("answers", file("f.jsonl", texts), "Say which column of .*f.jsonl holds the questions"),
        ("classify", tmp_path / "absent.tsv", "absent.tsv does not exist"),
    ]
    for task, path, sentence in refused:
        with pytest.raises(InputError, match=sentence):
            evaluate(predictors[task], path)
    with pytest.raises(InputError, match="was fine-tuned for none of the tasks"):
        evaluate(TINY, tmp_path / "a.jsonl")
    good = file("g.jsonl", texts)
    for arguments, sentence in (
        ({"resamples": 0}, "resamples is 0; expected a whole number of at least 1"),
        ({"confidence": 95}, "confidence is 95; expected a number between 0 and 1, such as 0.95"),
        ({"seed": -1}, "seed is -1"),
        ({"colour": "b"}, "has no such choice"),
    ):
        with pytest.raises(InputError, match=sentence):
            evaluate(predictors["classify"], good, **arguments)
