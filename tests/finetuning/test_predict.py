"""Predictions: of a few texts, with exact places; of files, which stream through and are whole or not there."""

import csv
import datetime
import io
import json
from collections import Counter

import pytest
import torch

from minibert import BertForSequenceClassification, BertTokenizer, InputError
from minibert.data.sentences import entities_of
from minibert.errors import CheckpointError, MinibertError
from minibert.finetuning import Predictor
from minibert.finetuning.classify import ClassPrediction
from minibert.finetuning.score import ScorePrediction
from tests.support.toy_tasks import TINY, class_rows, question_rows, score_rows, tagged, write_jsonl


@pytest.fixture(scope="module")
def predictors(trained) -> dict[str, Predictor]:
    return {task: Predictor.from_pretrained(folder) for task, (folder, _) in trained.items()}


def test_classes(predictors) -> None:
    predictor = predictors["classify"]
    rows = class_rows(20, seed=7)
    found = predictor([row["text"] for row in rows])
    assert [one.label for one in found] == [row["label"] for row in rows]
    assert all(one.probability == max(one.probabilities.values()) > 0.5 for one in found)
    assert all(sum(one.probabilities.values()) == pytest.approx(1, abs=1e-6) for one in found)
    single = predictor("she sat by the river")
    assert isinstance(single, ClassPrediction)
    assert single.label == "about river"
    assert isinstance(predictor(("she sat", "by the river")), ClassPrediction)
    assert predictor([]) == []


def test_a_prediction_is_the_models_own(trained) -> None:
    folder, _ = trained["classify"]
    predictor = Predictor.from_pretrained(folder)
    texts = ["she sat", "the pear tree is in bloom, she was by the river again and again", "", "so"]
    model, tokenizer = BertForSequenceClassification.from_pretrained(folder), BertTokenizer.from_pretrained(folder)
    for text, found in zip(texts, predictor(texts), strict=True):
        with torch.no_grad():
            expected = model(**tokenizer(text, return_tensors="pt")).logits.softmax(dim=-1)[0].tolist()
        assert list(found.probabilities.values()) == pytest.approx(expected, abs=1e-6)


def test_numbers(predictors) -> None:
    rows = score_rows(20, seed=7)
    found = predictors["score"]([(row["sentence1"], row["sentence2"]) for row in rows])
    assert all(isinstance(one, ScorePrediction) for one in found)
    assert max(abs(one.score - row["score"]) for one, row in zip(found, rows, strict=True)) < 0.6


def test_entities_with_their_places(predictors) -> None:
    predictor = predictors["entities"]
    for words, labels in tagged(20, seed=7):
        text = "  " + "  ".join(words)
        found = predictor(text)
        assert [one.label for one in found] == [kind for kind, _, _ in entities_of(labels)]
        assert [one.text.split() for one in found] == [words[a:b] for _, a, b in entities_of(labels)]
        assert all(text[one.start : one.end] == one.text and 0.5 < one.probability <= 1 for one in found)
        by_words = predictor([words])[0]
        assert [one.text for one in by_words] == [" ".join(one.text.split()) for one in found]
    assert predictor(["", "pear"])[0] == []


def test_entities_of_a_text_longer_than_the_model_reads(predictors) -> None:
    text = "so she sat again and pear , home . " * 40
    found = predictors["entities"](text)
    assert Counter((one.label, one.text) for one in found) == {("fruit", "pear"): 40}
    assert [one.start for one in found] == [21 + 35 * number for number in range(40)]


def test_a_model_that_was_trained_elsewhere_on_iob1_finds_entities(trained) -> None:
    predictor = Predictor.from_pretrained(trained["entities"][0])
    labels = predictor.model.config.id2label
    expected = [(one.text, one.label) for one in predictor("pear so river bank")]
    del predictor.model.config.label_units
    predictor.model.config.id2label = {number: label.replace("B-", "I-") for number, label in labels.items()}
    found = predictor("pear so river bank")
    assert [(one.text, one.label) for one in found] == expected == [("pear", "fruit"), ("river bank", "place")]


def test_answers_with_their_places(predictors) -> None:
    predictor = predictors["answers"]
    for row in question_rows(10, seed=7):
        found = predictor((row["question"], row["context"]))
        assert (found.text, found.start) == ("pear tree", row["answer_start"])
        assert row["context"][found.start : found.end] == found.text
    long = "so she was home and " * 30 + "by the pear tree she sat " + "again and again " * 30
    found = predictor(("is in bloom", long))
    assert (found.text, found.start) == ("pear tree", long.index("pear tree"))
    assert predictor(("is in bloom", "")).text == ""


@pytest.mark.parametrize(
    ("task", "item", "sentence"),
    [
        ("classify", [5], "Item 0 is 5; expected a text, or a pair"),
        ("classify", [["a", "b"]], r"Item 0 is \['a', 'b'\]; expected a text, or a pair"),
        ("answers", ["a"], r"Item 0 is 'a'; expected a pair \(question, context\)"),
        ("entities", ["a", ("a", "b")], r"Item 1 is \('a', 'b'\); expected a text, or a list of words"),
    ],
)
def test_items_that_are_none(predictors, task: str, item, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        predictors[task](item)


@pytest.mark.parametrize("items", [None, 5, True, 1.5, b"x", {"a": 1}, object(), torch.nn.Linear(1, 1), Predictor])
def test_what_is_no_list_of_items(predictors, items, tmp_path) -> None:
    with pytest.raises(InputError, match="The items are .*; expected a text, or a pair .*, or a list of such"):
        predictors["classify"](items)
    (tmp_path / "x.txt").write_text("river\n")
    if items is not None:
        with pytest.raises(InputError, match="predict_file: id_column is .*; expected a name"):
            predictors["classify"].predict_file(tmp_path / "x.txt", tmp_path / "y.csv", id_column=items)
    if not isinstance(items, bytes):
        with pytest.raises(MinibertError, match="expected the path of a"):
            predictors["classify"].predict_file(tmp_path / "x.txt", items)


def test_texts_that_were_cut_are_counted(predictors) -> None:
    predictor = predictors["classify"]
    predictor(["so " * 40, "so", ("so " * 20, "she " * 20)])
    assert predictor.truncated == 2
    predictor("so")
    assert predictor.truncated == 0


# ── files ────────────────────────────────────────────────────────────────────────────────────────


def lines_of(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def table_of(path) -> list[dict]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_of_texts(predictors, tmp_path) -> None:
    rows = [{**row, "key": f"k{number}"} for number, row in enumerate(class_rows(3000, seed=3))]
    source = write_jsonl(tmp_path / "x.jsonl", rows)
    report = predictors["classify"].predict_file(source, tmp_path / "out" / "y.jsonl", id_column="key")
    assert (report.rows, report.skipped, report.truncated) == (3000, 0, 0)
    assert str(report) == f"{tmp_path / 'out' / 'y.jsonl'}: 3,000 rows"
    found = lines_of(tmp_path / "out" / "y.jsonl")
    assert [line["row"] for line in found] == list(range(1, 3001))
    assert [line["id"] for line in found] == [row["key"] for row in rows]
    assert [line["text"] for line in found] == [row["text"] for row in rows]
    assert sum(line["label"] == row["label"] for line, row in zip(found, rows, strict=True)) > 2990
    predictors["classify"].predict_file(source, tmp_path / "y.csv")
    table = table_of(tmp_path / "y.csv")
    assert list(table[0]) == ["row", "input_label", "key", "text", "label", "probability"]
    assert [line["label"] for line in table] == [line["label"] for line in found]


def test_a_file_of_lines(predictors, tmp_path) -> None:
    (tmp_path / "x.txt").write_text('a "river", so\n\npear\n')
    predictors["classify"].predict_file(tmp_path / "x.txt", tmp_path / "y.csv")
    assert [line["text"] for line in table_of(tmp_path / "y.csv")] == ['a "river", so', "", "pear"]
    predictors["entities"].predict_file(tmp_path / "x.txt", tmp_path / "z.jsonl")
    found = lines_of(tmp_path / "z.jsonl")
    assert [len(line["entities"]) for line in found][1:] == [0, 1]
    predictors["entities"].predict_file(tmp_path / "x.txt", tmp_path / "z.csv")
    last = table_of(tmp_path / "z.csv")[-1]
    assert (last["row"], last["label"], last["text"], last["start"], last["end"]) == ("3", "fruit", "pear", "0", "4")


def test_files_of_pairs_and_questions(predictors, tmp_path) -> None:
    source = write_jsonl(tmp_path / "pairs.jsonl", score_rows(5))
    predictors["score"].predict_file(source, tmp_path / "y.csv")
    assert list(table_of(tmp_path / "y.csv")[0]) == ["row", "input_score", "text", "pair", "score"]
    predictors["score"].predict_file(source, tmp_path / "z.csv", column="sentence2")
    assert list(table_of(tmp_path / "z.csv")[0]) == ["row", "sentence1", "input_score", "text", "score"]
    source = write_jsonl(tmp_path / "questions.jsonl", question_rows(5))
    predictors["answers"].predict_file(source, tmp_path / "y.jsonl")
    found = lines_of(tmp_path / "y.jsonl")
    assert {line["answer"] for line in found} == {"pear tree"}
    context = "the pear tree"
    squad = {"data": [{"paragraphs": [{"context": context, "qas": [{"id": "q1", "question": "is in bloom"}]}]}]}
    (tmp_path / "squad.json").write_text(json.dumps(squad))
    predictors["answers"].predict_file(tmp_path / "squad.json", tmp_path / "y.csv", id_column="id")
    (line,) = table_of(tmp_path / "y.csv")
    assert (line["id"], line["answer"], line["start"], line["end"]) == ("q1", "pear tree", "4", "13")


def test_the_other_columns_of_a_file_are_kept(predictors, tmp_path) -> None:
    predictor = predictors["classify"]
    (tmp_path / "x.csv").write_text("when,text,label,row\nmay,by the river,gold,7\n,a pear,,\n")
    predictor.predict_file(tmp_path / "x.csv", tmp_path / "y.csv")
    first, second = table_of(tmp_path / "y.csv")
    assert list(first) == ["row", "when", "input_label", "input_row", "text", "label", "probability"]
    assert (first["when"], first["input_label"], first["label"]) == ("may", "gold", "about river")
    assert (first["row"], first["input_row"], second["when"]) == ("1", "7", "")
    rows = [{"text": "by the river", "label": "gold", "tags": ["a"]}, {"text": "a pear", "n": None, "odd": "\ud800"}]
    source = tmp_path / "x.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    predictor.predict_file(source, tmp_path / "y.jsonl")
    first, second = lines_of(tmp_path / "y.jsonl")
    assert (first["input_label"], first["label"], first["tags"]) == ("gold", "about river", ["a"])
    assert (second["n"], second["odd"], second["label"]) == (None, "\ud800", "about pear")
    assert "n" not in first
    predictor.predict_file(source, tmp_path / "z.csv")  # rows that name their own columns: all of them
    first, second = table_of(tmp_path / "z.csv")
    assert list(first) == ["row", "input_label", "tags", "n", "odd", "text", "label", "probability"]
    assert (first["tags"], first["n"], second["tags"]) == ('["a"]', "", "")


def test_columns_of_one_name_are_all_kept(predictors, tmp_path) -> None:
    """A spreadsheet's empty columns have no names; others were joined together."""
    (tmp_path / "x.csv").write_text("note,text,note,note_2,,\na,a pear,b,c,d,e\n")
    predictors["classify"].predict_file(tmp_path / "x.csv", tmp_path / "y.csv")
    (line,) = table_of(tmp_path / "y.csv")
    assert list(line)[1:6] == ["note", "note_3", "note_2", "", "_2"]
    assert list(line.values())[1:6] == ["a", "b", "c", "d", "e"]


def test_numbers_that_json_does_not_have(predictors, tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": ["a pear", "so"], "n": [float("nan"), 2.0], "list": [[float("inf"), 1.0], []]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    predictors["classify"].predict_file(tmp_path / "x.parquet", tmp_path / "y.jsonl")
    assert "NaN" not in (tmp_path / "y.jsonl").read_text()
    first, second = lines_of(tmp_path / "y.jsonl")
    assert (first["n"], first["list"], second["n"], second["list"]) == (None, [None, 1.0], 2.0, [])


def test_the_other_columns_of_parquet_and_of_entities(predictors, tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    when = datetime.date(2024, 5, 1)
    table = pyarrow.table({"text": ["a pear by the river bank"], "when": [when], "entities": ["old"], "n": [[1, 2]]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    predictors["entities"].predict_file(tmp_path / "x.parquet", tmp_path / "y.jsonl")
    (found,) = lines_of(tmp_path / "y.jsonl")
    assert (found["when"], found["input_entities"], found["n"]) == ("2024-05-01", "old", [1, 2])
    assert [one["text"] for one in found["entities"]] == ["pear", "river bank"]
    predictors["entities"].predict_file(tmp_path / "x.parquet", tmp_path / "y.csv")
    found = table_of(tmp_path / "y.csv")
    assert [(one["when"], one["entities"], one["text"]) for one in found] == [
        ("2024-05-01", "old", "pear"), ("2024-05-01", "old", "river bank"),
    ]  # fmt: skip


def test_a_tsv_and_what_it_cannot_hold(predictors, tmp_path) -> None:
    (tmp_path / "x.csv").write_text('text,note\nby the river,"a ""b"""\n')
    predictors["classify"].predict_file(tmp_path / "x.csv", tmp_path / "y.tsv")
    header, line = (tmp_path / "y.tsv").read_text().splitlines()
    assert header == "row\tnote\ttext\tlabel\tprobability"
    assert line.startswith('1\ta "b"\tby the river\tabout river\t0.')
    (tmp_path / "x.csv").write_text('text,note\nby the river,"a\tb"\n')
    with pytest.raises(InputError, match=r"y\.tsv: row 1 has a tab or a line break in 'note', which no \.tsv can hold"):
        predictors["classify"].predict_file(tmp_path / "x.csv", tmp_path / "y.tsv")
    with pytest.raises(InputError, match="is the input itself, which would be lost"):
        predictors["classify"].predict_file(tmp_path / "x.csv", tmp_path / "x.csv")


def test_lines_of_a_stream(predictors, tmp_path) -> None:
    stream = io.BytesIO(b"\xef\xbb\xbfby the river\r\n\na pear")
    report = predictors["classify"].predict_lines(stream, tmp_path / "y.jsonl")
    assert report.rows == 3
    assert [(line["row"], line["text"]) for line in lines_of(tmp_path / "y.jsonl")] == [
        (1, "by the river"), (2, ""), (3, "a pear"),
    ]  # fmt: skip
    assert list(lines_of(tmp_path / "y.jsonl")[0]) == ["row", "text", "label", "probability", "probabilities"]
    predictors["score"].predict_lines(io.BytesIO(b"a tree\tby the tree\n"), tmp_path / "y.csv", pairs=True)
    assert list(table_of(tmp_path / "y.csv")[0]) == ["row", "text", "pair", "score"]
    with pytest.raises(InputError, match="standard input: row 2 has 1 fields, expected two texts with a tab between"):
        predictors["score"].predict_lines(io.BytesIO(b"a\tb\na b\n"), tmp_path / "y.csv", pairs=True)
    with pytest.raises(InputError, match="standard input has no rows; there is nothing to predict"):
        predictors["score"].predict_lines(io.BytesIO(b""), tmp_path / "z.csv")


def test_bad_rows_refuse_the_file_or_are_left_out(predictors, tmp_path, caplog) -> None:
    (tmp_path / "x.csv").write_bytes(b"text\nriver\ncaf\xe9\npear\n")
    with pytest.raises(InputError, match=r"x\.csv: row 2 \(line 3\) is not UTF-8"):
        predictors["classify"].predict_file(tmp_path / "x.csv", tmp_path / "y.jsonl")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]
    report = predictors["classify"].predict_file(tmp_path / "x.csv", tmp_path / "y.jsonl", skip_bad=True)
    assert (report.rows, report.skipped) == (2, 1)
    assert str(report).endswith("y.jsonl: 2 rows; 1 could not be read and are left out")
    assert [line["row"] for line in lines_of(tmp_path / "y.jsonl")] == [1, 3]
    assert "row 2 (line 3) is not UTF-8" in caplog.text


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("y.txt", {}, r"y\.txt ends in '\.txt'; predictions are written as \.jsonl, \.csv, \.tsv"),
        ("y.csv", {"column": "b"}, "has no column called 'b' for the texts; it has text"),
        ("y.csv", {"id_column": "b"}, "has no column called 'b' for the ids; it has text"),
        ("y.csv", {"colour": "b"}, "The task 'classify' has no such choice"),
        ("y.csv", {}, "has no rows; there is nothing to predict"),
    ],
)
def test_files_that_cannot_be(predictors, tmp_path, name: str, arguments: dict, sentence: str) -> None:
    (tmp_path / "x.csv").write_text("text\n")
    with pytest.raises(InputError, match=sentence):
        predictors["classify"].predict_file(tmp_path / "x.csv", tmp_path / name, **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_a_place_that_cannot_be_written(predictors, tmp_path) -> None:
    (tmp_path / "x.txt").write_text("river\n")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        predictors["classify"].predict_file(tmp_path / "x.txt", tmp_path / "file" / "y.csv")


def test_a_checkpoint_that_is_for_no_task() -> None:
    with pytest.raises(InputError, match="was fine-tuned for none of the tasks"):
        Predictor.from_pretrained(TINY)
