"""The texts of a corpus nearest to a query, by cosine similarity.

The search compares the query with every vector, one shard after the other, so memory does not grow with the corpus.
The query is float32; int8 and uint8 are read as the middles of their buckets.  Bits are searched in two steps, as
sentence-transformers' documentation describes: those with the fewest different bits are candidates, and their cosine
with the query's own numbers decides.  Start with :func:`nearest_rows`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.checksum import file_digest
from minibert.corpus.folder import local_corpus
from minibert.corpus.manifest import FILE, Manifest, read_manifest, shard_count, shard_records
from minibert.corpus.model import embedder_for
from minibert.corpus.sample import CANDIDATES_PER_HIT
from minibert.corpus.shards import damaged, file_names, read_row, vector_blocks
from minibert.corpus.vector_format import VectorFormat, read_format
from minibert.embedding import Embedder
from minibert.embedding.arguments import check_whole, described
from minibert.errors import CheckpointError, InputError, reason_of
from minibert.source import Source

BITS_SET = torch.tensor([number.bit_count() for number in range(256)], dtype=torch.uint8)


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of a corpus with its similarity to a query."""

    score: float  # cosine similarity with what is stored, -1 to 1
    row: int  # of the input, from 1
    id: str | int
    text: str | None  # None where the corpus was made without texts

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def nearest(
    folder: Source,
    query: str | Tensor,
    count: int = 10,
    model: Source | Embedder | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
) -> list[Hit]:
    """The ``count`` rows of a corpus nearest to ``query``, nearest first; equal ones in input order.

    Args:
        folder: a folder that :func:`embed_corpus` wrote.
        query: a text, or its vector, (W,) floating-point.
        count: how many rows; fewer are returned where the corpus has fewer.
        model: the model that made the corpus, which embeds the query: an Embedder, or the source of one.  Default: the
            source that the manifest names.
        prompt: put before a query that is a text.  Default: that of ``prompt_name``, else the model's ``query`` prompt,
            else its default one, as in the manifest.
        prompt_name: one of the model's prompts.

    In a corpus of bits, ten times ``count`` candidates are compared.  Each file of the shards is compared with its
    checksum once per process.  Raises InputError for another model or a vector of another width, CheckpointError for a
    damaged folder.
    """
    place = local_corpus(folder)
    manifest = read_manifest(place)
    check_whole("count", count, 1)
    if not manifest.get("complete"):
        raise InputError(f"{place} is not complete yet. Run its embed command again: it goes on where it stopped.")
    try:
        manifest = {**manifest, "shards": list(shard_records(place, manifest))}
        if isinstance(query, str):
            embedder = embedder_for(manifest, place, model)
            before = manifest["model"].get("query_prompt", "")
            if prompt is not None or prompt_name is not None:
                before = embedder.find_prompt(prompt, prompt_name)
            vector: Any = embedder.encode(query, **{**manifest["encoding"], "prompt": before})
        elif prompt is not None or prompt_name is not None:
            raise InputError("A prompt goes before a text; the query is a vector.")
        else:
            vector = query
        file_format = manifest["output"]["format"]
        stored_as = read_format(manifest, place / FILE)
        search = nearest_bits if stored_as.is_packed else nearest_rows
        rows = search(place, manifest, stored_as, unit_vector(vector, stored_as.width, place), count)
        for shard in {shard for _, shard, _ in rows}:
            check_digests(place, manifest, shard, file_names(shard, file_format)[1:])
        return [Hit(score, **read_row(place, shard, file_format, index)) for score, shard, index in rows]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{place / FILE} is damaged ({error!r}). Embed the corpus anew.") from error


def unit_vector(query: Any, width: int, place: Path) -> Tensor:
    """A query's vector, (width,) of any floating dtype, as float64 of unit length; InputError for anything else."""
    if not isinstance(query, Tensor):
        raise InputError(f"The query is {described(query)}; expected a text (str) or its vector, a tensor.")
    if tuple(query.shape) != (width,) or not query.is_floating_point():
        raise InputError(
            f"The query has the shape {tuple(query.shape)}, expected ({width},), a vector of {place}; its dtype is "
            f"{query.dtype}, expected a floating one."
        )
    if not torch.isfinite(query).all():
        raise InputError("The query's vector holds NaN or infinity; nothing is near to it.")
    return F.normalize(query.detach().cpu().double(), dim=0)


def check_digests(place: Path, manifest: Manifest, number: int, names: Sequence[str]) -> None:
    """Compare files of a shard with the manifest's checksums; CheckpointError for a damaged or replaced one."""
    for name in names:
        path = place / name
        expected = manifest["shards"][number]["files"][name]["sha256"]
        try:
            status = path.stat()
            is_whole = has_digest(path, status.st_size, status.st_mtime_ns, expected)
        except OSError as error:
            raise damaged(path, reason_of(error)) from error
        if not is_whole:
            raise damaged(path, f"its SHA-256 is not the one in {FILE}")


@lru_cache(maxsize=1 << 16)
def has_digest(path: Path, size: int, changed: int, digest: str) -> bool:
    """Whether a file has that SHA-256; computed once per process for each state of the file."""
    return file_digest(path) == digest


def nearest_rows(
    place: Path, manifest: Manifest, stored_as: VectorFormat, query: Tensor, count: int
) -> list[tuple[float, int, int]]:
    """Score, shard and index in the shard of the rows nearest to ``query``, (W,) float64 of unit length."""
    nearest: list[tuple[float, int, int]] = []
    for number, start, block in stored_blocks(place, manifest, stored_as):
        wide = stored_as.dequantize(block)
        # In float64 and then rounded: equal vectors get equal scores, wherever they are in the block.
        scores = (wide @ query / wide.norm(dim=1).clamp(min=1e-12)).float()
        values, indices = scores.sort(descending=True, stable=True)
        top = zip(values[:count].tolist(), indices[:count].tolist(), strict=True)
        nearest += [(score, number, start + index) for score, index in top]
        nearest = sorted(nearest, key=lambda row: -row[0])[:count]
    return nearest


def nearest_bits(
    place: Path, manifest: Manifest, stored_as: VectorFormat, query: Tensor, count: int
) -> list[tuple[float, int, int]]:
    """:func:`nearest_rows` of a corpus of bits: candidates by Hamming distance, then scored as vectors of 1 and -1."""
    wanted = CANDIDATES_PER_HIT * count
    bits = stored_as.quantize(query)
    # Of each candidate its distance, shard and index, and its row.
    places, rows = torch.empty(0, 3, dtype=torch.int64), torch.empty(0, stored_as.columns, dtype=stored_as.dtype)
    for number, start, block in stored_blocks(place, manifest, stored_as):
        distances, nearest = hamming_distances(block, bits).sort(stable=True)
        distances, nearest = distances[:wanted], nearest[:wanted]
        found = torch.stack((distances, torch.full_like(distances, number), start + nearest), dim=1)
        places, rows = torch.cat((places, found)), torch.cat((rows, block[nearest]))
        kept = places[:, 0].sort(stable=True).indices[:wanted]
        places, rows = places[kept], rows[kept]
    signs = stored_as.dequantize(rows)
    scores = (signs @ query / stored_as.width**0.5).float().tolist()
    hits = [(score, number, index) for score, (_, number, index) in zip(scores, places.tolist(), strict=True)]
    return sorted(hits, key=lambda hit: (-hit[0], hit[1:]))[:count]


def hamming_distances(stored: Tensor, bits: Tensor) -> Tensor:
    """How many bits of each row, (n, C) int8 or uint8, differ from ``bits``, (C,): (n,) int64."""
    different = stored.view(torch.uint8) ^ bits.view(torch.uint8)
    return BITS_SET[different.int()].sum(dim=1)


def stored_blocks(place: Path, manifest: Manifest, stored_as: VectorFormat) -> Iterator[tuple[int, int, Tensor]]:
    """Number of the shard, index in it of the first row, and the rows as stored, of every block of every shard."""
    shards = manifest["shards"]
    if len(shards) != shard_count(manifest):
        raise CheckpointError(f"{place / FILE} is damaged: {len(shards)} shards, expected {shard_count(manifest)}.")
    for number, shard in enumerate(shards):
        start = 0
        name = file_names(number, manifest["output"]["format"])[0]
        check_digests(place, manifest, number, [name])
        for block in vector_blocks(place / name, shard["vectors"], stored_as):
            yield number, start, block
            start += len(block)
