"""Multiple choice: rows, truncation, questions with different numbers of choices, predictions."""

import csv
import io
import json

import pytest
import torch

from minibert import BertForMultipleChoice, BertTokenizer, InputError, Predictor
from minibert.cli import main
from minibert.data.choices import Question
from minibert.finetuning import MultipleChoice, finetune
from minibert.finetuning.choice import ChoicePrediction
from tests.support.toy_tasks import FAST, choice_rows, write_jsonl

LONG = "the river bank " * 12
QUESTION = ("she sat by", "is in bloom", ["the pear tree", "so", "river bank and home"])


@pytest.fixture(scope="module")
def predictor(trained) -> Predictor:
    return Predictor.from_pretrained(trained["choice"][0])


@pytest.mark.parametrize("context", ["she sat by", LONG])
def test_rows_are_transformers_own(toy, tmp_path, context):
    """[CLS] context [SEP] question choice [SEP], of which only the context is cut."""
    transformers = pytest.importorskip("transformers")
    row = {"context": context, "question": QUESTION[1], "choices": QUESTION[2], "label": 2}
    task, tokenizer = MultipleChoice(), BertTokenizer.from_pretrained(toy)
    model = BertForMultipleChoice.from_pretrained(toy, fresh_head=True)
    examples = task.examples(task.read(write_jsonl(tmp_path / "x.jsonl", [row])), tokenizer, model.config)
    batch = examples.collate([0])
    seconds = [f"{QUESTION[1]} {choice}" for choice in QUESTION[2]]
    theirs = transformers.AutoTokenizer.from_pretrained(toy)(
        [context] * 3, seconds, truncation="only_first", max_length=32, padding=True, return_tensors="pt"
    )
    for name in ("input_ids", "attention_mask", "token_type_ids"):
        assert torch.equal(batch[name], theirs[name][None]), name
    assert batch["labels"].tolist() == [2]


def test_a_choice_that_fills_the_row(predictor):
    """The context is gone, and the end of the choice."""
    question = Question("so", "", ("home", LONG))
    rows, cut = predictor.task.token_rows([question], predictor.tokenizer, predictor.model.config)
    assert cut == 1
    assert [len(row) for row in rows[0]] == [5, 32]
    assert rows[0][1].second == 2


def test_predictions_are_the_models_own(predictor):
    found = predictor([QUESTION, ("is in bloom", ["home", "the tree"])])
    assert predictor.truncated == 0
    for item, one in zip((QUESTION, ("is in bloom", ["home", "the tree"])), found, strict=True):
        *between, choices = item
        seconds = [" ".join([*between[1:], choice]) for choice in choices]
        inputs = predictor.tokenizer([between[0]] * len(choices), seconds, padding=True, return_tensors="pt")
        with torch.no_grad():
            logits = predictor.model(**{name: value[None] for name, value in inputs.items()}).logits
        assert one.probabilities == pytest.approx(logits.softmax(dim=-1)[0].tolist(), abs=1e-6)
        assert (one.choice, one.probability) == (choices[one.number], max(one.probabilities))
    assert [one.number for one in found] == [0, 1]
    assert isinstance(predictor(QUESTION), ChoicePrediction)


@pytest.mark.parametrize(
    "item", ["a text", ("a", "b"), ("a", ["b"]), ("a", ["b", ""]), (["b", "c"],), ("a", 3, ["b", "c"])]
)
def test_what_is_no_item(predictor, item):
    with pytest.raises(InputError, match=r"expected a tuple \(question, choices\)"):
        predictor([item])


def test_questions_with_different_numbers_of_choices(toy, tmp_path):
    train = write_jsonl(tmp_path / "train.jsonl", choice_rows(fewest=2))
    dev = write_jsonl(tmp_path / "dev.jsonl", choice_rows(seed=1, fewest=2))
    ended = [
        finetune("choice", toy, train, tmp_path / name, dev, **FAST, padded=name == "padded")
        for name in ("packed", "padded")
    ]
    assert [one.scores["accuracy"] for one in ended] == [1.0, 1.0]
    assert ended[0].labels == ("choice",)
    first = [json.loads((tmp_path / name / "metrics.jsonl").open().readline()) for name in ("packed", "padded")]
    assert first[0]["choice"] == pytest.approx(first[1]["choice"], abs=1e-6)


def test_dev_rows_of_one_question_stay_together(toy, tmp_path):
    rows = [{"question": f"is it {'so ' * (n // 2)}", "choices": ["a tree", "home"], "label": n % 2} for n in range(12)]
    found = finetune(
        "choice", toy, write_jsonl(tmp_path / "x.jsonl", rows), tmp_path / "run", "25%", steps=1, batch_size=2
    )
    assert (found.examples, found.steps) == (8, 1)


def test_a_fine_tuned_head_is_trained_on(trained, tmp_path):
    data = write_jsonl(tmp_path / "x.jsonl", choice_rows(16, fewest=2))
    found = finetune("choice", trained["choice"][0], data, tmp_path / "more", steps=2)
    assert found.fresh == ()


def test_files_and_lines(trained, tmp_path, capsys, monkeypatch):
    folder = str(trained["choice"][0])
    rows = choice_rows(6, seed=3)
    path, output = write_jsonl(tmp_path / "x.jsonl", rows), tmp_path / "out.jsonl"
    assert main(["predict", folder, "--input", str(path), "--output", str(output)]) == 0
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["number"] for record in records] == [row["label"] for row in rows]
    assert all(record["choice"] == row["choices"][row["label"]] for record, row in zip(records, rows, strict=True))
    assert [record["label"] for record in records] == [row["label"] for row in rows]  # a column of the input
    assert main(["predict", folder, "--input", str(path), "--output", str(tmp_path / "out.csv")]) == 0
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert list(lines[0]) == ["row", "label", "context", "question", "choice", "number", "probability"]

    capsys.readouterr()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"is in bloom\thome\tthe tree\nso\tthe tree\tso\n")))
    assert main(["predict", folder, "-", "--json"]) == 0
    assert [record["number"] for record in json.loads(capsys.readouterr().out)] == [1, 0]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"is in bloom\thome\n")))
    assert main(["predict", folder, "-"]) == 2
    assert "has 2 fields, expected a question and its choices with tabs between" in capsys.readouterr().err


def test_mistakes_on_the_command_line(trained, tmp_path, capsys):
    folder = str(trained["choice"][0])
    assert main(["predict", folder, "is in bloom", "a tree"]) == 2
    assert "There are 2 texts; expected a question and two choices or more" in capsys.readouterr().err
    assert main(["predict", folder, "--pairs", "is in bloom", "a tree", "home"]) == 2
    assert "--pairs is not for the task choice" in capsys.readouterr().err
    data = str(write_jsonl(tmp_path / "x.jsonl", choice_rows(16)))
    assert main(["finetune", "choice", data, "--output", str(tmp_path / "run"), "--count-from", "1"]) == 2
    assert "expected a number from 1 to 3" in capsys.readouterr().err
    assert main(["finetune", "classify", data, "--output", str(tmp_path / "run"), "--choice-columns", "a,b"]) == 2
    assert "--choice-columns is not for the task classify" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
