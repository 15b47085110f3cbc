"""The vectors of words: of every word of a text, of one word wherever it occurs, or of any characters.

A word is one or more pieces (WordPiece tokens); its vector is the mean of theirs, or the first or last one's.  The
hidden states are chosen as for texts (layers.py).  Words are BERT's: text is split at spaces, and every punctuation
mark and every Chinese character is a word of its own.

A text of more tokens than the model reads is cut, or read in overlapping windows; then a word is taken from the window
in which it has the most context, as in Google's run_squad.py: at the edge of a window, half of the context is missing.
Start with :func:`word_vectors`; most people call ``Embedder.words``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import index
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.display.elements import note
from minibert.display.measures import number_text
from minibert.display.tables import html_table, spark, tabled, unbroken
from minibert.embedding.arguments import check_flag, check_long, check_text, described, read_texts
from minibert.embedding.layers import LayerChoice, Layers, choose_layers
from minibert.embedding.places import find_places
from minibert.embedding.runner import NOT_FINITE, Runner
from minibert.errors import InputError
from minibert.tokenizer.basic import Span
from minibert.tokenizer.encoder import TokenizedText
from minibert.tokenizer.windows import TokenRow, Window, best_windows, window_rows, without_spaces, word_ranges

FIRST = 3  # numbers of a vector in a table
PIECE_POOLINGS = ("mean", "first", "last")
TEXTS_PER_BLOCK = 256  # sorted by length together; the vectors of all their pieces are in memory at once


@dataclass(frozen=True, eq=False)
class WordVector:
    """A word, or any other characters, and its place; ``start`` and ``end`` count characters (code points)."""

    text: str  # as it is written there
    start: int
    end: int
    pieces: tuple[str, ...]
    positions: range  # of the pieces in the row [CLS] text [SEP], where [CLS] is 0
    position_ids: tuple[int, ...]  # the position embedding of each piece: as positions, unless the text has windows
    covers: Span  # the characters of the pieces: more than asked for, where a piece extends beyond them
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

    def _repr_html_(self) -> str:
        """A row for each word; of its vector the norm, the first numbers and a histogram."""
        rows = []
        for number, word in enumerate(self.words):
            first = ", ".join(number_text(x, 3) for x in word.vector[:FIRST].tolist())
            start = unbroken(first + (", …" if len(word.vector) > FIRST else ""))
            place = (", ".join(map(str, word.positions)), f"{word.start}–{word.end}")
            norm = number_text(word.vector.norm().item())
            rows.append((str(number), word.text, " ".join(word.pieces), *place, norm, start, _spread(word)))
        heads = ("", "word", "pieces", "positions", "characters", "norm", "vector", "its numbers")
        shape = " × ".join(map(str, self.vectors.shape))
        return tabled(note(f"vectors: {shape}"), html_table(heads, rows, right=("", "norm"), name="words"))


def _spread(word: "WordVector") -> str:
    """A histogram of a vector."""
    low, high = (end.item() for end in word.vector.aminmax())
    counts = torch.histc(word.vector.float(), 24, low, high).tolist() if high > low else [1.0]
    return spark(counts, f"{len(word.vector)} numbers from {number_text(low)} to {number_text(high)}")


@dataclass(frozen=True, eq=False)
class Pieces:
    """The pieces of one text with their vectors, without [CLS] and [SEP]; where the text is cut, only whole words."""

    text: str
    tokens: list[str]
    offsets: list[Span]
    word_ids: list[int]
    position_ids: list[int]  # of each piece in its row: in a window, counted from the beginning of the window
    begin: int  # the place of the first piece in the row of the whole text, 1 after [CLS]
    vectors: Tensor  # (pieces, W) float32, on the CPU

    def span(self, pieces: range) -> Span:
        """The characters of consecutive ``pieces``."""
        return self.offsets[pieces[0]][0], self.offsets[pieces[-1]][1]

    def is_space(self, pieces: range) -> bool:
        """Whether consecutive ``pieces`` cover nothing but white space, as some of SentencePiece do."""
        start, end = self.span(pieces)
        return self.text[start:end].isspace()

    def over(self, start: int, end: int) -> range:
        """The pieces that share a character with ``text[start:end]``; may be empty."""
        numbers = [number for number, (a, b) in enumerate(self.offsets) if max(a, start) < min(b, end)]
        return range(numbers[0], numbers[-1] + 1) if numbers else range(0)


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
        pooling: ``mean``, ``first`` or ``last``: how the pieces of a word become one vector.
        find: only this word, wherever it occurs (:func:`minibert.embedding.places.find_places`): "배" in "배를" too,
            with the vector of the pieces over "배".
        layers: which hidden states, see :func:`minibert.embedding.layers.choose_layers`.
        weights: of a weighted sum of layers.
        normalize: to unit length.
        long: a text of more tokens than the model reads is cut (``"truncate"``; ``embedder.truncated`` counts these,
            and a word at the cut is left out) or read in ``"windows"``, where each word comes from the window in which
            it has the most context.
        stride: how many tokens two windows share.

    Raises InputError for arguments of another type or out of range.
    """
    texts = check_call(embedder, texts, pooling, normalize)
    if find is not None:
        check_text("find", find)
    ignore_case = embedder.tokenizer.do_lower_case  # a model that does not see case does not search by it
    result = []
    for pieces in read_pieces(embedder, texts, layers, weights, long, stride):
        ranges = [word for word in word_ranges(pieces.word_ids) if not pieces.is_space(word)]
        spans = [without_spaces(pieces.text, pieces.span(word)) for word in ranges]
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

    ``embedder`` is an Embedder; other arguments are those of :func:`word_vectors`.  Raises InputError where no piece
    is over a span.
    """
    check_call(embedder, [check_text("text", text)], pooling, normalize)
    spans = read_spans(spans)
    (pieces,) = read_pieces(embedder, [text], layers, weights, long, stride)
    ranges = [pieces.over(start, end) for start, end in spans]
    for (start, end), numbers in zip(spans, ranges, strict=True):
        if not numbers:
            raise InputError(
                f"No piece of the text stands for its characters {start} to {end}, {text[start:end]!r}: they are "
                "outside of it, between words, or beyond what was read."
            )
    return gather(pieces, spans, ranges, pooling, normalize)


def check_call(embedder: Any, texts: Any, pooling: Any, normalize: Any) -> list[str]:
    """``texts`` as a list; InputError where an argument has another type."""
    if not isinstance(embedder, Runner):
        raise InputError(f"embedder is {described(embedder)}; expected an Embedder.")
    if isinstance(texts, str):
        raise InputError("texts is one text; expected a list of texts. For one, give [text], or Embedder.words(text).")
    if not isinstance(pooling, str) or pooling not in PIECE_POOLINGS:
        raise InputError(f"{pooling!r} is no pooling of a word's pieces; there are {', '.join(PIECE_POOLINGS)}.")
    check_flag("normalize", normalize)
    return read_texts(texts)[0]


def read_spans(spans: Any) -> list[Span]:
    """``spans`` as pairs of whole numbers, each in order."""
    try:
        pairs = [(index(start), index(end)) for start, end in spans]
    except (TypeError, ValueError) as error:
        raise InputError(f"spans is {described(spans)}; expected a list of (start, end), of characters.") from error
    if wrong := [pair for pair in pairs if not 0 <= pair[0] <= pair[1]]:
        raise InputError(f"spans has {wrong[0]}; expected 0 <= start <= end, counted in characters.")
    return pairs


@torch.inference_mode()
def read_pieces(
    embedder: Runner,
    texts: Sequence[str],
    layers: LayerChoice,
    weights: Sequence[float] | None,
    long: str,
    stride: int,
) -> Iterator[Pieces]:
    """The pieces of each text, in order; arguments as in :func:`word_vectors`."""
    chosen = choose_layers(layers, embedder.model.config.num_hidden_layers, weights)
    check_long(long, stride)
    embedder.truncated = 0
    for start in range(0, len(texts), TEXTS_PER_BLOCK):
        block = texts[start : start + TEXTS_PER_BLOCK]
        tokenized = [embedder.tokenizer.tokens_with_offsets(text) for text in block]
        laid_out = [rows_of(embedder, tokens.ids, long, stride) for tokens in tokenized]
        vectors = iter(vectors_of_rows(embedder, [row for rows, _ in laid_out for row in rows], chosen))
        for text, tokens, (_, view) in zip(block, tokenized, laid_out, strict=True):
            yield merge(text, tokens, view, [next(vectors) for _ in view], embedder.tokenizer.frame.start())
    embedder.warn_if_truncated(len(texts))


def rows_of(embedder: Runner, ids: list[int], long: str, stride: int) -> tuple[list[TokenRow], list[Window]]:
    """The rows in which a text is read, and their windows of it: one, unless long texts are read in windows.

    A text is cut at its end, whatever the tokenizer's ``truncation_side``: pieces are numbered from the beginning.
    """
    shared = embedder.overlap(stride) if long == "windows" else 0
    rows, view = window_rows(embedder.tokenizer.frame, ids, embedder.max_length, shared)
    if long == "windows":
        return rows, view
    embedder.truncated += len(view) > 1
    return rows[:1], view[:1]


def vectors_of_rows(embedder: Runner, rows: list[TokenRow], layers: Layers) -> list[Tensor]:
    """For each row the vectors of its pieces, (pieces, W) float32 on the CPU; [CLS] and [SEP] are taken off."""
    none = torch.empty(0, layers.width * embedder.model.config.hidden_size)
    vectors = {number: none for number, row in enumerate(rows) if not len(row)}  # without special tokens
    full = [number for number, row in enumerate(rows) if len(row)]
    begin, end = embedder.tokenizer.frame.ends
    for places, packed, computed in embedder.run([rows[number] for number in full], layers):
        hidden_states = computed.float().cpu()
        if not torch.isfinite(hidden_states).all():
            raise InputError(f"The vector of a piece of a text {NOT_FINITE}")
        parts = torch.split(hidden_states, list(packed.lengths))
        vectors |= {full[place]: part[begin : len(part) - end] for place, part in zip(places, parts, strict=True)}
    return [vectors[number] for number in range(len(rows))]


def merge(text: str, tokenized: TokenizedText, view: list[Window], parts: list[Tensor], begin: int) -> Pieces:
    """The pieces of a text from its windows, whose vectors are ``parts``, each (pieces, W).

    ``begin``: the place of the first piece in its row, 1 after [CLS].
    """
    word_ids = tokenized.word_ids
    seen = max(end for _, end in view)
    while 0 < seen < len(word_ids) and word_ids[seen - 1] == word_ids[seen]:
        seen -= 1  # the cut goes through this word
    if len(view) == 1:
        vectors = parts[0][:seen]
        position_ids = list(range(begin, seen + begin))
    else:
        chosen = best_windows(word_ids, view)
        position_ids = [number - view[k][0] + begin for number, k in enumerate(chosen)]
        vectors = torch.stack([parts[k][number - view[k][0]] for number, k in enumerate(chosen)])
    tokens, offsets = tokenized.tokens[:seen], tokenized.offsets[:seen]
    return Pieces(text, tokens, offsets, word_ids[:seen], position_ids, begin, vectors)


def gather(
    pieces: Pieces, spans: Sequence[Span], ranges: Sequence[range], pooling: str, normalize: bool
) -> WordVectors:
    """The characters of ``spans`` with the vectors of the pieces in ``ranges``."""
    vectors = pool_pieces(pieces.vectors, ranges, pooling)
    if normalize:
        vectors = F.normalize(vectors, dim=-1)
    words = tuple(
        WordVector(
            text=pieces.text[start:end],
            start=start,
            end=end,
            pieces=tuple(pieces.tokens[word.start : word.stop]),
            positions=range(word.start + pieces.begin, word.stop + pieces.begin),
            position_ids=tuple(pieces.position_ids[word.start : word.stop]),
            covers=pieces.span(word),
            vector=vector,
        )
        for (start, end), word, vector in zip(spans, ranges, vectors, strict=True)
    )
    return WordVectors(pieces.text, words, vectors)


def pool_pieces(vectors: Tensor, ranges: Sequence[range], pooling: str) -> Tensor:
    """(pieces, W) to (ranges, W): the mean, the first or the last of each range.  None may be empty."""
    if pooling == "first":
        return vectors[[word.start for word in ranges]]
    if pooling == "last":
        return vectors[[word.stop - 1 for word in ranges]]
    lengths = torch.tensor([len(word) for word in ranges], dtype=torch.long)
    owners = torch.arange(len(ranges)).repeat_interleave(lengths)
    members = vectors[[number for word in ranges for number in word]]
    totals = torch.zeros(len(ranges), vectors.shape[1]).index_add_(0, owners, members)
    return totals / lengths[:, None]
