"""The lens: read and change the values inside a model during a forward pass.

It is built on the points in the model and the watches of minibert/watch.py; minibert/points.py names the values.
``tracing.py`` records them, ``walking.py`` steps through them, ``editing.py`` replaces them, ``ablation.py`` ablates
heads, ``noise.py`` measures sensitivity to noise, ``jacobian.py`` its exact limit, and ``logit_lens.py`` applies the
head to every hidden state.  Start with ``tracing.py``.
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
