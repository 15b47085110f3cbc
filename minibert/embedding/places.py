"""Find a word in a text: "bank" in "banks", "배" in "배를".

A Korean noun is written together with its particles: 배를, 배가.  So a word is searched for among the characters of a
text, not among its words, and its pieces are those over these characters.  Start with :func:`find_places`.
"""

import re
import unicodedata
from collections.abc import Sequence

from minibert.errors import InputError
from minibert.tokenizer.basic import Span


def find_places(text: str, word: str, words: Sequence[Span], ignore_case: bool) -> list[Span]:
    """The spans of ``text`` where ``word`` occurs; ``words`` are the spans of the text's words.

    First as a whole word or the beginning of a Korean one; if there is none, as the beginning of any word; if there is
    none, anywhere.  (So "bank" is found in "banks" if the text has no "bank".)  Each of the three first with the case
    as given, unless ``ignore_case``, then in any case.  Several words, such as "New York", are searched for with their
    spaces as written.  Raises InputError when ``word`` is empty.
    """
    if not isinstance(word, str) or not word.strip():
        raise InputError("The word to look for is empty; give at least one letter.")
    starts, ends = {start for start, _ in words}, {end for _, end in words}
    as_written = [] if ignore_case else spans_of(text, word.strip(), 0)
    any_case = spans_of(text, word.strip(), re.IGNORECASE)
    for whole, beginning in ((True, True), (False, True), (False, False)):
        for spans in (as_written, any_case):
            places = [
                (start, end)
                for start, end in spans
                if (start in starts or not beginning) and (end in ends or is_hangul(text[end : end + 1]) or not whole)
            ]
            if places:
                return places
    return []


def spans_of(text: str, word: str, flags: int) -> list[Span]:
    """Where the characters of ``word`` are, as given, under NFC or under NFD (where Korean is single jamo)."""
    forms = dict.fromkeys((word, unicodedata.normalize("NFD", word), unicodedata.normalize("NFC", word)))
    matches = re.finditer("|".join(map(re.escape, forms)), text, flags)
    return [match.span() for match in matches if not is_mark(text[match.end() : match.end() + 1])]


def is_mark(letter: str) -> bool:
    """Whether ``letter`` continues the one before it: an accent, or a jamo that is not the first of a syllable."""
    return bool(letter) and (unicodedata.combining(letter) != 0 or "\u1160" <= letter <= "\u11ff")


def is_hangul(letter: str) -> bool:
    """Whether ``letter`` is a Korean syllable, or a jamo that begins one."""
    return "가" <= letter <= "힣" or "\u1100" <= letter <= "\u115f"
