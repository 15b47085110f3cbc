"""Every topic of the tutorials behind this project has its lesson and its cells, and docs/learn.md says which."""

import re
from pathlib import Path

from minibert.learn.lesson import FOLDER, read_cells

DOCUMENT = Path(__file__).parents[2] / "docs" / "learn.md"


def rows(text: str) -> list[tuple[str, str, str]]:
    """Tutorial, topic, and the third column of a table; a tutorial is named in the first of its rows."""
    found, tutorial = [], ""
    for cells in re.findall(r"^\|(.*)\|$", text, re.MULTILINE):
        first, topic, third, *_ = [*(cell.strip() for cell in cells.split("|")), "", ""]
        tutorial = first or tutorial
        if re.match(r"\d, ", tutorial):
            found.append((tutorial, topic, third))
    return found


def places() -> list[tuple[str, str, str]]:
    section = DOCUMENT.read_text(encoding="utf-8").split("## Where the tutorials' topics are")[1].split("\n## ")[0]
    return rows(section)


def test_the_cells_are_there() -> None:
    assert len(places()) == 24
    for _, topic, where in places():
        for part in re.split(r"; (?=\d+: )", where):
            number, names = part.split(": ", 1)
            cells = read_cells(FOLDER / f"lesson{int(number):02}" / "cells.py")
            for group in names.split("; "):
                kind = "exercise: " if group.startswith("exercise") else ""
                for name in re.sub(r"^exercises? ", "", group).split(", "):
                    assert kind + name in cells, f"{topic}: lesson {number} has no {kind}{name}"


def test_no_topic_is_missing(shared: Path) -> None:
    text = (shared / "reference" / "tutorial_topics.md").read_text(encoding="utf-8")
    wanted = [(tutorial, topic) for tutorial, topic, _ in rows(text)]
    assert [(tutorial, topic) for tutorial, topic, _ in places()] == wanted
