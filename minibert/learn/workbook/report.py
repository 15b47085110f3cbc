"""The result of a check: for a terminal, and as JSON for a grader."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.learn.workbook.steps import NAMES, WHOLE
from minibert.learn.workbook.texts import mistake_sentence, mistake_title, texts, word
from minibert.learn.workbook.verdict import MISTAKE, NOT_WRITTEN, RIGHT, WAITING, Verdict

SCHEMA = 1  # of to_dict; a change that a grader would notice makes it 2
POINTS = 1  # a step
INDENT = " " * 6


@dataclass(frozen=True)
class Report:
    """What was found out about a workbook.

    Attributes:
        file: that was checked.
        language: of the words.
        seed: of the inputs.
        names: of the steps that were asked for.
        problem: what keeps the file as a whole from being run: "kind", and what its sentence has blanks for.
        verdicts: on the steps, in order; none where there is a problem.
    """

    file: Path
    language: str
    seed: int
    names: tuple[str, ...]
    problem: dict[str, Any] | None
    verdicts: list[Verdict]

    @property
    def points(self) -> int:
        """For each step that is right, one."""
        return POINTS * sum(verdict.is_right for verdict in self.verdicts)

    @property
    def possible(self) -> int:
        """The points of all steps that were asked for."""
        return POINTS * len(self.names)

    @property
    def is_right(self) -> bool:
        """Whether all of them are right."""
        return self.points == self.possible

    def to_dict(self) -> dict[str, Any]:
        """For JSON: "schema", "file", "language", "seed", "points", "possible", "right", "problem" and "steps".

        A step has "number", "step", "title", "status", "points", "possible", "message", "hint", "plainer", "first",
        "mistakes" (keys), "case", "difference", "printed" and "details"; where there is a problem with the file as a
        whole, "status" is "not_run".
        """
        by_name = {verdict.step: verdict for verdict in self.verdicts}
        return {
            "schema": SCHEMA,
            "file": self.file.name,
            "language": self.language,
            "seed": self.seed,
            "points": self.points,
            "possible": self.possible,
            "right": self.is_right,
            "problem": None if self.problem is None else {**self.problem, "message": self.problem_sentence()},
            "steps": [self.step_dict(name, by_name.get(name)) for name in self.names],
        }

    def step_dict(self, name: str, verdict: Verdict | None) -> dict[str, Any]:
        """One step for JSON."""
        about = texts(self.language)["steps"][name]
        known = verdict or Verdict(name, "not_run")
        return {
            "number": NAMES.index(name) + 1,
            "step": name,
            "title": about["title"],
            "status": known.status,
            "points": POINTS if known.is_right else 0,
            "possible": POINTS,
            "message": "" if verdict is None else self.sentence(verdict),
            "hint": about["hint"],
            "plainer": self.plainer(known),
            "first": known.first,
            "mistakes": [mistake["key"] for mistake in known.mistakes],
            "case": self.case(known),
            "difference": known.difference,
            "printed": known.printed,
            "details": known.details,
        }

    def to_text(self, more_hints: bool = False) -> str:
        """For a terminal: a line for each step, more for one that is not right; the hint, or the plainer one."""
        if self.problem is not None:
            printed = self.printed(str(self.problem.get("printed", "")))
            return "\n".join([self.problem_sentence(), *printed])
        lines = [line for verdict in self.verdicts for line in self.step_lines(verdict, more_hints)]
        all_right = self.is_right and len(self.names) == len(NAMES)
        key = "right_steps_all" if all_right else "right_steps"
        return "\n".join([*lines, "", word(key, self.language, right=self.points, all=self.possible)])

    def __str__(self) -> str:
        return self.to_text()

    def step_lines(self, verdict: Verdict, more_hints: bool) -> Iterator[str]:
        """All that is said of one step."""
        mark = {RIGHT: "✓", NOT_WRITTEN: "…", WAITING: "…"}.get(verdict.status, "✗")
        yield f"{NAMES.index(verdict.step) + 1:>2}  {verdict.step:<16}  {mark} {self.sentence(verdict)}"
        if verdict.details.get("guesses"):
            told = ", ".join(f"{piece} {share:.0%}" for piece, share in verdict.details["guesses"])
            yield INDENT + word("guesses", self.language, text=verdict.details["text"], guesses=told)
        if verdict.status in (RIGHT, WAITING):
            yield from self.verified(verdict)
            return
        is_asked_for = len(self.names) == 1 or verdict.status != NOT_WRITTEN
        if verdict.first is not None:
            yield INDENT + self.first(verdict)
        if is_asked_for and more_hints:
            yield INDENT + word("hint", self.language, hint=self.plainer(verdict))
        elif is_asked_for:
            yield INDENT + word("hint", self.language, hint=texts(self.language)["steps"][verdict.step]["hint"])
            yield INDENT + word("more", self.language, step=verdict.step)
        yield from self.printed(verdict.printed)

    def verified(self, verdict: Verdict) -> Iterator[str]:
        """What verify says of the model as a whole."""
        if verdict.step == WHOLE and verdict.is_right:
            blanks = {key: verdict.details[key] for key in ("found", "all")}
            ulps, difference = f"{verdict.details['ulps']:.1f}", number(verdict.difference)
            yield INDENT + word("verify", self.language, **blanks, ulps=ulps, difference=difference)

    def sentence(self, verdict: Verdict) -> str:
        """The verdict in words."""
        if verdict.status == RIGHT:
            if verdict.difference is None:
                return word("right_drawn", self.language)
            return word("right", self.language, difference=number(verdict.difference))
        if verdict.status == MISTAKE:
            titles = dict.fromkeys(mistake_title(mistake["key"], self.language) for mistake in verdict.mistakes)
            return word("or", self.language).join(titles)
        first = verdict.first or {}
        return str(texts(self.language)["status"][verdict.status]).format(**self.blanks({**first, **verdict.details}))

    def plainer(self, verdict: Verdict) -> str:
        """The hint that says how to mend it: of the known mistake, else of the step."""
        if not verdict.mistakes:
            return str(texts(self.language)["steps"][verdict.step]["plainer"])
        told = (
            mistake_sentence(mistake["key"], mistake["details"], self.language, verdict.step)
            for mistake in verdict.mistakes
        )
        return word("or", self.language).join(dict.fromkeys(told))

    def first(self, verdict: Verdict) -> str:
        """The first place that differs."""
        first = verdict.first or {}
        counts = texts(self.language)["counts"]
        if verdict.case == "drawn" and first["place"] in counts:
            return word("first_counted", self.language, **{**first, "place": counts[first["place"]]})
        key = "first" if first["place"] else "first_whole"
        if not first["expected"]:
            place = " ".join(filter(None, [first["place"], first["found"]]))
            return word("first_place", self.language, place=place)
        first = {**first, "found": first["found"] or word("nothing", self.language)}
        remarks = [word("after_softmax", self.language)] if verdict.step == "apply_mask" else []
        if case := self.case(verdict):
            remarks.append(word("inputs", self.language, case=case))
        remark = word("remark", self.language, remarks="; ".join(remarks)) if remarks else ""
        return word(key, self.language, **first) + remark

    def case(self, verdict: Verdict) -> str:
        """Which inputs showed it."""
        name, _, detail = verdict.case.partition(":")
        return str(texts(self.language)["cases"].get(name, "")).format(detail)

    def problem_sentence(self) -> str:
        """What keeps the file from being run."""
        problem = self.problem or {}
        return f"{self.file.name}: " + str(texts(self.language)["problems"][problem["kind"]]).format(
            **self.blanks(problem)
        )

    def blanks(self, details: dict[str, Any]) -> dict[str, Any]:
        """Details with "line" as words: nothing where no line is known."""
        line, code = details.get("line"), details.get("code", "")
        return {**details, "line": word("line", self.language, line=line, code=code) if line else ""}

    def printed(self, text: str) -> Iterator[str]:
        """The beginning of what the learner's code printed."""
        if text.strip():
            yield INDENT + word("printed", self.language)
            yield from (f"{INDENT}  {line}" for line in text.rstrip().splitlines()[:10])


def number(value: float | None) -> str:
    """A difference, short."""
    return f"{value or 0.0:.1e}" if value else "0"
