"""Files, or rows in memory, to documents of sentences, from which sentence pairs are made.

There are two kinds of text: one sentence per line with a blank line between documents, as Google's
create_pretraining_data.py reads it; or prose, whose paragraphs end at blank lines and are split into sentences here
(sentences.py).  It is in plain files, or in the text column of a table (.csv, .tsv, .jsonl, .parquet), where each cell
is a document; a row in memory is read like such a cell.  One document at a time is in memory, and it is cut where it is
longer than any novel.  Start with :func:`read_documents`.
"""

import hashlib
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from minibert.data.columns import TextColumn
from minibert.data.compressed import READING_ERRORS
from minibert.data.formats import ROWS, check_format
from minibert.data.memory import Data, MemoryRows, as_data, is_table
from minibert.data.opening import open_rows
from minibert.data.rows import BadRow, lines
from minibert.errors import InputError, MinibertError, reason_of
from minibert.pretraining.sentences import join_lines
from minibert.pretraining.sentences import split_sentences as sentences_of

logger = logging.getLogger("minibert.pretraining")
LONGEST = 4_000_000  # characters of a document
UNITS = ("paragraph", "line", "file")
Line = tuple[int, str]  # the number, from 1, and the stripped text


@dataclass(frozen=True, slots=True)
class Document:
    """Consecutive sentences; two neighbours are a true pair."""

    sentences: list[str]
    source: str  # the file's path
    line: int  # where it begins in the file, from 1


def read_documents(
    paths: Data | Iterable[Data],
    split_sentences: bool = False,
    *,
    document: str | None = None,
    heading: str | None = None,
    encoding: str = "utf-8",
    column: str | None = None,
) -> Iterator[Document]:
    """The documents of one or several files, in order.

    Args:
        paths: one file, or several: plain text, or tables (:mod:`minibert.data.formats`); or rows in memory
            (:mod:`minibert.data.memory`), of which a list of texts stands in a list, since a list of str names files.
        split_sentences: whether lines are prose to split into sentences; else every line is a sentence.
        document: what a document is: ``"paragraph"`` (lines up to a blank one), ``"line"`` or ``"file"``.  Default: a
            cell of a table, or a row in memory; of plain text a file when ``split_sentences``, else a paragraph.
        heading: a regular expression; a document also begins at each line whose beginning it matches, such as
            ``"CHAPTER "``.
        encoding: of plain text; older files may be ``"latin-1"``.
        column: the column of a table with the texts; by default one with a usual name.

    Raises InputError, with file and line, for text that is not in that encoding, and for a file without text;
    CheckpointError for a path that is no file.
    """
    check_reading(document, heading, encoding)
    for data in sources_of(paths):
        if isinstance(data, Path) and check_format(data, "documents") not in ROWS:
            unit, parts = document or ("file" if split_sentences else "paragraph"), iter([text_lines(data, encoding)])
        else:
            parts = cells(data, column, encoding)
            if document == "file":
                parts = iter([chain.from_iterable(parts)])
            unit = document or "file"  # a cell, that is: parts are read one by one
        yield from documents_of_file(data, parts, split_sentences, unit, heading)


def sources_of(paths: Data | Iterable[Data], what: str = "the text") -> tuple[Path | MemoryRows, ...]:
    """One source, or several in a list, as paths and rows in memory; a list of str names files, one of dicts is rows.

    Raises InputError for what is neither.
    """
    several = isinstance(paths, Iterable) and not isinstance(paths, str | bytes | os.PathLike | Mapping)
    if several and (is_table(paths) or (hasattr(paths, "__getitem__") and not isinstance(paths, list | tuple))):
        several = False
    return tuple(as_data(one, what=what) for one in (paths if several else (paths,)))  # type: ignore[union-attr, arg-type]


def check_reading(document: str | None = None, heading: str | None = None, encoding: str = "utf-8") -> None:
    """Raise InputError for arguments that :func:`read_documents` does not take."""
    try:
        "".encode(encoding)
    except LookupError as error:
        raise InputError(
            f"encoding is {encoding!r}, which Python does not know; there are utf-8, latin-1, cp949 …"
        ) from error
    if document not in (None, *UNITS):
        raise InputError(f"document is {document!r}; there are {', '.join(map(repr, UNITS))}.")
    if heading is not None:
        compiled(heading)


def documents_of_file(
    path: Path | MemoryRows, parts: Iterator[Iterator[Line]], split: bool, unit: str, heading: str | None
) -> Iterator[Document]:
    pattern = None if heading is None else compiled(heading)
    has_text = False
    for block in chain.from_iterable(blocks(part, unit, pattern) for part in parts):
        sentences = list(prose_sentences(block)) if split else [text for _, text in block if text]
        if sentences:
            has_text = True
            yield Document(sentences, str(path), next(number for number, text in block if text))
    if not has_text:
        size = path.stat().st_size if isinstance(path, Path) else 0
        what = f"holds no text: its {size:,} bytes are blank lines" if size else "is empty"
        raise InputError(f"{path} {what}; expected text. Leave it out, or give it its content.")


def text_lines(path: Path, encoding: str) -> Iterator[Line]:
    """The lines of a file.  Raises InputError for the first that is not text."""
    try:
        for number, line in lines(path):
            try:
                text = line.decode(encoding)
            except UnicodeDecodeError as error:
                place = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
                raise InputError(
                    f"{path}: line {number} is not {encoding.upper()} ({place}). Convert the file, or name its "
                    "encoding, such as latin-1."
                ) from error
            if "\0" in text:
                raise InputError(
                    f"{path}: line {number} holds a NUL (U+0000), which no text has; the file may be UTF-16. Convert "
                    "it to UTF-8."
                )
            yield number, text.strip()
    except MinibertError:
        raise
    except READING_ERRORS as error:
        raise InputError(f"{path} cannot be read to its end ({reason_of(error)}).") from error


def cells(path: Path | MemoryRows, column: str | None, encoding: str) -> Iterator[Iterator[Line]]:
    """The lines of each cell in the text column of a table, each with the line or row where the cell begins."""
    if encoding.lower().replace("_", "-") not in ("utf-8", "utf8"):
        raise InputError(f"encoding is {encoding!r}, and {path} is read as UTF-8 always. Convert it to UTF-8.")
    file = open_rows(path, (column,))
    for row in TextColumn(file, column):
        if isinstance(row, BadRow):
            raise InputError(f"{file.described(row)}. Mend {'the file' if isinstance(path, Path) else 'it'}.")
        yield ((row.number, line.strip()) for line in row.text.split("\n"))


def blocks(content: Iterator[Line], unit: str, heading: re.Pattern[str] | None) -> Iterator[list[Line]]:
    """The lines of each document, including blank lines between its paragraphs.

    One of more than LONGEST characters is cut at the next blank line, or where it is twice as long.
    """
    block: list[Line] = []
    size = 0
    for number, text in content:
        begins = unit == "line" or (heading is not None and heading.match(text) is not None)
        too_long = size > LONGEST and (not text or size > 2 * LONGEST)
        if block and (begins or too_long or (unit == "paragraph" and not text)):
            yield block
            block, size = [], 0
        block.append((number, text))
        size += len(text)
    if block:
        yield block


def prose_sentences(block: list[Line]) -> Iterator[str]:
    """The sentences of prose whose paragraphs end at blank lines."""
    for has_text, paragraph in groupby(block, key=lambda line: bool(line[1])):
        if has_text:
            for text in join_lines([text for _, text in paragraph]):
                yield from sentences_of(text)


def compiled(expression: str) -> re.Pattern[str]:
    """The compiled regular expression.  Raises InputError when it is not valid."""
    try:
        return re.compile(expression)
    except re.error as error:
        raise InputError(f"heading is {expression!r}, which is no regular expression ({error}).") from error


def is_held_out(document: Document, share: float) -> bool:
    """Whether a document is held out of training and of the vocabulary, as about ``share`` of them are.

    It depends on the document's text alone: copies are treated alike, and other documents have no influence.
    """
    return uniform_hash(document) < share


def uniform_hash(document: Document) -> float:
    """A hash of a document's text, uniform from 0 to 1."""
    return int.from_bytes(hashlib.sha256("\n".join(document.sentences).encode()).digest()[:8], "big") / 2**64
