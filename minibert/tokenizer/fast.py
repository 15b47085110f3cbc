"""The ids of a text without offsets, fast: whole-string operations, and caches of stretches and words.

The rules are those of basic.py and wordpiece.py, which are the files to read; property tests hold the two equal.
Three facts make this fast.  Almost every rule looks at single characters, so basic.py becomes a table from a character
to its replacement.  No rule looks across whitespace, so the ids of a stretch between spaces depend on nothing else and
can be cached.  And the words of a language repeat (Zipf's law), so a dictionary that fills itself answers most of a
text without running any Python.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import chain

from minibert.tokenizer import characters
from minibert.tokenizer.basic import AlignedText, BasicTokenizer
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD, WordPiece

MAX_CACHED = 1 << 17  # stretches, and as many words; about 50 MB when both are full; then they are emptied
MAX_CACHED_LENGTH = 64  # characters; longer stretches rarely repeat
MAX_CACHED_CHARACTERS = 1 << 16

Ids = tuple[int, ...]

# str.split() also splits at these controls.  BERT removes them, and so joins the characters beside them.
_SPLITTING_CONTROLS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")


class _Replacements(dict[int, str | int]):
    """For ``str.translate``: the replacement of each character, with spaces between words.  Fills itself on demand."""

    def __init__(self, basic: BasicTokenizer) -> None:
        super().__init__()
        self._basic = basic
        self.reorders = False  # True after a character that NFD may move and accent stripping keeps

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        if self._basic.strips_accents and characters.may_reorder(character):
            self.reorders = True
        normalized = self._basic.normalize(AlignedText.of(character)).text
        spaced = "".join(f" {c} " if characters.is_punctuation(c) else c for c in normalized)
        result = code if spaced == character else spaced
        if len(self) >= MAX_CACHED_CHARACTERS:
            self.clear()
        self[code] = result
        return result


class _Cache(dict[str, Ids]):
    """Caches the results of ``compute``.  Two threads may compute the same key; both get the same ids."""

    def __init__(self, compute: Callable[[str], Ids]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, text: str) -> Ids:
        ids = self._compute(text)
        if len(text) <= MAX_CACHED_LENGTH:
            if len(self) >= MAX_CACHED:
                self.clear()
            self[text] = ids
        return ids


class _Lengths(dict[str, tuple[int, ...]]):
    """For the next characters of a word, the lengths of entries with that prefix, longest first; no others match."""

    PREFIX = 2  # characters; a longer prefix leaves fewer lengths to try, but fewer words share it

    def __init__(self, entries: Mapping[str, int]) -> None:
        super().__init__()
        self._entries = entries
        self._by_prefix: dict[str, list[int]] = defaultdict(list)
        size, by_prefix = self.PREFIX, self._by_prefix
        for entry, length in zip(entries, map(len, entries), strict=True):
            if length > size:  # shorter ones are looked up on demand
                by_prefix[entry[:size]].append(length)

    def __missing__(self, prefix: str) -> tuple[int, ...]:
        shorter = (n for n in range(1, len(prefix) + 1) if prefix[:n] in self._entries)
        lengths = tuple(sorted({*self._by_prefix.get(prefix, ()), *shorter}, reverse=True))
        if len(self) >= MAX_CACHED:
            self.clear()
        self[prefix] = lengths
        return lengths


class FastEncoder:
    """Text to ids with the rules of one BasicTokenizer and one WordPiece vocabulary."""

    def __init__(self, basic: BasicTokenizer, wordpiece: WordPiece) -> None:
        self._basic = basic
        self._unknown: Ids = (wordpiece.unk_id,)
        self._replacements = _Replacements(basic)
        self._stretches = _Cache(self._stretch_ids)
        self._words = _Cache(self._word_ids)
        self._starts = wordpiece.vocab  # with "##ing", but no word begins so: "#" is a word of its own
        size = len(CONTINUATION)
        self._continuations = {t[size:]: i for t, i in wordpiece.vocab.items() if t[:size] == CONTINUATION}
        self._start_lengths = _Lengths(self._starts)
        self._continuation_lengths = _Lengths(self._continuations)

    def encode(self, text: str) -> list[int]:
        """The ids of ``text``, which holds no added tokens; the same ids as ``TextEncoder.with_offsets`` gives."""
        if not text.isprintable() and _SPLITTING_CONTROLS.search(text):
            text = _SPLITTING_CONTROLS.sub("", text)
        if self._basic.do_lower_case and text.isascii():
            text = text.lower()  # "The" and "the" then share one cache entry
        return list(chain.from_iterable(map(self._stretches.__getitem__, text.split())))

    def _stretch_ids(self, stretch: str) -> Ids:
        """The ids of a stretch without whitespace: a word with the punctuation beside it."""
        if stretch.isalnum() and stretch.isascii():  # most words: nothing to clean, no punctuation, no accents
            return self._words[stretch.lower() if self._basic.do_lower_case else stretch]
        words = stretch.translate(self._replacements).split()
        if self._replacements.reorders and characters.may_reorder(stretch):
            words = self._basic.tokenize(stretch)
        if len(words) == 1:
            return self._words[words[0]]
        return tuple(chain.from_iterable(map(self._words.__getitem__, words)))

    def _word_ids(self, word: str) -> Ids:
        """The greedy search of wordpiece.py with fewer lookups."""
        size = len(word)
        if size > MAX_CHARACTERS_PER_WORD:
            return self._unknown
        whole = self._starts.get(word)
        if whole is not None:
            return (whole,)
        vocab, lengths, start = self._starts, self._start_lengths, 0
        ids = []
        while start < size:
            for length in lengths[word[start : start + _Lengths.PREFIX]]:
                token_id = vocab.get(word[start : start + length]) if start + length <= size else None
                if token_id is not None:
                    ids.append(token_id)
                    break
            else:
                return self._unknown
            vocab, lengths, start = self._continuations, self._continuation_lengths, start + length
        return tuple(ids)
