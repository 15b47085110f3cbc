"""Entities as spans: every spelling of them, every way in which they can be wrong, learned and found exactly."""

import logging
import random
from pathlib import Path

import pytest

from minibert import BertConfig, BertTokenizer, InputError
from minibert.data.sentences import entities_of
from minibert.finetuning import Predictor, finetune
from minibert.finetuning.entities import Entities
from tests.support.toy_tasks import FAST, TINY, tagged, write_conll, write_jsonl

TEXT = "Kim in 서울에서"
ROW = {"text": TEXT, "entities": [{"start": 0, "end": 3, "label": "PER"}, {"start": 7, "end": 9, "label": "LOC"}]}
LABELS = ["B-PER", "I-PER", "I-PER", "O", "O", "O", "O", "B-LOC", "I-LOC", "O", "O"]
SPELLINGS = {
    "ours, spaCy": ROW,
    "prodigy": {"text": TEXT, "tokens": [{"text": "Kim", "start": 0, "end": 3, "id": 0}], "answer": "accept",
                "spans": [{"start": 0, "end": 3, "token_start": 0, "label": "PER"}, ROW["entities"][1]]},
    "doccano": {"id": 1, "text": TEXT, "label": [[0, 3, "PER"], [7, 9, "LOC"]]},
    "older doccano": {"text": TEXT, "labels": [[7, 9, "LOC"], [0, 3, "PER"]]},
    "newer doccano": {"text": TEXT, "relations": [], "entities": [
        {"id": 1, "label": "PER", "start_offset": 0, "end_offset": 3},
        {"id": 2, "label": "LOC", "start_offset": 7, "end_offset": 9}]},
    "Label Studio": {"text": TEXT, "label": [{"start": 0, "end": 3, "text": "Kim", "labels": ["PER"]},
                                             {"start": 7, "end": 9, "text": "서울", "labels": ["LOC"]}]},
    "lists": {"text": TEXT, "entities": {"start": [0, 7], "end": [3.0, 9.0], "label": ["PER", "LOC"]}},
    "spaces": {"text": TEXT, "entities": [[0, 4, "PER"], [6, 9, "LOC"]]},
    "twice": {"text": TEXT, "entities": [[0, 3, "PER"], [0, 3, "PER"], [7, 9, "LOC"]]},
}  # fmt: skip


def read(path: Path, row: dict, **choices):
    return Entities(**choices).read(write_jsonl(path / "x.jsonl", [row]))


@pytest.mark.parametrize("kind", SPELLINGS)
def test_every_spelling(tmp_path, kind: str, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        (found,) = read(tmp_path, SPELLINGS[kind])
    assert ("".join(found.words), found.labels) == (TEXT, LABELS)
    assert ("2 entities begin or end with white space" in caplog.text) == (kind == "spaces")
    settings = Entities().settings([found])
    assert list(settings["label2id"]) == ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
    assert settings["label_units"] == "characters"


def test_columns_by_name_numbers_and_parquet(tmp_path) -> None:
    row = {"body text": TEXT, "marks": [[0, 3, 1], [7, 9, 0]], "tokens": [], "labels": []}
    choices = {"column": "body text", "spans_column": "marks", "label_names": ("LOC", "PER")}
    assert read(tmp_path, row, **choices)[0].labels == LABELS
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([ROW]), tmp_path / "x.parquet")
    assert Entities().read(tmp_path / "x.parquet")[0].labels == LABELS


BAD = {
    "outside": ([[0, 30, "PER"]], "row 1 has an entity from 0 to 30 in 'entities'; its text has 11 characters"),
    "before": ([[-1, 3, "PER"]], "row 1 has an entity from -1 to 3 in 'entities'"),
    "backwards": ([[3, 0, "PER"]], "row 1 has an entity from 3 to 0 in 'entities'"),
    "empty": ([[3, 3, "PER"]], "row 1 has an entity from 3 to 3 in 'entities' that is empty"),
    "a space": ([[3, 4, "PER"]], "row 1 has an entity from 3 to 4 in 'entities' that is empty"),
    "overlap": ([[0, 3, "PER"], [2, 6, "LOC"]], r"that overlap: 'Kim' \(PER, 0–3\) and 'm in' \(LOC, 2–6\)"),
    "two kinds": ([[0, 3, "PER"], [0, 3, "LOC"]], r"that overlap: 'Kim' \(LOC, 0–3\) and 'Kim' \(PER, 0–3\)"),
    "text": ([{"start": 0, "end": 3, "label": "PER", "text": "서울"}],
             "has the entity '서울' from 0 to 3, where its text has 'Kim'; it stands at 7"),
    "nowhere": ([{"start": 0, "end": 3, "label": "PER", "text": "Lee"}], "it stands nowhere in the text"),
    "true": ([[True, 3, "PER"]], "start and end are whole numbers of characters"),
    "half": ([[0.5, 3, "PER"]], "start and end are whole numbers of characters"),
    "text for a number": ([["0", 3, "PER"]], "start and end are whole numbers of characters"),
    "no label": ([{"start": 0, "end": 3}], "expected a span: start, end, label"),
    "two": ([[0, 3]], "expected a span: start, end, label"),
    "a name": (["PER"], "expected a span: start, end, label"),
    "empty label": ([[0, 3, " "]], "expected the kind of an entity, such as PER"),
    "BIO": ([[0, 3, "B-PER"]], "has the label 'B-PER' in 'entities'; a span has the kind alone, such as PER"),
    "number": ([[0, 3, 1]], "has labels that are numbers in 'entities'; say what they mean: --labels PER,LOC"),
    "null": (None, "row 1 has None in 'entities', expected a list of spans"),
    "words": ("PER", "row 1 has 'PER' in 'entities', expected a list of spans"),
    "lists": ({"start": [0], "end": [], "label": ["PER"]}, "expected as many starts as ends and labels"),
    "none": ([], "there is no entity to learn from"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_spans_that_are_none(tmp_path, kind: str) -> None:
    spans, sentence = BAD[kind]
    with pytest.raises(InputError, match=sentence):
        read(tmp_path, {"text": TEXT, "entities": spans})


def test_a_dev_file_and_a_file_of_words(tmp_path) -> None:
    config = BertConfig(**Entities().settings(read(tmp_path, ROW)))
    assert len(Entities().read(write_jsonl(tmp_path / "y.jsonl", [ROW, {"text": "so", "entities": []}]), config)) == 2
    with pytest.raises(InputError, match="row 1 has an entity 'ORG' in 'entities'; the training data has 'LOC', 'PER'"):
        Entities().read(write_jsonl(tmp_path / "z.jsonl", [{"text": TEXT, "entities": [[0, 3, "ORG"]]}]), config)
    (tmp_path / "x.conll").write_text("Kim\tB-PER\n")
    with pytest.raises(InputError, match="labels words, and the training data characters; they must be alike"):
        Entities().read(tmp_path / "x.conll", config)
    with pytest.raises(InputError, match="has a word and its label a line, and no spans"):
        Entities(spans_column="spans").read(tmp_path / "x.conll")


def test_random_spans_come_back_and_broken_ones_never_raise_anything_else(tmp_path) -> None:
    draw = random.Random(5)
    letters = "ab 서울é😀\n"
    rows = []
    for _ in range(200):
        text = "".join(draw.choices(letters, k=draw.randint(1, 30)))
        ends = sorted(draw.sample(range(len(text) + 1), k=min(len(text) + 1, 2 * draw.randint(0, 3)) // 2 * 2))
        spans = [(a, b, draw.choice("XY")) for a, b in zip(ends[::2], ends[1::2], strict=True)]
        rows.append((text, [span for span in spans if text[span[0] : span[1]].strip()]))
    rows.append(("ab", [(0, 1, "X")]))
    found = Entities().read(write_jsonl(tmp_path / "x.jsonl", [{"text": a, "spans": b} for a, b in rows]))
    for (text, spans), one in zip(rows, found, strict=True):
        got = [(text[a:b], kind) for kind, a, b in entities_of(one.labels)]
        assert got == [(text[a:b].strip(), kind) for a, b, kind in spans]
    wrong = (None, True, -1, 99, 1.5, float("nan"), "x", [], {}, [1], {"start": 1}, [0, 1], [[0, 1, "X"]], 10**30)
    for _ in range(400):
        span = [draw.choice((0, *wrong)), draw.choice((1, *wrong)), draw.choice(("X", *wrong))]
        spans = draw.choice(
            ([span], span, draw.choice(wrong), [dict(zip(("start", "end", "label"), span, strict=True))])
        )
        try:
            read(tmp_path, {"text": "ab c", "entities": spans})
        except InputError as error:
            assert str(tmp_path) in str(error)


def span_rows(count: int, seed: int) -> list[dict]:
    """The toy of entities, as texts with spans."""
    rows = []
    for words, labels in tagged(count, seed):
        starts = [len(" ".join(words[:n])) + (n > 0) for n in range(len(words))]
        spans = [
            {"start": starts[a], "end": starts[b - 1] + len(words[b - 1]), "label": kind}
            for kind, a, b in entities_of(labels)
        ]
        rows.append({"text": " ".join(words), "entities": spans})
    return rows


def test_a_toy_is_learned_and_found_to_the_character(toy, tmp_path) -> None:
    train = write_jsonl(tmp_path / "train.jsonl", span_rows(128, 0))
    dev = write_jsonl(tmp_path / "dev.jsonl", span_rows(32, 1))
    report = finetune("entities", toy, train, tmp_path / "model", dev, **FAST)
    assert report.labels == ("B-fruit", "B-place", "I-fruit", "I-place", "O")
    assert report.scores["f1"] == 1.0
    predictor = Predictor.from_pretrained(tmp_path / "model")
    for row in span_rows(20, 1):
        found = [{"start": one.start, "end": one.end, "label": one.label} for one in predictor(row["text"])]
        assert found == row["entities"]
    with pytest.raises(InputError, match="labels words, and the training data characters"):
        finetune("entities", toy, train, tmp_path / "none", write_conll(tmp_path / "x.conll", tagged(4)), **FAST)


def test_half_a_piece_is_said(toy, tmp_path, caplog) -> None:
    rows = Entities().read(write_jsonl(tmp_path / "x.jsonl", [{"text": "the pear", "entities": [[4, 6, "X"]]}]))
    config = BertConfig.from_pretrained(TINY)
    config = BertConfig.from_dict({**vars(config), **Entities().settings(rows)})
    Entities().examples(rows, BertTokenizer.from_pretrained(TINY), config)
    assert "1 of 1 entities begin or end inside a piece of this tokenizer" in caplog.text
