"""The loop: examples in, weights out, and at every moment a snapshot to go on from.

A step is what one large batch would be: its examples are shared out among the workers and cut into micro-batches that
fit the memory, and every sum of losses is divided by the number of terms of the whole step.  Read
:meth:`Run.step` first; :meth:`Run.go` is what stands around it.
"""

import json
import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert.checksum import json_digest, read_sealed, write_sealed
from minibert.errors import CheckpointError, InputError, TrainingError
from minibert.lock import alone_in
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source, as_path
from minibert.training.distributed import ALONE, Workers, whole
from minibert.training.examples import Batch, Examples, padded_batches, seed_of
from minibert.training.metrics import Journal, Progress
from minibert.training.objective import Objective
from minibert.training.optimizer import learning_rate, make_optimizer
from minibert.training.settings import Settings
from minibert.training.snapshot import Position, identities, load_best, load_snapshot, save_best, save_snapshot

logger = logging.getLogger("minibert.training")
Evaluate = Callable[[BertPreTrainedModel], dict[str, float]]


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    steps: int
    total: int  # it was to make; more than ``steps`` when it was interrupted, or stopped on purpose
    scores: dict[str, float] = field(default_factory=dict)  # of the weights that were kept
    kept_step: int = 0  # whose weights were kept
    stopped: bool = False  # at ``settings.stop_after``

    @property
    def interrupted(self) -> bool:
        """Whether steps are left that nobody wanted to leave; the same call goes on with them."""
        return self.steps < self.total and not self.stopped


@alone_in("folder")
def train(
    objective: Objective,
    examples: Examples,
    settings: Settings,
    folder: Source,
    *,
    evaluate: Evaluate | None = None,
    workers: Workers = ALONE,
    identity: dict[str, Any] | None = None,
    name: str = "training",
) -> Result:
    """Train ``objective.model`` in place; called again after an interruption, go on as if there had been none.

    Args:
        objective: the model and its losses.
        examples: what it learns from.
        settings: how.
        folder: for the journal and the snapshots; of an earlier call with the same arguments, or new.
        evaluate: scores of the model on other examples, higher is better; called at the end of each epoch or every
            ``settings.evaluate_every`` steps.  It may switch to eval mode.
        workers: what :func:`gather_workers` gives.
        identity: what else must be the same when a run goes on (data, model), as JSON.
        name: on the progress bar.

    The weights are those of the last step, or of the evaluation with the highest ``settings.keep_best``.

    Raises TrainingError when the loss is no number any more, InputError when the folder holds another run or a run at
    work,
    CheckpointError when the disk is full; the last snapshot is there then, and the next call goes on from it.
    """
    whole_identity = {"settings": settings.lasting(), **(identity or {})}
    with workers.first_alone():
        if workers.is_first:
            sweep(as_path(folder))
            check_identity(as_path(folder), whole_identity)
    run = Run(objective, examples, settings, as_path(folder), evaluate, workers, json_digest(whole_identity))
    return run.go(name)


class Run:
    """A run with everything it needs."""

    def __init__(
        self,
        objective: Objective,
        examples: Examples,
        settings: Settings,
        folder: Path,
        evaluate: Evaluate | None,
        workers: Workers,
        identity: str = "",
    ) -> None:
        """``identity``: the digest of all that must be the same when the run goes on; its snapshots have it."""
        self.objective, self.examples, self.settings = objective, examples, settings
        self.folder, self.evaluate, self.workers, self.identity = folder, evaluate, workers, identity
        if settings.recompute:
            objective.model.gradient_checkpointing_enable()
        self.wrapped = workers.wrap(objective)
        self.optimizer = make_optimizer(objective.model, settings)
        self.position = load_snapshot(folder, objective.model, self.optimizer, workers, identity) or Position()
        self.plan = examples.steps(self.position.epoch)
        self.total = settings.steps or settings.epochs * len(examples.steps(0))
        self.last = min(self.total, settings.stop_after or self.total)

    def go(self, name: str) -> Result:
        """All steps that are left, with evaluations and snapshots."""
        position, settings = self.position, self.settings
        note_other_conditions(position, self.workers)
        keeps = {"bytes_kept": position.journal_bytes, "step": position.step}
        first = self.workers.is_first
        with (
            Journal(self.folder, writes=first, tensorboard=settings.tensorboard, **keeps) as journal,
            Progress(name, self.total, position.step, first) as progress,
            stopping() as stop,
        ):
            interrupted = False
            while position.step < self.last and not interrupted:
                entry, tokens, interrupted = self.step(stop.is_set())
                journal.write(entry)
                progress.advance(entry["loss"], tokens)
                if self.evaluation_is_due():
                    self.score(journal)
                elif position.step % settings.save_every and position.step < self.last and not interrupted:
                    continue
                position.journal_bytes, position.journal_sha256 = journal.flush()
                self.save()
        return self.finish()

    def step(self, stop: bool) -> tuple[dict[str, Any], int, bool]:
        """One step; returns its line of the journal, its tokens, and whether any worker was asked to stop."""
        position, settings, workers = self.position, self.settings, self.workers
        numbers = self.plan[position.index]
        seed(workers.device, seed_of(settings.seed, position.step, workers.rank))  # for dropout
        rate = learning_rate(settings, position.step, self.total)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        batches = [self.collate(part) for part in self.parts(numbers)]
        counts, stopped = self.counts(batches, stop)
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.train()
        sums: list[Tensor] = []
        for number, (batch, weight) in enumerate(batches, start=1):
            with workers.gathering(self.wrapped, number == len(batches)):
                found = self.forward(batch)
                loss = torch.stack([found[key] / (count or 1) for key, count in counts.items()]).sum()
                # Both ways of working together give the mean of the workers' gradients, and it is the sum we want.
                loss = loss if weight * workers.count == 1 else loss * (weight * workers.count)
                loss.backward()  # type: ignore[no-untyped-call]
            sums.append(torch.stack([found[key].detach() for key in counts]) * weight)
        losses = self.means(torch.stack(sums).sum(0), counts)
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), settings.clip or math.inf)
        entry = {"step": position.step + 1, "epoch": position.epoch, "loss": math.fsum(losses.values()), **losses}
        entry |= {"learning_rate": rate, "gradient_norm": float(whole(norm))}
        self.check(entry, numbers)
        self.optimizer.step()
        self.advance()
        return entry, sum(self.examples.lengths[number] for number in numbers), stopped

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sums of losses of a micro-batch."""
        lower = self.settings.precision == "bfloat16"
        with torch.autocast(self.workers.device.type, torch.bfloat16, enabled=lower):
            sums: dict[str, Tensor] = self.wrapped(batch)
        return sums

    def parts(self, numbers: list[int]) -> list[tuple[Sequence[int], int]]:
        """The micro-batches of this worker, each with its weight; every worker has as many.

        Where there are fewer examples than workers, one without work takes an example with weight 0: the others wait
        for it.
        """
        rounds = 1
        if self.settings.micro_tokens is not None:
            share = self.settings.micro_tokens * self.workers.count
            rounds = len(padded_batches(numbers, self.examples.lengths, share))
        count = rounds * self.workers.count
        cuts = [len(numbers) * part // count for part in range(count + 1)]
        mine = [numbers[cuts[part] : cuts[part + 1]] for part in range(self.workers.rank, count, self.workers.count)]
        return [(part, 1) if part else (numbers[:1], 0) for part in mine]

    def collate(self, part: tuple[Sequence[int], int]) -> tuple[Batch, int]:
        """A micro-batch on this worker's device, with its weight."""
        numbers, weight = part
        batch = self.examples.collate(numbers, self.position.epoch)
        return {name: tensor.to(self.workers.device) for name, tensor in batch.items()}, weight

    def counts(self, batches: list[tuple[Batch, int]], stop: bool) -> tuple[dict[str, float], bool]:
        """How many terms each loss of this step has, all workers together; and whether one of them is to stop."""
        found = [self.objective.counts(batch) for batch, _ in batches]
        weights = [weight for _, weight in batches]
        mine = [sum(counts[key] * weight for counts, weight in zip(found, weights, strict=True)) for key in found[0]]
        kind = torch.int64 if all(isinstance(count, int) for count in mine) else torch.float64  # sums of weights
        place = self.workers.device if self.workers.count > 1 else "cpu"
        total = self.workers.total(torch.tensor([*mine, int(stop)], dtype=kind, device=place)).tolist()
        return dict(zip(found[0], total[:-1], strict=True)), total[-1] > 0

    def means(self, sums: Tensor, counts: dict[str, float]) -> dict[str, float]:
        """The mean of each loss over the whole step; of those that have any term in it."""
        total = self.workers.total(sums)
        return {name: float(value / count) for value, (name, count) in zip(total, counts.items(), strict=True) if count}

    def check(self, entry: dict[str, Any], numbers: list[int]) -> None:
        """Raise TrainingError, before anything is changed, when a number is none."""
        if math.isfinite(entry["loss"]) and math.isfinite(entry["gradient_norm"]):
            return
        shown = ", ".join(map(str, numbers[:8])) + (", …" if len(numbers) > 8 else "")
        raise TrainingError(
            f"At step {entry['step']} of {self.total} the loss is {entry['loss']} and the gradient's norm "
            f"{entry['gradient_norm']} (batch of examples {shown}; learning rate {entry['learning_rate']:.1e}). Lower "
            "the learning rate or make the warm-up longer, and begin in a new folder; if it happens at once, look at "
            "these examples."
        )

    def advance(self) -> None:
        """Count the step that was made."""
        position = self.position
        position.step += 1
        position.index += 1
        if position.index == len(self.plan) and position.step < self.total:
            position.epoch, position.index = position.epoch + 1, 0
            self.plan = self.examples.steps(position.epoch)

    def evaluation_is_due(self) -> bool:
        """Whether the last step was followed by an evaluation."""
        if self.evaluate is None:
            return False
        every, step = self.settings.evaluate_every, self.position.step
        at_end_of_epoch = self.position.index in (0, len(self.plan))
        return step == self.total or (at_end_of_epoch if every == 0 else step % every == 0)

    def score(self, journal: Journal) -> None:
        """Evaluate, and keep the weights if they are the best so far."""
        assert self.evaluate is not None
        position, name = self.position, self.settings.keep_best
        self.objective.eval()
        position.scores = self.objective.call(self.evaluate)
        journal.write({"step": position.step, "scores": position.scores})
        if name is None:
            return
        if name not in position.scores:
            raise InputError(f"keep_best is {name!r}; the evaluation gives {', '.join(position.scores)}.")
        best = position.best["scores"][name] if position.best else -math.inf
        if position.scores[name] > best or position.best is None:
            position.best = {"step": position.step, "scores": position.scores}
            save_best(self.folder, position.step, self.objective.model, self.workers, self.identity)

    def save(self) -> None:
        """A snapshot of here and now."""
        self.position.workers, self.position.threads = self.workers.count, torch.get_num_threads()
        keep = self.settings.keep_snapshots
        identity = self.identity
        save_snapshot(self.folder, self.position, self.objective.model, self.optimizer, self.workers, keep, identity)

    def finish(self) -> Result:
        """The weights that are kept, in the model."""
        position = self.position
        kept = position.best or {"step": position.step, "scores": position.scores}
        ended = position.step >= self.last
        if ended and kept["step"] != position.step:
            load_best(self.folder, kept["step"], self.objective.model, self.identity)
        self.objective.eval()
        stopped = ended and position.step < self.total
        return Result(position.step, self.total, kept["scores"], kept["step"], stopped)


def seed(device: torch.device, number: int) -> None:
    """torch.manual_seed, which looks for devices for a millisecond, without that where there is none to seed."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that is set by Ctrl-C or SIGTERM, so that a step is finished and saved; a second Ctrl-C ends at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # signals are the main thread's
        yield event
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, stop)
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def sweep(folder: Path) -> None:
    """Remove the halves of files that a killed run left."""
    for place in (folder, folder / "snapshots"):
        for part in place.glob(".*.part"):
            part.unlink(missing_ok=True)


def check_version(folder: Path) -> None:
    """Raise InputError for the run of a version whose files had no checksums, and which read texts otherwise."""
    sealed = True
    if (folder / "run.json").exists():
        with suppress(CheckpointError):  # damaged: whether it can be written again is seen later
            sealed = read_sealed(folder / "run.json")[1]
    if not sealed:
        raise InputError(
            f"{folder} holds a run of an earlier version of minibert, without checksums. End it with that version, or "
            "begin again in another folder. (A checkpoint that is complete can be used as any other.)"
        )


def check_identity(folder: Path, identity: dict[str, Any]) -> None:
    """Write run.json, or make sure that the one that is there says the same; InputError when it does not.

    A damaged one is written again unless the snapshots are of another run: CheckpointError.
    """
    check_version(folder)
    path, place = folder / "run.json", folder.resolve()
    if place.name in ("snapshots", "data") and (place.parent / "run.json").exists():
        raise InputError(f"{folder} belongs to the run in {place.parent}, which keeps its files there. Name another.")
    try:
        stored = read_sealed(path)[0] if path.exists() else None
    except CheckpointError as error:
        if (theirs := identities(folder)) and json_digest(identity) not in theirs:
            raise CheckpointError(
                f"{error} The snapshots beside it are not of a run with these arguments. Give those of that run, or "
                "another folder."
            ) from error
        logger.warning("%s It is written again.", error)
        stored = None
    if stored is None:
        write_sealed(path, identity)
        return
    before, now = flat(stored), flat(json.loads(json.dumps(identity)))
    for name in sorted(before.keys() | now.keys()):
        if before.get(name) != now.get(name):
            raise InputError(
                f"{folder} holds a run with {name} {before.get(name)!r}, and this one has {now.get(name)!r}. To go on "
                "with that run, give the same arguments; for a new one, another folder."
            )


def flat(content: dict[str, Any], before: str = "") -> dict[str, Any]:
    """Nested dictionaries as one: ``{"settings.seed": 0}``."""
    result: dict[str, Any] = {}
    for name, value in content.items():
        result |= flat(value, f"{before}{name}.") if isinstance(value, dict) else {f"{before}{name}": value}
    return result


def note_other_conditions(position: Position, workers: Workers) -> None:
    """Say that the last bits may differ when a run goes on with another number of workers or threads."""
    now = (workers.count, torch.get_num_threads())
    if position.step and workers.is_first and (position.workers, position.threads) != now:
        logger.warning(
            "This run had %d workers of %d threads until step %d and now has %d of %d: the same examples in the same "
            "order, but sums may be rounded otherwise.", position.workers, position.threads, position.step, *now,
        )  # fmt: skip
