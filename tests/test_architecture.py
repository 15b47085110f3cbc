"""Imports run one way: the floors of docs/architecture.md are the contract that import-linter holds, and the code's.

``make lint`` checks the contract of pyproject.toml.  Here the same is seen without import-linter: imports inside
functions and under TYPE_CHECKING count, and so do those between a room and its own files.
"""

import ast
import re
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
CONTRACTS = {
    contract["type"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
}
# From the lowest floor up: the rooms on each.
FLOORS = [{room.strip(" ()") for room in layer.split("|")} for layer in reversed(CONTRACTS["layers"]["layers"])]


def imports() -> dict[str, set[str]]:
    """Every module of the package, with those that it imports anywhere in its text."""
    paths = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (ROOT / "minibert").rglob("*.py")
        if path.name != "cells.py"  # of a lesson: what a reader would type
    }
    graph = {}
    for module, path in paths.items():
        imported = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert not node.level, f"{module} has a relative import"
                names = {f"{node.module}.{alias.name}" for alias in node.names}
                imported |= {name if name in paths else str(node.module) for name in names}
        graph[module] = imported & paths.keys()
    return graph


def room_of(module: str) -> str:
    return module.split(".")[1]


def test_the_document_has_the_floors_of_the_contract() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = {
        int(floor): set(re.findall(r"`(\w+)(?:\.py|/)`", rooms))
        for floor, rooms in re.findall(r"^\| (\d+) \| (.*) \|$", text, re.MULTILINE)
    }
    assert table == dict(enumerate(FLOORS))


def test_imports_run_downwards() -> None:
    floor_of = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
    for module, imported in imports().items():
        if module in ("minibert", "minibert.__main__"):
            continue
        assert "minibert" not in imported, f"{module} imports the front door"
        for other in imported:
            room, other_room = room_of(module), room_of(other)
            assert room == other_room or floor_of[other_room] < floor_of[room], f"{module} imports {other}"


def test_no_circle_of_modules() -> None:
    """Neither of rooms nor of the files in one; CycleError names the modules of a circle."""
    graph = imports()
    for ignored in CONTRACTS["acyclic_siblings"].get("ignore_imports", ()):
        module, other = ignored.split(" -> ")
        graph.get(module, set()).discard(other)
    TopologicalSorter(graph).prepare()
