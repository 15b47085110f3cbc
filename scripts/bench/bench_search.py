"""How fast is the exact search in a corpus?  Ours against NumPy's and faiss' flat search.

    python scripts/bench/bench_search.py                          a million vectors of 384 numbers, 1 and 100 queries
    python scripts/bench/bench_search.py --vectors 100000 --queries 1 10 --rounds 5
    python scripts/bench/bench_search.py --work FOLDER            keeps the corpus, 1.6 GB, for the next time

The vectors are random and of unit length, float32.  NumPy (a matrix product, then argpartition and a sort of the ten)
and faiss (IndexFlatIP) have them in memory; ours are a corpus on the disk, in .npy shards of 4,096, in the page cache:
``nearest(folder, vectors)``, the whole call.  It also compares the state of each of the shards' files with that of the
checksums, computes the scores of the candidates in float64, gives equal scores in input order, and reads the ids of the
hits.  All give the same ten rows, which is checked first.

They take turns with the same number of threads; a ratio is theirs / ours within a round: above 1, minibert is faster.
Needs faiss: pip install '.[index]'.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import material
import rounds

if TYPE_CHECKING:
    import numpy as np


def searches(folder: Path, matrix: "np.ndarray", queries: "np.ndarray") -> dict[str, Callable[[], list[list[int]]]]:
    """The row numbers, from 0, of the ten nearest of each query, by each library."""
    import faiss
    import numpy as np
    import torch

    from minibert import nearest

    flat = faiss.IndexFlatIP(matrix.shape[1])
    flat.add(matrix)
    ours = torch.from_numpy(queries)

    def by_numpy() -> list[list[int]]:
        scores = queries @ matrix.T if len(queries) > 1 else (matrix @ queries[0])[None]
        some = np.argpartition(scores, -10, axis=1)[:, -10:]
        order = np.take_along_axis(scores, some, 1).argsort(axis=1)[:, ::-1]
        return np.take_along_axis(some, order, 1).tolist()

    def by_faiss() -> list[list[int]]:
        return flat.search(queries, 10)[1].tolist()

    return {
        "minibert": lambda: [[hit.row - 1 for hit in hits] for hits in nearest(folder, ours, 10)],
        "numpy": by_numpy,
        "faiss": by_faiss,
    }


def compare(folder: Path, matrix: "np.ndarray", count: int, options: argparse.Namespace) -> None:
    """Time them for so many queries and print two tables."""
    import torch
    import torch.nn.functional as F

    from minibert.terminal import table

    draw = torch.Generator().manual_seed(1)
    queries = F.normalize(torch.randn(count, matrix.shape[1], generator=draw), dim=1).numpy()
    runs = searches(folder, matrix, queries)
    found = {name: run() for name, run in runs.items()}  # also the warm-up
    same = {name: sum(a == b for a, b in zip(found["minibert"], rows, strict=True)) for name, rows in found.items()}
    times = rounds.take_turns(
        {name: (lambda run=run: rounds.seconds(run, options.clock)) for name, run in runs.items()}, options.rounds
    )
    print(f"\n{count} {'query' if count == 1 else 'queries'}, {options.rounds} rounds")
    rows = [
        (name, rounds.spread([1000 * t for t in taken], ".0f"), f"{same[name]} of {count}")
        for name, taken in times.items()
    ]
    print(table(("", "ms", "same rows as ours"), rows))
    ratios = [(name, rounds.Ratio.of(times[name], times["minibert"])) for name in ("numpy", "faiss")]
    print(table(("theirs / ours", "ratio", "interval of the median"), [(n, str(r), r.interval) for n, r in ratios]))


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vectors", type=material.positive, default=1_000_000, metavar="N", help="default a million")
    parser.add_argument("--width", type=material.positive, default=384, metavar="W", help="default 384")
    parser.add_argument(
        "--queries", type=material.positive, nargs="+", default=[1, 100], metavar="Q", help="default 1 100"
    )
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="where the corpus is kept; default a temporary one")
    material.add_rounds(parser, 11)
    material.add_processor_time(parser)
    options = parser.parse_args()
    if options.quick:
        options.vectors, options.rounds = min(options.vectors, 20_000), 2
    if options.threads is not None:
        os.environ["OPENBLAS_NUM_THREADS"] = str(options.threads)  # NumPy's, before it is imported
    import faiss
    import vectors

    threads = material.use_threads(options.threads)
    faiss.omp_set_num_threads(threads)
    import numpy as np

    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.work or Path(temporary)) / f"random-{options.vectors}-{options.width}"
        if not vectors.is_corpus(folder, options.vectors):
            vectors.write_corpus(folder, vectors.random_blocks(options.vectors, options.width))
        matrix = np.concatenate([np.load(path) for path in sorted(folder.glob("*.npy"))])
        print(f"{options.vectors:,} vectors of {options.width} numbers, {matrix.nbytes / 1e9:.2f} GB")
        load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
        print(f"{rounds.versions('torch', 'numpy', 'faiss-cpu')}; {threads} threads; {rounds.machine()}; load {load}")
        for count in options.queries:
            compare(folder, matrix, count, options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
