"""A lesson as a notebook (nbformat 4.5: a JSON document), with the outputs that its cells had."""

from collections.abc import Iterator
from typing import Any

from minibert.learn.code_line import CodeLine
from minibert.learn.lesson import Cell, Exercise, Lesson, with_lines
from minibert.learn.words import WORDS

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
START = "start"


def to_notebook(lesson: Lesson, *, pictures: bool = True) -> dict[str, Any]:
    """The notebook: its outputs are shown before anything is run; solutions are folded.

    Args:
        lesson: in its language.
        pictures: keep the HTML of displays.  Jupyter shows it whole only in a notebook that it trusts (signed here, or
            run); of another it strips style and SVG, and what is left reads badly.  False: the plain tables alone,
            until a cell is run.
    """
    return {
        "cells": list(notebook_cells(lesson, pictures)),
        "metadata": {"kernelspec": KERNEL, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def notebook_cells(lesson: Lesson, pictures: bool) -> Iterator[dict[str, Any]]:
    """The cells, each with an id that stays the same from one writing to the next."""
    words = WORDS[lesson.language]
    title = f"# {words['lesson'].format(number=lesson.number)}. {lesson.title}"
    yield markdown("title", f"{title}\n\n{words['start']}")
    yield code(START, start(lesson), [])
    for place, part in enumerate(lesson.parts):
        if isinstance(part, Cell):
            yield code(part.name, part.code, part.outputs if pictures else list(map(plain_output, part.outputs)))
        elif isinstance(part, Exercise):
            heading = f"### {words['exercise'].format(number=part.number)}"
            yield markdown(f"question-{part.name}", f"{heading}\n\n{said(part.text, lesson)}")
            yield code(f"exercise-{part.name}", part.code, [])
            yield markdown(f"solution-{part.name}", solution(part, lesson))
        else:
            yield markdown(f"text-{place}", said(part.text, lesson))


def plain_output(output: dict[str, Any]) -> dict[str, Any]:
    """An output with its plain text alone, where it has one."""
    text = output.get("data", {}).get("text/plain")
    return output | {"data": {"text/plain": text}} if text else output


def start(lesson: Lesson) -> str:
    """The code that gives a reader ``check``."""
    return f'from minibert.learn import open_lesson\n\ncheck = open_lesson({lesson.number}, "{lesson.language}").check'


def solution(exercise: Exercise, lesson: Lesson) -> str:
    """The solution, folded: Markdown with the one element of HTML that every notebook program unfolds."""
    return (
        f"<details><summary>{WORDS[lesson.language]['solution']}</summary>\n\n{said(exercise.explanation, lesson)}\n\n"
        f"```python\n{exercise.solution}\n```\n\n</details>"
    )


def said(text: str, lesson: Lesson) -> str:
    """Markdown with files and lines in place of references to code."""

    def shown(found: CodeLine) -> str:
        line = WORDS[lesson.language]["line"].format(line=found.line)
        return f"`{found.name}` (`minibert/{found.file}`, {line})"

    return with_lines(text, shown)


def markdown(name: str, source: str) -> dict[str, Any]:
    """A cell of prose."""
    return {"cell_type": "markdown", "id": name, "metadata": {}, "source": lines(source)}


def code(name: str, source: str, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """A cell of code."""
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": name,
        "metadata": {},
        "outputs": outputs,
        "source": lines(source),
    }


def lines(source: str) -> list[str]:
    """The source as notebooks keep it: lines with their ends."""
    return source.splitlines(keepends=True)
