"""Sentences whose words are labelled: two columns (CoNLL), or lists or spans in .jsonl and .parquet.

CoNLL: a word a line, its label in the last column, a blank line between sentences; tabs or spaces between columns.
Labels are BIO (Ramshaw and Marcus 1995, as CoNLL-2003 and later: IOB2): B-X begins an entity of kind X, I-X goes on
with it, O is outside.  Some data, such as KLUE's, labels every character, spaces among them.  Start with
:func:`read_sentences`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

from minibert.data.cells import Cells, list_in, text_in, value_in
from minibert.data.columns import TEXTS, Column, choose_columns, logger, usual_name
from minibert.data.formats import check_format, data_path
from minibert.data.labels import listed
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import RowFile, Unreadable, decoded, lines, names_of
from minibert.data.spans import SPANS, has_spans, labels_of_characters, spans_in
from minibert.errors import InputError
from minibert.source import Source

WORDS = ("words", "tokens")
LABELS = ("labels", "ner_tags", "tags", "ner")
BIO = re.compile(r"O|[BI]-\S(?:.*\S)?")
Numbered = tuple[int, bytes]


class Sentence(NamedTuple):
    """Words and their labels, and the line where it begins."""

    words: list[str]
    labels: list[str]
    line: int | None
    by_character: bool = False  # whether the "words" are known to be characters


@dataclass(frozen=True)
class Choices:
    """How a file is to be read."""

    words_column: str | None
    labels_column: str | None
    names: Sequence[str] | None  # of labels that are numbers
    known: Sequence[str] | None  # labels that there may be; None: any
    skip_bad: bool
    text_column: str | None = None  # of texts with spans
    spans_column: str | None = None


class Conll(RowFile):
    """Lines of columns; a sentence is a row."""

    def columns(self) -> list[str]:
        """The first and the last column are all that is read."""
        return ["words", "labels"]

    def records(self) -> Iterator[tuple[int, list[Numbered]]]:
        """The lines of each sentence."""
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
        """The words and labels of these lines, and their numbers."""
        words, labels, numbers = [], [], []
        for number, line in record:
            try:
                found = columns_of(decoded(line))
            except Unreadable as error:
                raise Unreadable(str(error), number) from error
            if found is not None:
                words.append(found[0])
                labels.append(found[1])
                numbers.append(number)
        return {"words": words, "labels": labels, "lines": numbers}


def columns_of(line: str) -> tuple[str, str] | None:
    """The first and the last column of a line, None for a comment; raises Unreadable when it has one column.

    With tabs a word may be a space, as in KLUE.  A comment begins with #, like a hashtag; but a hashtag has no spaces.
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


def read_sentences(source: Source, choices: Choices) -> list[Sentence]:
    """All sentences of a file that have words; raises InputError for bad ones, naming the line."""
    file = open_sentences(source)
    if isinstance(file, Conll):
        if choices.spans_column is not None:
            raise InputError(
                f"{file.path} has a word and its label a line, and no spans; these are in .jsonl or .parquet."
            )
        words, labels = "words", "labels"
    elif wants_spans(file, choices):
        return read_spans(file, choices)
    else:
        columns = {
            "words": Column("the words", "--words-column", choices.words_column, WORDS),
            "labels": Column("their labels", "--labels-column", choices.labels_column, LABELS),
        }
        words, labels = choose_columns(file, columns).values()

    known = None if choices.known is None else frozenset(choices.known)

    def sentence(number: int, line: int | None, cells: Cells) -> Sentence:
        found = Sentence(words_in(cells, words), labels_in(cells, labels, choices.names), line)
        check_sentence(found, cells["lines"] if isinstance(file, Conll) else None, known)
        return found

    found = [row for row in read_all(file, sentence, choices.skip_bad) if row.words]
    if not found:
        raise InputError(f"{file.path} has no words; there is nothing to learn from.")
    return in_iob2(file.path, found)


def wants_spans(file: RowFile, choices: Choices) -> bool:
    """Whether a file of rows is read as texts with spans: as asked, else by the names of its columns."""
    if choices.spans_column is not None or choices.words_column is not None or choices.labels_column is not None:
        return choices.spans_column is not None
    names = names_of(file)
    has_words = usual_name(names, WORDS) is not None and usual_name(names, LABELS) is not None
    return has_spans(names) and not has_words


def read_spans(file: RowFile, choices: Choices) -> list[Sentence]:
    """All texts of a file with their entities as labels of characters; raises InputError for bad ones."""
    columns = {
        "text": Column("the texts", "--column", choices.text_column, TEXTS),
        "spans": Column("the spans of their entities", "--spans-column", choices.spans_column, SPANS),
    }
    text_name, name = choose_columns(file, columns).values()
    known = None if choices.known is None else {label[2:] for label in choices.known if label != "O"}
    with_spaces = 0

    def sentence(number: int, line: int | None, cells: Cells) -> Sentence:
        nonlocal with_spaces
        text = text_in(cells, text_name)
        spans, spaced = spans_in(cells, name, text, choices.names, known)
        with_spaces += spaced
        return Sentence(list(text), labels_of_characters(text, spans), line, by_character=True)

    found = [row for row in read_all(file, sentence, choices.skip_bad) if row.words]
    if not found:
        raise InputError(f"{file.path} has no text; there is nothing to learn from.")
    if with_spaces:
        logger.warning("%s: %d entities begin or end with white space, which is left out.", file.path, with_spaces)
    return found


def open_sentences(source: Source) -> RowFile:
    """The file, as columns unless its ending says lists.  Raises InputError when there is none."""
    path = data_path(source)
    return open_rows(path, use="words") if check_format(path, "words") else Conll(path)


def words_in(cells: Cells, name: str) -> list[str]:
    """The words of a row; raises Unreadable for what is no text."""
    words = list_in(cells, name)
    for word in words:
        if not isinstance(word, str):
            raise Unreadable(f"has {shortened(word)} among its {name!r}, expected text")
        value_in({name: word}, name)  # half a surrogate pair, NUL
    return words


def labels_in(cells: Cells, name: str, names: Sequence[str] | None) -> list[str]:
    """The labels of a row, numbers by their names; raises Unreadable."""
    labels = []
    for label in list_in(cells, name):
        if type(label) is int:
            if names is None:
                raise Unreadable(f"has labels that are numbers in {name!r}; say what they mean: --labels O,B-PER,…")
            if not 0 <= label < len(names):
                raise Unreadable(f"has the label {label} in {name!r}; there are names for 0 to {len(names) - 1}")
            labels.append(names[label])
        elif isinstance(label, str):
            labels.append(value_in({name: label}, name).strip())
        else:
            raise Unreadable(f"has {shortened(label)} among its {name!r}, expected a label")
    return labels


def check_sentence(sentence: Sentence, places: Sequence[int] | None, known: Collection[str] | None) -> None:
    """Raise Unreadable for a label that is not BIO or not known, or when there are not as many as words.

    ``places``: the lines of the words, where each has its own.
    """
    if len(sentence.words) != len(sentence.labels):
        raise Unreadable(f"has {len(sentence.words)} words and {len(sentence.labels)} labels; expected one for each")
    for number, label in enumerate(sentence.labels):
        if BIO.fullmatch(label) and (known is None or label in known):
            continue
        expected = "the training data has " + listed(sorted(known or ()))
        if not BIO.fullmatch(label):
            expected = "expected O, B-… where an entity begins, I-… inside it"
        word = shortened(sentence.words[number])
        raise Unreadable(
            f"has the label {shortened(label)} at the word {word}; {expected}", places[number] if places else None
        )


def in_iob2(path: Path, sentences: list[Sentence]) -> list[Sentence]:
    """The sentences; where most entities begin with I-X instead of B-X (IOB1, as in CoNLL-2003), with B-X there.

    A few labels I-X that follow neither B-X nor I-X are mistakes: they stay, and are said.
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
    """Where labels I-X are that follow neither B-X nor I-X."""
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
    """The entities that BIO labels mean, each (kind, first, one after the last), in strict reading."""
    found: list[tuple[str, int, int]] = []
    open_kind: str | None = None
    for number, label in enumerate(labels):
        if label.startswith("B-"):
            open_kind = label[2:]
            found.append((open_kind, number, number + 1))
        elif label.startswith("I-") and label[2:] == open_kind:
            found[-1] = (open_kind, found[-1][1], number + 1)
        else:
            open_kind = None
    return found
