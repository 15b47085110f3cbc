"""Fine-tuning and predictions from rows in memory: as from a file, and a run recognises its rows again."""

import gzip
import json
from pathlib import Path

import pytest
import torch

from minibert.errors import InputError
from minibert.finetuning import Predictor, evaluate, finetune
from minibert.pretrained import BertPreTrainedModel
from tests.support.toy_tasks import TINY, class_rows, question_rows, write_jsonl

TRAIN, DEV = class_rows(24), class_rows(8, seed=1)


def frame(rows: list[dict]):
    return pytest.importorskip("pandas").DataFrame(rows)


def dataset(rows: list[dict]):
    return pytest.importorskip("datasets").Dataset.from_list(rows)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return Predictor.from_pretrained(folder).model.state_dict()


@pytest.mark.parametrize("kind", [frame, dataset, list])
def test_a_run_is_that_of_the_file_and_goes_on_with_the_same_rows(kind, tmp_path) -> None:
    files = write_jsonl(tmp_path / "train.jsonl", TRAIN), write_jsonl(tmp_path / "dev.jsonl", DEV)
    finetune("classify", TINY, files[0], tmp_path / "file", files[1], steps=4, batch_size=8)
    arguments = {"steps": 4, "batch_size": 8}
    found = finetune("classify", TINY, kind(TRAIN), tmp_path / "run", kind(DEV), stop_after=2, **arguments)
    assert found.steps == 2
    found = finetune("classify", TINY, kind(TRAIN), tmp_path / "run", kind(DEV), **arguments)
    assert found.steps == 4 and 0 <= found.scores["accuracy"] <= 1
    expected = weights(tmp_path / "file")
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(tmp_path / "run").items())
    with pytest.raises(InputError, match="holds a run with data of other contents. To go on with"):
        finetune("classify", TINY, kind(TRAIN[1:]), tmp_path / "run", kind(DEV), **arguments)
    with pytest.raises(InputError, match="holds a run with data in 2 files, and this one has 1. To go on with"):
        finetune("classify", TINY, kind(TRAIN), tmp_path / "run", **arguments)


def test_tuples_and_a_share(tmp_path) -> None:
    rows = [(row["text"], row["label"]) for row in TRAIN]
    found = finetune("classify", TINY, rows, tmp_path / "run", "25%", steps=1)
    assert found.examples == 18 and found.labels == ("about pear", "about river")


def test_which_of_the_two_has_the_mistake(tmp_path) -> None:
    with pytest.raises(InputError, match=r"^Row 9 of the DataFrame \(dev data\) has (nan|None) in 'text'"):
        finetune("classify", TINY, frame(TRAIN), tmp_path / "run", frame([*DEV, {"text": None, "label": "about pear"}]))
    with pytest.raises(InputError, match=r"^Row 25 of the list of dicts \(training data\) has no 'label'"):
        finetune("classify", TINY, [*TRAIN, {"text": "x"}], tmp_path / "run", DEV)
    with pytest.raises(InputError, match=r"^the training data is a dict\."):
        finetune("classify", TINY, {"text": ["a"]}, tmp_path / "run")
    with pytest.raises(InputError, match=r"The rows of the DataFrame \(dev data\) are those of the list of dicts"):
        finetune("classify", TINY, TRAIN, tmp_path / "run", frame(TRAIN))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("kind", [frame, dataset, list])
def test_predictions(kind, trained, tmp_path) -> None:
    predictor = Predictor.from_pretrained(trained["classify"][0])
    assert isinstance(predictor.model, BertPreTrainedModel)
    rows = [{"key": f"k{number}", **row} for number, row in enumerate(class_rows(20, seed=7))]
    file = write_jsonl(tmp_path / "x.jsonl", rows)
    expected, found = tmp_path / "expected.jsonl", tmp_path / "found.jsonl"
    predictor.predict_file(file, expected, id_column="key")
    report = predictor.predict_file(kind(rows), found, id_column="key")
    assert report.rows == 20 and found.read_bytes() == expected.read_bytes()
    assert predictor(kind(rows)) == predictor([row["text"] for row in rows])
    with pytest.raises(InputError, match=r"^Row 2 of the (DataFrame|Dataset|list of dicts) has"):
        predictor.predict_file(kind([{"text": "a"}, {"text": None}]), tmp_path / "y.csv")
    assert not (tmp_path / "y.csv").exists()


def test_texts_pairs_and_questions(trained, tmp_path) -> None:
    classify = Predictor.from_pretrained(trained["classify"][0])
    texts = [row["text"] for row in class_rows(5, seed=7)]
    classify.predict_file(texts, tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text(encoding="utf-8").splitlines()[0].startswith("row,text,label")
    assert classify.predict_file([("a", "b"), ("c", "d")], tmp_path / "y.jsonl").rows == 2
    answers = Predictor.from_pretrained(trained["answers"][0])
    rows = question_rows(5, seed=7)
    pairs = [(row["question"], row["context"]) for row in rows]
    assert answers.predict_file(pairs, tmp_path / "z.jsonl").rows == 5
    assert answers(rows) == answers(pairs)


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".tsv"])
def test_compressed_predictions(ending: str, trained, tmp_path) -> None:
    predictor = Predictor.from_pretrained(trained["classify"][0])
    rows = class_rows(5, seed=7)
    predictor.predict_file(rows, tmp_path / f"x{ending}")
    predictor.predict_file(rows, tmp_path / f"x{ending}.gz")
    compressed = (tmp_path / f"x{ending}.gz").read_bytes()
    assert gzip.decompress(compressed) == (tmp_path / f"x{ending}").read_bytes()
    predictor.predict_file(rows, tmp_path / f"y{ending}.gz")
    assert (tmp_path / f"y{ending}.gz").read_bytes() == compressed
    for name in ("x.gz", f"x{ending}.zst", "x.parquet.gz"):
        with pytest.raises(InputError, match=r"predictions are written as \.jsonl, \.csv, \.tsv, also with \.gz"):
            predictor.predict_file(rows, tmp_path / name)


def test_predictions_read_what_they_wrote(trained, tmp_path) -> None:
    predictor = Predictor.from_pretrained(trained["classify"][0])
    predictor.predict_file(class_rows(5, seed=7), tmp_path / "x.jsonl.gz")
    predictor.predict_file(tmp_path / "x.jsonl.gz", tmp_path / "y.jsonl", column="text")
    lines = (tmp_path / "y.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["label"] == json.loads(line)["input_label"] for line in lines] == [True] * 5


@pytest.mark.parametrize("kind", [frame, dataset, list])
def test_scores(kind, trained, tmp_path) -> None:
    folder, rows = trained["classify"][0], class_rows(20, seed=7)
    expected = evaluate(folder, write_jsonl(tmp_path / "x.jsonl", rows), resamples=5)
    found = evaluate(folder, kind(rows), resamples=5)
    assert found.scores == expected.scores and found.file.endswith("(test data)")
    with pytest.raises(InputError, match=r"^Row 1 of the .* \(test data\) has the label 'other' in 'label'"):
        evaluate(folder, kind([{"text": "a", "label": "other"}]))
