"""The steps of the workbook, in their order: each a function of my_bert.py with its inputs and known mistakes."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from minibert.errors import InputError
from minibert.learn.workbook import checkpoint_steps, model_steps, reference, text_steps, training_steps
from minibert.learn.workbook.cases import Exercise

WHOLE = "my_bert"  # the last step: no function, but the model as a whole


@dataclass(frozen=True)
class Step:
    """One function to write.

    Attributes:
        number: from 1.
        name: of the function.
        make: a seed → inputs and known mistakes; None for the one that draws at random.
    """

    number: int
    name: str
    make: Callable[[int], Exercise] | None

    @property
    def right(self) -> Callable[..., Any]:
        """The teacher's function."""
        function: Callable[..., Any] = getattr(reference, self.name)
        return function

    @property
    def signature(self) -> str:
        """As it is written: ``gelu(x)``."""
        return f"{self.name}({', '.join(inspect.signature(self.right).parameters)})"


MAKERS: tuple[tuple[str, Callable[[int], Exercise] | None], ...] = (
    ("gelu", model_steps.gelu),
    ("layer_norm", model_steps.layer_norm),
    ("embeddings", model_steps.embeddings),
    ("split_heads", model_steps.split_heads),
    ("merge_heads", model_steps.merge_heads),
    ("attention_scores", model_steps.attention_scores),
    ("apply_mask", model_steps.apply_mask),
    ("softmax", model_steps.softmax),
    ("context", model_steps.context),
    ("self_attention", model_steps.self_attention),
    ("self_output", model_steps.self_output),
    ("feed_forward", model_steps.feed_forward),
    ("layer", model_steps.layer),
    ("encoder", model_steps.encoder),
    ("pooler", model_steps.pooler),
    ("mlm_head", model_steps.mlm_head),
    ("mlm_loss", training_steps.mlm_loss),
    ("wordpiece", text_steps.wordpiece),
    ("pair_row", text_steps.pair_row),
    ("mask_pieces", None),  # masking_step.py
    ("adamw_step", training_steps.adamw_step),
    ("my_names", checkpoint_steps.my_names),
    ("fill_mask", checkpoint_steps.fill_mask),
)
STEPS = tuple(Step(number, name, make) for number, (name, make) in enumerate(MAKERS, 1))
NAMES = (*(step.name for step in STEPS), WHOLE)


def find_step(asked: str | int) -> str:
    """The name of a step that is asked for by name or number.

    Raises InputError for any other.
    """
    text = str(asked).strip()
    if text.isdecimal() and 1 <= int(text) <= len(NAMES):
        return NAMES[int(text) - 1]
    if text in NAMES:
        return text
    raise InputError(f"There is no step {text!r}; the steps are 1 to {len(NAMES)}, or by name {', '.join(NAMES)}.")
