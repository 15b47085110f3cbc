"""What verify_training found: the first difference, its causes, and a row for each kind of value in each step."""

from dataclasses import asdict, dataclass, field

from minibert.display.shown import Printed
from minibert.display.tables import html_table, paragraph, tabled
from minibert.terminal import table
from minibert.verify.drawing import folded
from minibert.verify.sentences import retold, word
from minibert.verify.training_causes import Cause

HEADS = ("step", "what", "compared", "max_difference", "of_bound", "verdict")


@dataclass(frozen=True)
class TrainingDifference:
    """The first thing that differs."""

    step: int  # from 1
    kind: str  # "initial weights", "activations", "loss", "gradients", "applied gradients", "optimizer state", …
    name: str  # of the value on the first side
    theirs: str  # its name on the second side
    difference: float | None  # the largest |Δ|; None where one side has no such value
    place: tuple[int, ...]
    found: float | None  # on the second side
    expected: float | None  # on the first side
    bound: float | None  # what counts as rounding there


@dataclass(frozen=True)
class TrainingRow:
    """Everything of one kind in one step."""

    step: int
    kind: str
    compared: int
    difference: float  # the largest |Δ|
    of_bound: float  # the largest |Δ| / bound
    verdict: str  # "same", "rounding", "differs"


@dataclass
class TrainingReport(Printed):
    """The whole comparison."""

    names: tuple[str, str]
    steps: int  # compared, the one that differs too
    rows: list[TrainingRow] = field(default_factory=list)
    first_difference: TrainingDifference | None = None
    causes: list[Cause] = field(default_factory=list)  # known ones whose values are theirs
    notes: list[str] = field(default_factory=list)

    @property
    def same(self) -> bool:
        """Whether something was compared and nothing differs by more than rounding."""
        return self.first_difference is None and any(row.compared for row in self.rows)

    def __bool__(self) -> bool:
        return self.same

    def to_dict(self, language: str = "en") -> dict[str, object]:
        """The whole report as plain values, for JSON; ``language``: of the causes' sentences and the notes."""
        causes = [
            {"key": each.key, "side": each.side, "sentence": each.said(language), "formula": each.formula}
            for each in self.causes
        ]
        notes = [retold(note, language) for note in self.notes]
        return asdict(self) | {"causes": causes, "notes": notes, "same": self.same}

    def conclusion(self, language: str = "en") -> str:
        """The finding in a few lines."""
        first = self.first_difference
        if first is None:
            largest = max((row.of_bound for row in self.rows), default=0.0)
            return word("runs_same", language, steps=self.steps, largest=f"{largest:.2g}")
        a, b = self.names
        name = first.name
        if first.theirs not in ("", first.name):
            name = word("name_in", language, name=name, theirs=first.theirs, side=b)
        place = word("at_place", language, place=first.place) if first.place else ""
        kind = word(f"kind {first.kind}", language)
        lines = [word("runs_part", language, step=first.step, kind=kind, name=name, place=place)]
        if first.difference is not None and first.found is not None:
            beyond = "" if first.bound is None else word("bound_is", language, bound=f"{first.bound:.2g}")
            values = {"expected": repr(first.expected), "found": repr(first.found)}
            lines.append(word("sides_have", language, a=a, b=b, **values) + beyond)
        for each in self.causes:
            key = "cause_formula" if each.formula else "cause_is"
            lines.append(word(key, language, sentence=each.said(language), formula=each.formula))
        if not self.causes:
            lines.append(word("no_cause", language))
        return "\n".join(map(folded, lines))

    def to_text(self, language: str = "en") -> str:
        """For a terminal: the finding, then a row for each kind of value in each step."""
        heads = [word(key, language) for key in HEADS]
        body = table(heads, self._cells(language), right=[heads[i] for i in (0, 2, 3, 4)])
        notes = [folded(retold(note, language)) for note in self.notes]
        return "\n\n".join([self.conclusion(language), body, *(["\n".join(notes)] if notes else [])])

    def to_html(self, language: str = "en") -> str:
        """For a page or a notebook: the finding, the table, the notes."""
        heads = [word(key, language) for key in HEADS]
        rows = [tuple(map(str, row)) for row in self._cells(language)]
        return tabled(
            paragraph(*self.conclusion(language).splitlines()),
            html_table(heads, rows, right=[heads[i] for i in (0, 2, 3, 4)]),
            [paragraph(retold(note, language)) for note in self.notes],
            language=language,
        )

    def _cells(self, language: str) -> list[tuple[object, ...]]:
        return [
            (
                row.step,
                word(f"kind {row.kind}", language),
                row.compared,
                f"{row.difference:.3g}",
                f"{row.of_bound:.2g}",
                word(f"verdict {row.verdict}", language),
            )
            for row in self.rows
        ]

    def _repr_html_(self) -> str:
        return self.to_html()

    def __str__(self) -> str:
        return self.to_text()
