"""The ids of a text, fast: whole-string operations and a memory of words, for when nobody asks for offsets.

The rules are those of basic.py and wordpiece.py, which you should read instead; property tests hold the two
equal.  Three observations make it quick.  Almost every rule looks at one character alone, so all of
basic.py fits into a table from a character to what becomes of it.  No rule looks across whitespace, so the ids
of a stretch between spaces depend on that stretch alone and can be remembered.  And the words of a language
repeat (Zipf), so a dictionary that fills itself answers most of a text without running any Python.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from itertools import chain

from minibert.tokenizer import characters
from minibert.tokenizer.basic import AlignedText, BasicTokenizer
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD, WordPiece

MAX_REMEMBERED = 1 << 17  # stretches, and as many words; some 50 MB when both are full, then they start afresh
MAX_REMEMBERED_LENGTH = 64  # characters; a longer stretch is rarely a word that comes again
MAX_REMEMBERED_CHARACTERS = 1 << 16

Ids = tuple[int, ...]

# str.split() also splits at these controls, which BERT removes and thereby joins what stands beside them.
_SPLITTING_CONTROLS = re.compile("[\x0b\x0c\x1c-\x1f\x85]")


class _Becomes(dict[int, str | int]):
    """For ``str.translate``: what a character becomes, words set apart by spaces.  Fills itself on demand."""

    def __init__(self, basic: BasicTokenizer) -> None:
        super().__init__()
        self._basic = basic
        self.reorders = False  # True once it met a character that NFD moves and accent stripping keeps

    def __missing__(self, code: int) -> str | int:
        character = chr(code)
        if self._basic.strips_accents and characters.may_reorder(character):
            self.reorders = True
        normalized = self._basic.normalize(AlignedText.of(character)).text
        spaced = "".join(f" {c} " if characters.is_punctuation(c) else c for c in normalized)
        result = code if spaced == character else spaced
        if len(self) >= MAX_REMEMBERED_CHARACTERS:
            self.clear()
        self[code] = result
        return result


class _Memory(dict[str, Ids]):
    """Remembers what ``compute`` gave.  Two threads may work out the same key; both get the same ids."""

    def __init__(self, compute: Callable[[str], Ids]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, text: str) -> Ids:
        ids = self._compute(text)
        if len(text) <= MAX_REMEMBERED_LENGTH:
            if len(self) >= MAX_REMEMBERED:
                self.clear()
            self[text] = ids
        return ids


class _Lengths(dict[str, tuple[int, ...]]):
    """For the next few characters of a word, the lengths of entries that begin so, longest first: no others fit."""

    PREFIX = 2  # characters that decide; more would tell more, but fewer words would share them

    def __init__(self, entries: Mapping[str, int]) -> None:
        super().__init__()
        self._entries = entries
        self._by_prefix: dict[str, list[int]] = defaultdict(list)
        cut, by_prefix = self.PREFIX, self._by_prefix
        for entry, length in zip(entries, map(len, entries), strict=True):
            if length > cut:  # shorter ones are looked up when they are met
                by_prefix[entry[:cut]].append(length)

    def __missing__(self, prefix: str) -> tuple[int, ...]:
        shorter = (n for n in range(1, len(prefix) + 1) if prefix[:n] in self._entries)
        lengths = tuple(sorted({*self._by_prefix.get(prefix, ()), *shorter}, reverse=True))
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        self[prefix] = lengths
        return lengths


class FastEncoder:
    """Text to ids with the rules of one BasicTokenizer and one WordPiece vocabulary."""

    def __init__(self, basic: BasicTokenizer, wordpiece: WordPiece) -> None:
        self._basic = basic
        self._unknown: Ids = (wordpiece.unk_id,)
        self._becomes = _Becomes(basic)
        self._stretches = _Memory(self._stretch_ids)
        self._words = _Memory(self._word_ids)
        cut = len(CONTINUATION)
        self._starts = wordpiece.vocab  # "##ing" too, but no word begins so: "#" is punctuation, a word of its own
        self._continuations = {t[cut:]: i for t, i in wordpiece.vocab.items() if t[:cut] == CONTINUATION}
        self._start_lengths = _Lengths(self._starts)
        self._continuation_lengths = _Lengths(self._continuations)

    def encode(self, text: str) -> list[int]:
        """The ids of ``text`` without added tokens; equal to the readable path's, id for id."""
        if not text.isprintable() and _SPLITTING_CONTROLS.search(text):
            text = _SPLITTING_CONTROLS.sub("", text)
        if self._basic.do_lower_case and text.isascii():
            text = text.lower()  # "The" and "the" then share one memory
        return list(chain.from_iterable(map(self._stretches.__getitem__, text.split())))

    def _stretch_ids(self, stretch: str) -> Ids:
        """The ids of a stretch that holds no whitespace: a word with the punctuation that clings to it."""
        if stretch.isalnum() and stretch.isascii():  # most words: nothing to clean, no punctuation, no accents
            return self._words[stretch.lower() if self._basic.do_lower_case else stretch]
        words = stretch.translate(self._becomes).split()
        if self._becomes.reorders and characters.may_reorder(stretch):
            words = self._basic.tokenize(stretch)
        if len(words) == 1:
            return self._words[words[0]]
        return tuple(chain.from_iterable(map(self._words.__getitem__, words)))

    def _word_ids(self, word: str) -> Ids:
        """wordpiece.py's greedy search with fewer look-ups."""
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
