"""Questions with several choices, one of which is right.

A row has a context, a question, or both, and its choices: in a column of their own each (``ending0`` …, ``option1`` …,
``A`` …), as in SWAG, PIQA, KoBEST and KMMLU; or in one column as a list, as in RACE and HellaSwag, or as
``{"label": […], "text": […]}``, as in ARC and CommonsenseQA.  The right one is given by its number, its letter, its
label or its text.  Start with :func:`read_choices`.
"""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from reprlib import repr as shortened
from typing import Any, NamedTuple

from minibert.data.cells import Cells, text_in, value_in
from minibert.data.columns import Column, choose, choose_columns, logger, usual_name
from minibert.data.labels import label_in, split_labels
from minibert.data.memory import Data
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import RowFile, Unreadable, checked_text, names_of
from minibert.errors import InputError

CONTEXT = Column(
    "the contexts",
    "--context-column",
    ("context", "passage", "article", "paragraph", "premise", "sent1", "ctx", "document", "story", "sentence", "text"),
    optional=True,
)
QUESTION = Column(
    "the questions",
    "--question-column",
    ("question", "query", "question_stem", "sent2", "goal", "prompt", "problem"),
    optional=True,
)
LISTS = ("choices", "options", "endings", "alternatives", "candidates", "answers")
ANSWER = Column(
    "the right choices",
    "--label-column",
    ("label", "answer", "answerkey", "answer_key", "gold", "correct", "correct_answer", "target"),
)
NUMBERED = re.compile(r"(?P<stem>choice|option|ending|alternative|candidate|answer|sol|solution)[ _-]?(?P<number>\d+)")
LETTERED = re.compile(r"(?:(?P<stem>choice|option|answer)[ _-]?)?(?P<number>[a-z])")
LEAST_ROWS = 20  # for a warning that no answer is the first


class Question(NamedTuple):
    """A question with its choices."""

    context: str  # "" for none
    question: str  # "" for none
    choices: tuple[str, ...]
    label: int = -1  # the number of the right choice, from 0; -1 where it is not known

    @property
    def parts(self) -> tuple[str, ...]:
        """The context and the question, as far as there are any."""
        return tuple(part for part in (self.context, self.question) if part)


@dataclass(frozen=True)
class ChoiceColumns:
    """The names of a file's columns."""

    context: str | None
    question: str | None
    choices: tuple[str, ...]  # one holds lists; several a text each
    label: str | None


def read_choices(
    source: Data,
    names: Mapping[str, str | None],
    choice_columns: Sequence[str] | None,
    count_from: int,
    skip_bad: bool,
) -> list[Question]:
    """All questions of a file with their right choices.

    Args:
        source: .csv, .tsv, .jsonl or .parquet, or rows in memory.
        names: of the columns "context", "question" and "label", as far as the user named them.
        choice_columns: of the choices: one that holds lists, or several; None: those with usual names.
        count_from: the number of the first choice, where answers are numbers: 0 or 1.
        skip_bad: whether bad rows are left out.

    Raises InputError for bad rows, naming the line, and for missing columns.
    """
    file, columns = open_choices(source, names, choice_columns, labelled=True)
    assert columns.label is not None
    label = columns.label
    numbers = []

    def row(number: int, line: int | None, cells: Cells) -> Question:
        question, labels = question_in(cells, columns)
        answer = label_in(cells, label, None)
        if answer.isdecimal():
            numbers.append(int(answer))
        found = answer_in(answer, cells[label], question.choices, labels, count_from)
        return question._replace(label=found)

    rows = read_all(file, row, skip_bad)
    if count_from == 0 and len(numbers) >= LEAST_ROWS and min(numbers) == 1:
        logger.warning(
            "%s: of %d answers in %r none is 0, the number of the first choice. If they are counted from 1, say so "
            "(--count-from 1).", file.path, len(numbers), label,
        )  # fmt: skip
    return rows


def open_choices(
    source: Data, names: Mapping[str, str | None], choice_columns: Sequence[str] | None, labelled: bool
) -> tuple[RowFile, ChoiceColumns]:
    """The file, and the names of its columns; InputError for what is no such file."""
    fields = labelled_fields if labelled else question_fields
    file = open_rows(source, (*names.values(), *(choice_columns or ())), fields=fields)
    wanted = {"context": CONTEXT, "question": QUESTION, **({"label": ANSWER} if labelled else {})}
    found = choose_columns(file, wanted, names)
    context, question = found.get("context"), found.get("question")
    if context is None and question is None:
        raise InputError(
            f"Say which column of {file.path} holds the questions (--question-column NAME) or contexts "
            f"(--context-column NAME); it has {', '.join(names_of(file))}."
        )
    choices = find_choices(file, choice_columns)
    columns = ChoiceColumns(context, question, choices, found.get("label"))
    file.selected = list(dict.fromkeys([*(file.selected or ()), *choices]))
    return file, columns


def question_fields(row: tuple[Any, ...]) -> Sequence[str] | None:
    """What a tuple holds: a question, perhaps a context before it, and the list of its choices."""
    return {2: ("question", "choices"), 3: ("context", "question", "choices")}.get(len(row))


def labelled_fields(row: tuple[Any, ...]) -> Sequence[str] | None:
    """The same with the right choice at the end."""
    fields = question_fields(row[:-1])
    return None if fields is None else (*fields, "label")


def find_choices(file: RowFile, given: Sequence[str] | None) -> tuple[str, ...]:
    """The columns of the choices: those that the user named, one with a usual name, or several that are numbered."""
    if given is not None:
        column = Column("the choices", "--choice-columns")
        return tuple(str(choose(file, column, name)) for name in given)
    names = names_of(file)
    usual = usual_name(names, LISTS)
    if usual is not None:
        return (usual,)
    for pattern in (NUMBERED, LETTERED):
        matches = [(match, name) for name in names if (match := pattern.fullmatch(name.strip().casefold()))]
        for stem in dict.fromkeys(match["stem"] for match, _ in matches):
            numbered = sorted((order_of(match["number"]), name) for match, name in matches if match["stem"] == stem)
            if len(numbered) > 1 and all(later[0] == one[0] + 1 for one, later in pairwise(numbered)):
                return tuple(name for _, name in numbered)
    raise InputError(
        f"Say which columns of {file.path} hold the choices (--choice-columns A,B,…, or one with lists); it has "
        f"{', '.join(names)}."
    )


def order_of(number: str) -> int:
    """A number, or the place of a letter."""
    return int(number) if number.isdecimal() else string.ascii_lowercase.index(number)


def question_in(cells: Cells, columns: ChoiceColumns) -> tuple[Question, tuple[str, ...]]:
    """The question of a row, and the labels of its choices, if they have any; raises Unreadable."""
    context, question = (
        "" if name is None else text_in(cells, name).strip() for name in (columns.context, columns.question)
    )
    if not context and not question:
        raise Unreadable("has neither a context nor a question")
    labels: tuple[str, ...] = ()
    if len(columns.choices) == 1:
        texts, labels = list_of_choices(cells, columns.choices[0])
    else:  # a question may have fewer choices than others; they are missing at the end
        cut = [value_in(cells, name) for name in columns.choices if cells.get(name) is not None]
        while cut and cut[-1] == "":
            cut.pop()
        texts = [str(value) if type(value) in (int, float) else value for value in cut]
    for text in texts:
        if not isinstance(text, str) or not checked_text(text).strip():
            raise Unreadable(f"has {shortened(text)} among its choices, expected text")
    if len(texts) < 2:
        raise Unreadable(f"has {len(texts)} choices, expected two or more")
    return Question(context, question, tuple(text.strip() for text in texts)), labels


def list_of_choices(cells: Cells, name: str) -> tuple[list[Any], tuple[str, ...]]:
    """The choices in one column, and their labels; raises Unreadable."""
    value = value_in(cells, name)
    value = list(value) if isinstance(value, tuple) else value
    if isinstance(value, str):
        value = split_labels(value.strip(), name, "|")
    if isinstance(value, dict):
        texts, labels = value.get("text"), value.get("label")
        if not (isinstance(texts, list) and isinstance(labels, list) and len(texts) == len(labels)):
            raise Unreadable(f"has {shortened(value)} in {name!r}, expected as many of label as of text")
        return texts, tuple(map(str, labels))
    if not isinstance(value, list):
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected a list of choices")
    if value and all(isinstance(one, dict) for one in value):
        return [one.get("text") for one in value], tuple(str(one.get("label", "")) for one in value)
    return value, ()


def answer_in(answer: str, cell: Any, choices: Sequence[str], labels: Sequence[str], count_from: int) -> int:
    """The number of the right choice, from 0; raises Unreadable where there is none, or more than one.

    ``answer``: the ``cell`` as text.  A cell that is a number, not text, is never a choice's text.
    """
    found = set()
    if isinstance(cell, str):
        found = {number for number, text in enumerate(choices) if text == answer}
    found |= {number for number, label in enumerate(labels) if label.strip() == answer}
    if not labels:
        letters = string.ascii_uppercase[: len(choices)]
        if len(answer) == 1 and answer in letters:
            found.add(letters.index(answer))
        if answer.isdecimal() and 0 <= int(answer) - count_from < len(choices):
            found.add(int(answer) - count_from)
    if len(found) == 1:
        return found.pop()
    last = count_from + len(choices) - 1
    if found:
        which = " and ".join(str(number + count_from) for number in sorted(found))
        raise Unreadable(f"has the answer {shortened(answer)}, which may be choice {which}")
    letter = string.ascii_uppercase[min(len(choices), 26) - 1]
    expected = f"a number from {count_from} to {last}, a letter from A to {letter}"
    if labels:
        expected = f"one of {', '.join(map(shortened, labels))}"
    hint = "; where they are counted from 1: --count-from 1" if answer == str(last + 1) and not count_from else ""
    raise Unreadable(f"has the answer {shortened(answer)}, expected {expected}, or the text of a choice{hint}")
