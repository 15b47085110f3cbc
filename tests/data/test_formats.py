"""The table of inputs: what is read, compressed or not; what is refused, by its ending or its bytes, and how."""

import gzip
import json
from functools import partial
from pathlib import Path

import pytest

from minibert.data.columns import TEXTS, usual_name
from minibert.data.formats import REFUSED, USES, check_format
from minibert.data.opening import open_rows, open_texts
from minibert.errors import InputError
from minibert.finetuning.answers import Answers
from minibert.finetuning.classify import Classify
from minibert.finetuning.entities import Entities

zipped = partial(gzip.compress, mtime=0)  # the same bytes, and so the same name of a test, in every worker
ROWS = [{"document": "a film to see", "label": "fun"}, {"document": "나무", "label": "long"}]
CONTENT = {
    ".csv": "document,label\na film to see,fun\n나무,long\n",
    ".tsv": "document\tlabel\na film to see\tfun\n나무\tlong\n",
    ".jsonl": "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS),
}


def write(path: Path, content: str | bytes) -> Path:
    data = content if isinstance(content, bytes) else content.encode()
    path.write_bytes(zipped(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("ending", CONTENT)
@pytest.mark.parametrize("compressed", ["", ".gz", ".GZ"])
def test_embed_and_finetune_read_and_guess_alike(tmp_path, ending: str, compressed: str) -> None:
    path = write(tmp_path / f"x{ending}{compressed.lower()}", CONTENT[ending])
    path = path.rename(tmp_path / f"x{ending}{compressed}")
    assert [row.text for row in open_texts(path)] == ["a film to see", "나무"]
    assert [row.text for row in Classify().read(path)] == ["a film to see", "나무"]


def test_the_guess_is_said(tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    open_texts(write(tmp_path / "x.csv", CONTENT[".csv"]))
    assert "the texts are those of the column 'document'" in caplog.text


def test_compressed_lines_words_and_questions(tmp_path) -> None:
    assert [row.text for row in open_texts(write(tmp_path / "x.txt.gz", "\ufeffone\ntwo\n"))] == ["one", "two"]
    words = write(tmp_path / "x.conll.gz", "Kim\tB-PER\ncame\tO\n")
    assert Entities().read(words)[0].words == ["Kim", "came"]
    squad = {"data": [{"paragraphs": [{"context": "It rains.", "qas": [
        {"question": "What?", "answers": [{"text": "rains", "answer_start": 3}]}]}]}]}  # fmt: skip
    assert Answers().read(write(tmp_path / "x.json.gz", json.dumps(squad)))[0].question == "What?"


def test_columns_by_number_and_tabs_in_a_csv(tmp_path) -> None:
    """What fine-tuning reads, embed reads, too."""
    path = write(tmp_path / "x.csv", "17\ta film\n18\ta book\n")
    assert [(row.id, row.text) for row in open_texts(path, "2", "1")] == [("17", "a film"), ("18", "a book")]


def test_usual_names() -> None:
    assert usual_name(["id", "Review", "TEXT"]) == "TEXT" and usual_name(["id", "label"]) is None
    assert set(TEXTS) >= {"text", "sentence", "document", "review"}


@pytest.mark.parametrize("use", USES)
def test_endings_that_are_no_text_are_refused(tmp_path, use: str) -> None:
    for ending, (what, advice) in REFUSED.items():
        path = write(tmp_path / f"x{ending}", "some text\n")
        with pytest.raises(InputError) as caught:
            check_format(path, use)
        assert what in str(caught.value) and advice in str(caught.value) and str(path) in str(caught.value)


BYTES = {
    "pdf": (b"%PDF-1.7\n", "is a PDF"),
    "docx": (b"PK\x03\x04" + b"\0" * 30, "a zip archive, as .docx, .xlsx"),
    "xls": (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an older Office document"),
    "zst": (b"\x28\xb5\x2f\xfd\x04", r"compressed with zstd. Call it x\.txt\.zst, or decompress it: zstd -d"),
    "bz2": (b"BZh91AY", "compressed with bzip2"),
    "xz": (b"\xfd7zXZ\x00", "compressed with xz"),
    "png": (b"\x89PNG\r\n\x1a\n", "a picture"),
    "gz": (zipped(b"text"), r"compressed with gzip. Call it x\.txt\.gz"),
    "parquet": (b"PAR1\x15\x04", "is a parquet file"),
    "html": (b"\n<!DOCTYPE html><p>text", "text with markup"),
    "elf": (b"\x7fELF\x02", "a program's own data"),
}


@pytest.mark.parametrize("kind", BYTES)
@pytest.mark.parametrize("use", USES)
def test_first_bytes_tell_more_than_an_ending(tmp_path, kind: str, use: str) -> None:
    content, sentence = BYTES[kind]
    ending = USES[use].endings[0] if use in ("questions", "words") else ".txt"
    (tmp_path / f"x{ending}").write_bytes(content)
    with pytest.raises(InputError, match=sentence.replace(r"\.txt", ending)):
        check_format(tmp_path / f"x{ending}", use)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("x.json", b"[]", r"ends in '\.json', one value for the whole file.* Rows of JSON, one object a line"),
        ("x.parquet.gz", zipped(b"PAR1"), "is compressed already"),
        ("x.tar.gz", zipped(b"x"), "an archive"),
        ("x.txt.gz", b"plain", r"ends in \.gz and is not compressed"),
        ("x.txt.gz", zipped(b"text" * 99)[:20], "cannot be read"),
        ("x.gz", zipped(b"text"), "ends in '.gz'"),
        ("x.csv.gz", zipped(b"text\n" + bytes(range(256)) * 500)[:-400] + bytes(400), "cannot be read to its"),
    ],
)
def test_other_refusals(tmp_path, name: str, content: bytes, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        list(open_texts(tmp_path / name))


@pytest.mark.parametrize("given", [None, 5, {"text": "a"}, 1.5, object(), b"\xff", [1, 2]])
def test_what_is_no_path_is_a_sentence(given) -> None:
    for read in (open_rows, open_texts, Classify().read, Entities().read, Answers().read):
        with pytest.raises(InputError, match=r"the path of a file|no columns"):
            read(given)
