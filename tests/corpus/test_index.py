"""The approximate index: what it finds, that it goes on after a kill, and a sentence for each that cannot be used."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from minibert import CheckpointError, InputError, MissingExtraError, embed_corpus, index_corpus, nearest
from minibert.checksum import read_sealed, write_sealed
from minibert.cli import main
from minibert.corpus import index as building
from minibert.corpus.opened import open_corpus
from minibert.corpus.search import nearest_vectors
from tests.support.corpus import make_texts

pytest.importorskip("faiss")
QUERY = "the bank of the river"


@pytest.fixture(scope="module")
def corpora(embedder, tmp_path_factory):
    """A folder for each precision, 1,200 different texts."""
    made: dict[str, Path] = {}
    texts = list(dict.fromkeys(make_texts(1500, 30)))[:1200]

    def make(precision: str = "float32") -> Path:
        if precision not in made:
            made[precision] = tmp_path_factory.mktemp(precision)
            embed_corpus(embedder, texts, made[precision], shard_rows=100, precision=precision, pooling="max")
        return made[precision]

    return make


@pytest.fixture
def corpus(corpora, tmp_path) -> Path:
    return Path(shutil.copytree(corpora(), tmp_path / "corpus"))


@pytest.mark.parametrize("precision", ["float32", "float16", "int8", "uint8"])
def test_recall_and_scores(corpora, embedder, tmp_path, precision: str) -> None:
    folder = Path(shutil.copytree(corpora(precision), tmp_path / "corpus"))
    report = index_corpus(folder)
    assert (report.vectors, report.lists, report.rows) == (1200, 69, 1000)
    assert 0.97 <= report.recall <= 1 and 1 <= report.probes <= report.lists
    assert report.bytes == (folder / "index" / "lists.faiss").stat().st_size
    facts, sealed = read_sealed(folder / "index" / "index.json")
    assert sealed and facts["recall_at_10"] == report.recall
    assert sorted(path.name for path in (folder / "index").iterdir()) == ["index.json", "lists.faiss", "plan.json"]
    # The same, counted anew from what the two searches answer.
    rows = range(0, 1200, 24)
    opened = open_corpus(folder)
    vectors = opened.stored_as.dequantize(opened.stored(torch.tensor(rows)))
    exact, found = nearest(folder, vectors, 11), nearest(folder, vectors, 11, approximate=True)
    shares = []
    for row, all_hits, some in zip(rows, exact, found, strict=True):
        scores = {hit.row: hit.score for hit in nearest(folder, vectors[row // 24], 1200)}
        assert [hit.score for hit in some] == sorted((scores[hit.row] for hit in some), reverse=True)
        best = [hit.score for hit in all_hits if hit.row != row + 1][:10]
        shares.append(sum(hit.score >= best[-1] for hit in some if hit.row != row + 1) / 10)
    assert sum(shares) / len(shares) == pytest.approx(report.recall, abs=0.03)
    assert (
        nearest(folder, QUERY, 3, embedder, approximate=True)
        == nearest(folder, [QUERY], 3, embedder, approximate=True)[0]
    )


def test_with_every_list_it_is_the_exact_search(corpus, embedder) -> None:
    index_corpus(corpus, recall=1.0)
    facts, _ = read_sealed(corpus / "index" / "index.json")
    write_sealed(corpus / "index" / "index.json", facts | {"probes": facts["lists"]})
    vectors = torch.randn(20, 16, generator=torch.Generator().manual_seed(0))
    assert nearest(corpus, vectors, 10, approximate=True) == nearest(corpus, vectors, 10)
    few = nearest(corpus, vectors, 5000, approximate=True)
    assert few == nearest(corpus, vectors, 5000)
    assert nearest(corpus, vectors[:0], 10, approximate=True) == []


def test_another_recall_is_measured_on_the_same_lists(corpus, monkeypatch) -> None:
    first = index_corpus(corpus, recall=0.5)
    written = (corpus / "index" / "lists.faiss").stat().st_mtime_ns
    monkeypatch.setattr(building, "join", lambda *_: pytest.fail("the lists are there"))
    second = index_corpus(corpus, recall=0.999)
    assert second.probes > first.probes and second.recall > first.recall and second.recall >= 0.98
    assert (corpus / "index" / "lists.faiss").stat().st_mtime_ns == written
    monkeypatch.setattr(building, "measure", lambda *_: pytest.fail("it was measured"))
    assert index_corpus(corpus, recall=0.999) == second


@pytest.mark.parametrize("count", [1, 2, 5, 12])
def test_small_corpora(embedder, tmp_path, count: int) -> None:
    embed_corpus(embedder, make_texts(count), tmp_path / "out")
    report = index_corpus(tmp_path / "out")
    assert (report.vectors, report.rows, report.recall) == (count, count, 1.0)
    assert len(nearest(tmp_path / "out", QUERY, 20, embedder, approximate=True)) <= count


def test_an_interrupted_build_goes_on(corpus, monkeypatch) -> None:
    """Interrupted after each step once; what was done is not done again, and the result is the same."""
    monkeypatch.setattr(building, "PIECE", 300)
    other = Path(shutil.copytree(corpus, corpus.parent / "other"))
    expected = index_corpus(other)
    calls: list[str] = []
    for name in ("write_lists", "measure"):
        step = getattr(building, name)

        def interrupted(*arguments, name=name, step=step):
            done = [call for call in calls if call == name]
            result = step(*arguments)
            calls.append(name)
            if len(done) < (4 if name == "write_lists" else 1):
                raise KeyboardInterrupt
            return result

        monkeypatch.setattr(building, name, interrupted)
    for _ in range(20):
        try:
            report = index_corpus(corpus)
            break
        except KeyboardInterrupt:
            with pytest.raises(CheckpointError, match="has no index. Make it: minibert index"):
                nearest(corpus, torch.ones(16), approximate=True)
    assert (report.recall, report.probes, report.bytes) == (expected.recall, expected.probes, expected.bytes)
    assert calls.count("write_lists") == 5  # four pieces, and all of them joined
    vectors = torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    assert nearest(corpus, vectors, approximate=True) == nearest(other, vectors, approximate=True)


@pytest.mark.crash
def test_killed_at_any_moment_it_goes_on(corpus) -> None:
    command = [sys.executable, "-m", "minibert", "index", str(corpus), "--json"]
    for seconds in (2.0, 3.0, 4.0):
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert json.loads(done.stdout)["recall"] >= 0.97
    assert sorted(path.name for path in (corpus / "index").iterdir()) == ["index.json", "lists.faiss", "plan.json"]


def test_an_index_of_other_vectors_is_refused(corpus, embedder, corpora) -> None:
    with pytest.raises(CheckpointError, match="corpus has no index. Make it: minibert index .*; or search without"):
        nearest(corpus, QUERY, 3, embedder, approximate=True)
    index_corpus(corpus)
    expected = nearest(corpus, QUERY, 3, embedder)
    lists, facts = corpus / "index" / "lists.faiss", corpus / "index" / "index.json"
    content = lists.read_bytes()
    for damage in (content[:-5], content[:-1] + b"\x07", None):
        lists.unlink() if damage is None else lists.write_bytes(damage)
        with pytest.raises(
            CheckpointError, match=r"lists.faiss is missing or damaged \(.*Remove the folder .*index, and"
        ):
            nearest(corpus, QUERY, 3, embedder, approximate=True)
    assert nearest(corpus, QUERY, 3, embedder) == expected
    lists.write_bytes(content)
    facts.write_bytes(facts.read_bytes().replace(b'"probes"', b'"Probes"'))
    with pytest.raises(CheckpointError, match="index.json is damaged"):
        nearest(corpus, QUERY, 3, embedder, approximate=True)
    report = index_corpus(corpus)  # it is measured again
    manifest, _ = read_sealed(corpus / "manifest.json")
    write_sealed(corpus / "manifest.json", manifest | {"minibert": "0"})
    with pytest.raises(
        CheckpointError, match="The index in .* is older than its vectors, which are others now. Make it"
    ):
        nearest(corpus, QUERY, 3, embedder, approximate=True)
    assert index_corpus(corpus).recall == report.recall
    assert nearest(corpus, QUERY, 3, embedder, approximate=True)


def test_corpora_without_an_index(corpora, embedder, tmp_path) -> None:
    with pytest.raises(InputError, match="holds binary: bits are searched as they are, and have no index"):
        index_corpus(corpora("binary"))
    with pytest.raises(InputError, match="holds binary"):
        nearest(corpora("binary"), QUERY, 3, embedder, approximate=True)
    (tmp_path / "none.txt").write_text("")
    embed_corpus(embedder, tmp_path / "none.txt", tmp_path / "none")
    with pytest.raises(InputError, match="holds no vectors, so there is nothing to index"):
        index_corpus(tmp_path / "none")
    pytest.importorskip("pyarrow")
    embed_corpus(embedder, ["a", "b"], tmp_path / "parquet", format="parquet")
    with pytest.raises(InputError, match="is in parquet, whose vectors cannot be mapped"):
        index_corpus(tmp_path / "parquet")
    for recall in (0, 1.5, True, "0.9"):
        with pytest.raises(InputError, match="recall is .*; expected a share, above 0 and at most 1"):
            index_corpus(corpora(), recall=recall)
    with pytest.raises(InputError, match="approximate is 1"):
        nearest(corpora(), QUERY, 3, embedder, approximate=1)


def test_without_faiss(corpus, embedder, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingExtraError, match=r"pip install '.\[index\]'. Without it, the search is exact"):
        index_corpus(corpus)
    with pytest.raises(MissingExtraError, match="faiss is not installed"):
        nearest(corpus, QUERY, 3, embedder, approximate=True)
    assert nearest(corpus, QUERY, 3, embedder)
    assert not (corpus / "index").exists()


def test_the_command(corpus, capsys, tmp_path, monkeypatch) -> None:
    assert main(["index", str(corpus), "--recall", "0.9", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == index_corpus(corpus, 0.9).to_dict()
    assert main(["index", str(corpus), "--recall", "0.9"]) == 0
    printed = capsys.readouterr().out
    assert f"recall@10 {report['recall']:.4f}: of the ten nearest rows" in printed
    assert main(["similar", QUERY, "--in", str(corpus), "-k", "2", "--approximate", "--json"]) == 0
    hits = json.loads(capsys.readouterr().out)["hits"]
    (tmp_path / "q.txt").write_text(QUERY + "\n")
    asked = ["similar", "--queries", str(tmp_path / "q.txt"), "--in", str(corpus), "-k", "2", "--approximate", "--json"]
    assert main(asked) == 0
    assert json.loads(capsys.readouterr().out) == [{"query": QUERY, "hits": hits}]
    assert main(["similar", QUERY, "a text", "--approximate"]) == 2
    assert "--approximate is of the search in a corpus" in capsys.readouterr().err
    monkeypatch.setattr("minibert.corpus.index.make_index", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    assert main(["index", str(corpus)]) == 130
    assert "interrupted; " in capsys.readouterr().err
    assert nearest_vectors(open_corpus(corpus), torch.ones(1, 16, dtype=torch.float64) / 4, 1)


def test_a_row_is_left_out_of_its_own_nearest() -> None:
    found = [[(1.0, 3), (0.9, 5), (0.9, 7)], [(1.0, 2), (1.0, 5)]]  # 5 has a twin, which is not left out
    assert building.others(found, torch.tensor([3, 5])) == [[(0.9, 5), (0.9, 7)], [(1.0, 2)]]
