"""The state of a run in one file, written whole or not at all, so that the last good one always exists.

``snapshots/step-00000500.safetensors`` holds the weights, AdamW's two moments of each, and, as JSON in the file's
metadata, where the run was.  Random numbers need no state: each step draws from a seed of its own (seed, step, rank).
"""

import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minibert.checkpoint.save import write_safetensors
from minibert.errors import CheckpointError
from minibert.pretrained import BertPreTrainedModel
from minibert.training.workers import Workers, like, whole

logger = logging.getLogger("minibert.training")
NAME = re.compile(r"step-(\d{8})\.safetensors")
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class Position:
    """Where a run is."""

    step: int = 0  # steps done
    epoch: int = 0
    index: int = 0  # steps done in this epoch
    journal_bytes: int = 0
    best: dict[str, Any] | None = None  # {"step", "scores"} of the best evaluation so far
    scores: dict[str, float] = field(default_factory=dict)  # of the last one
    workers: int = 1
    threads: int = field(default_factory=torch.get_num_threads)


def snapshots(folder: Path) -> list[Path]:
    """The snapshots of a run, latest first."""
    with suppress(FileNotFoundError):
        found = [path for path in (folder / "snapshots").iterdir() if NAME.fullmatch(path.name)]
        return sorted(found, reverse=True)
    return []


def save_snapshot(
    folder: Path,
    position: Position,
    model: BertPreTrainedModel,
    optimizer: torch.optim.Optimizer,
    workers: Workers,
    keep: int,
) -> None:
    """Write the state as the snapshot of this step, and remove all but the latest ``keep``.

    Raises CheckpointError when the disk does not take it; earlier snapshots are still there then.
    """
    tensors = dict(_tensors(model, optimizer))
    if workers.is_first:
        path = folder / "snapshots" / f"step-{position.step:08d}.safetensors"
        write_safetensors(path, tensors, {"format": "pt", "state": json.dumps(asdict(position), sort_keys=True)})
        best = None if position.best is None else best_path(folder, position.best["step"])
        for old in (*snapshots(folder)[keep:], *path.parent.glob("best-*.safetensors")):
            if old != best:
                old.unlink(missing_ok=True)
    workers.wait()


def load_snapshot(folder: Path, model: BertPreTrainedModel, optimizer: torch.optim.Optimizer) -> Position | None:
    """Put the latest readable snapshot into ``model`` and ``optimizer``; None when there is none.

    Raises CheckpointError when it belongs to another model.
    """
    for path in snapshots(folder):
        try:
            with safe_open(path, framework="pt") as file:
                state = json.loads(file.metadata()["state"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            logger.warning("%s cannot be read (%s); the one before it is tried.", path, error)
            continue
        _restore(path, tensors, model, optimizer)
        return Position(**state)
    return None


def save_best(folder: Path, step: int, model: BertPreTrainedModel, workers: Workers) -> None:
    """Write the weights of the best evaluation so far.

    Those of the one before stay until the next snapshot: a run that is killed now goes on from before this moment.
    """
    tensors = {f"model.{name}": whole(parameter) for name, parameter in model.named_parameters()}
    if workers.is_first:
        write_safetensors(best_path(folder, step), tensors)
    workers.wait()


@torch.no_grad()
def load_best(folder: Path, step: int, model: BertPreTrainedModel) -> None:
    """Put the weights of that step into ``model``."""
    with safe_open(best_path(folder, step), framework="pt") as file:
        for name, parameter in model.named_parameters():
            parameter.copy_(like(file.get_tensor(f"model.{name}"), parameter))


def best_path(folder: Path, step: int) -> Path:
    """Where the best weights are."""
    return folder / "snapshots" / f"best-{step:08d}.safetensors"


def _tensors(model: BertPreTrainedModel, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Everything with a name, whole."""
    for name, parameter in model.named_parameters():
        yield f"model.{name}", whole(parameter)
        for moment, value in optimizer.state.get(parameter, {}).items():
            yield f"{moment}.{name}", whole(value)


@torch.no_grad()
def _restore(
    path: Path, tensors: dict[str, Tensor], model: BertPreTrainedModel, optimizer: torch.optim.Optimizer
) -> None:
    """The inverse of :func:`_tensors`."""
    parameters = dict(model.named_parameters())
    here = {name.removeprefix("model.") for name in tensors if name.startswith("model.")}
    if odd := sorted(here ^ set(parameters)):
        raise CheckpointError(f"{path} is of another model: {odd[0]!r} is in only one of the two.")
    for name, parameter in parameters.items():
        value = tensors[f"model.{name}"]
        if value.shape != parameter.shape:
            raise CheckpointError(
                f"{path} is of another model: {name} has the shape {tuple(value.shape)} there and "
                f"{tuple(parameter.shape)} here."
            )
        parameter.copy_(like(value, parameter))
        moments = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
        if moments:
            steps = moments.pop("step")
            optimizer.state[parameter] = {moment: like(value, parameter) for moment, value in moments.items()}
            optimizer.state[parameter]["step"] = steps.to(parameter.device) if optimizer.defaults["fused"] else steps
