"""A corpus folder: what is in it, in each format; what it refuses; what it repairs."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import minibert
from minibert import CheckpointError, Embedder, InputError, MissingExtraError, embed_corpus, nearest
from minibert.corpus.manifest import shard_records
from minibert.corpus.progress import Progress
from minibert.embedding.packed import is_plain
from tests.support.corpus import FOLDER, contents, make_texts

TEXTS = ["a bank", "", "배를 타고\u2028여행", "the river " * 20, 'she said "home"', "hello\x85again", "it was closed"]


@pytest.fixture
def source(tmp_path) -> Path:
    path = tmp_path / "texts.jsonl"
    lines = [json.dumps({"key": f"k{n}", "t": text}, ensure_ascii=False) + "\n" for n, text in enumerate(TEXTS)]
    lines[4:4] = ['{"key": "k?"}\n', "no JSON\n"]
    path.write_text("".join(lines), encoding="utf-8")
    return path


def embed(embedder: Embedder, source: Path, folder: Path, **settings) -> minibert.CorpusReport:
    """``source`` in shards of 3 rows: 9 rows, of which two are bad."""
    columns = {"column": "t", "id_column": "key", "skip_bad": True}
    return embed_corpus(embedder, source, folder, **{"shard_rows": 3, **columns, **settings})


def test_a_model_from_a_state_dict_has_no_source(embedder, source, tmp_path) -> None:
    model = type(embedder.model).from_pretrained(
        None, config=embedder.model.config, state_dict=embedder.model.state_dict()
    )
    embed(Embedder(model, embedder.tokenizer), source, tmp_path / "out")
    made_by = manifest_of(tmp_path / "out")["model"]
    assert (made_by["source"], made_by["revision"]) == (None, None)
    with pytest.raises(InputError, match="names no model: it was only in memory"):
        nearest(tmp_path / "out", "a bank")


def manifest_of(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def expected_blocks(embedder: Embedder, **encoding) -> list[torch.Tensor]:
    """The vectors of each shard: its batches come from its own rows."""
    return [embedder.encode(texts, **encoding) for texts in (TEXTS[:3], TEXTS[3:4], TEXTS[4:])]


@pytest.mark.parametrize("keep_text", [True, False])
@pytest.mark.parametrize("file_format", ["safetensors", "npy"])
def test_shards_ids_and_order(embedder, source, tmp_path, file_format: str, keep_text: bool) -> None:
    folder = tmp_path / "out"
    report = embed(embedder, source, folder, format=file_format, keep_text=keep_text)
    names = [f"shard-{n:05d}.{end}" for n in range(3) for end in sorted(("json", "jsonl", file_format))]
    assert sorted(contents(folder)) == sorted(
        ["manifest.json", "skipped.jsonl", "plan-00000.jsonl", "records-00000.jsonl", *names]
    )
    numbers, keys = [1, 2, 3, 4, 7, 8, 9], [f"k{n}" for n in range(7)]
    found = []
    for number, expected in enumerate(expected_blocks(embedder)):
        path = folder / f"shard-{number:05d}.{file_format}"
        if file_format == "npy":
            numpy = pytest.importorskip("numpy")
            loaded = numpy.load(path, mmap_mode="r")
            assert (loaded.dtype, loaded.flags.c_contiguous) == (numpy.float32, True)
            vectors = torch.tensor(loaded)
        else:
            (vectors,) = load_file(path).values()
        assert torch.equal(vectors, expected)
        lines = (folder / f"shard-{number:05d}.jsonl").read_text(encoding="utf-8").splitlines()
        found += [json.loads(line) for line in lines]
        assert len(lines) == len(vectors)
    assert [line["row"] for line in found] == numbers
    assert [line["id"] for line in found] == keys
    assert [line.get("text") for line in found] == (TEXTS if keep_text else [None] * 7)
    assert (report.rows, report.vectors, report.width, report.shards) == (9, 7, 16, 3)
    assert (report.complete, report.skipped, report.truncated) == (True, 2, 1)
    assert report.tokens == sum(min(len(ids), 32) for ids in embedder.tokenizer(TEXTS)["input_ids"])
    skipped = [json.loads(line) for line in (folder / "skipped.jsonl").read_text().splitlines()]
    assert [(line["row"], line["line"]) for line in skipped] == [(5, 5), (6, 6)]
    assert skipped[0]["why"] == "has no 't'"
    assert skipped[1]["why"].startswith("is not JSON (Expecting value")


def test_the_manifest(embedder, source, tmp_path) -> None:
    folder = tmp_path / "out"
    embed(embedder, source, folder, pooling=[1, 2], normalize=True, long="windows", stride=4)
    manifest = manifest_of(folder)
    assert (manifest["kind"], manifest["version"], manifest["complete"]) == ("minibert corpus", 3, True)
    model = manifest["model"]
    assert (model["source"], model["revision"], model["dtype"]) == (str(FOLDER.resolve()), None, "float32")
    assert manifest["encoding"] == {
        "pooling": [1, 2], "layers": "last", "weights": None, "normalize": True, "include_special_tokens": True,
        "long": "windows", "stride": 4,
    }  # fmt: skip
    assert manifest["threads"] == 1
    (file,), stamp = manifest["input"].pop("files"), source.stat().st_mtime_ns
    assert file == {"name": str(source), "bytes": source.stat().st_size, "stamp": stamp, "row": 1, "rows": 9}
    assert manifest["input"] == {
        "format": ".jsonl", "lines": False, "head": {}, "column": "t", "column_given": True, "id_column": "key",
        "rows": 9, "sha256": manifest["input"]["sha256"], "unreadable": 2,
    }  # fmt: skip
    assert manifest["output"] == {
        "format": "safetensors", "dtype": "float32", "width": 32, "shard_rows": 3, "shard_bytes": 16 << 20,
        "text": True, "ids": "string",
    }  # fmt: skip
    lines = (folder / "plan-00000.jsonl").read_bytes()
    assert manifest["plan"] == [{"name": "plan-00000.jsonl", "shards": 3, "sha256": hashlib.sha256(lines).hexdigest()}]
    plan = [json.loads(line) for line in lines.splitlines()]
    assert [(line["shard"], line["group"], line["row"], line["rows"], line["bad"]) for line in plan] == [
        (0, 0, 1, 3, 0), (1, 1, 4, 3, 2), (2, 2, 7, 3, 0),
    ]  # fmt: skip
    content = source.read_bytes()
    for line in plan:
        part = content[line["offset"] : line["offset"] + line["bytes"]]
        assert part.splitlines() == content.splitlines()[line["line"] - 1 : line["line"] + 2]
    assert plan[-1]["offset"] + plan[-1]["bytes"] == len(content)
    digests = b"".join(bytes.fromhex(line["sha256"]) for line in plan)
    assert manifest["input"]["sha256"] == hashlib.sha256(digests).hexdigest()
    listed = (folder / "records-00000.jsonl").read_bytes()
    digest = hashlib.sha256(listed).hexdigest()
    assert manifest["records"] == [{"name": "records-00000.jsonl", "shards": 3, "sha256": digest}]
    shards = [json.loads(line) for line in listed.splitlines()]
    assert list(shard_records(folder, manifest)) == shards
    assert [shard["rows"] for shard in shards] == [[1, 3], [4, 6], [7, 9]]
    assert [shard["vectors"] for shard in shards] == [3, 1, 3]
    assert [shard["skipped"] for shard in shards] == [0, 2, 0]
    assert manifest["processors"] == {shards[0]["processor"]: 3}
    assert manifest["counts"] == {"vectors": 7, "skipped": 2, "truncated": 0, "tokens": manifest["counts"]["tokens"]}
    assert sum(shard["tokens"] for shard in shards) == manifest["counts"]["tokens"] > 60
    for shard in shards:
        for name, said in shard["files"].items():
            content = (folder / name).read_bytes()
            assert said == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def test_an_optimized_embedder_makes_the_same_bytes(embedder, source, tmp_path) -> None:
    embed(embedder, source, tmp_path / "plain", shard_rows=1)
    optimized = Embedder.from_pretrained(FOLDER)
    optimized.optimize(compile=False)
    embed(optimized, source, tmp_path / "optimized", shard_rows=1)
    assert contents(tmp_path / "optimized") == contents(tmp_path / "plain")
    assert optimized.transposed is not None
    assert not torch.equal(optimized.encode("a bank"), embedder.encode("a bank"))  # else nothing is proved


@pytest.mark.parametrize("numbers", [True, False])
def test_parquet_shards(embedder, tmp_path, numbers: bool) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    texts = make_texts(50)
    ids = [n * 7 if numbers else f"k{n}" for n in range(50)]
    parquet.write_table(pyarrow.table({"t": texts, "i": ids}), tmp_path / "texts.parquet")
    for keep_text in (True, False):
        folder = tmp_path / f"out-{keep_text}"
        embed_corpus(
            embedder, tmp_path / "texts.parquet", folder, column="t", id_column="i", format="parquet", shard_rows=20,
            keep_text=keep_text,
        )  # fmt: skip
        assert len(contents(folder)) == 3 * 2 + 3
        table = parquet.read_table([folder / f"shard-{n:05d}.parquet" for n in range(3)])
        assert table.column_names == ["row", "id", *(["text"] if keep_text else []), "vector"]
        assert table["row"].to_pylist() == list(range(1, 51))
        assert table["id"].to_pylist() == ids
        assert not keep_text or table["text"].to_pylist() == texts
        expected = torch.cat([embedder.encode(texts[start : start + 20]) for start in (0, 20, 40)])
        assert torch.equal(torch.tensor(table["vector"].to_pylist()), expected)


def test_parquet_needs_its_extra(embedder, source, tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[parquet\]'"):
        embed(embedder, source, tmp_path / "out", format="parquet")
    source.rename(source.with_suffix(".parquet"))
    with pytest.raises(MissingExtraError, match="pyarrow is not installed"):
        embed(embedder, source.with_suffix(".parquet"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_but_bad_rows_and_nothing_at_all(embedder, tmp_path) -> None:
    for content, rows, shards in ((b"\xff\n\xff\n\xff", 3, 2), (b"", 0, 0)):
        source, folder = tmp_path / "x.txt", tmp_path / str(rows)
        source.write_bytes(content)
        report = embed_corpus(embedder, source, folder, skip_bad=True, shard_rows=2, format="npy")
        assert (report.vectors, report.skipped, report.shards, report.complete) == (0, rows, shards, True)
        before = contents(folder)
        assert embed_corpus(embedder, source, folder, skip_bad=True, shard_rows=2, format="npy") == report
        assert contents(folder) == before


def test_bad_rows_are_refused_before_anything_is_written(embedder, source, tmp_path) -> None:
    sentence = r"texts\.jsonl: row 5 has no 't'; in all, 2 of 9 rows cannot be read\. Mend the file, .* \(--skip-bad\)"
    with pytest.raises(InputError, match=sentence):
        embed(embedder, source, tmp_path / "out", skip_bad=False)
    assert not (tmp_path / "out").exists()


def test_a_second_run_changes_nothing_and_mends_what_is_damaged(embedder, source, tmp_path) -> None:
    folder = tmp_path / "out"
    report = embed(embedder, source, folder)
    whole, times = contents(folder), {path: path.stat().st_mtime_ns for path in folder.glob("shard-*")}
    assert embed(embedder, source, folder) == report
    assert {path: path.stat().st_mtime_ns for path in folder.glob("shard-*")} == times
    flipped = bytearray(whole["shard-00001.safetensors"])
    flipped[-1] ^= 1
    (folder / "shard-00001.safetensors").write_bytes(flipped)
    (folder / "shard-00002.json").write_text("{}")
    (folder / "shard-00000.jsonl").unlink()
    (folder / "skipped.jsonl").unlink()
    (folder / ".shard-00002.npy.17-23.part").touch()
    assert embed(embedder, source, folder) == report
    assert contents(folder) == whole


def test_the_model_may_have_moved_but_not_changed(embedder, source, tmp_path) -> None:
    folder = tmp_path / "out"
    embed(embedder, source, folder)
    whole = contents(folder)
    embedder.model.save_pretrained(tmp_path / "copy")
    embedder.tokenizer.save_pretrained(tmp_path / "copy")
    embed(Embedder.from_pretrained(tmp_path / "copy"), source.rename(tmp_path / "moved.jsonl"), folder)
    assert contents(folder) == whole
    other = Embedder.from_pretrained(FOLDER)
    with torch.no_grad():
        other.model.encoder.layer[1].output.dense.bias[3] += 1e-6
    with pytest.raises(InputError, match=r"was begun with something else: model\.sha256 was '\w+' and is now"):
        embed(other, tmp_path / "moved.jsonl", folder)
    other = Embedder.from_pretrained(FOLDER)
    other.tokenizer.do_lower_case = False
    with pytest.raises(InputError, match=r"model\.tokenizer_sha256 was"):
        embed(other, tmp_path / "moved.jsonl", folder)
    assert contents(folder) == whole


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"pooling": "cls"}, r"encoding\.pooling was 'mean' and is now 'cls'"),
        ({"normalize": True}, r"encoding\.normalize was False and is now True"),
        ({"shard_rows": 4}, r"output\.shard_rows was 3 and is now 4"),
        ({"format": "npy", "keep_text": False}, r"output\.format was 'safetensors' and is now 'npy'; output\.text was"),
        ({"id_column": None}, r"input\.id_column was 'key' and is now None"),
    ],
)
def test_other_settings_are_refused(embedder, source, tmp_path, change: dict, sentence: str) -> None:
    embed(embedder, source, tmp_path / "out")
    whole = contents(tmp_path / "out")
    with pytest.raises(InputError, match=sentence):
        embed(embedder, source, tmp_path / "out", **change)
    assert contents(tmp_path / "out") == whole


def test_another_input_is_refused(embedder, source, tmp_path) -> None:
    embed(embedder, source, tmp_path / "out")
    source.write_text(source.read_text(encoding="utf-8").replace("bank", "tank"), encoding="utf-8")
    with pytest.raises(InputError, match=r"input\.sha256 was '\w+' and is now '\w+'\. Give the same again"):
        embed(embedder, source, tmp_path / "out")


@pytest.mark.parametrize("change", ["bb\n" * 10, "a\n" * 4 + "b\n" * 6, "a\n" * 5, "a\n" * 4 + "aa" * 6 + "\n"])
def test_an_input_that_changes_while_it_is_read(embedder, tmp_path, change: str) -> None:
    (tmp_path / "x.txt").write_text("a\n" * 10)
    hook = embedder.model.embeddings.register_forward_pre_hook(
        lambda *_: (tmp_path / "x.txt").write_text(change) and None
    )
    try:
        with pytest.raises(InputError, match=r"x\.txt was changed while it was read, or since it was planned"):
            embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "out", shard_rows=4)
    finally:
        hook.remove()
    made = sorted(contents(tmp_path / "out"))
    assert made == [
        "manifest.json",
        "plan-00000.jsonl",
        *(f"shard-00000.{end}" for end in ("json", "jsonl", "safetensors")),
    ]


def test_rows_that_are_added_while_it_is_read_are_not_of_the_plan(embedder, tmp_path) -> None:
    (tmp_path / "x.txt").write_text("a\n" * 10)

    def add(*_: object) -> None:
        with (tmp_path / "x.txt").open("a") as file:
            file.write("b\n")

    hook = embedder.model.embeddings.register_forward_pre_hook(add)
    try:
        report = embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "out", shard_rows=4)
    finally:
        hook.remove()
    assert (report.complete, report.rows) == (True, 10)
    with pytest.raises(InputError, match=r"input\.sha256 was '\w+' and is now '\w+'; input\.rows was 10 and is now"):
        embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "out", shard_rows=4)


def test_foreign_folders_are_refused(embedder, source, tmp_path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").touch()
    with pytest.raises(InputError, match="mine holds 'thesis.txt' and no manifest.json, so it is no corpus"):
        embed(embedder, source, folder)
    (folder / "manifest.json").write_text('{"name": "an extension"}')
    with pytest.raises(CheckpointError, match="is not the manifest of a corpus"):
        embed(embedder, source, folder)
    with pytest.raises(CheckpointError, match="texts.jsonl, which is a file; give the path of a folder"):
        embed(embedder, source, source)
    assert sorted(contents(folder)) == ["manifest.json", "thesis.txt"]
    (tmp_path / "empty").mkdir()
    assert embed(embedder, source, tmp_path / "empty" / "new" / "folder").complete


def test_workers_share_a_folder(embedder, source, tmp_path) -> None:
    embed(embedder, source, tmp_path / "alone")
    first = embed(embedder, source, tmp_path / "out", worker=(1, 2))
    assert (first.complete, first.shards, first.vectors) == (False, 1, 1)
    assert str(first).endswith("in 1 shard so far; other workers are still at it, or were stopped")
    assert manifest_of(tmp_path / "out")["complete"] is False
    assert embed(embedder, source, tmp_path / "out", worker=(0, 2)).complete
    assert contents(tmp_path / "out") == contents(tmp_path / "alone")


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"format": "hdf5"}, "'hdf5' is no format of shards"),
        ({"shard_rows": 0}, "a shard has at least 1 row"),
        ({"worker": (2, 2)}, "There is no worker 2 of 2"),
        ({"pooling": "median"}, "'median' is no pooling"),
        ({"layers": 7}, "There is no hidden state 7"),
        ({"long": "fold"}, "long is 'fold'"),
        ({"batch_size": 32}, "embed_corpus has no argument 'batch_size'"),
    ],
)
def test_arguments_that_are_none(embedder, source, tmp_path, settings: dict, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        embed(embedder, source, tmp_path / "out", **settings)
    assert not (tmp_path / "out").exists()


def test_counting_what_is_embedded_leaves_the_model_plain() -> None:
    """A hook that counts would make the Embedder call the model instead of running it packed."""
    embedder = Embedder.from_pretrained(FOLDER)
    texts = ["the bank", "", "He sat on the bank of the river."]
    with Progress(embedder, len(texts), 0) as progress:
        progress.left = len(texts)
        assert is_plain(embedder.model)
        embedder.encode(texts)
    assert progress.left == 0 and embedder.on_batch is None
    assert progress.tokens == sum(map(len, embedder.tokenizer(texts)["input_ids"]))


@pytest.mark.parametrize("kind", ["texts", "dicts", "DataFrame", "Dataset"])
def test_rows_in_memory(kind: str, embedder, tmp_path) -> None:
    """The vectors of the file; the same rows are recognised, and others refused."""
    rows = [{"key": f"k{n}", "t": text} for n, text in enumerate(TEXTS)]
    columns = {"column": "t", "id_column": "key"}

    def given(rows: list[dict]):
        if kind == "texts":
            return [row["t"] for row in rows]
        if kind == "DataFrame":
            return pytest.importorskip("pandas").DataFrame(rows)
        return pytest.importorskip("datasets").Dataset.from_list(rows) if kind == "Dataset" else rows

    if kind == "texts":
        columns = {}
    file = tmp_path / "x.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    embed_corpus(embedder, file, tmp_path / "file", column="t", shard_rows=3)
    report = embed_corpus(embedder, given(rows), tmp_path / "out", shard_rows=3, **columns)
    assert report.complete and report.rows == len(TEXTS)
    for number in range(3):
        name = f"shard-{number:05d}.safetensors"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "file" / name).read_bytes()
    assert embed_corpus(embedder, given(rows), tmp_path / "out", shard_rows=3, **columns) == report
    with pytest.raises(InputError, match=r"begun with something else: input\.sha256 was"):
        embed_corpus(embedder, given([*rows[:-1], {"key": "k", "t": "x"}]), tmp_path / "out", shard_rows=3, **columns)
    hits = nearest(tmp_path / "out", "a bank", 1)
    assert hits[0].id == (1 if kind == "texts" else "k0")
