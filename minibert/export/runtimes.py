"""Running an exported file by the runtime that it is for, on the CPU, in float32.

onnxruntime computes a float32 graph in float32 on its CPU provider.  OpenVINO would take bfloat16 where the processor
has it, so it is told not to.  Nothing here runs code that a file brings: no custom operators, no pickle.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError, MissingExtraError
from minibert.graphs.modules import INPUTS
from minibert.graphs.program import quietly
from minibert.verify.batches import Batch

FORMATS = ("onnx", "torch", "openvino")
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "openvino": ".xml"}
OPENVINO_SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}


class RuntimeFailure(Exception):
    """A runtime could not read or run a file; the message is its own, in one line."""


@dataclass
class Opened:
    """A file that a runtime has read."""

    runtime: str  # its name and version
    outputs: tuple[str, ...]
    run: Callable[[Batch], dict[str, Tensor]]  # raises RuntimeFailure
    sizes: tuple[int | None, ...]  # of input_ids, by axis; None where any size is taken
    notes: list[str] = field(default_factory=list)


def need_runtime(format: str) -> None:
    """Raise MissingExtraError where what runs files of this format is not installed, InputError for no format."""
    if format == "onnx":
        _onnxruntime()
    elif format == "openvino":
        _openvino()
    elif format != "torch":
        raise InputError(f"{format!r} is no format of an export; there are {', '.join(FORMATS)}.")


def open_file(format: str, path: Path) -> Opened:
    """The file at ``path``, read by its runtime; RuntimeFailure where that cannot read it."""
    return {"onnx": open_onnx, "torch": open_program, "openvino": open_openvino}[format](path)


def open_onnx(path: Path) -> Opened:
    """By onnxruntime, with its default graph optimisations, as everyone runs it."""
    runtime = _onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has a class for every status
        raise RuntimeFailure(line_of(error)) from error
    names = tuple(each.name for each in session.get_outputs())
    taken = {each.name: each for each in session.get_inputs()}
    shape = taken["input_ids"].shape if "input_ids" in taken else []

    def run(batch: Batch) -> dict[str, Tensor]:
        feed = {name: batch[name].numpy() for name in taken}
        try:
            found = session.run(names, feed)
        except Exception as error:
            raise RuntimeFailure(line_of(error)) from error
        return {name: torch.from_numpy(value) for name, value in zip(names, found, strict=True)}

    sizes = tuple(size if isinstance(size, int) else None for size in shape)
    return Opened(f"onnxruntime {runtime.__version__}", names, run, sizes)


def open_program(path: Path) -> Opened:
    """By torch.export.load; the names of the outputs are those in ``extra/minibert.json``."""
    extra = {"minibert.json": ""}
    try:
        with quietly():
            program = torch.export.load(path, extra_files=extra)
            module = program.module()
        names = tuple(json.loads(extra["minibert.json"])["outputs"])
    except Exception as error:  # whatever its reader raises
        raise RuntimeFailure(line_of(error)) from error
    ids = next((n for n in program.graph.nodes if n.op == "placeholder" and n.name == "input_ids"), None)
    shape = () if ids is None else ids.meta["val"].shape

    def run(batch: Batch) -> dict[str, Tensor]:
        try:
            with torch.no_grad():
                found = module(*(batch[name] for name in INPUTS))
        except Exception as error:  # a guard on sizes raises AssertionError or RuntimeError
            raise RuntimeFailure(line_of(error)) from error
        return dict(zip(names, found, strict=True))

    sizes = tuple(size if isinstance(size, int) else None for size in shape)
    return Opened(f"torch {torch.__version__}", names, run, sizes)


def open_openvino(path: Path) -> Opened:
    """By OpenVINO's CPU plugin, in float32."""
    openvino = _openvino()
    try:
        core = openvino.Core()
        model = core.read_model(path)
        compiled = core.compile_model(
            model, "CPU", {**OPENVINO_SETTINGS, "INFERENCE_NUM_THREADS": torch.get_num_threads()}
        )
    except Exception as error:
        raise RuntimeFailure(line_of(error)) from error
    names = tuple(output.get_any_name() for output in model.outputs)
    shape = model.input("input_ids").get_partial_shape()

    def run(batch: Batch) -> dict[str, Tensor]:
        try:
            found = compiled({name: batch[name].numpy() for name in INPUTS})
            return {name: torch.from_numpy(found[number].copy()) for number, name in enumerate(names)}
        except Exception as error:
            raise RuntimeFailure(line_of(error)) from error

    sizes = tuple(int(size.get_length()) if size.is_static else None for size in shape)
    notes = (
        []
        if compiled.get_property("INFERENCE_PRECISION_HINT") == openvino.Type.f32
        else ["OpenVINO did not keep to float32."]
    )
    return Opened(f"openvino {openvino.__version__.split('-')[0]}", names, run, sizes, notes)


def line_of(error: BaseException) -> str:
    """What an error says, in one line of at most 300 characters."""
    words = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", " ".join(str(error).split())) or type(error).__name__
    return words if len(words) <= 300 else f"{words[:300]} …"


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingExtraError.of("onnxruntime is not installed; to prove an ONNX file", "onnx") from error
    return onnxruntime


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError.of(
            "openvino is not installed; to write and prove OpenVINO files", "openvino"
        ) from error
    return openvino
