"""Rows that are too long to be held: their beginning is read, the rest is skipped, and nothing else changes."""

import csv
import gzip
import io
import json
import tracemalloc

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minibert.data import table
from minibert.data.beginnings import CutText, whole_characters
from minibert.data.columns import TextColumn, TextRow
from minibert.data.json_beginning import parse_beginning
from minibert.data.opening import open_texts
from minibert.data.parquet import need_pyarrow
from minibert.data.rows import BadRow, Place

many = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
LETTERS = ["a", "é", "가", "😀", '"', '""', ",", "\t", "\n", "\r\n", "\r", " "]


def opened(path, longest: int | None, column: str | None = None, id_column: str | None = None) -> TextColumn:
    texts = open_texts(path, column, id_column, longest=longest)
    texts.why_not = lambda beginning: None if len(beginning) > 2 else "and too little of a text"
    return texts


def written(tmp_path, name: str, content: bytes):
    path = tmp_path / name
    path.write_bytes(gzip.compress(content, 1) if name.endswith(".gz") else content)
    return path


@pytest.mark.parametrize("content", ["", "a", "aé", "a가", "a😀", "é가😀"])
def test_a_cut_leaves_whole_characters(content: str) -> None:
    encoded = content.encode()
    for size in range(len(encoded) + 1):
        assert whole_characters(encoded[:size]).decode() == encoded[:size].decode(errors="ignore")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz"])
def test_lines_of_text(tmp_path, name: str, end: str) -> None:
    texts = ["short", "가나다라마바사" * 9, "", "x" * 12, "z" * 40]
    path = written(tmp_path, name, ("\ufeff" + end.join(texts) + end).encode())
    found = list(opened(path, 12))
    assert found == [
        TextRow(n, n, text) for n, text in enumerate(["short", "가나다라", "", "x" * 12, "z" * 12], start=1)
    ]
    assert [type(row.text) is CutText for row in found] == [False, True, False, False, True]
    assert list(opened(path, None)) == [TextRow(n, n, text) for n, text in enumerate(texts, start=1)]  # as ever


def test_offsets_and_lines_stay_exact(tmp_path) -> None:
    path = written(tmp_path, "x.txt", b"one\n" + b"t" * 100_000 + b"\nthree\n")
    (first, second, third) = opened(path, 50).at(Place(), 1)
    assert [first[:2], second[:2], third[:2]] == [(4, 2), (100_005, 3), (100_011, 4)]
    ((_, _, alone),) = opened(path, 50).at(Place(*second[:2]), 3)
    assert alone == third[2] == TextRow(3, 3, "three")
    ((_, _, cut),) = opened(path, 50).at(Place(4, 2, 100_001), 2)
    assert cut == second[2] == TextRow(2, 2, "t" * 50)


def test_bad_rows(tmp_path) -> None:
    path = written(tmp_path, "x.txt", "ab\n아이고아이고\nab".encode())
    texts = open_texts(path, longest=10)
    assert list(texts)[1] == BadRow(2, 2, "has more than 10 bytes, and is needed whole")
    texts.why_not = lambda beginning: f"of which {len(beginning)} characters are too few"
    assert list(texts)[1] == BadRow(2, 2, "has more than 10 bytes, of which 3 characters are too few")
    path = written(tmp_path, "y.txt", b"ab\n\xff" + b"x" * 20 + b"\n" + b"x" * 20 + b"\xff\n")
    assert list(opened(path, 10)) == [TextRow(1, 1, "ab"), BadRow(2, 2, "is not UTF-8 (byte 1 is 0xff)"),
                                      TextRow(3, 3, "x" * 10)]  # fmt: skip


@many
@given(
    texts=st.lists(
        st.lists(st.sampled_from([*LETTERS, "\\", "/", "\b", "\u2028"]), max_size=12).map("".join), min_size=2
    ),
    size=st.integers(1, 200),
    is_ascii=st.booleans(),
)
def test_the_beginning_of_an_object(texts, size, is_ascii) -> None:
    """Whatever the cut goes through: what is found is in the whole object, and a CutText is a beginning."""
    whole = {f"{number}": text if number % 3 else [text, {"a": number}] for number, text in enumerate(texts)}
    line = json.dumps(whole, ensure_ascii=is_ascii)
    found = parse_beginning(line[:size], None) if size > 0 else {}
    for name, value in found.items():
        assert whole[name].startswith(value) if isinstance(value, CutText) else whole[name] == value
    cut = [name for name, value in found.items() if isinstance(value, CutText)]
    assert cut in ([], list(found)[-1:])
    complete = [
        name
        for name in whole
        if line[:size].startswith(
            json.dumps(dict(list(whole.items())[: int(name) + 1]), ensure_ascii=is_ascii)[:-1] + ","
        )
    ]
    assert list(found)[: len(complete)] == complete


def test_a_string_is_closed_before_half_an_escape() -> None:
    line = '{"id": 7, "text": "a\\\\b\\"c\\u00e9\\ud83d\\ude00\\n'
    beginnings = [parse_beginning(line[:size], None).get("text") for size in range(19, len(line) + 1)]
    assert list(dict.fromkeys(beginnings)) == [
        "",
        "a",
        "a\\",
        "a\\b",
        'a\\b"',
        'a\\b"c',
        'a\\b"cé',
        'a\\b"cé😀',
        'a\\b"cé😀\n',
    ]


def test_json_lines(tmp_path) -> None:
    rows = [
        {"id": 1, "text": "short"},
        {"id": 2, "text": "é" * 100},
        {"text": "whole", "id": 3, "more": "x" * 100},
        {"more": "x" * 100, "id": 4, "text": "behind"},
        {"text": "y" * 100, "id": 5},
        {"id": 6, "text": "last"},
    ]
    content = (
        "\n\n".join(json.dumps(row) for row in rows)
        + "\n"
        + '{"id": 7 "text": "'
        + "z" * 100
        + '"}\n['
        + "1, " * 99
        + "1]\n"
    )
    path = written(tmp_path, "x.jsonl.gz", content.encode())
    found = list(opened(path, 60, "text", "id"))
    assert found[:3] == [TextRow(1, 1, "short"), TextRow(2, 2, "é" * 6), TextRow(3, 3, "whole")]
    assert [type(row.text) for row in found[:3]] == [str, CutText, str]
    assert str(found[3]) == "row 4 (line 7) has more than 60 bytes, and no 'text' in the first 60 bytes"
    assert str(found[4]) == "row 5 (line 9) has more than 60 bytes, and no 'id' in the first 60 bytes"
    assert found[5] == TextRow(6, 6, "last")
    assert found[6].why.startswith("is not a JSON object (Expecting ','")
    assert found[7].why.startswith("is not a JSON object (it is no object")
    assert [row.text for row in opened(path, None, "text", "id") if isinstance(row, TextRow)] == [
        r["text"] for r in rows
    ]


def records(content: bytes, tabs: bool, longest: int | None, tmp_path) -> list:
    path = written(tmp_path, "x.tsv" if tabs else "x.csv", content)
    file = open_texts(path, "1").file
    file.longest = longest
    return list(file.fields())


@many
@given(
    rows=st.lists(
        st.lists(st.lists(st.sampled_from(LETTERS), max_size=30).map("".join), min_size=2, max_size=3),
        min_size=1,
        max_size=6,
    ),
    longest=st.integers(4, 60),  # one character at least
    block=st.integers(1, 8),
    end=st.sampled_from(["\n", "\r\n"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    tabs=st.booleans(),
)
@example([["a" * 50, "b"]], 10, 4, "\n", csv.QUOTE_ALL, False)
def test_long_records_of_tables_keep_their_fields(tmp_path, rows, longest, block, end, quoting, tabs) -> None:
    """Same records, offsets, lines and number of fields; every field is the beginning of what it is in the whole."""
    if tabs:
        rows = [[field.replace("\t", " ").replace("\n", " ").replace("\r", " ") for field in row] for row in rows]
        content = end.join("\t".join(row) for row in rows).encode()
    else:
        output = io.StringIO(newline="")
        csv.writer(output, lineterminator=end, quoting=quoting).writerows(rows)
        content = output.getvalue().encode()
    whole = records(content, tabs, None, tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("FIRST_BLOCK", "BLOCK", "PART"):
            patch.setattr(table, name, block)
        thin = records(content, tabs, longest, tmp_path)
    assert [record[:3] for record in thin] == [record[:3] for record in whole]
    begin = 0
    for (offset, _, _, fields), (_, _, _, expected) in zip(thin, whole, strict=True):
        assert len(fields) == len(expected)
        cut = [isinstance(field, CutText) for field in fields]
        assert cut == sorted(cut)  # what comes after a field that was cut counts as cut
        for field, is_cut, one in zip(fields, cut, expected, strict=True):
            assert one.startswith(field) if is_cut else one == field
        assert sum(len(field.encode()) for field in fields) <= longest
        if offset - begin <= longest:
            assert not any(cut)
        begin = offset


def test_csv_with_quotes_that_do_not_fit(tmp_path) -> None:
    lines = [
        "id,text",
        '1,"' + "a" * 90 + '" b"',
        '2,"' + "line\n" * 30 + '"x',
        "3,fine",
        '4,"never closed' + ", 5,x\n" * 40,
    ]
    path = written(tmp_path, "x.csv", "\n".join(lines).encode())
    found, whole = list(opened(path, 40, "text", "id")), list(opened(path, None, "text", "id"))
    assert [(row.number, type(row)) for row in found] == [(row.number, type(row)) for row in whole]
    assert found[2] == TextRow(3, "3", "fine")
    assert [row.line for row in found if isinstance(row, BadRow)] == [2, 3, 35]
    assert all("quotes that do not fit" in row.why for row in found if isinstance(row, BadRow))


def test_csv_texts_and_ids(tmp_path) -> None:
    path = written(
        tmp_path,
        "x.csv",
        f'text,id\n"{"가" * 40}",1\nb,2\n"{"c" * 40}\n{"d" * 40}",3\n{"e" * 10},{"f" * 90}\ng,4\n'.encode(),
    )
    found = list(opened(path, 30, "text"))
    assert [row.text for row in found] == ["가" * 10, "b", "c" * 30, "e" * 10, "g"]
    assert [type(row.text) is CutText for row in found] == [True, False, True, False, False]
    found = list(opened(path, 30, "text", "id"))
    assert [type(row) for row in found] == [BadRow, TextRow, BadRow, BadRow, TextRow]
    assert str(found[2]) == "row 3 (line 4) has more than 30 bytes, and no whole 'id' in the first 30 bytes"


def test_parquet(tmp_path) -> None:
    pa = need_pyarrow()
    path = tmp_path / "x.parquet"
    pa.parquet.write_table(pa.table({"id": [1, 2, 3], "text": ["a", "가" * 100, "b"]}), path)
    found = list(opened(path, 50, "text", "id"))
    assert found == [TextRow(1, 1, "a"), TextRow(2, 2, "가" * 16), TextRow(3, 3, "b")]
    assert [type(row.text) is CutText for row in found] == [False, True, False]
    assert [len(row.text) for row in opened(path, None, "text", "id")] == [1, 100, 1]


@pytest.mark.parametrize("name", ["x.txt", "x.txt.gz", "x.jsonl", "x.csv", "x.tsv"])
def test_memory_does_not_grow_with_a_row(tmp_path, name: str) -> None:
    peaks = []
    for times in (100_000, 400_000):
        text = "one two three 네 다섯 " * times  # 2.5 MB and 10 MB
        content = {
            "x.jsonl": json.dumps({"text": text}, ensure_ascii=False),
            "x.csv": f'text,n\n"{text}",1\n',
            "x.tsv": f"text\tn\n{text}\t1\n",
        }.get(name, text)
        path = written(tmp_path, name, content.encode())
        texts = opened(path, 100_000, None if ".txt" in name else "text")
        tracemalloc.start()
        (row,) = texts
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert type(row.text) is CutText
        assert text.startswith(row.text)
        assert 99_900 < len(row.text.encode()) <= 100_000
    assert peaks[1] < peaks[0] + 300_000  # of 7.5 MB: where the blocks of a reader end
