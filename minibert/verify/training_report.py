"""What verify_training found: the first difference, its causes, and a row for each kind of value in each step."""

from dataclasses import asdict, dataclass, field

from minibert.terminal import table
from minibert.verify.training_causes import Cause


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
class TrainingReport:
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

    def to_dict(self) -> dict[str, object]:
        """The whole report as plain values, for JSON."""
        return asdict(self) | {"same": self.same}

    def conclusion(self) -> str:
        """The finding in a few lines."""
        first = self.first_difference
        if first is None:
            largest = max((row.of_bound for row in self.rows), default=0.0)
            return f"The two runs are the same for {self.steps} steps; at most {largest:.2g} of the bound for rounding."
        name = first.name + (f" ({first.theirs} in {self.names[1]})" if first.theirs not in ("", first.name) else "")
        place = f" at {first.place}" if first.place else ""
        lines = [f"The runs part at step {first.step}: {first.kind}, {name}{place}."]
        if first.difference is not None and first.found is not None:
            beyond = "" if first.bound is None else f" The bound for rounding is {first.bound:.2g}."
            lines.append(f"{self.names[0]} has {first.expected!r}, {self.names[1]} {first.found!r}.{beyond}")
        for cause in self.causes:
            lines.append(f"Cause: {cause.sentence}" + (f" [{cause.formula}]." if cause.formula else "."))
        if not self.causes:
            lines.append("No known cause has this value.")
        return "\n".join(lines)

    def to_text(self) -> str:
        """The finding, then a row for each kind of value in each step."""
        rows = [
            (row.step, row.kind, row.compared, f"{row.difference:.3g}", f"{row.of_bound:.2g}", row.verdict)
            for row in self.rows
        ]
        columns = ("step", "what", "compared", "max |Δ|", "of bound", "verdict")
        body = table(columns, rows, right=("step", "compared", "max |Δ|", "of bound"))
        return "\n\n".join([self.conclusion(), body, *(["\n".join(self.notes)] if self.notes else [])])

    def __str__(self) -> str:
        return self.to_text()
