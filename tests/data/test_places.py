"""Reading from a place gives the rows that reading from the beginning gives, and takes no byte beyond its window."""

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibert.data import table
from minibert.data.opening import open_texts
from minibert.data.rows import Place
from minibert.data.table import Lines, Table, split_lines
from minibert.data.windows import opened_at

MARK = b"\xef\xbb\xbf"
# What a file may be made of: everything that ends a line, a field or a text, and what cannot be read.
PARTS = [
    b"a", b"bc", b'"', b'""', b",", b"\t", b"\n", b"\r\n", b"\r", b" ", b"\xff", "나\u2028무".encode(), b"\0", MARK,
    b'"x\ny",', b"1,2\n", b"\n\n",
]  # fmt: skip
LINES = [
    b'{"text": "a"}',
    b'{"text": 7}',
    b"{}",
    b"",
    b"  ",
    b"no JSON",
    b'{"text": "\xff"}',
    '{"text": "배"}'.encode(),
]
ENDS = [b"\n", b"\r\n", b"\n\n"]

tables = st.lists(st.sampled_from(PARTS), max_size=40).map(b"".join)
json_lines = st.lists(st.tuples(st.sampled_from(LINES), st.sampled_from(ENDS)).map(b"".join), max_size=12).map(b"".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("places")


def check_every_place(path: Path, **columns: str) -> None:
    """Every window of rows that follow each other is what the whole file has there."""
    texts = open_texts(path, **columns)
    whole = list(texts.at(Place(), 1))
    assert [row for _, _, row in whole] == list(texts)
    begins = [(0, 1), *((end, following) for end, following, _ in whole)]
    for first, (offset, line) in enumerate(begins):
        for last in {first + 1, (first + len(whole)) // 2, len(whole)} & set(range(first + 1, len(whole) + 1)):
            place = Place(offset, line, begins[last][0] - offset)
            assert list(texts.at(place, first + 1)) == whole[first:last]
        assert list(texts.at(Place(offset, line), first + 1)) == whole[first:]


@settings(max_examples=150)
@given(tables)
def test_text(folder, content: bytes) -> None:
    (folder / "x.txt").write_bytes(b"x" + content)  # whatever it begins with, it is not taken for markup
    check_every_place(folder / "x.txt")


@settings(max_examples=150)
@given(json_lines)
def test_json_lines(folder, content: bytes) -> None:
    (folder / "x.jsonl").write_bytes(content)
    check_every_place(folder / "x.jsonl", column="text")


@settings(max_examples=250)
@given(st.sampled_from([".csv", ".tsv"]), st.sampled_from([b"", MARK]), tables, st.sampled_from([1, 2, 5, 1 << 16]))
def test_tables(folder, ending: str, mark: bytes, content: bytes, block: int) -> None:
    before, table.FIRST_BLOCK, table.BLOCK = (table.FIRST_BLOCK, table.BLOCK), block, block
    try:
        path = folder / f"x{ending}"
        separator = b"," if ending == ".csv" else b"\t"
        path.write_bytes(mark + b"n" + separator + b"text\n" + content)
        check_every_place(path, column="text")
        check_every_place(path, column="2")  # without a line of names
        check_is_as_before(path)
    finally:
        table.FIRST_BLOCK, table.BLOCK = before


def check_is_as_before(path: Path) -> None:
    """Records and their lines are those of csv.reader on Python's own text file."""
    reader = Table(path)
    expected = []
    with io.TextIOWrapper(path.open("rb"), encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        quoting = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if reader.has_tabs() else {}
        records = csv.reader(file, strict=True, **quoting)
        while True:
            line = records.line_num + 1
            try:
                fields = next(records)
            except StopIteration:
                break
            except csv.Error as error:
                last = f", up to line {records.line_num}" if records.line_num > line else ""
                expected.append((line, f"{error}{last}"))
            else:
                if fields:
                    expected.append((line, fields))
    found = [(line, str(one) if isinstance(one, csv.Error) else one) for _, _, line, one in reader.fields()]
    assert found == expected


@settings(max_examples=100)
@given(tables, st.integers(1, 7))
def test_lines_of_a_table_are_whole_and_cover_the_file(content: bytes, block: int) -> None:
    before, table.FIRST_BLOCK, table.BLOCK = (table.FIRST_BLOCK, table.BLOCK), block, block
    try:
        lines = list(split_lines(io.BytesIO(content)))
    finally:
        table.FIRST_BLOCK, table.BLOCK = before
    assert lines == content.splitlines(keepends=True)
    read = Lines(io.BytesIO(content), Place())
    list(read.texts)
    assert read.offset == len(content) or content == MARK


def test_a_long_line_is_put_together_in_time_that_is_linear(tmp_path) -> None:
    class Reads(io.BytesIO):
        count = 0

        def read(self, size: int | None = -1) -> bytes:
            self.count += 1
            return super().read(size)

    file = Reads(b"x" * (8 << 20) + b"\ny")
    assert [len(line) for line in Lines(file, Place()).texts] == [(8 << 20) + 1, 1]
    assert file.count < 140  # blocks of 64 KB or more, of which at most 512 KB are copied for the next


def test_a_window_takes_no_byte_beyond(tmp_path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(bytes(range(97, 107)) * 1000)
    for offset, size in ((0, 10), (3, 0), (17, 9000), (9999, 1), (9995, 50)):
        with opened_at(path, offset, size) as file:
            taken = file.raw.file  # the file itself
            assert file.read() == path.read_bytes()[offset : offset + size]
            assert taken.tell() == min(offset + size, 10_000)


def test_compressed_files_have_the_places_of_their_content(tmp_path) -> None:
    path = tmp_path / "x.csv.gz"
    content = b'n,text\n1,"a\r\nb"\n2,c\n'
    path.write_bytes(gzip.compress(content))
    texts = open_texts(path, "text")
    assert not texts.file.seekable
    found = [(end, line, row.text) for end, line, row in texts.at(Place(), 1)]
    assert found == [(16, 4, "a\r\nb"), (len(content), 5, "c")]


@pytest.mark.parametrize(
    ("sizes", "rows", "expected"),
    [
        ([10, 10, 10, 10], 20, [(0, 2), (2, 4)]),
        ([10, 10, 10], 9, [(0, 1), (1, 2), (2, 3)]),
        ([10, 30, 5, 5, 5, 40], 15, [(0, 1), (1, 2), (2, 5), (5, 6)]),
        ([1], 4096, [(0, 1)]),
        ([], 4096, []),
    ],
)
def test_units_of_parquet_are_whole_row_groups(tmp_path, sizes: list[int], rows: int, expected: list) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    schema = pyarrow.schema([("text", pyarrow.string()), ("n", pyarrow.int64())])
    texts = [f"text {n}" for n in range(sum(sizes))]
    with parquet.ParquetWriter(tmp_path / "x.parquet", schema) as writer:
        start = 0
        for size in sizes:
            writer.write_table(pyarrow.table({"text": texts[start : start + size], "n": range(size)}, schema=schema))
            start += size
    found = open_texts(tmp_path / "x.parquet", "text")
    units = list(found.file.units(rows, 1 << 20))
    assert units == expected
    assert [row.text for unit in units for _, _, row in found.at(Place(unit=unit), 1)] == texts
    by_size = list(found.file.units(1 << 20, 1))
    assert by_size == [(n, n + 1) for n in range(len(sizes))]


def test_parquet_reads_the_selected_columns_of_its_row_groups(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = {"text": [f"t{n}" for n in range(1000)], "ballast": [json.dumps([n] * 500) for n in range(1000)]}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet", row_group_size=100, compression="none")
    texts = open_texts(tmp_path / "x.parquet", "text")
    rows = list(texts.at(Place(unit=(3, 5)), 301))
    assert [(end, row.number, row.text) for end, _, row in rows] == [
        (n + 1, 301 + n, f"t{300 + n}") for n in range(200)
    ]
