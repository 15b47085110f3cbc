"""Labelled words: both formats, what is no BIO, published data, and entities as seqeval finds them."""

import json
import logging
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertConfig, InputError
from minibert.data.sentences import columns_of, entities_of, is_by_character
from minibert.finetuning.entities import Entities
from minibert.finetuning.labels import label_settings
from minibert.finetuning.scores import entity_scores

KNOWN = BertConfig(**label_settings(["B-PER", "I-PER", "O"]), label_units="words")


def read(path: Path, content: str | bytes, config: BertConfig | None = None, **choices):
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Entities(**choices).read(path, config)


CONLL = {
    "tabs": "EU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\nBlackburn\tI-PER\n",
    "spaces, four columns": (
        "-DOCSTART- -X- -X- O\n\nEU NNP B-NP B-ORG\nrejects VBZ B-VP O\n\n"
        "Peter NNP B-NP B-PER\nBlackburn NNP I-NP I-PER\n"
    ),
    "CR LF, several blank lines, a tab in them": (
        "EU\tB-ORG\r\nrejects\tO\r\n\t\r\n\r\nPeter\tB-PER\r\nBlackburn\tI-PER"
    ),
    "comments": (
        "# text = EU rejects\n# id\t1\nEU\tB-ORG\nrejects\tO\n\n## 문장 : \\n\n\nPeter\tB-PER\nBlackburn\tI-PER\n"
    ),
    "a mark": "\ufeffEU\tB-ORG\nrejects\tO\n\nPeter\tB-PER\nBlackburn\tI-PER\n\n\n",
}


@pytest.mark.parametrize("kind", CONLL)
def test_conll(tmp_path, kind: str) -> None:
    found = read(tmp_path / "x.conll", CONLL[kind])
    assert [(one.words, one.labels) for one in found] == [
        (["EU", "rejects"], ["B-ORG", "O"]),
        (["Peter", "Blackburn"], ["B-PER", "I-PER"]),
    ]


def test_lists(tmp_path) -> None:
    rows = [{"tokens": ["Peter", "sat"], "ner_tags": [1, 0]}, {"tokens": [], "ner_tags": []}]
    content = "".join(json.dumps(row) + "\n" for row in rows)
    found = read(tmp_path / "x.jsonl", content, label_names=("O", "B-PER"))
    assert [(one.words, one.labels) for one in found] == [(["Peter", "sat"], ["B-PER", "O"])]
    content = content.replace("tokens", "w").replace("ner_tags", "l").replace("[1, 0]", '["B-PER", "O"]')
    assert read(tmp_path / "x.jsonl", content, words_column="w", labels_column="l") == found
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"id": [1], "words": [["Peter", "sat"]], "labels": [["B-PER", "O"]]})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    (one,) = Entities().read(tmp_path / "x.parquet")
    assert (one.words, one.labels) == (["Peter", "sat"], ["B-PER", "O"])


def test_a_hashtag_is_no_comment() -> None:
    assert columns_of("#tag\tO") == ("#tag", "O")
    assert columns_of("#\tB-X") == ("#", "B-X")
    assert columns_of("# O") == ("#", "O")
    assert columns_of("# newdoc") is None
    assert columns_of("## klue-ner-v1_dev_00000\t<경찰:OG>은") is None
    assert columns_of(" \tO") == (" ", "O")


BAD = {
    "one column": ("x.conll", "EU\tB-X\n\nfoo\n", None, r"row 2 \(line 3\) has one column, 'foo'; expected a word and"),
    "one column later": ("x.conll", "EU\tB-X\n\nThe\tO\nfoo\n", None, r"row 2 \(line 4\) has one column"),
    "no label": ("x.conll", "EU\t\n", None, r"row 1 has no label \('EU\\t'\)"),
    "no word": ("x.conll", "\tO\n", None, "row 1 has no word"),
    "no BIO": ("x.conll", "EU\tORG\n", None, "row 1 has the label 'ORG' at the word 'EU'; expected O, B-… where"),
    "BIOES": ("x.conll", "EU\tO\nUN\tS-ORG\n", None, r"row 1 \(line 2\) has the label 'S-ORG'"),
    "unknown": (
        "x.conll", "EU\tO\nUN\tB-ORG\n", KNOWN, r"row 1 \(line 2\) has the label 'B-ORG' .*; the training data has",
    ),
    "UTF-8": ("x.conll", b"EU\tO\ncaf\xe9\tO\n", None, r"row 1 \(line 2\) is not UTF-8 \(byte 4 is 0xe9\)"),
    "empty": ("x.conll", "", None, r"x\.conll has no rows; there is nothing to learn from"),
    "comments alone": ("x.conll", "# a b\n", None, r"x\.conll has no words"),
    "only O": ("x.conll", "a\tO\n", None, "every word has the label O; there is no entity"),
    "numbers": ("x.jsonl", '{"words": ["a"], "labels": [0]}', None, "row 1 has labels that are numbers in 'labels'"),
    "count": ("x.jsonl", '{"words": ["a"], "labels": []}', None, "row 1 has 1 words and 0 labels; expected one"),
    "no list": ("x.jsonl", '{"words": "a b", "labels": "O O"}', None, "row 1 has 'a b' in 'words', expected a list"),
    "no words": ("x.jsonl", '{"words": [1], "labels": ["O"]}', None, "row 1 has 1 among its 'words', expected text"),
    "csv": ("x.csv", "a,O\n", None, r"x\.csv ends in '\.csv'; a file of labelled words is two columns"),
    "characters": ("x.conll", "a\tO\n \tO\nb\tB-PER\n", KNOWN, "labels characters, and the training data words"),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_sentences_name_the_line(tmp_path, kind: str) -> None:
    name, content, config, why = BAD[kind]
    with pytest.raises(InputError, match=why):
        read(tmp_path / name, content, config)


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(InputError, match=r"x\.conll does not exist"):
        Entities().read(tmp_path / "x.conll")


def test_strays_are_counted_and_kept(tmp_path, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        found = read(tmp_path / "x.conll", "a\tB-X\nb\tI-X\n\nc\tO\nd\tI-X\ne\tI-X\nf\tB-X\ng\tI-Y\n")
    assert (
        "2 labels I-… do not go on with an entity of their kind (first I-X, in the sentence of line 4)" in caplog.text
    )
    assert found[1].labels == ["O", "I-X", "I-X", "B-X", "I-Y"]
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        read(tmp_path / "x.conll", "a\tB-X\nb\tI-X\n")
    assert caplog.text == ""


LABELS = st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b-c", "I-b-c"]), min_size=1, max_size=12)


@given(LABELS, LABELS)
def test_entities_are_those_that_seqeval_counts(first: list[str], second: list[str]) -> None:
    pytest.importorskip("seqeval")
    second = (second * 12)[: len(first)]
    gold, predicted = set(entities_of(first)), set(entities_of(second))
    right = len(gold & predicted)
    scores = entity_scores([first], [second])
    assert scores["precision"] == pytest.approx(right / len(predicted) if predicted else 0)
    assert scores["recall"] == pytest.approx(right / len(gold) if gold else 0)


def test_wnut17(shared) -> None:
    folder = shared / "data" / "wnut17"
    train = Entities().read(folder / "wnut17train.conll")
    assert len(train) == 3394
    assert sum(len(one.words) for one in train) == 62_730
    config = BertConfig(**Entities().settings(train))
    assert config.label_units == "words"
    assert config.num_labels == 13
    for name, count in (("emerging.dev.conll", 1009), ("emerging.test.annotated", 1287)):
        assert len(Entities().read(folder / name, config)) == count
    kinds = Counter(kind for one in train for kind, _, _ in entities_of(one.labels))
    assert kinds["person"] == 660


def test_klue_labels_characters(shared) -> None:
    rows = Entities().read(shared / "data" / "klue-ner" / "klue-ner-v1.1_dev.tsv")
    assert len(rows) == 5000
    assert is_by_character(rows)
    assert Entities().settings(rows)["label_units"] == "characters"
    assert "".join(rows[0].words).startswith("경찰은 또 성매매 알선 자금을 관리한 박씨의 딸(32)과")
    assert entities_of(rows[0].labels)[:2] == [("OG", 0, 2), ("PS", 21, 22)]


def test_iob1_is_read_as_iob2(tmp_path, caplog) -> None:
    """As in the original files of CoNLL-2003: B-X only between two entities of a kind."""
    content = "EU\tI-ORG\nrejects\tO\nNew\tI-LOC\nYork\tI-LOC\nSeoul\tB-LOC\nUN\tI-ORG\n"
    (one,) = read(tmp_path / "x.conll", content)
    assert one.labels == ["B-ORG", "O", "B-LOC", "I-LOC", "B-LOC", "B-ORG"]
    assert "most entities begin with I-…, not B-…, so it is taken for IOB1 and read as IOB2" in caplog.text
