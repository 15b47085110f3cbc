"""Files in, state dict out: where a checkpoint is, its format, its dialect, and what became of every tensor.

``load.py`` tells the story; ``names.py`` is the table of dialects, ``weights.py`` the formats, ``report.py`` the
account that a loaded model carries, ``save.py`` the way back.
"""

from minibert.checkpoint.load import load_pretrained
from minibert.checkpoint.report import LoadReport, TensorRecord
from minibert.checkpoint.save import save_pretrained, write_safetensors
from minibert.checkpoint.weights import Weights, open_weights

__all__ = [
    "LoadReport",
    "TensorRecord",
    "Weights",
    "load_pretrained",
    "open_weights",
    "save_pretrained",
    "write_safetensors",
]
