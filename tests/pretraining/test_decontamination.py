"""A file that is named for training and held out is held out: however it is spelled, linked, copied or wrapped."""

import csv
import gzip
import json
import os
import random
import shutil
from pathlib import Path

import pytest

from minibert.cli import main
from minibert.errors import InputError
from minibert.pretraining.decontamination import HeldOut, without_heldout
from minibert.pretraining.documents import read_documents
from minibert.pretraining.files import files_of
from minibert.pretraining.run import TrainingText, remove_heldout_files
from tests.support import command
from tests.support.toy_tasks import toy_checkpoint

SECRET = [
    "Ω opened the quiet door and went out into the garden.",
    "ΩΩ waited there for him until the evening came at last.",
]
OTHER = ["The cat sat on the mat and looked at all the birds.", "A dog ran to the river and drank some of the water."]


def story(sentences: list[str], count: int, seed: int) -> str:
    """Documents of two sentences each, a number in every one so that none is another."""
    draw = random.Random(seed)
    return "\n\n".join("\n".join(f"{draw.randint(0, 10**6)} {one}" for one in sentences) for _ in range(count)) + "\n"


@pytest.fixture
def books(tmp_path) -> Path:
    folder = tmp_path / "books"
    (folder / "more").mkdir(parents=True)
    (folder / "X.txt").write_text(story(SECRET, 6, 1), encoding="utf-8")
    (folder / "Y.txt").write_text(story(OTHER, 30, 2), encoding="utf-8")
    return folder


def secret_text(books: Path) -> str:
    return (books / "X.txt").read_text(encoding="utf-8")


def as_cells(books: Path) -> list[str]:
    return [part for part in secret_text(books).split("\n\n") if part.strip()]


def parquet(path: Path, texts: list[str]) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    pyarrow.parquet.write_table(pyarrow.table({"text": texts}), path)


def table(path: Path, texts: list[str]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *enumerate(texts)])


def json_lines(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


# How the held-out file comes among the training files a second time; each is put into books/.
WAYS = {
    "the same path": lambda books: None,
    "a symbolic link": lambda books: (books / "link.txt").symlink_to(books / "X.txt"),
    "a relative symbolic link": lambda books: (books / "link.txt").symlink_to("X.txt"),
    "a link to a link": lambda books: [(books / "a.txt").symlink_to("X.txt"), (books / "b.txt").symlink_to("a.txt")],
    "a hard link": lambda books: os.link(books / "X.txt", books / "hard.txt"),
    "a copy": lambda books: shutil.copy(books / "X.txt", books / "copy.txt"),
    "a copy in a sub-folder": lambda books: shutil.copy(books / "X.txt", books / "more" / "deep.txt"),
    "a link in a sub-folder": lambda books: (books / "more" / "link.txt").symlink_to("../X.txt"),
    "Windows line ends": lambda books: (books / "w.txt").write_bytes(secret_text(books).replace("\n", "\r\n").encode()),
    "a byte-order mark": lambda books: (books / "b.txt").write_text("\ufeff" + secret_text(books), encoding="utf-8"),
    "other spaces": lambda books: (books / "s.txt").write_text(secret_text(books).replace(" ", "  "), encoding="utf-8"),
    "compressed": lambda books: (books / "z.txt.gz").write_bytes(gzip.compress(secret_text(books).encode())),
    "with other text": lambda books: (books / "all.txt").write_text(secret_text(books) + "\n" + story(OTHER, 3, 5)),
    "cells of a jsonl": lambda books: json_lines(books / "x.jsonl", as_cells(books)),
    "a cell of a jsonl": lambda books: json_lines(books / "x.jsonl", [secret_text(books), "Something else."]),
    "cells of a csv": lambda books: table(books / "x.csv", as_cells(books)),
    "cells of a parquet": lambda books: parquet(books / "x.parquet", as_cells(books)),
}


# A file of prose is one document: with other text in it, it is another, which a test of its own looks at.
@pytest.mark.parametrize(
    ("way", "prose"),
    [(way, prose) for way in WAYS for prose in (False, True) if (way, prose) != ("with other text", True)],
)
def test_every_way_a_file_can_be_in_both(books, way: str, prose: bool) -> None:
    WAYS[way](books)
    text = TrainingText(files_of([books]), (books / "X.txt",), reading={"split_sentences": prose})
    text, _ = remove_heldout_files(text)
    learned = [sentence for document in text.documents(held_out=False) for sentence in document.sentences]
    assert learned and not [sentence for sentence in learned if "Ω" in sentence]
    kept = [sentence for document in text.documents(held_out=True) for sentence in document.sentences]
    assert len(kept) == 12 and all("Ω" in sentence for sentence in kept)


@pytest.mark.parametrize(
    "spelling", ["books/X.txt", "./books/X.txt", "books/../books/X.txt", "books//X.txt", "absolute", "folder"]
)
def test_every_spelling_of_the_path(books, monkeypatch, spelling: str) -> None:
    monkeypatch.chdir(books.parent)
    heldout = {"absolute": str(books / "X.txt"), "folder": str(books / "more" / ".." / "X.txt")}.get(spelling, spelling)
    for given in ("books", str(books), "books/", "./books/more/.."):
        files, taken = without_heldout(files_of([given]), files_of([heldout]))
        assert [Path(file).name for file in files] == ["Y.txt"] and len(taken) == 1


def test_another_case_where_the_file_system_ignores_it(books) -> None:
    if not (books / "x.TXT").exists():
        pytest.skip("this file system tells large letters from small ones")
    files, _ = without_heldout(files_of([books]), (books / "x.TXT",))
    assert [Path(file).name for file in files] == ["Y.txt"]


def test_a_part_of_a_held_out_document_is_held_out_and_a_short_one_is_not(tmp_path) -> None:
    (tmp_path / "kept.txt").write_text("\n".join([*SECRET, "So it was."]), encoding="utf-8")
    held_out = HeldOut(read_documents(tmp_path / "kept.txt"))
    (tmp_path / "t.txt").write_text(f"{SECRET[1]}\n\nSo it was.\n\n{SECRET[1]}\nSo it was.\n\n{SECRET[0]}\nAnd more.")
    found = list(read_documents(tmp_path / "t.txt"))
    assert [held_out.contains(document) for document in found] == [True, False, True, False]
    assert [held_out.overlap(document) for document in found] == [1, 0, 1, 1]


def run(books: Path, output: Path, *options: str) -> list[str]:
    model = books.parent / "toy"
    if not model.exists():
        toy_checkpoint(model)
    return [
        "pretrain", str(books), "--output", str(output), "--config", str(model / "config.json"), "--vocab-size", "90",
        "--max-length", "32", "--step-tokens", "256", "--steps", "1", *options,
    ]  # fmt: skip


def test_the_command_says_it_in_one_sentence_and_the_vocabulary_never_saw_it(books, tmp_path, capsys) -> None:
    pytest.importorskip("tokenizers")
    shutil.copy(books / "X.txt", books / "copy.txt")
    json_lines(books / "x.jsonl", as_cells(books)[:2])
    assert main(run(books, tmp_path / "run", "--heldout", str(books / "X.txt"))) == 0
    said = capsys.readouterr().err
    assert (
        f"Held out, and so taken out of the training text and the vocabulary: {books}/X.txt, {books}/copy.txt (the "
        f"same as {books}/X.txt), 2 documents of {books}/x.jsonl.\n"
    ) in said
    assert "Training text: 30 documents, 60 sentences (the longest of " in said
    assert "Held out: 6 documents, 12 sentences" in said
    assert "Ω" not in (tmp_path / "run/vocab.txt").read_text(encoding="utf-8")
    from safetensors import safe_open

    with safe_open(tmp_path / "run/data/training.safetensors", framework="pt") as file:
        assert file.get_slice("documents").get_shape() == [31]  # 30 documents
    assert main(run(books, tmp_path / "run", "--heldout", str(books / "X.txt"))) == 0  # and it goes on


def test_a_training_text_that_contains_the_held_out_one_is_told(books, tmp_path, capsys) -> None:
    pytest.importorskip("tokenizers")
    (books / "all.txt").write_text(secret_text(books) + "\n" + story(OTHER, 3, 5), encoding="utf-8")
    assert main(run(books, tmp_path / "run", "--prose", "--heldout", str(books / "X.txt"))) == 0
    said = capsys.readouterr().err
    assert "12 sentences of 40 letters or more stand in the training text and in held-out text" in said


@pytest.mark.parametrize("way", ["X.txt", "copy.txt", "x.jsonl"])
def test_nothing_left_to_learn_from(books, tmp_path, way: str, capsys) -> None:
    shutil.copy(books / "X.txt", books / "copy.txt")
    json_lines(books / "x.jsonl", as_cells(books))
    assert main(run(books / way, tmp_path / "run", "--heldout", str(books / "X.txt"))) == 2
    assert "held out" in (said := capsys.readouterr().err) and "so there is nothing to learn from" in said
    assert not (tmp_path / "run").exists()


def test_a_file_named_twice_is_read_once(books, caplog) -> None:
    (books / "link.txt").symlink_to("X.txt")
    files = files_of([books, books / "Y.txt", str(books / "more" / ".." / "Y.txt")])
    assert [file.name for file in files] == ["X.txt", "Y.txt"]
    assert "Named twice, and read once: " in caplog.text and caplog.text.count("Y.txt") == 2


def test_folders_are_looked_into(books, tmp_path, caplog) -> None:
    caplog.set_level("INFO")
    for name in (
        "more/a.txt",
        "more/b/c.jsonl",
        ".hidden.txt",
        ".git/x.txt",
        "cover.jpg",
        "notes.pdf",
        "run/vocab.txt",
    ):
        (books / name).parent.mkdir(parents=True, exist_ok=True)
        (books / name).write_text('{"text": "a"}')
    (books / "run" / "config.json").write_text("{}")
    (books / "output").mkdir()
    (books / "output" / "vocab.txt").write_text("[PAD]")
    (books / "loop").symlink_to(books)
    os.mkfifo(books / "pipe.txt")
    found = files_of([books], books / "output")
    assert [str(file.relative_to(books)) for file in found] == ["X.txt", "Y.txt", "more/a.txt", "more/b/c.jsonl"]
    said = f"{books}: 4 files in 3 folders; left out: 2 hidden, 2 folders of checkpoints or runs, "
    assert said in caplog.text and ", 2 others." in caplog.text
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".x.txt").write_text("a")
    with pytest.raises(InputError, match=r"holds no file to read \(1 hidden\); read are \.txt, \.csv"):
        files_of([tmp_path / "empty"])


@pytest.mark.slow
@pytest.mark.crash
def test_torchrun_agrees_on_what_is_held_out(books, tmp_path) -> None:
    """Every worker takes the same files out, and only the first says so."""
    pytest.importorskip("tokenizers")
    done = command.run(*run(books, tmp_path / "run", "--heldout", str(books / "X.txt")), workers=2)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr.count("Held out, and so taken out of the training text") == 1
    assert "FutureWarning" not in done.stderr
