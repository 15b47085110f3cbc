"""Displays for notebooks: HTML that stays inside its own element, loads nothing and reads in light and dark.

``elements.py`` writes all of it, also the tables of other rooms; ``maps.py``, ``charts.py`` and ``tokens.py`` hold what
a reader calls.  Everything here takes tensors, arrays or lists and needs no torch.
"""

from minibert.display.charts import show_bars, show_curves
from minibert.display.maps import show_attention, show_map
from minibert.display.shown import Display
from minibert.display.tokens import show_tokens

__all__ = ["Display", "show_attention", "show_bars", "show_curves", "show_map", "show_tokens"]
