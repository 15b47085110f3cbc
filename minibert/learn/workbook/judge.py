"""From a learner's function to a verdict.  This runs where the function runs: in a process of its own."""

import inspect
import traceback
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from torch import Tensor

from minibert.learn.workbook import masking_step
from minibert.learn.workbook.cases import Alternative, Case, Exercise, Failed, is_visible
from minibert.learn.workbook.steps import Step
from minibert.learn.workbook.values import (
    Difference,
    copied,
    first_difference,
    is_unchanged,
    kind_of,
    largest_difference,
)
from minibert.learn.workbook.verdict import MISTAKE, NOT_WRITTEN, RIGHT, Verdict

Function = Callable[..., Any]
Calling = Callable[[], AbstractContextManager[None]]  # around every call of the learner's code
MOST_MISTAKES = 2  # that are told; more that give the same values are told as none
EXACT = 1e-12


def judge_step(step: Step, function: Function, seed: int, file: Path, calling: Calling) -> Verdict:
    """Call a learner's function with a step's inputs and say what is right or wrong about it.

    Args:
        step: which.
        function: the learner's, of that name.
        seed: of the inputs.
        file: the learner's, to find the line of an error.
        calling: a context manager that is entered around every call.
    """
    wrong = check_signature(step, function)
    if wrong is not None:
        return wrong
    if step.make is None:
        return judge_masking(step, function, seed, file, calling)
    exercise = step.make(seed)
    found: list[Any] = []
    for case in exercise.cases:
        outcome = call(step, function, case.args, file, calling, case.name)
        if isinstance(outcome, Verdict):
            # What an earlier case returned says more than an error that a later one raised.
            return judge_values(step, exercise, found) if is_any_wrong(exercise, found) else outcome
        found.append(outcome[0])
    return judge_values(step, exercise, found)


def is_any_wrong(exercise: Exercise, found: Sequence[Any]) -> bool:
    """Whether one of the first values is not the right one."""
    return any(difference_of(case, value) for case, value in zip(exercise.cases, found, strict=False))


def check_signature(step: Step, function: Any) -> Verdict | None:
    """The verdict for something that cannot be called with the step's arguments, in their order."""
    wanted = list(inspect.signature(step.right).parameters)
    details = {"expected": step.signature}
    if not callable(function):
        return Verdict(step.name, "signature", details={**details, "found": kind_of(function)})
    try:
        signature = inspect.signature(function)
    except ValueError:  # of a builtin
        return None
    try:
        signature.bind(*wanted)
        names = list(signature.parameters)
        is_reordered = names != wanted and sorted(names) == sorted(wanted)
    except TypeError:
        is_reordered = True
    if is_reordered:
        return Verdict(
            step.name, "signature", details={**details, "found": f"{step.name}({', '.join(signature.parameters)})"}
        )
    return None


def call(
    step: Step, function: Function, args: tuple[Any, ...], file: Path, calling: Calling, name: str
) -> Verdict | tuple[Any]:
    """What a call returned, in a tuple of one, or a verdict where it failed or changed what it was given."""
    given = copied(args)
    try:
        with calling():
            result = function(*given)
    except NotImplementedError:
        return Verdict(step.name, NOT_WRITTEN)
    except (Exception, SystemExit) as error:
        return failed(step.name, error, file, name)
    if result is ...:
        return Verdict(step.name, NOT_WRITTEN)
    if result is None:
        return Verdict(step.name, "nothing", case=name)
    if not is_unchanged(args, given):
        parameters = list(inspect.signature(step.right).parameters)
        changed = [
            p for p, before, after in zip(parameters, args, given, strict=True) if not is_unchanged(before, after)
        ]
        return Verdict(step.name, "changed_inputs", case=name, details={"argument": ", ".join(changed)})
    return (result,)


def failed(step: str, error: BaseException, file: Path, case: str = "") -> Verdict:
    """The verdict for an error in the learner's code."""
    details = describe(error, file)
    if isinstance(error, SystemExit):
        return Verdict(step, "exit", case=case, details=details)
    if isinstance(error, MemoryError) or "can't allocate memory" in str(error):
        return Verdict(step, "memory", case=case, details=details)
    return Verdict(step, "raised", case=case, details=details)


def describe(error: BaseException, file: Path) -> dict[str, Any]:
    """An error's type and message, and the last line of the learner's file that led to it."""
    first, _, more = str(error).strip().partition("\n")
    message = " ".join(f"{first} {more}".split()) if first.endswith(":") else first  # of load_state_dict: what follows
    message = message[:300].rstrip(".")
    text = f"{type(error).__name__}: {message}" if message else type(error).__name__
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    if not own:
        return {"error": text, "line": 0, "code": ""}
    return {"error": text, "line": own[-1].lineno, "code": own[-1].line or ""}


def difference_of(case: Case, found: Any) -> Difference | None:
    """The first place where a value is not right; None where it is one of the right ones."""
    differences = []
    for right in (case.expected, *case.others):
        difference = first_difference(right, found)
        if difference is None or difference.kind == "value":
            difference = first_difference(case.adapt(right), case.adapt(found))
        if difference is None:
            return None
        differences.append(difference)
    return differences[0]


def judge_values(step: Step, exercise: Exercise, found: Sequence[Any]) -> Verdict:
    """The verdict on what was returned for the first cases, or for all."""
    cases = exercise.cases[: len(found)]
    for case, value in zip(cases, found, strict=True):
        difference = difference_of(case, value)
        if difference is not None:
            return wrong_value(step, exercise, found, case, difference)
    largest = max(
        min(largest_difference(case.adapt(right), case.adapt(value)) for right in (case.expected, *case.others))
        for case, value in zip(cases, found, strict=True)
    )
    return Verdict(step.name, RIGHT, difference=largest)


def wrong_value(step: Step, exercise: Exercise, found: Sequence[Any], case: Case, difference: Difference) -> Verdict:
    """The verdict where something differs: the mistake by name, or what differs."""
    first = {"place": difference.place, "expected": difference.expected, "found": difference.found}
    is_complete = len(found) == len(exercise.cases)
    known = name_mistakes(exercise.cases, exercise.alternatives(), found) if is_complete else []
    if known:
        told = [{"key": each.key, "details": dict(each.details)} for each in known]
        return Verdict(step.name, MISTAKE, case=case.name, first=first, mistakes=told)
    status = "differs" if difference.kind == "value" else difference.kind
    return Verdict(step.name, status, case=case.name, first=first)


def name_mistakes(
    cases: Sequence[Case], alternatives: Iterable[Alternative], found: Sequence[Any]
) -> list[Alternative]:
    """The known mistakes that give exactly these values for all cases, and that these cases can show.

    At most two: where more fit, the values do not say which it is, and none is named.  Those that give the values to
    the last digits go before those that nearly do.
    """
    # What has another shape than the right value is compared as it is.
    structure = [first_difference(case.expected, value) for case, value in zip(cases, found, strict=True)]
    seen = [
        case.adapt(value) if difference is None or difference.kind == "value" else value
        for case, value, difference in zip(cases, found, structure, strict=True)
    ]
    fitting = [
        alternative
        for alternative in alternatives
        if all(fits(value, theirs) for value, theirs in zip(alternative.values, seen, strict=True))
        and is_visible(alternative, cases)
    ]
    exact = [each for each in fitting if all(map(is_exact, each.values, seen))]
    by_key: dict[str, Alternative] = {}
    for alternative in exact or fitting:
        by_key.setdefault(alternative.key, alternative)
    if "dense.transposed" in by_key:
        by_key.pop("dense.reshaped", None)  # the same for a square matrix
    return list(by_key.values()) if len(by_key) <= MOST_MISTAKES else []


def fits(value: Any, theirs: Any) -> bool:
    """Whether a mistake's value is theirs, up to rounding."""
    return not isinstance(value, Failed) and first_difference(value, theirs) is None


def is_exact(value: Any, theirs: Any) -> bool:
    """Whether it is theirs up to the rounding of float64: of mistakes that nearly give the same, this one is meant."""
    return largest_difference(value, theirs) < EXACT


def judge_masking(step: Step, function: Function, seed: int, file: Path, calling: Calling) -> Verdict:
    """The verdict on the function that draws: two calls, and what is counted in their results."""
    results: list[Any] = []
    for draw in (0, 1):
        outcome = call(step, function, masking_step.arguments(seed, draw), file, calling, "drawn")
        if isinstance(outcome, Verdict):
            return outcome
        ids = masking_step.inputs(seed)
        difference = wrong_kind(outcome[0], ids)
        if difference is not None:
            first = {"place": difference.place, "expected": difference.expected, "found": difference.found}
            return Verdict(step.name, difference.kind, case="drawn", first=first)
        results.append(outcome[0])
    (masked, labels), (_, again) = results
    counted = next(masking_step.judge(ids, masked, labels, again), None)
    if counted is None:
        return Verdict(step.name, RIGHT)
    first = {"place": counted.what, "expected": counted.expected, "found": counted.found}
    if not counted.key:
        return Verdict(step.name, "differs", case="drawn", first=first)
    return Verdict(step.name, MISTAKE, case="drawn", first=first, mistakes=[{"key": counted.key, "details": {}}])


def wrong_kind(found: Any, ids: Tensor) -> Difference | None:
    """What is not two tensors of the shape and dtype of ``ids``."""
    difference = first_difference((ids, ids), found)
    return None if difference is None or difference.kind == "value" else difference
