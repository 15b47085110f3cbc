"""Where a long text may be cut in two: the ids of the parts, one after the other, are those of the whole.

A row of 512 tokens needs the first pages of a book, not all of it.  ``TextEncoder.first_ids`` therefore reads a long
text in parts until it has enough ids.  A cut lies before white space, before a CJK ideograph or before a punctuation
mark.  There a word ends by every rule of basic.py: these characters stay themselves or become spaces, none is removed
or becomes a letter, and none has a combining class, so that NFD moves no accent across it.  A run of white space is
never cut, so that an added token that takes the spaces beside it takes as many as in the whole.  Added tokens may hold
any characters: no cut touches one, in the text as written or in the normalized text.  Start with :meth:`Cuts.parts`.
"""

import re
from collections.abc import Iterator
from functools import cache

from minibert.tokenizer import unicode_tables as tables
from minibert.tokenizer.added_tokens import Finder
from minibert.tokenizer.basic import AlignedText, BasicTokenizer
from minibert.tokenizer.characters import character_class, combining_class, decompose


@cache
def _places(chinese: bool) -> re.Pattern[str]:
    """A character before which a word ends, not after white space.

    Only those of four hexadecimal digits: a search for the others too takes twenty times as long.
    """
    alone = f"{tables.WHITESPACE} {tables.PUNCTUATION} {tables.CHINESE if chinese else ''}"
    short = " ".join(entry for entry in alone.split() if len(entry.split("-")[-1]) <= 4)
    return re.compile(f"{character_class(short)}(?<!{character_class(tables.WHITE_SPACE)}.)", re.DOTALL)


class Cuts:
    """The cuts for one set of rules and of added tokens, which ``as_written`` and ``normalized`` find."""

    def __init__(self, basic: BasicTokenizer, as_written: Finder, normalized: Finder) -> None:
        self._basic, self._as_written, self._normalized = basic, as_written, normalized
        # Characters on either side that decide about a cut.  Normalizing drops some: more are looked at than it needs.
        self.reach = max(as_written.longest, 2 * normalized.longest + 8 if normalized.longest else 0)

    def parts(self, text: str, size: int) -> Iterator[str]:
        """``text`` in parts of at least ``size`` characters, mostly of little more; the last may be shorter."""
        start = 0
        while start < len(text):
            end = self._next(text, start + size)
            yield text[start:end]
            start = end

    def _next(self, text: str, position: int) -> int:
        """The first cut at ``position`` or after it; the end of the text if there is none."""
        for match in _places(self._basic.tokenize_chinese_chars).finditer(text, position):
            if self._is_free(text, match.start()):
                return match.start()
        return len(text)

    def _is_free(self, text: str, place: int) -> bool:
        """Whether certainly no added token touches the place."""
        normalized = self._normalized.longest
        start, end = max(0, place - self.reach), place + self.reach
        if self._as_written.is_in(text, start, end):
            return False
        if not normalized:
            return True
        if any(combining_class(decompose(edge)[0]) for edge in (text[start], *text[end : end + 1])):
            return False  # an accent may change its order with those outside
        before, after = (
            self._basic.normalize(AlignedText.of(part)).text for part in (text[start:place], text[place:end])
        )
        seen = (start == 0 or len(before) >= normalized) and (end >= len(text) or len(after) >= normalized)
        return seen and before[-1:] not in ("", " ") and not self._normalized.is_in(before + after)
