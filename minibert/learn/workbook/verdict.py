"""What is found out about one step."""

from dataclasses import asdict, dataclass, field
from typing import Any

RIGHT, MISTAKE, NOT_WRITTEN, WAITING = "right", "mistake", "not_written", "waiting"

# Every status that a step can have; texts/ has a sentence for each.
STATUS = (
    RIGHT,
    MISTAKE,  # known by name
    "differs",  # a value is wrong, and no known mistake gives it
    NOT_WRITTEN,
    "missing",  # no function of that name
    "signature",
    "nothing",  # it returns None
    "type",
    "shape",
    "dtype",
    "length",
    "key_missing",
    "key_extra",
    "changed_inputs",
    "raised",
    "exit",
    "memory",
    "timeout",
    "crash",
    "flood",
    WAITING,  # for the steps before it
)


@dataclass
class Verdict:
    """What is found out about one step.

    Attributes:
        step: its name.
        status: one of STATUS.
        difference: the largest |Δ|, where the step is right.
        case: the inputs that showed it, a key of the texts.
        first: the first place that is wrong: "place", "expected", "found", as text.
        mistakes: the known mistakes that give these values, each with "key" and "details"; at most two.
        details: what the status's sentence has blanks for: "error", "line", "code", …
        printed: the beginning of what the learner's code printed.
    """

    step: str
    status: str
    difference: float | None = None
    case: str = ""
    first: dict[str, str] | None = None
    mistakes: list[dict[str, Any]] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    printed: str = ""

    @property
    def is_right(self) -> bool:
        """Whether the step is done."""
        return self.status == RIGHT

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)
