"""Compare two models in this process: identical, different by rounding, or different, and at which point first."""

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert.checkpoint.tensors import dtype_name
from minibert.errors import ConfigError, InputError
from minibert.renamed import older_arguments
from minibert.verify.batches import Batch
from minibert.verify.compare import BOUND, VerifyReport, compare_points, rounding_bounds
from minibert.verify.onnx_runs import OnnxModel, explain_onnx, is_onnx
from minibert.verify.points import attention_of, compared_points, has_published_names, layers_of, record
from minibert.verify.ports import batches_for_ports, check_units, explain_port, reference_of
from minibert.verify.search import UNITS

DTYPES = {"float32": torch.float32, "float64": torch.float64}


@older_arguments
def verify_models(
    reference: nn.Module,
    theirs: nn.Module | Callable[..., Any] | OnnxModel | Path | str,
    batches: Mapping[str, Batch] | Batch | None = None,
    *,
    names: tuple[str, str] = ("reference", "theirs"),
    bound: float = BOUND,
    dtype: torch.dtype | str | None = None,
    explain: bool = True,
) -> VerifyReport:
    """Compare a program that should compute BERT with a model that does: every value, and what is wrong.

    A module with BERT's names is compared point by point.  Where a point differs, and for any other program, BERT's
    values are looked for by their numbers among everything that it computes, and the mistake is named
    (``report.explanation``, see :func:`minibert.verify.explain`).

    Args:
        reference: the model known to be correct, with BERT's module names.
        theirs: an ``nn.Module`` of any structure, any callable of ``input_ids``, ``attention_mask`` and
            ``token_type_ids``, or the path of an ONNX file.
        batches: inputs by name; or one batch (``input_ids``, …), as a tokenizer returns it: (B, T) integers.  Default:
            drawn ids.
        names: of the two in the report.
        bound: the limit of rounding errors, in units in the last place of a point's largest value, per layer above it
            (compare.py has measured sizes).  0: only identical values are the same.
        dtype: run copies of both in this dtype.  ``"float64"`` shows differences that rounding in float32 hides.  An
            ONNX file has a dtype of its own.
        explain: name the mistakes, too, where a module with BERT's names differs, which takes seconds.

    If one side ran fused and the other eager attention, rows whose mask is all 0 are left out: they are the average of
    all values on one side and 0 on the other, and neither is used.

    Raises InputError for a reference without the published module names, a program that fails or is of another size,
    and invalid arguments; MissingExtraError where an ONNX file needs a package that is not installed.
    """
    bound = check_bound(bound)
    layers = layers_of(reference, names[0])
    by_name = batches_for_ports(reference_of(reference).config) if batches is None else named_batches(batches)
    if isinstance(theirs, str | Path | OnnxModel):
        if not isinstance(theirs, OnnxModel) and not is_onnx(theirs):
            raise InputError(f"{theirs} is no .onnx file; give a module, a function, or the path of an ONNX file.")
        if dtype is not None:
            raise InputError("An ONNX file computes in the dtype that it was written in; leave dtype out.")
        report = VerifyReport(names[1], names[0], dtype_name(next(reference.parameters()).dtype), "", "")
        report.explanation = explain_onnx(reference, theirs, by_name, units=check_units(bound))
        return report
    if dtype is not None:
        reference = copy.deepcopy(reference).to(as_dtype(dtype))
        theirs = copy.deepcopy(theirs).to(as_dtype(dtype)) if isinstance(theirs, nn.Module) else theirs
    if not has_published_names(theirs):
        report = VerifyReport(names[1], names[0], dtype_name(next(reference.parameters()).dtype), "", "")
        report.explanation = explain_port(reference, theirs, by_name, units=check_units(bound))
        return report
    assert isinstance(theirs, nn.Module)
    layers = max(layers, layers_of(theirs, names[1]))
    dtypes = dict.fromkeys(next(model.parameters()).dtype for model in (theirs, reference))
    eps = max(torch.finfo(each).eps for each in dtypes)
    dtype_names = " against ".join(map(dtype_name, dtypes))
    report = VerifyReport(names[1], names[0], dtype_names, "", "")
    for name, batch in by_name.items():
        values, expected = (record(model, inputs_for(model, batch)) for model in (theirs, reference))
        report.attention, report.reference_attention = attention_of(theirs, values), attention_of(reference, expected)
        if report.attention != report.reference_attention:
            values, expected = without_blind_rows(report, name, batch, values, expected)
        bounds = rounding_bounds(expected, layers, eps, bound)
        report.results += compare_points(name, values, expected, compared_points(layers), bounds)
    if bound:
        report.notes.append(
            f"bound: {bound:g} units in the last place of the point's largest value for each layer above it, 4 times "
            "that at probabilities and context; what is within it is rounding"
        )
    other_shapes = any(result.differs and not result.place for result in report.results)
    given_ids = all("input_ids" in batch for batch in by_name.values())
    if explain and report.first_difference is not None and given_ids and not other_shapes:
        explanation = explain_port(reference, theirs, by_name, units=bound or UNITS)
        if explanation.same:
            report.notes.append(
                "every value is what BERT makes of the values before it; what differs is at the padding, or rounding "
                "that has grown"
            )
        else:
            report.explanation = explanation
    return report


def check_bound(bound: float) -> float:
    """The bound as a number; InputError for anything else, or a negative one."""
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 <= bound < float("inf"):
        raise InputError(f"bound is {bound!r}; expected a number of units in the last place, 0 or more.")
    return float(bound)


def named_batches(batches: Mapping[str, Batch] | Batch) -> dict[str, Batch]:
    """Batches by name; a single batch is called "batch"."""
    if not hasattr(batches, "items") or not batches:
        raise InputError("batches is empty or no dict; expected {name: inputs} or the inputs of one batch.")
    content: dict[str, Any] = dict(batches.items())
    if any(isinstance(value, Tensor) for value in content.values()):
        return {"batch": content}
    for name, batch in content.items():
        if not hasattr(batch, "items") or not all(isinstance(value, Tensor) for value in dict(batch.items()).values()):
            raise InputError(f"Batch {name!r} is no dict of tensors; tokenize with return_tensors='pt'.")
    return {str(name): dict(batch.items()) for name, batch in content.items()}


def inputs_for(model: nn.Module, batch: Batch) -> Batch:
    """The batch on the model's device, with floating-point inputs (embeddings, masks) in its dtype."""
    parameter = next(model.parameters())
    dtypes = {name: parameter.dtype if value.is_floating_point() else value.dtype for name, value in batch.items()}
    return {name: value.to(parameter.device, dtypes[name]) for name, value in batch.items()}


def without_blind_rows(
    report: VerifyReport, name: str, batch: Batch, *sides: dict[str, Tensor]
) -> tuple[dict[str, Tensor], ...]:
    """The recorded points without the rows of the batch whose mask is all 0; a note in the report says how many."""
    mask = batch.get("attention_mask")
    if mask is None or mask.dim() != 2 or bool((seeing := mask.bool().any(dim=1)).all()):
        return sides
    rows = len(mask)
    report.notes.append(
        f"{rows - int(seeing.sum())} of {rows} rows of “{name}” may see nothing; fused and written-out attention "
        "define those differently, so they are left out"
    )
    return tuple(
        {point: value[seeing.to(value.device)] if len(value) == rows else value for point, value in side.items()}
        for side in sides
    )


def as_dtype(dtype: torch.dtype | str) -> torch.dtype:
    """float32 or float64, by name or as torch's; ConfigError for another."""
    for name, known in DTYPES.items():
        if dtype in (name, known):
            return known
    raise ConfigError(f"dtype is {dtype!r}; parity is measured in float32 or float64.")
