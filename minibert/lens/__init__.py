"""The lens: look inside a model while it runs, and change what you see.

All of it stands on the marks in the model and their watches (minibert/watch.py); minibert/points.py names the values.
``tracing.py`` keeps them, ``walking.py`` stops at each, ``editing.py`` changes them, ``ablation.py`` takes heads away,
``noise.py`` perturbs them, ``jacobian.py`` is its exact limit, ``logit_lens.py`` asks each layer for a prediction.
"""

from typing import Any

from minibert.lens.ablation import ablate_heads
from minibert.lens.drawing import draw_attention, draw_sensitivity
from minibert.lens.editing import edit, force_attention, mean_head, patch, zero_head
from minibert.lens.jacobian import exact_sensitivity, jacobian_block
from minibert.lens.logit_lens import LogitLens, logit_lens
from minibert.lens.noise import Sensitivity, sensitivity
from minibert.lens.tracing import Trace, trace
from minibert.lens.walking import Step, Walk, walk
from minibert.points import Point, Points
from minibert.renamed import older_name

__all__ = [
    "LogitLens",
    "Point",
    "Points",
    "Sensitivity",
    "Step",
    "Trace",
    "Walk",
    "ablate_heads",
    "draw_attention",
    "draw_sensitivity",
    "edit",
    "exact_sensitivity",
    "force_attention",
    "jacobian_block",
    "logit_lens",
    "mean_head",
    "patch",
    "sensitivity",
    "trace",
    "walk",
    "zero_head",
]


def __getattr__(name: str) -> Any:
    """Find a name that is now another (PEP 562)."""
    newer = older_name("minibert.lens", name)
    if newer is None:
        raise AttributeError(f"module 'minibert.lens' has no attribute {name!r}")
    return globals()[newer]
