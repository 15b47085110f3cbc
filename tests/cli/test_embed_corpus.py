"""``minibert embed --input`` and ``minibert similar --in``, as they are typed."""

import gzip
import json
import os
import pty
import re
import subprocess
import termios
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from minibert import Embedder
from minibert.cli import main
from minibert.commands.embed import layers
from minibert.embedding.precision import quantize_embeddings, ranges_of
from tests.support.command import ROOT, command, mistake, run
from tests.support.corpus import FOLDER, contents, make_texts
from tests.support.hub_server import HubServer
from tests.support.sentence_folders import plain, write

MODEL = ["--model", str(FOLDER)]
ROWS = "key,text\nk0,the bank\nk1,the river\nk2,she sat\nk3,배를 타고\n"


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(ROWS, encoding="utf-8")
    return path


def test_prompts(source, tmp_path, capsys) -> None:
    prompts = {"prompts": {"query": "the bank: ", "document": "she sat "}, "default_prompt_name": "query"}
    folder = write(tmp_path / "model", plain() | {"config_sentence_transformers.json": prompts})
    embedder = Embedder.from_pretrained(folder, default_prompt_name=None)

    def cosine_of(*arguments: str) -> float:
        assert main([*arguments, "--json"]) == 0
        (hit,) = json.loads(capsys.readouterr().out)["hits"]
        return hit["score"]

    def expected(query: str, document: str) -> float:
        return torch.cosine_similarity(*embedder.encode([query, document]).double(), dim=0).item()

    model = ["--model", str(folder)]
    out = str(tmp_path / "out")
    (tmp_path / "one.txt").write_text("the river\n")
    assert main(["embed", "--input", str(tmp_path / "one.txt"), "--output", out, *model]) == 0
    capsys.readouterr()
    found = cosine_of("similar", "home", "--in", out)
    assert found == pytest.approx(expected("the bank: home", "she sat the river"), abs=1e-6)
    found = cosine_of("similar", "home", "--in", out, "--prompt", "of ")
    assert found == pytest.approx(expected("of home", "she sat the river"), abs=1e-6)
    for options, text in (
        ([], "the bank: home"),
        (["--prompt", ""], "home"),
        (["--prompt-name", "document"], "she sat home"),
    ):
        assert main(["embed", "home", *model, *options, "--truncate-dim", "5", "--json"]) == 0
        vector = torch.tensor(json.loads(capsys.readouterr().out)[0]["vector"])
        assert torch.allclose(vector, embedder.encode(text, truncate_dim=5, normalize=True), atol=1e-6)
    said = mistake(capsys, ["similar", "home", "the home", "--prompt", "x"])
    assert "--prompt goes before a text to look for in a corpus" in said
    said = mistake(capsys, ["embed", "home", *model, "--prompt-name", "y"])
    assert "prompt_name is 'y' (str); expected one of query, document." in said


def test_a_corpus_and_its_nearest(source, tmp_path, capsys) -> None:
    folder = tmp_path / "out"
    options = ["--column", "text", "--id-column", "key", "--shard-rows", "3", "--format", "npy", "--no-text"]
    arguments = ["embed", "--input", str(source), "--output", str(folder), *MODEL, *options]
    choices = [
        "--device",
        "cpu",
        "--dtype",
        "float32",
        "--pooling",
        "cls",
        "--layers",
        "1,2",
        "--no-normalize",
        "--long",
        "windows",
    ]
    assert main([*arguments, *choices]) == 0
    assert capsys.readouterr() == (f"{folder}: 4 vectors of 32 numbers in 2 shards\n", "")
    assert main([*arguments, *choices, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(folder), "complete": True, "rows": 4, "vectors": 4, "width": 32, "shards": 2, "skipped": 0,
        "truncated": 0, "tokens": json.loads((folder / "manifest.json").read_text())["counts"]["tokens"],
        "precision": "float32", "bytes_per_vector": 128, "clipped": 0, "sample": 0, "loss": None,
        "failed": [],
    }  # fmt: skip
    encoding = json.loads((folder / "manifest.json").read_text())["encoding"]
    assert (encoding["pooling"], encoding["layers"], encoding["normalize"]) == ("cls", [1, 2], False)
    assert main(["similar", "the river", "--in", str(folder), "-k", "2", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    assert hits[0]["id"] == "k1"
    assert hits[0]["score"] == pytest.approx(1.0, abs=1e-6)
    assert "encoding.pooling was 'cls' and is now 'mean'" in mistake(capsys, [*arguments, "--pooling", "mean"])


@pytest.mark.parametrize("option", ["--precision", "--dtype"])
@pytest.mark.parametrize("precision", ["int8", "uint8", "binary", "ubinary"])
def test_precisions(source, tmp_path, capsys, option: str, precision: str) -> None:
    folder = tmp_path / "out"
    arguments = ["embed", "--input", str(source), "--column", "text", "--output", str(folder), *MODEL]
    assert main([*arguments, option, precision]) == 0
    said, size = capsys.readouterr().out.splitlines(), 16 if precision.endswith("int8") else 2
    assert said[0] == f"{folder}: 4 vectors of 16 numbers ({precision}, {size} bytes each) in 1 shard"
    assert re.fullmatch(
        rf"{precision} on a sample of 4 rows: cosine with float32 [01]\.\d{{6}} on average, [01]\.\d{{6}} at the 1st "
        r"percentile, [01]\.\d{6} at worst",
        said[1],
    )
    assert re.fullmatch(r"the nearest row of each is the same for [\d.]+%", said[2])
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["output"]["precision"], manifest["model"]["dtype"]) == (precision, "float32")
    assert main([*arguments, "--precision", precision, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["loss"] == manifest["quantization"]["loss"]
    assert main(["similar", "the river", "--in", str(folder), "-k", "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["hits"][0]["text"] == "the river"


def test_a_model_and_vectors_in_float16(source, tmp_path, capsys) -> None:
    arguments = ["embed", "--input", str(source), "--column", "text", *MODEL, "--output"]
    for options, of_model, of_vectors in (
        (["--dtype", "float16"], "float16", "float32"),
        (["--precision", "float16"], "float32", "float16"),
        (["--dtype", "bfloat16", "--precision", "float16"], "bfloat16", "float16"),
    ):
        folder = tmp_path / "-".join(options)
        assert main([*arguments, str(folder), *options]) == 0
        manifest = json.loads((folder / "manifest.json").read_text())
        assert (manifest["model"]["dtype"], manifest["output"]["dtype"]) == (of_model, of_vectors)
    capsys.readouterr()


def test_a_few_texts_in_other_precisions(capsys) -> None:
    texts = ["the bank", "the river", "she sat"]
    vectors = Embedder.from_pretrained(FOLDER).encode(texts, normalize=True)
    for precision in ("float16", "int8", "ubinary"):
        assert main(["embed", *texts, *MODEL, "--precision", precision, "--json"]) == 0
        found = [line["vector"] for line in json.loads(capsys.readouterr().out)]
        assert found == quantize_embeddings(vectors, precision, ranges_of(vectors)).tolist()
    assert main(["embed", *texts, *MODEL, "--dtype", "binary"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("the bank\n  2 bytes: ")
    assert "cosine similarity" in printed


def test_vectors_have_unit_length_unless_told(source, tmp_path, capsys) -> None:
    for options, expected in (([], True), (["--normalize"], True), (["--no-normalize"], False)):
        folder = tmp_path / f"out{options}"
        arguments = ["embed", "--input", str(source), "--column", "text", "--output", str(folder), *MODEL]
        assert main([*arguments, *options]) == 0
        assert json.loads((folder / "manifest.json").read_text())["encoding"]["normalize"] is expected
    assert main(["embed", "the bank", *MODEL, "--no-normalize", "--json"]) == 0
    capsys.readouterr()


def test_bad_rows(source, tmp_path, capsys) -> None:
    source.write_bytes(ROWS.encode() + b"k4,caf\xe9\nk5\n")
    folder = tmp_path / "out"
    arguments = ["embed", "--input", str(source), "--column", "text", "--output", str(folder), *MODEL]
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"minibert: {source}: row 5 (line 6) is not UTF-8 (a byte is 0xe9); in all, 2 of 6 rows cannot"
    )
    assert said.count("\n") == 1
    assert not folder.exists()
    assert main([*arguments, "--skip-bad"]) == 0
    assert capsys.readouterr().out.endswith("; 2 rows could not be read, skipped.jsonl lists them\n")
    lines = [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]
    assert lines == [
        {"row": 5, "line": 6, "why": "is not UTF-8 (a byte is 0xe9)"},
        {"row": 6, "line": 7, "why": "has 1 fields, expected the 2 of the first line"},
    ]


def test_workers(source, tmp_path, capsys) -> None:
    arguments = ["embed", "--input", str(source), "--column", "text", *MODEL, "--shard-rows", "1"]
    assert main([*arguments, "--output", str(tmp_path / "alone")]) == 0
    for worker, said in (("2/3", "1 shard so far"), ("0/3", "3 shards so far"), ("1/3", "4 shards\n")):
        capsys.readouterr()
        assert main([*arguments, "--output", str(tmp_path / "out"), "--worker", worker]) == 0
        assert said in capsys.readouterr().out
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "There is nothing to embed: give texts, or --input FILE with --output DIR."),
        (["x", "--input", "x.txt", "--output", "o"], "Give texts to print their vectors, or --input FILE with"),
        (["--input", "x.txt"], "Say where the vectors go: --output DIR"),
        (["x", "--shard-rows", "5"], "--shard-rows is for a whole file: give one with --input FILE."),
        (["x", "--no-text"], "--no-text is for a whole file"),
        (["--output", "o"], "--output is for a whole file"),
        (["--input", "/nowhere/x.txt", "--output", "o"], "/nowhere/x.txt does not exist"),
        (["--input", "/nowhere/x.csv", "--output", "o"], "/nowhere/x.csv does not exist"),
        (["x", "--precision", "int8"], "int8 takes its ranges from the vectors of several texts; give more than one."),
        (["x", "--dtype", "int8", "--precision", "binary"], "--dtype int8 and --precision binary are two precisions"),
        (["--input", __file__, "--output", "o"], "ends in '.py'; an input is .txt"),
        (["--input", __file__, "--output", "o", "--device", "abacus"], "There is no device 'abacus' here"),
    ],
)
def test_mistakes(arguments: list[str], sentence: str, capsys) -> None:
    assert sentence in mistake(capsys, ["embed", *arguments, *MODEL])


@pytest.mark.parametrize("value", ["2/2", "1", "a/b", "1/-2", "1/"])
def test_workers_that_are_none(value: str, capsys) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["embed", "--input", "x.txt", "--output", "o", *MODEL, "--worker", value])
    assert "is not I/N: 0/2 and 1/2 are two workers" in capsys.readouterr().err


def test_the_bar_on_a_terminal(tmp_path) -> None:
    (tmp_path / "x.txt").write_text("\n".join(make_texts(2000)), encoding="utf-8")
    arguments = ["embed", "--input", str(tmp_path / "x.txt"), "--output", str(tmp_path / "out"), *MODEL]
    assert main([*arguments, "--shard-rows", "500", "--worker", "0/4"]) == 0
    reader, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 120))
    process = subprocess.Popen(command(*arguments, "--shard-rows", "500"), cwd=ROOT, stderr=terminal)
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # how a terminal ends once the process has left it
        while block := os.read(reader, 4096):
            shown += block
    os.close(reader)
    assert process.wait() == 0
    bars = [line for line in shown.decode().split("\r") if line.startswith("embedding")]
    assert " 500/2000 [00:00<?" in bars[0]  # what is done already counts, but not into the speed
    shape = r"embedding: +\d+%\|.*\| \d+/2000 \[\d\d:\d\d<\d\d:\d\d, +[\d.]+ texts/s, [\d,]+ tokens/s\]"
    assert re.fullmatch(shape, bars[-1].strip())
    assert "2000/2000" in bars[-1]
    within = [int(re.search(r"(\d+)/2000", bar)[1]) for bar in bars]
    assert within == sorted(within)


def test_a_model_from_the_hub_and_its_revision(source, tmp_path) -> None:
    files = {name: (FOLDER / name).read_bytes() for name in ("config.json", "model.safetensors", "vocab.txt")}
    with HubServer({"owner/bert": files}) as server:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        ours = {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "127.0.0.1"}
        commands = (
            ["embed", "--input", str(source), "--column", "text", "--output", "out", "--model", "owner/bert"],
            ["similar", "the river", "--in", "out", "-k", "1", "--json"],
        )
        for arguments in commands:
            done = run(*arguments, cwd=tmp_path, check=True, env=clean | ours | {"PYTHONPATH": str(ROOT)})
            server.push("owner/bert", {"config.json": b"{}"})  # the branch moves; the corpus names its commit
    model = json.loads((tmp_path / "out" / "manifest.json").read_text())["model"]
    assert model["source"] == "owner/bert"
    assert re.fullmatch("[0-9a-f]{40}", model["revision"])
    assert json.loads(done.stdout)["hits"][0]["text"] == "the river"


def test_layers_as_they_are_typed() -> None:
    assert [layers(text) for text in ("mean", "-1", "5", "1,6", "-1, 2")] == ["mean", -1, 5, [1, 6], [-1, 2]]


def test_a_plan_first_and_then_its_shards_by_number(source, tmp_path, capsys) -> None:
    folder = tmp_path / "out"
    arguments = ["embed", "--input", str(source), "--column", "text", "--output", str(folder), *MODEL]
    arguments += ["--shard-rows", "1"]
    assert main([*arguments, "--plan-only", "--threads", "1"]) == 0
    assert capsys.readouterr().out == f"{folder}: 4 rows are planned as 4 shards\n"
    assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "plan-00000.jsonl"]
    assert main([*arguments, "--plan-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "folder": str(folder), "rows": 4, "unreadable": 0, "files": 1, "shards": 4, "groups": 4, "threads": 1,
    }  # fmt: skip
    assert main([*arguments, "--shards", "0,2-3"]) == 0
    assert "3 vectors of 16 numbers in 3 shards so far" in capsys.readouterr().out
    assert [path.name for path in sorted(folder.glob("*.json"))][1:] == [f"shard-0000{n}.json" for n in (0, 2, 3)]
    assert main([*arguments, "--worker", "1/4"]) == 0
    assert capsys.readouterr().out == f"{folder}: 4 vectors of 16 numbers in 4 shards\n"
    assert "There is no shard 9" in mistake(capsys, [*arguments, "--shards", "1,9"])
    assert "threads was 1 and is now 2" in mistake(capsys, [*arguments, "--threads", "2"])
    both = mistake(capsys, [*arguments, "--shards", "1", "--worker", "0/2"])
    assert "--worker and --shards say which shards to make" in both


@pytest.mark.parametrize("value", ["", "x", "3-1", "1,,2", "-1"])
def test_shards_that_are_no_list(capsys, value: str) -> None:
    with pytest.raises(SystemExit):
        main(["embed", "--input", "x.txt", "--output", "o", *MODEL, f"--shards={value}"])
    assert "is no list of shards such as 0,8,16-31" in capsys.readouterr().err


def test_a_group_that_is_cut_is_refused(tmp_path, capsys) -> None:
    (tmp_path / "x.txt.gz").write_bytes(gzip.compress(b"a\nb\nc\n"))
    arguments = ["embed", "--input", str(tmp_path / "x.txt.gz"), "--output", str(tmp_path / "out"), *MODEL]
    said = mistake(capsys, [*arguments, "--shard-rows", "1", "--shards", "0,2"])
    assert "--shards cuts a group: the shards 0-2 are read together, by one worker. Name all of them or none." in said
    assert main([*arguments, "--shard-rows", "1", "--shards", "0-2"]) == 0


def test_several_inputs(tmp_path, capsys) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b", "c"):
        (tmp_path / "in" / f"{name}.txt").write_text(f"the {name}\n")
    for number, inputs in enumerate((["a.txt", "b.txt", "c.txt"], [""], ["*.txt"], ["[ab].txt", "c.txt"])):
        folder = tmp_path / str(number)
        named = [str(tmp_path / "in" / name) for name in inputs]
        assert main(["embed", "--input", *named, "--output", str(folder), *MODEL]) == 0
        assert capsys.readouterr().out == f"{folder}: 3 vectors of 16 numbers in 3 shards\n"
    (tmp_path / "in" / "d.csv").write_text("text\nx\n")
    said = mistake(capsys, ["embed", "--input", str(tmp_path / "in"), "--output", str(tmp_path / "new"), *MODEL])
    assert "The files are of several kinds" in said


def test_a_shard_that_fails_is_said_with_exit_code_2(tmp_path, capsys, monkeypatch) -> None:
    (tmp_path / "x.txt").write_text("a\nb\nc\n")
    real = Embedder.encode

    def encode(self, texts, *arguments, **settings):
        if "b" in texts:
            raise RuntimeError("out of memory")
        return real(self, texts, *arguments, **settings)

    monkeypatch.setattr(Embedder, "encode", encode)
    arguments = ["embed", "--input", str(tmp_path / "x.txt"), "--output", str(tmp_path / "out"), *MODEL]
    assert main([*arguments, "--shard-rows", "1"]) == 2
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'out'}: 2 vectors of 16 numbers in 2 shards so far; 1 failed\n"
    assert "1 shard failed three times; the others are kept, and the same command tries again:" in said.err
    assert "shard 1 (rows 2 to 2): out of memory" in said.err
    assert main([*arguments, "--shard-rows", "1", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["failed"] == [{"shard": 1, "rows": [2, 2], "why": "out of memory"}]
    monkeypatch.undo()
    assert main([*arguments, "--shard-rows", "1"]) == 0
