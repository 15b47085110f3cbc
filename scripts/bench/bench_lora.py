"""Fine-tuning with adapters (finetune --lora) against full fine-tuning: time, memory, the size of the files, the score.

    python scripts/bench/bench_lora.py                                   minibert-demo on 4,000 reviews of NSMC
    python scripts/bench/bench_lora.py --model base --steps 6 --rounds 3
    python scripts/bench/bench_lora.py --epochs 3 --seeds 3              scores on 2,000 dev reviews

Each run is a process of its own, and they take turns.  Time is CPU time of a step of 32 texts, the median of a run;
memory is what a whole run adds to a process that has imported everything, the weights themselves included.  Needs
pip install '.[train,lora]'.
"""

import argparse
import gc
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import bench_memory
import material
import rounds

DATA = material.SHARED / "data" / "nsmc-from-raw"
COUNTLESS = 10**9
SIDES = ("full", "query,value", "all linear layers")
TARGETS = {"query,value": ("query", "value"), "all linear layers": ("query", "key", "value", "dense")}


def lines(source: Path, target: Path, count: int) -> Path:
    """Lines of a table at equal distances, since a table may be sorted, under its line of names."""
    if not source.is_file():
        sys.exit(f"{source} is not there; name your own data with --train and --dev.")
    names, *rows = source.read_text(encoding="utf-8").splitlines(keepends=True)
    target.write_text(names + "".join(rows[:: max(1, len(rows) // count)][:count]), encoding="utf-8")
    return target


def one(options: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Train as one side does, in this process."""
    import peft  # noqa: F401  # what the library takes is not counted

    from minibert.finetuning import Lora, finetune
    from minibert.training import loop

    material.use_threads(options.threads)
    model = "minibert-demo" if options.model is None else material.checkpoint(options.model, work)
    lora = None if options.one == "full" else Lora(r=options.rank, target_modules=TARGETS[options.one])
    data = [lines(path, work / f"{n}.tsv", count) for n, (path, count) in enumerate(
        ((options.train, options.texts), (options.dev, options.dev_texts)))]  # fmt: skip
    length = {"steps": options.steps} if options.epochs is None else {"epochs": options.epochs}
    rate = {} if options.learning_rate is None else {"learning_rate": options.learning_rate}
    times: list[float] = []
    step = loop.Trainer.step

    def timed(self: Any, stop: bool) -> Any:
        start = time.process_time()
        result = step(self, stop)
        times.append(time.process_time() - start)
        return result

    loop.Trainer.step = timed  # type: ignore[method-assign]
    gc.collect()
    bench_memory.set_peak_back()
    before = bench_memory.peak()
    found = finetune(
        "classify", model, data[0], work / "run", None if options.epochs is None else data[1], lora=lora,
        seed=options.seed, save_every=COUNTLESS, **length, **rate,
    )  # fmt: skip
    grown = bench_memory.peak() - before
    weights = next((work / "run").glob("*model.safetensors"))
    snapshot = next((work / "run" / "snapshots").glob("step-*"))
    size = {"weights": weights.stat().st_size / 1e6, "snapshot": snapshot.stat().st_size / 1e6}
    return {"seconds": statistics.median(times), "memory": grown, **size, "score": found.scores.get("accuracy", 0.0)}


def child(side: str, seed: int, options: argparse.Namespace) -> Callable[[], dict[str, float]]:
    """A run in a fresh process."""
    arguments = rounds.options_of(
        options, "model", "train", "dev", "texts", "dev_texts", "steps", "epochs", "rank", "threads", "learning_rate"
    )
    return partial(rounds.in_child, side, __file__, f"--one={side}", f"--seed={seed}", *arguments)


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", metavar="MODEL", help="minilm, base (bert-base's shape) or a folder; default the demo"
    )
    parser.add_argument("--train", type=Path, default=DATA / "train.tsv", metavar="FILE")
    parser.add_argument("--dev", type=Path, default=DATA / "test.tsv", metavar="FILE")
    parser.add_argument("--texts", type=material.positive, default=4000, metavar="N", help="default 4000")
    parser.add_argument("--dev-texts", type=material.positive, default=2000, metavar="N", help="default 2000")
    parser.add_argument("--steps", type=material.positive, default=20, metavar="N", help="default 20")
    parser.add_argument("--epochs", type=material.positive, metavar="N", help="instead of steps, and with dev data")
    parser.add_argument("--rank", type=material.positive, default=8, metavar="R", help="default 8")
    parser.add_argument(
        "--learning-rate", type=float, metavar="RATE", help="default finetune's own, with --lora another"
    )
    parser.add_argument("--seeds", type=material.positive, default=1, metavar="N", help="of each round, default 1")
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--one", choices=SIDES, help=argparse.SUPPRESS)
    material.add_rounds(parser, 3)
    options = parser.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory() as work:
            print(json.dumps(one(options, Path(work))))
        return 0
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    for seed in range(options.seeds):
        turns = rounds.take_turns({side: child(side, seed, options) for side in SIDES}, options.rounds)
        for side, runs in turns.items():
            found[side] += runs
    print(f"{'':18} {'ms a step':>10} {'MiB':>8} {'weights MB':>11} {'snapshot MB':>12} {'score':>8}")
    for side, runs in found.items():
        middle = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
        mean = statistics.mean(run["score"] for run in runs)
        print(
            f"{side:18} {1000 * middle['seconds']:10.0f} {middle['memory']:8.0f} {middle['weights']:11.2f} "
            f"{middle['snapshot']:12.2f} {mean:8.4f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
