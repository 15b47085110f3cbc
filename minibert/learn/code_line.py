"""Where a name stands in the code: ``BertSelfAttention.forward: scores =`` → minibert/model.py, line 186.

A lesson names the code; the line is looked up when the lesson is shown, so that it is right when the code moves.
"""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minibert.errors import InputError

PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class CodeLine:
    """A line of minibert's source."""

    name: str  # as in Python: BertSelfAttention.forward
    file: str  # below the package: model.py
    line: int  # from 1


def find_line(reference: str) -> CodeLine:
    """The line that ``NAME`` or ``NAME: beginning of a line`` means.

    A name is looked for in model.py, or in the module that it begins with (``tokenizer.wordpiece.split``).

    Raises:
        InputError: no such name, or no such line in it.
    """
    name, _, beginning = (part.strip() for part in reference.partition(":"))
    file, inner = module_of(name)
    lines = (PACKAGE / file).read_text(encoding="utf-8").splitlines()
    first, last = place(file, inner, name) if inner else (1, len(lines))
    if not beginning:
        return CodeLine(inner or name, file, first)
    for number in range(first, last + 1):
        if lines[number - 1].strip().startswith(beginning):
            return CodeLine(inner or name, file, number)
    raise InputError(f"{name} in minibert/{file} has no line that begins with {beginning!r}.")


def module_of(name: str) -> tuple[str, str]:
    """The file, and the rest of the name: the longest module that the name begins with, else model.py."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        file = "/".join(parts[:count]) + ".py"
        if (PACKAGE / file).is_file():
            return file, ".".join(parts[count:])
    return "model.py", name


def place(file: str, inner: str, name: str) -> tuple[int, int]:
    """First and last line of a class, a function or an assigned name."""
    node: ast.AST = parsed(file)
    for part in inner.split("."):
        found = next((child for child in ast.iter_child_nodes(node) if part in names(child)), None)
        if found is None:
            raise InputError(f"There is no {name} in minibert/{file}.")
        node = found
    assert isinstance(node, ast.stmt)
    return node.lineno, node.end_lineno or node.lineno


def names(node: ast.AST) -> list[str]:
    """The names that a statement defines."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@cache
def parsed(file: str) -> ast.Module:
    """The syntax tree of a file of minibert."""
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))
