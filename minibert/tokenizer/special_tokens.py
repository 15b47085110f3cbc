"""The named special tokens as attributes: ``tokenizer.mask_token`` and ``tokenizer.mask_token_id``.

Each name is a pair of descriptors over one dictionary, so that reading, setting and the id can never disagree.
BERT uses five of the seven names; ``bos_token`` and ``eos_token`` are there because general code asks for them.
"""

from typing import TYPE_CHECKING, Any

from minibert.errors import TokenizerError
from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.request import as_id

if TYPE_CHECKING:
    from minibert.tokenizer.vocabulary_methods import VocabularyMethods

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class NamedToken:
    """``tokenizer.cls_token``: the token's text or None; may be set to text, an AddedToken or None."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, tokenizer: "VocabularyMethods | None", owner: type) -> Any:
        if tokenizer is None:  # asked of the class, as help() does
            return self
        value = tokenizer._special_tokens.get(self._name)
        return None if value is None else str(value)

    def __set__(self, tokenizer: "VocabularyMethods", value: str | AddedToken | None) -> None:
        if value is not None and not isinstance(value, str | AddedToken):
            raise TokenizerError(f"{self._name} must be text, an AddedToken or None, got {type(value).__name__}.")
        tokenizer._special_tokens[self._name] = value


class NamedTokenId:
    """``tokenizer.cls_token_id``: the id of that token, or None when the token is not set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name.removesuffix("_id")

    def __get__(self, tokenizer: "VocabularyMethods | None", owner: type) -> Any:
        if tokenizer is None:
            return self
        value = tokenizer._special_tokens.get(self._name)
        return None if value is None else tokenizer._id_or_unknown(str(value))

    def __set__(self, tokenizer: "VocabularyMethods", value: int | None) -> None:
        token = None if value is None else tokenizer._vocabulary.id_to_token(as_id(value))
        if value is not None and token is None:
            raise TokenizerError(f"{self._name}_id cannot be {value}: the vocabulary has no token with that id.")
        tokenizer._special_tokens[self._name] = token
