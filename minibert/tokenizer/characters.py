"""Character classes, decomposition and lower case, the same on every version of Python.

BERT's cleaning rules (``_is_control``, ``_is_whitespace``, ``_is_punctuation``, ``_is_chinese_char`` in
google-research/bert tokenization.py) use the Unicode tables of the Python that runs them.  A vocabulary does not change
with the Python version, so minibert has its own tables, which equal those of the ``tokenizers`` library.  From Python
it takes only what all supported versions agree on: decompositions and lower case of characters that are older than
these tables.  Start with ``decompose``, where Hangul becomes jamo.
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
    """True for characters that cleaning drops: NUL, U+FFFD, controls, format characters, private use.

    Tab, newline and carriage return are controls in Unicode and whitespace in BERT.  Unassigned code points are kept:
    BERT does not test for them, and each becomes [UNK] later.
    """
    return REMOVED.match(character) is not None


def is_whitespace(character: str) -> bool:
    """True for characters that cleaning turns into a plain space."""
    return WHITESPACE.match(character) is not None


def is_chinese(character: str) -> bool:
    """True for CJK ideographs, each a word of its own in BERT; False for kana and Hangul."""
    return CHINESE.match(character) is not None


def is_nonspacing_mark(character: str) -> bool:
    """True for category Mn; accent stripping drops no other marks."""
    return NONSPACING_MARK.match(character) is not None


def is_punctuation(character: str) -> bool:
    """True for category P and for all ASCII characters that are not letters, digits, controls or space ("$", "~" …)."""
    return PUNCTUATION.match(character) is not None


def is_white_space(character: str) -> bool:
    """True for the Unicode property White_Space (Rust's ``\\s``); Python's ``\\s`` also has U+001C..U+001F."""
    return WHITE_SPACE.match(character) is not None


def is_word_character(character: str) -> bool:
    """True for what Rust's ``\\w`` matches: letters, marks, digits, connectors, joiners.  False for ``""``.

    Python's ``\\w`` excludes marks, and would end a word before the vowel sign of "किताबें".
    """
    return bool(character) and bisect_right(_word_bounds(), ord(character)) % 2 == 1


@cache
def _word_bounds() -> list[int]:
    """The start of each range of WORD and the code point after its end, in order; compiling a pattern takes 45 ms."""
    bounds = []
    for entry in tables.WORD.split():
        first, _, last = entry.partition("-")
        bounds += [int(first, 16), int(last or first, 16) + 1]
    return bounds


def decompose(character: str) -> str:
    """Canonical decomposition (NFD) of one character: "é" → "e" + U+0301, "배" → "ᄇ" + "ᅢ".

    Hangul syllables become two or three jamo.  Jamo are letters, not marks, so accent stripping keeps them; this is why
    the uncased multilingual vocabulary holds strings of jamo.
    """
    return character if INERT.match(character) else unicodedata.normalize("NFD", character)


def combining_class(character: str) -> int:
    """Canonical combining class: 0 for a starter; NFD sorts the marks after a starter by their class."""
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


# Python lower-cases "Σ" at the end of a word to "ς".  The library looks at single characters: always "σ".
_LOWERCASE_EXCEPTIONS = _newer_lowercase() | {ord("Σ"): ord("σ")}
_HAS_LOWERCASE_EXCEPTION = re.compile(f"[{''.join(map(chr, _LOWERCASE_EXCEPTIONS))}]")


def lowercase(text: str) -> str:
    """Lower-case ``text`` one character at a time, without context; "İ" becomes two characters, "i" + U+0307."""
    if not text.isascii() and _HAS_LOWERCASE_EXCEPTION.search(text):
        text = text.translate(_LOWERCASE_EXCEPTIONS)
    return text.lower()


def may_reorder(text: str) -> bool:
    """True if NFD may move a character that accent stripping keeps: one with a class, outside category Mn."""
    return KEPT_MARK.search("".join(map(decompose, text))) is not None
