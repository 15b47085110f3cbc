"""How similar a word is to itself in other places, per hidden state: in which layer a model separates two senses.

The cosine of the word's vectors in each pair of places, in every hidden state (Ethayarajh 2019 measures contextual
models like this).  Hidden state 0, the embeddings, depends on piece, segment and position alone: the same piece at the
same position has cosine 1 there.  Where the positions differ, they are part of every difference; with
``match_positions`` each text is shifted so that the word has the same position everywhere.  Start with
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
from minibert.embedding.printing import similarity_html
from minibert.embedding.words import WordVector, WordVectors, pool_pieces, word_vectors
from minibert.errors import InputError

SHOWN = 60  # characters of a text in a message


@dataclass(frozen=True, eq=False)
class WordSimilarity:
    """Every place of a word in some texts, and the cosine similarity of each pair in each hidden state."""

    word: str
    texts: tuple[str, ...]
    occurrences: tuple[WordVector, ...]  # in the order of the texts; vector: ((L + 1) · H,), layers concatenated
    text_numbers: tuple[int, ...]  # of each occurrence, from 0
    pairs: tuple[tuple[int, int], ...]  # numbers of occurrences, from 0
    position_ids: tuple[int, ...]  # of the word's first piece, in each place
    matched: bool  # whether the texts were shifted so that all of these are equal
    vectors: Tensor = field(repr=False)  # (occurrences, L + 1, H)
    cosines: Tensor = field(repr=False)  # (L + 1, pairs)

    @property
    def same_position(self) -> bool:
        """Whether the word had the same position in all places."""
        return len(set(self.position_ids)) == 1

    def matrix(self, hidden_state: int) -> Tensor:
        """The cosine of each two occurrences in that hidden state, (occurrences, occurrences)."""
        unit = F.normalize(self.vectors[:, hidden_state], dim=-1)
        return unit @ unit.T

    def _repr_html_(self) -> str:
        return similarity_html(self)

    def to_dict(self) -> dict[str, Any]:
        """Everything but the vectors, for JSON; texts and occurrences are numbered from 1, hidden states from 0."""
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
    """Compare ``word`` wherever it occurs in ``texts`` (more than once in a text, perhaps).

    Args:
        embedder: the model and its tokenizer.
        word: searched for by :func:`minibert.embedding.places.find_places`.
        texts: one or several; those longer than the model are read in windows.
        pooling: of the word's pieces: ``mean``, ``first``, ``last``.
        match_positions: shift the ``position_ids`` of each place so that the word's first piece has the position of
            the rightmost place; [CLS] stays at 0.  Then only the context of the word differs.

    Raises InputError when a text does not have the word, when there is only one place, and when a shifted text would
    exceed the model's positions.
    """
    if not isinstance(embedder, Embedder):
        raise InputError(f"embedder is {described(embedder)}; expected an Embedder.")
    check_text("word", word)
    check_flag("match_positions", match_positions)
    listed = tuple(read_texts(texts)[0])
    states = embedder.model.config.num_hidden_layers + 1
    per_text = word_vectors(embedder, listed, pooling, find=word, layers=list(range(states)), long="windows")
    for number, (text, words) in enumerate(zip(listed, per_text, strict=True), start=1):
        if not len(words):
            shown = text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
            raise InputError(f"The word {word!r} does not stand in text {number}, {shown!r}.")
    occurrences = tuple(occurrence for words in per_text for occurrence in words)
    if len(occurrences) < 2:
        raise InputError(f"There is nothing to compare {word!r} with: give one more text that it stands in.")
    position_ids = tuple(occurrence.position_ids[0] for occurrence in occurrences)
    if match_positions:
        vectors = matched_vectors(embedder, per_text, pooling)
        position_ids = (max(position_ids),) * len(position_ids)
    else:
        vectors = torch.cat([words.vectors for words in per_text]).view(len(occurrences), states, -1)
    pairs = tuple(combinations(range(len(occurrences)), 2))
    first, second = ([pair[side] for pair in pairs] for side in (0, 1))
    return WordSimilarity(
        word=word,
        texts=listed,
        occurrences=occurrences,
        text_numbers=tuple(number for number, words in enumerate(per_text) for _ in words),
        position_ids=position_ids,
        matched=match_positions,
        pairs=pairs,
        vectors=vectors,
        cosines=F.cosine_similarity(vectors[first], vectors[second], dim=-1).T,
    )


@torch.inference_mode()
def matched_vectors(embedder: Embedder, per_text: Sequence[WordVectors], pooling: str) -> Tensor:
    """(occurrences, L + 1, H): each place, its text shifted so that the word has its rightmost position."""
    kept = embedder.tokenizer.frame.ends[0]  # [CLS], which stays where it is
    target = max(word.positions.start for words in per_text for word in words)
    limit = embedder.model.config.max_position_embeddings
    rows = []
    for words in per_text:
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
            position_ids = torch.cat([torch.arange(kept), torch.arange(kept, T) + shift])[None]  # (1, T)
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
