"""A checksum is computed once, and again as soon as anything was done to the file."""

import hashlib
import os
import time

import pytest

from minibert.corpus import checked
from minibert.corpus.checked import is_whole
from minibert.corpus.folder import open_folder
from minibert.errors import CheckpointError

CONTENT = b"the river"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def reads(tmp_path, monkeypatch) -> list[str]:
    """The names of the files that are hashed."""
    found: list[str] = []
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "file_digest", lambda path: found.append(path.name) or real(path))
    checked.remembered.cache_clear()
    return found


real = checked.file_digest


def settle() -> None:
    time.sleep(0.05)


def test_read_once_by_all_processes(tmp_path, reads) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    settle()
    for _ in range(3):
        assert is_whole(path, SHA256)
        checked.remembered.cache_clear()  # as another process begins
    assert reads == ["x"]
    assert not is_whole(path, "0" * 64)
    assert len(reads) == 2


@pytest.mark.parametrize("how", ["in place", "replaced", "replaced, with the old time", "longer"])
def test_read_again_after_a_change(tmp_path, reads, how: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    settle()
    assert is_whole(path, SHA256)
    before = path.stat()
    if how == "in place":
        path.write_bytes(CONTENT[::-1])
    elif how == "longer":
        path.write_bytes(CONTENT + b"s")
    else:
        (tmp_path / "y").write_bytes(CONTENT[::-1])
        (tmp_path / "y").replace(path)
    if how.endswith("time"):
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not is_whole(path, SHA256)
    assert len(reads) == 2


def test_what_was_written_just_now_is_not_remembered(tmp_path, reads, monkeypatch) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    monkeypatch.setattr(checked, "TICK", 10**12)
    assert is_whole(path, SHA256) and is_whole(path, SHA256)
    assert len(reads) == 2


def test_a_cache_that_is_damaged_or_cannot_be_written(tmp_path, reads) -> None:
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    settle()
    assert is_whole(path, SHA256)
    memory = checked.memory_of(tmp_path)
    memory.write_bytes(memory.read_bytes()[:20] + b"\xff\n")
    checked.remembered.cache_clear()
    assert is_whole(path, SHA256)
    assert len(reads) == 2
    (tmp_path / "cache").rename(tmp_path / "old")
    (tmp_path / "cache").write_text("a file")
    checked.remembered.cache_clear()
    assert is_whole(path, SHA256)
    assert len(reads) == 3
    with pytest.raises(FileNotFoundError):
        is_whole(tmp_path / "none", SHA256)


def test_a_local_folder(tmp_path) -> None:
    folder = open_folder(tmp_path / "new" / "folder")
    assert (folder.names(), folder.size("x"), folder.is_whole("x", SHA256)) == ([], None, False)
    with folder.written("x") as temporary:
        temporary.write_bytes(CONTENT)
        assert folder.size("x") is None
        assert len(folder.names()) == 1
    assert (folder.names(), folder.size("x"), folder.is_whole("x", SHA256)) == (["x"], 9, True)
    with folder.local("x") as path:
        assert path.read_bytes() == CONTENT
    with pytest.raises(ZeroDivisionError), folder.written("y") as temporary:
        temporary.write_bytes(CONTENT)
        raise ZeroDivisionError
    assert folder.names() == ["x"]
    folder.remove("x")
    folder.remove("x")
    assert folder.names() == []
    (tmp_path / "new" / "folder" / "sub").mkdir()
    with pytest.raises(CheckpointError, match="sub is a folder, expected a file"):
        folder.size("sub")
