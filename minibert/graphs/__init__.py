"""The model as a graph for other runtimes: a torch.export program, an ONNX model.

``modules.py`` says what a graph computes, ``onnx_graph.py`` and ``program.py`` write it.  What is written here is not
proven yet: ``minibert.export`` and the embedding engine's backends compare every graph with the model before they keep
it.
"""

from minibert.graphs.modules import AllPoints, GraphModule, HiddenStates, Logits
from minibert.graphs.onnx_graph import OPSET, onnx_model
from minibert.graphs.program import exported_program

__all__ = ["OPSET", "AllPoints", "GraphModule", "HiddenStates", "Logits", "exported_program", "onnx_model"]
