"""The state of a run in one file, written whole or not at all, so that the last good one always exists.

``snapshots/step-00000500.safetensors`` holds the weights, AdamW's two moments of each, and, as JSON in the file's
metadata, where the run was, which run it is, and a checksum of the whole file.  Random numbers need no state: each step
draws from a seed of its own (seed, step, rank).
"""

import hashlib
import json
import logging
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from minibert.checkpoint.save import write_safetensors
from minibert.checkpoint.weights import open_safetensors
from minibert.checksum import is_sealed
from minibert.errors import CheckpointError, TrainingError
from minibert.pretrained import BertPreTrainedModel
from minibert.source import is_file
from minibert.training.distributed import ALONE, Workers, like, whole
from minibert.training.metrics import NAME as JOURNAL
from minibert.training.metrics import check_journal

logger = logging.getLogger("minibert.training")
NAME = re.compile(r"step-(\d{8})\.safetensors")
MOMENTS = ("exp_avg", "exp_avg_sq", "step")


@dataclass
class Position:
    """Where a run is."""

    step: int = 0  # steps done
    epoch: int = 0
    index: int = 0  # steps done in this epoch
    journal_bytes: int = 0  # how long the journal was, and
    journal_sha256: str = hashlib.sha256().hexdigest()  # what stood in it
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
    identity: str = "",
) -> None:
    """Write the state as the snapshot of this step, and remove all but the latest ``keep``.

    ``identity``: the digest of which run it is.  Raises TrainingError when a number in it is NaN or infinite,
    CheckpointError when the disk does not take it; earlier snapshots are still there then.
    """
    tensors = dict(_tensors(model, optimizer))
    _check_before_writing(tensors, position.step)
    with workers.first_alone():
        if workers.is_first:
            path = folder / "snapshots" / f"step-{position.step:08d}.safetensors"
            state = json.dumps(asdict(position), sort_keys=True)
            write_safetensors(path, tensors, {"format": "pt", "run": identity, "state": state}, sealed=True)
            _remove_old(folder, path, keep)


def load_snapshot(
    folder: Path,
    model: BertPreTrainedModel,
    optimizer: torch.optim.Optimizer,
    workers: Workers = ALONE,
    identity: str = "",
) -> Position | None:
    """Put the latest snapshot that is whole into ``model`` and ``optimizer``; None when there is none.

    Whole are its own file, the best weights that it needs, and the journal as far as it was written by then; what is
    not is said, and the snapshot before is tried.  Raises CheckpointError when all of them are passed over, or when
    they belong to another model.
    """
    chosen: tuple[Position, dict[str, Tensor]] | None = None
    with workers.first_alone():
        if workers.is_first:
            chosen = _latest_whole(folder, model, identity)
    mine = 0 if chosen is None else chosen[0].step
    step = int(workers.total(torch.tensor([mine], device=workers.device)))  # the others have 0
    if not step:
        return None
    path = folder / "snapshots" / f"step-{step:08d}.safetensors"
    position, tensors = chosen or _read(path, identity)
    if not (folder / JOURNAL).exists():
        position.journal_bytes = 0
    _restore(tensors, model, optimizer)
    return position


def save_best(folder: Path, step: int, model: BertPreTrainedModel, workers: Workers, identity: str = "") -> None:
    """Write the weights of the best evaluation so far; raises what :func:`save_snapshot` does.

    Those of the one before stay as long as a snapshot needs them: a run that is killed now, or whose next snapshot is
    damaged, goes on from before this moment.
    """
    tensors = {f"model.{name}": whole(parameter) for name, parameter in model.named_parameters()}
    _check_before_writing(tensors, step)
    with workers.first_alone():
        if workers.is_first:
            about = {"format": "pt", "run": identity, "state": json.dumps({"step": step})}
            write_safetensors(best_path(folder, step), tensors, about, sealed=True)


@torch.no_grad()
def load_best(folder: Path, step: int, model: BertPreTrainedModel, identity: str = "") -> None:
    """Put the weights of that step into ``model``; CheckpointError when they are damaged."""
    _, tensors = _contents(best_path(folder, step), identity)
    for name, parameter in model.named_parameters():
        parameter.copy_(like(tensors[f"model.{name}"], parameter))


def identities(folder: Path) -> set[str]:
    """The digests of the runs that the snapshots of a folder are of, as far as they can be read."""
    found = set()
    for path in snapshots(folder):
        with suppress(SafetensorError, OSError, KeyError, TypeError), open_safetensors(path) as file:
            found.add(file.metadata()["run"])
    return found


def best_path(folder: Path, step: int) -> Path:
    """Where the best weights are."""
    return folder / "snapshots" / f"best-{step:08d}.safetensors"


def _tensors(model: BertPreTrainedModel, optimizer: torch.optim.Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Everything with a name, whole."""
    for name, parameter in model.named_parameters():
        yield f"model.{name}", whole(parameter)
        for moment, value in optimizer.state.get(parameter, {}).items():
            yield f"{moment}.{name}", whole(value)


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
    """Remove all snapshots but ``keep``, and the best weights that none of those needs."""
    # Later ones than the latest were passed over: the run went on from before them.
    kept = [path for path in snapshots(folder) if path <= latest][:keep]
    best = list(latest.parent.glob("best-*.safetensors"))
    needed = {max((path for path in best if _step(path) <= _step(one)), key=_step, default=one) for one in kept}
    for path in {*snapshots(folder), *best} - {*kept, *needed}:
        path.unlink(missing_ok=True)


def _step(path: Path) -> int:
    """The step in a file's name."""
    return int(path.stem.rpartition("-")[2])


def _latest_whole(folder: Path, model: BertPreTrainedModel, identity: str) -> tuple[Position, dict[str, Tensor]] | None:
    """The latest snapshot with which all is well; None when there is no snapshot.  Raises what load_snapshot does."""
    first: CheckpointError | None = None
    for path in snapshots(folder):
        try:
            position, tensors = _read(path, identity, model)
            check_journal(folder, position.journal_bytes, position.journal_sha256)
            if position.best is not None:
                _contents(best_path(folder, position.best["step"]), identity)
        except OtherModelError:
            raise
        except CheckpointError as error:
            logger.warning("%s So the run cannot go on from step %d.", error, _step(path))
            first = first or error
            continue
        if position.journal_bytes and not (folder / JOURNAL).exists():
            logger.warning("%s is gone; a new one begins with step %d.", folder / JOURNAL, position.step + 1)
        return position, tensors
    if first is not None:
        raise CheckpointError(
            f"{first} None of the snapshots of {folder} can be used. Put back a copy of what is damaged, or remove the "
            f"folder {folder / 'snapshots'}, and the run begins again."
        )
    return None


class OtherModelError(CheckpointError):
    """A snapshot that is whole, and does not fit the model."""


def _read(path: Path, identity: str, model: BertPreTrainedModel | None = None) -> tuple[Position, dict[str, Tensor]]:
    """A snapshot; CheckpointError when it is damaged, OtherModelError when ``model`` is another."""
    state, tensors = _contents(path, identity, model)
    try:
        return Position(**state), tensors
    except TypeError as error:
        raise CheckpointError(f"{path} is of another version of minibert ({error}).") from error


def _contents(
    path: Path, identity: str, model: BertPreTrainedModel | None = None
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """State and tensors of a sealed file, whose name has the step that it was written at."""
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
    if about["run"] != identity:
        raise CheckpointError(f"{path} is of another run.")
    if state["step"] != _step(path):
        raise CheckpointError(f"{path} is of step {state['step']} and does not belong under this name.")
    if name := _not_finite(tensors):
        raise CheckpointError(f"{path} is damaged: {name} holds NaN or infinite numbers.")
    return state, tensors


def _check_model(path: Path, tensors: dict[str, Tensor], model: BertPreTrainedModel) -> None:
    """Raise OtherModelError unless the parameters have the same names and shapes."""
    parameters = dict(model.named_parameters())
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
    for name, parameter in model.named_parameters():
        parameter.copy_(like(tensors[f"model.{name}"], parameter))
        moments = {moment: tensors[f"{moment}.{name}"] for moment in MOMENTS if f"{moment}.{name}" in tensors}
        if moments:
            steps = moments.pop("step")
            optimizer.state[parameter] = {moment: like(value, parameter) for moment, value in moments.items()}
            optimizer.state[parameter]["step"] = steps.to(parameter.device) if optimizer.defaults["fused"] else steps
