"""How a run is trained: one flat record, with the paper's values as defaults (appendix A.2) and a reason where due."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from minibert.errors import InputError


@dataclass(frozen=True)
class Settings:
    """What does not change during a run.  A resumed run must have the same, but for the last six."""

    learning_rate: float = 1e-4  # at its highest, when the warm-up ends
    epochs: int = 1
    steps: int | None = None  # instead of epochs: this many, beginning new epochs as needed
    warmup: float = 0.1  # share of the steps in which the rate rises; afterwards it falls to 0, both in straight lines
    weight_decay: float = 0.01  # not of biases and LayerNorm
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6  # Google's optimization.py; torch's own default is 1e-8
    clip: float = 1.0  # the longest gradient, all parameters together (Google's optimization.py)
    seed: int = 0
    precision: str = "float32"  # or "bfloat16": autocast, where the device is good at it
    keep_best: str | None = None  # the score whose highest evaluation is kept, instead of the last step's weights
    evaluate_every: int = 0  # steps; 0: at the end of each epoch
    micro_tokens: int | None = None  # at most so many in one forward pass, padding counted; the rest of a step follows
    recompute: bool = False  # gradient checkpointing: a third more time, memory for one layer instead of all
    save_every: int = 500  # steps between snapshots
    keep_snapshots: int = 2
    tensorboard: bool = False
    stop_after: int | None = None  # end at this step, with what is there; the same call without it goes on

    def __post_init__(self) -> None:
        """Raises InputError for a value that makes no sense."""
        for name, least, most in BOUNDS:
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int | float) and least <= value <= most):
                raise InputError(f"{name} is {value!r}; it must lie between {least} and {most}.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision is {self.precision!r}; there are 'float32' and 'bfloat16'.")

    def lasting(self) -> dict[str, Any]:
        """Those on which the result depends, as JSON keeps them."""
        fields = {name: value for name, value in dataclasses.asdict(self).items() if name not in FREE}
        return {**fields, "betas": list(self.betas)}


# May differ in a resumed run; what they change is memory, time and the last bits.
FREE = ("micro_tokens", "recompute", "save_every", "keep_snapshots", "tensorboard", "stop_after")
ENDLESS = float("inf")
BOUNDS = (
    ("learning_rate", 0, ENDLESS), ("epochs", 1, ENDLESS), ("steps", 1, ENDLESS), ("warmup", 0, 1),
    ("weight_decay", 0, ENDLESS), ("eps", 0, 1), ("clip", 0, ENDLESS), ("evaluate_every", 0, ENDLESS),
    ("micro_tokens", 1, ENDLESS), ("save_every", 1, ENDLESS), ("keep_snapshots", 1, ENDLESS),
    ("stop_after", 1, ENDLESS),
)  # fmt: skip
