"""``minibert learn build``: the folder in which the reader writes BERT."""

import ast
from pathlib import Path

from minibert.destination import check_folder
from minibert.errors import InputError
from minibert.files import exists, write_text
from minibert.learn.words import LANGUAGES
from minibert.learn.workbook.steps import STEPS, WHOLE
from minibert.learn.workbook.texts import check_language, texts

REFERENCE = Path(__file__).with_name("reference.py")
FILES = ("my_bert.py", "test_my_bert.py")
WIDTH = 112

TEST = '''\
"""{text}"""

import os
from functools import cache
from pathlib import Path

import pytest

from minibert.learn.workbook import NAMES, Report, check

FILE = Path(__file__).with_name("my_bert.py")


@cache
def report() -> Report:
    return check(FILE, language="{language}", seed=int(os.environ.get("MINIBERT_SEED", "0")))


@pytest.mark.parametrize("step", NAMES)
def test_step(step: str) -> None:
    result = report().to_dict()
    assert result["problem"] is None, result["problem"]["message"]
    found = next(each for each in result["steps"] if each["step"] == step)
    assert found["status"] == "right", f"{{found['message']}} {{found['first'] or ''}} {{found['hint']}}"
'''


def build(
    folder: str | Path = "my-bert", language: str = "en", solutions: bool = False, force: bool = False
) -> list[Path]:
    """Write the workbook.

    Args:
        folder: new or existing.
        language: of the tasks: ``en``, ``ko`` or ``zh``.
        solutions: the teacher's copy, with nothing to fill in.
        force: overwrite files that are there.

    Returns the files that were written.  Raises InputError where a file is there and ``force`` is not given.
    """
    check_language(language)
    place = check_folder(str(folder), "folder")
    files = [place / name for name in FILES]
    there = [str(file) for file in files if exists(file)]
    if there and not force:
        raise InputError(
            f"{there[0]} is there already, perhaps with your work. Choose another folder, or give --force."
        )
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {place} cannot be made ({error.strerror}). Choose another.") from error
    write_text(files[0], template(language, solutions))
    write_text(files[1], TEST.format(text=texts(language)["file"]["test"], language=language))
    return files


def language_of(file_or_folder: str | Path) -> str | None:
    """The language that a workbook was written in; None where its first lines are not there any more."""
    path = Path(file_or_folder).expanduser()
    file = path / FILES[0] if path.is_dir() else path
    if not file.is_file():
        return None
    beginning = file.read_bytes()[:1000].decode("utf-8", "replace")
    return next((each for each in LANGUAGES if texts(each)["file"]["head"].splitlines()[0] in beginning), None)


def template(language: str, solutions: bool = False) -> str:
    """my_bert.py: reference.py with the tasks in a language, and without the bodies unless ``solutions``."""
    source = REFERENCE.read_text(encoding="utf-8")
    lines = source.splitlines()
    tree = ast.parse(source)
    words = texts(language)
    changes: list[tuple[int, int, list[str]]] = []  # the lines that something takes the place of, from 0, end excluded
    tree_docstring = tree.body[0]
    changes.append((0, tree_docstring.end_lineno or 1, quoted(words["file"]["head"], "")))
    numbers = {step.name: step.number for step in STEPS}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in numbers:
            docstring = node.body[0]
            about = words["steps"][node.name]
            paper = (ast.get_docstring(node) or "").splitlines()[-1]
            said = "\n".join([wrapped(about["task"]), "", about["shapes"], "", paper])
            changes.append((docstring.lineno - 1, docstring.end_lineno or 0, quoted(said, "    ")))
            if not solutions:
                changes.append((node.body[1].lineno - 1, node.end_lineno or 0, ["    ..."]))
            heading = f"# {numbers[node.name]}. {about['title']}"
            changes.append((node.lineno - 1, node.lineno - 1, [heading]))
        elif isinstance(node, ast.ClassDef):
            docstring = node.body[0]
            changes.append((docstring.lineno - 1, docstring.end_lineno or 0, quoted(words["file"]["whole"], "    ")))
            heading = f"# {len(STEPS) + 1}. {words['steps'][WHOLE]['title']}"
            changes.append((node.lineno - 1, node.lineno - 1, [heading]))
    for start, end, new in sorted(changes, reverse=True):
        lines[start:end] = new
    return "\n".join(lines) + "\n"


def quoted(text: str, indent: str) -> list[str]:
    """A docstring of several lines."""
    first, *rest = text.splitlines()
    if not rest:
        return [f'{indent}"""{first}"""']
    return [f'{indent}"""{first}', *((indent + line).rstrip() for line in rest), f'{indent}"""']


def wrapped(text: str) -> str:
    """A text in lines; where Chinese characters stand, which take two columns and have no spaces, after any of them."""
    lines, line, width = [], "", 0
    for part in parts(text):
        size = sum(2 if ord(letter) > 0x1100 and letter not in "…–−" else 1 for letter in part)
        if width + size > WIDTH and line:
            lines.append(line.rstrip())
            line, width = part.lstrip(), size
        else:
            line, width = line + part, width + size
    return "\n".join([*lines, line.rstrip()])


def parts(text: str) -> list[str]:
    """What a line may be broken before: words with the space before them, and Chinese characters."""
    found: list[str] = []
    for letter in text:
        is_chinese = "\u4e00" <= letter <= "\u9fff"
        if (
            letter == " "
            or is_chinese
            or not found
            or ("\u4e00" <= found[-1][-1] <= "\u9fff" and letter not in "，。、；：？！）")
        ):
            found.append(letter)
        else:
            found[-1] += letter
    return found
