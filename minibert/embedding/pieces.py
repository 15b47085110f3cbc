"""Every piece of a text with its place and its vector: what words are made of (words.py).

Texts run packed, as in ``Embedder.encode``, but nothing is averaged over the text.  A text of more tokens than the
model reads is cut, or read in overlapping windows; then a word is taken from the window in which it has most context,
as Google's run_squad.py does (``_check_is_max_context``): at the edge of a window half of its surroundings are
missing.  Start with :func:`read_pieces`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minibert.embedding.arguments import check_long
from minibert.embedding.layers import Layers
from minibert.embedding.runner import NOT_FINITE, Runner
from minibert.errors import InputError
from minibert.tokenizer.basic import Span
from minibert.tokenizer.encoder import Detail
from minibert.tokenizer.windows import TokenRow, Window, best_windows, window_rows, word_ranges

TEXTS_TOGETHER = 256  # sorted by length together; the vectors of all their pieces are in memory at once


@dataclass(frozen=True, eq=False)
class Pieces:
    """The pieces of one text as a model read them, one entry a piece; [CLS] and [SEP] are not among them.

    Only whole words are here: where a text was cut, a word that the cut goes through is left out.
    """

    text: str
    tokens: list[str]
    offsets: list[Span]
    word_ids: list[int]
    position_ids: list[int]  # where the model saw each piece: in a window, its place there
    vectors: Tensor  # (pieces, W) float32, on the CPU

    def words(self) -> list[range]:
        """For each word its pieces, by number."""
        return word_ranges(self.word_ids)

    def span(self, pieces: range) -> Span:
        """The characters that consecutive ``pieces`` stand for."""
        return self.offsets[pieces[0]][0], self.offsets[pieces[-1]][1]

    def over(self, start: int, end: int) -> range:
        """The pieces that share a character with ``text[start:end]``; perhaps none."""
        found = [number for number, (a, b) in enumerate(self.offsets) if max(a, start) < min(b, end)]
        return range(found[0], found[-1] + 1) if found else range(0)


@torch.inference_mode()
def read_pieces(
    embedder: Runner, texts: Sequence[str], layers: Layers, long: str = "truncate", stride: int = 64
) -> Iterator[Pieces]:
    """The pieces of each text, in order.

    ``long`` and ``stride`` as in ``Embedder.encode``; ``embedder.truncated`` counts the texts that were cut.  Raises
    InputError when these are none.
    """
    check_long(long, stride)
    embedder.truncated = 0
    for start in range(0, len(texts), TEXTS_TOGETHER):
        block = texts[start : start + TEXTS_TOGETHER]
        details = [embedder.tokenizer.detail(text) for text in block]
        laid = [rows_of(embedder, detail.ids, long, stride) for detail in details]
        vectors = iter(vectors_of_rows(embedder, [row for rows, _ in laid for row in rows], layers))
        for text, detail, (_, view) in zip(block, details, laid, strict=True):
            yield merge(text, detail, view, [next(vectors) for _ in view])
    embedder.warn_if_truncated(len(texts))


def rows_of(embedder: Runner, ids: list[int], long: str, stride: int) -> tuple[list[TokenRow], list[Window]]:
    """The rows in which a text is read, and their windows of it: one, unless long texts are read in windows.

    A text that is cut keeps its beginning, whatever the tokenizer's ``truncation_side``: pieces count from there.
    """
    shared = embedder.overlap(stride) if long == "windows" else 0
    rows, view = window_rows(embedder.tokenizer.frame, ids, embedder.max_length, shared)
    if long == "windows":
        return rows, view
    embedder.truncated += len(view) > 1
    return rows[:1], view[:1]


def vectors_of_rows(embedder: Runner, rows: list[TokenRow], layers: Layers) -> list[Tensor]:
    """For each row, (its tokens without [CLS] and [SEP], W)."""
    found: dict[int, Tensor] = {}
    for numbers, packed, buffers in embedder.batches(rows):
        values = embedder.hidden_states(packed, layers, buffers).float().cpu()
        if not torch.isfinite(values).all():
            raise InputError(f"The vector of a piece of a text {NOT_FINITE}")
        for number, row in zip(numbers, torch.split(values, list(packed.lengths)), strict=True):
            found[number] = row[1:-1]
    return [found[number] for number in range(len(rows))]


def merge(text: str, detail: Detail, view: list[Window], parts: list[Tensor]) -> Pieces:
    """One text from the windows it was read in, each (its tokens, W)."""
    word_ids = detail.word_ids
    seen = max(b for _, b in view)
    while 0 < seen < len(word_ids) and word_ids[seen - 1] == word_ids[seen]:
        seen -= 1  # the cut goes through this word
    if len(view) == 1:
        vectors = parts[0][:seen]
        position_ids = list(range(1, seen + 1))
    else:
        chosen = best_windows(word_ids, view)
        position_ids = [number - view[k][0] + 1 for number, k in enumerate(chosen)]
        vectors = torch.stack([parts[k][number - view[k][0]] for number, k in enumerate(chosen)])
    return Pieces(text, detail.tokens[:seen], detail.offsets[:seen], word_ids[:seen], position_ids, vectors)
