"""A corpus on a real Ray cluster of two nodes, parts of which are killed; Embed in Ray Data."""

import os
import signal
import socket
import sys

import numpy as np
import pytest

import minibert
from minibert.cli import main
from minibert.corpus import embed_corpus, plan_corpus
from minibert.errors import InputError, MissingExtraError
from minibert.integrations import ray_cluster, ray_corpus
from minibert.integrations.ray_corpus import embed_on_ray
from tests.support.corpus import contents, make_texts
from tests.support.ray_nodes import nodes, shards_in, start, wait_until

ROWS, SHARD_ROWS = 2000, 50
slow = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="ray is not installed (make test does)")
    with nodes(2) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Rows in a file, and the folder that one process with one thread makes of them."""
    folder = tmp_path_factory.mktemp("corpus")
    texts = folder / "texts.txt"
    texts.write_text("\n".join(make_texts(ROWS, 60)) + "\n", encoding="utf-8")
    embedder = minibert.Embedder.from_pretrained("minibert-demo")
    report = embed_corpus(embedder, texts, folder / "one", shard_rows=SHARD_ROWS, threads=1, normalize=True)
    assert report.complete and report.vectors == ROWS and report.shards == ROWS // SHARD_ROWS
    return texts, contents(folder / "one")


def arguments(texts, output, *more) -> list[object]:
    return ["--input", texts, "--output", output, "--shard-rows", SHARD_ROWS, "--threads", 1, *more]


@slow
@pytest.mark.crash
def test_three_kills_leave_the_bytes_of_one_process(cluster, corpus, tmp_path) -> None:
    texts, expected = corpus
    output = tmp_path / "vectors"
    given = arguments(texts, output, "--ray", cluster.address)

    process = start(*given)
    assert wait_until(lambda: shards_in(output) >= 2, process), process.communicate()
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert 2 <= shards_in(output) < ROWS // SHARD_ROWS

    process = start(*given)
    before = shards_in(output)
    assert wait_until(lambda: shards_in(output) >= before + 2 and len(cluster.workers()) == 2, process)
    os.kill(cluster.workers()[0], signal.SIGKILL)
    assert wait_until(lambda: shards_in(output) >= before + 6, process)
    assert cluster.kill_node(0) >= 0
    assert process.poll() is None and shards_in(output) < ROWS // SHARD_ROWS
    cluster.add()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert out.startswith(f"{output}: 2,000 vectors of 256 numbers in 40 shards") and err == ""
    assert contents(output) == expected


@slow
def test_interrupted_it_goes_on_without_ray(cluster, corpus, tmp_path) -> None:
    texts, expected = corpus
    output = tmp_path / "vectors"
    process = start(*arguments(texts, output, "--ray", cluster.address))
    assert wait_until(lambda: shards_in(output) >= 2, process), process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert err == (
        f"minibert: interrupted; {output} keeps the shards that are complete, the same command goes on from there\n"
    )
    assert shards_in(output) < ROWS // SHARD_ROWS
    process = start(*arguments(texts, output))
    assert process.communicate(timeout=120)[1] == "" and process.returncode == 0
    assert contents(output) == expected


@slow
def test_what_no_worker_can_make_is_reported_and_the_others_are_made(cluster, corpus, tmp_path) -> None:
    rows = corpus[0].read_text(encoding="utf-8").splitlines()[:150]
    texts, output = tmp_path / "texts.txt", tmp_path / "vectors"
    texts.write_text("\n".join(rows) + "\n", encoding="utf-8")
    plan_corpus("minibert-demo", texts, output, shard_rows=SHARD_ROWS, threads=1, normalize=True)
    before = texts.stat()
    changed = ["x" * len(row.encode()) if number == 60 else row for number, row in enumerate(rows)]
    texts.write_text("\n".join(changed) + "\n", encoding="utf-8")
    os.utime(texts, ns=(before.st_atime_ns, before.st_mtime_ns))  # so that only the workers find out
    process = start(*arguments(texts, output, "--ray", cluster.address, "--actors", 1))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 2, err
    assert out.startswith(f"{output}: 100 vectors of 256 numbers in 2 shards")
    assert err == (
        "minibert: 1 shard failed three times; the others are kept, and the same command tries again:\n"
        f"shard 1 (rows 51 to 100): {texts} was changed while it was read, or since it was planned. Give it back its "
        "content, and run again.\n"
    )
    assert sorted(path.name for path in output.glob("shard-*.json")) == ["shard-00000.json", "shard-00002.json"]


@slow
def test_other_versions_too_few_cores_and_a_missing_input_are_refused(cluster, corpus, tmp_path, monkeypatch) -> None:
    texts, _ = corpus
    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    few = tmp_path / "few.txt"
    few.write_text("".join(texts.read_text(encoding="utf-8").splitlines(keepends=True)[:300]), encoding="utf-8")
    plan = plan_corpus("minibert-demo", few, tmp_path / "ray", shard_rows=100, threads=1)
    with monkeypatch.context() as patch:  # refused, by every node
        patch.setattr(ray_corpus, "versions", lambda: "minibert 0.0.1")
        with pytest.raises(InputError, match=r"No node of the cluster.*it has minibert \S+ with torch .* 0\.0\.1; the"):
            embed_on_ray(plan)
    plan = plan_corpus("minibert-demo", few, tmp_path / "large", shard_rows=100, threads=2)
    monkeypatch.setattr("minibert.integrations.scheduling.PATIENCE_WITHOUT_ROOM", 0.5)
    with pytest.raises(
        InputError, match="each needs 2 CPUs of one node, the threads of the plan, and of the cluster's 2"
    ):
        embed_on_ray(plan)
    plan = plan_corpus("minibert-demo", few, tmp_path / "moved", shard_rows=100, threads=1)
    few.rename(tmp_path / "elsewhere.txt")
    with pytest.raises(InputError, match="No node of the cluster.*and 1 more: .*few.txt"):
        embed_on_ray(plan)


@slow
@pytest.mark.parametrize("batch_format", ["numpy", "pandas", "pyarrow"])
def test_embed_in_ray_data(cluster, batch_format, connection) -> None:
    from ray import data

    from minibert.integrations.ray import Embed

    data.DataContext.get_current().enable_progress_bars = False
    texts = make_texts(100, seed=3)
    rows = data.from_items([{"n": n, "text": text} for n, text in enumerate(texts)], override_num_blocks=2)
    embedded = rows.map_batches(
        Embed,
        fn_constructor_kwargs={"model": "minibert-demo", "threads": 1, "normalize": True},
        compute=data.ActorPoolStrategy(size=2),
        batch_size=25,
        batch_format=batch_format,
    )
    found = sorted(embedded.take_all(), key=lambda row: row["n"])
    embedder = minibert.Embedder.from_pretrained("minibert-demo")
    expected = np.concatenate(
        [embedder.encode(texts[start : start + 25], normalize=True).numpy() for start in range(0, 100, 25)]
    )
    assert [row["text"] for row in found] == texts
    assert np.stack([row["embedding"] for row in found]).astype(np.float32).tobytes() == expected.tobytes()


@pytest.fixture
def connection(cluster):
    with ray_cluster.connected(cluster.address) as ray:
        yield ray


def test_what_is_in_memory_is_refused(tmp_path) -> None:
    plan = plan_corpus("minibert-demo", ["a", "b"], tmp_path / "rows", threads=1)
    with pytest.raises(InputError, match="The rows are in memory"):
        embed_on_ray(plan)
    (tmp_path / "a.txt").write_text("a\nb\n")
    model = minibert.Embedder.from_pretrained("minibert-demo")
    made = minibert.BertModel(model.model.config)
    plan = plan_corpus(minibert.Embedder(made, model.tokenizer), tmp_path / "a.txt", tmp_path / "model", threads=1)
    with pytest.raises(InputError, match="The model is in memory"):
        embed_on_ray(plan)
    with pytest.raises(InputError, match="actors is 0"):
        embed_on_ray(plan, actors=0)


def test_addresses(tmp_path, monkeypatch) -> None:
    for name in ("RAY_ADDRESS", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert ray_cluster.find("auto") is None and ray_cluster.find("local") is None
    assert ray_cluster.find("10.0.0.1:6379") == "10.0.0.1:6379"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(address)
        assert ray_cluster.find("auto") == address
    assert ray_cluster.find("auto") is None  # it was killed
    monkeypatch.setenv("RAY_ADDRESS", "here:1")
    assert ray_cluster.find("auto") == "here:1" and ray_cluster.find("local") is None
    for wrong in ("nonsense", "host:port", "ray://host:10001", ":1"):
        with pytest.raises(InputError, match="is no address of a Ray cluster; expected auto, local, or host:port"):
            ray_cluster.find(wrong)


def test_an_address_that_does_not_answer_is_a_sentence(tmp_path, capsys) -> None:
    pytest.importorskip("ray", reason="ray is not installed (make test does)")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(InputError, match=rf"No Ray cluster answers at 127.0.0.1:{port} \(.*refused"):
        ray_cluster.check_answers(f"127.0.0.1:{port}")
    (tmp_path / "a.txt").write_text("a\nb\n")
    given = f"embed --input {tmp_path}/a.txt --output {tmp_path}/vectors --ray 127.0.0.1:{port}".split()
    assert main(given) == 2 and f"No Ray cluster answers at 127.0.0.1:{port} (" in capsys.readouterr().err
    assert not (tmp_path / "vectors").exists()  # it was said before the input was planned


def test_without_ray(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    (tmp_path / "a.txt").write_text("a\nb\n")
    plan = plan_corpus("minibert-demo", tmp_path / "a.txt", tmp_path / "vectors", threads=1)
    with pytest.raises(MissingExtraError, match=r"ray is not installed; .*pip install '.\[ray\]'.*--worker I/N"):
        embed_on_ray(plan)


def test_a_cluster_here_is_started_again_once(monkeypatch) -> None:
    class Busy:
        calls = 0

        def init(self, **settings) -> None:
            self.calls += 1
            if self.calls < self.works:
                raise RuntimeError("The current node timed out during startup.\nmore")

        def shutdown(self) -> None: ...

        def __init__(self, works: int) -> None:
            self.works = works

    ray_cluster.begin(Busy(2), None, {})
    with pytest.raises(
        InputError, match=r"A Ray cluster on this machine cannot be started \(The current node timed out"
    ):
        ray_cluster.begin(Busy(3), None, {})
    with pytest.raises(InputError, match=r"The Ray cluster at a:1 cannot be used.*ray start --address=a:1"):
        ray_cluster.begin(Busy(2), "a:1", {})
