"""From tokens back to text.  Case, accents and the original spacing are lost.

Pieces that begin with "##" are joined to the one before; other tokens are separated by a space.  Then the space before
English punctuation and contractions is removed.  The rules are those of the ``tokenizers`` library's WordPiece decoder,
which applies them per token, and of transformers' older clean-up, which applies them to the whole text.

The tokenizer's methods between ids, tokens and text are here as well; start with :func:`decode`.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from minibert.tokenizer.older_arguments import refuse
from minibert.tokenizer.request import as_id, as_lists, as_texts, check_switch
from minibert.tokenizer.vocabulary import SpecialTokens, Vocabulary
from minibert.tokenizer.wordpiece import CONTINUATION

DECODING = ("skip_special_tokens", "clean_up_tokenization_spaces")

_ATTACHED = (
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" do not", " don't"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)


def join_tokens(tokens: Iterable[str]) -> str:
    """``["un", "##want", "##ed", "."]`` → ``"unwanted."``."""
    parts = []
    for i, token in enumerate(tokens):
        continues = token.startswith(CONTINUATION)
        parts.append(_attach(token if i == 0 else token.removeprefix(CONTINUATION) if continues else f" {token}"))
    return "".join(parts)


def clean_up(text: str) -> str:
    """Attach punctuation and contractions in a whole text; "do not" is left as it is."""
    for spaced, attached in _ATTACHED:
        if spaced != " do not":
            text = text.replace(spaced, attached)
    return text


def _attach(token: str) -> str:
    if not token.startswith(" ") and " " not in token:
        return token
    for spaced, attached in _ATTACHED:
        token = token.replace(spaced, attached)
    return token


class Decodes(Protocol):
    """What the methods below need of a tokenizer."""

    clean_up_tokenization_spaces: bool
    _vocabulary: Vocabulary
    _special: SpecialTokens

    @property
    def all_special_ids(self) -> list[int]: ...

    @property
    def decode(self) -> Callable[..., Any]: ...

    def _join(self, tokens: list[str]) -> str: ...


def convert_tokens_to_ids(self: Decodes, tokens: str | Iterable[str]) -> Any:
    """The id of a token, or of each of several; the id of [UNK] for tokens outside the vocabulary."""
    if isinstance(tokens, str):
        return self._special.id_or_unknown(tokens)
    return [self._special.id_or_unknown(token) for token in as_texts("convert_tokens_to_ids", tokens)]


def convert_tokens_to_string(self: Decodes, tokens: Sequence[str]) -> str:
    """The text of tokens; pieces with "##" are joined without a space."""
    return self._join(as_texts("convert_tokens_to_string", tokens))


def convert_ids_to_tokens(self: Decodes, ids: Any, skip_special_tokens: bool = False) -> Any:
    """The token of an id, or of each of several; None for ids outside the vocabulary."""
    ids = as_lists(ids)
    if not isinstance(ids, list):
        return self._vocabulary.id_to_token(as_id(ids))
    skipped = set(self.all_special_ids) if check_switch("skip_special_tokens", skip_special_tokens) else set()
    return [self._vocabulary.id_to_token(i) for i in map(as_id, ids) if i not in skipped]


def decode(
    self: Decodes,
    token_ids: Any,
    skip_special_tokens: bool = False,
    clean_up_tokenization_spaces: bool | None = None,
    **older: Any,
) -> Any:
    """The text of a sequence of ids, or a list of texts for a batch of them; lists or tensors."""
    refuse("decode", older, DECODING)
    skips = check_switch("skip_special_tokens", skip_special_tokens)
    cleans = check_switch("clean_up_tokenization_spaces", clean_up_tokenization_spaces)
    ids = as_lists(token_ids)
    if not isinstance(ids, list):
        ids = [ids]
    if ids and isinstance(ids[0], list):
        return [self.decode(row, skip_special_tokens, clean_up_tokenization_spaces) for row in ids]
    tokens = [token for i in ids if (token := self._vocabulary.id_to_token(as_id(i))) is not None]
    if skips:
        tokens = [token for token in tokens if token not in self._vocabulary.special]
    text = self._join(tokens)
    cleans = self.clean_up_tokenization_spaces if clean_up_tokenization_spaces is None else cleans
    return clean_up(text) if cleans else text


def batch_decode(
    self: Decodes,
    sequences: Any,
    skip_special_tokens: bool = False,
    clean_up_tokenization_spaces: bool | None = None,
    **older: Any,
) -> list[str]:
    """``decode`` of a batch; always a list."""
    rows = as_lists(sequences)
    if rows == []:
        return [""]
    texts = self.decode(rows, skip_special_tokens, clean_up_tokenization_spaces, **older)
    return [texts] if isinstance(texts, str) else texts
