"""Goldens: recorded inputs and values of every point, against which parity can be checked later.

Two implementations in one process can agree to the last bit.  Values from another machine cannot: another CPU, version
of torch or number of threads sums in another order.  So a golden holds float64 values, to be compared within the
rounding of float64, and the float32 values of the same machine, whose distance from the float64 values measures the
rounding of float32 at each point.  Start with :func:`make_golden`.
"""

import json
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from minibert._version import __version__
from minibert.checkpoint import write_safetensors
from minibert.checkpoint.weights import open_safetensors
from minibert.destination import check_file
from minibert.errors import CheckpointError
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Checkpoint, Source
from minibert.verify.batches import Batch
from minibert.verify.checkpoints import batches_for, load
from minibert.verify.compare import VerifyReport, compare_points
from minibert.verify.models import without_blind_rows
from minibert.verify.observe import Observation
from minibert.verify.points import attention_of, is_outer, record
from minibert.verify.ports import explain_port, reference_of, with_defaults
from minibert.verify.recorded import explain_recorded

FORMAT = "minibert golden 1"

# float64: sums of a few thousand products, in another order, differ by some hundreds of units in the last place of
# the largest value; measured at most 60 between 1 and 2 threads.
FLOAT64_UNITS = 4096
# float32: 8 times what the recording machine itself was off at this point, and some units of the largest value where
# it happened to be exact.
FLOAT32_TIMES, FLOAT32_UNITS = 8, 16


def make_golden(source: Source, path: Path, *, texts: Sequence[str] = (), only_layers: bool = False) -> int:
    """Record ``source`` on the default batches (or ``texts``) into ``path``; returns how many points were recorded.

    ``only_layers`` keeps the embeddings, the layers' outputs, the pooler and the head, for a small file.
    """
    check_file(path)
    checkpoint = Checkpoint.open(source)
    exact, usual = load(checkpoint, "float64", "eager"), load(checkpoint, "float32", "eager")
    batches = batches_for(checkpoint, usual.config, texts)
    tensors: dict[str, Tensor] = {}
    order: dict[str, list[str]] = {}
    for name, batch in batches.items():
        tensors |= {f"inputs/{name}/{key}": value for key, value in batch.items()}
        points = {"float64": record(exact, batch), "float32": record(usual, batch)}
        kept = list(points["float64"])
        if only_layers:
            kept = [point for point in kept if is_outer(point)]
        order[name] = kept
        tensors |= {f"{dtype}/{name}/{point}": values[point] for dtype, values in points.items() for point in kept}
    about = {
        "format": FORMAT,
        "minibert": __version__,
        "torch": torch.__version__,
        "cpu": cpu_name(),
        "threads": str(torch.get_num_threads()),
        "model": type(usual).__name__,
        "points": json.dumps(order, ensure_ascii=False),
    }
    write_safetensors(path, tensors, about)
    return sum(len(points) for points in order.values())


def verify_against_golden(
    source: Source, path: Path, *, dtypes: Sequence[str] = ("float64", "float32"), attention: str = "eager"
) -> VerifyReport:
    """Compare a run of ``source`` with a golden, in each of ``dtypes``, within the bounds that the report prints.

    Raises CheckpointError when ``path`` is no golden.
    """
    about, tensors = read_golden(path)
    checkpoint = Checkpoint.open(source)
    order = points_of(path, about)
    made = f"torch {about['torch']}, {about['cpu']}, {about['threads']} threads"
    report = VerifyReport(f"minibert {source}", f"{path} ({made})", " and ".join(dtypes), attention, "eager")
    for dtype in dtypes:
        model = load(checkpoint, dtype, attention)
        if type(model).__name__ != about["model"]:
            raise CheckpointError(f"{path} was recorded from a {about['model']}; {source} is a {type(model).__name__}.")
        for name, points in order.items():
            batch = inputs_of(tensors, name)
            expected = {point: tensors[f"float64/{name}/{point}"] for point in points}
            bounds = {point: bound_for(dtype, tensors, name, point) for point in points}
            label = name if len(dtypes) == 1 else f"{name}, {dtype}"
            values = record(model, batch)
            report.attention = attention_of(model, values)
            if report.attention != report.reference_attention:
                values, expected = without_blind_rows(report, label, batch, values, expected)
            report.results += compare_points(label, values, expected, points, bounds)
    if not report.same:
        explain_golden(report, str(source), model, tensors, order)
    report.notes.append(
        f"bounds: float64 within {FLOAT64_UNITS} units in the last place of the largest value; float32 within "
        f"{FLOAT32_TIMES} times the recording machine's own rounding plus {FLOAT32_UNITS} units"
    )
    return report


def explain_golden(
    report: VerifyReport,
    source: str,
    model: BertPreTrainedModel,
    tensors: dict[str, Tensor],
    order: dict[str, list[str]],
) -> None:
    """Name the mistake in what was recorded; or in what runs here, where the recorded values are the formulas'."""
    if any(result.differs and not result.place for result in report.results):
        return  # values of another shape
    right = reference_of(model)
    batches = {name: with_defaults(inputs_of(tensors, name)) for name in order}
    batches = {n: batch for n, batch in batches.items() if bool((batch["attention_mask"] == 1).any(dim=1).all())}
    if not batches:
        return
    runs = {name: Observation() for name in batches}
    for name, run in runs.items():
        for point in order[name]:
            run.keep(point, tensors[f"float64/{name}/{point}"])
    explanation = explain_recorded(right, batches, runs)
    about = f"the findings are about the golden, as a program that should compute {source}"
    if explanation.same:
        explanation = explain_port(right, model, batches)
        about = f"the golden is what the formulas of {source} give; the findings are about the run here"
    if not explanation.same:
        report.explanation = explanation
        report.notes.append(about)


def inputs_of(tensors: dict[str, Tensor], batch: str) -> Batch:
    """The inputs of a batch of a golden."""
    return {key.rpartition("/")[2]: value for key, value in tensors.items() if key.startswith(f"inputs/{batch}/")}


def bound_for(dtype: str, tensors: dict[str, Tensor], batch: str, point: str) -> float:
    """The limit of rounding errors of a run in ``dtype`` at a point."""
    exact = tensors[f"float64/{batch}/{point}"]
    largest = float(exact.abs().max()) if exact.numel() else 0.0
    if dtype == "float64":
        return FLOAT64_UNITS * torch.finfo(torch.float64).eps * largest
    rounding = float((tensors[f"float32/{batch}/{point}"].double() - exact).abs().max()) if exact.numel() else 0.0
    return FLOAT32_TIMES * rounding + FLOAT32_UNITS * torch.finfo(torch.float32).eps * largest


def is_golden(path: Path) -> bool:
    """Whether a .safetensors file is a golden; a broken file counts as one, so that reading it says what is wrong."""
    try:
        file: Any = open_safetensors(path)
        return "format" in (file.metadata() or {}) and file.metadata()["format"].startswith("minibert golden")
    except (SafetensorError, OSError):
        return True


def read_golden(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata and tensors of a golden; CheckpointError if the file is not a complete golden."""
    try:
        file: Any = open_safetensors(path)
        about = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}). Copy it again.") from error
    if about.get("format") != FORMAT:
        raise CheckpointError(f"{path} is no golden; minibert golden CHECKPOINT -o FILE.safetensors makes one.")
    for batch, points in points_of(path, about).items():
        for point in points:
            for dtype in ("float64", "float32"):
                if f"{dtype}/{batch}/{point}" not in tensors:
                    raise CheckpointError(f"{path} lacks {dtype}/{batch}/{point}, which it lists. Record it again.")
    return about, tensors


def points_of(path: Path, about: dict[str, str]) -> dict[str, list[str]]:
    """The points of each batch, from the metadata of a golden; CheckpointError if they are damaged."""
    lacking = [name for name in ("torch", "cpu", "threads", "model", "points") if name not in about]
    if lacking:
        raise CheckpointError(f"{path} does not say its {lacking[0]}, which every golden does. Record it again.")
    try:
        order = json.loads(about["points"])
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its list of points is not JSON ({error}). Record it again.") from error
    if not isinstance(order, dict) or not all(
        isinstance(points, list) and all(isinstance(point, str) for point in points) for points in order.values()
    ):
        raise CheckpointError(f"{path}: its list of points does not give the points of each batch. Record it again.")
    return order


def cpu_name() -> str:
    """The name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
