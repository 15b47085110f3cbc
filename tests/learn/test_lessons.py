"""The lessons: the same in three languages, complete, with every reference to the code found."""

import json
import re
from importlib import import_module
from itertools import pairwise
from types import ModuleType

import pytest

from minibert import InputError
from minibert.learn import Cell, Exercise, Prose, lesson_model, lesson_numbers, open_lesson, to_notebook, to_text
from minibert.learn.code_line import find_line
from minibert.learn.lesson import BLOCK, FOLDER, REFERENCE, is_open, read_cells, read_hints
from minibert.learn.words import LANGUAGES, WORDS

EACH = pytest.mark.parametrize("number", lesson_numbers())
EACH_AND_LANGUAGE = pytest.mark.parametrize(
    ("number", "language"), [(n, each) for n in lesson_numbers() for each in LANGUAGES]
)


def text_of(number: int, language: str) -> str:
    return (FOLDER / f"lesson{number:02}" / f"{language}.md").read_text(encoding="utf-8")


@EACH
def test_the_languages_have_the_same_cells_and_exercises(number: int) -> None:
    blocks = [[(block[1], block[2]) for block in BLOCK.finditer(text_of(number, each))] for each in LANGUAGES]
    assert blocks[0] == blocks[1] == blocks[2]
    assert len(set(blocks[0])) == len(blocks[0])
    cells = read_cells(FOLDER / f"lesson{number:02}" / "cells.py")
    named = {name if kind == "cell" else f"{kind}: {name}" for kind, name in blocks[0] if kind != "hints"}
    assert named == cells.keys(), "every cell of cells.py stands in the text, and the other way round"
    references = [re.findall(REFERENCE, text_of(number, each)) for each in LANGUAGES]
    assert sorted(references[0]) == sorted(references[1]) == sorted(references[2])


@EACH_AND_LANGUAGE
def test_a_lesson_is_whole(number: int, language: str) -> None:
    lesson = open_lesson(number, language)
    assert lesson.title
    assert lesson.question
    assert text_of(number, language).count(":::{") == len(BLOCK.findall(text_of(number, language)))
    assert 3 <= len(lesson.exercises) <= 5
    for exercise in lesson.exercises:
        assert {"right", "other"} < exercise.hints.keys(), f"{exercise.name} names no mistake"
        assert "..." in exercise.code
        assert f'check("{exercise.name}", ' in exercise.code
        assert "..." not in exercise.solution
        assert exercise.hints.keys() == open_lesson(number, "en").exercises[exercise.number - 1].hints.keys()
        assert len(set(exercise.hints.values())) == len(exercise.hints)
        assert all(exercise.hints.values())
    assert all("{code}" not in part.text for part in lesson.parts if isinstance(part, Prose) and not REFERENCE)
    assert not any(isinstance(a, Prose) and isinstance(b, Prose) for a, b in pairwise(lesson.parts))


@EACH
def test_the_languages_are_what_they_are_called(number: int) -> None:
    """Prose, without code and mathematics: Hangul in Korean, Han in Chinese, neither in English."""
    prose = {each: re.sub(r"`[^`]*`|\$[^$]*\$", "", BLOCK.sub("", text_of(number, each))) for each in LANGUAGES}
    share = {
        each: (len(re.findall(r"[가-힣]", text)) / len(text), len(re.findall(r"[一-鿿]", text)) / len(text))
        for each, text in prose.items()
    }
    assert share["ko"][0] > 0.3
    assert share["zh"][1] > 0.3
    assert max(share["en"]) < 0.1
    assert "습니다" in prose["ko"] or "입니다" in prose["ko"]


@EACH
def test_references_to_code_are_found(number: int) -> None:
    found = [find_line(reference) for reference in REFERENCE.findall(text_of(number, "en"))]
    assert found, "a lesson says where its matter stands in the code"


@EACH
def test_outputs_are_stored_for_every_cell(number: int) -> None:
    lesson = open_lesson(number)
    stored = json.loads((FOLDER / lesson.name / "outputs.json").read_text(encoding="utf-8"))
    assert stored.keys() == {cell.name for cell in lesson.cells}
    assert any(cell.outputs for cell in lesson.cells)
    for name, outputs in stored.items():
        for output in outputs:
            assert output["output_type"] in ("stream", "display_data", "execute_result"), name
            assert set(output.get("data", {})) <= {"text/plain", "text/html", "image/svg+xml"}, name
            text = json.dumps(output)
            assert not re.search(r"<script|https?://(?!www\.w3\.org)|0x[0-9a-f]{6}|/tmp/|/home/", text), name


@EACH
def test_checks_say_every_hint_and_nothing_else(number: int) -> None:
    """Keys in the code of checks.py are those of the hints; what is not an answer is ``other``, never an error."""
    lesson = open_lesson(number)
    source = (FOLDER / lesson.name / "checks.py").read_text(encoding="utf-8")
    for exercise in lesson.exercises:
        assert lesson.outcome(exercise.name, ...) == "unanswered"
        for answer in (None, object(), "", [], {}, -(10**9), float("nan"), lambda: None):
            assert lesson.outcome(exercise.name, answer) in exercise.hints.keys() - {"right"}, (exercise.name, answer)
        for key in exercise.hints:
            assert f'"{key}"' in source, f"no check of lesson {number} says {key}"


@EACH_AND_LANGUAGE
def test_the_notebook_is_valid(number: int, language: str) -> None:
    nbformat = pytest.importorskip("nbformat")
    notebook = to_notebook(open_lesson(number, language))
    nbformat.validate(notebook)
    sources = ["".join(cell["source"]) for cell in notebook["cells"]]
    assert not any(":::" in source or "{code}" in source for source in sources)
    assert sum("<details>" in source for source in sources) == len(open_lesson(number).exercises)
    assert f'open_lesson({number}, "{language}")' in sources[1]


@EACH
def test_the_text_has_cells_with_outputs(number: int) -> None:
    lesson = open_lesson(number, "ko")
    text = to_text(lesson)
    assert lesson.title in text.splitlines()[0]
    for cell in lesson.cells:
        assert cell.code.splitlines()[0] in text
    solved = to_text(lesson, solutions=True)
    assert all(exercise.explanation.splitlines()[0][:12] in solved for exercise in lesson.exercises)
    assert f"{WORDS['ko']['solution']}:" not in text
    assert f'>>> check = open_lesson({number}, "ko").check' in text  # else the exercises cannot be answered
    assert "。 " not in open_lesson(number, "zh").question  # of a quotation in two lines


def test_checks_print(capsys) -> None:
    lesson = open_lesson(lesson_numbers()[0], "en")
    exercise = lesson.exercises[0]
    lesson.check(exercise.name, ...)
    lesson.check(exercise.name, None)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("… Not answered yet")
    assert printed[1] == f"✗ {exercise.hints['other']}"
    with pytest.raises(InputError, match=r"has no exercise 'nothing'; its exercises are "):
        lesson.check("nothing", 1)


def test_what_is_not_there_is_said() -> None:
    with pytest.raises(InputError, match=r"There is no lesson 99; there are "):
        open_lesson(99)
    with pytest.raises(InputError, match=r"no lesson in 'fr'; the languages are en, ko, zh"):
        open_lesson(lesson_numbers()[0], "fr")
    with pytest.raises(InputError, match=r"no BertSelfAttention.nothing in minibert/model.py"):
        find_line("BertSelfAttention.nothing")
    with pytest.raises(InputError, match=r"has no line that begins with 'skores ='"):
        find_line("BertSelfAttention.forward: skores =")


def test_lines_of_code() -> None:
    found = find_line("BertSelfAttention.forward: scores =")
    line = (FOLDER.parents[1] / found.file).read_text(encoding="utf-8").splitlines()[found.line - 1]
    assert line.strip().startswith("scores =")
    assert find_line("heads").file == "heads.py"
    assert find_line("tokenizer.wordpiece").file == "tokenizer/wordpiece.py"


def test_open_answers_and_hints() -> None:
    assert is_open((1, ...))
    assert is_open({"a": ...})
    assert not is_open((1, 2))
    assert read_hints("right: Yes,\n  it is.\nother: No.") == {"right": "Yes, it is.", "other": "No."}


def test_models_of_lessons(tmp_path, monkeypatch) -> None:
    lesson_model.cache_clear()
    monkeypatch.delenv("MINIBERT_LESSON_MODELS", raising=False)
    assert lesson_model("kcbert-base") is None
    lesson_model.cache_clear()
    (tmp_path / "kcbert-base").mkdir()
    monkeypatch.setenv("MINIBERT_LESSON_MODELS", str(tmp_path))
    assert lesson_model("kcbert-base") == tmp_path / "kcbert-base"
    lesson_model.cache_clear()


def test_checks_leave_the_front_of_the_room_as_it_is() -> None:
    """The folder lessons/ is imported with the first check; it must not take a function's name."""
    open_lesson(lesson_numbers()[0]).outcome(open_lesson(lesson_numbers()[0]).exercises[0].name, None)
    room = import_module("minibert.learn")
    assert all(not isinstance(getattr(room, name), ModuleType) for name in room.__all__)


def test_parts_are_of_three_kinds() -> None:
    lesson = open_lesson(lesson_numbers()[0])
    assert {type(part) for part in lesson.parts} == {Prose, Cell, Exercise}
