"""Spark with minibert: the vectors of encode from mapInPandas, mapInArrow and predict_batch_udf.

The session is one of two cores on this machine, whose ports are those of 127.0.0.1.  Without Java or pyspark the tests
are skipped.
"""

import os
import pickle
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import minibert
from minibert.errors import InputError
from minibert.integrations.spark import Embed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
TEXTS = [f"Text {number} {'is long ' * (number % 7)}" for number in range(300)]
SCHEMA = "number long, text string, embedding array<float>"
PART = 50  # rows of each batch that Spark makes of a part


@pytest.fixture(scope="module")
def spark() -> Iterator:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed (make test-all does)")
    java = os.environ.get("JAVA_HOME")
    if not (shutil.which("java") or (java and os.access(f"{java}/bin/java", os.X_OK))):
        pytest.skip("no Java here, which Spark needs")
    patch = pytest.MonkeyPatch()
    patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
    patch.setenv("PYSPARK_PYTHON", sys.executable)  # of the workers
    patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep))
    session = (
        sql.SparkSession.builder.master("local[2]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(PART))
        .config("spark.sql.shuffle.partitions", "2")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    yield session
    session.stop()
    patch.undo()


@pytest.fixture(scope="module")
def rows(spark):
    """Two parts of 150 rows."""
    data = [(number, text) for number, text in enumerate(TEXTS)]
    return spark.createDataFrame(data, "number long, text string").repartitionByRange(2, "number").cache()


def collected(frame, column: str = "embedding") -> dict[int, bytes]:
    return {row["number"]: np.array(row[column], dtype=np.float32).tobytes() for row in frame.collect()}


def batches_of(rows) -> list[list[int]]:
    """The rows of each batch: Spark decides where a part begins."""

    def numbers(frames):
        import pandas as pd

        for frame in frames:
            yield pd.DataFrame({"numbers": [frame["number"].tolist()]})

    return [row["numbers"] for row in rows.mapInPandas(numbers, "numbers array<long>").collect()]


def in_batches(rows, **encoding) -> dict[int, bytes]:
    """The vector of each row as encode gives it for the batch that it is in."""
    embedder = minibert.Embedder.from_pretrained("minibert-demo")
    found: dict[int, bytes] = {}
    for numbers in batches_of(rows):
        vectors = embedder.encode([TEXTS[number] for number in numbers], **encoding).numpy()
        found |= {number: vector.tobytes() for number, vector in zip(numbers, vectors, strict=True)}
    return found


def test_map_in_pandas_and_in_arrow(rows) -> None:
    embed = Embed("minibert-demo", threads=1)
    right = in_batches(rows)
    assert len(right) == 300
    assert collected(rows.mapInPandas(embed, SCHEMA)) == right
    assert collected(rows.mapInArrow(embed, SCHEMA)) == right


def test_settings(rows) -> None:
    embed = Embed("minibert-demo", "text", "v", threads=1, normalize=True, pooling="cls")
    found = collected(rows.mapInPandas(embed, "number long, text string, v array<float>"), "v")
    assert found == in_batches(rows, normalize=True, pooling="cls")


def test_predict_batch_udf(rows) -> None:
    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    embed = Embed("minibert-demo", threads=1)
    vector = predict_batch_udf(embed.make_predict_fn, return_type=ArrayType(FloatType()), batch_size=1000)
    assert collected(rows.withColumn("embedding", vector("text"))) == in_batches(rows)


def test_a_python_worker_loads_the_model_once(rows) -> None:
    """And with the threads that were asked for, though Spark sets OMP_NUM_THREADS."""
    embed = Embed("minibert-demo", threads=2)

    def watch(frames):
        import pandas as pd
        import torch

        from minibert.integrations.batches import loaded

        done = list(embed(frames))
        info = loaded.cache_info()
        yield pd.DataFrame({
            "process": [os.getpid()], "loads": [info.misses], "threads": [torch.get_num_threads()],
            "batches": [len(done)],
        })  # fmt: skip

    found = []
    for _ in range(2):
        found += rows.mapInPandas(watch, "process long, loads long, threads long, batches long").collect()
    assert {row["threads"] for row in found} == {2}
    assert sum(row["batches"] for row in found) >= 2 * 6
    assert len({row["process"] for row in found}) <= 2  # two tasks at once, so two workers, for both jobs
    assert {row["loads"] for row in found} <= {1, 2}  # a second one for two threads, where one was loaded for one


def test_a_value_that_is_no_text(spark) -> None:
    from pyspark.errors import PythonException

    rows = spark.createDataFrame([(1, "a"), (2, None)], "number long, text string").coalesce(1)
    with pytest.raises(PythonException, match=r"Row 2 of 2 of a batch has (None|nan \(float\)) in the column 'text'"):
        rows.mapInPandas(Embed("minibert-demo"), SCHEMA).collect()


def test_what_travels_is_small() -> None:
    embed = Embed("minibert-demo", threads=1)
    assert len(pickle.dumps(embed)) < 500
    with pytest.raises(InputError, match="model is an Embedder"):
        Embed(minibert.Embedder.from_pretrained("minibert-demo"))
