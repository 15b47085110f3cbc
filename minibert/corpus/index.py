"""index_corpus: an approximate index beside the vectors of a corpus, in its folder ``index/``.

First the centres are found (centres.py), then the vectors are put into the lists around them, a piece of the corpus at
a time; then the pieces are joined.  Each step's result appears whole under its name, so a run that was interrupted or
killed goes on where it was.  Last, the number of lists that a query looks at is chosen, and what the index then finds
is measured against the exact search: ``index.json`` keeps both.  approximate.py searches with it.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from minibert._version import __version__
from minibert.checksum import file_digest, read_sealed, write_sealed
from minibert.corpus.approximate import (
    FACTS,
    FOLDER,
    KIND,
    LISTS,
    VERSION,
    Index,
    IndexReport,
    check_kind,
    need_faiss,
    read_facts,
    read_lists,
)
from minibert.corpus.centres import find_centres, nearest_centres, sample_of
from minibert.corpus.folder import local_corpus
from minibert.corpus.manifest import FILE
from minibert.corpus.opened import OpenCorpus, open_corpus
from minibert.corpus.search import nearest_vectors
from minibert.errors import CheckpointError, InputError
from minibert.files import written_whole
from minibert.lock import locked
from minibert.source import Source

PLAN = "plan.json"
PIECE = 1 << 18  # vectors, at least; what a killed run loses at most
NEAREST = 10
MEASURED, TUNED = 1000, 250  # rows that the recall is measured on, and others that the number of probes is chosen by
EXAMPLES = 20_000  # vectors that the ranges of the bytes are taken from
OURS = re.compile(r"(centres-\d+\.safetensors|(piece-\d{5,}|lists)\.faiss|(plan|index)\.json|\..*\.part)")


def index_corpus(folder: Source, recall: float = 0.99) -> IndexReport:
    """Make the approximate index of a corpus, or go on with it; one that is there and fits is only reported.

    Args:
        folder: a folder that :func:`embed_corpus` wrote: float32, float16, int8 or uint8, in safetensors or npy.
        recall: of the ten nearest rows, the share that is to be found; a query looks at as few lists as that takes.

    The report's recall is measured on rows that had no part in this choice.  Raises InputError for a corpus that has no
    index, CheckpointError for damaged or unwritable files, MissingExtraError without faiss.
    """
    place = local_corpus(folder)
    if isinstance(recall, bool) or not isinstance(recall, int | float) or not 0 < recall <= 1:
        raise InputError(f"recall is {recall!r}; expected a share, above 0 and at most 1.")
    need_faiss()
    corpus = open_corpus(place)
    check_kind(corpus)
    with locked(place / FOLDER):
        return make_index(corpus, float(recall))


def make_index(corpus: OpenCorpus, recall: float) -> IndexReport:
    """Every step that is not done yet."""
    folder = corpus.place / FOLDER
    plan = begin(corpus, folder)
    with suppress(CheckpointError):
        facts = read_facts(corpus)
        if facts["asked_recall"] == recall and all(facts[name] == plan[name] for name in plan):
            return report(corpus, facts)
    path = folder / LISTS
    if not path.is_file():
        join(fill(corpus, plan["lists"], folder), path)
    index = Index(corpus, read_lists(path), 1)
    probes, found, rows = measure(index, plan["lists"], recall)
    facts = plan | {
        "asked_recall": recall,
        "probes": probes,
        "recall_at_10": found,
        "recall_rows": rows,
        "files": {LISTS: {"bytes": path.stat().st_size, "sha256": file_digest(path)}},
    }
    write_sealed(folder / FACTS, facts)
    clean(folder, {FACTS, LISTS, PLAN})
    return report(corpus, facts)


def begin(corpus: OpenCorpus, folder: Path) -> dict[str, Any]:
    """The plan of an index, written; what was made by another one is removed."""
    plan = {
        "kind": KIND,
        "version": VERSION,
        "minibert": __version__,
        "faiss": need_faiss().__version__,
        "corpus": file_digest(corpus.place / FILE),
        "vectors": corpus.vectors,
        "width": corpus.stored_as.width,
        "lists": max(1, min(int(2 * corpus.vectors**0.5), corpus.vectors // 4)),
        "piece": PIECE,
    }
    stored = None
    with suppress(CheckpointError):
        stored = read_sealed(folder / PLAN)[0]
    if stored != plan:
        clean(folder, set())
        write_sealed(folder / PLAN, plan)
    return plan


def clean(folder: Path, kept: set[str]) -> None:
    """Remove our own files but those to keep."""
    for path in folder.iterdir():
        if OURS.fullmatch(path.name) and path.name not in kept:
            path.unlink(missing_ok=True)


def report(corpus: OpenCorpus, facts: dict[str, Any]) -> IndexReport:
    """What ``index.json`` says, for the user."""
    return IndexReport(
        str(corpus.place), facts["vectors"], facts["lists"], facts["probes"], facts["recall_at_10"],
        facts["recall_rows"], facts["files"][LISTS]["bytes"],
    )  # fmt: skip


def fill(corpus: OpenCorpus, count: int, folder: Path) -> list[Path]:
    """The files of all pieces, made where they are missing: indexes of ``count`` lists, with some vectors each."""
    faiss = need_faiss()
    pieces = list(pieces_of(corpus))
    paths = [folder / f"piece-{number:05d}.faiss" for number in range(len(pieces))]
    if all(path.is_file() for path in paths):
        return paths
    centres = find_centres(corpus, count, folder)
    width = centres.shape[1]
    kind = faiss.ScalarQuantizer.QT_8bit
    flat = faiss.IndexFlatIP(width)
    flat.add(centres.numpy())
    lists = faiss.IndexIVFScalarQuantizer(flat, width, count, kind, faiss.METRIC_INNER_PRODUCT)
    lists.train(sample_of(corpus, min(corpus.vectors, EXAMPLES)).numpy())  # the ranges of the bytes
    with tqdm(
        total=corpus.vectors, desc="indexing", unit=" vectors", unit_scale=True, disable=None, leave=False
    ) as bar:
        for path, shards in zip(paths, pieces, strict=True):
            vectors = corpus.firsts[shards[-1] + 1] - corpus.firsts[shards[0]]
            if path.is_file():
                bar.update(vectors)
                continue
            lists.reset()
            for shard in shards:
                for block in corpus.shard(shard):
                    add(lists, centres, block.start, F.normalize(corpus.stored_as.roughly(block.stored), dim=1))
                    bar.update(len(block.stored))
            write_lists(lists, path)
    return paths


def pieces_of(corpus: OpenCorpus) -> Iterator[list[int]]:
    """The shards of each piece."""
    piece, vectors = [], 0
    for shard in range(len(corpus.digests)):
        piece.append(shard)
        vectors += corpus.firsts[shard + 1] - corpus.firsts[shard]
        if vectors >= PIECE:
            yield piece
            piece, vectors = [], 0
    if piece:
        yield piece


def add(lists: Any, centres: Tensor, start: int, vectors: Tensor) -> None:
    """Put vectors, (n, W) float32 of unit length, with the numbers from ``start``, into the lists of their centres.

    The product with the centres is torch's, whose matrix library is faster than faiss' here.
    """
    swig = need_faiss().swig_ptr
    owners = nearest_centres(vectors, centres).numpy()
    numbers = torch.arange(start, start + len(vectors)).numpy()
    lists.add_core(len(vectors), swig(vectors.contiguous().numpy()), swig(numbers), swig(owners))


def join(paths: list[Path], path: Path) -> None:
    """Write all pieces as one index."""
    lists = None
    for piece in tqdm(paths, desc="joining", unit=" pieces", leave=False, disable=None):
        part = read_lists(piece, mapped=False)  # joining empties it
        if lists is None:
            lists = part
        else:
            lists.merge_from(part, 0)
    write_lists(lists, path)


def write_lists(lists: Any, path: Path) -> None:
    """Write faiss' index, whole or not at all."""
    with written_whole(path) as temporary:
        try:
            need_faiss().write_index(lists, str(temporary))
        except RuntimeError as error:
            raise CheckpointError(f"{path} cannot be written ({error}).") from error


def measure(index: Index, lists: int, recall: float) -> tuple[int, float, int]:
    """How many probes find enough, the recall with them on other rows, and how many these were.

    The probes are half as many more each time.
    """
    corpus = index.corpus
    draw = torch.Generator().manual_seed(1)
    rows = torch.randperm(corpus.vectors, generator=draw)[: MEASURED + TUNED].sort().values
    rows = rows[torch.randperm(len(rows), generator=draw)]
    order = rows.sort()
    queries = torch.empty(len(rows), corpus.stored_as.width, dtype=torch.float64)
    queries[order.indices] = F.normalize(corpus.stored_as.dequantize(corpus.stored(order.values)), dim=1)
    exact = others(nearest_vectors(corpus, queries, NEAREST + 1), rows)
    few = len(rows) <= MEASURED  # then all of them do both
    tuned = slice(None) if few else slice(MEASURED, None)
    measured = slice(None) if few else slice(MEASURED)
    probes = 1
    while True:
        index.lists.nprobe = probes
        if probes >= lists or recall_of(index, queries[tuned], rows[tuned], exact[tuned]) >= recall:
            break
        probes = min(max(probes + 1, probes * 3 // 2), lists)
    return probes, round(recall_of(index, queries[measured], rows[measured], exact[measured]), 6), len(rows[measured])


def others(found: list[list[tuple[float, int]]], rows: Tensor) -> list[list[tuple[float, int]]]:
    """The ten nearest of each row without the row itself."""
    pairs = zip(found, rows.tolist(), strict=True)
    return [[hit for hit in hits if hit[1] != own][:NEAREST] for hits, own in pairs]


def recall_of(index: Index, queries: Tensor, rows: Tensor, exact: list[list[tuple[float, int]]]) -> float:
    """The share of the nearest rows that is found.  A row as near as the last of them is as good as that."""
    found = others(index.nearest(queries, NEAREST + 1), rows)
    pairs = [(hits, best) for hits, best in zip(found, exact, strict=True) if best]
    shares = [sum(score >= best[-1][0] for score, _ in hits) / len(best) for hits, best in pairs]
    return sum(shares) / len(shares) if shares else 1.0
