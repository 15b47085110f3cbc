"""Every lesson runs, prints what it shows, and takes its own solutions for right."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

from minibert.learn import lesson_numbers, open_lesson

QUICK = (2, 3, 6)  # in make test; the others in make test-all


@pytest.fixture
def run_lessons(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "tools"))
    monkeypatch.delenv("MINIBERT_LESSON_MODELS", raising=False)
    return import_module("run_lessons")


@pytest.mark.parametrize(
    "number", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in lesson_numbers()]
)
def test_a_lesson_runs(number: int, run_lessons: ModuleType) -> None:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    lesson = open_lesson(number)
    found = run_lessons.run(lesson, solved=True)
    for cell in lesson.cells:
        assert not run_lessons.difference(cell.outputs, found[cell.name]), cell.name
    assert run_lessons.unsolved(lesson, found) == []


def stream(text: str) -> list[dict[str, object]]:
    return [{"output_type": "stream", "text": [text]}]


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("0.1234 a", "0.1235 a", ""),
        ("0.1234 a", "0.1334 a", "0.1234 was, 0.1334 is"),
        ("1.2e-07", "1.3e-07", ""),
        ("1.2e-07", "1.2e-06", "1.2e-07 was, 1.2e-06 is"),
        ("12345 a", "12346 a", "12345 was, 12346 is"),
        ("3 a", "3 b", "…# a… but now …# b…"),
    ],
)
def test_differences_are_told(before: str, after: str, told: str, run_lessons: ModuleType) -> None:
    assert run_lessons.difference(stream(before), stream(after)) == told


def test_pictures_may_be_a_point_off(run_lessons: ModuleType) -> None:
    pictures = [
        [{"output_type": "display_data", "data": {"text/html": [f'<rect x="{x}" fill="{colour}"/>']}}]
        for x, colour in (("10.2", "#a0b0c0"), ("10.9", "#a0b0c1"), ("12", "#a0b0c1"))
    ]
    assert run_lessons.difference(pictures[0], pictures[1]) == ""
    assert run_lessons.difference(pictures[0], pictures[2]) == "10.2 was, 12 is"
    assert run_lessons.difference(pictures[0], stream("")) == "['text/html'] was, ['stream'] is"
