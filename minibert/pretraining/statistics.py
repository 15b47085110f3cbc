"""What a text holds, said and checked before the work begins: documents, sentences, pairs, and what is held out.

One reading of everything.  It finds an unreadable line, a text that was not split into sentences, and a lack of
held-out documents in seconds, not after the vocabulary.  Start with :func:`survey`.
"""

import logging
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minibert.data.formats import data_path
from minibert.errors import InputError
from minibert.pretraining.decontamination import LONG, HeldOut
from minibert.pretraining.documents import UNITS, Document, place_of, read_documents
from minibert.source import Source
from minibert.training.overlap import is_same_file

logger = logging.getLogger("minibert.pretraining")
LONGEST, MEAN = 1000, 300  # characters: where sentences are longer, they were probably not split


@dataclass
class Count:
    """What documents hold."""

    documents: int = 0
    sentences: int = 0
    with_pairs: int = 0  # documents of two sentences or more
    characters: int = 0
    longest: int = 0  # characters of a sentence
    place: str = ""  # where that stands

    def add(self, document: Document) -> None:
        """One document more."""
        self.documents += 1
        self.sentences += len(document.sentences)
        self.with_pairs += len(document.sentences) > 1
        self.characters += sum(map(len, document.sentences))
        longest = max(map(len, document.sentences))
        if longest > self.longest:
            self.longest, self.place = longest, f"in the document of {document.source}, line {document.line}"

    @property
    def pairs(self) -> int:
        """Sentences with one after them in their document: the places where next sentences can be asked about."""
        return self.sentences - self.documents

    def __str__(self) -> str:
        return (
            f"{self.documents:,} documents, {self.sentences:,} sentences (the longest of {self.longest:,} characters), "
            f"{self.pairs:,} pairs of neighbours that can be asked about"
        )


@dataclass
class Survey:
    """What one reading tells."""

    training: Count
    held_out: Count
    twins: Counter[str]  # documents of training files that are held out, by file
    overlap: int = 0  # long sentences of training documents that stand in held-out ones, too

    def check(self, task: str | None, reading: dict[str, Any]) -> None:
        """Raise InputError for a text that nothing can be learned from; warn of one that teaches little.

        ``task`` and ``reading``: of :class:`minibert.pretraining.run.Text`.
        """
        if not self.training.documents:
            raise InputError(
                "All documents of the training files are held out, so there is nothing to learn from. Name another "
                "file to train on, or to hold out (--heldout FILE)."
            )
        few = (
            "next sentences cannot be asked about: B of a pair is taken from another document, and "
            f"{self.training.with_pairs} of {self.training.documents:,} documents have two sentences or more. "
        )
        advice = "Say what a document is (--document paragraph, --heading REGEX)" + (
            "." if reading.get("split_sentences") else ", or have prose split into sentences (--prose)."
        )
        if self.training.with_pairs < 2:
            if task == "nsp":
                raise InputError(few[0].upper() + few[1:] + advice)
            if task is None:
                logger.warning("%s%s", few[0].upper() + few[1:], advice)
        if self.held_out.with_pairs < 2 and task != "mlm":
            logger.warning(
                "Next sentences are not scored: B of a pair is of another document, and of the held-out ones %d "
                "has two sentences or more. Hold out several files, or smaller documents (--document paragraph).",
                self.held_out.with_pairs,
            )
        if self.training.longest > LONGEST and self.training.characters > MEAN * self.training.sentences:
            advice = "Put one sentence on a line" if reading.get("split_sentences") else "--prose splits lines"
            logger.warning(
                "The longest sentence has %s characters (%s): no mark ended it, and it will be cut at spaces. %s.",
                f"{self.training.longest:,}", self.training.place, advice,
            )  # fmt: skip
        if self.overlap:
            logger.warning(
                "%s sentences of %d letters or more stand in the training text and in held-out text; scores on them "
                "are too good.", f"{self.overlap:,}", LONG,
            )  # fmt: skip

    def say(self, files: Sequence[str]) -> None:
        """Say what was found; ``files``: those taken out of the training text."""
        twins = [
            f"{count:,} {'document' if count == 1 else 'documents'} of {file}" for file, count in self.twins.items()
        ]
        if files or twins:
            logger.warning(
                "Held out, and so taken out of the training text and the vocabulary: %s.", ", ".join([*files, *twins])
            )
        logger.info("Training text: %s.", self.training)
        logger.info("Held out: %s.", self.held_out)


def survey(files: Sequence[Source], heldout: Sequence[Source], share: float, reading: dict[str, Any]) -> Survey:
    """Read everything once.  Raises InputError for what cannot be read, and when no document is held out."""
    found = Survey(Count(), Count(), Counter())
    if heldout:
        held_out = HeldOut(counted(read_documents(heldout, **reading), found.held_out))
        for document in progress(read_documents(files, **reading)):
            if held_out.holds(document):
                found.twins[document.source] += 1
                continue
            found.training.add(document)
            found.overlap += held_out.overlap(document)
        return found
    places = []
    for document in progress(read_documents(files, **reading)):
        places.append(place_of(document))
        (found.held_out if places[-1] < share else found.training).add(document)
    if not found.held_out.documents:
        raise InputError(
            f"No document fell among the {share:.1%} that are kept for scores: there "
            f"{'is' if len(places) == 1 else 'are'} {len(places):,}. {advice(files, share, reading, places)}"
        )
    if not found.training.documents:
        raise InputError(
            f"All {len(places):,} documents fell among the {share:.1%} that are kept for scores, so there is nothing "
            "to learn from. Name a file that is kept instead: --heldout FILE, or ask for a smaller --heldout-share."
        )
    return found


def advice(files: Sequence[Source], share: float, reading: dict[str, Any], places: list[float]) -> str:
    """What to add to the command so that a document is held out and one is left; each has been tried here."""
    if len(files) > 1:
        smallest = min(map(data_path, files), key=size_of)
        if not all(is_same_file(data_path(file), smallest) for file in files):
            return f"Keep a file instead: --heldout {shlex.quote(str(smallest))}"
    if (enough := least_share(places)) is not None:
        return f"Ask for more of them: --heldout-share {enough}, or keep another file: --heldout FILE"
    for unit in UNITS[: 1 if reading.get("heading") else 2]:
        finer = [place_of(document) for document in read_documents(files, **{**reading, "document": unit})]
        if (enough := least_share(finer)) is not None:
            more = "" if min(finer) < share else f" --heldout-share {enough}"
            return f"Make smaller documents of it: --document {unit}{more}, or keep another file: --heldout FILE"
    return "Name another file that is kept: --heldout FILE"


def least_share(places: Sequence[float]) -> float | None:
    """A short number that is above the first of these places and not above the last; None where there is none."""
    first, last = min(places, default=1.0), max(places, default=0.0)
    for digits in range(2, 12):
        enough = float(round(first + 0.5 * 10**-digits, digits))
        if first < enough <= last:
            return enough
    return None


def size_of(path: Path) -> int:
    """The bytes of a file."""
    return path.stat().st_size


def counted(documents: Iterable[Document], count: Count) -> Iterable[Document]:
    """The documents, counted on their way."""
    for document in documents:
        count.add(document)
        yield document


def progress(documents: Iterable[Document]) -> Iterable[Document]:
    """The documents with a bar, where stderr is a terminal."""
    bar: Iterable[Document] = tqdm(
        documents, desc="looking the text through", unit=" documents", leave=False, disable=None
    )
    return bar
