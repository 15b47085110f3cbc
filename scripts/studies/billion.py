"""What would a billion sentences cost?  Hours, bytes and files, from rates that are measured here.

    python scripts/studies/billion.py [--input FILE --column NAME] [--models minibert-demo FOLDER …]
        [--backends torch onnxruntime openvino] [--rounds 3] [--total 1000000000] [--cores 1000]

The rows of a file (default: the sentences of the STS benchmark's training set) are planned, embedded and closed, as
``minibert embed --threads 1`` does, once per model and backend and round; these take turns, so that all meet the same
load.  Times are those that the process had a core for (CPU time), since the machine may be doing other things; waiting
for a disk or a network is not in them.  Then one corpus of each precision is written with the last model, and the
bytes of its files are added up, by kind.  What is printed for the total is these figures times the number of rows, or
of shards: no time is added for machines that wait for each other, since nothing does.  Rows are repeated where a file
has fewer than --rows.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from inputs import DATA, ROOT, minilm

sys.path.insert(0, str(ROOT / "scripts" / "bench"))

import rounds
import torch
from stsb import read_pairs

from minibert import Embedder, embed_shards, finish, plan_corpus
from minibert.corpus import index_corpus
from minibert.corpus.planning import SHARD_ROWS
from minibert.data.columns import TextRow
from minibert.data.opening import open_texts
from minibert.embedding.precision import PRECISIONS
from minibert.errors import MinibertError
from minibert.terminal import table

PLANNED = 100  # times the rows, for the speed of planning
SHARDS = 128  # of the rows, for the speed of finish
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


@dataclass
class Times:
    """Of one corpus: seconds of a core until all shards were there, and the tokens that the model read."""

    embed: float
    tokens: int


def sentences(path: Path | None, column: str | None, count: int) -> list[str]:
    """So many texts of a file, or of STS-B; repeated where there are fewer."""
    if path is None:
        found = [text for pair in read_pairs(DATA / "stsb" / "sts-train.csv") for text in pair[:2]]
    else:
        found = [row.text for row in islice(open_texts(path, column, None), count) if isinstance(row, TextRow)]
    return list(islice(cycle(found), count))


def one_corpus(embedder: Embedder, rows: Path, folder: Path, options: argparse.Namespace, precision: str) -> Times:
    """Plan, embed, finish."""
    plan = plan_corpus(
        embedder, rows, folder, column="text", threads=1, shard_rows=options.shard_rows,
        precision=precision, normalize=True,
    )  # fmt: skip
    began = time.process_time()
    made = embed_shards(plan, on_progress=lambda progress: None)
    seconds = time.process_time() - began
    finish(plan)
    return Times(seconds, made.tokens)


def kind_of(name: str) -> str:
    """What a file of a corpus holds."""
    stem, _, ending = name.partition(".")
    if stem.startswith("shard-"):
        return {"safetensors": "vectors", "jsonl": "texts and ids", "json": "records"}[ending]
    return {"plan": "plan", "records": "list of records"}.get(stem.partition("-")[0], "manifest")


def sizes_of(folder: Path) -> Counter[str]:
    """The bytes of a corpus' files by kind."""
    sizes: Counter[str] = Counter()
    for path in folder.iterdir():
        sizes[kind_of(path.name)] += path.stat().st_size
    return sizes


def size(count: float) -> str:
    """Bytes with a unit; 1 kB is 1,000 B."""
    unit = 0
    while count >= 1000 and unit < len(UNITS) - 1:
        count, unit = count / 1000, unit + 1
    return f"{count:,.3g} {UNITS[unit]}" if count < 999.5 else f"{count:,.0f} {UNITS[unit]}"


def hours(seconds: float) -> str:
    """A time in hours, with two decimals below one and none from 100."""
    count = seconds / 3600
    return f"{count:.2f}" if count < 1 else f"{count:,.1f}" if count < 100 else f"{count:,.0f}"


def rates(options: argparse.Namespace, rows: Path, work: Path) -> None:
    """Print the time of each model and backend."""
    embedders = {}
    for model in options.models:
        for backend in options.backends:
            try:
                embedder = Embedder.from_pretrained(model, backend=backend)
            except MinibertError as error:
                print(f"{named(model)} with {backend} is left out: {error}")
                continue
            embedders[named(model), embedder.backend.name] = embedder
    found: dict[tuple[str, str], list[Times]] = {key: [] for key in embedders}
    keys = list(embedders)
    for number in range(-1, options.rounds):
        for key in rounds.rotated(keys, number % len(keys)):
            with tempfile.TemporaryDirectory(dir=work) as folder:
                times = one_corpus(embedders[key], rows, Path(folder) / "v", options, "float32")
            if number >= 0:  # the first is not counted: the warm-up
                found[key].append(times)
    lines = []
    for (model, backend), times in found.items():
        speeds = [options.rows / one.embed for one in times]
        speed = statistics.median(speeds)
        alone = options.total / speed
        tokens = times[0].tokens / options.rows
        lines.append((
            model, backend, rounds.spread(speeds, ",.0f"), f"{tokens:.1f}", f"{speed * tokens:,.0f}", hours(alone),
            hours(alone / options.cores),
        ))  # fmt: skip
    header = ("model", "backend", "texts/s", "tokens per text", "tokens/s", "core hours", f"{options.cores:,} cores")
    print(table(header, lines, right=header[2:]))


def planning(options: argparse.Namespace, rows: Path, work: Path) -> None:
    """Print the time of the two steps that one process makes: of a longer file, and of more shards."""
    embedder, text = Embedder.from_pretrained(options.models[0]), rows.read_text("utf-8")
    (work / "long.jsonl").write_text(text * PLANNED, "utf-8")
    began = time.process_time()
    plan_corpus(embedder, work / "long.jsonl", work / "long", column="text", threads=1, shard_rows=options.shard_rows)
    speed = PLANNED * options.rows / (time.process_time() - began)
    print(f"planning: {speed:,.0f} rows/s, so {hours(options.total / speed)} hours, by one process")
    plan = plan_corpus(embedder, rows, work / "small", column="text", threads=1, shard_rows=-(-options.rows // SHARDS))
    embed_shards(plan, on_progress=lambda progress: None)
    began = time.process_time()
    finish(plan)
    per_shard = (time.process_time() - began) / plan.shards
    seconds = per_shard * options.total / options.shard_rows
    print(f"finish: {per_shard * 1000:.2f} ms per shard, so {hours(seconds)} hours, by one process")


def start_of(model: str, rows: Path, folder: Path) -> float:
    """Seconds of a core until ``minibert embed --worker`` has seen that there is nothing to do."""
    command = [sys.executable, "-m", "minibert", "embed", "--input", str(rows), "--column", "text", "--threads", "1"]
    command += ["--model", model, "--output", str(folder), "--worker", "0/1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    seconds = []
    for _ in range(4):  # the first makes the shards
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, env=environment)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(seconds[1:])


def named(model: str) -> str:
    """A model in a table."""
    return "all-MiniLM-L6-v2" if model == minilm_or_none() else Path(model).name


def minilm_or_none() -> str | None:
    """The folder of MiniLM, where it is installed."""
    try:
        return minilm()
    except SystemExit:
        return None


def storage(options: argparse.Namespace, rows: Path, work: Path) -> None:
    """Print the bytes of each precision, and of everything else."""
    embedder = Embedder.from_pretrained(options.models[-1])
    shards = -(-options.rows // options.shard_rows)
    lines, last = [], Counter[str]()
    for precision in PRECISIONS:
        folder = work / precision
        one_corpus(embedder, rows, folder, options, precision)
        last = sizes_of(folder)
        bytes_ = last["vectors"] / options.rows
        lines.append((precision, f"{bytes_:,.1f}", size(bytes_ * options.total)))
    width = len(embedder.encode("a"))
    print(f"\nvectors of {width} numbers, in safetensors:")
    print(table(("precision", "bytes per row", "all"), lines, right=("bytes per row", "all")))
    all_shards = -(-options.total // options.shard_rows)
    print(f"\n{all_shards:,} shards of {options.shard_rows:,} rows, {3 * all_shards:,} files; and of all together:")
    lines = [
        (kind, size(last[kind] / shards), size(last[kind] / shards * all_shards))
        for kind in ("texts and ids", "records", "list of records", "plan")
    ]
    print(table(("files", "per shard", "all"), lines, right=("per shard", "all")))
    index = index_corpus(work / "float32")
    bytes_ = (index.bytes - 4 * width * index.lists) / options.rows  # without the centres: few, of many vectors
    print(f"an index (minibert index): {bytes_:.1f} bytes per row, {size(bytes_ * options.total)}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, metavar="FILE", help="any that minibert embed reads; default STS-B")
    parser.add_argument("--column", metavar="NAME", help="of its texts")
    parser.add_argument("--models", nargs="+", metavar="MODEL", help="default: minibert-demo and all-MiniLM-L6-v2")
    parser.add_argument("--backends", nargs="+", default=["torch", "onnxruntime", "openvino"], metavar="NAME")
    parser.add_argument(
        "--rows", type=int, default=SHARD_ROWS, metavar="N", help=f"per corpus (default {SHARD_ROWS:,})"
    )
    parser.add_argument("--shard-rows", type=int, default=SHARD_ROWS, metavar="N", help=f"default {SHARD_ROWS:,}")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--total", type=int, default=10**9, metavar="N", help="rows to compute for (default a billion)")
    parser.add_argument("--cores", type=int, default=1000, metavar="N", help="as those here (default 1,000)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.models = options.models or ["minibert-demo", minilm()]
    with tempfile.TemporaryDirectory(prefix="minibert-billion-") as place:
        work = Path(place)
        texts = sentences(options.input, options.column, options.rows)
        rows = work / "rows.jsonl"
        rows.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), "utf-8")
        print(f"{rounds.machine()}; {rounds.versions('torch', 'onnxruntime', 'openvino')}")
        print(f"others at work when this began: {os.getloadavg()[0]:.1f} processes on average")
        different, bytes_ = len(set(texts)), rows.stat().st_size / options.rows
        print(
            f"{options.rows:,} rows of {bytes_:.0f} bytes as .jsonl, {different:,} different; {options.rounds} rounds\n"
        )
        print(f"{options.total:,} rows, by one thread, and by {options.cores:,} cores like this one:")
        rates(options, rows, work)
        planning(options, rows, work)
        seconds = start_of(options.models[-1], rows, work / "done")
        print(f"a worker that has nothing to do ends after {seconds:.1f} s of a core, with {named(options.models[-1])}")
        storage(options, rows, work)
    return 0


if __name__ == "__main__":
    sys.exit(main())
