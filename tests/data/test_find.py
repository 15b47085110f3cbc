"""Which files a source names: folders, globs, lists; one kind; each once."""

import gzip
from pathlib import Path

import pytest

from minibert.data.find import find_files, is_list_of_files, size_of, stamp_of
from minibert.errors import CheckpointError, InputError


@pytest.fixture
def data(tmp_path) -> Path:
    for name in ("b.jsonl", "a.jsonl", "sub/c.jsonl", ".hidden.jsonl", "read.md", "old/x.jsonl", "old/manifest.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"text": "a"}\n')
    return tmp_path


def test_files_folders_globs_and_lists(data) -> None:
    a, b, c = data / "a.jsonl", data / "b.jsonl", data / "sub" / "c.jsonl"
    assert find_files(a) == find_files(str(a)) == [a]
    assert find_files(data) == [a, b, c]
    assert find_files(data / "*.jsonl") == [a, b]
    assert find_files(f"{data}/**/[bc].jsonl") == [b, c]
    assert find_files([str(data / "sub"), data / "a*"]) == [c, a]
    (data / "x[1].jsonl").write_text("{}")
    assert find_files(data / "x[1].jsonl") == [data / "x[1].jsonl"]  # a name, not a glob
    assert find_files(data, output=data / "sub") == [a, b, data / "x[1].jsonl"]


def test_each_once(data, caplog) -> None:
    (data / "link.jsonl").symlink_to(data / "a.jsonl")
    assert find_files([data / "a.jsonl", data / "*.jsonl"]) == [data / "a.jsonl", data / "b.jsonl"]
    assert "Named twice, and read once" in caplog.text


def test_one_kind(data) -> None:
    (data / "d.jsonl.gz").write_bytes(gzip.compress(b'{"text": "b"}\n'))
    assert len(find_files(data)) == 4
    (data / "e.csv").write_text("text\na\n")
    with pytest.raises(InputError, match=r"of several kinds: a\.jsonl is \.jsonl, e\.csv \.csv\. Name those of one"):
        find_files(data)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("none.jsonl", "none.jsonl does not exist"),
        ("*.parquet", r"No file is called like '.*\*\.parquet'"),
        ("empty", r"The folder .*empty holds no file to read \(1 \.md\); read are \.txt, \.csv"),
        ("read.md", r"read\.md ends in '\.md'; an input is \.txt"),
    ],
)
def test_there_is_none(data, source: str, sentence: str) -> None:
    (data / "empty").mkdir()
    (data / "empty" / "x.md").touch()
    with pytest.raises(InputError, match=sentence):
        find_files(data / source)


def test_what_is_no_path(data) -> None:
    for source in (None, 3, "", [None], [3]):
        with pytest.raises((InputError, TypeError)):
            find_files(source)
    with pytest.raises(InputError, match="There is no file to read"):
        find_files([])
    (data / "dangling.jsonl").symlink_to(data / "nothing")
    with pytest.raises(CheckpointError, match="a link to nothing"):
        find_files(data / "dangling.jsonl")


def test_size_and_stamp(data) -> None:
    path = data / "a.jsonl"
    size, stamp = size_of(path), stamp_of(path)
    assert size == 14
    path.write_text("{}")
    assert (size_of(path), stamp_of(path)) != (size, stamp)
    assert is_list_of_files([path]) and is_list_of_files((path, path))
    assert not any(map(is_list_of_files, ([], [str(path)], path, str(path), [path, "x"], None)))
