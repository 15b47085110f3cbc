"""How much does the approximate index find, how fast, and what does it take to build?  A curve over sizes.

    python scripts/bench/bench_index.py --work FOLDER                   0.1, 0.3, 1 and 3 million vectors: 8 GB of disk
    python scripts/bench/bench_index.py --work FOLDER --sizes 10000000 --picture curve.svg
    python scripts/bench/bench_index.py --work FOLDER --quick

The vectors: texts (sentences of the books, the STS benchmark and Korean reviews of ../shared; or --text FILE) embedded
with all-MiniLM-L6-v2, then repeated up to the size, each time with noise as long as the distance to the nearest other
text, in a random direction, and normalized again.  ``minibert index`` runs on a corpus of them in a fresh process; then
another one asks for the ten nearest of 300 further such vectors, one at a time, by ``nearest(…, approximate=True)``:
the whole call, and the second time of each counts, when the pages it needs are in memory.

Recall@10 is what the index measures itself: on 1,000 rows of the corpus, each left out of its own result, against the
exact search.  Memory is the peak of what is not mapped from a file.  Figures are kept in FOLDER; the table has those
of earlier runs too.  A corpus is removed after its size, with --remove.  Needs faiss: pip install '.[index]'.
"""

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import material
import rounds

QUERIES = 300
SIZES = (100_000, 300_000, 1_000_000, 3_000_000)


def read_texts(options: argparse.Namespace) -> list[str]:
    """Distinct texts in a drawn order."""
    if options.text is not None:
        return list(dict.fromkeys(material.read_texts(options.texts, options.text)))
    corpora = material.shared_corpora()
    if corpora is None:
        sys.exit("There are no corpora in ../shared; name your own with --text FILE (one text a line).")
    texts = [text for book in corpora[0] for text in material.sentences(book)] + corpora[1].splitlines()
    for path in sorted((material.SHARED / "data" / "stsb").glob("sts-*.csv")):
        texts += [text for line in path.read_text(encoding="utf-8").splitlines() for text in line.split("\t")[5:7]]
    distinct = list(dict.fromkeys(text for text in texts if len(text) >= 20))
    random.Random(0).shuffle(distinct)
    return distinct[: options.texts]


def real_vectors(options: argparse.Namespace) -> dict[str, Any]:
    """The texts' vectors, (n, W) of unit length, and each one's distance to the nearest other; kept in a file."""
    import vectors
    from safetensors.torch import load_file, save_file

    from minibert import Embedder

    path = options.work / "real.safetensors"
    if not path.is_file():
        embedder = Embedder.from_pretrained(material.checkpoint(options.model, options.work))
        found = embedder.encode(read_texts(options), normalize=True, show_progress_bar=True)
        save_file({"vectors": found, "distances": vectors.distances_to_nearest(found)}, path)
    return load_file(path)


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """In a list, at the end, the most MB that were not mapped from a file, looked at every 50 ms."""
    peak, stop = [0.0], threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    peak[0] = max(peak[0], int(line.split()[1]) / 1000)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def build(folder: Path) -> dict[str, Any]:
    """``minibert index``, in this process."""
    from minibert.corpus import index_corpus

    started = time.perf_counter()
    with peak_memory() as peak:
        report = index_corpus(folder)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    seconds = {"seconds": time.perf_counter() - started, "processor": usage.ru_utime + usage.ru_stime}
    return {**report.to_dict(), **seconds, "build_mb": peak[0]}


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Milliseconds of one call, on the wall and of the processor.

    Garbage is not collected before: for hundreds of calls, that would take longer than they do.
    """
    started, processor = time.perf_counter(), time.process_time()
    work()
    return 1000 * (time.perf_counter() - started), 1000 * (time.process_time() - processor)


def ask(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Milliseconds of each of the queries, warm; and of an exact search."""
    import vectors

    from minibert import nearest

    real = real_vectors(options)
    (queries,) = vectors.noisy_blocks(real["vectors"], real["distances"], QUERIES, seed=1)
    with peak_memory() as peak:
        for _ in range(2):
            pairs = [timed(lambda q=q: nearest(folder, q, approximate=True)) for q in queries]
    wall, processor = (sorted(times) for times in zip(*pairs, strict=True))
    at = int(0.95 * len(wall))
    found = {"median": statistics.median(wall), "p95": wall[at], "query_mb": peak[0]}
    found |= {"processor_median": statistics.median(processor), "processor_p95": processor[at]}
    if not options.no_exact:
        exact = [timed(lambda: nearest(folder, queries[0])) for _ in range(4)][1:]
        found["exact"], found["processor_exact"] = (statistics.median(times) for times in zip(*exact, strict=True))
    return found


def measure(size: int, options: argparse.Namespace) -> None:
    """One size, whose figures are kept."""
    import vectors

    folder = options.work / f"noisy-{size}"
    real = real_vectors(options)
    if not vectors.is_corpus(folder, size):
        vectors.write_corpus(folder, vectors.noisy_blocks(real["vectors"], real["distances"], size))
    common = [__file__, f"--work={options.work}", f"--threads={options.threads}", *(["--no-exact"] * options.no_exact)]
    figures: dict[str, Any] = {"size": size, "real": len(real["vectors"]), "load": os.getloadavg()}
    figures |= rounds.in_child("minibert index", *common, "--build", str(folder))
    figures |= rounds.in_child("the queries", *common, "--ask", str(folder))
    with (options.work / "figures.jsonl").open("a") as file:
        file.write(json.dumps(figures) + "\n")
    if options.remove:
        shutil.rmtree(folder)


def show(options: argparse.Namespace) -> None:
    """The table, and the picture."""
    from minibert.terminal import table

    lines = (options.work / "figures.jsonl").read_text().splitlines()
    latest = {figures["size"]: figures for figures in map(json.loads, lines)}
    found = [latest[size] for size in sorted(latest)]
    cells = {
        "vectors": [f"{f['size']:,}" for f in found],
        "recall@10": [f"{f['recall']:.4f}" for f in found],
        "query, ms": [f"{f['median']:.1f}" for f in found],
        "p95": [f"{f['p95']:.1f}" for f in found],
        "processor": [f"{f['processor_median']:.1f}" if "processor_median" in f else "" for f in found],
        "its p95": [f"{f['processor_p95']:.1f}" if "processor_p95" in f else "" for f in found],
        "exact, ms": [f"{f['exact']:.0f}" if "exact" in f else "" for f in found],
        "lists": [f"{f['probes']} of {f['lists']:,}" for f in found],
        "index, MB": [f"{f['bytes'] / 1e6:,.0f}" for f in found],
        "build, s": [f"{f['seconds']:,.0f}" for f in found],
        "its processor, s": [f"{f['processor']:,.0f}" for f in found],
        "peak, MB": [f"{f['build_mb']:,.0f}" for f in found],
        "queries' peak": [f"{f['query_mb']:,.0f}" for f in found],
        "load": [f"{f['load'][0]:.1f}" for f in found],
    }
    known = f"{rounds.versions('torch', 'faiss-cpu')}; {options.threads} threads; {rounds.machine()}"
    print(f"{found[0]['real']:,} texts; {known}")
    print(table(list(cells), list(zip(*cells.values(), strict=True)), right=list(cells)))
    if options.picture is not None:
        draw(found, options.picture)


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Recall and the time of a query over the size."""
    from minibert.pictures import new_figure, write_picture

    figure = new_figure((8, 3.5))
    sizes = [f["size"] for f in found]
    recall, times = figure.subplots(1, 2)
    recall.plot(sizes, [f["recall"] for f in found], marker="o")
    recall.set(title="recall@10", xscale="log", xlabel="vectors", ylim=(0.9, 1.002))
    times.plot(sizes, [f["median"] for f in found], marker="o", label="approximate, median")
    times.plot(sizes, [f["p95"] for f in found], marker=".", linestyle="--", label="approximate, p95")
    exact = [f for f in found if "exact" in f]
    times.plot([f["size"] for f in exact], [f["exact"] for f in exact], marker="s", label="exact")
    times.set(title="ms of a warm query", xscale="log", yscale="log", xlabel="vectors")
    times.legend()
    write_picture(figure, path)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where everything is kept; default a temporary one")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, metavar="N", help="numbers of vectors")
    parser.add_argument("--model", default=material.MINILM, metavar="MODEL", help="minilm, or a folder")
    material.add_texts(parser, 50_000)
    parser.add_argument("--threads", type=material.positive, metavar="N", help="default: torch's own choice")
    parser.add_argument("--picture", type=Path, metavar="FILE", help=".svg or .png: the curve")
    parser.add_argument("--no-exact", action="store_true", help="do not time the exact search")
    parser.add_argument("--remove", action="store_true", help="remove each corpus after its size")
    parser.add_argument("--quick", action="store_true", help="small: does it run at all?")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ask", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.quick:
        options.texts, options.sizes = min(options.texts, 60), [2000]
    options.threads = material.use_threads(options.threads)
    with tempfile.TemporaryDirectory() as temporary:
        options.work = options.work or Path(temporary)
        options.work.mkdir(parents=True, exist_ok=True)
        if options.build or options.ask:
            print(json.dumps(build(options.build) if options.build else ask(options.ask, options)))
            return 0
        for size in options.sizes:
            measure(size, options)
        show(options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
