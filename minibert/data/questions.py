"""Questions with their contexts and answers: SQuAD's JSON, or rows of .jsonl, .csv, .tsv, .parquet.

SQuAD (Rajpurkar et al. 2016) is one JSON object, ``data`` › ``paragraphs`` › ``qas`` › ``answers``; KorQuAD has the
same form.  Version 2 adds questions without an answer.  An answer is a text and its start, counted in characters (code
points) of the context.  Start with :func:`read_questions`.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from reprlib import repr as shortened
from typing import Any, NamedTuple

from minibert.data.cells import Cells, text_in, where_it_stands, whole_in
from minibert.data.columns import Column, choose_columns, logger
from minibert.data.compressed import READING_ERRORS, opened
from minibert.data.formats import check_format
from minibert.data.memory import Data, MemoryRows, as_data
from minibert.data.opening import open_rows, read_all
from minibert.data.rows import BYTE_ORDER_MARK, RowFile, Unreadable
from minibert.errors import InputError

QUESTION = {
    "question": Column("the questions", "--question-column", ("question", "query")),
    "context": Column(
        "the texts with the answers", "--context-column", ("context", "passage", "paragraph", "document", "text")
    ),
}
ANSWERED = {
    **QUESTION,
    "answer": Column("the answers", "--answer-column", ("answers", "answer", "answer_text")),
    "start": Column("their starts", "--start-column", ("answer_start", "start"), optional=True),
}


class Answer(NamedTuple):
    """A text, and the character of the context where it starts."""

    text: str
    start: int


class Question(NamedTuple):
    """A question with its context and the answers that count as right, none where it cannot be answered."""

    question: str
    context: str
    answers: tuple[Answer, ...]


class Squad(RowFile):
    """SQuAD's JSON; a question is a row."""

    def columns(self) -> list[str]:
        return ["id", "question", "context", "answers"]

    def records(self) -> Iterator[tuple[None, tuple[str, Any, Any]]]:
        """Every question with its place in the file and its context."""
        for number, article in enumerate(read_squad(self.path)):
            paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
            if not isinstance(paragraphs, list):
                raise InputError(f"{self.path}: data[{number}] has no list of paragraphs, as SQuAD's articles have.")
            for index, paragraph in enumerate(paragraphs):
                place = f"data[{number}].paragraphs[{index}]"
                questions = paragraph.get("qas", []) if isinstance(paragraph, dict) else None
                if not isinstance(questions, list):
                    raise InputError(f"{self.path}: {place} is no paragraph of SQuAD: a context with a list qas.")
                for which, question in enumerate(questions):
                    yield None, (f"{place}.qas[{which}]", paragraph.get("context"), question)

    def parse(self, record: tuple[str, Any, Any]) -> dict[str, Any]:
        place, context, question = record
        if not isinstance(question, dict):
            raise Unreadable(f"({place}) is {shortened(question)}, expected a question")
        return {"id": question.get("id"), "answers": [], **question, "context": context}


def read_squad(path: Path) -> list[Any]:
    """The articles of SQuAD's JSON; raises InputError for other content."""
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


def open_questions(
    source: Data, names: Mapping[str, str | None], columns: Mapping[str, Column] = QUESTION
) -> tuple[RowFile, dict[str, str]]:
    """The file, or rows in memory, and the names of its ``columns``; ``names``: those that the user named.

    Raises InputError for what is no such file.
    """
    data = as_data(source)
    if isinstance(data, MemoryRows) or check_format(data, "questions") != ".json":
        file = open_rows(data, list(names.values()), "questions", question_fields)
        return file, choose_columns(file, columns, names)
    return Squad(data), {"question": "question", "context": "context", "answer": "answers"}


def read_questions(source: Data, names: Mapping[str, str | None], skip_bad: bool) -> list[Question]:
    """All questions of a file; raises InputError for bad ones, naming the line."""
    file, columns = open_questions(source, names, ANSWERED)
    ambiguous = 0

    def question(number: int, line: int | None, cells: Cells) -> Question:
        nonlocal ambiguous
        text, context = pair_in(cells, columns)
        answers, is_ambiguous = answers_in(cells, columns, context)
        ambiguous += is_ambiguous
        return Question(text, context, answers)

    questions = read_all(file, question, skip_bad)
    if ambiguous:
        logger.warning(
            "%s: %d answers stand in their text more than once, and no column says where they start; the first place "
            "is taken.", file.path, ambiguous,
        )  # fmt: skip
    return questions


def question_fields(row: tuple[Any, ...]) -> tuple[str, ...] | None:
    """What a tuple holds: a question and its context, then the answer, then where it starts."""
    return ("question", "context", "answer", "answer_start")[: len(row)] if 2 <= len(row) <= 4 else None


def pair_in(cells: Cells, columns: Mapping[str, str]) -> tuple[str, str]:
    """The question, without spaces around it, and the context; raises Unreadable."""
    question = text_in(cells, columns["question"]).strip()
    if not question:
        raise Unreadable("has an empty question")
    return question, text_in(cells, columns["context"])


def answers_in(cells: Cells, columns: Mapping[str, str], context: str) -> tuple[tuple[Answer, ...], bool]:
    """The answers of a row, and whether the place of one is ambiguous; raises Unreadable.

    Three forms are read: a text in one column and its start in another; SQuAD's list of ``{"text", "answer_start"}``;
    and ``{"text": [...], "answer_start": [...]}``, as data sets on the hub have it.  An empty text or list means that
    there is no answer.
    """
    name = columns["answer"]
    value = cells.get(name)
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start")
        if not (isinstance(texts, list) and isinstance(starts, list) and len(texts) == len(starts)):
            raise Unreadable(f"has {shortened(value)} in {name!r}, expected as many of answer_start as of text")
        value = [{"text": text, "answer_start": start} for text, start in zip(texts, starts, strict=True)]
    if isinstance(value, list):
        for answer in value:
            if not isinstance(answer, dict):
                raise Unreadable(f"has {shortened(answer)} in {name!r}, expected a text and an answer_start")
        pairs = [(text_in(answer, "text"), whole_in(answer, "answer_start")) for answer in value]
        return tuple(checked_answer(text, start, context) for text, start in pairs), False
    text = text_in(cells, name)
    if not text:
        return (), False
    if "start" in columns:
        return (checked_answer(text, whole_in(cells, columns["start"]), context),), False
    start = context.find(text)
    return (checked_answer(text, max(0, start), context),), context.find(text, start + 1) >= 0


def checked_answer(text: str, start: int, context: str) -> Answer:
    """The answer; raises Unreadable when the context has another text there."""
    if not text.strip():
        raise Unreadable("has an answer that is empty")
    if not context.startswith(text, start):
        raise Unreadable(
            f"has the answer {shortened(text)} at character {start}, where its text has "
            f"{shortened(context[start : start + len(text)])}; {where_it_stands(text, context)}"
        )
    return Answer(text, start)
