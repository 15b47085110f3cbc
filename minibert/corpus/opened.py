"""A corpus that is complete, opened to be searched: its vectors, mapped into memory, and its rows.

A shard is compared with its checksum when it is first used (checked.py remembers that for all processes), and then kept
mapped while its file stays as it is, with what the search needs to know of it: the length of each vector.  Mapped pages
belong to the operating system, which takes them back when memory is short.  Start with :func:`open_corpus`.
"""

import json
import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path

import torch
from torch import Tensor

from minibert.corpus import shards
from minibert.corpus.checked import COARSE_TICK, is_whole
from minibert.corpus.manifest import FILE, Manifest, read_manifest, shard_count, shard_records
from minibert.corpus.shards import (
    Record,
    check_finite,
    damaged,
    file_names,
    read_parquet_rows,
    stored_vectors,
    vector_blocks,
)
from minibert.corpus.vector_format import VectorFormat, read_format
from minibert.errors import CheckpointError, InputError, reason_of

KEPT = 4096  # shards that stay mapped: with the usual 4,096 rows each, sixteen million vectors
# Lengths of which neither the square nor the sum of squares leaves what float32 holds with all its digits.
SHORTEST, LONGEST = 1e-10, 1e15
# A vector of int8 or uint8 that is shorter than this share of its ranges has lost digits as float32.
SHORTEST_SHARE = 1e-3

State = tuple[int, int, int, int]  # of a file: what changes when somebody writes to it


@dataclass(frozen=True)
class Block:
    """Rows of a corpus that follow each other."""

    start: int  # number of the first one among all vectors, from 0
    stored: Tensor  # (n, C), as the corpus' precision stores them
    inverses: Tensor  # (n,) float32: 1 / length; 0 for vectors of zeros, and for the special ones
    special: Tensor  # numbers in the block of the vectors whose length float32 does not hold well


@dataclass
class MappedShard:
    """The vectors of a shard, (n, C) as stored, and the same in blocks once they were looked at."""

    state: State
    vectors: Tensor
    blocks: list[Block] | None = None


class OpenCorpus:
    """The vectors and rows of a corpus.  ``firsts``: the number of each shard's first vector, and last their count."""

    def __init__(self, place: Path, manifest: Manifest) -> None:
        if not manifest.get("complete"):
            raise InputError(f"{place} is not complete yet. Run its embed command again: it goes on where it stopped.")
        self.place, self.manifest = place, manifest
        self.format: str = manifest["output"]["format"]
        self.stored_as = read_format(manifest, place / FILE)
        self.digests: list[list[str]] = []  # of each shard's files
        self.firsts = [0]
        for number, record in enumerate(shard_records(place, manifest)):
            self.digests.append([record["files"][name]["sha256"] for name in file_names(number, self.format)])
            self.firsts.append(self.firsts[-1] + record["vectors"])
        if len(self.digests) != shard_count(manifest):
            raise CheckpointError(
                f"{place / FILE} is damaged: {len(self.digests)} shards, expected {shard_count(manifest)}."
            )
        self.mapped: OrderedDict[int, MappedShard] = OrderedDict()
        self.first_numbers = torch.tensor(self.firsts)
        self.compared: dict[Path, State] = {}

    @property
    def vectors(self) -> int:
        """How many there are."""
        return self.firsts[-1]

    def blocks(self) -> Iterator[Block]:
        """All vectors, shard by shard.  Raises CheckpointError for a shard that is damaged or was replaced."""
        for number in range(len(self.digests)):
            yield from self.shard(number)

    def shard(self, number: int) -> Iterator[Block]:
        """The vectors of one shard."""
        if self.format == "parquet":  # whose vectors are read, not mapped
            path, start = self.vectors_path(number), self.firsts[number]
            self.compare(path, self.digests[number][0])
            for stored in vector_blocks(path, self.firsts[number + 1] - start, self.stored_as):
                yield measured(start, stored, self.stored_as)
                start += len(stored)
            return
        shard = self.map(number)
        if shard.blocks is None:
            path, start, blocks = self.vectors_path(number), self.firsts[number], []
            for stored in torch.split(shard.vectors, shards.ROWS_PER_BLOCK):
                check_finite(path, stored)
                blocks.append(measured(start, stored, self.stored_as))
                start += len(stored)
            shard.blocks = blocks
        yield from shard.blocks

    def map(self, number: int) -> "MappedShard":
        """The vectors of a shard as they are stored, mapped into memory; not of parquet."""
        path = self.vectors_path(number)
        state = self.compare(path, self.digests[number][0])
        kept = self.mapped.get(number)
        if kept is not None and kept.state == state:
            self.mapped.move_to_end(number)
            return kept
        (vectors,) = stored_vectors(path, self.firsts[number + 1] - self.firsts[number], self.stored_as)
        shard = MappedShard(state, vectors)
        if path in self.compared:
            self.mapped[number] = shard
            if len(self.mapped) > KEPT:
                self.mapped.popitem(last=False)
        return shard

    def vectors_path(self, number: int) -> Path:
        """The file with the vectors of a shard."""
        return self.place / file_names(number, self.format)[0]

    def stored(self, vectors: Tensor) -> Tensor:
        """What is stored of these vectors, (n,) sorted numbers: (n, C).  Not of parquet."""
        firsts = self.first_numbers
        owners = torch.searchsorted(firsts, vectors, right=True) - 1
        numbers, counts = torch.unique_consecutive(owners, return_counts=True)
        parts = []
        indices = torch.split(vectors - firsts[owners], counts.tolist())
        for number, index in zip(numbers.tolist(), indices, strict=True):
            parts.append(self.map(number).vectors[index])
        stored = torch.cat(parts)
        if stored.is_floating_point() and not torch.isfinite(stored).all():
            for number, part in zip(numbers.tolist(), parts, strict=True):  # one of them raises
                check_finite(self.vectors_path(number), part)
        return stored

    def compare(self, path: Path, digest: str) -> State:
        """Compare a file with its checksum, once for each state that it has; CheckpointError where they differ."""
        try:
            status = path.stat()
            state = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
            if self.compared.get(path) == state:
                return state
            self.compared.pop(path, None)
            now = time.time_ns()
            if not is_whole(path, digest):
                raise damaged(path, f"its SHA-256 is not the one in {FILE}")
        except (OSError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise damaged(path, reason_of(error)) from error
        if now - max(state[2:]) > COARSE_TICK:  # else it could be written again without a sign
            self.compared[path] = state
        return state

    def place_of(self, vector: int) -> tuple[int, int]:
        """The shard of a vector, and its number in it."""
        shard = bisect_right(self.firsts, vector) - 1
        return shard, vector - self.firsts[shard]

    def rows(self, vectors: Collection[int]) -> dict[int, Record]:
        """``row``, ``id`` and, where it was kept, ``text`` of each of these vectors."""
        wanted: dict[int, list[int]] = {}
        for vector in sorted(set(vectors)):
            shard, index = self.place_of(vector)
            wanted.setdefault(shard, []).append(index)
        found: dict[int, Record] = {}
        for shard, indices in wanted.items():
            path = self.place / file_names(shard, self.format)[-1]
            self.compare(path, self.digests[shard][-1])
            rows = read_rows(path, indices)
            found |= {self.firsts[shard] + index: row for index, row in zip(indices, rows, strict=True)}
        return found


def open_corpus(place: Path) -> OpenCorpus:
    """A complete corpus; the one that was opened before while its manifest stays as it is.

    Raises InputError for one that is not complete, CheckpointError for a damaged one.
    """
    try:
        status = (place / FILE).stat()
    except (OSError, ValueError):
        read_manifest(place)  # says what is wrong
        raise
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) <= COARSE_TICK:
        return OpenCorpus(place, read_manifest(place))
    state = status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns
    return kept_open(place.resolve() if not place.is_absolute() else place, state)


@lru_cache(maxsize=2)
def kept_open(place: Path, state: State) -> OpenCorpus:
    """The corpus of a manifest that is in this state."""
    return OpenCorpus(place, read_manifest(place))


def measured(start: int, stored: Tensor, stored_as: VectorFormat) -> Block:
    """A block with the lengths of its vectors; those of bits are all the same and not needed."""
    none = torch.empty(0, dtype=torch.int64)
    if stored_as.is_packed or not len(stored):
        return Block(start, stored, torch.empty(0), none)
    rough = stored_as.roughly(stored)
    lengths = torch.linalg.vector_norm(rough, dim=1)
    shortest = SHORTEST
    if stored_as.ranges is not None:
        shortest = max(shortest, SHORTEST_SHARE * stored_as.reach)
    is_special = ~((lengths >= shortest) & (lengths <= LONGEST))
    special = is_special.nonzero()[:, 0]
    inverses = lengths.reciprocal_().masked_fill_(is_special, 0)
    if stored_as.ranges is None and len(special):  # in float32 and float16, zeros are zeros
        special = special[(rough[special] != 0).any(dim=1)]
    return Block(start, stored, inverses, special)


def read_rows(path: Path, indices: list[int]) -> list[Record]:
    """``row``, ``id`` and, where it was kept, ``text`` of the vectors at ``indices``, sorted, of a shard."""
    rows: list[Record] = []
    try:
        if path.suffix == ".parquet":
            wanted = set(indices)
            for index, row in enumerate(read_parquet_rows(path)):
                if index in wanted:
                    rows.append(row_of(row))
        else:
            with path.open("rb") as lines:
                steps = [index - before - 1 for before, index in pairwise([-1, *indices])]
                for step in steps:
                    rows.append(row_of(json.loads(next(islice(lines, step, None)))))
        if len(rows) != len(indices):
            raise LookupError
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise damaged(path, f"it says nothing of vector {indices[len(rows)] + 1}") from error
    return rows


def row_of(content: Record) -> Record:
    """What a hit shows of a row."""
    return {"row": int(content["row"]), "id": content["id"], "text": content.get("text")}
