"""A model as a program of ``torch.export``: a graph of torch's own operations that any batch and length run through."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.export import Dim, ExportedProgram

from minibert.errors import InputError
from minibert.graphs.modules import INPUTS, GraphModule, example


def dynamic_shapes(module: GraphModule) -> dict[str, dict[int, Dim]]:
    """Every axis of every input may have any size; a length, up to the number of the model's positions."""
    longest = module.model.config.max_position_embeddings
    most = {"length": {"max": longest}}
    axes = {number: Dim(axis, **most.get(axis, {})) for number, axis in enumerate(module.input_axes)}
    return dict.fromkeys(INPUTS, axes)


def exported_program(module: GraphModule) -> ExportedProgram:
    """``torch.export`` of the module, with dynamic sizes; InputError where torch cannot trace it."""
    shapes = dynamic_shapes(module)
    try:
        with torch.no_grad(), quietly():
            return torch.export.export(module.eval(), example(module), dynamic_shapes=shapes, strict=False)
    except Exception as error:  # torch has a class for every stage
        raise InputError(f"torch.export cannot trace {type(module).__name__}: {first_line(error)}") from error


def first_line(error: BaseException) -> str:
    """What an error says first."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def quietly() -> Iterator[None]:
    """Without the exporter's messages about itself and about packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
