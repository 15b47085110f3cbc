"""Inputs and outputs elsewhere: a web server, and an object store (moto's, through s3fs)."""

import gzip
import json
import random
import string
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibert import InputError, embed_corpus, nearest
from minibert.corpus import Plan, embed_shards, finish, plan_corpus
from minibert.corpus.folder import ObjectFolder
from minibert.data import patience
from minibert.data.remote import EDGES
from tests.support.command import mistake, run
from tests.support.corpus import FOLDER, contents, make_texts
from tests.support.range_server import RangeServer

SETTINGS = {"shard_rows": 25, "skip_bad": True}
ROWS = 400
KINDS = ("txt", "csv", "jsonl", "parquet", "txt.gz", "jsonl.zst")


def content_of(kind: str, folder: Path, texts: list[str]) -> bytes:
    """A file of this kind with these texts, and in tables another column, which nobody needs."""
    others = ["".join(random.Random(text).choices(string.ascii_letters, k=20)) for text in texts]
    if kind.startswith("txt"):
        plain = "".join(f"{text}\n" for text in texts).encode()
        return gzip.compress(plain) if kind.endswith(".gz") else plain
    if kind == "csv":
        return "".join(["other,text\n", *(f'{a},"{b}"\n' for a, b in zip(others, texts, strict=True))]).encode()
    rows = [{"other": a, "text": b} for a, b in zip(others, texts, strict=True)]
    if kind.startswith("jsonl"):
        plain = "".join(json.dumps(row) + "\n" for row in rows).encode()
        return pytest.importorskip("zstandard").compress(plain) if kind.endswith(".zst") else plain
    pyarrow = pytest.importorskip("pyarrow.parquet")
    from pyarrow import Table

    path = folder / "rows.parquet"
    table = Table.from_pylist(rows)
    pyarrow.write_table(table, path, row_group_size=50, compression="none", use_dictionary=False)
    return path.read_bytes()


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(patience, "FIRST_WAIT", 0.001)


def long_texts(letters: int) -> list[str]:
    """Texts that are longer than the model reads, and cannot be compressed well."""
    generator = random.Random(5)
    return [f"{text} {generator.randbytes(letters // 2).hex()}" for text in make_texts(ROWS)]


@pytest.fixture(scope="module")
def store() -> Iterator[dict[str, str]]:
    """The environment of an object store, with the bucket s3://data."""
    pytest.importorskip("s3fs", reason="s3fs is not installed (make test does)")
    pytest.importorskip("moto", reason="moto is not installed (make test does)")
    from tests.support.object_store import bucket, object_store

    with object_store() as environment:
        bucket("data")
        yield environment


def assert_same_but_for_the_input(ours: dict[str, bytes], theirs: dict[str, bytes]) -> None:
    """Two folders have the same bytes; a manifest also says where the input was, and when it was changed."""
    manifests = [json.loads(files["manifest.json"]) for files in (ours, theirs)]
    for manifest in manifests:
        del manifest["checksum"]
        for file in manifest["input"]["files"]:
            del file["name"], file["stamp"]
    assert manifests[0] == manifests[1]
    assert {**ours, "manifest.json": b""} == {**theirs, "manifest.json": b""}


@pytest.mark.parametrize("kind", KINDS)
def test_each_byte_is_fetched_once_to_plan_and_once_to_embed(kind, embedder, tmp_path) -> None:
    texts = long_texts(14_000 if kind == "parquet" else 1000)  # each of 8 workers reads a footer of 64 kB
    name, content = f"rows.{kind}", content_of(kind, tmp_path, texts)
    needed = len(content) - (ROWS * 24 if kind == "parquet" else 0)  # another column
    (tmp_path / name).write_bytes(content)
    embed_corpus(embedder, tmp_path / name, tmp_path / "local", **SETTINGS)
    with RangeServer({name: content}) as server:
        plan_corpus(embedder, server.url(name), tmp_path / "web", **SETTINGS)
        assert 0.98 <= server.sent[name] / needed <= 1.02
        for workers in (8, 1):
            server.forget()
            for shard in (tmp_path / "web").glob("shard-*"):
                shard.unlink()
            for number in range(workers):
                EDGES.files.clear()  # as in another process
                plan = Plan.open(tmp_path / "web")
                embed_shards(plan, plan.of_worker(number, workers), embedder)
            assert 0.98 <= server.sent[name] / needed <= 1.1
            assert (finish(tmp_path / "web").complete, finish(tmp_path / "web").vectors) == (True, ROWS)
            assert_same_but_for_the_input(contents(tmp_path / "web"), contents(tmp_path / "local"))


def test_connections_that_break(embedder, tmp_path) -> None:
    content = content_of("csv", tmp_path, long_texts(1000))
    (tmp_path / "rows.csv").write_bytes(content)
    embed_corpus(embedder, tmp_path / "rows.csv", tmp_path / "local", **SETTINGS)
    with RangeServer({"rows.csv": content}) as server:
        server.drop_after(100)
        for count in range(5, 30):
            server.drop_after(count * 1000)
            server.refuse(503, times=count % 3)
        embed_corpus(embedder, server.url("rows.csv"), tmp_path / "web", **SETTINGS)
        assert not server.faults
    assert_same_but_for_the_input(contents(tmp_path / "web"), contents(tmp_path / "local"))


def test_a_server_that_does_not_come_back(embedder, tmp_path) -> None:
    content = content_of("txt", tmp_path, long_texts(1000))
    with RangeServer({"rows.txt": content}) as server:
        url = server.url("rows.txt")
        plan_corpus(embedder, url, tmp_path / "web", **SETTINGS)
        with RangeServer({"rows.txt": content}) as other:
            embed_shards(tmp_path / "web", [0], embedder)
            server.refuse(500, times=100)
            with pytest.raises(InputError, match=r"rows\.txt cannot be read: the server answers HTTP 500"):
                embed_shards(tmp_path / "web", None, embedder)
            server.faults.clear()
            server.files["rows.txt"] = content.replace(b"a", b"e")
            with pytest.raises(InputError, match=r"rows\.txt was changed while it was read"):
                embed_shards(tmp_path / "web", None, embedder)
            report = embed_corpus(embedder, other.url("rows.txt"), tmp_path / "web", **SETTINGS)  # the same, elsewhere
            assert (report.complete, report.vectors) == (True, ROWS)


def test_input_and_output_in_an_object_store(store, embedder, tmp_path) -> None:
    import fsspec

    from tests.support.object_store import objects

    texts = make_texts(ROWS)
    for number in range(2):
        content = content_of("jsonl", tmp_path, texts[number * 200 : number * 200 + 200])
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{number}.jsonl").write_bytes(content)
        fsspec.filesystem("s3").pipe_file(f"data/in/{number}.jsonl", content)
    embed_corpus(embedder, tmp_path / "in", tmp_path / "local", precision="int8", **SETTINGS)
    report = embed_corpus(embedder, "s3://data/in/*.jsonl", "s3://data/vectors/", precision="int8", **SETTINGS)
    assert str(report).startswith("s3://data/vectors: 400 vectors of 16 numbers (int8, 16 bytes each) in 16 shards")
    assert_same_but_for_the_input(objects("data/vectors"), contents(tmp_path / "local"))
    again = embed_corpus(embedder, "s3://data/in", "s3://data/vectors", precision="int8", **SETTINGS)
    assert again == report
    with pytest.raises(InputError, match=r"s3://data/vectors is not on this disk.*folder: aws s3 cp --recursive"):
        nearest("s3://data/vectors", "hello")
    with pytest.raises(InputError, match=r"s3://data/vectors was begun with something else: output.shard_rows was 25"):
        embed_corpus(embedder, "s3://data/in", "s3://data/vectors", precision="int8", shard_rows=30, skip_bad=True)
    with pytest.raises(InputError, match=r"s3://data/in holds '0\.jsonl' and no manifest\.json, so it is no corpus"):
        embed_corpus(embedder, "s3://data/in", "s3://data/in", **SETTINGS)


@pytest.mark.parametrize(
    ("source", "output", "sentence"),
    [
        ("s3://data/none/*.txt", "s3://data/out", "There is no file called like s3://data/none/*.txt"),
        ("s3://none/a.txt", "s3://data/out", "s3://none/a.txt does not exist. Check the address"),
        ("s3://data/typed/a.txt", "s3://none/out", "s3://none/out does not exist. Check the address"),
        ("s3://data/typed/a.txt", "hf://datasets/a/b", "or in an object store (s3://, gs://, abfs://), not to hf://"),
        ("s3://data/typed/a.txt", "s3:/data/out", "s3:/data/out has one slash after s3:"),
        ("http://me:hidden@127.0.0.1:1/a.txt?key=hidden", "out", "http://127.0.0.1:1/a.txt?… cannot be read"),
    ],
)
def test_mistakes_of_a_person(store, source, output, sentence, capsys, tmp_path, monkeypatch) -> None:
    import fsspec

    fsspec.filesystem("s3").pipe_file("data/typed/a.txt", b"hello\n")
    monkeypatch.chdir(tmp_path)
    arguments = ["embed", "--model", str(FOLDER), "--input", source, "--output", output]
    printed = mistake(capsys, arguments, after_others=True)
    assert sentence in printed and "hidden" not in printed
    assert not list(tmp_path.iterdir())


@pytest.mark.crash
def test_sigkill_with_an_object_store(store, embedder, tmp_path) -> None:
    import fsspec

    from tests.support.object_store import objects

    content = content_of("csv", tmp_path, make_texts(ROWS))
    (tmp_path / "rows.csv").write_bytes(content)
    embed_corpus(embedder, tmp_path / "rows.csv", tmp_path / "local", normalize=True, **SETTINGS)
    fsspec.filesystem("s3").pipe_file("data/rows.csv", content)
    settings = {"output": "s3://data/killed", "normalize": True, **SETTINGS}
    arguments = ("store", "s3://data/rows.csv", str(tmp_path), json.dumps(settings))
    done = run(*arguments, module="tests.support.corpus_crashes")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["kills"] >= 5
    assert_same_but_for_the_input(objects("data/killed"), contents(tmp_path / "local"))


def test_records_are_fetched_together(store, tmp_path, embedder, monkeypatch) -> None:
    """Neither finishing nor going on asks an object store for one record after the other."""
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(make_texts(120)), encoding="utf-8")
    plan = plan_corpus(embedder, path, "s3://data/together", shard_rows=3)
    embed_shards(plan, model=embedder)
    asked: list[tuple[str, str]] = []
    ask = ObjectFolder.ask
    monkeypatch.setattr(
        ObjectFolder,
        "ask",
        lambda self, method, name, *a, **o: asked.append((method, name)) or ask(self, method, name, *a, **o),
    )
    assert embed_shards(Plan.open("s3://data/together"), model=embedder).there == 40
    assert finish(Plan.open("s3://data/together")).complete
    assert not [name for _, name in asked if name.startswith("shard-")]
