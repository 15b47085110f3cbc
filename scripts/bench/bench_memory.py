"""How much does the memory of a process grow while it embeds?  Ours against what people use today.

    python scripts/bench/bench_memory.py                              MiniLM, 2,000 texts, against sentence-transformers
    python scripts/bench/bench_memory.py --peers sentence-transformers,onnxruntime,ctranslate2 --rounds 7

Every figure comes from a fresh process: it loads the model, embeds one short text, notes its resident memory, embeds
all the texts, and takes its peak since then.  The growth is peak - before: what the texts cost, not the library or the
weights.  (Weights that a library maps from the file and reads only now count too.)  On Linux the peak is VmHWM, set
back just before; elsewhere it is ru_maxrss, which never falls, so that a peak while loading can hide some of the
growth.  The processes take turns.  A ratio is ours / theirs, so below 1 we need less.  Exports are made beforehand.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import material
import rounds

SHORT = "The weather is lovely today."


def set_peak_back() -> bool:
    """Make VmHWM start again from what is resident now; False where the system has no such thing."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak() -> float:
    """The most memory that was resident, in MiB: since ``set_peak_back``, or since the process began."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def one(options: argparse.Namespace) -> None:
    """The child: measure ``options.one`` and print JSON."""
    import peers as known

    threads = material.use_threads(options.threads)
    texts = json.loads(options.text.read_text(encoding="utf-8"))
    kind = known.Minibert if options.one == known.Minibert.name else known.PEERS[options.one]
    (peer,) = known.load([kind], Path(options.model), options.forms, threads)
    peer.embed([SHORT])
    gc.collect()
    is_exact = set_peak_back()
    before = peak()
    vectors = peer.embed(texts)
    after = peak()
    print(json.dumps({"growth": after - before, "peak": after, "texts": len(vectors), "exact": is_exact}))


def child(name: str, folder: Path, forms: Path, texts: Path, threads: int) -> Callable[[], dict[str, float]]:
    """One turn: a fresh process."""
    arguments = ["--one", name, "--model", str(folder), "--forms", str(forms)]
    arguments += ["--text", str(texts), "--threads", str(threads)]
    return partial(rounds.in_child, name, __file__, *arguments)


def measure(options: argparse.Namespace, work: Path) -> None:
    """Prepare, run the children, print."""
    import peers as known

    from minibert.terminal import table

    threads = material.use_threads(options.threads)
    wanted = known.installed(known.named(options.peers))
    folder = material.checkpoint(options.model, work)
    texts = material.read_texts(options.texts, options.text)
    listed, forms = work / "texts.json", work / "forms"
    listed.write_text(json.dumps(texts), encoding="utf-8")
    known.prepare(wanted, folder, forms)
    names = [known.Minibert.name, *(peer.name for peer in wanted)]
    runs = {name: child(name, folder, forms, listed, threads) for name in names}
    found = rounds.take_turns(runs, options.rounds)
    print(f"{material.TITLES.get(options.model, options.model)}; {len(texts):,} texts, {options.rounds} rounds")
    print(f"{known.versions_of(wanted)}; {threads} threads; {rounds.machine()}")
    if not all(result["exact"] for results in found.values() for result in results):
        print("This system cannot set the peak back, so peaks while loading may hide some of the growth.")
    growth = {name: [result["growth"] for result in results] for name, results in found.items()}
    rows = []
    for name in names:
        row = [name, rounds.spread(growth[name], ".0f"), f"{statistics.median(r['peak'] for r in found[name]):.0f}"]
        if name != known.Minibert.name:
            ratio = rounds.Ratio.of(growth[known.Minibert.name], growth[name])
            row += [str(ratio), ratio.interval]
        rows.append((*row, "", "")[:5])
    print(
        table(("", "growth, MiB", "peak, MiB", "ours / theirs", "interval of the median"), rows, right=("peak, MiB",))
    )


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=material.MINILM, help="minilm (default), base or a folder")
    material.add_texts(parser, 2000)
    material.add_rounds(parser, 5)
    parser.add_argument("--peers", default="sentence-transformers", metavar="NAMES", help="with commas between, or all")
    parser.add_argument("--one", help=argparse.SUPPRESS)  # the child's own
    parser.add_argument("--forms", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options)
        return 0
    if options.quick:
        options.texts, options.rounds = min(options.texts, 48), 2
    with tempfile.TemporaryDirectory() as work:
        measure(options, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
