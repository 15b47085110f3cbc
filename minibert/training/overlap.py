"""When two files, or two texts, are the same, so that none is used for both training and scores."""

import unicodedata
from pathlib import Path

from minibert.checksum import file_digest


def is_same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one file, by links or other spellings of the path, or two files with the same bytes."""
    if one.samefile(other):
        return True
    return one.stat().st_size == other.stat().st_size and file_digest(one) == file_digest(other)


def letters_of(sentence: str) -> str:
    """A sentence without white space, in NFC: copies agree in it, however their lines are broken."""
    return unicodedata.normalize("NFC", "".join(sentence.split()))
