"""``minibert learn``: the lessons, as notebooks or in the terminal; the workbook (workbook.py)."""

import argparse
import json
import locale
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from minibert.commands.verb import add_language, add_verb, print_json
from minibert.commands.workbook import add_options, build_workbook, check_workbook, refuse_options
from minibert.errors import InputError


def add(verbs: Any) -> None:
    """``learn``."""
    verb = add_verb(verbs, "learn", learn, "list the lessons; write one as a notebook, or print it")
    verb.description = (
        "Without a number, list the lessons.  With one, write it as a notebook into the current folder and open "
        "it where Jupyter is installed (pip install '.[learn]').  Every lesson runs offline, on minibert-demo.  With "
        "build, write the workbook: a file in which you write BERT, and its tests.  With check, run that file in a "
        "process of its own and say for each step whether it is right, or what is wrong."
    )
    verb.add_argument("lesson", nargs="?", metavar="N | build | check", help="the number of a lesson; or the workbook")
    add_language(verb, default=readers_language(), what="the lesson, from your system's language")
    verb.set_defaults(language=None)  # check speaks the workbook's language where none is given
    verb.add_argument("-o", "--output", metavar="FILE", help="the notebook to write (default: lesson-N-LANGUAGE.ipynb)")
    verb.add_argument("--force", action="store_true", help="overwrite a file that is there")
    verb.add_argument("--no-open", action="store_true", help="write the notebook, and do not start Jupyter")
    verb.add_argument("--text", action="store_true", help="print the lesson here, write nothing")
    verb.add_argument("--solutions", action="store_true", help="with --text or build: the solutions, too")
    add_options(verb)
    verb.epilog = "example: minibert learn 3 --lang ko; or, without Jupyter: minibert learn 3 --text"


def learn(options: argparse.Namespace) -> int:
    """``minibert learn``."""
    refuse_options(options)
    if options.lesson == "check":
        return check_workbook(options, readers_language())
    options.language = options.language or readers_language()
    if options.lesson == "build":
        return build_workbook(options)
    if options.lesson is None:
        return list_lessons(options)
    return write_lesson(options)


def write_lesson(options: argparse.Namespace) -> int:
    """A lesson as a notebook, or in the terminal."""
    from minibert.learn import open_lesson, to_notebook, to_text

    if not options.lesson.isdecimal():
        raise InputError(f"{options.lesson!r} is no lesson; give its number, or build or check for the workbook.")
    lesson = open_lesson(int(options.lesson), options.language)
    if options.text:
        if options.output:
            raise InputError("--text prints the lesson and writes no file; leave out --output or --text.")
        print(to_text(lesson, solutions=options.solutions))
        return 0
    if options.solutions:
        raise InputError("--solutions goes with --text; in a notebook the solutions are there, folded.")
    file = Path(options.output or f"lesson-{lesson.number}-{lesson.language}.ipynb")
    can_sign = find_spec("nbformat") is not None  # it comes with Jupyter
    write(file, to_notebook(lesson, pictures=can_sign), options.force)
    if can_sign:
        sign(file)
    if options.json:
        print_json({"lesson": lesson.number, "language": lesson.language, "title": lesson.title, "file": str(file)})
    else:
        print(f"{file}: {lesson.title}")
        open_notebook(file, start=not options.no_open)
    return 0


def list_lessons(options: argparse.Namespace) -> int:
    """The lessons, with the question that each answers."""
    from minibert.learn import lesson_numbers, open_lesson
    from minibert.learn.words import WORDS
    from minibert.terminal import table

    found = [open_lesson(number, options.language) for number in lesson_numbers()]
    if options.json:
        keys = ("number", "language", "title", "question")
        print_json([{key: getattr(lesson, key) for key in keys} for lesson in found])
        return 0
    words = WORDS[options.language]
    print(
        table(
            ("", words["title"], words["question"]),
            [(each.number, each.title, each.question) for each in found],
            right=("",),
        )
    )
    print(f"\n{words['use']}")
    return 0


def write(file: Path, notebook: dict[str, Any], force: bool) -> None:
    """Write a notebook, whole, over nothing unless ``force`` says so."""
    from minibert.destination import check_file
    from minibert.files import exists, write_text

    check_file(file, "--output")
    if file.suffix != ".ipynb":
        raise InputError(f"--output is {file}; the name of a notebook ends in .ipynb.")
    if exists(file) and not force:
        raise InputError(
            f"{file} is there already, perhaps with your answers. Choose another --output, or give --force."
        )
    write_text(file, json.dumps(notebook, ensure_ascii=False, indent=1) + "\n")


def sign(file: Path) -> None:
    """Have Jupyter trust the notebook, as ``jupyter trust`` does: its outputs are shown with their pictures."""
    import nbformat
    from nbformat.sign import NotebookNotary

    NotebookNotary().sign(nbformat.read(file, as_version=4))


def open_notebook(file: Path, start: bool) -> None:
    """Start JupyterLab with a notebook, or say how; only where somebody sits at the terminal."""
    if find_spec("jupyterlab") is None:
        print("To open it, in a checkout of minibert: pip install '.[learn]', then jupyter lab", file)
    elif start and sys.stdin.isatty() and sys.stdout.isatty():
        subprocess.run([sys.executable, "-m", "jupyterlab", str(file)], check=False)
    else:
        print("To open it: jupyter lab", file)


def readers_language() -> str:
    """``ko`` or ``zh`` where the system speaks it, else ``en``."""
    places = (os.environ.get(name) for name in ("LC_ALL", "LC_MESSAGES", "LANG"))
    spoken = next(filter(None, places), None) or locale.getlocale()[0] or ""
    return spoken[:2].lower() if spoken[:2].lower() in ("ko", "zh") else "en"
