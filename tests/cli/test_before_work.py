"""What can be known before work begins is said before any checkpoint's weights are loaded, in every verb."""

import json
from pathlib import Path

import pytest

import minibert.checkpoint.load
from minibert.cli import main
from tests.support.toy_tasks import TINY


@pytest.fixture(autouse=True)
def no_weights(monkeypatch, tmp_path) -> None:
    """Loading weights fails the test; some files to name."""

    def never(*_: object, **__: object) -> None:
        pytest.fail("weights were loaded")

    monkeypatch.setattr(minibert.checkpoint.load, "_Plan", never)
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    (tmp_path / "texts.txt").write_text("a film\n")
    (tmp_path / "two.csv").write_text("a,b\n1,2\n")
    (tmp_path / "rows.jsonl").write_text(json.dumps({"text": "a", "label": "b"}) + "\n")


SAID = {
    "embed into a file": ("embed --input {0}/texts.txt --output {0}/file", "which is a file"),
    "embed below a file": ("embed --input {0}/texts.txt --output {0}/file/x", "file is no folder"),
    "embed nothing": ("embed --input {0}/none.txt --output {0}/new", "none.txt does not exist"),
    "embed a pdf": ("embed --input {0}/x.pdf --output {0}/new", "is a PDF"),
    "embed no column": ("embed --input {0}/two.csv --output {0}/new", "Say which column"),
    "embed another column": ("embed --input {0}/two.csv --column c --output {0}/new", "no column called 'c'"),
    "embed another worker": ("embed --input {0}/texts.txt --output {0}/file", "which is a file"),
    "convert into a file": ("convert {1} -o {0}/file", "which is a file"),
    "convert below a file": ("convert {1} -o {0}/file/x", "file is no folder"),
    "export below a file": ("export {1} -o {0}/file/x.onnx", "file is no folder"),
    "export into another kind": ("export {1} -o {0}/x.gif", "does not end in .onnx, .pt2, .xml"),
    "export in two formats": ("export {1} -o {0}/x.pt2 --format onnx", "is the name of a file for torch"),
    "export hidden states of unit length": ("export {1} -o {0}/x.onnx --normalize", "makes the vector of a sentence"),
    "golden into a folder": ("golden {1} -o {0}/folder", "which is a folder"),
    "golden below a file": ("golden {1} -o {0}/file/x.safetensors", "file is no folder"),
    "verify against nothing": ("verify {1} --against {0}/none", "none"),
    "verify against no graph": ("verify {1} --against {0}/none.onnx", "There is no file"),
    "verify against what is no graph": ("verify {1} --against {0}/x.onnx", "cannot be read as ONNX"),
    "verify against no port": ("verify {1} --against {0}/none.py:build", "none.py is not a file on this disk"),
    "verify no values": ("verify {1} --values {0}/none.npz", "There is no file"),
    "verify values without ids": ("verify {1} --values {0}/x.npz", "there are no ids"),
    "explore into a folder": ("explore text --model {1} -o {0}/folder", "is a folder"),
    "explore below a file": ("explore text --model {1} -o {0}/file/x.html", "file is no folder"),
    "noise without a folder": ("noise text --model {1} --png {0}/none/x.png", "none is not there"),
    "noise below a file": ("noise text --model {1} --svg {0}/file/x.svg", "is not there"),
    "attention into another kind": ("attention text --model {1} --png {0}/x.gif", "ends in .png"),
    "attention into a folder": ("attention text --model {1} --png {0}/folder.png", "which is a folder"),
    "fill-mask without a mask": ("fill-mask text --model {1}", "The text has no [MASK]"),
    "fill-mask with one too few": ("fill-mask [MASK] text --model {1}", "The text has no [MASK]"),
    "predict into another kind": ("predict {1} --input {0}/texts.txt --output {0}/x.xlsx", "are written as"),
    "predict below a file": ("predict {1} --input {0}/texts.txt --output {0}/file/x.csv", "file is no folder"),
    "predict for nothing": ("predict {1} --input {0}/none.csv --output {0}/x.csv", "none.csv does not exist"),
    "predict in a format": ("predict {1} a --format csv", "--format is for standard input"),
    "predict onto one stream twice": ("predict {1} - --format csv --json", "standard output has the predictions"),
    "evaluate nothing": ("evaluate {1} {0}/none.csv", "none.csv does not exist"),
    "evaluate into a folder": ("evaluate {1} {0}/rows.jsonl --picture {0}/folder.png", "which is a folder"),
    "evaluate into another kind": ("evaluate {1} {0}/rows.jsonl --picture {0}/x.gif", "ends in .gif"),
    "finetune into a file": ("finetune classify {0}/rows.jsonl --output {0}/file --model {1}", "which is a file"),
    "finetune on nothing": ("finetune classify {0}/none.csv --output {0}/new --model {1}", "none.csv does not exist"),
    "finetune with no dev": (
        "finetune classify {0}/rows.jsonl --dev {0}/none.csv --output {0}/new --model {1}", "none.csv does not exist",
    ),
    "finetune too long": (
        "finetune classify {0}/rows.jsonl --output {0}/new --max-length 999 --model {1}", "max_length is 999",
    ),
    "finetune on the other column": (
        "finetune classify {0}/rows.jsonl --column c --output {0}/new --model {1}", "no column called 'c'",
    ),
    "finetune with no rate": (
        "finetune classify {0}/rows.jsonl --learning-rate 0 --output {0}/new --model {1}", "learning_rate is 0.0",
    ),
    "pretrain into a file": ("pretrain {0}/texts.txt --output {0}/file --from {1}", "which is a file"),
    "pretrain on nothing": ("pretrain {0}/none.txt --output {0}/new --from {1}", "none.txt does not exist"),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAID)
def test_said_before_weights_are_loaded(kind: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "x.pdf").write_bytes(b"%PDF-1.7")
    (tmp_path / "x.onnx").write_bytes(b"no graph")
    if "graph" in kind:
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
    if "ids" in kind:
        numpy = pytest.importorskip("numpy")
        numpy.savez(tmp_path / "x.npz", x=numpy.ones((2, 3)))
    typed, sentence = SAID[kind]
    assert main([part.format(tmp_path, TINY) for part in typed.split()]) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
    assert not (tmp_path / "new").exists()


def test_embed_finds_the_column_that_finetune_finds(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.undo()
    (tmp_path / "x.csv").write_text("id,document\n1,a film\n")
    assert (
        main(["embed", "--input", str(tmp_path / "x.csv"), "--output", str(tmp_path / "v"), "--model", str(TINY)]) == 0
    )
    assert "the texts are those of the column 'document' (--column NAME for another)" in capsys.readouterr().err
    manifest = json.loads((tmp_path / "v" / "manifest.json").read_text())
    assert manifest["input"]["column"] == "document" and manifest["counts"]["vectors"] == 1
