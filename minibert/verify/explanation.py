"""What was found out about somebody's BERT: every value and where it is in their program, and what is wrong.

:func:`explain` gives the findings as records with a sentence for the learner, in three languages.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Protocol

from minibert.display.elements import element, joined
from minibert.display.shown import Printed
from minibert.display.tables import code, folded_away, html_table, lines, paragraph, tabled
from minibert.terminal import table
from minibert.verify.drawing import folded, labelled
from minibert.verify.mistakes import Mistake
from minibert.verify.sentences import retold, sentence, speak, title, word

STATUS = ("found", "unseen", "explained", "differs", "absent", "not reached")  # words of sentences/


@dataclass
class PointFound:
    """One value of BERT, and where it is in their program."""

    point: str
    status: str  # one of STATUS
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
    """A finding in words; the names, the formula and the points are the same in every language."""

    kind: str  # as in Finding
    name: str  # the mistake's, or several, joined by " = "
    title: str
    sentence: str
    formula: str  # what they compute; "" where it is not known
    where: tuple[str, ...]  # the points of BERT
    theirs: str  # their value that shows it, with the line
    evidence: str  # how far their value is from this formula's and from the right one; "" where nothing was measured
    ulps: float | None  # the same two as numbers
    right_ulps: float | None

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the fields, ``where`` as a list."""
        return vars(self) | {"where": list(self.where)}


class _HasExplanation(Protocol):
    @property
    def explanation(self) -> "Explanation | None": ...


@dataclass
class Explanation(Printed):
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
        """For JSON: "same", "conclusion", "units", and "findings", "points" and "notes" as lists.

        A finding has the fields of :class:`Told`, a point those of :class:`PointFound`.  ``language`` is that of
        "conclusion", "notes" and of a finding's "title", "sentence" and "evidence".
        """
        return {
            "same": self.same,
            "conclusion": self.conclusion(language),
            "units": self.units,
            "findings": [told.to_dict() for told in explain(self, language)],
            "points": [vars(point) for point in self.points],
            "notes": [retold(note, language) for note in self.notes],
        }

    def to_text(self, *, every_point: bool = False, language: str = "en") -> str:
        """For a terminal: a table of the values that are not simply right, or of all, then the findings."""
        shown = [p for p in self.points if every_point or p.status in ("explained", "differs")]
        rows = list(_rows(shown, language, together=not every_point))
        heads = [word(key, language) for key in ("value", "status", "in_their_program", "axes", "ulps")]
        parts = [table(heads, rows, right=heads[-1:])] if rows else []
        parts += [_paragraph(told, language) for told in explain(self, language)]
        notes = [folded(retold(note, language)) for note in self.notes]
        return "\n\n".join([*parts, *(["\n".join(notes)] if notes else []), folded(self.conclusion(language))])

    def conclusion(self, language: str = "en") -> str:
        """The result in two sentences."""
        counts = {status: sum(point.status == status for point in self.points) for status in STATUS}
        seen = word("seen", language, found=counts["found"] + counts["explained"], all=len(self.points))
        seen += _counted("seen_unseen", counts["unseen"], language)
        seen += _counted("seen_absent", counts["absent"], language)
        if self.same:
            key = "no_difference" if counts["found"] else "nothing_found"
            return word(key, language, seen=seen, units=f"{self.units:g}")
        found = _counted("findings", len(self.findings), language, seen=seen)
        return found + _counted("after_last", counts["not reached"], language)

    def __str__(self) -> str:
        return self.to_text()

    def to_html(self, language: str = "en") -> str:
        """For a page or a notebook: the conclusion, a table of the findings, and one of all values, folded away."""
        heads = [word(key, language) for key in ("mistake", "computed", "where", "shown_by")]
        findings = [
            (
                lines(told.title, told.sentence, bold=True),
                joined([code(told.formula), element("br") if told.formula and told.evidence else None, told.evidence]),
                _in_language(_places(told.where), language),
                told.theirs,
            )
            for told in explain(self, language)
        ]
        points = list(_rows(self.points, language, together=True))
        columns = [word(key, language) for key in ("value", "status", "in_their_program", "axes", "ulps")]
        summary = word("values_of_bert", language, all=len(self.points))
        return tabled(
            paragraph(self.conclusion(language)),
            html_table(heads, findings, first="40%") if findings else None,
            [paragraph(retold(note, language)) for note in self.notes],
            folded_away(summary, html_table(columns, points, right=columns[-1:], name=summary)) if points else None,
            language=language,
        )

    def _repr_html_(self) -> str:
        return self.to_html()


def explain(report: Explanation | _HasExplanation, language: str = "en") -> list[Told]:
    """The findings in words, in the order of computation.

    Args:
        report: of :func:`minibert.verify.verify_models` or another function of minibert.verify, or its
            ``explanation``.
        language: "en", "ko" or "zh".

    Raises InputError for another language.
    """
    explanation = report if isinstance(report, Explanation) else report.explanation
    speak(language)
    if explanation is None:  # nothing differs
        return []
    return [_told(finding, explanation.units, language) for finding in explanation.findings]


def _told(finding: Finding, units: float, language: str) -> Told:
    by_key = {mistake.key: mistake for mistake in reversed(finding.mistakes)}
    mistakes = list(by_key.values())[::-1]
    sentences = [sentence(m.key, {**m.details, "where": _places(finding.points)}, language) for m in mistakes]
    measured = finding.kind == "mistake" and bool(finding.right_ulps)
    evidence = ""
    if measured:
        right = f"{finding.right_ulps:,.0f}" if isfinite(finding.right_ulps) else "∞"
        evidence = word("evidence_ulps", language, ulps=f"{finding.ulps:.1f}", right=right, units=f"{units:g}")
    elif finding.kind == "unknown" and finding.theirs and finding.right_ulps:
        evidence = word("evidence_nearest", language, right=f"{finding.right_ulps:,.0f}")
    return Told(
        finding.kind,
        " = ".join(dict.fromkeys(mistake.name for mistake in finding.mistakes)),
        " = ".join(dict.fromkeys(title(mistake.key, language) for mistake in mistakes)),
        word("or", language).join(dict.fromkeys(sentences)),
        mistakes[0].formula if mistakes and finding.kind == "mistake" else "",
        tuple(finding.points),
        retold(finding.theirs, language),
        evidence,
        finding.ulps if measured else None,
        finding.right_ulps if measured and isfinite(finding.right_ulps) else None,
    )


def _in_language(places: str, language: str) -> str:
    return speak(language).said(places)


def _counted(key: str, count: int, language: str, **details: str) -> str:
    """A word with a number in it; "" for none."""
    return word(f"one {key}" if count == 1 else key, language, count=count, **details) if count else ""


def _places(points: Sequence[str]) -> str:
    """Points in short: layers together."""
    by_name: dict[str, list[int]] = {}
    for point in points:
        layer, name = _split(point)
        by_name.setdefault(name, []).extend([] if layer is None else [layer])
    return ", ".join(f"{name} ({_layers(layers)})" if layers else name for name, layers in by_name.items())


def _split(point: str) -> tuple[int | None, str]:
    """The layer and the name in it."""
    parts = point.split(".", 3)
    return (int(parts[2]), parts[3]) if parts[:2] == ["encoder", "layer"] else (None, point)


def _layers(numbers: Sequence[int]) -> str:
    return ("layer " if len(numbers) == 1 else "layers ") + _numbers(numbers)


def _numbers(numbers: Sequence[int]) -> str:
    together = list(numbers) == list(range(numbers[0], numbers[-1] + 1)) and len(numbers) > 2
    return f"{numbers[0]}–{numbers[-1]}" if together else ", ".join(map(str, numbers))


def _rows(points: Sequence[PointFound], language: str, *, together: bool) -> Iterator[tuple[str, ...]]:
    """Rows of the table of values; with ``together`` one for the same value of several layers."""
    groups: dict[tuple[object, ...], list[PointFound]] = {}
    for number, point in enumerate(points):
        layer, name = _split(point.point)
        # The layer's number in their names ("blocks.3.norm") may be another in each of the layers.
        theirs = point.theirs if layer is None else re.sub(rf"(?<![\w:]){layer}(?!\w)", "{}", point.theirs)
        key = (name, point.status, theirs, point.layout) if together and layer is not None else (number,)
        groups.setdefault(key, []).append(point)
    for group in groups.values():
        first = group[0]
        theirs = first.theirs
        layers = [layer for layer in (_split(point.point)[0] for point in group) if layer is not None]
        if len({point.theirs for point in group}) > 1:
            theirs = re.sub(rf"(?<![\w:]){layers[0]}(?!\w)", _numbers(layers), theirs)
        name = _in_language(_places([point.point for point in group]), language) if together else first.point
        far = [point.ulps for point in group if point.ulps is not None]
        yield name, word(first.status, language), theirs, first.layout, f"{max(far):.1f}" if far else ""


def _paragraph(told: Told, language: str) -> str:
    labels = (
        ("computed", told.formula),
        ("where", _in_language(_places(told.where), language)),
        ("shown_by", told.theirs),
        ("evidence", told.evidence),
    )
    body = labelled((word(label, language), text) for label, text in labels)
    return "\n".join(part for part in (folded(told.title), folded(told.sentence, 2), body) if part)
