"""Dev data that is training data is refused or counted; what is no file, checkpoint or task is a sentence."""

import json
import os
import shutil
from pathlib import Path

import pytest

from minibert import BertModel
from minibert.auto import load_architecture
from minibert.errors import InputError, MinibertError
from minibert.finetuning import finetune
from minibert.finetuning.devdata import read_of, warn_of_overlap
from minibert.finetuning.texts import LabelledText
from tests.support.toy_tasks import TINY, write_toy

WAYS = {
    "the same path": lambda train, dev: train,
    "another spelling": lambda train, dev: str(train.parent / "." / ".." / train.parent.name / train.name),
    "a link": lambda train, dev: dev.symlink_to(train),
    "a hard link": os.link,
    "a copy": shutil.copy,
}


@pytest.mark.parametrize("way", WAYS)
def test_a_dev_file_that_is_the_training_file_is_refused(way: str, tmp_path) -> None:
    train = Path(write_toy("classify", tmp_path / "train", 32))
    dev = tmp_path / f"dev{train.suffix}"
    given = WAYS[way](train, dev)
    with pytest.raises(InputError, match=r"The dev file .* is the training file.*Name another file"):
        finetune("classify", TINY, train, tmp_path / "run", dev if dev.exists() else given)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("task", ["classify", "score", "entities", "answers"])
def test_dev_rows_that_are_training_rows_are_counted(task: str, tmp_path, caplog) -> None:
    train = Path(write_toy(task, tmp_path / "train", 24))
    lines = train.read_text(encoding="utf-8")
    dev = tmp_path / f"dev{train.suffix}"
    if train.suffix == ".json":
        data = json.loads(lines)
        dev.write_text(json.dumps({**data, "version": "another"}), encoding="utf-8")
    else:
        dev.write_text(lines + "\n", encoding="utf-8")
    finetune(task, TINY, train, tmp_path / "run", dev, steps=1)
    assert "24 of 24 dev rows are in the training data, too" in caplog.text


def test_labels_and_spaces_do_not_count(caplog) -> None:
    rows = [LabelledText("a film", "good"), LabelledText(("one", "two"), "bad")]
    assert read_of(LabelledText("a  film ", "x")) == read_of(rows[0]) != read_of(rows[1])
    warn_of_overlap(
        rows, [LabelledText("a film", "bad"), LabelledText(("one", "too"), "bad"), LabelledText("one", "bad")]
    )
    assert "1 of 3 dev rows" in caplog.text
    caplog.clear()
    warn_of_overlap(rows, [LabelledText("another", "bad")])
    assert caplog.text == ""


WRONG = [None, 5, 1.5, True, [{"text": "a", "label": "b"}], {"text": ["a"]}, object(), b"\xff", ("a",), ["x.csv"]]


PLACES = ("task", "model", "train_file", "output", "dev_file", "batch_size")
RIGHT = (("dev_file", None), ("batch_size", 5))


@pytest.mark.parametrize(
    ("place", "value"),
    [(place, value) for place in PLACES for value in WRONG if (place, value) not in RIGHT],
    ids=lambda part: part if isinstance(part, str) else type(part).__name__,
)
def test_what_is_handed_over_from_python(place: str, value, tmp_path) -> None:
    given = {
        "task": "classify", "model": TINY, "train_file": write_toy("classify", tmp_path / "train", 8),
        "output": tmp_path / "run", "dev_file": write_toy("classify", tmp_path / "dev", 8, seed=1), "batch_size": 8,
    }  # fmt: skip
    with pytest.raises(MinibertError) as caught:
        finetune(**{**given, place: value}, steps=1)
    assert len(str(caught.value)) > 20


def test_a_model_in_memory_is_told_where_to_go(tmp_path) -> None:
    model = BertModel(load_architecture(TINY).config)
    with pytest.raises(InputError, match=r"model is a BertModel in memory; give the folder that it was saved to"):
        finetune("classify", model, write_toy("classify", tmp_path / "train", 8), tmp_path / "run")
