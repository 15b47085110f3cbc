"""``minibert finetune`` and ``minibert predict`` as they are typed: each task to its end, each mistake a sentence."""

import csv
import io
import json
import re
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path

import pytest

from minibert.cli import main
from minibert.commands import columns
from minibert.commands import finetune as command
from minibert.finetuning import TASKS, MultiLabel
from minibert.training.metrics import MetricsLog, read_metrics
from tests.support.command import mistake
from tests.support.toy_tasks import TINY, class_rows, write_jsonl, write_toy

FAST = ["--epochs", "2", "--batch-size", "8", "--learning-rate", "1e-3"]
TEXTS = {
    "classify": ["she sat by the river", "the pear is in bloom"],
    "score": ["she sat by the tree", "the pear is in bloom"],
    "entities": ["she sat by the river bank", "the pear is in bloom"],
    "answers": ["is in bloom", "the pear tree is in bloom"],
    "choice": ["is in bloom", "the pear tree", "she sat by the river"],
    "embedding": ["she sat by the tree", "the pear is in bloom"],
}


def arguments(task: str, folder: Path, *more: str, count: int = 32) -> list[str]:
    """The command that trains a toy in ``folder / "run"``."""
    train = write_toy(task, folder / "train", count)
    return ["finetune", task, str(train), "--output", str(folder / "run"), "--model", str(TINY), *FAST, *more]


def test_the_options_are_those_of_the_tasks() -> None:
    assert tuple(TASKS) == command.TASKS
    options = {*columns.OF_TEXTS, *columns.OF_LABELS, *columns.OTHERS}
    choices = {field.name for task in (*TASKS.values(), MultiLabel) for field in fields(task)}
    assert options <= choices
    for_programs = {"best", "longest_answer", "masks_padding", "activation", "prompt", "threshold", "stored"}
    assert choices - options == for_programs


@pytest.mark.parametrize("task", TASKS)
def test_a_task_from_data_to_predictions(task: str, tmp_path, capsys) -> None:
    dev = write_toy(task, tmp_path / "dev", 16, seed=1)
    assert main([*arguments(task, tmp_path, "--dev", str(dev)), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["task"], report["steps"], report["total"], report["examples"]) == (task, 8, 8, 32)
    assert report["interrupted"] is False
    assert next(iter(report["scores"])) == TASKS[task].main_score
    run = tmp_path / "run"
    metrics = read_metrics(run)
    assert sum("loss" in entry for entry in metrics) == 8
    assert [entry["step"] for entry in metrics if "scores" in entry] == [4, 8]
    assert report["curve"] == str(run / "loss.svg")
    assert "<svg" in (run / "loss.svg").read_text()

    assert main(["predict", str(run), *TEXTS[task], "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    keys = {"classify": "probabilities", "score": "score", "entities": "entities", "answers": "answer"}
    keys |= {"embedding": "similarity", "choice": "probabilities"}
    assert len(records) == (1 if task in ("answers", "embedding", "choice") else 2)
    assert all(keys[task] in record for record in records)
    assert main(["predict", str(run), *TEXTS[task]]) == 0
    assert TEXTS[task][0] in capsys.readouterr().out

    texts = write_toy("classify" if task == "entities" else task, tmp_path / "new", 5, seed=2)
    assert main(["predict", str(run), "--input", str(texts), "--output", str(tmp_path / "new.csv"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 5
    with (tmp_path / "new.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.DictReader(file))
    if task != "entities":
        assert [line["row"] for line in written] == ["1", "2", "3", "4", "5"]


def test_what_is_printed(tmp_path, capsys, caplog) -> None:
    dev = write_toy("classify", tmp_path / "dev", 16, seed=1)
    assert main(arguments("classify", tmp_path, "--dev", str(dev))) == 0
    printed = capsys.readouterr().out
    run = re.escape(str(tmp_path / "run"))
    shape = rf"{run}: classify, 32 examples, 8 steps; on the dev data accuracy 0\.\d+, macro f1 0\.\d+ \(step [48]\)"
    first, second = printed.splitlines()
    assert re.fullmatch(shape, first)
    assert second == f"curves: {tmp_path / 'run' / 'loss.svg'}"
    assert "brings no head for this task: classifier.weight, classifier.bias begin at random (seed 0)" in caplog.text
    assert main(["predict", str(tmp_path / "run"), "the pear is in bloom"]) == 0
    header, _, line = capsys.readouterr().out.splitlines()
    assert header.split() == ["text", "label", "probability"]
    assert re.fullmatch(r"the pear is in bloom +about (pear|river) +0\.\d{4}", line)


def test_columns_and_pairs_by_name(tmp_path, capsys) -> None:
    rows = [{"a": row["text"], "b": "she sat", "kind": row["label"]} for row in class_rows(16)]
    train = write_jsonl(tmp_path / "train.jsonl", rows)
    columns = ["--column", "a", "--pair-column", "b"]
    typed = ["finetune", "classify", str(train), "--output", str(tmp_path / "run"), "--model", str(TINY), *FAST]
    assert main([*typed, *columns, "--label-column", "kind", "--max-length", "16", "--steps", "2"]) == 0
    assert "stopped" not in capsys.readouterr().out
    output = tmp_path / "out.jsonl"
    typed = ["predict", str(tmp_path / "run"), "--input", str(train), "--output", str(output), *columns]
    assert main([*typed, "--id-column", "kind"]) == 0
    records = [json.loads(line) for line in output.read_text().splitlines()]
    assert [record["pair"] for record in records] == ["she sat"] * 16
    assert [record["id"] for record in records] == [row["kind"] for row in rows]
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), "a bank", "she sat", "--pairs", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["text"], record["pair"]) == ("a bank", "she sat")


def test_standard_input(tmp_path, capsys, monkeypatch) -> None:
    assert main(arguments("classify", tmp_path, "--steps", "1")) == 0
    run = str(tmp_path / "run")

    def typed(content: bytes, *more: str) -> int:
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return main(["predict", run, *more])

    assert typed("by the river\n서울 pear\n".encode(), "-", "--json") == 0
    assert [record["text"] for record in json.loads(capsys.readouterr().out)] == ["by the river", "서울 pear"]
    assert typed(b"by the river\n", "-") == 0
    assert "by the river" in capsys.readouterr().out
    assert typed(b"so\tshe\n", "--input", "-", "--pairs", "--json") == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["text"], record["pair"]) == ("so", "she")
    output = str(tmp_path / "out.csv")
    assert typed(b"by the river\n", "--input", "-", "--output", output) == 0
    assert capsys.readouterr().out == f"{output}: 1 rows\n"
    for content, more, part in (
        (b"", ["-"], "standard input has no lines; there is nothing to predict"),
        (b"a\n", ["-", "a text"], "not both"),
        (b"a\n", ["-", "--column", "x"], "--column is for a whole file"),
        (b"a\xff\n", ["-"], "standard input: row 1 is not UTF-8 (byte 2 is 0xff)"),
        (b"a\n", ["-", "--pairs"], "row 1 has 1 fields, expected two texts with a tab between"),
    ):
        assert typed(content, *more) == 2
        assert part in capsys.readouterr().err


def test_interrupted_the_same_command_goes_on(tmp_path, capsys, monkeypatch) -> None:
    for name in ("whole", "cut"):
        (tmp_path / name).mkdir()
    assert main(arguments("classify", tmp_path / "whole")) == 0
    write = MetricsLog.write

    def pressing(metrics: MetricsLog, entry: dict) -> None:
        write(metrics, entry)
        if entry["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(MetricsLog, "write", pressing)
    capsys.readouterr()
    assert main(arguments("classify", tmp_path / "cut")) == 130
    run = tmp_path / "cut" / "run"
    assert capsys.readouterr().out == f"{run}: stopped after 4 of 8 steps; the same command goes on\n"
    assert not (run / "model.safetensors").exists()
    monkeypatch.undo()
    assert main(arguments("classify", tmp_path / "cut")) == 0
    for name in ("model.safetensors", "metrics.jsonl"):
        assert (run / name).read_bytes() == (tmp_path / "whole" / "run" / name).read_bytes()


def broken(path: Path, rows: list[dict]) -> str:
    return str(write_jsonl(path, rows))


def test_bad_data_is_named_and_nothing_is_written(tmp_path, capsys) -> None:
    rows = class_rows(12)
    good = broken(tmp_path / "good.jsonl", rows)
    (tmp_path / "empty.jsonl").write_text("")
    files = {
        broken(tmp_path / "no-label.jsonl", [*rows, {"text": "she sat", "label": None}]): "row 13",
        broken(tmp_path / "no-text.jsonl", [*rows, {"text": 7, "label": "about pear"}]): "row 13",
        broken(tmp_path / "one-class.jsonl", [{**row, "label": "x"} for row in rows]): "there is nothing to learn",
        str(tmp_path / "empty.jsonl"): "is empty",
        str(tmp_path / "absent.csv"): "absent.csv",
    }
    typed = ["--output", str(tmp_path / "run"), "--model", str(TINY), *FAST]
    for path, part in files.items():
        said = mistake(capsys, ["finetune", "classify", path, *typed])
        assert path in said
        assert part in said
    dev = broken(tmp_path / "dev.jsonl", [*rows[:3], {"text": "she sat", "label": "about birds"}])
    said = mistake(capsys, ["finetune", "classify", good, "--dev", dev, *typed])
    assert dev in said
    assert "row 4 has the label 'about birds' in 'label'; the training data has 'about pear', 'about river'" in said
    said = mistake(capsys, ["finetune", "entities", write_bad_conll(tmp_path / "bad.conll"), *typed])
    assert "bad.conll: row 1 (line 2) has the label 'PERSON' at the word 'sat'; expected O, B-" in said
    assert not (tmp_path / "run").exists()


def write_bad_conll(path: Path) -> str:
    path.write_text("she\tO\nsat\tPERSON\n\nby\tO\nhome\tB-place\n")
    return str(path)


def test_bad_rows_can_be_left_out(tmp_path, capsys) -> None:
    train = broken(tmp_path / "train.jsonl", [{"text": "she sat", "label": ""}, *class_rows(12)])
    typed = ["finetune", "classify", train, "--output", str(tmp_path / "run"), "--model", str(TINY), *FAST]
    assert "row 1" in mistake(capsys, typed)
    assert main([*typed, "--skip-bad", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["examples"] == 12


def test_labels_that_do_not_fit_the_head(tmp_path, capsys) -> None:
    assert main(arguments("classify", tmp_path, "--steps", "1")) == 0
    rows = [{**row, "label": row["label"].replace("about", "on")} for row in class_rows(12)]
    other = broken(tmp_path / "other.jsonl", rows)
    typed = ["finetune", "classify", other, "--output", str(tmp_path / "next"), "--model", str(tmp_path / "run"), *FAST]
    capsys.readouterr()
    said = mistake(capsys, typed)
    assert "has a head for 2 labels ('about pear', 'about river'), but the data asks for 2 ('on pear', 'on r" in said
    assert "--fresh-head" in said
    assert not (tmp_path / "next").exists()
    assert main([*typed, "--fresh-head", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == ["on pear", "on river"]


def test_a_rate_that_explodes_says_the_step(tmp_path, capsys) -> None:
    typed = [*arguments("classify", tmp_path), "--learning-rate", "1e38", "--warmup", "0", "--max-grad-norm", "0"]
    said = mistake(capsys, typed)
    assert re.search(r"At step \d of 8 the loss is (nan|inf) and the gradient's norm .* \(batch of examples \d", said)
    assert "Lower the learning rate" in said
    assert not (tmp_path / "run" / "model.safetensors").exists()


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """A limit on the size of files stands for a full disk: writing fails in the middle of a file."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_nothing_half_written(tmp_path, capsys) -> None:
    typed = arguments("classify", tmp_path)
    with files_of_at_most(20_000):
        said = mistake(capsys, typed)
    assert "cannot be written" in said
    run = tmp_path / "run"
    assert not (run / "model.safetensors").exists()
    assert not [path for path in run.rglob("*") if path.suffix in (".safetensors", ".part")]
    assert main(typed) == 0
    output = tmp_path / "out.jsonl"
    texts = broken(tmp_path / "texts.jsonl", class_rows(40))
    capsys.readouterr()
    with files_of_at_most(500):
        said = mistake(capsys, ["predict", str(run), "--input", texts, "--output", str(output)])
    assert str(output) in said
    assert not list(tmp_path.glob("*out.jsonl*"))


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (["--loss", "CoSENTLoss"], "--loss is not for the task classify; it has --column, --pair-column,"),
        (["--question-column", "x"], "--question-column is not for the task classify; it has --column, --pair-column,"),
        (["--labels", "O,B-X"], "--labels is not for the task classify"),
        (["--max-length", "999"], "max_length is 999; this model reads rows of 8 to 32 tokens"),
        (["--warmup", "7"], "warmup is 7.0; it must lie between 0 and 1"),
        (["--column", "body"], "no column called 'body' for the texts; it has text, label"),
        (["--model", "no/such/folder"], "'no/such/folder'"),
        (["--separator", ";"], "--separator is for texts with several labels each: give --multi-label, too"),
        (["--class-weights", "about pear=0"], "class_weights of 'about pear' is 0.0; expected a number above 0"),
        (["--class-weights", "pear=2"], "class_weights names 'pear'; the data has 'about pear', 'about river'"),
        (
            ["--class-weights", "1,2,3"],
            "class_weights has 3 numbers, and the data 2 labels: 'about pear', 'ab",
        ),
    ],
)
def test_slips_of_finetune(more: list[str], part: str, tmp_path, capsys) -> None:
    assert part in mistake(capsys, [*arguments("classify", tmp_path), *more])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "part"),
    [
        ([], "there is nothing to predict for"),
        (["a text", "--input", "x.csv"], "not both"),
        (["--input", "x.csv"], "--output FILE"),
        (["a text", "--output", "x.csv"], "--output is for a whole file"),
        (["a text", "--column", "x"], "--column is for a whole file"),
        (["a", "b", "c", "--pairs"], "3 texts cannot be taken two by two"),
        (["a text"], "was fine-tuned for none of the tasks here"),
        (["--input", "absent.csv", "--output", "x.csv"], "absent.csv does not exist"),
    ],
)
def test_slips_of_predict(more: list[str], part: str, tmp_path, capsys) -> None:
    folder = TINY
    if "--pairs" in more:
        folder = tmp_path / "run"
        assert main(arguments("classify", tmp_path, "--steps", "1")) == 0
        capsys.readouterr()
    assert part in mistake(capsys, ["predict", str(folder), *more])
