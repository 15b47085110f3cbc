"""Dataset.map with minibert: the vectors of encode, the same hash in every run, and processes that are forked."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest

import minibert
from minibert.errors import InputError
from minibert.integrations.datasets import Embed

ROOT = Path(__file__).parents[2]
TINY = Path(minibert.__file__).parent / "goldens" / "random-bert"
TEXTS = [f"Text {number} {'is long ' * (number % 7)}" for number in range(40)]
ROWS = {"text": TEXTS, "number": list(range(40))}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


def expected(size: int, **encoding) -> bytes:
    """The vectors of encode, ``size`` texts at a time."""
    embedder = minibert.Embedder.from_pretrained("minibert-demo")
    return b"".join(
        embedder.encode(TEXTS[n : n + size], **encoding).numpy().tobytes() for n in range(0, len(TEXTS), size)
    )


def test_map() -> None:
    rows = datasets.Dataset.from_dict(ROWS)
    found = rows.map(Embed("minibert-demo"), batched=True, batch_size=16)
    assert found.column_names == ["text", "number", "embedding"] and found["text"][:] == TEXTS
    assert found.features["embedding"].feature.dtype == "float32"
    assert np.array(found.with_format("numpy")["embedding"][:]).tobytes() == expected(16)


def test_settings() -> None:
    embed = Embed("minibert-demo", column="text", output_column="v", pooling="cls", normalize=True)
    found = datasets.Dataset.from_dict(ROWS).map(embed, batched=True, remove_columns=["text"])
    assert found.column_names == ["number", "v"]
    assert np.array(found.with_format("numpy")["v"][:]).tobytes() == expected(40, pooling="cls", normalize=True)


@pytest.mark.parametrize("form", ["arrow", "pandas", "numpy"])
def test_formats(form: str) -> None:
    found = datasets.Dataset.from_dict(ROWS).with_format(form).map(Embed("minibert-demo"), batched=True)
    assert np.array(found.with_format("numpy")["embedding"][:], dtype=np.float32).tobytes() == expected(40)


def test_a_stream() -> None:
    stream = datasets.Dataset.from_dict(ROWS).to_iterable_dataset(num_shards=2)
    found = list(stream.map(Embed("minibert-demo"), batched=True, batch_size=20))
    assert [row["number"] for row in found] == ROWS["number"]
    assert np.array([row["embedding"] for row in found], dtype=np.float32).tobytes() == expected(20)


def test_what_was_embedded_is_not_embedded_again(tmp_path, monkeypatch) -> None:
    datasets.Dataset.from_dict(ROWS).save_to_disk(tmp_path / "rows")
    first = datasets.load_from_disk(tmp_path / "rows").map(Embed("minibert-demo"), batched=True)
    calls: list[int] = []
    monkeypatch.setattr(Embed, "__call__", lambda self, batch: calls.append(1) or {"embedding": [[0.0]] * len(batch)})
    again = datasets.load_from_disk(tmp_path / "rows").map(Embed("minibert-demo"), batched=True)
    assert not calls
    assert again["embedding"][:] == first["embedding"][:]


HASHES = """
import json, sys
from datasets.fingerprint import Hasher
from minibert.integrations.datasets import Embed
tiny, other = sys.argv[1:]
print(json.dumps([Hasher.hash(embed) for embed in (
    Embed(tiny), Embed(tiny), Embed(other), Embed(tiny, "words"), Embed(tiny, normalize=True),
    Embed(tiny, threads=2), Embed(tiny, pooling=["cls", "mean"]))]))
"""


def test_the_hash_is_that_of_the_settings_and_of_the_weights(tmp_path) -> None:
    model, tokenizer = minibert.BertModel.from_pretrained(TINY), minibert.BertTokenizer.from_pretrained(TINY)
    found = []
    for seed in "1", "2":
        model.save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        done = subprocess.run(
            [sys.executable, "-c", HASHES, str(TINY), str(tmp_path)],
            cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(json.loads(done.stdout))
        model.embeddings.word_embeddings.weight.data[7, 0] += 1  # training goes on; the folder keeps its name
    one, two = found
    assert one[0] == one[1] and len(set(one)) == 6
    assert one[2] != two[2]
    assert one[:2] + one[3:] == two[:2] + two[3:]


FORKS = """
import sys, torch
from datasets import Dataset
from minibert import Embedder
from minibert.integrations.datasets import Embed
torch.set_num_threads(2)
texts = [f"Text {n}" for n in range(600)]
expected = Embedder.from_pretrained("minibert-demo").encode(texts[:300]).numpy()  # torch's threads begin
rows = Dataset.from_dict({"text": texts}).map(Embed("minibert-demo", threads=2), batched=True, num_proc=2)
assert rows.with_format("numpy")[:300]["embedding"].tobytes() == expected.tobytes()
print(len(rows))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no processes are forked here")
def test_forked_processes_do_not_wait_for_threads_that_they_lack(tmp_path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"HF_DATASETS_CACHE": str(tmp_path), "OMP_NUM_THREADS": "2"}, start_new_session=True,
    )  # fmt: skip
    try:
        printed, errors = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)  # the forked ones, too
        raise
    assert printed == "600\n", errors[-2000:]


def test_mistakes() -> None:
    rows = datasets.Dataset.from_dict({"text": ["a", None, "b"]})
    with pytest.raises(InputError, match="Row 2 of 3 of a batch has None in the column 'text'"):
        rows.map(Embed("minibert-demo"), batched=True)
    with pytest.raises(InputError, match="no column called 'words'; it has text"):
        rows.map(Embed("minibert-demo", "words"), batched=True)
    with pytest.raises(InputError, match="no pooling"):
        Embed("minibert-demo", pooling="middle")
