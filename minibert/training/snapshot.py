"""Snapshots: the state of a run in one file, written whole or not at all, so that the last good one always exists.

``snapshots/step-00000500.safetensors`` holds the weights and AdamW's two moments of each; of a model with LoRA's
adapters, those that are trained, since the others are in the file of their base.  Its metadata hold, as JSON, the
position in the run, the digest of the run's identity, and a checksum of the whole file.  Random numbers need no state:
each step has its own seed (seed, step, rank).
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from minibert.checkpoint.save import write_safetensors
from minibert.checkpoint.weights import open_safetensors
from minibert.checksum import is_sealed
from minibert.errors import CheckpointError, TrainingError
from minibert.files import is_file
from minibert.pretrained import BertPreTrainedModel
from minibert.training.distributed import SINGLE_PROCESS, Processes, full_tensor, sharded_like
from minibert.training.metrics import NAME as METRICS
from minibert.training.metrics import check_metrics

logger = logging.getLogger("minibert.training")
NAME = re.compile(r"step-(\d{8})\.safetensors")
MOMENTS = ("exp_avg", "exp_avg_sq", "step")
# Fields of Position, as version 0.1.0 wrote them: fields today.
OLDER_KEYS = {"journal_bytes": "metrics_bytes", "journal_sha256": "metrics_sha256", "workers": "world_size"}


@dataclass
class Position:
    """The position in a run."""

    step: int = 0  # steps done
    epoch: int = 0
    index: int = 0  # steps done in this epoch
    metrics_bytes: int = 0  # length of the metrics log
    metrics_sha256: str = hashlib.sha256().hexdigest()  # of these bytes
    best: dict[str, Any] | None = None  # {"step", "scores"} of the best evaluation so far
    scores: dict[str, float] = field(default_factory=dict)  # of the last one
    waited: int = 0  # evaluations since the best one
    world_size: int = 1
    threads: int = field(default_factory=torch.get_num_threads)


def snapshots(folder: Path) -> list[Path]:
    """The snapshots of a run, latest first."""
    paths: list[Path] = []
    with suppress(FileNotFoundError):
        paths = [path for path in (folder / "snapshots").iterdir() if NAME.fullmatch(path.name)]
    return sorted(paths, reverse=True)


def save_snapshot(
    folder: Path,
    position: Position,
    model: BertPreTrainedModel,
    optimizer: torch.optim.Optimizer,
    processes: Processes,
    keep: int,
    identity: Sequence[str] = ("",),
) -> None:
    """Write the snapshot of this step, and remove all but the latest ``keep``.

    ``identity``: the digest of the run's identity; of an extended run those before, too, which are read but not
    written.  Raises TrainingError when a number is NaN or infinite,
    CheckpointError when the disk is full; earlier snapshots are kept then.
    """
    tensors = dict(_tensors(model, optimizer))
    _check_before_writing(tensors, position.step)
    with processes.main_first():
        if processes.is_main:
            path = folder / "snapshots" / f"step-{position.step:08d}.safetensors"
            state = json.dumps(asdict(position), sort_keys=True)
            write_safetensors(path, tensors, {"format": "pt", "run": identity[-1], "state": state}, sealed=True)
            _remove_old(folder, path, keep)


def load_snapshot(
    folder: Path,
    model: BertPreTrainedModel,
    optimizer: torch.optim.Optimizer,
    processes: Processes = SINGLE_PROCESS,
    identity: Sequence[str] = ("",),
) -> Position | None:
    """Load the latest intact snapshot into ``model`` and ``optimizer``; None when there is no snapshot.

    Its own file, the best weights that it needs, and the metrics log up to its step must be intact; otherwise a warning
    says what is damaged, and the snapshot before is tried.  Raises CheckpointError when none can be used, or when they
    belong to another model.
    """
    chosen: tuple[Position, dict[str, Tensor]] | None = None
    with processes.main_first():
        if processes.is_main:
            chosen = _latest_intact(folder, model, identity)
    own = 0 if chosen is None else chosen[0].step
    step = int(processes.sum(torch.tensor([own], device=processes.device)))  # only the main process has chosen one
    if not step:
        return None
    path = folder / "snapshots" / f"step-{step:08d}.safetensors"
    position, tensors = chosen or _read(path, identity)
    if not (folder / METRICS).exists():
        position.metrics_bytes = 0
    _restore(tensors, model, optimizer)
    return position


def save_best(
    folder: Path, step: int, model: BertPreTrainedModel, processes: Processes, identity: Sequence[str] = ("",)
) -> None:
    """Write the weights of the best evaluation so far; raises what :func:`save_snapshot` does.

    The best weights before are kept as long as a snapshot needs them: a run that is killed now, or whose next snapshot
    is damaged, resumes from before this moment.
    """
    tensors = {f"model.{name}": full_tensor(parameter) for name, parameter in stored(model).items()}
    _check_before_writing(tensors, step)
    with processes.main_first():
        if processes.is_main:
            about = {"format": "pt", "run": identity[-1], "state": json.dumps({"step": step})}
            write_safetensors(best_path(folder, step), tensors, about, sealed=True)


@torch.no_grad()
def load_best(folder: Path, step: int, model: BertPreTrainedModel, identity: Sequence[str] = ("",)) -> None:
    """Load the best weights, written at that step, into ``model``; CheckpointError when they are damaged."""
    _, tensors = _contents(best_path(folder, step), identity)
    for name, parameter in stored(model).items():
        parameter.copy_(sharded_like(tensors[f"model.{name}"], parameter))


def identities(folder: Path) -> set[str]:
    """The identity digests in a folder's snapshots, as far as they can be read."""
    digests = set()
    for path in snapshots(folder):
        with suppress(SafetensorError, OSError, KeyError, TypeError), open_safetensors(path) as file:
            digests.add(file.metadata()["run"])
    return digests


def latest_step(folder: Path) -> int:
    """The step of the latest snapshot; 0 without one."""
    return max(map(_step, snapshots(folder)), default=0)


def best_path(folder: Path, step: int) -> Path:
    """The file of the best weights that were written at that step."""
    return folder / "snapshots" / f"best-{step:08d}.safetensors"


def stored(model: BertPreTrainedModel) -> dict[str, nn.Parameter]:
    """The parameters of a snapshot, by name."""
    parameters = dict(model.named_parameters())
    has_adapters = any(".lora_A." in name for name in parameters)
    return {name: p for name, p in parameters.items() if p.requires_grad or not has_adapters}


def _tensors(model: BertPreTrainedModel, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """All weights and moments under their names."""
    for name, parameter in stored(model).items():
        yield f"model.{name}", full_tensor(parameter)
        for moment, value in optimizer.state.get(parameter, {}).items():
            yield f"{moment}.{name}", full_tensor(value)


def _check_before_writing(tensors: dict[str, Tensor], step: int) -> None:
    """Raise TrainingError for NaN and infinity."""
    if name := _not_finite(tensors):
        raise TrainingError(
            f"After step {step} {name} holds NaN or infinite numbers. Nothing of it is written: the last snapshot is "
            "from before. Lower the learning rate or make the warm-up longer, and begin in a new folder."
        )


def _not_finite(tensors: dict[str, Tensor]) -> str | None:
    """The name of a tensor with NaN or infinity in it."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)


def _remove_old(folder: Path, latest: Path, keep: int) -> None:
    """Remove all but the latest ``keep`` snapshots, and the best weights that none of these needs."""
    # Snapshots of later steps were damaged: the run was resumed from before them.
    kept = [path for path in snapshots(folder) if path <= latest][:keep]
    best = list(latest.parent.glob("best-*.safetensors"))
    needed = {max((path for path in best if _step(path) <= _step(one)), key=_step, default=one) for one in kept}
    for path in {*snapshots(folder), *best} - {*kept, *needed}:
        path.unlink(missing_ok=True)


def _step(path: Path) -> int:
    """The step in a file's name."""
    return int(path.stem.rpartition("-")[2])


def _latest_intact(
    folder: Path, model: BertPreTrainedModel, identity: Sequence[str]
) -> tuple[Position, dict[str, Tensor]] | None:
    """The latest intact snapshot; None when there is no snapshot.  Raises what load_snapshot does."""
    first: CheckpointError | None = None
    for path in snapshots(folder):
        try:
            position, tensors = _read(path, identity, model)
            check_metrics(folder, position.metrics_bytes, position.metrics_sha256)
            if position.best is not None:
                _contents(best_path(folder, position.best["step"]), identity)
        except OtherModelError:
            raise
        except CheckpointError as error:
            logger.warning("%s So the run cannot go on from step %d.", error, _step(path))
            first = first or error
            continue
        if position.metrics_bytes and not (folder / METRICS).exists():
            logger.warning("%s is gone; a new one begins with step %d.", folder / METRICS, position.step + 1)
        return position, tensors
    if first is not None:
        raise CheckpointError(
            f"{first} None of the snapshots of {folder} can be used. Put back a copy of what is damaged, or remove the "
            f"folder {folder / 'snapshots'}, and the run begins again."
        )
    return None


class OtherModelError(CheckpointError):
    """An intact snapshot that does not fit the model."""


def _read(
    path: Path, identity: Sequence[str], model: BertPreTrainedModel | None = None
) -> tuple[Position, dict[str, Tensor]]:
    """A snapshot; CheckpointError when it is damaged, OtherModelError when ``model`` is another."""
    state, tensors = _contents(path, identity, model)
    try:
        return Position(**{OLDER_KEYS.get(key, key): value for key, value in state.items()}), tensors
    except TypeError as error:
        raise CheckpointError(f"{path} is of another version of minibert ({error}).") from error


def _contents(
    path: Path, identity: Sequence[str], model: BertPreTrainedModel | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The state and the tensors of a file with a checksum, whose name has its step."""
    if not is_file(path):
        raise CheckpointError(f"{path} is missing.")
    if not is_sealed(path):
        raise CheckpointError(f"{path} is damaged: it has no checksum.")
    try:
        with open_safetensors(path) as file:
            about = file.metadata()
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = json.loads(about["state"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error
    if model is not None:
        _check_model(path, tensors, model)
    if about["run"] not in identity:
        raise CheckpointError(f"{path} is of another run.")
    if state["step"] != _step(path):
        raise CheckpointError(f"{path} is of step {state['step']} and does not belong under this name.")
    if name := _not_finite(tensors):
        raise CheckpointError(f"{path} is damaged: {name} holds NaN or infinite numbers.")
    return state, tensors


def _check_model(path: Path, tensors: dict[str, Tensor], model: BertPreTrainedModel) -> None:
    """Raise OtherModelError unless the parameters have the same names and shapes."""
    parameters = stored(model)
    here = {name.removeprefix("model.") for name in tensors if name.startswith("model.")}
    if odd := sorted(here ^ set(parameters)):
        raise OtherModelError(f"{path} is of another model: {odd[0]!r} is in only one of the two.")
    for name, parameter in parameters.items():
        value = tensors[f"model.{name}"]
        if value.shape != parameter.shape:
            raise OtherModelError(
                f"{path} is of another model: {name} has the shape {tuple(value.shape)} there and "
                f"{tuple(parameter.shape)} here."
            )


@torch.no_grad()
def _restore(tensors: dict[str, Tensor], model: BertPreTrainedModel, optimizer: torch.optim.Optimizer) -> None:
    """The inverse of :func:`_tensors`."""
    for name, parameter in stored(model).items():
        parameter.copy_(sharded_like(tensors[f"model.{name}"], parameter))
        moments = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
        if moments:
            steps = moments.pop("step")
            optimizer.state[parameter] = {moment: sharded_like(value, parameter) for moment, value in moments.items()}
            optimizer.state[parameter]["step"] = steps.to(parameter.device) if optimizer.defaults["fused"] else steps
