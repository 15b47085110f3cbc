"""How alike a word is to itself in other places, by hidden state: where a model begins to tell two senses apart.

The word's vectors in every hidden state, and the cosine of each pair of places (Ethayarajh 2019 measures contextual
models so).  Hidden state 0, the embeddings, knows a piece, its segment and its position: the same pieces in the same
position are equal there.  Where the positions differ, part of every difference is the positions' own; with
``match_positions`` each text is moved so that the word stands at the same position everywhere.  Start with
:func:`word_similarity`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.embedding.arguments import check_flag, check_text, described, read_texts
from minibert.embedding.embedder import Embedder
from minibert.embedding.words import WordVector, WordVectors, pool_pieces, word_vectors
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
    position_ids: tuple[int, ...]  # which position embedding the word's first piece had, in each place
    matched: bool  # whether the texts were moved so that all of these are one
    vectors: Tensor = field(repr=False)  # (occurrences, L + 1, H)
    cosines: Tensor = field(repr=False)  # (L + 1, pairs)

    @property
    def same_position(self) -> bool:
        """Whether the model saw the word at one position in all places."""
        return len(set(self.position_ids)) == 1

    def matrix(self, hidden_state: int) -> Tensor:
        """The cosine of every occurrence with every other in that hidden state, (occurrences, occurrences)."""
        unit = F.normalize(self.vectors[:, hidden_state], dim=-1)
        return unit @ unit.T

    def to_dict(self) -> dict[str, Any]:
        """All of it but the vectors, for JSON; texts and occurrences are numbered from 1, hidden states from 0."""
        occurrences = [
            {
                "number": number,
                "text": text + 1,
                "start": word.start,
                "end": word.end,
                "written": word.text,
                "pieces": list(word.pieces),
                "covers": list(word.covers),
                "position": position,
            }
            for number, (word, text, position) in enumerate(
                zip(self.occurrences, self.text_numbers, self.position_ids, strict=True), start=1
            )
        ]
        return {
            "word": self.word,
            "texts": list(self.texts),
            "occurrences": occurrences,
            "pairs": [[a + 1, b + 1] for a, b in self.pairs],
            "same_position": self.same_position,
            "matched_positions": self.matched,
            "hidden_states": [{"hidden_state": n, "cosines": row} for n, row in enumerate(self.cosines.tolist())],
        }


def word_similarity(
    embedder: Embedder,
    word: str,
    texts: str | Sequence[str],
    pooling: str = "mean",
    *,
    match_positions: bool = False,
) -> WordSimilarity:
    """Compare ``word`` wherever it stands in ``texts`` (one text may hold it several times).

    Args:
        embedder: the model and its tokenizer.
        word: found as :func:`minibert.embedding.places.find_places` says.
        texts: one or several; those longer than the model are read in windows.
        pooling: of the word's pieces: ``mean``, ``first``, ``last``.
        match_positions: read each place with ``position_ids`` that put the word's first piece where it stands in the
            place furthest to the right; [CLS] stays at 0.  What is left to differ is what stands around the word.

    Raises InputError when a text does not have the word, when there is only one place, and when a text that is to be
    moved has no room for it among the model's positions.
    """
    if not isinstance(embedder, Embedder):
        raise InputError(f"embedder is {described(embedder)}; expected an Embedder.")
    check_text("word", word)
    check_flag("match_positions", match_positions)
    given = tuple(read_texts(texts)[0])
    states = embedder.model.config.num_hidden_layers + 1
    found = word_vectors(embedder, given, pooling, find=word, layers=list(range(states)), long="windows")
    for number, (text, words) in enumerate(zip(given, found, strict=True), start=1):
        if not len(words):
            shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
            raise InputError(f"The word {word!r} does not stand in text {number}, {shown!r}.")
    occurrences = tuple(occurrence for words in found for occurrence in words)
    if len(occurrences) < 2:
        raise InputError(f"There is nothing to compare {word!r} with: give one more text that it stands in.")
    position_ids = tuple(occurrence.position_ids[0] for occurrence in occurrences)
    if match_positions:
        vectors = matched_vectors(embedder, found, pooling)
        position_ids = (max(position_ids),) * len(position_ids)
    else:
        vectors = torch.cat([words.vectors for words in found]).view(len(occurrences), states, -1)
    pairs = tuple(combinations(range(len(occurrences)), 2))
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return WordSimilarity(
        word=word,
        texts=given,
        occurrences=occurrences,
        text_numbers=tuple(number for number, words in enumerate(found) for _ in words),
        position_ids=position_ids,
        matched=match_positions,
        pairs=pairs,
        vectors=vectors,
        cosines=F.cosine_similarity(vectors[first], vectors[second], dim=-1).T,
    )


@torch.inference_mode()
def matched_vectors(embedder: Embedder, found: Sequence[WordVectors], pooling: str) -> Tensor:
    """(occurrences, L + 1, H): each place read with its text moved until the word stands at its rightmost position."""
    target = max(word.positions.start for words in found for word in words)
    limit = embedder.model.config.max_position_embeddings
    rows = []
    for words in found:
        input_ids = embedder.tokenizer(words.text, return_tensors="pt", verbose=False)["input_ids"]
        T = input_ids.shape[1]
        for word in words:
            shift = target - word.positions.start
            if T + shift > limit:
                raise InputError(
                    f"The text {words.text[:SHOWN]!r} has {T} tokens and would be moved {shift} positions to the "
                    f"right; this model has {limit} positions. Match them in shorter texts, or in texts where the word "
                    "stands nearer to the same place."
                )
            position_ids = torch.cat([torch.zeros(1, dtype=torch.long), torch.arange(1, T) + shift])[None]  # (1, T)
            output = embedder.model(
                input_ids.to(embedder.model.device),
                position_ids=position_ids.to(embedder.model.device),
                output_hidden_states=True,
                return_dict=True,
            )
            hidden_states = torch.stack([state[0] for state in output.hidden_states], dim=1)  # (T, L + 1, H)
            pieces = pool_pieces(hidden_states.flatten(1).float().cpu(), [word.positions], pooling)
            rows.append(pieces.view(hidden_states.shape[1], -1))
    return torch.stack(rows)
