"""Which approximate index?  usearch's and faiss's graphs and faiss's inverted lists, on the same vectors.

    python scripts/studies/index_libraries.py --real real.safetensors --vectors 100000

``--real``: what ``scripts/bench/bench_index.py --work FOLDER`` wrote there.  Each holds its vectors in a byte per
number, because ten million have to fit beside the rest.  Queries are 200 of the vectors themselves; the nearest fifty
are scored again with the vectors, as the search in a corpus does, and the ten best are compared with the exact ten.
Printed are the seconds to build, the size, recall@10, and the time of a query, one at a time, for several efforts.
"""

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from safetensors.torch import load_file
from usearch.index import Index

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))

import vectors as made

from minibert.terminal import table

QUERIES, CANDIDATES = 200, 50
Search = Callable[[Any], Any]  # one query, (W,): the numbers of the candidates


def usearch_graph(matrix: Any, threads: int) -> tuple[int, Iterator[tuple[str, Search]]]:
    """HNSW with int8, 16 links."""
    graph = Index(ndim=matrix.shape[1], metric="cos", dtype="i8", connectivity=16, expansion_add=128)
    graph.add(np.arange(len(matrix)), matrix, threads=threads)

    def efforts() -> Iterator[tuple[str, Search]]:
        for effort in (64, 128, 256, 512):
            graph.expansion_search = effort
            yield f"expansion {effort}", lambda query: graph.search(query, CANDIDATES, threads=1).keys

    return int(graph.serialized_length), efforts()


def faiss_graph(matrix: Any, threads: int) -> tuple[int, Iterator[tuple[str, Search]]]:
    """HNSW with int8, 16 links."""
    graph = faiss.IndexHNSWSQ(matrix.shape[1], faiss.ScalarQuantizer.QT_8bit, 16, faiss.METRIC_INNER_PRODUCT)
    graph.hnsw.efConstruction = 128
    graph.train(matrix[:100_000])
    graph.add(matrix)

    def efforts() -> Iterator[tuple[str, Search]]:
        for effort in (64, 128, 256, 512):
            graph.hnsw.efSearch = effort
            yield f"efSearch {effort}", lambda query: graph.search(query[None], CANDIDATES)[1][0]

    return len(faiss.serialize_index(graph)), efforts()


def faiss_lists(matrix: Any, threads: int) -> tuple[int, Iterator[tuple[str, Search]]]:
    """Inverted lists, 4 √n of them, with int8 of the difference from the list's centre."""
    count = int(4 * len(matrix) ** 0.5)
    centres = faiss.IndexFlatIP(matrix.shape[1])
    kind = faiss.ScalarQuantizer.QT_8bit
    lists = faiss.IndexIVFScalarQuantizer(centres, matrix.shape[1], count, kind, faiss.METRIC_INNER_PRODUCT)
    lists.train(matrix[np.random.default_rng(0).permutation(len(matrix))[: 64 * count]])
    lists.add(matrix)

    def efforts() -> Iterator[tuple[str, Search]]:
        for effort in (8, 16, 32, 64, 128):
            lists.nprobe = effort
            yield f"{effort} of {count} lists", lambda query: lists.search(query[None], CANDIDATES)[1][0]

    return len(faiss.serialize_index(lists)), efforts()


KINDS = {"usearch graph": usearch_graph, "faiss graph": faiss_graph, "faiss lists": faiss_lists}


def nearest_others(matrix: Any, numbers: Any, chosen: Any) -> set[int]:
    """The ten of ``chosen`` nearest to the vector ``numbers``, itself left out."""
    chosen = chosen[(chosen >= 0) & (chosen != numbers)].astype(np.int64)
    order = (matrix[chosen] @ matrix[numbers]).argsort()[::-1][:10]
    return set(chosen[order].tolist())


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real", type=Path, required=True, metavar="FILE")
    parser.add_argument("--vectors", type=int, default=100_000, metavar="N")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS, metavar="KIND")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    faiss.omp_set_num_threads(options.threads)
    real = load_file(options.real)
    matrix = torch.cat(list(made.noisy_blocks(real["vectors"], real["distances"], options.vectors))).numpy()
    numbers = np.random.default_rng(1).choice(len(matrix), QUERIES, replace=False)
    everything = np.argpartition(matrix[numbers] @ matrix.T, -11, axis=1)[:, -11:]
    exact = [nearest_others(matrix, n, row) for n, row in zip(numbers, everything, strict=True)]
    rows = []
    for kind in options.kinds:
        faiss.omp_set_num_threads(options.threads)
        started = time.perf_counter()
        size, efforts = KINDS[kind](matrix, options.threads)
        built = time.perf_counter() - started
        faiss.omp_set_num_threads(1)
        for effort, search in efforts:
            times, recalls = [], []
            for number, expected in zip(numbers, exact, strict=True):
                started = time.perf_counter()
                found = nearest_others(matrix, number, search(matrix[number]))
                times.append(1000 * (time.perf_counter() - started))
                recalls.append(len(found & expected) / 10)
            rows.append(
                (kind, f"{built:.0f}", f"{size / 1e6:.0f}", effort, f"{statistics.mean(recalls):.4f}",
                 f"{statistics.median(times):.2f}")
            )  # fmt: skip
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    print(f"{options.vectors:,} vectors of {matrix.shape[1]} numbers, {options.threads} threads, load {load}")
    print(
        table(("", "built, s", "MB", "effort", "recall@10", "ms, median"), rows, right=("built, s", "MB", "recall@10"))
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
