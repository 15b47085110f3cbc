"""An ONNX file as data: its graph is read, never run, and BERT's weights and settings are found in it.

``file.py`` reads the file, ``stored.py`` its tensors; ``functions.py`` puts local functions in their place.
``expressions.py`` says what is computed from tensors alone (a transpose, int8 with its scale), ``steps.py`` recognises
dense layers, layer norms and attention in any exporter's writing, and ``bert.py`` walks from step to step.  Start with
:func:`find_bert`.
"""

from minibert.onnx_graph.bert import Bert, find_bert
from minibert.onnx_graph.file import Graph, find_onnx, read_graph
from minibert.onnx_graph.node import Node
from minibert.onnx_graph.settings import settings_of_graph
from minibert.onnx_graph.stored import Stored

__all__ = ["Bert", "Graph", "Node", "Stored", "find_bert", "find_onnx", "read_graph", "settings_of_graph"]
