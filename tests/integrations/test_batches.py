"""The texts of a column in, their vectors out, in each of the forms that engines give batches."""

import pickle

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

import minibert
from minibert.integrations.batches import Embed, loaded

TEXTS = ["The sun is out.", "", "It is a sunny day, and nobody stays at home.", "a"]
EXPECTED = minibert.Embedder.from_pretrained("minibert-demo").encode(TEXTS).numpy()
WIDTH = EXPECTED.shape[1]


def numbers(vectors) -> np.ndarray:
    return np.stack([np.asarray(vector, dtype=np.float32) for vector in vectors])


def test_a_dict_of_arrays() -> None:
    batch = {"n": np.arange(4), "text": np.array(TEXTS, dtype=object)}
    found = Embed("minibert-demo")(batch)
    assert list(found) == ["n", "text", "embedding"] and list(batch) == ["n", "text"]
    assert found["embedding"].dtype == np.float32 and found["embedding"].tobytes() == EXPECTED.tobytes()
    assert found["n"] is batch["n"]


def test_a_dict_of_lists() -> None:
    assert Embed("minibert-demo")({"text": TEXTS})["embedding"].tobytes() == EXPECTED.tobytes()


def test_pandas() -> None:
    found = Embed("minibert-demo", "words", "v")(pd.DataFrame({"words": TEXTS, "n": [1, 2, 3, 4]}, index=list("abcd")))
    assert list(found.columns) == ["words", "n", "v"] and list(found.index) == list("abcd")
    assert numbers(found["v"]).tobytes() == EXPECTED.tobytes()


@pytest.mark.parametrize("kind", [pa.table, pa.RecordBatch.from_pydict])
def test_pyarrow(kind) -> None:
    found = Embed("minibert-demo")(kind({"text": TEXTS, "n": [1, 2, 3, 4]}))
    assert found.schema.names == ["text", "n", "embedding"]
    assert found.schema.field("embedding").type == pa.list_(pa.float32(), WIDTH)
    assert numbers(found.column("embedding").to_pylist()).tobytes() == EXPECTED.tobytes()
    again = Embed("minibert-demo", normalize=True)(found)  # replaces the column
    assert again.schema.names == found.schema.names
    assert np.allclose(np.linalg.norm(numbers(again.column("embedding").to_pylist()), axis=1), 1, atol=1e-6)


def test_no_rows() -> None:
    assert Embed("minibert-demo")({"text": []})["embedding"].shape == (0, WIDTH)
    assert Embed("minibert-demo")(pa.table({"text": pa.array([], pa.string())})).num_rows == 0


def test_it_travels_without_its_model_which_a_process_loads_once() -> None:
    embed = Embed("minibert-demo", pooling="cls")
    assert len(pickle.dumps(embed)) < 500
    loaded.cache_clear()
    first, second = pickle.loads(pickle.dumps(embed)), pickle.loads(pickle.dumps(embed))
    assert vars(first) == vars(second) == vars(embed)
    assert first.embedder is second.embedder


def test_it_sets_the_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        Embed("minibert-demo", threads=2)({"text": TEXTS})
        assert torch.get_num_threads() == 2
        Embed("minibert-demo")({"text": TEXTS})
        assert torch.get_num_threads() == 2  # none asked for: left as they are
    finally:
        torch.set_num_threads(before)


def test_what_does_not_fit_gets_a_sentence() -> None:
    embed = Embed("minibert-demo")
    with pytest.raises(minibert.InputError, match="no column called 'text'; it has a, b"):
        embed({"a": ["x"], "b": ["y"]})
    with pytest.raises(minibert.InputError, match="Row 2 of 2 of a batch has None in the column 'text'"):
        embed(pa.table({"text": ["x", None]}))
    with pytest.raises(minibert.InputError, match=r"Row 1 of 1 of a batch has nan \(float\)"):
        embed({"text": [float("nan")]})
    with pytest.raises(minibert.InputError, match="threads is 0"):
        Embed("minibert-demo", threads=0)
    with pytest.raises(minibert.InputError, match="model is an Embedder, which stays in its process"):
        Embed(minibert.Embedder.from_pretrained("minibert-demo"))  # type: ignore[arg-type]
