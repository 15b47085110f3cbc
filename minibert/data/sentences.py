"""Sentences whose words are labelled: two columns (CoNLL), or lists or spans in .jsonl and .parquet.

In CoNLL's format each line holds a word and, in the last column, its label; a blank line ends a sentence; tabs or
spaces separate the columns.  Labels are BIO (Ramshaw and Marcus 1995; here IOB2, as in most data since CoNLL-2003): B-X
begins an entity of kind X, I-X continues it, O is outside.  Some data, such as KLUE's, labels every character, spaces
included.  Start with :func:`read_sentences`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

from minibert.data.cells import Cells, list_in, text_in
from minibert.data.columns import TEXT, Column, choose_columns, logger, usual_name
from minibert.data.formats import check_format
from minibert.data.labels import listed, numbered_label
from minibert.data.memory import Data, MemoryRows, as_data
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import RowFile, Unreadable, checked_text, decoded, lines, names_of
from minibert.data.spans import SPAN_LISTS, has_spans, labels_of_characters, spans_in
from minibert.errors import InputError

WORDS = Column("the words", "--words-column", ("words", "tokens"))
LABELS = Column("their labels", "--labels-column", ("labels", "ner_tags", "tags", "ner"))
SPANS = Column("the spans of their entities", "--spans-column", SPAN_LISTS)
BIO = re.compile(r"O|[BI]-\S(?:.*\S)?")
Numbered = tuple[int, bytes]


class Sentence(NamedTuple):
    """Words with their labels."""

    words: list[str]
    labels: list[str]
    line: int | None  # where it begins
    by_character: bool = False  # whether the "words" are known to be characters


class Conll(RowFile):
    """Lines of columns; a sentence is a row."""

    def columns(self) -> list[str]:
        """The first and the last column of a line."""
        return ["words", "labels"]

    def records(self) -> Iterator[tuple[int, list[Numbered]]]:
        """The numbered lines of each sentence."""
        sentence: list[Numbered] = []
        for number, line in lines(self.path):
            if line.strip():
                if not line.startswith(b"-DOCSTART-"):
                    sentence.append((number, line))
            elif sentence:
                yield sentence[0][0], sentence
                sentence = []
        if sentence:
            yield sentence[0][0], sentence

    def parse(self, record: list[Numbered]) -> dict[str, list[Any]]:
        """The words and labels of these lines, and the numbers of the lines."""
        cells: dict[str, list[Any]] = {"words": [], "labels": [], "lines": []}
        for number, line in record:
            try:
                fields = columns_of(decoded(line))
            except Unreadable as error:
                raise Unreadable(str(error), number) from error
            if fields is not None:
                for name, value in zip(cells, (*fields, number), strict=True):
                    cells[name].append(value)
        return cells


def columns_of(line: str) -> tuple[str, str] | None:
    """The first and the last column of a line, None for a comment; raises Unreadable when there is one column.

    Between tabs a word may be a space, as in KLUE.  A comment begins with #; a hashtag does so too, but has no spaces.
    """
    fields = line.split("\t") if "\t" in line else line.split()
    if line.startswith("#") and (" " in fields[0] or (" " in line and not BIO.fullmatch(fields[-1].strip()))):
        return None
    if len(fields) == 1:
        raise Unreadable(f"has one column, {shortened(line)}; expected a word and its label")
    word, label = fields[0], fields[-1].strip()
    if not word or not label:
        raise Unreadable(f"has no {'label' if word else 'word'} ({shortened(line)})")
    return word, label


def read_sentences(
    source: Data,
    names: Mapping[str, str | None],
    *,
    label_names: Sequence[str] | None = None,
    known: Sequence[str] | None = None,
    skip_bad: bool = False,
) -> list[Sentence]:
    """All sentences of a file that have words.

    Args:
        source: the file, or rows in memory.
        names: of the columns "words" and "labels", or "text" and "spans", as far as the user named them.
        label_names: of labels that are numbers.
        known: the labels that there may be; None: any.
        skip_bad: whether bad rows are left out.

    Raises InputError for bad rows, naming the line, and for a file without words.
    """
    file = open_sentences(source)
    columns = {"words": "words", "labels": "labels"}
    if isinstance(file, Conll):
        if names["spans"] is not None:
            raise InputError(
                f"{file.path} has a word and its label a line, and no spans; these are in .jsonl or .parquet."
            )
    elif wants_spans(file, names):
        return read_spans(file, names, label_names, known, skip_bad)
    else:
        columns = choose_columns(file, {"words": WORDS, "labels": LABELS}, names)
    allowed = None if known is None else frozenset(known)

    def sentence(number: int, line: int | None, cells: Cells) -> Sentence:
        words, labels = words_in(cells, columns["words"]), labels_in(cells, columns["labels"], label_names)
        check_sentence(words, labels, cells["lines"] if isinstance(file, Conll) else None, allowed)
        return Sentence(words, labels, line)

    sentences = [one for one in read_all(file, sentence, skip_bad) if one.words]
    if not sentences:
        raise InputError(f"{file.path} has no words; there is nothing to learn from.")
    return in_iob2(file.path, sentences)


def wants_spans(file: RowFile, names: Mapping[str, str | None]) -> bool:
    """Whether a file of rows is read as texts with spans: as the user says, else by the names of its columns."""
    if any(names[role] is not None for role in ("spans", "words", "labels")):
        return names["spans"] is not None
    there = names_of(file)
    has_words = usual_name(there, WORDS.usual) is not None and usual_name(there, LABELS.usual) is not None
    return has_spans(there) and not has_words


def read_spans(
    file: RowFile,
    names: Mapping[str, str | None],
    label_names: Sequence[str] | None,
    known: Sequence[str] | None,
    skip_bad: bool,
) -> list[Sentence]:
    """All texts of a file with their entities as labels of characters; raises InputError for bad rows."""
    columns = choose_columns(file, {"text": TEXT, "spans": SPANS}, names)
    kinds = None if known is None else {label[2:] for label in known if label != "O"}
    with_spaces = 0

    def sentence(number: int, line: int | None, cells: Cells) -> Sentence:
        nonlocal with_spaces
        text = text_in(cells, columns["text"])
        spans, spaced = spans_in(cells, columns["spans"], text, label_names, kinds)
        with_spaces += spaced
        return Sentence(list(text), labels_of_characters(text, spans), line, by_character=True)

    sentences = [one for one in read_all(file, sentence, skip_bad) if one.words]
    if not sentences:
        raise InputError(f"{file.path} has no text; there is nothing to learn from.")
    if with_spaces:
        logger.warning("%s: %d entities begin or end with white space, which is left out.", file.path, with_spaces)
    return sentences


def open_sentences(source: Data) -> RowFile:
    """The file: rows where its ending says so, else CoNLL's columns; or rows in memory.

    Raises InputError when there is none.
    """
    data = as_data(source)
    if isinstance(data, MemoryRows) or check_format(data, "words"):
        return open_rows(data, use="words", fields=word_fields)
    return Conll(data)


def word_fields(row: tuple[Any, ...]) -> tuple[str, ...] | None:
    """What a tuple holds: words and their labels, or a text and the spans of its entities."""
    if len(row) != 2:
        return None
    return ("text", "entities") if isinstance(row[0], str) else ("words", "labels")


def words_in(cells: Cells, name: str) -> list[str]:
    """The words of a row; raises Unreadable for what is no text."""
    words = list_in(cells, name)
    for word in words:
        if not isinstance(word, str):
            raise Unreadable(f"has {shortened(word)} among its {name!r}, expected text")
        checked_text(word)
    return words


def labels_in(cells: Cells, name: str, names: Sequence[str] | None) -> list[str]:
    """The labels of a row, numbers by their names; raises Unreadable."""
    labels = []
    for label in list_in(cells, name):
        if type(label) is int:
            labels.append(numbered_label(label, name, names, "O,B-PER"))
        elif isinstance(label, str):
            labels.append(checked_text(label).strip())
        else:
            raise Unreadable(f"has {shortened(label)} among its {name!r}, expected a label")
    return labels


def check_sentence(
    words: Sequence[str], labels: Sequence[str], line_numbers: Sequence[int] | None, known: Collection[str] | None
) -> None:
    """Raise Unreadable for a label that is not BIO or not known, or when there are not as many as words.

    ``line_numbers``: of the words, where each has its own.
    """
    if len(words) != len(labels):
        raise Unreadable(f"has {len(words)} words and {len(labels)} labels; expected one for each")
    for number, label in enumerate(labels):
        if BIO.fullmatch(label) and (known is None or label in known):
            continue
        expected = "the training data has " + listed(sorted(known or ()))
        if not BIO.fullmatch(label):
            expected = "expected O, B-… where an entity begins, I-… inside it"
        why = f"has the label {shortened(label)} at the word {shortened(words[number])}; {expected}"
        raise Unreadable(why, line_numbers[number] if line_numbers else None)


def in_iob2(path: Path, sentences: list[Sentence]) -> list[Sentence]:
    """The sentences with B-X where an entity begins, also where most begin with I-X (IOB1, as in CoNLL-2003).

    A few labels I-X that follow neither B-X nor I-X are mistakes: they stay, and a warning counts them.
    """
    strays = [(one.labels[place], one.line) for one in sentences for place in strays_in(one.labels)]
    begins = sum(label.startswith("B-") for one in sentences for label in one.labels)
    if not strays:
        return sentences
    (label, line), count = strays[0], len(strays)
    if count > begins:
        logger.warning("%s: most entities begin with I-…, not B-…, so it is taken for IOB1 and read as IOB2.", path)
        return [one._replace(labels=with_beginnings(one.labels)) for one in sentences]
    where = f", in the sentence of line {line}" if line else ""
    logger.warning(
        "%s: %d labels I-… do not go on with an entity of their kind (first %s%s). They are learned as they are; "
        "strict scores do not count an entity that begins so.", path, count, label, where,
    )  # fmt: skip
    return sentences


def strays_in(labels: Sequence[str]) -> list[int]:
    """The places of labels I-X that follow neither B-X nor I-X."""
    pairs = enumerate(pairwise(["O", *labels]))
    return [place for place, (before, label) in pairs if label.startswith("I-") and before[2:] != label[2:]]


def with_beginnings(labels: Sequence[str]) -> list[str]:
    """Labels where every entity begins with B-X."""
    strays = set(strays_in(labels))
    return [f"B-{label[2:]}" if place in strays else label for place, label in enumerate(labels)]


def is_by_character(sentences: Iterable[Sentence]) -> bool:
    """Whether the "words" are the characters of a text: then spaces are among them."""
    return any(one.by_character or not all(word.strip() for word in one.words) for one in sentences)


def entities_of(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """The entities that BIO labels mean, each (kind, first, one after the last).  A stray I-X begins none."""
    entities: list[tuple[str, int, int]] = []
    open_kind: str | None = None
    for number, label in enumerate(labels):
        if label.startswith("B-"):
            open_kind = label[2:]
            entities.append((open_kind, number, number + 1))
        elif label.startswith("I-") and label[2:] == open_kind:
            entities[-1] = (open_kind, entities[-1][1], number + 1)
        else:
            open_kind = None
    return entities
