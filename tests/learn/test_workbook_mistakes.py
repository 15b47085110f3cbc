"""Wrong solutions, as students write them, are told the right mistake or the right first value, and no wrong name."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minibert.learn.workbook import STEPS, Verdict
from minibert.learn.workbook.child import Messages, judge, load
from minibert.learn.workbook.folder import template
from minibert.learn.workbook.report import Report
from minibert.learn.workbook.verdict import MISTAKE, STATUS
from tests.learn.right_solutions import RIGHT
from tests.learn.wrong_solutions import WRONG, Wrong


@pytest.fixture(scope="module")
def messages() -> Iterator[Messages]:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    yield Messages(nowhere)
    os.close(nowhere)


def verdict_on(wrong: Wrong, folder: Path, messages: Messages, seed: int = 0) -> Verdict:
    file = folder / "my_bert.py"
    right = f"\nRIGHT = {wrong.step}\n" if "RIGHT" in wrong.code else ""
    file.write_text(template("en", solutions=True) + right + wrong.code, encoding="utf-8")
    module = load(file, messages)
    assert module is not None
    return judge(wrong.step, module, seed, file, frozenset(), messages)


LONG = ("layer", "mlm_head")  # a second for the table of mistakes; one of each is always run


def as_parameter(number: int) -> Any:
    wrong = WRONG[number]
    is_slow = wrong.step in LONG and WRONG[number - 1].step == wrong.step
    marks = [pytest.mark.slow] if is_slow else []
    return pytest.param(wrong, id=f"{number}-{wrong.step}-{wrong.told}", marks=marks)


@pytest.mark.parametrize("wrong", map(as_parameter, range(len(WRONG))))
def test_is_told_the_right_thing(wrong: Wrong, tmp_path: Path, messages: Messages) -> None:
    verdict = verdict_on(wrong, tmp_path, messages)
    keys = {mistake["key"] for mistake in verdict.mistakes}
    expected = set(wrong.told.split("|"))
    if expected & set(STATUS):
        assert verdict.status in expected, (verdict.status, keys, verdict.first, verdict.details)
        assert not keys
    else:
        assert verdict.status == MISTAKE, (verdict.status, verdict.first, verdict.details)
        assert keys <= expected, keys
        if verdict.step != "mask_pieces":
            assert verdict.first is not None
    if wrong.place:
        assert verdict.first is not None
        assert verdict.first["place"].startswith(wrong.place.rstrip("]")), verdict.first
    for language in ("en", "ko", "zh"):  # every word is there
        report = Report(tmp_path / "my_bert.py", language, 0, (wrong.step,), None, [verdict])
        assert report.to_text() and report.to_text(more_hints=True)
        assert report.to_dict()["steps"][0]["message"]


def test_there_are_two_for_each_hole() -> None:
    counts = Counter(wrong.step for wrong in WRONG)
    assert set(counts) == {step.name for step in STEPS}
    assert min(counts.values()) >= 2
    assert len(WRONG) >= 100


@pytest.mark.parametrize(("step", "code"), RIGHT, ids=[f"{n}-{step}" for n, (step, _) in enumerate(RIGHT)])
def test_another_way_to_write_it_is_right(step: str, code: str, tmp_path: Path, messages: Messages) -> None:
    for seed in (0, 1):
        verdict = verdict_on(Wrong(step, "right", code), tmp_path, messages, seed)
        assert verdict.is_right, verdict
