"""Questions with choices, in the forms of published data; what cannot be read is named."""

import json
import logging

import pytest

from minibert import InputError
from minibert.data.choices import Question, open_choices, read_choices
from tests.support.toy_tasks import write_jsonl

USUAL = {"context": None, "question": None, "label": None}


def read(path, names=USUAL, columns=None, count_from=0, skip_bad=False) -> list[Question]:
    return read_choices(path, {**USUAL, **names}, columns, count_from, skip_bad)


SWAG = {
    "video-id": "x", "startphrase": "She opens the hood. She", "sent1": "She opens the hood.", "sent2": "She",
    "gold-source": "gold", "ending0": "sings.", "ending1": "looks in.", "ending2": "flies.", "ending3": "eats.",
    "label": 1,
}  # fmt: skip
OF_SWAG = Question("She opens the hood.", "She", ("sings.", "looks in.", "flies.", "eats."), 1)


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (SWAG, OF_SWAG),
        ({"ctx": "A man", "endings": ["runs", "rains"], "label": "1"}, Question("A man", "", ("runs", "rains"), 1)),
        (
            {"article": "Tom is six.", "question": "How old?", "options": ["six", "ten", "two"], "answer": "C"},
            Question("Tom is six.", "How old?", ("six", "ten", "two"), 2),
        ),
        (
            {"question": "Where?", "choices": {"label": ["1", "2"], "text": ["here", "there"]}, "answerKey": "2"},
            Question("", "Where?", ("here", "there"), 1),
        ),
        (
            {"question": "Where?", "choices": [{"label": "A", "text": "here"}, {"label": "B", "text": "2"}],
             "answerKey": "B"},
            Question("", "Where?", ("here", "2"), 1),
        ),
        (
            {"premise": "나는 밥을 먹었다.", "question": "결과", "alternative_1": "배가 부르다.",
             "alternative_2": "비가 온다.", "label": 0},
            Question("나는 밥을 먹었다.", "결과", ("배가 부르다.", "비가 온다."), 0),
        ),
        ({"goal": "Dry it", "sol1": "sun", "sol2": "rain", "label": 0}, Question("", "Dry it", ("sun", "rain"), 0)),
        (
            {"question": "수도는?", "choices": ["부산", "서울"], "answer": "서울"},
            Question("", "수도는?", ("부산", "서울"), 1),
        ),
        ({"question": "1 + 1?", "choices": ["1", "2", "3"], "answer": 1}, Question("", "1 + 1?", ("1", "2", "3"), 1)),
    ],
)  # fmt: skip
def test_forms_of_published_data(tmp_path, row, expected):
    assert read(write_jsonl(tmp_path / "x.jsonl", [row])) == [expected]


def test_tables(tmp_path):
    (tmp_path / "swag.csv").write_text(",".join(SWAG) + "\n" + ",".join(map(str, SWAG.values())) + "\n")
    assert read(tmp_path / "swag.csv") == [OF_SWAG]
    (tmp_path / "kmmlu.csv").write_text("question,answer,A,B,C,D\n수도는?,4,부산,대구,광주,서울\n색은?,1,빨강,,,\n")
    with pytest.raises(InputError, match=r"row 2 \(line 3\) has 1 choices, expected two or more"):
        read(tmp_path / "kmmlu.csv", count_from=1)
    (tmp_path / "kmmlu.csv").write_text("question,answer,A,B,C,D\n수도는?,4,부산,대구,광주,서울\n색은?,1,빨강,파랑,,\n")
    found = read(tmp_path / "kmmlu.csv", count_from=1)
    assert [(one.choices[one.label], len(one.choices)) for one in found] == [("서울", 4), ("빨강", 2)]
    (tmp_path / "list.tsv").write_text('question\tchoices\tlabel\nWhere?\t["here", "there"]\tthere\n')
    assert read(tmp_path / "list.tsv") == [Question("", "Where?", ("here", "there"), 1)]


def test_rows_in_memory():
    expected = [Question("", "Where?", ("here", "there"), 1)]
    assert read([("Where?", ["here", "there"], 1)]) == expected
    assert read([{"question": "Where?", "choices": ("here", "there"), "label": "B"}]) == expected
    assert read([("So", "Where?", ["here", "there"], "here")]) == [Question("So", "Where?", ("here", "there"), 0)]
    pandas = pytest.importorskip("pandas")
    assert read(pandas.DataFrame([{"question": "Where?", "choices": ["here", "there"], "label": 1}])) == expected


def test_columns_by_name(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"q": "Where?", "right": "here", "wrong": "there", "best": 0}])
    names = {"question": "q", "label": "best"}
    assert read(path, names, ["right", "wrong"]) == [Question("", "Where?", ("here", "there"), 0)]
    for columns, words in (
        (None, "Say which columns of .* hold the choices"),
        (["right", "no"], "no column called 'no'"),
    ):
        with pytest.raises(InputError, match=words):
            read(path, names, columns)
    with pytest.raises(InputError, match=r"holds the questions \(--question-column NAME\) or contexts"):
        read(path, {"label": "best"}, ["right", "wrong"])
    with pytest.raises(InputError, match=r"holds the right choices \(--label-column NAME\)"):
        read(path, {"question": "q"}, ["right", "wrong"])


def test_only_what_a_prediction_needs_is_asked_for(tmp_path):
    path = write_jsonl(tmp_path / "x.jsonl", [{"question": "Where?", "choices": ["here", "there"]}])
    file, columns = open_choices(path, {"context": None, "question": None}, None, labelled=False)
    assert (columns.question, columns.choices, columns.label) == ("question", ("choices",), None)
    assert list(file.selected) == ["question", "choices"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"label": 2}, r"has the answer '2', expected a number from 0 to 1, .*--count-from 1"),
        ({"label": 7}, r"has the answer '7', expected a number from 0 to 1, a letter from A to B, or the text of a"),
        ({"label": "nowhere"}, "has the answer 'nowhere', expected"),
        ({"label": None}, "expected a label"),
        ({"choices": ["1", "0"], "label": "0"}, "has the answer '0', which may be choice 0 and 1"),
        ({"choices": ["here", "here"], "label": "here"}, "has the answer 'here', which may be choice 0 and 1"),
        ({"choices": ["here"]}, "has 1 choices, expected two or more"),
        ({"choices": ["here", " "]}, "has ' ' among its choices, expected text"),
        ({"choices": ["here", 3]}, "has 3 among its choices, expected text"),
        ({"choices": "here"}, "has 1 choices"),
        ({"choices": {"text": ["here"]}}, "expected as many of label as of text"),
        ({"choices": 5}, "has 5 in 'choices', expected a list of choices"),
        ({"question": " "}, "has neither a context nor a question"),
    ],
)
def test_bad_rows_are_named(tmp_path, row, words):
    good = {"question": "Where?", "choices": ["here", "there"], "label": 0}
    path = write_jsonl(tmp_path / "x.jsonl", [good, {**good, **row}])
    with pytest.raises(InputError, match=rf"row 2.*{words}"):
        read(path)
    assert len(read(path, skip_bad=True)) == 1


def test_answers_that_seem_to_be_counted_from_1(tmp_path, caplog):
    rows = [{"question": f"{n}?", "choices": ["a", "b", "c"], "label": 1 + n % 2} for n in range(30)]
    path = write_jsonl(tmp_path / "x.jsonl", rows)
    with caplog.at_level(logging.WARNING):
        assert {one.label for one in read(path)} == {1, 2}
    assert "of 30 answers in 'label' none is 0" in caplog.text
    assert "--count-from 1" in caplog.text
    caplog.clear()
    assert {one.label for one in read(path, count_from=1)} == {0, 1}
    assert not caplog.text
    (tmp_path / "x.txt").write_text(json.dumps(rows[0]))
    with pytest.raises(InputError, match="has no columns, only texts"):
        read(tmp_path / "x.txt")
