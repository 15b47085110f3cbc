"""Training files: which column is which, every way in which a row can be bad, and real data as it was published."""

import json
import logging
from collections import Counter
from pathlib import Path

import pytest

from minibert import BertConfig, InputError
from minibert.data.labels import sorted_labels
from minibert.errors import ConfigError
from minibert.finetuning.classify import Classify
from minibert.finetuning.labels import check_head, label_names, label_settings
from minibert.finetuning.run import task_of
from minibert.finetuning.score import Score
from minibert.finetuning.texts import LabelledText


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", 'label,text\n1,"a, b"\n0,c\n'),
        ("x.tsv", "label\ttext\n1\ta, b\n0\tc\n"),
        ("x.csv", "label\ttext\n1\ta, b\n0\tc\n"),  # tabs in a .csv
        ("x.jsonl", '{"text": "a, b", "label": 1}\n{"text": "c", "label": "0"}\n'),
        ("x.csv", 'Label,id,Document\n 1,9,"a, b"\n0,8,c\n'),
        ("x.csv", 'id, label , text\n9, 1,"a, b"\n8, 0,c\n'),
    ],
)
def test_columns_are_found_by_their_names(tmp_path, name: str, content: str) -> None:
    assert Classify().read(write(tmp_path / name, content)) == [LabelledText("a, b", "1"), LabelledText("c", "0")]


def test_parquet(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"n": [1, 2], "premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [0, 2]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    rows = Classify().read(tmp_path / "x.parquet")
    assert rows == [LabelledText(("a", "c"), "0"), LabelledText(("b", "d"), "2")]


def test_pairs_and_columns_by_name(tmp_path) -> None:
    content = "sentence1,sentence2,score,label\na,b,1.5,x\nc,d,2,y\n"
    file = write(tmp_path / "x.csv", content)
    assert Score().read(file) == [LabelledText(("a", "b"), 1.5), LabelledText(("c", "d"), 2.0)]
    assert Classify().read(file) == [LabelledText(("a", "b"), "x"), LabelledText(("c", "d"), "y")]
    assert Classify(column="sentence2").read(file) == [LabelledText("b", "x"), LabelledText("d", "y")]
    chosen = Classify(column="sentence2", pair_column="sentence1", label_column="score")
    assert chosen.read(file) == [LabelledText(("b", "a"), "1.5"), LabelledText(("d", "c"), "2")]
    other = write(tmp_path / "y.csv", "text,sentence2,label\na,b,x\nc,d,y\n")
    assert Classify().read(other) == [LabelledText("a", "x"), LabelledText("c", "y")]  # these two are no pair


def test_columns_by_number_where_there_are_no_names(tmp_path) -> None:
    file = write(tmp_path / "x.csv", '5.0\ta "quote\tb\n1.5\tc\td\te\tf\n')
    chosen = Score(column="2", pair_column="3", label_column="1")
    assert chosen.read(file) == [LabelledText(('a "quote', "b"), 5.0), LabelledText(("c", "d"), 1.5)]
    named = write(tmp_path / "y.csv", "1,2\na,x\nb,y\n")  # here these are names
    assert Classify(column="1", label_column="2").read(named) == [LabelledText("a", "x"), LabelledText("b", "y")]
    short = write(tmp_path / "z.csv", "5.0\ta\tb\n1.5\tc\n")
    with pytest.raises(InputError, match=r"z\.csv: row 2 has 2 fields, expected at least 3"):
        chosen.read(short)
    with pytest.raises(InputError, match="no column called '9' for the texts; it has 1, 2, 3"):
        Score(column="9", label_column="1").read(short)


BAD = {
    "no label column": (
        "x.csv",
        "text,x\na,b\n",
        r"Say which column of .*x\.csv holds the labels \(--label-column NAME\)",
    ),
    "no text column": (
        "x.jsonl",
        '{"a": 1}\n',
        r"Say which column of .* holds the texts \(--column NAME\); it has a\.",
    ),
    "one class": ("x.csv", "text,label\na,1\nb,1\n", "all 2 rows have the same label in 'label', '1'"),
    "ids": (
        "x.csv",
        "text,label\n" + "".join(f"a,{n}\n" for n in range(10)),
        r"'label' has 10 different labels in 10 rows \('0', '1', '2', '3', '4', '5', '6', '7' and 2 more\)",
    ),
    "empty label": ("x.csv", "text,label\na,1\nb, \n", r"row 2 \(line 3\) has no label in 'label'"),
    "null label": ("x.jsonl", '{"text": "a", "label": null}\n', "row 1 has None in 'label', expected a label"),
    "no such key": ("x.jsonl", '{"text": "a", "label": 1}\n\n{"text": "b"}\n', r"row 2 \(line 3\) has no 'label'"),
    "text that is none": ("x.jsonl", '{"text": 5, "label": 1}\n', "row 1 has 5 in 'text', expected text"),
    "not UTF-8": ("x.tsv", b"text\tlabel\na\t1\ncaf\xe9\t0\n", r"row 2 \(line 3\) is not UTF-8 \(a byte is 0xe9\)"),
    "not JSON": ("x.jsonl", '{"text": "a", "label": 1}\n{"text\n', "row 2 is not JSON"),
    "fields": (
        "x.csv",
        "text,label\na,1\nb\nc\n",
        r"row 2 \(line 3\) has 1 fields, expected the 2 .*; in all, 2 of 3 rows",
    ),
    "empty": ("x.csv", "", "is empty; its first line must name the columns"),
    "empty lines": ("x.jsonl", "\n\n", r"x\.jsonl is empty; there is nothing to learn from"),
    "a header alone": ("x.csv", "text,label\n", r"x\.csv has no rows; there is nothing to learn from"),
    "lines": ("x.txt", "a\nb\n", r"x\.txt has no columns, only texts; give a \.csv"),
    "another format": ("x.xlsx", "a", r"x\.xlsx is a spreadsheet; an input is \.txt .* Save the sheet as \.csv"),
    "two columns": ("x.csv", "text,text,label\na,b,1\n", None),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_data_is_a_sentence(tmp_path, kind: str) -> None:
    name, content, why = BAD[kind]
    file = write(tmp_path / name, content)
    chosen = Classify(column="text") if kind == "two columns" else Classify()
    with pytest.raises(InputError, match=why or "has two columns called 'text' for the texts"):
        chosen.read(file)
    if kind == "two columns":
        with pytest.raises(InputError, match="has two columns called 'text'; it has text, text, label"):
            Classify().read(file)


def test_bad_numbers(tmp_path) -> None:
    file = write(tmp_path / "x.csv", "text,score\na,1\nb,much\n")
    with pytest.raises(InputError, match=r"row 2 \(line 3\) has 'much' in 'score', expected a number"):
        Score().read(file)
    for bad in ("nan", "inf", ""):
        with pytest.raises(InputError, match="expected a number"):
            Score().read(write(tmp_path / "x.csv", f"text,score\na,{bad}\n"))
    with pytest.raises(InputError, match="row 1 has True in 'score', expected a number"):
        Score().read(write(tmp_path / "x.jsonl", '{"text": "a", "score": true}\n'))
    with pytest.raises(InputError, match=r"all 2 rows have 3\.0 in 'score'; there is nothing to learn"):
        Score().read(write(tmp_path / "x.csv", "text,score\na,3\nb,3.0\n"))


def test_bad_rows_may_be_left_out(tmp_path, caplog) -> None:
    file = write(tmp_path / "x.csv", "text,label\na,1\nb\nc,0\nd,1,2\n")
    with caplog.at_level(logging.WARNING):
        assert len(Classify(skip_bad=True).read(file)) == 2
    assert "2 bad rows are left out, the first is row 2 (line 3) has 1 fields" in caplog.text
    with pytest.raises(InputError, match="has no rows that can be read"):
        Classify(skip_bad=True).read(write(tmp_path / "y.csv", "text,label\na\n"))


def test_labels_of_dev_data_must_be_known(tmp_path) -> None:
    config = BertConfig(**label_settings(["neg", "pos"]))
    file = write(tmp_path / "dev.csv", "text,label\na,pos\nb,neutral\n")
    with pytest.raises(InputError, match=r"row 2 \(line 3\) has the label 'neutral' in 'label'; .* has 'neg', 'pos'"):
        Classify().read(file, config)
    assert len(Classify().read(write(tmp_path / "dev.csv", "text,label\na,pos\n"), config)) == 1  # one class will do


def test_labels_are_sorted_numbers_by_size() -> None:
    assert sorted_labels(["10", "9", "1", "9"]) == ["1", "9", "10"]
    assert sorted_labels(["b", "10", "9", "a"]) == ["10", "9", "a", "b"]
    assert sorted_labels(["0.5", "-1", "2"]) == ["-1", "0.5", "2"]
    assert label_settings(["a", "b"]) == {"id2label": {0: "a", 1: "b"}, "label2id": {"a": 0, "b": 1}}


def test_labels_of_json(tmp_path) -> None:
    lines = [json.dumps({"text": "a", "label": label}) + "\n" for label in (1, "1", " 1 ", True, 1.5, "x")]
    rows = Classify().read(write(tmp_path / "x.jsonl", "".join(lines)))
    assert [row.label for row in rows] == ["1", "1", "1", "true", "1.5", "x"]


def test_the_order_of_a_head_holds() -> None:
    config = BertConfig(**label_settings(["pos", "neg"]))
    wanted = {"problem_type": "single_label_classification", **label_settings(["neg", "pos"])}
    assert check_head("x", config, wanted)["id2label"] == {0: "pos", 1: "neg"}
    with pytest.raises(
        InputError, match=r"x has a head for 2 labels \('pos', 'neg'\), but the data asks for 1 \('a'\)"
    ):
        check_head("x", config, {**wanted, **label_settings(["a"])})


# ── as published ─────────────────────────────────────────────────────────────────────────────────


def test_nsmc(shared) -> None:
    rows = Classify().read(shared / "data" / "nsmc-from-raw" / "train.tsv")
    assert Counter(row.label for row in rows) == {"0": 15_000, "1": 15_000}
    assert rows[0] == LabelledText("겨울이 너무싫다.", "1") or isinstance(rows[0].text, str)
    assert Classify().settings(rows)["label2id"] == {"0": 0, "1": 1}


def test_korsts(shared) -> None:
    rows = Score().read(shared / "data" / "korsts" / "sts-train.tsv")
    assert len(rows) == 5749
    assert rows[0] == LabelledText(("비행기가 이륙하고 있다.", "비행기가 이륙하고 있다."), 5.0)


@pytest.mark.parametrize(("name", "count"), [("train", 5749), ("dev", 1500), ("test", 1379)])
def test_sts_benchmark_has_tabs_and_no_names(shared, name: str, count: int) -> None:
    chosen = Score(column="6", pair_column="7", label_column="5")
    rows = chosen.read(shared / "data" / "stsb" / f"sts-{name}.csv")
    assert len(rows) == count
    assert all(0 <= row.label <= 5 and len(row.text) == 2 for row in rows)


# ── names of labels in config.json ───────────────────────────────────────────────────────────────


def named(**settings) -> BertConfig:
    config = BertConfig(problem_type="single_label_classification", **settings)
    config.architectures = ["BertForSequenceClassification"]
    return config


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"0": "a", "2": "b"}, r"names for '0', '2'; expected a name for each number from 0 to 1"),
        ({"1": "a", "2": "b"}, r"names for '1', '2'; expected a name for each number from 0 to 1"),
        ({"-1": "a", "0": "b"}, "from 0 to 1"),
        ({"0": "a", "1": "b", "2": "a"}, "gives the name 'a' to 2 labels"),
    ],
)
def test_names_of_labels_that_leave_one_out(names: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        task_of(named(id2label=names))


def test_names_of_labels_in_any_order_and_against_label2id(caplog) -> None:
    config = named(id2label={"1": "b", "0": "a"}, label2id={"a": 1, "b": 0})
    with caplog.at_level(logging.WARNING):
        assert task_of(config).name == "classify"
    assert "label2id says that 'a' is 1, and id2label that it is 0; predictions go by id2label" in caplog.text
    assert label_names(config) == ["a", "b"]
    assert Classify().targets([LabelledText("x", "b"), LabelledText("y", "a")], config) == [1, 0]
    assert named(id2label={0: "neg", 1: "pos", 2: "so"}).label2id == {"neg": 0, "pos": 1, "so": 2}
    with pytest.raises(ConfigError, match="expected one name for each number"):
        BertConfig(id2label={"1": "a", "01": "b"})


def test_entities_with_a_label_left_out() -> None:
    config = BertConfig(id2label={0: "O", 2: "B-X"})
    config.architectures = ["BertForTokenClassification"]
    with pytest.raises(InputError, match="names for '0', '2'; expected a name for each"):
        task_of(config)
