"""What makes two files, or two texts, the same: so that none is both trained on and scored on."""

import unicodedata
from pathlib import Path

from minibert.checksum import file_digest


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file (links and spellings of the path do not matter), or two with the same bytes."""
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and file_digest(one) == file_digest(other)


def letters_of(sentence: str) -> str:
    """A sentence without white space and as NFC: what copies have in common, however their lines are broken."""
    return unicodedata.normalize("NFC", "".join(sentence.split()))
