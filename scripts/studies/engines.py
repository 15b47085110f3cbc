"""What do engines cost beside plain processes?  The same texts through datasets and Spark, with two processes each.

    python scripts/studies/engines.py [--model minibert-demo] [--rows 20000] [--rounds 5] [--engines datasets spark]

The measure is two processes that do nothing but ``Embedder.encode``, a thread each, 1,000 texts at a time.  The engines
get the same batches and the same threads.  A job is measured from its call to its last vector, once the processes
stand: Spark's workers keep the model from one job to the next; datasets forks processes anew for each map, and each
loads the model.  The time is what all processes of an engine have a core for (CPU time, of Java too), since the machine
may be doing other things; the time on the wall is beside it.  The three take turns; ratios are taken within a round.
The vectors of the first job are compared with those of plain processes, byte for byte.  Needs pip install
'.[test,engines]', and Spark needs Java; reads /proc.
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

from minibert.integrations.batches import Embed as EmbedHere
from minibert.terminal import table

BATCH = 1000
PROCESSES = 2
Seconds = tuple[float, float]  # of a core, and on the wall
Job = Callable[[], tuple[Seconds, dict[int, bytes]]]  # and the digest of each row's vector
TICKS = os.sysconf("SC_CLK_TCK")


def core_seconds() -> dict[int, int]:
    """The CPU time of this process and of all that it started, with that of their children that have ended."""
    times, parents = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        number = int(path.parent.name)
        parents[number], times[number] = int(fields[1]), sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {number for number, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return {number: times[number] for number in ours}


class Clock:
    """Begins when it is made."""

    def __init__(self) -> None:
        self.core, self.wall = core_seconds(), time.perf_counter()

    def seconds(self) -> Seconds:
        """Until now.  Spark ends workers that were idle for a minute: what they had done before is in no job."""
        wall = time.perf_counter() - self.wall
        spent = sum(now - self.core.get(number, 0) for number, now in core_seconds().items())
        return spent / TICKS, wall


def digests(numbers: Iterable[int], vectors: Iterable[Any]) -> dict[int, bytes]:
    """What is compared, by the number of the row."""
    return {
        int(number): hashlib.sha256(vector.astype("float32").tobytes()).digest()
        for number, vector in zip(numbers, vectors, strict=True)
    }


def encode(embed: EmbedHere, texts: list[str]) -> Any:
    """A batch in a plain process."""
    return embed.vectors(texts)


def plain(model: str, texts: list[str]) -> Job:
    """Two processes that call encode."""
    pool = ProcessPoolExecutor(PROCESSES, get_context("spawn"))
    embed = EmbedHere(model, threads=1)
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]

    def run() -> tuple[Seconds, dict[int, bytes]]:
        clock = Clock()
        found = list(pool.map(encode, [embed] * len(batches), batches))
        seconds = clock.seconds()
        return seconds, digests(range(len(texts)), (vector for vectors in found for vector in vectors))

    return run


def with_datasets(model: str, texts: list[str]) -> Job:
    """Dataset.map."""
    import datasets

    from minibert.integrations.datasets import Embed

    datasets.disable_progress_bars()
    datasets.disable_caching()
    rows, embed = datasets.Dataset.from_dict({"text": texts}), Embed(model, threads=1)

    def run() -> tuple[Seconds, dict[int, bytes]]:
        clock = Clock()
        found = rows.map(embed, batched=True, batch_size=BATCH, num_proc=PROCESSES)
        seconds = clock.seconds()
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

    def run() -> tuple[Seconds, dict[int, bytes]]:
        clock = Clock()
        found = rows.mapInPandas(embed, "number long, text string, embedding array<float>").cache()
        found.count()
        seconds = clock.seconds()
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
    for name, both in times.items():
        core, plain_core = ([one[0] for one in seconds] for seconds in (both, times["plain processes"]))
        ratio = rounds.Ratio.of(core, plain_core)
        wall = rounds.spread([one[1] for one in both], ".1f")
        lines.append((name, rounds.spread(core, ".1f"), str(ratio), ratio.interval, wall))
    header = ("engine", "seconds of a core", "against plain", "interval of the median", "on the wall")
    print(table(header, lines, right=header[1:]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
