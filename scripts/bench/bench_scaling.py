"""Does twice as much text take twice as long?  From 500 to 8,000 texts.

    python scripts/bench/bench_scaling.py [--model minilm] [--sizes 500 1000 2000 4000 8000] [--rounds 5]

The smaller lists are every second, fourth, … text of the largest one sorted by tokens, in a drawn order: all sizes have
the same mix of lengths, and only their number differs.  Embedder.encode runs with its defaults, tokenization included,
its cache of words emptied before each run; the sizes take turns.  Printed is the time per token at each size, and the
ratio to the smallest size, within a round: 1 is linear.  Needs no other library.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import material
import rounds

WITHIN = 0.10  # what still counts as linear


def nested(texts: Sequence[str], lengths: Sequence[int], sizes: Sequence[int]) -> dict[int, list[int]]:
    """For each size the numbers of that many texts, spread evenly over the texts sorted by length, in a drawn order."""
    order = sorted(range(len(texts)), key=lambda number: lengths[number])
    draw = random.Random(0)
    chosen = {}
    for size in sizes:
        numbers = [order[(2 * place + 1) * len(order) // (2 * size)] for place in range(size)]
        draw.shuffle(numbers)
        chosen[size] = numbers
    return chosen


def measure(options: argparse.Namespace, work: Path) -> None:
    """Everything."""
    import peers as known

    import minibert
    from minibert.terminal import table

    known.quiet()
    threads = material.use_threads(options.threads)
    folder = material.checkpoint(options.model, work)
    ours = known.Minibert(folder, work, threads)
    texts = material.read_texts(max(options.sizes), options.text)
    sizes = sorted({min(size, len(texts)) for size in options.sizes})
    lengths = [len(row) for row in known.token_rows(ours, texts)]
    chosen = nested(texts, lengths, sizes)
    tokens = {size: sum(lengths[number] for number in chosen[size]) for size in sizes}

    def turn(size: int) -> Callable[[], float]:
        mine = [texts[number] for number in chosen[size]]

        def run() -> float:
            ours.fresh()
            return rounds.seconds(lambda: ours.embed(mine)) / tokens[size] * 1e6

        return run

    turn(sizes[0])()  # not counted: the warm-up
    print(f"{material.TITLES.get(options.model, options.model)}; {options.rounds} rounds")
    print(f"minibert {minibert.__version__}, {rounds.versions('torch')}; {threads} threads; {rounds.machine()}")
    found = rounds.take_turns({str(size): turn(size) for size in sizes}, options.rounds)
    ratios = {size: rounds.Ratio.of(found[str(size)], found[str(sizes[0])]) for size in sizes}
    rows = [
        (f"{size:,}", f"{tokens[size]:,}", rounds.spread(found[str(size)], ".1f"), ratios[size], ratios[size].interval)
        for size in sizes
    ]
    headers = ("texts", "tokens", "µs a token", f"against {sizes[0]:,} texts", "interval of the median")
    print(table(headers, rows, right=headers[:2]))
    worst = max(abs(ratio.median - 1) for ratio in ratios.values())
    word = "linear" if worst <= WITHIN else "NOT linear"
    print(f"{word} within {WITHIN:.0%}: the time of a token changes by at most {worst:.1%}")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=material.MINILM, help="minilm (default), base or a folder")
    parser.add_argument("--sizes", type=material.positive, nargs="+", default=[500, 1000, 2000, 4000, 8000])
    parser.add_argument("--text", type=Path, metavar="FILE", help="a file with one text a line, instead of ../shared")
    material.add_rounds(parser, 5)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.rounds = [30, 60, 120], 2
    with tempfile.TemporaryDirectory() as work:
        measure(options, Path(work))
    return 0


if __name__ == "__main__":
    sys.exit(main())
