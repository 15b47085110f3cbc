"""How much memory does pre-training take before its first step, and how long, as the text grows?

    python scripts/bench/bench_prepare.py                     30 and 300 MB made from the books and reviews of ../shared
    python scripts/bench/bench_prepare.py --megabytes 30 --text FILE [FILE ...]

The text is made line by line from the lines of the files, with an empty line after every twelve.  One word in forty is
joined from two others, so that there are ever more different words, as in real text.  Each size is a fresh process that
runs the stages of ``minibert pretrain`` one after the other.  The peak of each is VmHWM, set back before it; it holds
import torch and what the stages before have left.  ``anonymous`` leaves out pages of mapped files, which the system
takes back when it needs them (sampled every 50 ms).  Seconds are of a processor.  Linux only.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import rounds
from bench_memory import peak, set_peak_back
from material import SHARED, positive

FILES = [*sorted((SHARED / "data/gutenberg").glob("*-*.txt")), SHARED / "data/ko-reviews/ko_movie_reviews.txt"]
LINES = 12  # of a document
JOINED = 40  # one word in so many is new
WATCHED = 0.05  # seconds


def make_text(files: list[Path], size: int, path: Path) -> None:
    """Write about ``size`` bytes of text; the same each time."""
    draw = random.Random(0)
    lines = [
        line
        for file in files
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines()
        if line.strip()
    ]
    words = [word for line in lines for word in line.split()]
    written = number = 0
    with path.open("w", encoding="utf-8") as target:
        while written < size:
            number += 1
            parts = [
                draw.choice(words) + draw.choice(words).lower() if draw.randrange(JOINED) == 0 else word
                for word in draw.choice(lines).split()
            ]
            line = " ".join(parts) + ("\n\n" if number % LINES == 0 else "\n")
            written += len(line.encode())
            target.write(line)


def anonymous() -> int:
    """KiB of this process that are no pages of files."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("RssAnon")).split()[1])


class Watch:
    """The time and memory of stages."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        """What ``work`` returns."""
        set_peak_back()
        most, done = [anonymous()], threading.Event()

        def sample() -> None:
            while not done.wait(WATCHED):
                most.append(max(anonymous(), most.pop()))

        thread = threading.Thread(target=sample, daemon=True)
        thread.start()
        began = time.process_time()
        result = work()
        seconds = time.process_time() - began
        done.set()
        thread.join()
        row = {"stage": name, "peak": peak(), "anonymous": max(most[0], anonymous()) / 1024, "seconds": seconds}
        self.rows.append(row)
        print(
            f"  {name:<28}{row['peak']:>8,.0f}{row['anonymous']:>12,.0f}{seconds:>10,.1f}", file=sys.stderr, flush=True
        )
        return result


def one(options: argparse.Namespace) -> None:
    """The child: run the stages on one text, and print JSON."""
    from minibert.pretraining import run
    from minibert.pretraining.decontamination import HeldOut
    from minibert.pretraining.documents import read_documents
    from minibert.pretraining.examples import PretrainingExamples
    from minibert.pretraining.statistics import text_statistics

    watch, folder = Watch(), Path(options.folder)
    text, start = run.TrainingText((options.one,)), run.Start(vocab_size=options.vocab_size)
    watch.run("import torch and minibert", lambda: None)
    watch.run("statistics", lambda: text_statistics(text.files, (), text.heldout_share, text.reading))
    if options.heldout:
        known = watch.run("held-out text", lambda: HeldOut(read_documents(options.heldout)))
        watch.run("decontamination", lambda: sum(map(known.contains, read_documents(options.one))))
        del known
    tokenizer = watch.run("vocabulary", lambda: run.prepare_tokenizer(text, start, folder))
    made = watch.run("tokenizing", lambda: run.tokenized(text, tokenizer, folder, False))
    watch.run("tokenizing held-out text", lambda: run.tokenized(text, tokenizer, folder, True))
    if options.examples:
        examples = watch.run("passages", lambda: PretrainingExamples(made, tokenizer))
        watch.run("pairs and steps of an epoch", lambda: len(examples.steps(0)))
    print(json.dumps({"pieces": len(made.pieces), "stages": watch.rows}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", default="30,300", metavar="N,N,…", help="sizes of the text (default 30,300)")
    parser.add_argument("--text", nargs="+", type=Path, default=FILES, metavar="FILE", help="to make it from")
    parser.add_argument("--vocab-size", type=positive, default=8000, metavar="N", help="default 8,000")
    parser.add_argument("--folder", metavar="DIR", help="for the texts; they stay there, and are used again")
    parser.add_argument("--examples", action="store_true", help="also the passages and pairs, which come after")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--heldout", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(options)
        return
    with tempfile.TemporaryDirectory() as temporary:
        place = Path(options.folder or temporary)
        place.mkdir(parents=True, exist_ok=True)
        heldout = place / "heldout.txt"
        if not heldout.exists():
            make_text(options.text[:1], 300_000, heldout)
        for size in map(int, options.megabytes.split(",")):
            path = place / f"{size}.txt"
            if not path.exists():
                make_text(options.text, size * 1_000_000, path)
            print(f"{size} MB            stage  peak MiB   anonymous   seconds", file=sys.stderr)
            with tempfile.TemporaryDirectory() as run:
                command = [sys.executable, __file__, "--one", str(path), "--heldout", str(heldout), "--folder", run]
                command += ["--vocab-size", str(options.vocab_size), *(["--examples"] if options.examples else [])]
                done = subprocess.run(
                    command, stdout=subprocess.PIPE, check=True, text=True, env=rounds.child_environment()
                )
            print(f"{size} MB: {done.stdout.splitlines()[-1]}")


if __name__ == "__main__":
    main()
