"""Ports and mistakes of a person who had not seen the table (all of them: named_mistakes.py --held-out)."""

import pytest

from minibert import BertForPreTraining
from tests.verify.held_out import PAIRS, SINGLE, HeldOut, check, explain_held_out
from tests.verify.naming import RIGHT, with_few_words

HANDFUL = (
    "student: segment inverted",
    "student: pool second to last layer",
    "student: norm not loaded",
    "einsum: f scale 1plus",
    "encoder: t default eps",
)


@pytest.fixture(scope="module")
def model() -> BertForPreTraining:
    """With the weights as they are: whole float16 numbers, which must not be told as a loss of digits."""
    return with_few_words(BertForPreTraining.from_pretrained("minibert-demo"), 200)


def test_the_cases_are_told_apart():
    names = [str(case) for case in SINGLE + PAIRS]
    assert len(set(names)) == len(names) >= 70
    assert set(HANDFUL) <= set(names)
    assert all(len(case.names) >= 1 for case in PAIRS)


@pytest.mark.slow
@pytest.mark.parametrize("port", ["student", "einsum", "encoder"])
def test_a_right_port_has_no_difference(model, port, tmp_path):
    explanation = explain_held_out(model, HeldOut(port, "right", (), ()), tmp_path)
    assert explanation.findings == []
    assert not {point.status for point in explanation.points} & {"differs", "not reached", "explained"}


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDFUL)
def test_a_mistake_is_named(model, name, tmp_path):
    result = check(model, next(case for case in SINGLE if str(case) == name), tmp_path)
    assert result.verdict in RIGHT, result
