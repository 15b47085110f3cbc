"""The manifest names the backend that made a corpus, and a run that goes on uses that one."""

import json
from pathlib import Path

import pytest

from minibert import Embedder, InputError, MissingExtraError, embed_corpus, nearest
from minibert.cli import main
from tests.support.command import mistake
from tests.support.corpus import FOLDER, contents, make_texts


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("MINIBERT_CACHE", str(tmp_path_factory.getbasetemp() / "graphs"))


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(make_texts(60)) + "\n", encoding="utf-8")
    return path


def model_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["model"]


def test_a_resumed_run_uses_the_same_backend(source, tmp_path, caplog):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    with_openvino = Embedder.from_pretrained(FOLDER, backend="openvino")
    for folder in (whole, resumed):
        embed_corpus(with_openvino, source, folder, shard_rows=16)
    expected = contents(whole)
    assert model_of(whole)["backend"] == "openvino"
    assert model_of(whole)["backend_version"] == with_openvino.backend.versions["openvino"]
    for name in ("shard-00001.json", "shard-00001.safetensors", "shard-00003.safetensors"):
        (resumed / name).unlink()
    other = Embedder.from_pretrained(FOLDER)
    other.asked_backend = "onnxruntime"
    embed_corpus(other, source, resumed, shard_rows=16)
    assert "was begun with the backend openvino, so it goes on with that" in caplog.text
    assert other.backend.name == "torch"  # the caller's embedder is as it was
    assert contents(resumed) == expected
    by_text = nearest(whole, "the bank", model=FOLDER)
    by_vector = nearest(whole, with_openvino.encode("the bank"), model=FOLDER)
    for first, second in zip(by_text, by_vector, strict=True):
        assert first.score == pytest.approx(second.score, abs=1e-6)


def test_the_graph_gives_the_layers_of_the_corpus(source, tmp_path, monkeypatch):
    embedder = Embedder.from_pretrained(FOLDER, backend="openvino")
    monkeypatch.setattr("minibert.embedding.runner.packed_hidden_states", None)
    embed_corpus(embedder, source, tmp_path / "out", layers=[0, 1])
    assert embedder.runtime is not None
    assert embedder.runtime.layers == (2,)


def test_another_version_of_the_runtime_is_refused(source, tmp_path):
    from minibert.checksum import read_sealed, write_sealed

    embedder, folder = Embedder.from_pretrained(FOLDER, backend="openvino"), tmp_path / "out"
    embed_corpus(embedder, source, folder)
    content, _ = read_sealed(folder / "manifest.json")
    content["model"]["backend_version"] = "2023.1"
    write_sealed(folder / "manifest.json", content)
    with pytest.raises(InputError, match=r"model\.backend_version was '2023\.1' and is now"):
        embed_corpus(embedder, source, folder)


def test_without_the_runtime(source, tmp_path, monkeypatch, capsys):
    from importlib import util

    folder = tmp_path / "out"
    embed_corpus(Embedder.from_pretrained(FOLDER, backend="openvino"), source, folder)
    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda package: None if package == "openvino" else real(package))
    with pytest.raises(MissingExtraError, match="backend='openvino' needs openvino"):
        embed_corpus(Embedder.from_pretrained(FOLDER), source, folder)
    text = mistake(capsys, ["embed", "--input", str(source), "--output", str(folder), "--model", str(FOLDER)])
    assert "pip install '.[openvino]'" in text


def test_on_the_command_line(source, tmp_path, capsys):
    folder = tmp_path / "out"
    command = ["embed", "--input", str(source), "--output", str(folder), "--model", str(FOLDER)]
    assert main([*command, "--backend", "openvino"]) == 0
    assert "openvino 2" in capsys.readouterr().err
    assert main([*command, "--backend", "onnxruntime"]) == 0
    assert "was begun with the backend openvino, so it goes on with that." in capsys.readouterr().err
    assert model_of(folder)["backend"] == "openvino"
    assert main(["embed", "the bank", "--model", str(FOLDER), "--backend", "openvino", "--json"]) == 0
    printed = capsys.readouterr()
    assert len(json.loads(printed.out)[0]["vector"]) == 16
    assert "openvino" in printed.err
