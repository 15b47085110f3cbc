"""What do engines cost beside plain processes?  The same texts through datasets and Spark, with two processes each.

    python scripts/studies/engines.py [--model minibert-demo] [--rows 20000] [--rounds 5] [--engines datasets spark]

The measure is two processes that do nothing but ``Embedder.encode``, a thread each, 1,000 texts at a time.  The engines
get the same batches and the same threads, and the time is that of a job from its call to its last vector, once their
processes stand: Spark's workers keep the model from one job to the next; datasets forks processes anew for each map,
and each loads the model.  The three take turns; ratios are taken within a round.  The vectors of the first round are
compared with those of one process, byte for byte.  Needs pip install '.[test,engines]', and Spark needs Java.
"""

import argparse
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from inputs import ROOT

sys.path.insert(0, str(ROOT / "scripts" / "bench"))
os.environ |= {"OMP_NUM_THREADS": "1", "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))

import rounds
from billion import sentences

from minibert.integrations.batches import BatchEmbedder
from minibert.terminal import table

BATCH = 1000
PROCESSES = 2
Job = Callable[[], tuple[float, dict[int, bytes]]]  # seconds, and the digest of each row's vector


def digests(numbers: Iterable[int], vectors: Iterable[Any]) -> dict[int, bytes]:
    """What is compared, by the number of the row."""
    return {
        int(number): hashlib.sha256(vector.astype("float32").tobytes()).digest()
        for number, vector in zip(numbers, vectors, strict=True)
    }


def encode(embed: BatchEmbedder, texts: list[str]) -> Any:
    """A batch in a plain process."""
    return embed.vectors(texts)


def plain(model: str, texts: list[str]) -> Job:
    """Two processes that call encode."""
    pool = ProcessPoolExecutor(PROCESSES, get_context("spawn"))
    embed = BatchEmbedder(model, threads=1)
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]

    def run() -> tuple[float, dict[int, bytes]]:
        began = time.perf_counter()
        found = list(pool.map(encode, [embed] * len(batches), batches))
        seconds = time.perf_counter() - began
        return seconds, digests(range(len(texts)), (vector for vectors in found for vector in vectors))

    return run


def with_datasets(model: str, texts: list[str]) -> Job:
    """Dataset.map."""
    import datasets

    from minibert.integrations.datasets import Embed

    datasets.disable_progress_bars()
    datasets.disable_caching()
    rows, embed = datasets.Dataset.from_dict({"text": texts}), Embed(model, threads=1)

    def run() -> tuple[float, dict[int, bytes]]:
        began = time.perf_counter()
        found = rows.map(embed, batched=True, batch_size=BATCH, num_proc=PROCESSES)
        seconds = time.perf_counter() - began
        return seconds, digests(range(len(texts)), found.with_format("numpy")["embedding"][:])

    return run


def with_spark(model: str, texts: list[str]) -> Job:
    """DataFrame.mapInPandas, into a cached frame."""
    import pandas as pd
    from pyspark.sql import SparkSession

    from minibert.integrations.spark import Embed

    session = (
        SparkSession.builder.master(f"local[{PROCESSES}]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.sql.execution.arrow.maxRecordsPerBatch", str(BATCH))
        .config("spark.sql.execution.arrow.pyspark.enabled", "true")
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    frame = pd.DataFrame({"number": range(len(texts)), "text": texts})
    rows = session.createDataFrame(frame).cache()  # a part of equal size for each process
    rows.count()
    embed = Embed(model, threads=1)

    def run() -> tuple[float, dict[int, bytes]]:
        began = time.perf_counter()
        found = rows.mapInPandas(embed, "number long, text string, embedding array<float>").cache()
        found.count()
        seconds = time.perf_counter() - began
        collected = found.select("number", "embedding").toPandas()
        found.unpersist()
        return seconds, digests(collected["number"], collected["embedding"])

    return run


ENGINES = {"datasets": with_datasets, "spark": with_spark}


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="minibert-demo", help="default minibert-demo")
    parser.add_argument("--input", type=Path, metavar="FILE", help="any that minibert embed reads; default STS-B")
    parser.add_argument("--column", metavar="NAME", help="of its texts")
    parser.add_argument("--rows", type=int, default=20000, metavar="N", help="default 20,000")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="default 5")
    parser.add_argument("--engines", nargs="+", default=list(ENGINES), choices=list(ENGINES))
    options = parser.parse_args()
    texts = sentences(options.input, options.column, options.rows)
    print(f"{rounds.machine()}; {rounds.versions('torch', 'datasets', 'pyspark')}; {options.model}")
    print(f"{len(texts):,} texts in batches of {BATCH:,}; {PROCESSES} processes of one thread; {options.rounds} rounds")
    print(f"others at work when this began: {os.getloadavg()[0]:.1f} processes on average")
    with tempfile.TemporaryDirectory(prefix="minibert-engines-") as place:
        os.environ["HF_DATASETS_CACHE"] = place
        jobs = {"plain processes": plain(options.model, texts)}
        jobs |= {name: ENGINES[name](options.model, texts) for name in options.engines}
        expected: dict[int, bytes] = {}
        for name, job in jobs.items():  # the warm-up: processes start, models are loaded
            found = job()[1]
            expected = expected or found
            same = sum(found.get(number) == digest for number, digest in expected.items())
            print(f"{name}: {same:,} of {len(texts):,} vectors are those of plain processes, bit for bit")
        times = {
            name: [result[0] for result in results] for name, results in rounds.take_turns(jobs, options.rounds).items()
        }
    lines = []
    for name, seconds in times.items():
        ratio = rounds.Ratio.of(seconds, times["plain processes"])
        speed = [len(texts) / one for one in seconds]
        lines.append((name, rounds.spread(seconds, ".1f"), rounds.spread(speed, ",.0f"), str(ratio), ratio.interval))
    header = ("engine", "seconds", "texts/s", "time against plain", "interval of the median")
    print(table(header, lines, right=header[1:4]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
