"""Corpora of given vectors for the benchmarks of search: the files that ``minibert embed`` writes, without a model."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.checksum import file_digest, write_sealed
from minibert.corpus.shards import npy_header

SHARD_ROWS = 4096  # as minibert embed makes them


def write_corpus(folder: Path, blocks: Iterable[Tensor]) -> int:
    """Write a corpus of float32 vectors, (n, W) a block, in .npy shards of SHARD_ROWS; returns how many there are.

    The manifest is of version 2, which search reads and which takes a list of shards; no model made these vectors.
    """
    folder.mkdir(parents=True)
    shards, rows, width = [], 0, 0
    for number, vectors in enumerate(in_shards(blocks)):
        width = vectors.shape[1]
        path, lines = folder / f"shard-{number:05d}.npy", folder / f"shard-{number:05d}.jsonl"
        path.write_bytes(npy_header(*vectors.shape, torch.float32) + vectors.contiguous().numpy().tobytes())
        lines.write_text(
            "".join(f'{{"row": {row}, "id": {row}}}\n' for row in range(rows + 1, rows + len(vectors) + 1))
        )
        files = {file.name: {"bytes": file.stat().st_size, "sha256": file_digest(file)} for file in (path, lines)}
        shards.append({"rows": len(vectors), "vectors": len(vectors), "skipped": 0, "files": files})
        rows += len(vectors)
    output = {"format": "npy", "dtype": "float32", "width": width, "shard_rows": SHARD_ROWS, "text": False}
    plan = {"model": {"source": None, "revision": None}, "encoding": {"normalize": True}, "input": {"rows": rows}}
    facts = {"kind": "minibert corpus", "version": 2, **plan, "output": output, "complete": True, "shards": shards}
    write_sealed(folder / "manifest.json", facts)
    return rows


def in_shards(blocks: Iterable[Tensor]) -> Iterator[Tensor]:
    """Blocks of any length cut and joined to SHARD_ROWS each, the last shorter."""
    left: Tensor | None = None
    for block in blocks:
        joined = block if left is None else torch.cat((left, block))
        whole = len(joined) - len(joined) % SHARD_ROWS
        yield from joined[:whole].split(SHARD_ROWS) if whole else ()
        left = joined[whole:]
    if left is not None and len(left):
        yield left


def random_blocks(count: int, width: int) -> Iterator[Tensor]:
    """Random vectors of unit length."""
    draw = torch.Generator().manual_seed(0)
    for start in range(0, count, 1 << 16):
        yield F.normalize(torch.randn(min(1 << 16, count - start), width, generator=draw), dim=1)


def is_corpus(folder: Path, count: int) -> bool:
    """Whether a folder holds a whole corpus of so many vectors, from an earlier run."""
    try:
        return json.loads((folder / "manifest.json").read_text())["input"]["rows"] == count
    except OSError:
        return False


def noisy_blocks(real: Tensor, distances: Tensor, count: int, seed: int = 0) -> Iterator[Tensor]:
    """The real vectors again and again, (n, W) of unit length, ``count`` in all, each time with other noise.

    The noise of each vector has the length of its distance to the nearest other, (n,), in a random direction; the sum
    is normalized again.
    """
    draw = torch.Generator().manual_seed(seed)
    for start in range(0, count, 1 << 16):
        numbers = torch.arange(start, min(start + (1 << 16), count)) % len(real)
        noise = F.normalize(torch.randn(len(numbers), real.shape[1], generator=draw), dim=1)
        yield F.normalize(real[numbers] + noise.mul_(distances[numbers, None]), dim=1)


def distances_to_nearest(real: Tensor) -> Tensor:
    """Of each of (n, W) vectors of unit length the distance to the nearest other that is no copy of it: (n,)."""
    distances = torch.empty(len(real))
    for start in range(0, len(real), 1024):
        cosines = real[start : start + 1024] @ real.T
        cosines.masked_fill_(cosines > 1 - 1e-6, -1)
        distances[start : start + 1024] = (2 - 2 * cosines.amax(dim=1)).sqrt()
    return distances
