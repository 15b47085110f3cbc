"""The texts of a corpus that are nearest to a query, by cosine: shard by shard, so that memory stays flat.

No index: every vector is looked at, so that nothing is missed.  Look first at :func:`best`.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from minibert.corpus.manifest import FILE, Plan, describe_model, read_manifest, shard_count
from minibert.corpus.shards import file_names, read_row, vector_blocks
from minibert.embedding import Embedder
from minibert.errors import CheckpointError, InputError
from minibert.source import Source, as_path


@dataclass(frozen=True, slots=True)
class Hit:
    """One row of a corpus, and how near it is."""

    score: float  # cosine, -1 to 1
    row: int  # of the input, from 1
    id: str | int
    text: str | None  # None where the corpus was made without texts

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def nearest(folder: Source, query: str | Tensor, count: int = 10, model: Source | Embedder | None = None) -> list[Hit]:
    """The ``count`` rows of a corpus nearest to ``query``, nearest first; equal ones in input order.

    Args:
        folder: what :func:`embed_corpus` wrote.
        query: a text, or its vector, (W,) floating-point.
        count: how many; fewer come where there are fewer.
        model: embeds the query, in just the way the corpus was: an Embedder, or where it is loaded from.  Default: the
            one that the manifest names.

    Raises InputError for another model or a vector of another width, CheckpointError for a damaged folder.
    """
    place = as_path(folder)
    manifest = read_manifest(place)
    if count < 1:
        raise InputError(f"count is {count}; ask for at least 1 row.")
    if not manifest.get("complete"):
        raise InputError(f"{place} is not complete yet. Run its embed command again: it goes on where it stopped.")
    try:
        wanted = vector_of(query, manifest, place, model)
        found = best(place, manifest, wanted, count)
        output = manifest["output"]
        return [Hit(score, **read_row(place, shard, output["format"], where)) for score, shard, where in found]
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{place / FILE} is damaged ({error!r}). Embed the corpus anew.") from error


def vector_of(query: str | Tensor, manifest: Plan, place: Path, model: Source | Embedder | None) -> Tensor:
    """The query as (W,) float64 of unit length, embedded as the manifest says."""
    given: Tensor
    if isinstance(query, str):
        given = embedder_for(manifest, place, model).encode(query, **manifest["encoding"])
    else:
        given = query.detach().cpu()
    width = manifest["output"]["width"]
    if tuple(given.shape) != (width,):
        raise InputError(f"The query has the shape {tuple(given.shape)}, expected ({width},), a vector of {place}.")
    return F.normalize(given.double(), dim=0)


def embedder_for(manifest: Plan, place: Path, model: Source | Embedder | None) -> Embedder:
    """The embedder that made the corpus; raises InputError for any other."""
    said = manifest["model"]
    embedder = model if isinstance(model, Embedder) else load(said, place, model)
    found = describe_model(embedder)
    decisive = ("sha256", "tokenizer_sha256", "dtype", "max_length")
    if differing := [name for name in decisive if found[name] != said[name]]:
        listed = ", ".join(f"{name} {said[name]} there, {found[name]} here" for name in differing)
        raise InputError(
            f"{place} was made by another model ({said['source']}): {listed}. Vectors of two models cannot be compared."
        )
    return embedder


def load(said: Plan, place: Path, model: Source | None) -> Embedder:
    """The model that the manifest names, or ``model`` with the manifest's settings."""
    settings = {"dtype": said["dtype"], "max_length": said["max_length"]}
    if model is not None:
        return Embedder.from_pretrained(model, **settings)
    if said["source"] is None:
        raise InputError(f"{place / FILE} names no model: it was only in memory. Give it (--model).")
    if said["revision"] is not None:
        settings["revision"] = said["revision"]
    try:
        return Embedder.from_pretrained(said["source"], **settings)
    except CheckpointError as error:
        raise CheckpointError(
            f"{error} {place / FILE} names it; if it lies elsewhere now, give it (--model)."
        ) from error


def best(place: Path, manifest: Plan, wanted: Tensor, count: int) -> list[tuple[float, int, int]]:
    """Score, shard and place in it of the rows nearest to ``wanted``, (W,) float64."""
    output, shards = manifest["output"], manifest["shards"]
    if len(shards) != shard_count(manifest):
        raise CheckpointError(f"{place / FILE} is damaged: {len(shards)} shards, expected {shard_count(manifest)}.")
    found: list[tuple[float, int, int]] = []
    for number, shard in enumerate(shards):
        start = 0
        for block in vector_blocks(place / file_names(number, output["format"])[0], shard["vectors"], output["width"]):
            wide = block.double()
            # In float64 and then rounded: equal vectors score the same wherever they stand.
            scores = (wide @ wanted / wide.norm(dim=1).clamp(min=1e-12)).float()
            values, places = scores.sort(descending=True, stable=True)
            top = zip(values[:count].tolist(), places[:count].tolist(), strict=True)
            found += [(score, number, start + where) for score, where in top]
            found = sorted(found, key=lambda hit: -hit[0])[:count]
            start += len(block)
    return found
