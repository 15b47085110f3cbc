"""Inputs: every format, what its lines may hold, and every way in which a row can be bad."""

import csv
import json
from pathlib import Path

import pytest

from minibert import CheckpointError, InputError
from minibert.corpus.inputs import CorpusInput
from minibert.corpus.planning import Division, divide
from minibert.data.columns import TextRow
from minibert.data.opening import open_texts
from minibert.data.rows import BadRow

TEXTS = ["plain", "", "두 줄\u2028하나", "next\x85line", "tab\tand\x0bmore", 'a "quote", a comma', "긴 " * 50_000]


def examine(path: Path, skip_bad: bool, column: str | None = None, id_column: str | None = None) -> Division:
    """Read a file as the planning of a corpus does."""
    return divide(CorpusInput.find(path, column, id_column, path.with_name("out")), skip_bad=skip_bad)


def read(tmp_path, name: str, content: bytes, **columns) -> list:
    (tmp_path / name).write_bytes(content)
    return list(open_texts(tmp_path / name, **columns))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_lines(tmp_path, end: str, last: bool, mark: bytes) -> None:
    content = mark + (end.join(TEXTS) + (end if last else "")).encode()
    assert read(tmp_path, "x.txt", content) == [TextRow(n, n, text) for n, text in enumerate(TEXTS, start=1)]


def test_empty_files(tmp_path) -> None:
    assert read(tmp_path, "x.txt", b"") == []
    assert read(tmp_path, "x.txt", b"\xef\xbb\xbf") == []
    assert read(tmp_path, "x.txt", b"\n") == [TextRow(1, 1, "")]
    assert read(tmp_path, "x.jsonl", b"\n\n", column="text") == []
    assert read(tmp_path, "x.csv", b"text\r\n", column="text") == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_json_lines(tmp_path, end: str, mark: str) -> None:
    lines = [json.dumps({"n": n, "key": f"k{n}", "text": text}, ensure_ascii=n % 2) for n, text in enumerate(TEXTS)]
    content = (mark + (end * 2).join(lines)).encode()  # a blank line between two is no row
    found = read(tmp_path, "x.jsonl", content, column="text", id_column="n")
    assert found == [TextRow(n + 1, n, text) for n, text in enumerate(TEXTS)]
    found = read(tmp_path, "x.jsonl", content, column="text", id_column="key")
    assert [row.id for row in found] == [f"k{n}" for n in range(len(TEXTS))]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_csv(tmp_path, end: str, mark: str) -> None:
    texts = [*TEXTS, "two\nlines", "two\r\nlines", "\nat both ends\n"]
    with (tmp_path / "x.csv").open("w", encoding="utf-8", newline="") as file:
        file.write(mark)
        writer = csv.writer(file, lineterminator=end)
        writer.writerow(["name", "text"])
        writer.writerows((f"k{n}", text) for n, text in enumerate(texts))
    found = list(open_texts(tmp_path / "x.csv", "text", "name"))
    assert found == [TextRow(n + 1, f"k{n}", text) for n, text in enumerate(texts)]
    assert [row.id for row in open_texts(tmp_path / "x.csv", "text")] == list(range(1, 11))


def test_a_quote_never_closed_does_not_take_the_file_into_memory(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("minibert.data.table.LONGEST_FIELD", 1000)
    content = b'n,t\n1,a\n2,"b\n' + b"3,c\n" * 1000
    found = read(tmp_path, "x.csv", content, column="t")
    assert [row.number for row in found if isinstance(row, BadRow)] == [2]
    assert "(field larger than field limit (1000), up to line 253)" in found[1].why
    assert found[2:] == [TextRow(number, number, "c") for number in range(3, 3 + 750)]


def test_tsv_has_no_quotes(tmp_path) -> None:
    content = 'id\ttext\n1\t"재밌다\n2\tsays "hi"\n\n3\t""\n'.encode()
    found = read(tmp_path, "x.TSV", content, column="text", id_column="id")
    assert found == [TextRow(1, "1", '"재밌다'), TextRow(2, "2", 'says "hi"'), TextRow(3, "3", '""')]


def test_parquet(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    texts = [*TEXTS[:-1] * 400, TEXTS[-1]]  # several batches
    strings = pyarrow.array(texts).dictionary_encode()
    table = pyarrow.table({"n": range(len(texts)), "text": strings, "large": pyarrow.array(texts, "large_string")})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet", row_group_size=1000)
    for column in ("text", "large"):
        found = list(open_texts(tmp_path / "x.parquet", column, "n"))
        assert found == [TextRow(n + 1, n, text) for n, text in enumerate(texts)]
    assert next(iter(open_texts(tmp_path / "x.parquet", "text", "text"))) == TextRow(1, "plain", "plain")


BAD = {
    "UTF-8 in a line": (b"one\ncaf\xe9\n\nfour", {}, 2, 2, "is not UTF-8 (byte 4 is 0xe9)", 4),
    "UTF-16": ("one\ntwo".encode("utf-16"), {}, 1, 1, "is not UTF-8 (byte 1 is 0xff)", 2),
    "NUL": (b"one\ntw\0o\nthree", {}, 2, 2, "holds a NUL (U+0000), which no text has", 3),
    "no JSON": (b'{"t": "a"}\n\n{"t": "b"\n{"t": "c"}', {"column": "t"}, 2, 3, "is not JSON (Expecting", 3),
    "JSON's depth": (b"[" * 100_000 + b"\n", {"column": "t"}, 1, 1, "is not JSON (", 1),
    "JSON's digits": (b'{"t": ' + b"1" * 5000 + b"}", {"column": "t"}, 1, 1, "is not JSON (", 1),
    "a list": (b'["a"]\n', {"column": "t"}, 1, 1, "is a JSON list, expected an object", 1),
    "no column": (b'{"t": "a"}\n{"T": "b"}\n', {"column": "t"}, 2, 2, "has no 't'", 2),
    "null": (b'{"t": null}\n', {"column": "t"}, 1, 1, "has None in 't', expected text", 1),
    "a number": (b'{"t": 17}\n', {"column": "t"}, 1, 1, "has 17 in 't', expected text", 1),
    "a surrogate": (b'{"t": "\\ud800"}\n', {"column": "t"}, 1, 1, "holds half a surrogate pair (U+D800)", 1),
    "bytes in JSON": (b'{"t": "a"}\n{"t": "\xff"}', {"column": "t"}, 2, 2, "is not UTF-8 (byte 8 is 0xff)", 2),
    "no id": (b'{"t": "a"}\n', {"column": "t", "id_column": "i"}, 1, 1, "has no 'i'", 1),
    "an id of truth": (
        b'{"t": "a", "i": true}', {"column": "t", "id_column": "i"}, 1, 1, "has True in 'i', expected text or a", 1,
    ),
    "too few fields": (
        b'n,t\n1,"x\ny"\n2\n3,z\n', {"column": "t"}, 2, 4, "has 1 fields, expected the 2 of the first line", 3,
    ),
    "too many fields": (b"n,t\n1,x,y\n", {"column": "t"}, 1, 2, "has 3 fields, expected the 2", 1),
    "UTF-8 in another column": (b"n,t\n\xe9,x\n2,y\n", {"column": "t"}, 1, 2, "is not UTF-8 (a byte is 0xe9)", 2),
    "a quote inside": (
        b'n,t\n1,"x"y\n2,z\n', {"column": "t"}, 1, 2, "has quotes that do not fit together (',' expected", 2,
    ),
    "a quote never closed": (
        b'n,t\n1,"x\n2,z\n', {"column": "t"}, 1, 2, "do not fit together (unexpected end of data, up to line 3)", 1,
    ),
    "NUL in a field": (b"n,t\n1,a\0b\n", {"column": "t"}, 1, 2, "holds a NUL", 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_bad_rows_keep_their_place(tmp_path, kind: str) -> None:
    content, columns, number, line, why, count = BAD[kind]
    name = "x.csv" if content.startswith(b"n,t") else "x.jsonl" if columns else "x.txt"
    (tmp_path / name).write_bytes(content)
    texts = open_texts(tmp_path / name, **columns)
    found = list(texts)
    assert [row.number for row in found] == list(range(1, count + 1))
    bad = found[number - 1]
    assert isinstance(bad, BadRow)
    assert (bad.number, bad.line) == (number, line)
    assert why in bad.why
    assert str(bad) == f"row {number} {bad.why}" if number == line else f"row {number} (line {line}) {bad.why}"
    counts = examine(tmp_path / name, skip_bad=True, **columns)
    assert (counts.rows, counts.bad) == (count, sum(isinstance(row, BadRow) for row in found))
    first = next(row for row in found if isinstance(row, BadRow))
    with pytest.raises(InputError) as caught:
        examine(tmp_path / name, skip_bad=False, **columns)
    assert first is bad or first.number < number
    assert f"{name}: {first}" in str(caught.value)


def test_bad_rows_of_parquet(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet")
    broken = pyarrow.array([b"one", b"caf\xe9", None, b"four", b"a\0b"]).view("string")
    pyarrow.parquet.write_table(pyarrow.table({"t": broken, "n": [1.5] * 5}), tmp_path / "x.parquet")
    found = list(open_texts(tmp_path / "x.parquet", "t"))
    assert [type(row) for row in found] == [TextRow, BadRow, BadRow, TextRow, BadRow]
    assert str(found[1]) == "row 2 is not UTF-8 (byte 4 is 0xe9)"
    assert found[2].why == "has None in 't', expected text"
    numbered = list(open_texts(tmp_path / "x.parquet", "t", "n"))
    assert numbered[0].why == "has 1.5 in 'n', expected text or a whole number"
    whole = (tmp_path / "x.parquet").read_bytes()
    for content in (whole[:-3], whole[:40] + bytes(60) + whole[100:], b"", b"PAR1"):
        (tmp_path / "x.parquet").write_bytes(content)
        with pytest.raises(InputError, match=r"x\.parquet cannot be read"):
            list(open_texts(tmp_path / "x.parquet", "t"))


@pytest.mark.parametrize(("ids", "numbers"), [((5, -(1 << 63)), True), ((5, "5"), False), ((1 << 63,), False)])
def test_whether_ids_are_numbers_of_64_bits(tmp_path, ids: tuple, numbers: bool) -> None:
    (tmp_path / "x.jsonl").write_text("".join(json.dumps({"id": one, "text": ""}) + "\n" for one in ids))
    assert examine(tmp_path / "x.jsonl", False, "text", "id").ids_are_numbers is numbers


@pytest.mark.parametrize(
    ("name", "content", "columns", "sentence"),
    [
        ("x.log", b"", {}, "ends in '.log'; an input is .txt"),
        ("x.txt", b"", {"column": "t"}, "has no columns: every row is a text"),
        ("x.csv", b"a,b\n", {}, r"Say which column of .*x\.csv holds the texts .*; it has a, b\."),
        ("x.jsonl", b"", {}, r"Say which column of .*x\.jsonl holds the texts \(--column NAME\)\."),
        ("x.csv", b"a,b\n", {"column": "c"}, "has no column called 'c' for the texts; it has a, b"),
        ("x.csv", b"a,b\n", {"column": "a", "id_column": "i"}, "has no column called 'i'"),
        ("x.csv", b"a,b,a\n", {"column": "a"}, "has two columns called 'a'"),
        ("x.csv", b"", {"column": "a"}, "is empty; its first line must name the columns"),
        ("x.csv", b'"a"b\n', {"column": "a"}, "The first line of .* names no columns"),
    ],
)
def test_inputs_that_are_none(tmp_path, name: str, content: bytes, columns: dict, sentence: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        open_texts(tmp_path / name, **columns)


def test_files_that_are_none(tmp_path) -> None:
    with pytest.raises(InputError, match="none.txt does not exist"):
        open_texts(tmp_path / "none.txt")
    (tmp_path / "folder.txt").mkdir()
    with pytest.raises(CheckpointError, match="is a folder, expected a file"):
        open_texts(tmp_path / "folder.txt")
