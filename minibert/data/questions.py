"""Questions, the texts that hold their answers, and where: SQuAD's JSON, or rows of .jsonl, .csv, .tsv, .parquet.

SQuAD (Rajpurkar et al. 2016) is one JSON object, ``data`` › ``paragraphs`` › ``qas`` › ``answers``; KorQuAD has the
same form.  Version 2 adds questions without an answer.  In rows the answer is a text and where it starts, in characters
(code points) of the context.  Start with :func:`read_questions`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

from minibert.data.cells import Cells, text_in, whole_in
from minibert.data.columns import Column, choose_columns, logger
from minibert.data.formats import READING_ERRORS, check_format, data_path, opened
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import BYTE_ORDER_MARK, RowFile, Unreadable
from minibert.errors import InputError
from minibert.source import Source

QUESTIONS = ("question", "query")
CONTEXTS = ("context", "passage", "paragraph", "document", "text")
ANSWERS = ("answers", "answer", "answer_text")
STARTS = ("answer_start", "start")


class Answer(NamedTuple):
    """A text, and where it starts in the context."""

    text: str
    start: int


class Question(NamedTuple):
    """A question with its context and the answers that count as right; none where the context has none."""

    question: str
    context: str
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class AnswerColumns:
    """The names of the columns, where the user says them."""

    question: str | None = None
    context: str | None = None
    answer: str | None = None
    start: str | None = None

    def columns(self, answered: bool) -> dict[str, Column]:
        """The columns by what they hold."""
        columns = {
            "question": Column("the questions", "--question-column", self.question, QUESTIONS),
            "context": Column("the texts with the answers", "--context-column", self.context, CONTEXTS),
        }
        if answered:
            columns["answer"] = Column("the answers", "--answer-column", self.answer, ANSWERS)
            columns["start"] = Column("their starts", "--start-column", self.start, STARTS, optional=True)
        return columns

    def given(self) -> list[str | None]:
        """Those the user named."""
        return [getattr(self, field.name) for field in fields(self)]


class Squad(RowFile):
    """SQuAD's JSON; a question is a row."""

    def columns(self) -> list[str]:
        """What a question has."""
        return ["id", "question", "context", "answers"]

    def records(self) -> Iterator[tuple[None, tuple[str, Any, Any]]]:
        """Every question with its paragraph and its place."""
        for place, paragraph, context in self.paragraphs():
            questions = paragraph.get("qas", []) if isinstance(paragraph, Mapping) else None
            if not isinstance(questions, list):
                raise InputError(f"{self.path}: {place} is no paragraph of SQuAD: a context with a list qas.")
            for number, question in enumerate(questions):
                yield None, (f"{place}.qas[{number}]", context, question)

    def paragraphs(self) -> Iterator[tuple[str, Any, Any]]:
        """Every paragraph with its place and its context."""
        data = read_squad(self.path)
        for number, article in enumerate(data):
            paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
            if not isinstance(paragraphs, list):
                raise InputError(f"{self.path}: data[{number}] has no list of paragraphs, as SQuAD's articles have.")
            for place, paragraph in enumerate(paragraphs):
                context = paragraph.get("context") if isinstance(paragraph, dict) else None
                yield f"data[{number}].paragraphs[{place}]", paragraph, context

    def parse(self, record: tuple[str, Any, Any]) -> dict[str, Any]:
        """A question's columns."""
        place, context, question = record
        if not isinstance(question, dict):
            raise Unreadable(f"({place}) is {shortened(question)}, expected a question")
        return {"id": question.get("id"), "answers": [], **question, "context": context}


def read_squad(path: Path) -> list[Any]:
    """The articles of SQuAD's JSON; raises InputError for what is not."""
    try:
        with opened(path) as file:
            content = json.loads(file.read().removeprefix(BYTE_ORDER_MARK).decode())
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8 (byte {error.start + 1} is 0x{error.object[error.start]:02x})."
        ) from error
    except (*READING_ERRORS, RecursionError) as error:
        raise InputError(f"{path} is not JSON ({error}). Rows of JSON, one a line, end in .jsonl.") from error
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, list):
        raise InputError(f"{path} is not SQuAD's JSON: an object with a list called data. Rows of JSON end in .jsonl.")
    return data


def open_questions(source: Source, columns: AnswerColumns, answered: bool) -> tuple[RowFile, dict[str, str]]:
    """The file, and which of its columns is which.  Raises InputError for what is none."""
    path = data_path(source)
    if check_format(path, "questions") != ".json":
        file = open_rows(source, columns.given(), "questions")
        return file, choose_columns(file, columns.columns(answered))
    return Squad(path), {"question": "question", "context": "context", "answer": "answers"}


def read_questions(source: Source, columns: AnswerColumns, skip_bad: bool) -> list[Question]:
    """All questions of a file; raises InputError for bad ones, naming the line."""
    file, chosen = open_questions(source, columns, answered=True)
    guessed = 0

    def question(number: int, line: int | None, cells: Cells) -> Question:
        nonlocal guessed
        asked, context = pair_in(cells, chosen)
        answers, guesses = answers_in(cells, chosen, context)
        guessed += guesses
        return Question(asked, context, answers)

    rows = read_all(file, question, skip_bad)
    if guessed:
        logger.warning(
            "%s: %d answers stand in their text more than once, and no column says where they start; the first place "
            "is taken.", file.path, guessed,
        )  # fmt: skip
    return rows


def pair_in(cells: Cells, chosen: Mapping[str, str]) -> tuple[str, str]:
    """The question, without spaces around it, and the context; raises Unreadable."""
    asked = text_in(cells, chosen["question"]).strip()
    if not asked:
        raise Unreadable("has an empty question")
    return asked, text_in(cells, chosen["context"])


def answers_in(cells: Cells, chosen: Mapping[str, str], context: str) -> tuple[tuple[Answer, ...], bool]:
    """The answers of a row, and whether the place of one had to be guessed; raises Unreadable.

    A text in one column and its start in another; SQuAD's list of ``{"text", "answer_start"}``; or, as data sets on the
    hub have it, ``{"text": [...], "answer_start": [...]}``.  An empty text, or list, is no answer.
    """
    name = chosen["answer"]
    found = cells.get(name)
    if isinstance(found, dict):
        texts, starts = found.get("text"), found.get("answer_start")
        if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
            raise Unreadable(f"has {shortened(found)} in {name!r}, expected as many of answer_start as of text")
        found = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if isinstance(found, list):
        for answer in found:
            if not isinstance(answer, dict):
                raise Unreadable(f"has {shortened(answer)} in {name!r}, expected a text and an answer_start")
        pairs = [(text_in(answer, "text"), whole_in(answer, "answer_start")) for answer in found]
        return tuple(checked(text, start, context) for text, start in pairs), False
    text = text_in(cells, name)
    if not text:
        return (), False
    if "start" in chosen:
        return (checked(text, whole_in(cells, chosen["start"]), context),), False
    start = context.find(text)
    return (checked(text, max(0, start), context),), context.find(text, start + 1) >= 0


def checked(text: str, start: int, context: str) -> Answer:
    """The answer, if it stands there; raises Unreadable."""
    if not text.strip():
        raise Unreadable("has an answer that is empty")
    if not context.startswith(text, start):
        elsewhere = context.find(text)
        there = shortened(context[start : start + len(text)])
        hint = f"it stands at {elsewhere}" if elsewhere >= 0 else "it stands nowhere in the text"
        raise Unreadable(f"has the answer {shortened(text)} at character {start}, where its text has {there}; {hint}")
    return Answer(text, start)
