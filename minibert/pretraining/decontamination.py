"""Held-out text is kept out of the training text: the same file, a copy of it, the same document in another file.

A file is told by what it is on the disk (links, other spellings of the path) and by its bytes; a document by its
letters, whatever stands around it: a cell of a table, another encoding, other line ends.  Start with
:func:`without_heldout` and :class:`HeldOut`.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from minibert.data.formats import data_path
from minibert.errors import InputError
from minibert.pretraining.documents import Document
from minibert.source import Source
from minibert.training.overlap import is_same_file, letters_of

LONG = 40  # letters: a sentence that is shorter may well stand in two texts


def without_heldout(files: Sequence[Source], heldout: Sequence[Source]) -> tuple[tuple[Source, ...], list[str]]:
    """The training files that are not held out, and a phrase about each that is.

    Raises InputError when none is left, or when one cannot be read.
    """
    kept, taken = [], []
    kept_apart = [data_path(path) for path in heldout]
    try:
        for file in files:
            path = data_path(file)
            twin = next((other for other in kept_apart if is_same_file(path, other)), None)
            if twin is None:
                kept.append(file)
            else:
                taken.append(str(path) if str(path) == str(twin) else f"{path} (the same as {twin})")
    except OSError as error:
        raise InputError(f"{error.filename} cannot be read ({error.strerror}).") from error
    if files and not kept:
        which = f"All {len(files)} training files are" if len(files) > 1 else "The only training file is"
        raise InputError(
            f"{which} held out ({', '.join(taken)}), so there is nothing to learn from. Name another file to train on, "
            "or to hold out (--heldout FILE)."
        )
    return tuple(kept), taken


class HeldOut:
    """The letters of held-out documents, to find them, or parts of them, among others."""

    def __init__(self, documents: Iterable[Document]) -> None:
        self.texts: list[str] = []
        files: dict[str, list[str]] = defaultdict(list)
        self.places: dict[str, list[int]] = defaultdict(list)  # of each sentence: in which texts it stands
        for number, document in enumerate(documents):
            sentences = [letters_of(sentence) for sentence in document.sentences]
            self.texts.append("".join(sentences))
            files[document.source].append(self.texts[-1])
            for sentence in dict.fromkeys(sentences):
                self.places[sentence].append(number)
        self.whole = {*self.texts, *map("".join, files.values())}

    def holds(self, document: Document) -> bool:
        """Whether a document is a held-out one, all documents of a held-out file, or a longer part of a document."""
        sentences = [letters_of(sentence) for sentence in document.sentences]
        text = "".join(sentences)
        if text in self.whole:
            return True
        return len(text) >= LONG and any(text in self.texts[number] for number in self.places.get(sentences[0], ()))

    def overlap(self, document: Document) -> int:
        """How many long sentences of a document stand in held-out text, too."""
        found = (letters_of(sentence) for sentence in document.sentences if len(sentence) >= LONG)
        return sum(len(letters) >= LONG and letters in self.places for letters in found)
