"""What was found out about somebody's BERT: every value and where it is in their program, and what is wrong.

:func:`explain` gives the findings as records with a sentence for the learner, in three languages.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

from minibert.terminal import table
from minibert.verify.mistakes import Mistake
from minibert.verify.sentences import sentence, title

STATUS = {
    "found": "found, and right",
    "unseen": "not seen, and what follows is right",
    "explained": "found, with the mistake in it",
    "differs": "differs",
    "absent": "not in their program",
    "not reached": "not reached",
}


@dataclass
class PointFound:
    """One value of BERT, and where it is in their program."""

    point: str
    status: str  # a key of STATUS
    theirs: str = ""  # what they call it, with the line of code where that is known
    layout: str = (
        ""  # the order of its axes there: B text, T token, S seen token, N head, D place in the head, P packed
    )
    ulps: float | None = None  # the largest |Δ|, in units in the last place of the value's largest number


@dataclass
class Finding:
    """One thing that is wrong."""

    kind: str  # "mistake": known by name; "random": another value in every run; "unknown": only its relation is known
    mistakes: tuple[Mistake, ...]  # several: the same values on every input, or not to be told apart on these
    points: list[str]  # where it was found
    theirs: str = ""  # their value that shows it
    ulps: float = 0.0  # how far the mistake's value is from theirs, in units in the last place of its largest number
    right_ulps: float = 0.0  # how far the right value is from theirs, in the same units


@dataclass(frozen=True)
class Told:
    """A finding in words."""

    name: str  # the mistake's, or several, joined by "="
    title: str
    sentence: str
    formula: str  # what they compute
    where: tuple[str, ...]  # the points of BERT
    theirs: str  # their value that shows it, with the line
    evidence: str


@dataclass
class Explanation:
    """All of it; true where nothing is wrong is ``same``."""

    points: list[PointFound]
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    units: float = 0.0  # what counted as rounding

    @property
    def same(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    @property
    def first_difference(self) -> str | None:
        """The first value of BERT that is wrong."""
        return next((point for finding in self.findings for point in finding.points), None)

    def to_dict(self, language: str = "en") -> dict[str, Any]:
        """For JSON."""
        return {
            "same": self.same,
            "units": self.units,
            "findings": [vars(told) | {"where": list(told.where)} for told in explain(self, language)],
            "points": [vars(point) for point in self.points],
            "notes": self.notes,
        }

    def to_text(self, *, every_point: bool = False, language: str = "en") -> str:
        """For a terminal: the findings, then a table of the values that are not simply right, or of all."""
        shown = [p for p in self.points if every_point or p.status in ("explained", "differs")]
        rows = [
            (p.point, STATUS[p.status], p.theirs, p.layout, "" if p.ulps is None else f"{p.ulps:.1f}") for p in shown
        ]
        columns = ("value of BERT", "", "in their program", "axes", "ulps")
        parts = [table(columns, rows, right=("ulps",))] if rows else []
        parts += [_paragraph(told) for told in explain(self, language)]
        return "\n\n".join([*parts, *(["\n".join(self.notes)] if self.notes else []), self.conclusion()])

    def conclusion(self) -> str:
        """One sentence."""
        counts = {status: sum(point.status == status for point in self.points) for status in STATUS}
        seen = (
            f"{counts['found'] + counts['explained']} of BERT's {len(self.points)} values were found in their program"
        )
        unseen = f", {counts['unseen']} are inside a fused operation or were not recorded" if counts["unseen"] else ""
        unseen += f", {counts['absent']} are of parts that their program does not have" if counts["absent"] else ""
        if self.same:
            verdict = "No value differs" if counts["found"] else "Nothing was found to differ, and nothing was found"
            return f"{verdict}: {seen}{unseen}. Rounding is up to {self.units:g} ulps; padding does not count."
        left = (
            f" {counts['not reached']} values after the last one could not be judged." if counts["not reached"] else ""
        )
        return f"{len(self.findings)} finding{'s' * (len(self.findings) > 1)}: {seen}{unseen}.{left}"

    def __str__(self) -> str:
        return self.to_text()

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        cells = [(t.title, t.sentence, t.formula, ", ".join(t.where), t.theirs) for t in explain(self)]
        rows = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in cells)
        head = "".join(
            f"<th>{name}</th>" for name in ("mistake", "what it means", "their formula", "where", "their value")
        )
        return f"<p>{escape(self.conclusion())}</p>" + (f"<table><tr>{head}</tr>{rows}</table>" if cells else "")


def explain(report: Explanation, language: str = "en") -> list[Told]:
    """The findings in words.

    Args:
        report: of minibert.verify.
        language: "en", "ko" or "zh".

    Raises InputError for another language.
    """
    return [_told(finding, report.units, language) for finding in report.findings]


def _told(finding: Finding, units: float, language: str) -> Told:
    by_key = {mistake.key: mistake for mistake in reversed(finding.mistakes)}
    mistakes = list(by_key.values())[::-1]
    sentences = [sentence(m.key, {**m.details, "where": _places(finding.points)}, language) for m in mistakes]
    evidence = ""
    if finding.kind == "mistake" and finding.right_ulps:
        evidence = (
            f"their value is {finding.ulps:.1f} ulps from this formula's and {finding.right_ulps:,.0f} from the right "
            f"one's; up to {units:g} is rounding"
        )
    elif finding.kind == "unknown" and finding.theirs and finding.right_ulps:
        evidence = f"the nearest of their values, {finding.right_ulps:,.0f} ulps from the right one"
    return Told(
        " = ".join(dict.fromkeys(mistake.name for mistake in finding.mistakes)),
        " = ".join(dict.fromkeys(title(mistake.key, language) for mistake in mistakes)),
        " / ".join(dict.fromkeys(sentences)),
        mistakes[0].formula if mistakes else "",
        tuple(finding.points),
        finding.theirs,
        evidence,
    )


def _places(points: Sequence[str]) -> str:
    """Points in short: layers together."""
    by_name: dict[str, list[int]] = {}
    for point in points:
        parts = point.split(".", 3)
        inside = parts[:2] == ["encoder", "layer"]
        by_name.setdefault(parts[3] if inside else point, []).extend([int(parts[2])] if inside else [])
    return ", ".join(f"{name} ({_layers(layers)})" if layers else name for name, layers in by_name.items())


def _layers(numbers: Sequence[int]) -> str:
    together = list(numbers) == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2
    return f"layers {numbers[0]}–{numbers[-1]}" if together else "layer " + ", ".join(map(str, numbers))


def _paragraph(told: Told) -> str:
    lines = [f"{told.title}: {told.sentence}", f"  computed: {told.formula}", f"  where: {_places(told.where)}"]
    lines += [f"  shown by: {told.theirs}"] * bool(told.theirs) + [f"  {told.evidence}"] * bool(told.evidence)
    return "\n".join(line for line in lines if not line.endswith(": "))
