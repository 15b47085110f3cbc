"""WordPiece: a word is split into the longest vocabulary entries that match, from left to right.

From Schuster & Nakajima 2012 and Wu et al. 2016 (section 4.1), as in ``WordpieceTokenizer`` of google-research/bert
tokenization.py: greedy, longest match first; pieces inside a word begin with "##".  If one piece cannot be found, the
whole word becomes [UNK].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

CONTINUATION = "##"
MAX_CHARACTERS_PER_WORD = 100  # not bytes; Google's file now says 200, the ecosystem stayed at 100


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of a word: its id, and its half-open range of characters in the word."""

    id: int
    start: int
    end: int


@dataclass(frozen=True)
class WordPiece:
    """The greedy search over a vocabulary; ``vocab`` maps tokens, with their "##", to ids."""

    vocab: Mapping[str, int]
    unk_id: int
    longest_entry: int = field(init=False)  # characters; longer slices of a word cannot match

    def __post_init__(self) -> None:
        object.__setattr__(self, "longest_entry", max(map(len, self.vocab), default=0))

    def tokenize(self, word: str) -> list[Piece]:
        """The pieces of one word (no spaces): "unwanted" → "un", "##want", "##ed"."""
        unknown = [Piece(self.unk_id, 0, len(word))]
        if len(word) > MAX_CHARACTERS_PER_WORD:
            return unknown
        pieces: list[Piece] = []
        start = 0
        while start < len(word):
            prefix = CONTINUATION if start else ""
            for end in range(min(len(word), start + self.longest_entry), start, -1):
                token_id = self.vocab.get(prefix + word[start:end])
                if token_id is not None:
                    pieces.append(Piece(token_id, start, end))
                    start = end
                    break
            else:
                return unknown
        return pieces
