"""The vectors of words: of every word of a text, of a word wherever it stands, of any characters.

A word is one or more pieces; its vector is their mean, the first or the last one's.  Which hidden states it is made of
is chosen as for texts (layers.py).  Words are BERT's: split at spaces, every punctuation mark and every Chinese
character by itself.  Start with :func:`word_vectors`; most people call ``Embedder.words``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.embedding.arguments import check_flag, check_text, described, read_texts
from minibert.embedding.layers import LayerChoice, choose_layers
from minibert.embedding.pieces import Pieces, read_pieces
from minibert.embedding.places import find_places
from minibert.embedding.runner import Runner
from minibert.errors import InputError
from minibert.tokenizer.basic import Span

PIECE_POOLINGS = ("mean", "first", "last")


@dataclass(frozen=True, eq=False)
class WordVector:
    """A word, or any other characters, where it stands: ``start`` and ``end`` count characters (code points)."""

    text: str  # as it is written there
    start: int
    end: int
    pieces: tuple[str, ...]
    positions: range  # of the pieces in the row [CLS] text [SEP], where [CLS] is 0
    position_ids: tuple[int, ...]  # which position embedding each piece had: those, but for a text read in windows
    covers: Span  # the characters that the pieces stand for: more than asked for, where a piece reaches beyond
    vector: Tensor = field(repr=False)  # (W,) float32


@dataclass(frozen=True, eq=False)
class WordVectors:
    """The words of one text: a sequence of :class:`WordVector`, and all of their vectors in one matrix."""

    text: str
    words: tuple[WordVector, ...]
    vectors: Tensor = field(repr=False)  # (words, W) float32, on the CPU

    def __len__(self) -> int:
        return len(self.words)

    def __iter__(self) -> Iterator[WordVector]:
        return iter(self.words)

    def __getitem__(self, number: int) -> WordVector:
        return self.words[number]


def word_vectors(
    embedder: Runner,
    texts: Sequence[str],
    pooling: str = "mean",
    *,
    find: str | None = None,
    layers: LayerChoice = "last",
    weights: Sequence[float] | None = None,
    normalize: bool = False,
    long: str = "truncate",
    stride: int = 64,
) -> list[WordVectors]:
    """For each text the vectors of its words.

    Args:
        embedder: the model and its tokenizer.
        texts: a list of texts.
        pooling: ``mean``, ``first`` or ``last``: what becomes of a word's pieces.
        find: only this word, wherever it stands (:func:`minibert.embedding.places.find_places`): "배" in "배를" too,
            where its vector is that of the pieces over "배".
        layers: which hidden states, and ``weights``: see :func:`minibert.embedding.layers.choose_layers`.
        weights: of a weighted sum of layers.
        normalize: to unit length.
        long: a text of more tokens than the model reads is cut (``"truncate"``; ``embedder.truncated`` counts these,
            and words that are not read whole are left out) or read in ``"windows"``, where each word comes from the
            window in which it has most context.
        stride: how many tokens two windows share.

    Raises InputError for choices that are none.
    """
    given = check_call(embedder, texts, pooling, normalize)
    if find is not None:
        check_text("find", find)
    ignore_case = embedder.tokenizer.do_lower_case  # where the model does not see case, neither do we
    result = []
    for pieces in pieces_of(embedder, given, layers, weights, long, stride):
        ranges = pieces.words()
        spans = [pieces.span(word) for word in ranges]
        if find is not None:
            seen = spans[-1][1] if spans else 0
            spans = [span for span in find_places(pieces.text[:seen], find, spans, ignore_case) if pieces.over(*span)]
            ranges = [pieces.over(*span) for span in spans]
        result.append(gather(pieces, spans, ranges, pooling, normalize))
    return result


def span_vectors(
    embedder: Runner,
    text: str,
    spans: Sequence[Span],
    pooling: str = "mean",
    *,
    layers: LayerChoice = "last",
    weights: Sequence[float] | None = None,
    normalize: bool = False,
    long: str = "windows",
    stride: int = 64,
) -> WordVectors:
    """The vectors of any characters of ``text``, given as ``(start, end)``: of the pieces that share one with them.

    Other arguments as in :func:`word_vectors`.  Raises InputError where no piece is over a span.
    """
    check_call(embedder, [check_text("text", text)], pooling, normalize)
    given = read_spans(spans)
    (pieces,) = pieces_of(embedder, [text], layers, weights, long, stride)
    ranges = [pieces.over(start, end) for start, end in given]
    for (start, end), found in zip(given, ranges, strict=True):
        if not found:
            raise InputError(
                f"No piece of the text stands for its characters {start} to {end}, {text[start:end]!r}: they are "
                "outside of it, between words, or beyond what was read."
            )
    return gather(pieces, given, ranges, pooling, normalize)


def check_call(embedder: Any, texts: Any, pooling: Any, normalize: Any) -> list[str]:
    """The texts as a list; InputError where an argument is none of its kind."""
    if not isinstance(embedder, Runner):
        raise InputError(f"embedder is {described(embedder)}; expected an Embedder.")
    if isinstance(texts, str):
        raise InputError("texts is one text; expected a list of texts. For one, give [text], or Embedder.words(text).")
    if not isinstance(pooling, str) or pooling not in PIECE_POOLINGS:
        raise InputError(f"{pooling!r} is no pooling of a word's pieces; there are {', '.join(PIECE_POOLINGS)}.")
    check_flag("normalize", normalize)
    return read_texts(texts)[0]


def read_spans(spans: Any) -> list[Span]:
    """``spans`` as pairs of whole numbers, in order."""
    try:
        found = [(index(start), index(end)) for start, end in spans]
    except (TypeError, ValueError) as error:
        raise InputError(f"spans is {described(spans)}; expected a list of (start, end), of characters.") from error
    if wrong := [span for span in found if not 0 <= span[0] <= span[1]]:
        raise InputError(f"spans has {wrong[0]}; expected 0 <= start <= end, counted in characters.")
    return found


def pieces_of(
    embedder: Runner,
    texts: Sequence[str],
    layers: LayerChoice,
    weights: Sequence[float] | None,
    long: str,
    stride: int,
) -> Iterator[Pieces]:
    """:func:`minibert.embedding.pieces.read_pieces` with the layers by name."""
    chosen = choose_layers(layers, embedder.model.config.num_hidden_layers, weights)
    return read_pieces(embedder, texts, chosen, long, stride)


def gather(
    pieces: Pieces, spans: Sequence[Span], ranges: Sequence[range], pooling: str, normalize: bool
) -> WordVectors:
    """The spans with the vectors of the pieces in ``ranges``."""
    vectors = pool_pieces(pieces.vectors, ranges, pooling)
    if normalize:
        vectors = F.normalize(vectors, dim=-1)
    words = tuple(
        WordVector(
            text=pieces.text[start:end],
            start=start,
            end=end,
            pieces=tuple(pieces.tokens[found.start : found.stop]),
            positions=range(found.start + 1, found.stop + 1),
            position_ids=tuple(pieces.position_ids[found.start : found.stop]),
            covers=pieces.span(found),
            vector=vector,
        )
        for (start, end), found, vector in zip(spans, ranges, vectors, strict=True)
    )
    return WordVectors(pieces.text, words, vectors)


def pool_pieces(vectors: Tensor, ranges: Sequence[range], pooling: str) -> Tensor:
    """(pieces, W) to (ranges, W), each of them the mean, the first or the last of the range.  None may be empty."""
    if pooling == "first":
        return vectors[[found.start for found in ranges]]
    if pooling == "last":
        return vectors[[found.stop - 1 for found in ranges]]
    lengths = torch.tensor([len(found) for found in ranges], dtype=torch.long)
    owners = torch.arange(len(ranges)).repeat_interleave(lengths)
    members = vectors[[number for found in ranges for number in found]]
    totals = torch.zeros(len(ranges), vectors.shape[1]).index_add_(0, owners, members)
    return totals / lengths[:, None]
