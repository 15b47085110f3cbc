"""Writing a graph to a file: ONNX, a program of torch.export, OpenVINO's .xml and .bin.  Nothing here is proven yet."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from minibert.errors import InputError, MissingExtraError
from minibert.export.runtimes import FORMATS, OPENVINO_SETTINGS, need_runtime
from minibert.graphs import OPSET, GraphModule, onnx_model
from minibert.graphs.modules import INPUTS
from minibert.graphs.onnx_graph import need_onnx
from minibert.graphs.program import quietly

LARGEST_FILE = 1_900_000_000  # bytes of weights in an .onnx file, which cannot hold 2 GiB; more go into FILE.onnx_data
SMALLEST_APART = 1024  # bytes of a tensor that goes there


def need(format: str) -> None:
    """Raise MissingExtraError where a package that writes or runs this format is missing; InputError for no format."""
    if format not in FORMATS:
        raise InputError(f"{format!r} is no format of an export; there are {', '.join(FORMATS)}.")
    need_runtime(format)
    if format == "openvino":
        try:
            need_onnx()
        except MissingExtraError as error:
            raise MissingExtraError.of(
                "onnx and onnxscript are not installed; OpenVINO's files are made from an ONNX graph", "openvino"
            ) from error
    elif format == "onnx":
        need_onnx()


def write(
    format: str,
    module: GraphModule,
    program: ExportedProgram,
    path: Path,
    metadata: Mapping[str, str],
    largest_file: int = LARGEST_FILE,
) -> Any:
    """Write ``program``, which is of ``module``, to ``path`` and return what was written, in the library's own form.

    ``metadata``: what the file says of itself, by name.  Files beside it: ``.bin`` of OpenVINO, ``FILE.onnx_data``.
    """
    if format == "torch":
        return write_program(module, program, path, metadata)
    model = onnx_model(module, program)
    return (
        write_onnx(model, path, metadata, largest_file) if format == "onnx" else write_openvino(model, path, metadata)
    )


def write_onnx(model: Any, path: Path, metadata: Mapping[str, str], largest_file: int = LARGEST_FILE) -> Any:
    """An ``onnx.ModelProto`` as a file; with its weights in ``FILE.onnx_data`` where they are more than allowed."""
    import onnx

    onnx.helper.set_model_props(model, dict(metadata))
    apart = sum(len(each.raw_data) for each in model.graph.initializer) > largest_file
    beside = {
        "save_as_external_data": True, "all_tensors_to_one_file": True, "location": f"{path.name}_data",
        "size_threshold": SMALLEST_APART,
    }  # fmt: skip
    onnx.save_model(model, path, **(beside if apart else {}))
    return model


def write_program(module: GraphModule, program: ExportedProgram, path: Path, metadata: Mapping[str, str]) -> Any:
    """A ``.pt2`` file; ``extra/minibert.json`` in it has the names that a program does not keep."""
    content = {**metadata, "inputs": list(INPUTS), "outputs": list(module.outputs)}
    with quietly():
        torch.export.save(program, path, extra_files={"minibert.json": json.dumps(content)})
    return program


def write_openvino(model: Any, path: Path, metadata: Mapping[str, str]) -> Any:
    """An ``onnx.ModelProto`` as OpenVINO's ``.xml`` with its ``.bin``, in float32, with the hint to run it so."""
    import openvino

    converted = openvino.Core().read_model(model.SerializeToString())
    for name, value in metadata.items():
        converted.set_rt_info(value, ["minibert", name])
    for name, value in OPENVINO_SETTINGS.items():
        converted.set_rt_info(value, ["runtime_options", name])
    openvino.save_model(converted, path, compress_to_fp16=False)
    return converted


def files_beside(path: Path) -> list[Path]:
    """The files that were written for ``path``: first those that it needs, itself last."""
    others = [path.with_name(f"{path.name}_data"), path.with_suffix(".bin") if path.suffix == ".xml" else path]
    return [each for each in others if each != path and each.is_file()] + [path]


def opset_of(format: str) -> int | None:
    """The version of ONNX's operations; None for formats that have none."""
    return OPSET if format == "onnx" else None
