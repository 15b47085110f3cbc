"""Statistics of a text, reported and checked before the work begins: documents, sentences, pairs, held-out text.

One pass over all files finds an unreadable line, a text that was not split into sentences, and a lack of held-out
documents in seconds, not after the vocabulary was trained.  Start with :func:`text_statistics`.
"""

import logging
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minibert.data.memory import Data
from minibert.errors import InputError
from minibert.pretraining.decontamination import MIN_LETTERS, HeldOut
from minibert.pretraining.documents import UNITS, Document, read_documents, sources_of, uniform_hash
from minibert.training.overlap import is_same_file

logger = logging.getLogger("minibert.pretraining")
LONGEST, MEAN = 1000, 300  # characters of a sentence; above both, the text was probably not split


@dataclass
class DocumentCounts:
    """How much text some documents hold."""

    documents: int = 0
    sentences: int = 0
    with_pairs: int = 0  # documents of two sentences or more
    characters: int = 0
    longest: int = 0  # characters of a sentence
    place: str = ""  # of the longest sentence

    def add(self, document: Document) -> None:
        """Count one document."""
        self.documents += 1
        self.sentences += len(document.sentences)
        self.with_pairs += len(document.sentences) > 1
        self.characters += sum(map(len, document.sentences))
        longest = max(map(len, document.sentences))
        if longest > self.longest:
            self.longest, self.place = longest, f"in the document of {document.source}, line {document.line}"

    @property
    def pairs(self) -> int:
        """The number of sentences that are followed by another in their document."""
        return self.sentences - self.documents

    def __str__(self) -> str:
        return (
            f"{self.documents:,} documents, {self.sentences:,} sentences (the longest of {self.longest:,} characters), "
            f"{self.pairs:,} pairs of neighbours that can be asked about"
        )


@dataclass
class TextStatistics:
    """The statistics of the training text and of the held-out text."""

    training: DocumentCounts
    held_out: DocumentCounts
    copies: Counter[str]  # file: its documents that are held out
    overlap: int = 0  # long sentences of training documents that also occur in held-out ones

    def check(self, task: str | None, reading: dict[str, Any]) -> None:
        """Raise InputError for a text that nothing can be learned from; warn of one that teaches little.

        ``task`` and ``reading``: of :class:`minibert.pretraining.run.TrainingText`.
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
                "are too good.", f"{self.overlap:,}", MIN_LETTERS,
            )  # fmt: skip

    def log(self, removed: Sequence[str]) -> None:
        """Log the statistics; ``removed``: files that were taken out of the training text."""
        copies = [
            f"{count:,} {'document' if count == 1 else 'documents'} of {file}" for file, count in self.copies.items()
        ]
        if removed or copies:
            logger.warning(
                "Held out, and so taken out of the training text and the vocabulary: %s.",
                ", ".join([*removed, *copies]),
            )
        logger.info("Training text: %s.", self.training)
        logger.info("Held out: %s.", self.held_out)


@dataclass
class HashRange:
    """The least and the greatest of the hashes that decide which documents are held out."""

    count: int = 0
    least: float = 1.0
    greatest: float = 0.0

    def add(self, document: Document) -> float:
        """Count a document, and return its hash."""
        number = uniform_hash(document)
        self.count, self.least, self.greatest = self.count + 1, min(self.least, number), max(self.greatest, number)
        return number

    def least_share(self) -> float | None:
        """A short number above the least hash and not above the greatest; None if there is none."""
        for digits in range(2, 12):
            enough = float(round(self.least + 0.5 * 10**-digits, digits))
            if self.least < enough <= self.greatest:
                return enough
        return None


def text_statistics(
    files: Sequence[Data], heldout: Sequence[Data], share: float, reading: dict[str, Any]
) -> TextStatistics:
    """Read all files once.  Raises InputError for what cannot be read, and when no document is held out."""
    statistics = TextStatistics(DocumentCounts(), DocumentCounts(), Counter())
    if heldout:
        held_out = HeldOut(counted(read_documents(heldout, **reading), statistics.held_out))
        for document in progress(read_documents(files, **reading)):
            if held_out.contains(document):
                statistics.copies[document.source] += 1
                continue
            statistics.training.add(document)
            statistics.overlap += held_out.overlap(document)
        return statistics
    hashes = HashRange()
    for document in progress(read_documents(files, **reading)):
        (statistics.held_out if hashes.add(document) < share else statistics.training).add(document)
    if not statistics.held_out.documents:
        raise InputError(
            f"No document fell among the {share:.1%} that are kept for scores: there "
            f"{'is' if hashes.count == 1 else 'are'} {hashes.count:,}. {advice(files, share, reading, hashes)}"
        )
    if not statistics.training.documents:
        raise InputError(
            f"All {hashes.count:,} documents fell among the {share:.1%} that are kept for scores, so there is nothing "
            "to learn from. Name a file that is kept instead: --heldout FILE, or ask for a smaller --heldout-share."
        )
    return statistics


def advice(files: Sequence[Data], share: float, reading: dict[str, Any], hashes: HashRange) -> str:
    """What to add to the command so that a document is held out and one is left; each advice was tried here."""
    paths = [data for data in sources_of(files) if isinstance(data, Path)]
    if len(paths) > 1:
        smallest = min(paths, key=lambda path: path.stat().st_size)
        if not all(is_same_file(path, smallest) for path in paths):
            return f"Keep a file instead: --heldout {shlex.quote(str(smallest))}"
    if (enough := hashes.least_share()) is not None:
        return f"Ask for more of them: --heldout-share {enough}, or keep another file: --heldout FILE"
    for unit in UNITS[: 1 if reading.get("heading") else 2]:
        finer = HashRange()
        for document in read_documents(files, **{**reading, "document": unit}):
            finer.add(document)
        if (enough := finer.least_share()) is not None:
            more = "" if finer.least < share else f" --heldout-share {enough}"
            return f"Make smaller documents of it: --document {unit}{more}, or keep another file: --heldout FILE"
    return "Name another file that is kept: --heldout FILE"


def counted(documents: Iterable[Document], counts: DocumentCounts) -> Iterable[Document]:
    """The documents, counted as they are read."""
    for document in documents:
        counts.add(document)
        yield document


def progress(documents: Iterable[Document]) -> Iterable[Document]:
    """The documents, with a progress bar where stderr is a terminal."""
    bar: Iterable[Document] = tqdm(
        documents, desc="looking the text through", unit=" documents", leave=False, disable=None
    )
    return bar
