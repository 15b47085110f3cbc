"""``minibert evaluate`` as it is typed."""

import json
from xml.etree import ElementTree

import pytest

from minibert.cli import main
from minibert.finetuning import evaluate, finetune
from tests.support.command import mistake
from tests.support.toy_tasks import TINY, class_rows, question_rows, train_toy, write_jsonl, write_toy

pytest.importorskip("sklearn")


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("classifier")
    finetune("classify", TINY, write_toy("classify", folder / "train", 32), folder / "run", steps=2)
    return str(folder / "run")


def test_what_is_printed(classifier, tmp_path, capsys) -> None:
    file = write_jsonl(tmp_path / "test.jsonl", class_rows(40, seed=1))
    assert main(["evaluate", classifier, str(file)]) == 0
    printed = capsys.readouterr().out
    assert printed == f"{evaluate(classifier, file)}\n"
    lines = printed.splitlines()
    assert lines[0] == f"{classifier} on {file}: classify, 40 texts"
    assert lines[2].split() == ["score", "value", "95%", "from", "to"]
    assert [line.split()[0] for line in lines[4:6]] == ["accuracy", "macro"]
    assert "right \\ predicted" in printed


def test_files_options_and_a_picture(classifier, tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    rows = [{"body": row["text"], "kind": row["label"]} for row in class_rows(40, seed=1)]
    first, second = (str(write_jsonl(tmp_path / name, rows)) for name in ("a.jsonl", "b.jsonl"))
    columns = ["--column", "body", "--label-column", "kind", "--json"]
    typed = ["evaluate", classifier, first, second, "--resamples", "20", "--confidence", "0.5", "--seed", "3", *columns]
    assert main(typed) == 0
    both = json.loads(capsys.readouterr().out)
    choices = {"column": "body", "label_column": "kind"}
    expected = evaluate(classifier, first, resamples=20, confidence=0.5, seed=3, **choices).to_dict()
    assert both[0] == json.loads(json.dumps(expected))
    assert both[1] == {**both[0], "file": second}
    picture = tmp_path / "confusion.svg"
    assert main(["evaluate", classifier, first, *columns[:4], "--picture", str(picture)]) == 0
    assert capsys.readouterr().out.endswith(f"written: {picture}\n")
    ElementTree.parse(picture)


def test_two_checkpoints(classifier, tmp_path, capsys) -> None:
    file = write_jsonl(tmp_path / "test.jsonl", class_rows(40, seed=1))
    assert main(["evaluate", classifier, str(file), "--against", classifier]) == 0
    last = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert last[0].split() == ["score", "first", "second", "difference", "95%", "from", "to"]
    assert last[2].split()[-3:] == ["+0.0000", "+0.0000", "+0.0000"]
    assert main(["evaluate", classifier, str(file), "--against", classifier, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["differences"]["accuracy"] == {"value": 0, "low": 0, "high": 0}
    assert found["against"]["scores"] == found["scores"]
    train_toy("score", TINY, tmp_path, epochs=1)
    said = mistake(capsys, ["evaluate", classifier, str(file), "--against", str(tmp_path / "model")])
    assert "expected a number" in said


def test_slips(classifier, tmp_path, capsys) -> None:
    good = str(write_jsonl(tmp_path / "good.jsonl", class_rows(40)))
    other = str(write_jsonl(tmp_path / "other.jsonl", [{"text": "a", "label": "birds"}]))
    questions = str(write_jsonl(tmp_path / "questions.jsonl", question_rows(4)))
    for typed, part in (
        ([classifier, "absent.tsv"], "absent.tsv does not exist"),
        ([str(TINY), good], "was fine-tuned for none of the tasks here"),
        ([classifier, other], "row 1 has the label 'birds' in 'label'; the training data has 'about pear', 'about ri"),
        ([classifier, questions], "Say which column of"),
        ([classifier, good, other, "--picture", "x.svg"], "--picture is for one file, and there are 2"),
        ([classifier, good, "--picture", "x.gif"], "x.gif ends in .gif"),
        ([classifier, good, "--words-column", "x"], "--words-column is not for the task classify"),
    ):
        assert part in mistake(capsys, ["evaluate", *typed])
    for wrong in ("95", "0", "x"):
        with pytest.raises(SystemExit, match="2"):
            main(["evaluate", classifier, good, "--confidence", wrong])
        assert f"'{wrong}' is not a number between 0 and 1, such as 0.95" in capsys.readouterr().err
