"""WordPiece: a word becomes the longest vocabulary entries that fit, from left to right.

From Schuster & Nakajima 2012 and Wu et al. 2016 (section 4.1), as ``WordpieceTokenizer`` of google-research/bert
tokenization.py runs it: greedy, longest match first, pieces inside a word are written with "##" in front.
One piece that cannot be found makes the whole word [UNK], never only that piece.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

CONTINUATION = "##"
MAX_CHARACTERS_PER_WORD = 100  # characters, not bytes; Google's file now says 200, the ecosystem stayed at 100


@dataclass(frozen=True, slots=True)
class Piece:
    """One token of a word: its id, and which characters of the word it covers."""

    id: int
    start: int
    end: int


@dataclass(frozen=True)
class WordPiece:
    """The vocabulary and the greedy search over it.  ``vocab`` maps a token, "##" included, to its id."""

    vocab: Mapping[str, int]
    unk_id: int
    longest_entry: int = field(init=False)  # no longer slice of a word can match, so none is tried

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
