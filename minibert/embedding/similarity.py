"""How alike a word is to itself in other places, layer by layer: where a model begins to tell two senses apart.

The word's vectors in every hidden state, and the cosine of each pair of places (Ethayarajh 2019 measures contextual
models so).  In layer 0, the embeddings, the same pieces differ by their positions alone; whatever more they differ in
later has come from the texts around them.  Start with :func:`word_similarity`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.embedding.embedder import Embedder
from minibert.embedding.words import WordVector, word_vectors
from minibert.errors import InputError

SHOWN = 60  # characters of a text in a message


@dataclass(frozen=True, eq=False)
class WordSimilarity:
    """Every place of a word in some texts, and the cosine similarity of each two in each hidden state."""

    word: str
    texts: tuple[str, ...]
    occurrences: tuple[WordVector, ...]  # in the order of the texts; vector: (L + 1) · H, the layers side by side
    text_numbers: tuple[int, ...]  # for each occurrence the number of its text, from 0
    pairs: tuple[tuple[int, int], ...]  # numbers of occurrences, from 0
    vectors: Tensor = field(repr=False)  # (occurrences, L + 1, H)
    cosines: Tensor = field(repr=False)  # (L + 1, pairs)

    def matrix(self, layer: int) -> Tensor:
        """The cosine of every occurrence with every other in hidden state ``layer``, (occurrences, occurrences)."""
        unit = F.normalize(self.vectors[:, layer], dim=-1)
        return unit @ unit.T

    def to_dict(self) -> dict[str, Any]:
        """All of it but the vectors, for JSON; texts and occurrences are numbered from 1, layers from 0."""
        occurrences = [
            {
                "number": number,
                "text": text + 1,
                "start": word.start,
                "end": word.end,
                "written": word.text,
                "pieces": list(word.pieces),
                "covers": list(word.covers),
            }
            for number, (word, text) in enumerate(zip(self.occurrences, self.text_numbers, strict=True), start=1)
        ]
        return {
            "word": self.word,
            "texts": list(self.texts),
            "occurrences": occurrences,
            "pairs": [[a + 1, b + 1] for a, b in self.pairs],
            "layers": [{"layer": n, "cosines": row} for n, row in enumerate(self.cosines.tolist())],
        }


def word_similarity(embedder: Embedder, word: str, texts: str | Sequence[str], pooling: str = "mean") -> WordSimilarity:
    """Compare ``word`` wherever it stands in ``texts`` (one text may hold it several times).

    How it is found: :func:`minibert.embedding.places.find_places`.  ``pooling`` of its pieces: ``mean``, ``first``,
    ``last``.  Texts longer than the model are read in windows.  Raises InputError when a text does not have the word,
    and when there is only one place.
    """
    given = (texts,) if isinstance(texts, str) else tuple(texts)
    states = embedder.model.config.num_hidden_layers + 1
    found = word_vectors(embedder, given, pooling, find=word, layers=list(range(states)), long="windows")
    for number, (text, words) in enumerate(zip(given, found, strict=True), start=1):
        if not len(words):
            shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
            raise InputError(f"The word {word!r} does not stand in text {number}, {shown!r}.")
    occurrences = tuple(occurrence for words in found for occurrence in words)
    if len(occurrences) < 2:
        raise InputError(f"There is nothing to compare {word!r} with: give one more text that it stands in.")
    vectors = torch.cat([words.vectors for words in found]).view(len(occurrences), states, -1)
    pairs = tuple(combinations(range(len(occurrences)), 2))
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return WordSimilarity(
        word=word,
        texts=given,
        occurrences=occurrences,
        text_numbers=tuple(number for number, words in enumerate(found) for _ in words),
        pairs=pairs,
        vectors=vectors,
        cosines=F.cosine_similarity(vectors[first], vectors[second], dim=-1).T,
    )
