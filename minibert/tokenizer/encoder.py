"""From one text to its tokens: added tokens first, then the words of basic.py, then the pieces of wordpiece.py.

``TextEncoder.with_offsets`` is the pipeline to read, with offsets and word ids.  ``ids`` gives the same ids through
fast.py.  The caches of both are bounded, and both may be called from many threads.
"""

import copy
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from minibert.errors import TokenizerError
from minibert.tokenizer import unicode_tables
from minibert.tokenizer.added_tokens import AddedToken, Finder
from minibert.tokenizer.basic import AlignedText, BasicTokenizer, Span, split_words
from minibert.tokenizer.characters import character_class
from minibert.tokenizer.cuts import Cuts
from minibert.tokenizer.fast import MAX_CACHED_LENGTH, FastEncoder
from minibert.tokenizer.request import Example, TextOrWords
from minibert.tokenizer.vocabulary import Vocabulary
from minibert.tokenizer.wordpiece import WordPiece

CHARACTERS_PER_TOKEN = 8  # more than most texts have: one part of so many per token usually holds enough of them
SHORT = 2 * CHARACTERS_PER_TOKEN  # shorter texts are read at once
MAX_CACHED_STRETCHES = 1 << 14  # with their offsets these need more memory than the ids in fast.py

_STRETCH = re.compile(f"[^{character_class(unicode_tables.WHITESPACE)[1:]}+")
_SURROGATE = re.compile("[\ud800-\udfff]")

Token = tuple[int, Span]


@dataclass(slots=True)
class TokenizedText:
    """The tokens of a text, one entry per token in each list; ``offsets`` count characters of the text as given."""

    ids: list[int] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    offsets: list[Span] = field(default_factory=list)
    word_ids: list[int] = field(default_factory=list)

    def extend(self, other: "TokenizedText", word_id: int) -> None:
        """Append ``other`` as one word with the index ``word_id``; its offsets remain relative to that word."""
        self.ids += other.ids
        self.tokens += other.tokens
        self.offsets += other.offsets
        self.word_ids += [word_id] * len(other.ids)


class TextEncoder:
    """The pipeline for one vocabulary and one set of rules."""

    def __init__(self, basic: BasicTokenizer, wordpiece: WordPiece, vocabulary: Vocabulary) -> None:
        self._basic = basic
        self._wordpiece = wordpiece
        self._vocabulary = vocabulary
        self._fast = FastEncoder(basic, wordpiece)
        self._stretches: dict[str, list[list[Token]]] = {}
        self.find(vocabulary)

    def after_adding(self, vocabulary: Vocabulary) -> "TextEncoder":
        """An encoder that finds the present added tokens of ``vocabulary``; rows made before keep this one."""
        twin = copy.copy(self)
        twin.find(vocabulary)
        return twin

    def find(self, vocabulary: Vocabulary) -> None:
        """Set which added tokens are searched for, as written or in the normalized text."""
        added = vocabulary.added.values()
        special = frozenset(vocabulary.special)
        self._as_written = Finder((token for token in added if not token.normalized), special)
        normalized = [token for token in added if token.normalized]
        self._normalized = Finder(normalized, special, self._normalize)
        vocabulary.write_added(self._normalize)
        self._has_normalized = bool(normalized)
        self._cuts = Cuts(self._basic, self._as_written, self._normalized)

    def _normalize(self, text: str) -> str:
        return self._basic.normalize(AlignedText.of(text)).text

    def ids(self, text: TextOrWords, split_special_tokens: bool = False) -> list[int]:
        """The ids of a text, or of a list of words in order, without [CLS] and [SEP]."""
        if not isinstance(text, str):
            return [token_id for word in text for token_id in self.ids(word, split_special_tokens)]
        if not text.isascii():
            refuse_surrogates(text)
        if self._has_normalized:
            return self.with_offsets(text, split_special_tokens).ids
        if not self._as_written.may_find(text):
            return self._fast.encode(text)
        ids: list[int] = []
        for token, start, end in self._as_written.split(text, split_special_tokens):
            ids += self._fast.encode(text[start:end]) if token is None else [self._id(token)]
        return ids

    def first_ids(self, text: TextOrWords, split_special_tokens: bool, count: int) -> list[int]:
        """``ids`` of a text, of which those after the first ``count`` may be missing: it is read in parts (cuts.py).

        The text is checked for surrogates to its end, as by ``ids``.
        """
        if not isinstance(text, str):
            return self.ids(text, split_special_tokens)
        if not text.isascii():
            refuse_surrogates(text)
        ids: list[int] = []
        for part in self._cuts.parts(text, CHARACTERS_PER_TOKEN * count):
            ids += self.ids(part, split_special_tokens)
            if len(ids) >= count:
                break
        return ids

    def beginning(self, text: str, split_special_tokens: bool, count: int) -> list[int] | None:
        """The first ids, ``count`` or more, of a text that goes on after ``text``, whatever follows; None for fewer."""
        ids: list[int] = []
        end = 0
        for part in self._cuts.parts(text, CHARACTERS_PER_TOKEN * count):
            end += len(part)
            if end + self._cuts.reach >= len(text):
                break
            ids += self.ids(part, split_special_tokens)
            if len(ids) >= count:
                return ids
        return None

    def ids_of_examples(
        self, examples: Iterable[Example], split: bool, count: int | None = None
    ) -> Iterator[tuple[list[int], list[int] | None]]:
        """Of each example the ids of its first text, and of its second, if there is one.

        With ``count``, those of a long single text are its ``first_ids``.
        """
        ids = self.ids
        if count is None:
            return ((ids(a, split), None if b is None else ids(b, split)) for a, b in examples)
        first_ids, most = self.first_ids, SHORT * count
        return (
            (ids(a, split) if len(a) <= most else first_ids(a, split, count), None)
            if b is None
            else (ids(a, split), ids(b, split))
            for a, b in examples
        )

    def with_offsets(self, text: TextOrWords, split_special_tokens: bool = False) -> TokenizedText:
        """The tokens of a text, or of words, with their offsets and the index of the word that each belongs to."""
        tokenized = TokenizedText()
        if not isinstance(text, str):
            for word_id, word in enumerate(text):
                tokenized.extend(self.with_offsets(word, split_special_tokens), word_id)
            return tokenized
        refuse_surrogates(text)
        word_id = 0
        for added, words in self._parts(text, split_special_tokens):
            for pieces in words:
                for token_id, span in pieces:
                    tokenized.ids.append(token_id)
                    tokenized.tokens.append(added or self._vocabulary.piece(token_id))
                    tokenized.offsets.append(span)
                    tokenized.word_ids.append(word_id)
                word_id += 1
        return tokenized

    def _parts(self, text: str, split_special: bool) -> Iterator[tuple[str | None, list[list[Token]]]]:
        """Per part, the matched text if it is an added token, else None; and its words as lists of tokens."""
        for token, start, end in self._as_written.split(text, split_special):
            if token is not None:
                yield text[start:end], [[(self._id(token), (start, end))]]
            elif not self._has_normalized:
                yield None, self._words(text, start, end)
            else:
                aligned = self._basic.normalize(AlignedText.of(text[start:end], start))
                for normalized, begin, stop in self._normalized.split(aligned.text, split_special):
                    part = aligned[begin:stop]
                    if normalized is not None:
                        yield part.text, [[(self._id(normalized), part.span())]]
                    else:
                        yield None, [self._pieces(word) for word in split_words(part)]

    def _words(self, text: str, start: int, end: int) -> list[list[Token]]:
        words = []
        for match in _STRETCH.finditer(text, start, end):
            at = match.start()
            for word in self._words_of_stretch(match.group()):
                words.append([(token_id, (first + at, last + at)) for token_id, (first, last) in word])
        return words

    def _words_of_stretch(self, stretch: str) -> list[list[Token]]:
        """basic.py and wordpiece.py on text without whitespace; no rule looks across whitespace."""
        words = self._stretches.get(stretch)
        if words is None:
            words = [self._pieces(word) for word in self._basic.words(stretch)]
            if len(stretch) <= MAX_CACHED_LENGTH:
                if len(self._stretches) >= MAX_CACHED_STRETCHES:
                    self._stretches.clear()
                self._stretches[stretch] = words
        return words

    def _pieces(self, word: AlignedText) -> list[Token]:
        return [(piece.id, word.span(piece.start, piece.end)) for piece in self._wordpiece.tokenize(word.text)]

    def _id(self, token: AddedToken) -> int:
        token_id = self._vocabulary.token_to_id(token.content)
        assert token_id is not None  # every added token has an id
        return token_id


def refuse_surrogates(text: str) -> None:
    """TokenizerError if ``text`` holds a lone surrogate: half of a character, which UTF-8 cannot encode."""
    if match := _SURROGATE.search(text):
        raise TokenizerError(
            f"The text holds the lone surrogate U+{ord(match.group()):04X} at position {match.start()} of {len(text)}: "
            "half of a character, left by a broken decoding. Decode the source again, or drop it with "
            "text.encode('utf-8', 'ignore').decode('utf-8')."
        )
