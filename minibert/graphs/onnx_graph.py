"""A model as an ONNX graph, by torch's exporter (extra ``onnx``: onnx, onnxscript, onnxruntime)."""

from typing import Any

import torch

from minibert.errors import InputError, MissingExtraError
from minibert.graphs.modules import INPUTS, GraphModule
from minibert.graphs.program import exported_program, quietly

OPSET = 20  # the first with Gelu as an operation; onnxruntime 1.17 and OpenVINO 2024 read it


def onnx_model(module: GraphModule) -> Any:
    """The graph and its weights as an ``onnx.ModelProto``; nothing is proven yet.

    Inputs are named ``input_ids``, ``attention_mask``, ``token_type_ids`` (int64), outputs as ``module.outputs``.
    Raises MissingExtraError where onnx or onnxscript is not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of(f"{error.name} is not installed; to write ONNX files", "onnx") from error
    program = exported_program(module)
    with torch.no_grad(), quietly():
        written = torch.onnx.export(
            program,
            dynamo=True,
            input_names=list(INPUTS),
            output_names=list(module.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    if written is None:
        raise InputError("torch's exporter returned nothing.")
    return written.model_proto
