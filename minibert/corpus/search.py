"""The texts of a corpus nearest to a query, by cosine similarity.

The search compares the query with every vector, one shard after the other, so memory does not grow with the corpus;
several queries are compared in one pass.  The query is float32; int8 and uint8 are read as the middles of their
buckets.  ``exact.py`` finds the nearest rows, ``bits.py`` those of a corpus of bits.  Start with :func:`nearest`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, overload

import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from minibert.corpus.approximate import open_index
from minibert.corpus.bits import NearestBits
from minibert.corpus.exact import NearestRows
from minibert.corpus.folder import local_corpus
from minibert.corpus.manifest import FILE
from minibert.corpus.model import embedder_for
from minibert.corpus.opened import OpenCorpus, open_corpus
from minibert.embedding import Embedder
from minibert.embedding.arguments import check_flag, check_whole, described
from minibert.errors import CheckpointError, InputError
from minibert.renamed import older_arguments
from minibert.source import Source

PATIENCE = 2  # seconds, before a search shows how far it is


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


@overload
def nearest(
    folder: Source,
    queries: str,
    count: int = 10,
    model: Source | Embedder | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    approximate: bool = False,
) -> list[Hit]: ...


@overload
def nearest(
    folder: Source,
    queries: list[str] | tuple[str, ...],
    count: int = 10,
    model: Source | Embedder | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    approximate: bool = False,
) -> list[list[Hit]]: ...


@overload
def nearest(
    folder: Source,
    queries: Tensor,
    count: int = 10,
    model: Source | Embedder | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    approximate: bool = False,
) -> Any: ...  # as its dimensions: hits, or hits of each


@older_arguments
def nearest(
    folder: Source,
    queries: str | list[str] | tuple[str, ...] | Tensor,
    count: int = 10,
    model: Source | Embedder | None = None,
    *,
    prompt: str | None = None,
    prompt_name: str | None = None,
    approximate: bool = False,
) -> list[Hit] | list[list[Hit]]:
    """The ``count`` rows of a corpus nearest to a query, nearest first; equal ones in input order.

    Args:
        folder: a folder that :func:`embed_corpus` wrote.
        queries: a text, or its vector, (W,) floating-point; or several, which are looked for in one pass: a list of
            texts, or (Q, W).
        count: how many rows; fewer are returned where the corpus has fewer.
        model: the model that made the corpus, which embeds the query: an Embedder, or the source of one.  Default: the
            source that the manifest names.
        prompt: put before a query that is a text.  Default: that of ``prompt_name``, else the model's ``query`` prompt,
            else its default one, as in the manifest.
        prompt_name: one of the model's prompts.
        approximate: whether to look only where the index says (:func:`index_corpus`): faster, and a row that is near
            may be missing.

    Returns the hits; of several queries a list of them for each.  Scores are those of float64, rounded to float32, for
    every row.  In a corpus of bits, ten times ``count`` candidates are compared.  Each file of the shards is compared
    with its checksum before it is used for the first time.  Raises InputError for another model or a vector of another
    width, CheckpointError for a damaged folder, or an index that is missing or of other
    vectors.
    """
    place = local_corpus(folder)
    check_whole("count", count, 1)
    check_flag("approximate", approximate)
    with explained(place):
        corpus = open_corpus(place)
        vectors = query_vectors(corpus, queries, model, prompt, prompt_name)
        index = open_index(corpus) if approximate else None
        found = nearest_vectors(corpus, vectors, count) if index is None else index.nearest(vectors, count)
        hits = with_rows(corpus, found)
    is_one = isinstance(queries, str) or (isinstance(queries, Tensor) and queries.dim() == 1)
    return hits[0] if is_one else hits


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Turn what a manifest of another shape causes into a sentence."""
    try:
        yield
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{place / FILE} is damaged ({error!r}). Embed the corpus anew.") from error


def query_vectors(
    corpus: OpenCorpus,
    queries: str | list[str] | tuple[str, ...] | Tensor,
    model: Source | Embedder | None,
    prompt: str | None,
    prompt_name: str | None,
) -> Tensor:
    """The vectors of queries, (Q, W) float64 of unit length."""
    vectors: Any = queries
    if is_texts(queries):
        manifest = corpus.manifest
        embedder = embedder_for(manifest, corpus.place, model)
        before = manifest["model"].get("query_prompt", "")
        if prompt is not None or prompt_name is not None:
            before = embedder.find_prompt(prompt, prompt_name)
        texts = [queries] if isinstance(queries, str) else list(queries)
        vectors = embedder.encode(texts, **{**manifest["encoding"], "prompt": before})
    elif prompt is not None or prompt_name is not None:
        raise InputError("A prompt goes before a text; the query is a vector.")
    return unit_vectors(vectors, corpus.stored_as.width, corpus.place)


def is_texts(queries: Any) -> bool:
    """Whether queries are a text or several."""
    if isinstance(queries, str):
        return True
    return isinstance(queries, list | tuple) and all(isinstance(query, str) for query in queries)


def unit_vectors(queries: Any, width: int, place: Path) -> Tensor:
    """Vectors, (width,) or (Q, width) of any floating dtype, as (Q, width) float64 of unit length; else InputError."""
    if not isinstance(queries, Tensor):
        raise InputError(
            f"The query is {described(queries)}; expected a text (str), a list of texts, or their vectors, a tensor."
        )
    if queries.dim() not in (1, 2) or queries.shape[-1] != width or not queries.is_floating_point():
        raise InputError(
            f"The query has the shape {tuple(queries.shape)}, expected ({width},), a vector of {place}, or "
            f"(Q, {width}) for several; its dtype is {queries.dtype}, expected a floating one."
        )
    if not torch.isfinite(queries).all():
        raise InputError("The query's vector holds NaN or infinity; nothing is near to it.")
    return F.normalize(queries.detach().cpu().double().view(-1, width), dim=1)


def nearest_vectors(corpus: OpenCorpus, queries: Tensor, count: int) -> list[list[tuple[float, int]]]:
    """Score and number of the ``count`` vectors nearest to each query, (Q, W) float64 of unit length."""
    kind = NearestBits if corpus.stored_as.is_packed else NearestRows
    search = kind(queries, count, corpus.stored_as)
    with tqdm(
        total=corpus.vectors, desc="searching", unit=" vectors", unit_scale=True, delay=PATIENCE, leave=False,
        disable=None,
    ) as bar:  # fmt: skip
        for block in corpus.blocks():
            if len(queries):
                search.look_at(block)
            bar.update(len(block.stored))
    return search.found()


def with_rows(corpus: OpenCorpus, found: list[list[tuple[float, int]]]) -> list[list[Hit]]:
    """The hits of each query, with their rows."""
    rows = corpus.rows({vector for hits in found for _, vector in hits})
    return [[Hit(score, **rows[vector]) for score, vector in hits] for hits in found]
