"""An index that was made, and the search with it: a few lists of candidates, then their own vectors decide.

The vectors are divided into lists, each around a centre; a list holds a byte per number, of the vector's difference
from the centre.  A query looks at the lists of the nearest centres (``probes`` of them), takes the best by those bytes,
and scores these with the stored vectors in float64, as the exact search does: so a score is always right, but a near
row may be missing.  faiss keeps and scans the lists, which stay mapped.  Start with :func:`open_index`.
"""

from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.checksum import file_digest, read_sealed
from minibert.corpus.checked import is_whole
from minibert.corpus.exact import PAIRS, exact_scores
from minibert.corpus.manifest import FILE
from minibert.corpus.opened import OpenCorpus
from minibert.errors import CheckpointError, InputError, MissingExtraError, reason_of
from minibert.files import is_file

KIND, VERSION = "minibert index", 1
FOLDER, FACTS, LISTS = "index", "index.json", "lists.faiss"
CANDIDATES_PER_HIT, FEWEST_CANDIDATES = 4, 40  # that are scored with their own vectors


@dataclass(frozen=True)
class IndexReport:
    """What an index is, and how much it finds."""

    folder: str  # of the corpus
    vectors: int
    lists: int
    probes: int  # lists that a query looks at
    recall: float  # of the ten nearest rows, the share that it finds: mean of ``rows`` of the corpus' own
    rows: int
    bytes: int

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.folder}: an index of {self.vectors:,} vectors in {self.lists:,} lists, {self.bytes / 1e6:,.1f} MB; "
            f"a query looks at {self.probes} of them.\n"
            f"recall@10 {self.recall:.4f}: of the ten nearest rows that the exact search finds, so many it finds too, "
            f"for {self.rows:,} rows of the corpus (each left out of its own)"
        )


class Index:
    """The lists of an open corpus."""

    def __init__(self, corpus: OpenCorpus, lists: Any, probes: int) -> None:
        """``lists``: faiss' index."""
        self.corpus, self.lists = corpus, lists
        lists.nprobe = probes

    def nearest(self, queries: Tensor, count: int) -> list[list[tuple[float, int]]]:
        """Score and number of ``count`` near vectors of each query, (Q, W) float64 of unit length, as the exact search.

        Fewer where the lists that are looked at hold fewer.
        """
        # faiss divides the queries among threads; more of them would only wait.
        need_faiss().omp_set_num_threads(max(1, min(len(queries), torch.get_num_threads())))
        wanted = min(self.corpus.vectors, max(FEWEST_CANDIDATES, CANDIDATES_PER_HIT * count))
        found = torch.from_numpy(self.lists.search(queries.float().numpy(), wanted)[1])  # (Q, wanted), -1: none
        query, place = (found >= 0).nonzero().unbind(1)
        row = found[query, place]
        numbers, which = torch.unique(row, return_inverse=True)
        stored = self.corpus.stored(numbers) if len(numbers) else None
        score = torch.empty(len(row))
        for start in range(0, len(row), PAIRS):
            pairs = slice(start, start + PAIRS)
            assert stored is not None
            vectors = self.corpus.stored_as.dequantize(stored[which[pairs]])
            score[pairs] = exact_scores(vectors, queries[query[pairs]])
        lists: list[list[tuple[float, int]]] = [[] for _ in queries]
        for number, value, own in zip(query.tolist(), score.tolist(), row.tolist(), strict=True):
            lists[number].append((value, own))
        return [sorted(hits, key=lambda hit: (-hit[0], hit[1]))[:count] for hits in lists]


def open_index(corpus: OpenCorpus) -> Index:
    """The index of a corpus.

    Raises CheckpointError where it is missing, damaged, or of other vectors, InputError where there can be none, and
    MissingExtraError without faiss.
    """
    check_kind(corpus)
    need_faiss()
    facts = read_facts(corpus)
    path = corpus.place / FOLDER / LISTS
    try:
        status = path.stat()
        if not is_whole(path, facts["files"][LISTS]["sha256"]):
            raise ValueError(f"its SHA-256 is not the one in {FACTS}")
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error
    lists = kept_lists(path, (status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns))
    return Index(corpus, lists, facts["probes"])


def read_facts(corpus: OpenCorpus) -> dict[str, Any]:
    """What ``index.json`` says.  Raises CheckpointError as :func:`open_index`."""
    path = corpus.place / FOLDER / FACTS
    make = (
        f"Make it: minibert index {corpus.place}; or search without --approximate (approximate=True), which is exact."
    )
    if not is_file(path):
        raise CheckpointError(f"{corpus.place} has no index. {make}")
    facts, sealed = read_sealed(path)
    if not sealed or (facts.get("kind"), facts.get("version")) != (KIND, VERSION):
        raise CheckpointError(f"{path} is not what minibert index writes. {make}")
    if facts["corpus"] != file_digest(corpus.place / FILE):
        raise CheckpointError(f"The index in {corpus.place} is older than its vectors, which are others now. {make}")
    return facts


@lru_cache(maxsize=2)
def kept_lists(path: Path, state: tuple[int, ...]) -> Any:
    """The faiss index in a file that is in this state, mapped into memory."""
    return read_lists(path)


def read_lists(path: Path, *, mapped: bool = True) -> Any:
    """The faiss index in a file, mapped into memory or read; CheckpointError for a damaged one."""
    faiss = need_faiss()
    try:
        lists = faiss.read_index(str(path), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if mapped else 0)
    except RuntimeError as error:
        raise damaged(path, error) from error
    inside = faiss.downcast_InvertedLists(lists.invlists)
    if hasattr(inside, "prefetch_nthread"):
        inside.prefetch_nthread = 0  # a thread per list costs more than it brings when the lists are in memory
    return lists


def damaged(path: Path, error: Exception) -> CheckpointError:
    """The error for a file that is not what was written."""
    return CheckpointError(
        f"{path} is missing or damaged ({reason_of(error)}). Remove the folder {path.parent}, and run minibert index "
        "again."
    )


def check_kind(corpus: OpenCorpus) -> None:
    """Raise InputError for a corpus that has no index."""
    precision = corpus.stored_as.precision
    if corpus.stored_as.is_packed:
        raise InputError(f"{corpus.place} holds {precision}: bits are searched as they are, and have no index.")
    if corpus.format == "parquet":
        raise InputError(
            f"{corpus.place} is in parquet, whose vectors cannot be mapped into memory. For an index, embed with "
            "--format safetensors or npy."
        )
    if not corpus.vectors:
        raise InputError(f"{corpus.place} holds no vectors, so there is nothing to index.")


def need_faiss() -> Any:
    """The module faiss; MissingExtraError when it is not installed."""
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError.of(
            "faiss is not installed; for an approximate index", "index", "Without it, the search is exact."
        ) from error
    return faiss
