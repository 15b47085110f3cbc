"""What is kept: built once, used again; damaged, foreign and unwritable entries; two processes at once."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from minibert import Embedder
from minibert.embedding.backends.cache import build_entry, cache_folder, entry_path, read_entry
from minibert.embedding.backends.runtime import Runtime
from minibert.errors import CheckpointError
from tests.embedding.backends.conftest import FOLDER

FACTS = {"model": "abc", "layers": [2]}
PROOF = {"proof": {"hidden_states": 1e-7, "vectors": 1e-8}}


def fill(folder: Path) -> dict[str, object]:
    (folder / "graph").write_bytes(b"graph" * 100)
    return PROOF


def test_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path / "own"))
    assert cache_folder() == tmp_path / "own"
    monkeypatch.delenv("MINIBERT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "minibert"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "minibert"


def test_a_graph_is_built_once(name, monkeypatch):
    Embedder.from_pretrained(FOLDER, backend=name)
    kind = type(Embedder.from_pretrained(FOLDER, backend=name).runtime.runtime)
    assert issubclass(kind, Runtime)
    monkeypatch.setattr(kind, "build", None)
    again = Embedder.from_pretrained(FOLDER, backend=name)
    assert "kept from before: hidden states within" in str(again.backend)
    other = Embedder.from_pretrained(FOLDER)
    with torch.no_grad():
        other.model.encoder.layer[0].output.dense.bias[3] += 1
    with pytest.raises(Exception, match="not callable"):  # other weights are another entry
        other.use_backend(name)


@pytest.mark.parametrize("damage", ["graph", "proof", "missing", "foreign"])
def test_damaged_entries_are_built_again(tmp_path, monkeypatch, damage):
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    path = entry_path("openvino", FACTS)
    proof = build_entry(path, FACTS, fill)
    assert read_entry(path, FACTS) == proof
    assert proof["proof"] == PROOF["proof"]
    if damage == "graph":
        (path / "graph").write_bytes(b"graph" * 99 + b"grape")
    elif damage == "proof":
        (path / "proof.json").write_text((path / "proof.json").read_text().replace("abc", "abd"))
    elif damage == "missing":
        (path / "graph").unlink()
    else:
        assert read_entry(path, {**FACTS, "layers": [1]}) is None
        (path / "proof.json").write_text("{}")
    assert read_entry(path, FACTS) is None
    build_entry(path, FACTS, fill)
    assert read_entry(path, FACTS) == proof
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_where_building_fails_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    path = entry_path("openvino", FACTS)

    def broken(folder: Path) -> dict[str, object]:
        fill(folder)
        raise ValueError

    with pytest.raises(ValueError):
        build_entry(path, FACTS, broken)
    assert list(path.parent.iterdir()) == []


def test_several_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path))
    path = entry_path("openvino", FACTS)
    with ThreadPoolExecutor(8) as pool:
        proofs = list(pool.map(lambda _: build_entry(path, FACTS, fill), range(32)))
    assert all(proof == proofs[0] for proof in proofs)
    assert read_entry(path, FACTS) == proofs[0]
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path / "file"))
    with pytest.raises(CheckpointError, match="cannot be used .* Set MINIBERT_CACHE to another folder"):
        build_entry(entry_path("openvino", FACTS), FACTS, fill)


@pytest.mark.slow
@pytest.mark.crash
def test_two_processes_build_at_once(name, tmp_path):
    program = (
        "import sys; from minibert import Embedder; "
        "print(Embedder.from_pretrained(sys.argv[1], backend=sys.argv[2]).encode('a').sum().item())"
    )
    environment = {"MINIBERT_CACHE": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(FOLDER), name], stdout=subprocess.PIPE, text=True, env=environment
        )
        for _ in range(2)
    ]
    printed = {process.communicate()[0] for process in started}
    assert len(printed) == 1
    assert [process.returncode for process in started] == [0, 0]
    assert len(list((tmp_path / "backends").iterdir())) == 1
