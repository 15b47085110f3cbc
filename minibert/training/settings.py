"""The settings of a run: one flat dataclass, with the paper's values as defaults (appendix A.2)."""

import dataclasses
import logging
import math
from dataclasses import dataclass
from typing import Any

from minibert.errors import InputError
from minibert.renamed import older_arguments

logger = logging.getLogger("minibert.training")


@dataclass(frozen=True)
class Settings:
    """What does not change during a run.  A resumed run must have the same, but for the last seven."""

    learning_rate: float = 1e-4  # the peak, at the end of the warm-up
    epochs: int = 1
    steps: int | None = None  # instead of epochs: this many, beginning new epochs as needed
    warmup: float = 0.1  # share of the steps in which the learning rate rises linearly
    schedule: str = "linear"  # how it falls to 0 after that: "linear", "cosine"; or not: "constant"
    layer_decay: float = 1.0  # the rate of a layer is that of the layer above it times this; the head has all of it
    freeze: str | None = None  # what is not trained: "embeddings", "3" (the first three layers), "embeddings,3"
    weight_decay: float = 0.01  # not of biases and LayerNorm
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6  # Google's optimization.py; torch's own default is 1e-8
    max_grad_norm: float = 1.0  # of all parameters together (Google's optimization.py); 0: no clipping
    seed: int = 0
    precision: str = "float32"  # or "bfloat16": autocast, where the device is good at it
    keep_best: str | None = None  # keep the weights with the highest such score, instead of the last step's
    evaluate_every: int = 0  # steps; 0: at the end of each epoch
    micro_tokens: int | None = None  # tokens of a micro-batch, padding counted; None: a step is one batch
    gradient_checkpointing: bool = False  # a third more time, activations of one layer instead of all
    save_every: int = 500  # steps between snapshots
    keep_snapshots: int = 2
    tensorboard: bool = False
    patience: int | None = None  # stop after so many evaluations in a row without a better score (keep_best)
    stop_after: int | None = None  # end at this step with a checkpoint; the same call without it resumes

    def __post_init__(self) -> None:
        """Raises InputError for a value that makes no sense."""
        for name, least, most in BOUNDS:
            value = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            is_number = type(value) is int or (type(value) is float and name not in WHOLE and math.isfinite(value))
            if not is_number or not least <= value <= most:
                expected = "a whole number" if name in WHOLE else "a number"
                raise InputError(f"{name} is {value!r}; it must lie between {least} and {most}, and be {expected}.")
        if self.learning_rate == 0:
            raise InputError(f"learning_rate is {self.learning_rate!r}; it must be above 0, or nothing is learned.")
        if self.precision not in ("float32", "bfloat16"):
            raise InputError(f"precision is {self.precision!r}; there are 'float32' and 'bfloat16'.")

        if self.schedule not in SCHEDULES:
            raise InputError(f"schedule is {self.schedule!r}; there are {', '.join(map(repr, SCHEDULES))}.")
        if self.freeze is not None and not (isinstance(self.freeze, str) and frozen_parts(self.freeze)):
            raise InputError(
                f"freeze is {self.freeze!r}; expected 'embeddings', a number of layers such as '3', or both: "
                "'embeddings,3'."
            )

    def identity(self) -> dict[str, Any]:
        """The settings on which the result depends, as run.json holds them: under the names of version 0.1.0.

        Settings that came later are left out where they have their defaults, so that older runs can be resumed.
        """
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        fields = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name not in FREE and not (name in LATER and value == usual[name])
        }
        fields["clip"] = fields.pop("max_grad_norm")
        return {**fields, "betas": list(self.betas)}

    def warn(self) -> None:
        """Warn of a learning rate that can hardly be meant."""
        if self.learning_rate > HIGHEST_LEARNING_RATE:
            logger.warning(
                "learning_rate is %g; Adam moves every weight by about that much in a step, and BERT's weights are "
                "about 0.02 in size. Usual are 1e-5 to 1e-3; above %g hardly anything is learned.",
                self.learning_rate, HIGHEST_LEARNING_RATE,
            )  # fmt: skip


Settings.__init__ = older_arguments(Settings.__init__)  # type: ignore[method-assign]

HIGHEST_LEARNING_RATE = 0.01  # half of initializer_range, 0.02
SCHEDULES = ("linear", "cosine", "constant")
# May differ in a resumed run; they change memory, time, the last bits, and where the run ends.
FREE = (
    "micro_tokens", "gradient_checkpointing", "save_every", "keep_snapshots", "tensorboard", "patience", "stop_after",
)  # fmt: skip
LATER = ("schedule", "layer_decay", "freeze")  # than version 0.1.0
ENDLESS = float("inf")
OPTIONAL = ("steps", "micro_tokens", "patience", "stop_after")
WHOLE = (
    "epochs", "steps", "evaluate_every", "micro_tokens", "save_every", "keep_snapshots", "patience", "stop_after",
    "seed",
)  # fmt: skip
BOUNDS = (
    ("learning_rate", 0, ENDLESS), ("epochs", 1, ENDLESS), ("steps", 1, ENDLESS), ("warmup", 0, 1),
    ("weight_decay", 0, ENDLESS), ("eps", 0, 1), ("max_grad_norm", 0, ENDLESS), ("evaluate_every", 0, ENDLESS),
    ("micro_tokens", 1, ENDLESS), ("save_every", 1, ENDLESS), ("keep_snapshots", 1, ENDLESS),
    ("stop_after", 1, ENDLESS), ("seed", -ENDLESS, ENDLESS), ("layer_decay", 0, 1), ("patience", 1, ENDLESS),
)  # fmt: skip


def frozen_parts(freeze: str) -> tuple[bool, int] | None:
    """Whether the embeddings are frozen, and how many layers are; None for a text that does not say it."""
    parts = [part.strip() for part in freeze.split(",")]
    numbers = [part for part in parts if part.isdecimal()]
    names = [part for part in parts if part not in numbers]
    if len(numbers) > 1 or names not in ([], ["embeddings"]):
        return None
    layers = int(numbers[0]) if numbers else 0
    return (bool(names), layers) if names or layers else None
