"""Decontamination: held-out text is kept out of the training text.

It is found as the same file under another path, as a copy of a file, and as the same document within another file.
Files are compared by identity on disk and by bytes; documents by their letters, so that neither white space, encoding,
line ends nor a cell of a table around them matters.  Start with :func:`without_heldout` and :class:`HeldOut`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from minibert.data.memory import Data, MemoryRows, as_data, data_digest
from minibert.errors import InputError, reason_of
from minibert.pretraining.documents import Document
from minibert.training.overlap import is_same_file, letters_of

MIN_LETTERS = 40  # a shorter sentence may well occur in two texts


def without_heldout(files: Sequence[Data], heldout: Sequence[Data]) -> tuple[tuple[Data, ...], list[str]]:
    """The training files that are not held out, and a phrase about each that is.

    Raises InputError when none is left, or when a file cannot be read.
    """
    kept, removed = [], []
    heldout_data = [as_data(data) for data in heldout]
    try:
        for file in files:
            path = as_data(file)
            same = next((other for other in heldout_data if is_same(path, other)), None)
            if same is None:
                kept.append(file)
            else:
                removed.append(str(path) if str(path) == str(same) else f"{path} (the same as {same})")
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({reason_of(error)}).") from error
    if files and not kept:
        which = f"All {len(files)} training files are" if len(files) > 1 else "The only training file is"
        raise InputError(
            f"{which} held out ({', '.join(removed)}), so there is nothing to learn from. Name another file to train "
            "on, or to hold out (--heldout FILE)."
        )
    return tuple(kept), removed


def is_same(one: Path | MemoryRows, other: Path | MemoryRows) -> bool:
    """Whether both are one file, files with the same bytes, or equal rows in memory."""
    if isinstance(one, Path) and isinstance(other, Path):
        return is_same_file(one, other)
    return type(one) is type(other) and data_digest(one) == data_digest(other)


class HeldOut:
    """The letters of held-out documents, to find these documents or parts of them in the training text."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.texts: list[str] = []
        files: dict[str, list[str]] = defaultdict(list)
        self.places: dict[str, list[int]] = defaultdict(list)  # sentence: the texts that contain it
        for number, document in enumerate(documents):
            sentences = [letters_of(sentence) for sentence in document.sentences]
            self.texts.append("".join(sentences))
            files[document.source].append(self.texts[-1])
            for sentence in dict.fromkeys(sentences):
                self.places[sentence].append(number)
        self.whole = {*self.texts, *map("".join, files.values())}

    def contains(self, document: Document) -> bool:
        """Whether a document is a held-out one, a whole held-out file, or a long part of a held-out document."""
        sentences = [letters_of(sentence) for sentence in document.sentences]
        text = "".join(sentences)
        if text in self.whole:
            return True
        places = self.places.get(sentences[0], ())
        return len(text) >= MIN_LETTERS and any(text in self.texts[number] for number in places)

    def overlap(self, document: Document) -> int:
        """The number of long sentences of a document that also occur in held-out text."""
        sentences = (letters_of(sentence) for sentence in document.sentences if len(sentence) >= MIN_LETTERS)
        return sum(len(letters) >= MIN_LETTERS and letters in self.places for letters in sentences)
