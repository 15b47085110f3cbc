"""``minibert predict`` between pipes: tables and JSON lines from standard input, predictions to standard output."""

import csv
import io
import json
from pathlib import Path

import pytest

from minibert.cli import main
from minibert.commands.streams import standard_input
from minibert.errors import CheckpointError, InputError
from minibert.finetuning import Predictor, finetune
from tests.support.command import mistake, run
from tests.support.toy_tasks import TINY, write_toy

CSV = 'id,text,row\n7,"a river, she","two\nlines"\n\n8,the pear,\n'
TSV = 'text\tlabel\nby "the" river\tgold\na pear\t\n'
JSONL = '{"text": "a river", "label": null}\n\n{"text": "a pear", "x": {"y": [1]}}\n'


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("classifier")
    finetune("classify", TINY, write_toy("classify", folder / "train", 32), folder / "run", steps=2)
    return str(folder / "run")


@pytest.fixture
def typed(classifier, monkeypatch):
    """Types ``minibert predict classifier …`` with bytes on standard input; returns the exit code."""

    def call(content: bytes, *more: str) -> int:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return main(["predict", classifier, *more])

    return call


@pytest.mark.parametrize(("kind", "content"), [("csv", CSV), ("tsv", TSV), ("jsonl", JSONL)])
def test_what_goes_out_is_what_a_file_has(kind: str, content: str, classifier, typed, tmp_path, capfdbinary) -> None:
    source, expected = tmp_path / f"x.{kind}", tmp_path / f"y.{kind}"
    source.write_text(content, encoding="utf-8")
    Predictor.from_pretrained(classifier).predict_file(source, expected)
    capfdbinary.readouterr()
    bom = b"\xef\xbb\xbf" + content.replace("\n", "\r\n").replace("two\r\n", "two\n").encode()
    for more, given in ((["-"], content.encode()), (["--input", "-", "--output", "-"], bom)):
        assert typed(given, "--format", kind, *more) == 0
        out, err = capfdbinary.readouterr()
        assert out == expected.read_bytes()
        assert err == b"minibert: standard output: 2 rows\n"


def test_the_names_and_the_order_of_columns(typed, capsys) -> None:
    assert typed(CSV.encode(), "-", "--format", "csv", "--id-column", "id") == 0
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(first) == ["row", "id", "input_row", "text", "label", "probability"]
    assert (first["id"], first["input_row"], first["text"]) == ("7", "two\nlines", "a river, she")
    assert (second["row"], second["input_row"]) == ("2", "")


def test_a_file_to_standard_output_and_a_stream_to_a_file(typed, classifier, tmp_path, capsys) -> None:
    (tmp_path / "x.txt").write_text("a river\n\na pear\n")
    assert main(["predict", classifier, "--input", str(tmp_path / "x.txt"), "--output", "-"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["text"] for line in lines] == ["a river", "", "a pear"]
    assert typed(b"a river\n", "-", "--format", "txt", "--output", "-") == 0
    assert json.loads(capsys.readouterr().out)["text"] == "a river"
    output = str(tmp_path / "y.csv")
    assert typed(TSV.encode(), "-", "--format", "tsv", "--output", output, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"output": output, "rows": 2, "skipped": 0, "truncated": 0}


def test_lines_that_look_like_a_table_get_a_hint(typed, capsys) -> None:
    for content, part in (
        (TSV, "holds fields with tabs between, and every line is read as a text; to read columns: --format tsv"),
        (JSONL, "holds an object of JSON, and every line is read as a text; to read columns: --format jsonl"),
    ):
        assert typed(content.encode(), "-") == 0
        assert part in capsys.readouterr().err
    assert typed(b"a\tb\n", "-", "--pairs") == 0
    assert typed(b"a river\n", "-") == 0
    assert capsys.readouterr().err == ""


def test_a_text_that_is_a_file_gets_a_hint(classifier, tmp_path, capsys) -> None:
    (tmp_path / "x.txt").write_text("a river\n")
    assert main(["predict", classifier, str(tmp_path / "x.txt")]) == 0
    assert "x.txt' is read as a text; for what is in the file: --input" in capsys.readouterr().err


def test_messages_name_the_stream(typed, capsys, caplog) -> None:
    for content, more, part in (
        (CSV, ["--format", "csv", "--column", "no"], "standard input has no column called 'no' for the texts; it has"),
        ("text\n\xff\n", ["--format", "csv"], "standard input: row 1 (line 2) is not UTF-8"),
        ("", ["--format", "csv"], "standard input is empty; its first line must name the columns"),
        ('text,a\nx,"y\tz"\n', ["--format", "csv", "--output", "y.csv", "--column", "b"], "standard input has no"),
        ('{"text": "a", "b": "c\\td"}\n', ["--format", "jsonl", "--json"], "standard output has the predictions"),
        (TSV, ["--column", "text"], "--column is for a whole file: give one with --input FILE; or - with --format"),
    ):
        assert typed(content.encode("latin-1"), "-", *more) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        assert part in printed.err
        assert "minibert-" not in printed.err  # the temporary folder
    assert typed(b"text\na\n\xff\n", "-", "--format", "csv", "--skip-bad") == 0
    assert "standard input: row 2 (line 3) is not UTF-8 (a byte is 0xff); such rows are left out" in caplog.text


def test_slips(classifier, tmp_path, capsys) -> None:
    (tmp_path / "x.csv").write_text(CSV)
    said = mistake(capsys, ["predict", classifier, "--input", str(tmp_path / "x.csv"), "--format", "csv"])
    assert "--format is for standard input, which is called -" in said
    said = mistake(capsys, ["predict", classifier, "--input", str(tmp_path / "x.csv")])
    assert "--output - for standard output" in said


def test_the_folder_is_removed_and_a_full_disk_is_said(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"text\n")))
    with pytest.raises(InputError, match="standard input is wrong"), standard_input(".csv") as path:
        assert path.read_bytes() == b"text\n"
        raise InputError(f"{path} is wrong")
    assert list(tmp_path.iterdir()) == []

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    sentence = r"Standard input cannot be kept in a temporary file.*\(No space left on device\)\. Make room there"
    with pytest.raises(CheckpointError, match=sentence), standard_input(".csv"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_in_a_shell(classifier, tmp_path) -> None:
    """In a process of its own, with a real standard input and output."""
    (tmp_path / "x.tsv").write_text(TSV)
    with Path(tmp_path / "x.tsv").open("rb") as file:
        found = run("predict", classifier, "-", "--format", "tsv", stdin=file)
    assert found.returncode == 0
    assert found.stdout.splitlines()[0] == "row\tinput_label\ttext\tlabel\tprobability"
    assert [line.split("\t")[1] for line in found.stdout.splitlines()[1:]] == ["gold", ""]
