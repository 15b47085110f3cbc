"""Tokens and their ids: the file's vocabulary, and the tokens that were set apart or added to it afterwards.

Follows the ``tokenizers`` library's AddedVocabulary, because ids must come out the same: an added token that the
vocabulary already holds keeps its id and is merely set apart; a new one gets the next free id at the end.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property

from minibert.errors import TokenizerError
from minibert.tokenizer.added_tokens import AddedToken

LARGEST_ID = 1 << 28  # no embedding table has more rows


class Vocabulary:
    """``base`` is the vocabulary WordPiece searches; ``added`` maps ids to the tokens that stay whole."""

    def __init__(self, base: Mapping[str, int]) -> None:
        self.base = dict(base)
        self.added: dict[int, AddedToken] = {}
        self._added_ids: dict[str, int] = {}
        self._written: dict[int, str] = {}
        self.special: set[str] = set()

    def __len__(self) -> int:
        return len(self.base) + sum(content not in self.base for content in self._added_ids)

    def token_to_id(self, token: str) -> int | None:
        """The id of ``token``, or None."""
        found = self._added_ids.get(token)
        return self.base.get(token) if found is None else found

    def id_to_token(self, token_id: int) -> str | None:
        """The token of ``token_id``, or None."""
        written = self._written.get(token_id)
        return self._base_tokens.get(token_id) if written is None else written

    def piece(self, token_id: int) -> str:
        """The text of ``token_id`` as WordPiece found it, which an added token of the same id may be written unlike."""
        return self._base_tokens[token_id]

    @cached_property
    def _base_tokens(self) -> dict[int, str]:
        return {token_id: token for token, token_id in self.base.items()}

    def as_dict(self) -> dict[str, int]:
        """Every token with its id, the added ones included."""
        return {**self.base, **self._added_ids}

    def write_added(self, normalize: Callable[[str], str]) -> None:
        """Set the text that ``id_to_token`` gives for added tokens: the normalized one where that is looked for."""
        self._written = {i: normalize(t.content) if t.normalized else t.content for i, t in self.added.items()}

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Set ``tokens`` apart; returns how many were not set apart in the same way before."""
        changed = 0
        for token in tokens:
            if not token.content:
                continue
            if token.special:
                self.special.add(token.content)
            if token in self.added.values():
                continue
            token_id = self.token_to_id(token.content)
            if token_id is None:
                token_id = self._next_id(token.content)
            self.added[token_id] = token
            self._added_ids[token.content] = token_id
            changed += 1
        return changed

    def _next_id(self, content: str) -> int:
        token_id = max(len(self.base), max(self.added, default=-1) + 1)
        if token_id <= self._last_id and token_id in self._base_tokens:
            raise TokenizerError(
                f"{content!r} cannot be added: the next id, {token_id}, belongs to {self._base_tokens[token_id]!r}. "
                f"The vocabulary has {len(self.base)} tokens and ids up to {self._last_id}: some lines hold one "
                "token, or ids are left out. Give each id a token of its own."
            )
        return token_id

    @cached_property
    def _last_id(self) -> int:
        return max(self.base.values())


def checked_vocab(vocab: Mapping[str, int], unk_token: str, origin: str) -> Mapping[str, int]:
    """``vocab`` itself; TokenizerError when it is empty, holds anything but text and ids, or lacks ``unk_token``."""
    if not vocab:
        raise TokenizerError(f"{origin} is empty; expected a WordPiece vocabulary, one token a line.")
    if set(map(type, vocab)) != {str} or set(map(type, vocab.values())) != {int} or min(vocab.values()) < 0:
        wrong = next((t, i) for t, i in vocab.items() if type(t) is not str or type(i) is not int or i < 0)
        raise TokenizerError(
            f"{origin} maps {wrong[0]!r} to {wrong[1]!r}; expected a token and its id, a whole number from 0 up."
        )
    if max(vocab.values()) >= LARGEST_ID or len(set(vocab.values())) < len(vocab):
        first: dict[int, str] = {}
        for token, token_id in vocab.items():
            if token_id >= LARGEST_ID:
                raise TokenizerError(
                    f"{origin} gives {token!r} the id {token_id}; no embedding table has so many rows."
                )
            if first.setdefault(token_id, token) != token:
                raise TokenizerError(f"{origin} gives the id {token_id} to {first[token_id]!r} and to {token!r}.")
    if unk_token not in vocab:
        raise TokenizerError(
            f"{origin} holds {len(vocab)} tokens but not {unk_token!r}, which WordPiece gives to every word it cannot "
            "spell. Name the vocabulary's own unknown token with unk_token=…, or check that this is a BERT vocabulary."
        )
    return vocab
