"""Loading and saving checkpoints: formats, dialects, and a report on every tensor.

Start with ``load.py``.  ``names.py`` is the table of dialects, ``weights.py`` reads the formats, ``report.py`` is the
report of a loaded model, ``save.py`` writes.
"""

from typing import Any

from minibert.checkpoint.load import load_pretrained
from minibert.checkpoint.report import LoadReport, TensorRecord
from minibert.checkpoint.save import save_pretrained, write_safetensors
from minibert.checkpoint.tensors import Weights
from minibert.checkpoint.weights import open_weights
from minibert.renamed import moved_name

__all__ = [
    "LoadReport",
    "TensorRecord",
    "Weights",
    "load_pretrained",
    "open_weights",
    "save_pretrained",
    "write_safetensors",
]


def __getattr__(name: str) -> Any:
    """Find a name that is now in another module (PEP 562)."""
    return moved_name("minibert.checkpoint", name)
