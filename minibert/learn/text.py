"""A lesson for the terminal: the Markdown as it is, each cell followed by what it printed."""

from collections.abc import Iterator
from typing import Any

from minibert.learn.lesson import Cell, Exercise, Lesson
from minibert.learn.notebook import said, start
from minibert.learn.words import WORDS


def to_text(lesson: Lesson, solutions: bool = False) -> str:
    """The whole lesson; exercises end with their solutions where ``solutions`` asks for them."""
    title = f"# {WORDS[lesson.language]['lesson'].format(number=lesson.number)}. {lesson.title}"
    return "\n\n".join([title, indented(start(lesson), ">>> ", "... "), *text_parts(lesson, solutions)])


def text_parts(lesson: Lesson, solutions: bool) -> Iterator[str]:
    """The parts, one after the other."""
    words = WORDS[lesson.language]
    for part in lesson.parts:
        if isinstance(part, Cell):
            yield indented(part.code, ">>> ", "... ")
            output = "".join(plain(output) for output in part.outputs).rstrip()
            if output:
                yield output
        elif isinstance(part, Exercise):
            yield f"### {words['exercise'].format(number=part.number)}\n\n{said(part.text, lesson)}"
            yield indented(part.code, ">>> ", "... ")
            if solutions:
                yield f"{words['solution']}: {said(part.explanation, lesson)}"
                yield indented(part.solution, ">>> ", "... ")
        else:
            yield said(part.text, lesson)


def indented(code: str, first: str, further: str) -> str:
    """Code with a prompt before each line, as in Python's own terminal."""
    inside = (" ", ")", "]", "}")  # how a line begins that goes on with the statement before
    return "\n".join(f"{further if line.startswith(inside) else first}{line}".rstrip() for line in code.splitlines())


def plain(output: dict[str, Any]) -> str:
    """What an output says in plain text."""
    text = output["text"] if output["output_type"] == "stream" else output["data"].get("text/plain", "")
    return "".join(text) + ("" if output["output_type"] == "stream" else "\n")
