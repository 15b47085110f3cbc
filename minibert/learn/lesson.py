"""One lesson in one language: its prose, cells and exercises, read from a folder of ``lessons/``.

The folder holds the code once, for all languages:

- ``cells.py``, in Jupytext's percent format: ``# %% name`` begins a cell, ``# %% exercise: name`` the code that a
  reader completes, ``# %% solution: name`` what goes in its place;
- ``outputs.json``: what each cell printed and showed (scripts/tools/run_lessons.py);
- ``checks.py``: a function for each exercise, from the reader's answer to ``right`` or the key of a mistake;
- ``en.md``, ``ko.md``, ``zh.md``: MyST Markdown.  ``:::{cell} name`` places a cell, ``:::{exercise} name`` an exercise,
  ``:::{hints} name`` what is said to each key, ``:::{solution} name`` the words of the solution.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.learn.code_line import CodeLine, find_line
from minibert.learn.words import LANGUAGES, WORDS

FOLDER = Path(__file__).resolve().parent / "lessons"
BLOCK = re.compile(r"^:::\{(\w+)\} (\S+)\n(.*?)^:::$", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"\{code\}`([^`]+)`")
UNANSWERED = "unanswered"
RIGHT = "right"
OTHER = "other"


@dataclass(frozen=True)
class Prose:
    """Markdown between cells."""

    text: str


@dataclass(frozen=True)
class Cell:
    """Code that runs as it stands.

    Attributes:
        name: as in cells.py.
        code: the lines.
        outputs: what it printed and showed when it was run, in the notebook format (nbformat 4).
    """

    name: str
    code: str
    outputs: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Exercise:
    """A question with code to complete.

    Attributes:
        number: from 1, within the lesson.
        name: as in cells.py and checks.py.
        text: the question, Markdown.
        code: what the reader completes.
        hints: key of an outcome → what is said; ``right`` and ``other`` are always there.
        explanation: the words of the solution, Markdown.
        solution: the code that goes in place of the dots.
    """

    number: int
    name: str
    text: str
    code: str
    hints: Mapping[str, str]
    explanation: str
    solution: str

    @property
    def solved(self) -> str:
        """The exercise's cell as somebody leaves it who has solved it."""
        checks = [line for line in self.code.splitlines() if line.startswith("check(")]
        return "\n".join([self.solution, *checks])


Part = Prose | Cell | Exercise


@dataclass(frozen=True)
class Lesson:
    """A lesson in one language; ``parts`` in the order of reading."""

    number: int
    language: str
    title: str
    question: str
    parts: list[Part]

    @property
    def name(self) -> str:
        """The name of its folder: lesson03."""
        return f"lesson{self.number:02}"

    @property
    def exercises(self) -> list[Exercise]:
        """The exercises alone."""
        return [part for part in self.parts if isinstance(part, Exercise)]

    @property
    def cells(self) -> list[Cell]:
        """The cells that run as they stand."""
        return [part for part in self.parts if isinstance(part, Cell)]

    def check(self, name: str, answer: object) -> None:
        """Print whether an answer is right, and if not, what the mistake is.

        Args:
            name: of the exercise.
            answer: whatever the exercise asks for; ``...`` has not been answered yet.

        Raises:
            InputError: this lesson has no such exercise.
        """
        exercise = next((exercise for exercise in self.exercises if exercise.name == name), None)
        if exercise is None:
            known = ", ".join(exercise.name for exercise in self.exercises)
            raise InputError(f"Lesson {self.number} has no exercise {name!r}; its exercises are {known}.")
        key = self.outcome(name, answer)
        mark = {UNANSWERED: "…", RIGHT: "✓"}.get(key, "✗")
        words = WORDS[self.language][UNANSWERED] if key == UNANSWERED else exercise.hints[key]
        print(f"{mark} {words}")

    def outcome(self, name: str, answer: object) -> str:
        """The key of an answer: ``unanswered``, ``right``, a known mistake, or ``other``."""
        if is_open(answer):
            return UNANSWERED
        judge: Callable[[Any], str] = getattr(checks_of(self.number), name.replace("-", "_"))
        try:
            return judge(answer)
        except Exception:  # an answer of another kind than the one asked for; a reader may give anything
            return OTHER


def is_open(answer: object) -> bool:
    """Whether an answer is, or holds, the dots of the exercise."""
    if isinstance(answer, dict):
        answer = list(answer.values())
    return answer is ... or (isinstance(answer, list | tuple) and any(is_open(part) for part in answer))


def checks_of(number: int) -> Any:
    """The module of a lesson's checks."""
    return import_module(f"minibert.learn.lessons.lesson{number:02}.checks")


def lesson_numbers() -> list[int]:
    """The numbers of the lessons."""
    return sorted(int(folder.name[6:]) for folder in FOLDER.glob("lesson[0-9][0-9]") if (folder / "cells.py").is_file())


def open_lesson(number: int, language: str = "en") -> Lesson:
    """Read a lesson.

    Args:
        number: from 1.
        language: ``en``, ``ko`` or ``zh``.

    Raises:
        InputError: no such lesson or language.
    """
    if language not in LANGUAGES:
        raise InputError(f"There is no lesson in {language!r}; the languages are {', '.join(LANGUAGES)}.")
    if number not in lesson_numbers():
        raise InputError(f"There is no lesson {number}; there are {', '.join(map(str, lesson_numbers()))}.")
    folder = FOLDER / f"lesson{number:02}"
    title, text = split_title((folder / f"{language}.md").read_text(encoding="utf-8"))
    question = " ".join(line[1:].strip() for line in text.strip().splitlines() if line.startswith(">"))
    outputs = folder / "outputs.json"
    shown = json.loads(outputs.read_text(encoding="utf-8")) if outputs.is_file() else {}
    return Lesson(number, language, title, question, list(read_parts(text, read_cells(folder / "cells.py"), shown)))


def split_title(text: str) -> tuple[str, str]:
    """The title in the first line, and the rest."""
    first, _, rest = text.partition("\n")
    return first.removeprefix("# ").strip(), rest


def read_cells(file: Path) -> dict[str, str]:
    """Name → code of the cells of a file in the percent format; ``exercise: x`` and ``solution: x`` are names, too."""
    parts = re.split(r"^# %% (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {name.strip(): code.strip("\n") for name, code in zip(parts[1::2], parts[2::2], strict=True)}


def read_parts(text: str, cells: dict[str, str], shown: dict[str, list[dict[str, Any]]]) -> Iterator[Part]:
    """The parts of a lesson's text, with the code that its blocks name."""
    blocks = {(block[1], block[2]): block[3].strip() for block in BLOCK.finditer(text)}
    end = number = 0
    for block in BLOCK.finditer(text):
        prose = text[end : block.start()].strip()
        end = block.end()
        if prose:
            yield Prose(prose)
        kind, name = block[1], block[2]
        if kind == "cell":
            yield Cell(name, cells[name], shown.get(name, []))
        elif kind == "exercise":
            number += 1
            hints = read_hints(blocks["hints", name])
            explanation, solution = blocks["solution", name], cells[f"solution: {name}"]
            yield Exercise(number, name, block[3].strip(), cells[f"exercise: {name}"], hints, explanation, solution)
    if text[end:].strip():
        yield Prose(text[end:].strip())


def read_hints(text: str) -> dict[str, str]:
    """Key → what is said; a line that does not begin with a key goes on with the one before."""
    hints: dict[str, str] = {}
    key = ""
    for line in text.splitlines():
        begun = re.match(r"([a-z0-9-]+): (.*)", line)
        if begun:
            key, hints[begun[1]] = begun[1], begun[2]
        elif line.strip():
            hints[key] = f"{hints[key]} {line.strip()}"
    return hints


def with_lines(text: str, show: Callable[[CodeLine], str]) -> str:
    """Markdown in which each reference to code is what ``show`` makes of its line."""
    return REFERENCE.sub(lambda found: show(find_line(found[1])), text)


@cache
def lesson_model(name: str) -> Path | None:
    """The folder of a checkpoint or vocabulary that does not come with minibert, or None.

    Args:
        name: of a folder in the folder that the environment variable MINIBERT_LESSON_MODELS names.
    """
    place = os.environ.get("MINIBERT_LESSON_MODELS", "")
    folder = Path(place).expanduser() / name
    return folder if place and folder.is_dir() else None
