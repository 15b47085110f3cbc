"""The plan of a corpus: what is read, once; who reads what; what a run does when the input or a shard is not right."""

import csv
import gzip
import json
import logging
import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minibert import Embedder, InputError, Plan, embed_corpus, embed_shards, finish, nearest, plan_corpus
from minibert.checksum import file_digest, read_sealed, write_sealed
from minibert.corpus import run, shards
from minibert.corpus.folder import open_folder
from minibert.corpus.inputs import CorpusInput
from minibert.corpus.planning import divide
from minibert.errors import CheckpointError
from tests.support.corpus import FOLDER, contents, make_texts
from tests.support.counted_reads import count_reads

ROWS = 2000


def write(path: Path, texts: list[str]) -> Path:
    """A file of the format that its name says, with ids where there are columns."""
    rows = [{"id": number * 3, "text": text} for number, text in enumerate(texts)]
    kind = path.name.partition(".")[2]
    if kind.startswith("txt"):
        content = "".join(f"{text}\n" for text in texts).encode()
    elif kind.startswith("jsonl"):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    elif kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.Table.from_pylist(rows), path, row_group_size=100, compression="none")
        return path
    else:
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["id", "text"], delimiter="\t" if kind == "tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
        return path
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.fixture
def quick() -> Embedder:
    """An embedder that says zeros, where only the reading counts."""
    embedder = Embedder.from_pretrained(FOLDER)
    embedder.truncated = 0
    embedder.encode = lambda texts, **_: torch.zeros(len(texts), 16)
    return embedder


@pytest.mark.parametrize("kind", ["txt", "csv", "tsv", "jsonl", "parquet"])
def test_the_input_is_read_once_to_plan_and_once_by_all_workers(quick, tmp_path, monkeypatch, kind: str) -> None:
    (tmp_path / "in").mkdir()
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcdefgh ,\"'", k=draw.randint(200, 800))) for _ in range(ROWS)]
    if kind == "parquet":  # each worker reads its last 64 kB, as pyarrow does
        texts = [text * 10 for text in texts]
    source = write(tmp_path / "in" / f"x.{kind}", texts)
    size = source.stat().st_size
    assert size > 500_000
    counts, of_workers = count_reads(monkeypatch, tmp_path / "in"), []
    plan_corpus(quick, source, tmp_path / "out", column=None if kind == "txt" else "text", shard_rows=100)
    planning = counts.total() / size
    for workers in range(1, 9):
        counts.clear()
        for number in range(workers):
            plan = Plan.open(tmp_path / "out")
            assert embed_shards(plan, plan.of_worker(number, workers), quick).made > 0
        of_workers.append(counts.total() / size)
        assert finish(tmp_path / "out").complete
        for path in (tmp_path / "out").glob("shard-*.json"):
            path.unlink()
    print(f"{kind}: planning {planning:.3f}, 1 to 8 workers", *(f"{share:.3f}" for share in of_workers))
    assert 0.95 <= planning <= 1.06  # some kilobytes at the beginning are looked at more than once
    assert all(0.95 <= share <= (1.1 if kind == "parquet" else 1.0) for share in of_workers)


def test_a_plan_of_files_that_nobody_touched_is_trusted(quick, tmp_path, monkeypatch) -> None:
    (tmp_path / "in").mkdir()
    source = write(tmp_path / "in" / "x.jsonl", make_texts(50))
    embed_corpus(quick, source, tmp_path / "out", shard_rows=10)
    whole = contents(tmp_path / "out")
    counts = count_reads(monkeypatch, tmp_path / "in")
    embed_corpus(quick, source, tmp_path / "out", shard_rows=10)
    assert counts.total() == 0
    (tmp_path / "out" / "shard-00003.json").unlink()
    embed_corpus(quick, source, tmp_path / "out", shard_rows=10)
    line = json.loads(whole["plan-00000.jsonl"].splitlines()[3])
    assert counts.total() == line["bytes"]
    assert contents(tmp_path / "out") == whole
    source.touch()
    embed_corpus(quick, source, tmp_path / "out", shard_rows=10)
    assert counts.total() > source.stat().st_size  # planned again, and found the same
    assert contents(tmp_path / "out") == whole


def test_the_vectors_are_those_of_4096_rows_at_a_time(embedder, tmp_path) -> None:
    """As in every version before: shards of 4,096 rows, each embedded alone."""
    texts = make_texts(9000, 6)
    report = embed_corpus(embedder, write(tmp_path / "x.txt", texts), tmp_path / "out")
    assert (report.shards, report.vectors) == (3, 9000)
    for number in range(3):
        (vectors,) = load_file(tmp_path / "out" / f"shard-{number:05d}.safetensors").values()
        assert torch.equal(vectors, embedder.encode(texts[number * 4096 : (number + 1) * 4096]))


@pytest.mark.parametrize("kind", ["txt.gz", "csv", "jsonl.gz", "parquet", "tsv"])
def test_every_format_has_the_same_shards_and_checksums(embedder, tmp_path, kind: str) -> None:
    texts = [text.replace("\n", " ") for text in make_texts(230)]
    plain = divide(CorpusInput.find(write(tmp_path / "x.txt", texts), None, None, None), 50)
    other = divide(CorpusInput.find(write(tmp_path / f"y.{kind}", texts), None, None, None), 50)
    lines = [[json.loads(line) for line in found.pieces[0].splitlines()] for found in (plain, other)]
    if kind != "parquet":  # whose row groups have 100 rows, two shards each
        assert plain.sha256 == other.sha256
    expected = [50, 50, 50, 50, 30]
    for found in lines:
        assert [line["rows"] for line in found] == expected
        assert [line["sha256"] for line in found] == [line["sha256"] for line in lines[0]]
    groups = [line["group"] for line in lines[1]]
    assert groups == {"txt.gz": [0] * 5, "jsonl.gz": [0] * 5, "parquet": [0, 0, 1, 1, 2]}.get(kind, [0, 1, 2, 3, 4])
    settings = {"shard_rows": 50} | ({} if kind.startswith("txt") else {"column": "text"})
    one = embed_corpus(embedder, tmp_path / "x.txt", tmp_path / "plain", shard_rows=50)
    for number in (0, 1, 2):
        two = embed_corpus(embedder, tmp_path / f"y.{kind}", tmp_path / "y", worker=(number, 3), **settings)
    assert one.complete and two.complete
    for number in range(5):
        name = f"shard-{number:05d}.safetensors"
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()
        name = f"shard-{number:05d}.jsonl"
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "y" / name).read_bytes()


def test_shards_of_a_compressed_file_are_one_group(quick, tmp_path) -> None:
    source = write(tmp_path / "x.txt.gz", make_texts(100))
    plan = plan_corpus(quick, source, tmp_path / "out", shard_rows=10)
    assert list(plan.groups()) == [list(range(10))]
    assert str(plan).endswith("100 rows are planned as 10 shards in 1 group, each read by one worker")
    assert (plan.of_worker(0, 2), plan.of_worker(1, 2)) == (list(range(10)), [])
    report = embed_shards(tmp_path / "out", [7, 2], quick)  # what lies before is read, and dropped
    assert (report.made, report.there) == (2, 0)
    assert not finish(plan).complete
    assert embed_shards(plan).there == 2 and finish(plan).complete
    with pytest.raises(InputError, match=r"There is no shard 10: .* has 10"):
        embed_shards(plan, [3, 10])


def test_a_shard_ends_after_so_many_bytes(quick, tmp_path) -> None:
    texts = ["x" * length for length in (10, 10, 50, 10, 10, 10, 10, 10)]
    for kind, expected in (("txt", [3, 4, 1]), ("jsonl", [2, 1, 2, 2, 1]), ("parquet", [3, 5])):
        source = write(tmp_path / f"x.{kind}", texts)
        plan = plan_corpus(quick, source, tmp_path / kind, shard_bytes=44 if kind != "jsonl" else 50)
        assert [line.rows for line in plan.lines()] == expected
        assert [line.row for line in plan.lines()] == [1 + sum(expected[:n]) for n in range(len(expected))]


@pytest.fixture
def several(tmp_path) -> Path:
    """Three files of 25, 0 and 13 rows; row 3 of the last cannot be read."""
    folder = tmp_path / "in"
    folder.mkdir()
    texts = make_texts(37)
    write(folder / "a.jsonl", texts[:25])
    (folder / "b.jsonl").touch()
    write(folder / "c.jsonl", texts[25:])
    lines = (folder / "c.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "c.jsonl").write_bytes(b"".join([*lines[:2], b"\n", b"no JSON\n", *lines[2:]]))
    return folder


def test_several_files_are_one(embedder, several, tmp_path) -> None:
    report = embed_corpus(embedder, several, tmp_path / "out", column="text", shard_rows=10, skip_bad=True)
    assert (report.complete, report.rows, report.vectors, report.skipped, report.shards) == (True, 38, 37, 1, 5)
    plan = Plan.open(tmp_path / "out")
    assert [(line.file, line.row, line.rows) for line in plan.lines()] == [
        (0, 1, 10), (0, 11, 10), (0, 21, 5), (2, 26, 10), (2, 36, 3),
    ]  # fmt: skip
    rows = [json.loads(line) for n in range(5) for line in (tmp_path / "out" / f"shard-{n:05d}.jsonl").open()]
    assert [row["row"] for row in rows] == [row["id"] for row in rows] == [*range(1, 28), *range(29, 39)]
    assert [row["text"] for row in rows] == make_texts(37)
    (skipped,) = [json.loads(line) for line in (tmp_path / "out" / "skipped.jsonl").open()]
    assert skipped.pop("why").startswith("is not JSON")
    assert skipped == {"row": 28, "file": str(several / "c.jsonl"), "line": 4}
    files = [file["row"] for file in plan.manifest["input"]["files"]]
    assert files == [1, 26, 26]
    listed = [several / name for name in ("a.jsonl", "b.jsonl", "c.jsonl")]
    before = contents(tmp_path / "out")
    for source in (listed, several / "*.jsonl"):
        settings = {"column": "text", "shard_rows": 10, "skip_bad": True}
        assert embed_corpus(embedder, source, tmp_path / "out", **settings) == report
        assert contents(tmp_path / "out") == before


def test_a_bad_row_of_several_files_is_named_with_its_file(embedder, several, tmp_path) -> None:
    with pytest.raises(InputError, match=r"c\.jsonl: row 3 \(line 4\) is not JSON"):
        embed_corpus(embedder, several, tmp_path / "out", column="text")
    assert not (tmp_path / "out").exists()


def test_files_with_other_columns_are_refused(embedder, tmp_path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.csv").write_text("id,text\n1,a\n")
    (tmp_path / "in" / "b.csv").write_text("text,id\nb,2\n")
    with pytest.raises(InputError, match=r"b\.csv has the columns text, id, and .*a\.csv the columns id, text\. The"):
        embed_corpus(embedder, tmp_path / "in", tmp_path / "out")
    (tmp_path / "in" / "b.csv").write_text("title,id\nb,2\n")
    with pytest.raises(InputError, match="b.csv has no column called 'text'"):
        embed_corpus(embedder, tmp_path / "in", tmp_path / "out")


def test_a_file_of_several_that_changed(embedder, several, tmp_path) -> None:
    settings = {"column": "text", "shard_rows": 10, "skip_bad": True}
    embed_corpus(embedder, several, tmp_path / "out", **settings, worker=(0, 2))
    path = several / "a.jsonl"
    before, stamp = path.read_bytes(), path.stat().st_mtime_ns
    path.write_bytes(before.replace(b"the", b"teh"))
    with pytest.raises(InputError, match=r"begun with something else: input\.sha256 was"):
        embed_corpus(embedder, several, tmp_path / "out", **settings)
    with pytest.raises(InputError, match=r"a\.jsonl was changed while it was read, or since it was planned"):
        embed_shards(tmp_path / "out", [1])
    path.write_bytes(before)
    assert path.stat().st_mtime_ns != stamp
    assert embed_corpus(embedder, several, tmp_path / "out", **settings).complete


def test_moved_input_of_an_unfinished_corpus_is_found_by_other_workers(embedder, tmp_path) -> None:
    source = write(tmp_path / "x.txt", make_texts(30))
    plan_corpus(embedder, source, tmp_path / "out", shard_rows=10)
    moved = source.rename(tmp_path / "y.txt")
    with pytest.raises(InputError, match=r"x\.txt cannot be read to its end \(No such file"):
        embed_shards(tmp_path / "out")
    plan_corpus(embedder, moved, tmp_path / "out", shard_rows=10)
    assert embed_shards(tmp_path / "out").made == 3  # by the manifest alone: input, model and settings
    assert finish(tmp_path / "out").complete


def test_rows_in_memory_are_not_in_the_folder(embedder, tmp_path) -> None:
    plan = plan_corpus(embedder, ["a", "b"], tmp_path / "out")
    with pytest.raises(InputError, match="The rows of .*out were in memory; only embed_corpus"):
        embed_shards(tmp_path / "out")
    assert embed_shards(plan).made == 1


def test_killed_while_planning(embedder, tmp_path) -> None:
    source = write(tmp_path / "x.txt", make_texts(30))
    embed_corpus(embedder, source, tmp_path / "whole", shard_rows=10)
    out = tmp_path / "out"
    out.mkdir()
    for name in ("plan-00000.jsonl", "plan-00007.jsonl", ".plan-00001.jsonl.12-34.part", ".manifest.json.12-34.part"):
        (out / name).write_bytes(b"{")
    embed_corpus(embedder, source, out, shard_rows=10)
    assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), InputError("no number"), MemoryError()])
def test_a_shard_that_fails_once_or_twice_is_tried_again(embedder, tmp_path, error, caplog) -> None:
    source = write(tmp_path / "x.txt", make_texts(40))
    embed_corpus(embedder, source, tmp_path / "whole", shard_rows=10)
    plan = plan_corpus(embedder, source, tmp_path / "out", shard_rows=10)
    real, calls, told = plan.embedder.encode, [], []

    def encode(texts, **settings):
        calls.append(len(calls))
        if len(calls) in (2, 5):
            raise error
        return real(texts, **settings)

    plan.embedder.encode = encode
    report = embed_shards(plan, on_progress=lambda event: told.append((event.shard, event.outcome)))
    assert (report.made, report.retried, report.failed) == (4, 2, ())
    assert told == [(0, "made"), (1, "retried"), (2, "made"), (3, "made"), (1, "retried"), (1, "made")]
    assert finish(plan).complete
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


@pytest.mark.parametrize("settings", [{}, {"precision": "float16"}])
def test_a_shard_that_fails_three_times_is_reported_and_the_others_are_made(tmp_path, settings: dict, caplog) -> None:
    """A vector that is not finite, and one that float16 does not hold: every path refuses it when it is made."""
    sick = Embedder.from_pretrained(FOLDER)
    texts = ["she sat"] * 2000 + ["the river"] + ["she sat"] * 9
    source = write(tmp_path / "x.txt", texts)
    plan = plan_corpus(sick, source, tmp_path / "out", shard_rows=500, **settings)
    real = plan.embedder.encode

    def encode(texts, **given):
        vectors = real(texts, **given)
        if "the river" in texts:
            if not settings:
                raise InputError("The vector of text 1 of 10 holds NaN or infinity.")
            vectors = vectors * 1e8
        return vectors

    plan.embedder.encode = encode
    report = embed_shards(plan)
    (failed,) = report.failed
    assert (report.made, report.retried, failed.shard, failed.rows) == (4, 2, 4, (2001, 2010))
    assert ("NaN or infinity" if not settings else "and torch.float16 ends at 65504") in failed.why
    assert "Failed 3 times: shard 4 (rows 2,001 to 2,010): " in caplog.text
    assert not finish(plan).complete
    assert not list((tmp_path / "out").glob("shard-00004*"))
    plan.embedder.encode = real
    assert embed_shards(plan).made == 1 and finish(plan).complete


def test_embed_corpus_reports_what_failed(tmp_path) -> None:
    sick = Embedder.from_pretrained(FOLDER)
    with torch.no_grad():
        sick.model.embeddings.word_embeddings.weight[sick.tokenizer.convert_tokens_to_ids("river")] = torch.nan
    report = embed_corpus(sick, ["she sat", "the river", "a bank"], tmp_path / "out", shard_rows=1)
    assert [(one.shard, one.rows) for one in report.failed] == [(1, (2, 2))]
    assert (report.complete, report.vectors) == (False, 2)
    assert str(report).endswith("2 vectors of 16 numbers in 2 shards so far; 1 failed")
    assert report.to_dict()["failed"][0]["rows"] == (2, 2)


def test_threads_are_the_plans(embedder, tmp_path) -> None:
    source = write(tmp_path / "x.txt", make_texts(20))
    plan = plan_corpus(embedder, source, tmp_path / "out", shard_rows=10, threads=2)
    real, seen = plan.embedder.encode, []
    plan.embedder.encode = lambda texts, **given: seen.append(torch.get_num_threads()) or real(texts, **given)
    before = torch.get_num_threads()
    embed_shards(plan)
    assert seen == [2, 2] and torch.get_num_threads() == before
    assert plan_corpus(embedder, source, tmp_path / "out", shard_rows=10).threads == 2
    with pytest.raises(InputError, match="begun with something else: threads was 2 and is now 1"):
        plan_corpus(embedder, source, tmp_path / "out", shard_rows=10, threads=1)


def test_several_kinds_of_processor_are_counted_and_said(embedder, tmp_path, monkeypatch, caplog) -> None:
    plan = plan_corpus(embedder, write(tmp_path / "x.txt", make_texts(30)), tmp_path / "out", shard_rows=10)
    embed_shards(plan, [0, 2])
    monkeypatch.setattr(run, "processor_of", lambda _: "Another, x86_64")
    embed_shards(plan, [1])
    finish(plan)
    processors = read_sealed(tmp_path / "out" / "manifest.json")[0]["processors"]
    assert sorted(processors.values()) == [1, 2] and processors["Another, x86_64"] == 1
    assert "made by several kinds of processor, whose last bits may differ" in caplog.text


def test_a_temporary_file_that_finish_removed_under_its_writer(embedder, tmp_path, monkeypatch) -> None:
    """A second writer of a shard, slower than the one whose shard made the corpus complete."""
    source = write(tmp_path / "x.txt", make_texts(20))
    plan = plan_corpus(embedder, source, tmp_path / "out", shard_rows=10)
    embed_shards(plan, [0])
    real = shards.write_file

    def slow(path, *arguments):
        real(path, *arguments)
        if path.name.startswith(".shard-00001.safetensors"):
            monkeypatch.setattr(shards, "write_file", real)
            embed_shards(tmp_path / "out", [1], embedder)
            assert finish(tmp_path / "out").complete
            assert not path.exists()

    monkeypatch.setattr(shards, "write_file", slow)
    assert embed_shards(plan, [1]).made == 1
    whole = contents(tmp_path / "out")
    assert not any(name.startswith(".") for name in whole)
    assert finish(plan).complete and contents(tmp_path / "out") == whole

    def lost(path, *arguments):
        real(path, *arguments)
        path.unlink()

    monkeypatch.setattr(shards, "write_file", lost)
    (tmp_path / "out" / "shard-00001.json").unlink()
    with pytest.raises(CheckpointError, match="cannot be written"):
        embed_shards(plan, [1])


def as_older(folder: Path, version: int) -> None:
    """Rewrite a folder as version 1 or 2 had it: one file, and one list of shards in the manifest."""
    manifest, _ = read_sealed(folder / "manifest.json")
    (file,) = manifest["input"].pop("files")
    for name in ("format", "lines", "head", "column_given"):
        del manifest["input"][name]
    manifest["input"] |= {
        "file": Path(file["name"]).name,
        "bytes": file["bytes"],
        "sha256": file_digest(Path(file["name"])),
    }
    if manifest["complete"]:
        manifest["shards"] = [json.loads(line) for line in (folder / "records-00000.jsonl").open()]
    for name in ("plan", "records", "processors", "threads"):
        manifest.pop(name, None)
    for path in [*folder.glob("plan-*"), *folder.glob("records-*")]:
        path.unlink()
    manifest["version"] = version
    write_sealed(folder / "manifest.json", manifest)
    if version == 1:
        for path in folder.glob("*.json"):
            content = json.loads(path.read_text())
            path.write_text(json.dumps({key: value for key, value in content.items() if key != "checksum"}))


@pytest.mark.parametrize("version", [1, 2])
def test_folders_of_older_versions_are_read_and_not_continued(embedder, tmp_path, version: int) -> None:
    texts = make_texts(30)
    source = write(tmp_path / "x.txt", texts)
    for folder, worker in ((tmp_path / "whole", (0, 1)), (tmp_path / "half", (0, 2))):
        embed_corpus(embedder, source, folder, shard_rows=10, worker=worker)
        expected = nearest(folder, "the bank", 5, embedder) if folder.name == "whole" else None
        as_older(folder, version)
        before = contents(folder)
        if expected:
            assert nearest(folder, "the bank", 5, embedder) == expected
            said = "was begun by an earlier version of minibert, and is complete, and search reads it"
        else:
            said = "was begun by an earlier version of minibert, and is not complete. Go on with that version, or give"
        with pytest.raises(InputError, match=said):
            embed_corpus(embedder, source, folder, shard_rows=10)
        with pytest.raises(InputError, match="by an earlier version"):
            Plan.open(folder)
        assert contents(folder) == before


def test_a_damaged_plan_is_made_again(embedder, tmp_path, caplog) -> None:
    source = write(tmp_path / "x.txt", make_texts(30))
    embed_corpus(embedder, source, tmp_path / "out", shard_rows=10)
    whole = contents(tmp_path / "out")
    (tmp_path / "out" / "shard-00001.json").unlink()
    (tmp_path / "out" / "plan-00000.jsonl").write_bytes(whole["plan-00000.jsonl"][:-9])
    with pytest.raises(CheckpointError, match=r"plan-00000\.jsonl is missing or damaged: its SHA-256 is not the one"):
        embed_shards(tmp_path / "out")
    with caplog.at_level(logging.WARNING):
        embed_corpus(embedder, source, tmp_path / "out", shard_rows=10)
    assert "plan-00000.jsonl is missing or damaged; the input is planned again" in caplog.text
    assert contents(tmp_path / "out") == whole


def test_pieces(quick, tmp_path, monkeypatch) -> None:
    """A plan and a list of records in several pieces."""
    for module in ("planning", "plan", "closing"):
        monkeypatch.setattr(f"minibert.corpus.{module}.SHARDS_PER_PIECE", 4)
    report = embed_corpus(quick, write(tmp_path / "x.txt", make_texts(50)), tmp_path / "out", shard_rows=5)
    assert (report.complete, report.shards) == (True, 10)
    names = open_folder(tmp_path / "out").names()
    assert [name for name in names if name.startswith(("plan", "records"))] == [
        f"{kind}-{number:05d}.jsonl" for kind in ("plan", "records") for number in range(3)
    ]
    plan = Plan.open(tmp_path / "out")
    assert [plan.shard(number).row for number in (9, 0, 4, 3)] == [46, 1, 21, 16]
    assert len(nearest(tmp_path / "out", torch.ones(16), 50, quick)) == 50
