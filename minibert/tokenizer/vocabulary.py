"""Tokens and their ids: those of the vocabulary file, added tokens, and special tokens by name.

Ids are given as in the ``tokenizers`` library's AddedVocabulary: an added token that the vocabulary already holds keeps
its id and is only kept whole; a new one gets the next free id at the end.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.request import as_id
from minibert.tokenizer.windows import Frame

LARGEST_ID = 1 << 28  # no embedding table has more rows
# BERT uses five of them; bos_token and eos_token are there because general code asks for them.
SPECIAL_TOKEN_NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")

logger = logging.getLogger(__name__)


class Vocabulary:
    """``base`` is the vocabulary WordPiece searches; ``added`` maps ids to the tokens that stay whole."""

    def __init__(self, base: Mapping[str, int], unk_token: str, origin: str) -> None:
        check_vocab(base, unk_token, origin)
        self.base = dict(base)
        self.unk_id = self.base[unk_token]  # of words that WordPiece cannot spell
        self.added: dict[int, AddedToken] = {}
        self._added_ids: dict[str, int] = {}
        self._written: dict[int, str] = {}
        self.special: set[str] = set()

    def __len__(self) -> int:
        return len(self.base) + sum(content not in self.base for content in self._added_ids)

    def token_to_id(self, token: str) -> int | None:
        """The id of ``token``, or None."""
        added_id = self._added_ids.get(token)
        return self.base.get(token) if added_id is None else added_id

    def id_to_token(self, token_id: int) -> str | None:
        """The token of ``token_id``, or None."""
        written = self._written.get(token_id)
        return self._base_tokens.get(token_id) if written is None else written

    def piece(self, token_id: int) -> str:
        """The text of ``token_id`` in the base vocabulary; an added token with the same id may have another text."""
        return self._base_tokens[token_id]

    @cached_property
    def _base_tokens(self) -> dict[int, str]:
        return {token_id: token for token, token_id in self.base.items()}

    def as_dict(self) -> dict[str, int]:
        """Every token with its id, added ones included."""
        return {**self.base, **self._added_ids}

    def write_added(self, normalize: Callable[[str], str]) -> None:
        """Set what ``id_to_token`` gives for added tokens: the normalized text if that is what is searched for."""
        self._written = {i: normalize(t.content) if t.normalized else t.content for i, t in self.added.items()}

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Keep ``tokens`` whole; returns how many were not kept whole in the same way before."""
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

    def add_stored(self, stored: Mapping[int, AddedToken], special: "SpecialTokens", origin: str) -> None:
        """Add the tokens that the files list, in the order of their ids, then the ``special`` ones that are missing."""
        names = set(special.by_name.values())
        tokens = [stored[token_id] for token_id in sorted(stored)]
        known = {token.content for token in tokens}
        for token in special.tokens():
            if token.content not in known:
                tokens.append(token)
                known.add(token.content)
        self.add(token.as_special() if token.content in names else token for token in tokens)
        for token_id, token in stored.items():
            if self.token_to_id(token.content) != token_id:
                logger.warning(
                    "%s: the files give the added token %r the id %s; here, as in the tokenizers library, it gets %s, "
                    "the next after the vocabulary's. Correct the ids, or the model reads another row for it.",
                    origin,
                    token.content,
                    token_id,
                    self.token_to_id(token.content),
                )
                break

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


class SpecialTokens:
    """Special tokens by name (``special["cls_token"]``), and ``extra`` ones without a name."""

    def __init__(
        self, vocabulary: Vocabulary, named: Mapping[str, str | AddedToken | None], extra: Iterable[AddedToken]
    ) -> None:
        self._vocabulary = vocabulary
        self._named = {name: named[name] for name in SPECIAL_TOKEN_NAMES}
        self.extra = list(extra)

    def __getitem__(self, name: str) -> str | None:
        token = self._named[name]
        return None if token is None else str(token)

    def __setitem__(self, name: str, token: str | AddedToken | None) -> None:
        if token is not None and not isinstance(token, str | AddedToken):
            raise TokenizerError(f"{name} must be text, an AddedToken or None, got {type(token).__name__}.")
        self._named[name] = token

    def id(self, name: str) -> int | None:
        """The id of the token with that name, or None if it is not set."""
        token = self[name]
        return None if token is None else self.id_or_unknown(token)

    def set_id(self, name: str, token_id: int | None) -> None:
        """Name the token with that id; None unsets the name."""
        token = None if token_id is None else self._vocabulary.id_to_token(as_id(token_id))
        if token_id is not None and token is None:
            raise TokenizerError(f"{name}_id cannot be {token_id}: the vocabulary has no token with that id.")
        self._named[name] = token

    def id_or_unknown(self, token: str) -> int | None:
        """The id of ``token``, else that of ``unk_token``; None if there is neither."""
        token_id = self._vocabulary.token_to_id(token)
        if token_id is None and (unk_token := self["unk_token"]) is not None:
            token_id = self._vocabulary.token_to_id(unk_token)
        return token_id

    @property
    def by_name(self) -> dict[str, str]:
        """The named tokens that are set."""
        return {name: str(token) for name, token in self._named.items() if token is not None}

    def update(self, special_tokens: Mapping[str, Any], replace_extra: bool) -> list[AddedToken]:
        """Set named and extra tokens, as the argument of ``add_special_tokens`` gives them; returns these tokens."""
        tokens: list[AddedToken] = []
        for name, value in special_tokens.items():
            if name in SPECIAL_TOKEN_NAMES:
                self[name] = token = AddedToken.of(value, special=True)
                tokens.append(token)
            else:
                extra = [AddedToken.of(token, special=True) for token in value]
                kept = [] if replace_extra and extra else self.extra
                known = set(map(str, kept))
                new = [token for token in extra if token.content not in known]
                self.extra = [*kept, *new]
                tokens += new
        return tokens

    def frame(self) -> Frame:
        """The special tokens of a row's layout."""
        cls_id, sep_id, pad_id = self.id("cls_token"), self.id("sep_token"), self.id("pad_token")
        return Frame.bert(  # 2 and 3 are the ecosystem's stand-ins where a vocabulary names no [CLS] or [SEP]
            (2 if cls_id is None else cls_id, str(self["cls_token"])),
            (3 if sep_id is None else sep_id, str(self["sep_token"])),
            (pad_id or 0, str(self["pad_token"])),
        )

    def tokens(self) -> list[AddedToken]:
        """The named tokens that are set, then the extra ones."""
        return [
            AddedToken.of(token, special=True) for token in (*self._named.values(), *self.extra) if token is not None
        ]


def check_vocab(vocab: Mapping[str, int], unk_token: str, origin: str) -> None:
    """TokenizerError when ``vocab`` is empty, holds anything but text and ids, or lacks ``unk_token``."""
    if not vocab:
        raise TokenizerError(f"{origin} is empty; expected a WordPiece vocabulary, one token per line.")
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
