"""A model as an ONNX graph, by torch's exporter (extra ``onnx``: onnx, onnxscript, onnxruntime)."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch.export import ExportedProgram

from minibert._version import __version__
from minibert.errors import InputError, MissingExtraError
from minibert.graphs.modules import INPUTS, GraphModule
from minibert.graphs.program import exported_program, first_line, quietly

OPSET = 20  # the first with Gelu as an operation; onnxruntime 1.17 and OpenVINO 2024 read it


def onnx_model(module: GraphModule, program: ExportedProgram | None = None) -> Any:
    """The graph and its weights as an ``onnx.ModelProto``; nothing is proven yet.

    Inputs are named ``input_ids``, ``attention_mask``, ``token_type_ids`` (int64), outputs as ``module.outputs``, axes
    ``batch`` and ``length``.  ``program``: of the module, if there is one already.  Raises MissingExtraError where onnx
    or onnxscript is not installed.
    """
    need_onnx()
    program = exported_program(module) if program is None else program
    names: dict[str, Any] = {"input_names": list(INPUTS), "output_names": list(module.outputs)}
    try:
        with torch.no_grad(), quietly():
            written = torch.onnx.export(program, dynamo=True, opset_version=OPSET, verbose=False, **names)
    except Exception as error:  # it has a class for every stage
        raise InputError(f"torch's exporter to ONNX failed: {first_line(error)}") from error
    if written is None:
        raise InputError("torch's exporter to ONNX returned nothing.")
    model = written.model_proto
    model.producer_name, model.producer_version = "minibert", __version__
    name_axes(model, module.input_axes)
    forget_the_exporter(model)
    return model


def need_onnx() -> None:
    """Raise MissingExtraError where onnx or onnxscript is not installed."""
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of(f"{error.name} is not installed; to write ONNX files", "onnx") from error


def name_axes(model: Any, axes: tuple[str, ...]) -> None:
    """Give the free sizes of inputs and outputs their names; torch numbers them: s18, s41."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    names: Mapping[str, str] = {dim.dim_param: axis for dim, axis in zip(dims, axes, strict=True) if dim.dim_param}
    for value in (*model.graph.input, *model.graph.output):
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param:
                dim.dim_param = re.sub(r"\w+", lambda found: names.get(found[0], found[0]), dim.dim_param)


def forget_the_exporter(model: Any) -> None:
    """Remove what torch notes about the code it traced: the paths of this machine, and more bytes than the graph."""
    graph = model.graph
    for each in (graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        each.ClearField("metadata_props")
        each.ClearField("doc_string")
    del graph.value_info[:]
    model.ClearField("metadata_props")
    model.ClearField("doc_string")
