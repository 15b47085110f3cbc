"""Killed at any moment, interrupted, out of room, several at once: the folder ends with the same bytes."""

import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minibert import embed_corpus
from tests.support.command import ROOT, command, run
from tests.support.corpus import FOLDER, contents, make_texts

pytestmark = pytest.mark.crash


def crash(what: str, source: Path, folder: Path, **settings) -> dict:
    done = run(what, str(source), str(folder), json.dumps(settings), module="tests.support.corpus_crashes")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def embed(source: Path, folder: Path, *options: str) -> list[str]:
    """The arguments of ``minibert embed``."""
    ours = ["--model", str(FOLDER), "--input", str(source), "--output", str(folder), "--shard-rows", "100"]
    return ["embed", *ours, *options]


@pytest.fixture
def quick() -> Iterator[Path]:
    """An empty folder, in memory where the system has such: hundreds of runs would wait for the disk at every file."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("input") / "texts.txt"
    lines = [text.encode() for text in make_texts(3000)]
    lines[70] = lines[2000] = b"caf\xe9"
    path.write_bytes(b"\n".join(lines))
    return path


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory, embedder) -> dict[str, bytes]:
    """The folder of a run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    report = embed_corpus(embedder, source, folder, shard_rows=100, skip_bad=True, normalize=True)
    assert (report.complete, report.vectors, report.skipped, report.shards) == (True, 2998, 2, 30)
    files = contents(folder)
    assert len(files) == 30 * 3 + 4
    return files


def test_sigkill_anywhere(source, whole, quick) -> None:
    found = crash("anywhere", source, quick / "out", shard_rows=100, skip_bad=True, normalize=True)
    assert found["kills"] >= 15
    assert found["half-written files"] >= 1
    assert contents(quick / "out") == whole


@pytest.fixture(scope="module")
def whole_in_bytes(source, tmp_path_factory, embedder) -> dict[str, bytes]:
    """The same in int8: 1,000 of its 2,998 rows are the sample."""
    folder = tmp_path_factory.mktemp("bytes")
    report = embed_corpus(
        embedder, source, folder, shard_rows=100, skip_bad=True, normalize=True, precision="int8", format="npy"
    )
    assert (report.complete, report.sample, report.bytes_per_vector) == (True, 1000, 16)
    return contents(folder)


def test_two_workers_in_int8_killed_and_started_again(source, whole_in_bytes, quick) -> None:
    settings = {"shard_rows": 100, "skip_bad": True, "normalize": True, "precision": "int8", "format": "npy"}
    found = crash("workers", source, quick / "out", **settings)
    assert found == {"killed": [True, True], "ended": [True, True]}
    assert contents(quick / "out") == whole_in_bytes


@pytest.mark.slow
def test_sigkill_anywhere_in_int8(source, whole_in_bytes, quick) -> None:
    settings = {"shard_rows": 100, "skip_bad": True, "normalize": True, "precision": "int8", "format": "npy"}
    assert crash("anywhere", source, quick / "out", **settings)["kills"] >= 15
    assert contents(quick / "out") == whole_in_bytes


@pytest.mark.parametrize(
    ("file_format", "precision"),
    [
        ("safetensors", "float32"),
        pytest.param("npy", "uint8", marks=pytest.mark.slow),
        pytest.param("safetensors", "binary", marks=pytest.mark.slow),
        pytest.param("parquet", "float16", marks=pytest.mark.slow),
    ],
)
def test_sigkill_before_every_operation_on_a_file(quick, file_format: str, precision: str) -> None:
    if file_format == "parquet":
        pytest.importorskip("pyarrow")
    (quick / "texts.txt").write_bytes(b"a bank\n\xe9\nthe river\n\nshe sat")
    settings = {"shard_rows": 3, "skip_bad": True, "format": file_format, "precision": precision}
    found = crash("everywhere", quick / "texts.txt", quick / "out", **settings)
    assert found["operations"] > 30  # 2 shards of two or three files, two manifests, a list


def test_two_workers_killed_and_started_again(source, whole, quick) -> None:
    found = crash("workers", source, quick / "out", shard_rows=100, skip_bad=True, normalize=True)
    assert found == {"killed": [True, True], "ended": [True, True]}
    assert contents(quick / "out") == whole


@pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the highest use of memory anew"
)
@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_memory_is_flat(quick, precision: str) -> None:
    for name, count in (("short.txt", 600), ("long.txt", 6000)):
        (quick / name).write_text("".join(f"{text} {'z' * 3000}\n" for text in make_texts(count)), encoding="utf-8")
    found = crash(
        "memory", quick / "short.txt", quick, longer=str(quick / "long.txt"), shard_rows=200, precision=precision
    )
    print(found)
    # Of 18 MB of text.  The sample has 600 texts of the short input, and 1,000 of the long one.
    assert found["growth"] < (6 << 20 if precision == "float32" else 12 << 20)


def wait_for(folder: Path, pattern: str, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not list(folder.glob(pattern)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_the_command_killed_and_interrupted(source, whole, quick) -> None:
    folder = quick / "out"
    process = subprocess.Popen(command(*embed(source, folder, "--skip-bad")), cwd=ROOT)
    wait_for(folder, "shard-00003.json", process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    half = contents(folder)
    process = subprocess.Popen(
        command(*embed(source, folder, "--skip-bad")), cwd=ROOT, stderr=subprocess.PIPE, text=True
    )
    wait_for(folder, "shard-00015.json", process)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130
    assert said == (
        f"minibert: interrupted; {folder} keeps the shards that are complete, the same command goes on from there\n"
    )
    done = run(*embed(source, folder, "--skip-bad"))
    assert (done.returncode, done.stderr) == (0, "")  # no bar where there is no terminal
    assert done.stdout.startswith(f"{folder}: 2,998 vectors of 16 numbers in 30 shards; 2 rows could not be read")
    assert contents(folder) == whole
    kept = [name for name in half if name.startswith("shard")]
    assert len(kept) >= 4 * 3
    assert all(half[name] == whole[name] for name in kept)


def test_no_room(quick, embedder) -> None:
    """A limit on the size of files stands for a full disk: writing fails in the middle of a file."""
    texts = [f"{text} {'river ' * (number // 8)}" for number, text in enumerate(make_texts(1000))]
    source, folder = quick / "texts.txt", quick / "out"
    source.write_text("\n".join(texts), encoding="utf-8")
    done = run(*embed(source, folder), preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert ".jsonl' cannot be written (File too large). Make room or mend that and run again" in done.stderr
    complete = len(list(folder.glob("shard-*.json")))
    assert 2 <= complete < 10
    assert not list(folder.glob(".*"))
    embed_corpus(embedder, source, folder, shard_rows=100, normalize=True)
    embed_corpus(embedder, source, quick / "other", shard_rows=100, normalize=True)
    assert contents(folder) == contents(quick / "other")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission(quick, embedder, source) -> None:
    folder = quick / "out"
    folder.mkdir(mode=0o500)
    with pytest.raises(OSError, match="cannot be written"):
        embed_corpus(embedder, source, folder, skip_bad=True)
    shutil.rmtree(folder)
