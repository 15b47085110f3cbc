"""Rows in memory are read like those of a file: the same rows, errors that name the row, a digest of the content."""

import json
import sys
from pathlib import Path

import pytest

from minibert.data.memory import as_data, data_digest, is_table
from minibert.data.opening import open_rows, open_texts
from minibert.errors import InputError
from minibert.finetuning.answers import Answers
from minibert.finetuning.classify import Classify, MultiLabel
from minibert.finetuning.embeddings import Embeddings
from minibert.finetuning.entities import Entities
from minibert.finetuning.score import Score

ROWS = [{"text": "a film to see", "label": "fun"}, {"text": "나무", "label": "long"}, {"text": "so", "label": "fun"}]
COLUMNS = {name: [row[name] for row in ROWS] for name in ("text", "label")}


def frame(columns):
    return pytest.importorskip("pandas").DataFrame(columns)


def dataset(columns, **features):
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict(columns)
    for name, feature in features.items():
        made = made.cast_column(name, feature)
    return made


KINDS = {
    "a list of dicts": lambda: ROWS,
    "a tuple of dicts": lambda: tuple(ROWS),
    "a list of tuples": lambda: [tuple(row.values()) for row in ROWS],
    "a DataFrame": lambda: frame(COLUMNS),
    "a filtered DataFrame": lambda: frame({name: ["x", *values] for name, values in COLUMNS.items()}).iloc[1:],
    "a Dataset": lambda: dataset(COLUMNS),
    "a split": lambda: pytest.importorskip("datasets").DatasetDict(train=dataset(COLUMNS))["train"],
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_rows_is_read_as_the_file_is(kind: str, tmp_path) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    assert Classify().read(KINDS[kind]()) == Classify().read(file)


@pytest.mark.parametrize("kind", KINDS)
def test_the_digest_is_of_the_values(kind: str) -> None:
    other = [*ROWS[:2], {**ROWS[2], "label": "long"}]
    assert data_digest(KINDS[kind]()) == data_digest(KINDS[kind]())
    assert len({data_digest(rows) for rows in (KINDS[kind](), other, ROWS[:2], list(reversed(ROWS)))}) == 4
    if "tuple" not in kind or "dicts" in kind:
        assert data_digest(KINDS[kind]()) == data_digest(ROWS)


def test_the_digest_is_of_all_columns_and_does_not_change_what_is_read() -> None:
    rows = open_rows(frame({**COLUMNS, "more": [1, 2, 3]}))
    rows.selected = ["text"]
    assert rows.digest() != data_digest(frame(COLUMNS))
    assert [dict(row) for row in rows.rows(lambda number, line, cells: cells)] == [
        {"text": row["text"]} for row in ROWS
    ]


def test_the_digest_of_tuples_does_not_depend_on_what_they_are_read_as() -> None:
    pairs = [("a", "b"), ("c", "d")]
    data = as_data(pairs)
    before = data_digest(data)
    open_rows(data, fields=lambda row: ("text", "label"))
    assert data_digest(data) == before == data_digest(pairs) != data_digest(pairs[::-1])
    assert data.columns() == ["text", "label"]


def test_neither_library_is_imported() -> None:
    import subprocess

    code = (
        "import sys; from minibert.data.opening import open_texts; from minibert.finetuning.classify import Classify\n"
        "Classify().read([('a', 'x'), ('b', 'y')]); list(open_texts(['a']))\n"
        "assert not {'pandas', 'datasets'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])


def test_texts() -> None:
    pandas, datasets = pytest.importorskip("pandas"), pytest.importorskip("datasets")
    numpy = pytest.importorskip("numpy")
    texts = COLUMNS["text"]
    for given in (texts, tuple(texts), pandas.Series(texts), numpy.array(texts), dataset(COLUMNS)["text"]):
        if isinstance(given, tuple):
            given = list(given)  # noqa: PLW2901  # a tuple of texts is an item
        rows = list(open_texts(given))
        assert [row.text for row in rows] == texts and [row.id for row in rows] == [1, 2, 3]
        assert all(type(row.text) is str for row in rows)
    assert datasets is not None


def test_numbers_are_pythons_own() -> None:
    numpy = pytest.importorskip("numpy")
    rows = [{"text": "a", "score": numpy.float32(0.5)}, {"text": "b", "score": numpy.int64(2)}]
    assert [row.label for row in Score().read(rows)] == [0.5, 2.0]
    pairs = Score().read(frame({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "score": [0.5, 2]}))
    assert [(row.text, row.label) for row in pairs] == [(("a", "c"), 0.5), (("b", "d"), 2.0)]
    labels = [row.label for row in Classify().read(frame({"text": list("abc"), "label": [1, 0, 1]}))]
    assert labels == ["1", "0", "1"]


def test_what_tuples_hold_is_said_by_the_task() -> None:
    two = [("a", "c", 0.5), ("b", "d", 2.0)]
    assert [row.text for row in Score().read(two)] == [("a", "c"), ("b", "d")]
    assert [row.texts for row in Embeddings().read([("a", "b"), ("c", "d")])] == [("a", "b"), ("c", "d")]
    assert [row.score for row in Embeddings().read(two)] == [0.5, 2.0]
    assert [row.texts for row in Embeddings().read([("a", "b", "n"), ("c", "d", "m")])] == [
        ("a", "b", "n"),
        ("c", "d", "m"),
    ]
    words = Entities().read([(["Kim", "came"], ["B-PER", "O"])])
    assert (words[0].words, words[0].labels) == (["Kim", "came"], ["B-PER", "O"])
    spans = Entities().read([("Kim came", [(0, 3, "PER")])])
    assert spans[0].labels[:4] == ["B-PER", "I-PER", "I-PER", "O"]
    assert Answers().read([("What?", "It rains.", "rains", 3)])[0].answers[0].start == 3
    assert Answers().read([("What?", "It rains.", "rains")])[0].answers[0].start == 3
    several = MultiLabel().read([("a", ["x", "y"]), ("b", ["y"]), ("c", [])])
    assert [row.label for row in several] == [("x", "y"), ("y",), ()]


def test_class_labels_are_read_by_their_names() -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["neg", "pos"])
    rows = Classify().read(dataset({"text": ["a", "b", "c"], "label": [1, 0, 1]}, label=names))
    assert [row.label for row in rows] == ["pos", "neg", "pos"]
    tags = datasets.ClassLabel(names=["O", "B-PER"])
    for feature in (datasets.Sequence(tags), [tags]):
        words = dataset({"tokens": [["Kim", "came"]], "ner_tags": [[1, 0]]}).cast(
            datasets.Features({"tokens": datasets.Sequence(datasets.Value("string")), "ner_tags": feature})
        )
        assert Entities().read(words)[0].labels == ["B-PER", "O"]
    hidden = dataset({"text": ["a", "b"], "label": [1, -1]}).cast_column("label", names)
    with pytest.raises(InputError, match="^Row 2 of the Dataset has None in 'label', expected a label"):
        Classify().read(hidden)


DICTS = [*ROWS, {"text": "x"}]
NO_TEXT = {"text": ["a", None, "c"], "label": ["x", "y", "x"]}
NO_LABEL = {"text": ["a", "b", "c"], "label": ["x", "y", float("nan")]}


def splits():
    return pytest.importorskip("datasets").DatasetDict(train=dataset(COLUMNS), test=dataset(COLUMNS))


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (lambda: DICTS, "^Row 4 of the list of dicts has no 'label'. Mend them, or leave such rows out"),
        (lambda: frame(NO_TEXT), "^Row 2 of the DataFrame has (None|nan) in 'text'"),
        (lambda: frame(NO_LABEL), "^Row 3 of the DataFrame has no label"),
        (lambda: dataset(NO_TEXT), "^Row 2 of the Dataset has None in 'text'"),
        (lambda: [*ROWS, "x"], "^Row 4 of the list of dicts is a str, expected a dict like the first row"),
        (lambda: [("a", "x"), ("b",)], "^Row 2 of the list of tuples has 1 values, expected a tuple of 2"),
        (lambda: [("a", "x"), "b"], "^Row 2 of the list of tuples is a str, expected a tuple of 2"),
        (lambda: [("a", "b", "c", "d")], "^The list of tuples has tuples of 4 values.* not clear.* a list of dicts"),
        (lambda: ["a", "b"], "^the list of texts has no columns"),
        (lambda: frame({"x": ["a"], "y": ["b"]}), "Say which column of the DataFrame holds the texts .* it has x, y"),
        (list, "^the empty list is empty"),
        (lambda: [["a", "x"]], "the data is a list whose first row is a list. Give a list of dicts"),
        (lambda: iter(ROWS), "is a list_iterator, which can be read once only"),
        (lambda: (row for row in ROWS), "is a generator, which can be read once only"),
        (lambda: {"text": ["a"]}, "the data is a dict. Give a list of dicts"),
        (splits, r"the data is a DatasetDict with the splits train, test; give one of them: data\['train'\]"),
        (lambda: dataset(COLUMNS).to_iterable_dataset(), "is an IterableDataset, which can be read once only"),
        (lambda: None, "the data is None. Give a list of dicts"),
        (lambda: "", "the data is an empty text"),
        (lambda: 5, "the data is an int"),
    ],
)  # fmt: skip
def test_mistakes_name_the_row(rows, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Classify().read(rows())


def test_bad_rows_are_left_out_where_that_is_asked_for(caplog) -> None:
    rows = [*ROWS, {"text": "x"}]
    assert len(Classify(skip_bad=True).read(rows)) == 3
    assert "the list of dicts: 1 bad rows are left out, the first is row 4 has no 'label'" in caplog.text


def test_what_a_name_says_of_its_use() -> None:
    assert str(as_data(ROWS, "dev data")) == "the list of dicts (dev data)"
    assert as_data(data := as_data(ROWS)) is data


@pytest.mark.parametrize("given", [ROWS, frame, dataset])
def test_tables_are_known_from_lists_of_texts(given) -> None:
    assert is_table(given if isinstance(given, list) else given(COLUMNS))
    assert not any(map(is_table, (["a"], "a", ("a", "b"), [], [("a", "b")], iter(ROWS), None, frame(COLUMNS)["text"])))
