"""What kind of character is it?  The questions that Google's tokenization.py asks, answered the same everywhere.

BERT's cleaning rules (``_is_control``, ``_is_whitespace``, ``_is_punctuation``, ``_is_chinese_char`` in
google-research/bert tokenization.py) lean on the Unicode tables of whoever runs them.  A vocabulary does not
change with the reader's Python, so minibert asks its own tables, which equal those of the ``tokenizers``
library, and takes from Python only what every Python agrees on: decompositions and lower-casing of
characters that were in Unicode before both.  Look first at ``decompose``, where Hangul becomes jamo.
"""

import re
import unicodedata
from bisect import bisect_right
from functools import cache

from minibert.tokenizer import unicode_tables as tables

MAX_CODE_POINT = 0x10FFFF


def character_class(ranges: str) -> str:
    """The regular-expression class, such as ``[\\u0300-\\u036f]``, of a table's "300-36f 483" notation."""
    parts = []
    for entry in ranges.split():
        first, _, last = entry.partition("-")
        parts.append(f"\\U{int(first, 16):08x}-\\U{int(last or first, 16):08x}")
    return f"[{''.join(parts)}]"


REMOVED = re.compile(character_class(tables.REMOVED))
WHITESPACE = re.compile(character_class(tables.WHITESPACE))
CHINESE = re.compile(character_class(tables.CHINESE))
NONSPACING_MARK = re.compile(character_class(tables.NONSPACING_MARKS))
PUNCTUATION = re.compile(character_class(tables.PUNCTUATION))
INERT = re.compile(character_class(tables.INERT))
WHITE_SPACE = re.compile(character_class(tables.WHITE_SPACE))
KEPT_MARK = re.compile(character_class(tables.KEPT_MARKS))


def is_removed(character: str) -> bool:
    """True for what cleaning drops: NUL, U+FFFD, controls, format characters, private use.

    Tab, newline and carriage return are controls to Unicode and whitespace to BERT.  Unassigned code points
    stay: they are not a category that BERT tests for, and each becomes [UNK] later.
    """
    return REMOVED.match(character) is not None


def is_whitespace(character: str) -> bool:
    """True for what cleaning turns into a plain space."""
    return WHITESPACE.match(character) is not None


def is_chinese(character: str) -> bool:
    """True for CJK ideographs, which BERT sets apart as words of one character; kana and Hangul are not."""
    return CHINESE.match(character) is not None


def is_nonspacing_mark(character: str) -> bool:
    """True for category Mn, the only marks that accent stripping drops."""
    return NONSPACING_MARK.match(character) is not None


def is_punctuation(character: str) -> bool:
    """True for category P and for every ASCII sign that is neither letter, digit nor space ("$", "`", "~" …)."""
    return PUNCTUATION.match(character) is not None


def is_white_space(character: str) -> bool:
    """True for the Unicode property White_Space (Rust's ``\\s``); Python's ``\\s`` also has U+001C..U+001F."""
    return WHITE_SPACE.match(character) is not None


def is_word_character(character: str) -> bool:
    """True for what Rust's ``\\w`` matches: letters, marks, digits, connectors, joiners.  False for ``""``.

    Python's ``\\w`` has no marks: it would see the end of a word before the vowel sign of "किताबें".
    """
    return bool(character) and bisect_right(_word_bounds(), ord(character)) % 2 == 1


@cache
def _word_bounds() -> list[int]:
    """Where each range of WORD begins and the code point after its end, in order; as a pattern it takes 45 ms."""
    bounds = []
    for entry in tables.WORD.split():
        first, _, last = entry.partition("-")
        bounds += [int(first, 16), int(last or first, 16) + 1]
    return bounds


def decompose(character: str) -> str:
    """Canonical decomposition (NFD) of one character: "é" → "e" + U+0301, "배" → "ᄇ" + "ᅢ".

    Hangul syllables become two or three jamo.  Jamo are letters, not marks, so stripping accents keeps them:
    the uncased multilingual vocabulary holds jamo strings for that reason.
    """
    return character if INERT.match(character) else unicodedata.normalize("NFD", character)


def combining_class(character: str) -> int:
    """Canonical combining class: 0 for a starter; marks after a starter are put in the order of their class."""
    return 0 if INERT.match(character) else unicodedata.combining(character)


def _newer_lowercase() -> dict[int, int]:
    mapping = {}
    for entry in tables.NEWER_LOWERCASE.split():
        upper, _, target = entry.partition(">")
        first, _, last = upper.partition("-")
        start = int(first, 16)
        for code in range(start, int(last or first, 16) + 1):
            mapping[code] = int(target, 16) + code - start
    return mapping


# "ς" is chosen by Python for a "Σ" that ends a word.  The library looks at one character at a time: always "σ".
_LOWERCASE_EXCEPTIONS = _newer_lowercase() | {ord("Σ"): ord("σ")}
_HAS_LOWERCASE_EXCEPTION = re.compile(f"[{''.join(map(chr, _LOWERCASE_EXCEPTIONS))}]")


def lowercase(text: str) -> str:
    """Lower-case ``text`` one character at a time, without context; "İ" becomes two characters, "i" + U+0307."""
    if not text.isascii() and _HAS_LOWERCASE_EXCEPTION.search(text):
        text = text.translate(_LOWERCASE_EXCEPTIONS)
    return text.lower()


def may_reorder(text: str) -> bool:
    """True when NFD may move a character that accent stripping keeps: a mark with a class that is not Mn."""
    return KEPT_MARK.search("".join(map(decompose, text))) is not None
