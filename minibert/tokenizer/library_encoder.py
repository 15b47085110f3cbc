"""The ``tokenizers`` library as a TextEncoder: text to ids, offsets and words by any pipeline of a tokenizer.json.

An optional package (the extra ``tokenizers``), for vocabularies that are not WordPiece: Unigram and byte-pair encoding
(SentencePiece's two models), words.  The library only cuts texts into pieces; special tokens, truncation and padding
stay with this room.  ``LibraryVocabulary`` has the ids, :class:`LibraryEncoder` what encoder.py's TextEncoder has.
"""

import sys
from collections.abc import Iterable, Iterator, Sequence
from copy import deepcopy
from functools import cached_property
from itertools import islice
from typing import Any

from minibert.errors import MissingExtraError, TokenizerError
from minibert.tokenizer.added_tokens import AddedToken
from minibert.tokenizer.encoder import CHARACTERS_PER_TOKEN, SHORT, TextEncoder, TokenizedText, refuse_surrogates
from minibert.tokenizer.library_cuts import PLACE, cuts_at_spaces
from minibert.tokenizer.request import Example, TextOrWords
from minibert.tokenizer.vocabulary import Vocabulary

EXAMPLES_PER_BLOCK = 1024  # the library encodes them on all cores


def load_library(origin: str, reason: str) -> Any:
    """The module ``tokenizers``; MissingExtraError, whose message gives the ``reason`` why ``origin`` needs it."""
    try:
        import tokenizers
    except ImportError as error:
        missing = f"{origin} is run by the tokenizers library, because {reason}"
        raise MissingExtraError.of(missing, "tokenizers", "Vocabularies of WordPiece, vocab.txt, need none.") from error
    return tokenizers


def parse(content: str, origin: str, reason: str) -> Any:
    """The library's Tokenizer of a tokenizer.json, without its stored truncation and padding.

    Raises TokenizerError for a file that the library cannot read, and what :func:`load_library` does.
    """
    library = load_library(origin, reason)
    try:
        library = library.Tokenizer.from_str(content)
    except Exception as error:  # the library raises nothing more precise
        raise TokenizerError(f"{origin} cannot be read by the tokenizers library: {str(error)[:200]}.") from error
    library.no_truncation()
    library.no_padding()
    return library


class LibraryVocabulary(Vocabulary):
    """The tokens and ids of a library's tokenizer.  Adding tokens makes another tokenizer: rows keep the old one."""

    def __init__(self, library: Any, origin: str) -> None:
        self.library, self.origin = library, origin
        self.base = library.get_vocab(with_added_tokens=False)
        self.added = {i: AddedToken.of(token) for i, token in library.get_added_tokens_decoder().items()}
        self._added_ids = {token.content: token_id for token_id, token in self.added.items()}
        self.special = {token.content for token in self.added.values() if token.special}
        if not len(self):
            raise TokenizerError(f"{origin} holds no tokens.")

    def id_to_token(self, token_id: int) -> str | None:
        """The token of ``token_id``, or None."""
        try:
            token: str | None = self.library.id_to_token(token_id)
        except OverflowError:  # the library's ids have 32 bits
            return None
        return token

    def add(self, tokens: Iterable[AddedToken]) -> int:
        """Keep ``tokens`` whole; returns how many were not kept whole in the same way before."""
        import tokenizers

        tokens = list(tokens)
        new = [token for token in tokens if token.content and token not in self.added.values()]
        changed = super().add(tokens)
        if new:
            self.library = deepcopy(self.library)
            self.library.add_tokens([tokenizers.AddedToken(**token.to_json()) for token in new])
            for token in new:
                if self.library.token_to_id(token.content) != self.token_to_id(token.content):
                    raise TokenizerError(f"{self.origin}: {token.content!r} cannot be added beside its other tokens.")
        return changed


class LibraryEncoder(TextEncoder):
    """One state of a :class:`LibraryVocabulary`; the library may be called from many threads."""

    def __init__(self, vocabulary: LibraryVocabulary) -> None:
        self._library = vocabulary.library
        self._origin = vocabulary.origin
        self._added = list(vocabulary.added.values())

    def after_adding(self, vocabulary: Vocabulary) -> "LibraryEncoder":
        """An encoder that finds the present added tokens of ``vocabulary``; rows made before keep this one."""
        assert isinstance(vocabulary, LibraryVocabulary)
        return LibraryEncoder(vocabulary)

    @cached_property
    def _splitting(self) -> Any:
        """The same tokenizer, which cuts special tokens in a text like other text."""
        library = deepcopy(self._library)
        library.encode_special_tokens = True
        return library

    def _encoding(self, text: TextOrWords, split_special_tokens: bool) -> Any:
        for part in [text] if isinstance(text, str) else text:
            refuse_surrogates(part)
        library = self._splitting if split_special_tokens else self._library
        words = not isinstance(text, str)
        try:
            return library.encode(list(text) if words else text, is_pretokenized=words, add_special_tokens=False)
        except Exception as error:  # such as a word outside a vocabulary of words that has no unknown token
            raise TokenizerError(f"{self._origin}: the library cannot encode {text!r:.60}: {error}.") from error

    def ids(self, text: TextOrWords, split_special_tokens: bool = False) -> list[int]:
        """The ids of a text, or of a list of words in order, without special tokens around them."""
        ids: list[int] = self._encoding(text, split_special_tokens).ids
        return ids

    @cached_property
    def _can_cut(self) -> bool:
        return cuts_at_spaces(self._library, self._added)

    def first_ids(self, text: TextOrWords, split_special_tokens: bool, count: int) -> list[int]:
        """``ids`` of a text, of which those after the first ``count`` may be missing: of a beginning long enough."""
        found = self.beginning(text, split_special_tokens, count) if isinstance(text, str) else None
        return self.ids(text, split_special_tokens) if found is None else found

    def beginning(self, text: str, split_special_tokens: bool, count: int) -> list[int] | None:
        """The first ids, ``count`` or more, of a text that goes on after ``text``, whatever follows; None for fewer."""
        if not self._can_cut:
            return None
        refuse_surrogates(text)
        size = CHARACTERS_PER_TOKEN * count
        while place := PLACE.search(text, size):
            ids = self.ids(text[: place.start()], split_special_tokens)
            if len(ids) >= count:
                return ids
            size = 2 * place.start()
        return None

    def ids_of_examples(
        self, examples: Iterable[Example], split: bool, count: int | None = None
    ) -> Iterator[tuple[list[int], list[int] | None]]:
        """Of each example the ids of its first text, and of its second, if there is one.

        With ``count``, those of a long single text are its ``first_ids``.
        """
        remaining = iter(examples)
        most = sys.maxsize if count is None else SHORT * count
        while block := list(islice(remaining, EXAMPLES_PER_BLOCK)):
            long = {i: a for i, (a, b) in enumerate(block) if b is None and len(a) > most}
            texts = [text for i, pair in enumerate(block) if i not in long for text in pair if text is not None]
            ids = iter(self._all_ids(texts, split))
            for i, (_, second) in enumerate(block):
                if i in long:
                    yield self.first_ids(long[i], split, count or 0), None
                else:
                    yield next(ids), None if second is None else next(ids)

    def _all_ids(self, texts: Sequence[TextOrWords], split: bool) -> list[list[int]]:
        if len(texts) > 1 and all(isinstance(text, str) for text in texts):
            try:
                library = self._splitting if split else self._library
                return [row.ids for row in library.encode_batch_fast(texts, add_special_tokens=False)]
            except Exception:
                pass
        return [self.ids(text, split) for text in texts]

    def with_offsets(self, text: TextOrWords, split_special_tokens: bool = False) -> TokenizedText:
        """The tokens of a text, or of words, with their offsets and the index of the word that each belongs to."""
        encoding = self._encoding(text, split_special_tokens)
        return TokenizedText(encoding.ids, encoding.tokens, encoding.offsets, encoding.word_ids)
