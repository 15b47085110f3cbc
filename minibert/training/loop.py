"""The training loop: examples in, weights out, with snapshots to resume from.

A step computes the gradient of one large batch.  Its examples are divided among the processes and cut into
micro-batches that fit in memory, and every sum of losses is divided by the number of terms of the whole step.  Read
:meth:`Trainer.step` first, then :meth:`Trainer.run`.
"""

import logging
import math
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from minibert.errors import InputError, TrainingError
from minibert.lock import alone_in
from minibert.pretrained import BertPreTrainedModel
from minibert.source import Source, as_path
from minibert.training.distributed import SINGLE_PROCESS, Processes, full_tensor
from minibert.training.examples import Batch, Examples, padded_batches, seed_of
from minibert.training.identity import Length, check_identity, read_history
from minibert.training.metrics import MetricsLog, Progress
from minibert.training.objective import Objective
from minibert.training.optimizer import freeze, frozen_modules, make_optimizer, scheduled_learning_rate
from minibert.training.settings import Settings
from minibert.training.snapshot import Position, load_best, load_snapshot, save_best, save_snapshot

logger = logging.getLogger("minibert.training")
Evaluate = Callable[[BertPreTrainedModel], dict[str, float]]


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    steps: int
    total: int  # steps of the whole run; more than ``steps`` when it was interrupted or stopped on purpose
    scores: dict[str, float] = field(default_factory=dict)  # of the weights that were kept
    kept_step: int = 0  # the step whose weights were kept
    stopped: bool = False  # on purpose: at ``settings.stop_after``, or by ``settings.patience``

    @property
    def interrupted(self) -> bool:
        """Whether the run was interrupted before its last step; the same call resumes it."""
        return self.steps < self.total and not self.stopped


@alone_in("folder")
def train(
    objective: Objective,
    examples: Examples,
    settings: Settings,
    folder: Source,
    *,
    evaluate: Evaluate | None = None,
    processes: Processes = SINGLE_PROCESS,
    identity: dict[str, Any] | None = None,
    name: str = "training",
) -> Result:
    """Train ``objective.model`` in place; called again after an interruption, resume as if there had been none.

    Args:
        objective: the model and its losses.
        examples: the training examples.
        settings: of the run.
        folder: for the metrics log and the snapshots: new, or of an earlier call with the same arguments.
        evaluate: scores of the model on other examples, higher is better; called at the end of each epoch or every
            ``settings.evaluate_every`` steps.  It may switch to eval mode.
        processes: those that train together (:func:`minibert.training.distributed.join_processes`).
        identity: what else must be the same when a run is resumed (data, model), as JSON.
        name: shown on the progress bar.

    The model ends with the weights of the last step, or of the evaluation with the highest ``settings.keep_best``.

    Raises TrainingError when the loss or the gradient norm becomes NaN or infinite; InputError when the settings do not
    fit the model, when there is no score to be patient for, when the folder holds another run, or another process
    trains in it, or when processes on several machines differ in the folder, the data or the settings; CheckpointError
    when the disk is full.  The last snapshot remains, and the next call resumes from it.
    """
    frozen_modules(objective.model, settings)  # raises, before anything is written
    if settings.patience and (evaluate is None or settings.keep_best is None):
        raise InputError(
            f"patience is {settings.patience}, but no score says which weights are best: it needs examples to evaluate "
            "on (--dev) and keep_best."
        )
    whole_identity = {"settings": settings.identity(), **(identity or {})}
    with processes.main_first():
        if processes.is_main:
            remove_partial_files(as_path(folder))
            check_identity(as_path(folder), whole_identity, partial(steps_of, examples))
        lengths, digests = read_history(as_path(folder), whole_identity)
    processes.check_same(digests[-1].encode())
    totals = [steps_of(examples, length) for length in lengths]
    return Trainer(objective, examples, settings, as_path(folder), evaluate, processes, digests, totals).run(name)


class Trainer:
    """A run with everything it needs."""

    def __init__(
        self,
        objective: Objective,
        examples: Examples,
        settings: Settings,
        folder: Path,
        evaluate: Evaluate | None,
        processes: Processes,
        identity: Sequence[str] = ("",),
        totals: Sequence[int] = (),
    ) -> None:
        """A run that was extended has an ``identity`` and a number of steps for each of its lengths, the last one last.

        ``identity``: the digest of everything that must be the same when the run is resumed; stored in snapshots.
        """
        self.objective, self.examples, self.settings = objective, examples, settings
        self.folder, self.evaluate, self.processes, self.identity = folder, evaluate, processes, identity
        if settings.gradient_checkpointing:
            objective.model.gradient_checkpointing_enable()
        self.frozen = freeze(objective.model, settings)
        if not objective.divisible:
            objective.micro_tokens = settings.micro_tokens
        self.wrapped = processes.wrap(objective)
        self.optimizer = make_optimizer(objective.model, settings)
        self.position = load_snapshot(folder, objective.model, self.optimizer, processes, identity) or Position()
        self.epoch_steps = examples.steps(self.position.epoch)
        self.totals = totals or [steps_of(examples, {"epochs": settings.epochs, "steps": settings.steps})]
        self.total = self.totals[-1]
        if self.position.index == len(self.epoch_steps):  # a finished run that is extended
            self.begin_epoch()
        self.last = min(self.total, settings.stop_after or self.total)

    def run(self, name: str) -> Result:
        """Make all remaining steps, with evaluations and snapshots."""
        position, settings, is_main = self.position, self.settings, self.processes.is_main
        warn_of_other_rounding(position, self.processes)
        self.warn_of_extension()
        resumed = {"bytes_kept": position.metrics_bytes, "step": position.step}
        with (
            MetricsLog(self.folder, writes=is_main, tensorboard=settings.tensorboard, **resumed) as metrics,
            Progress(name, self.total, position.step, is_main) as progress,
            stop_signals() as stop,
        ):
            interrupted = False
            while not self.is_done() and not interrupted:
                entry, tokens, interrupted = self.step(stop.is_set())
                metrics.write(entry)
                progress.advance(entry["loss"], tokens)
                if self.is_evaluation_due():
                    self.evaluate_model(metrics)
                elif position.step % settings.save_every and not self.is_done() and not interrupted:
                    continue
                position.metrics_bytes, position.metrics_sha256 = metrics.flush()
                self.save()
        return self.finish()

    def step(self, stop: bool) -> tuple[dict[str, Any], int, bool]:
        """One step; returns its entry of the metrics log, its tokens, and whether any process was asked to stop."""
        position, settings, processes = self.position, self.settings, self.processes
        numbers = self.epoch_steps[position.index]
        seed(processes.device, seed_of(settings.seed, position.step, processes.rank))  # for dropout
        learning_rate = self.learning_rate(position.step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate * group["share"]
        batches = [self.collate(part) for part in self.micro_batches(numbers)]
        counts, stopped = self.counts(batches, stop)
        self.optimizer.zero_grad(set_to_none=True)
        self.objective.train()
        sums: list[Tensor] = []
        for number, (batch, weight) in enumerate(batches, start=1):
            with processes.gradient_sync(self.wrapped, is_last=number == len(batches)):
                losses = self.forward(batch)
                loss = torch.stack([losses[key] / (count or 1) for key, count in counts.items()]).sum()
                # DDP and FSDP average the gradients over the processes; the sum is needed.
                loss = loss if weight * processes.world_size == 1 else loss * (weight * processes.world_size)
                loss.backward()  # type: ignore[no-untyped-call]
            sums.append(torch.stack([losses[key].detach() for key in counts]) * weight)
        means = self.means(torch.stack(sums).sum(0), counts)
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), settings.max_grad_norm or math.inf)
        entry = {"step": position.step + 1, "epoch": position.epoch, "loss": math.fsum(means.values()), **means}
        entry |= {"learning_rate": learning_rate, "gradient_norm": float(full_tensor(norm))}
        self.check_finite(entry, numbers)
        self.optimizer.step()
        self.advance()
        return entry, sum(self.examples.lengths[number] for number in numbers), stopped

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The sums of losses of a micro-batch."""
        is_lower = self.settings.precision == "bfloat16"
        with torch.autocast(self.processes.device.type, torch.bfloat16, enabled=is_lower):
            sums: dict[str, Tensor] = self.wrapped(batch)
        return sums

    def micro_batches(self, numbers: list[int]) -> list[tuple[Sequence[int], int]]:
        """The micro-batches of this process, each with its weight; every process has the same number of them.

        They are cut from the examples sorted by length, so that each has little padding, and each is dealt to the
        processes in turn, so that all have about as much to do.  A process for which no example is left takes one with
        weight 0, because the others wait for it.
        """
        if not self.objective.divisible:  # the loss relates the examples of a step, and one process has all of them
            return [(numbers, 1)]
        rank, world_size, limit = self.processes.rank, self.processes.world_size, self.settings.micro_tokens
        if limit is None and world_size == 1:
            return [(numbers, 1)]
        order = sorted(numbers, key=self.examples.lengths.__getitem__)
        cut = [order] if limit is None else padded_batches(order, self.examples.lengths, limit * world_size)
        parts = [micro_batch[rank::world_size] for micro_batch in cut]
        return [(part, 1) if part else (numbers[:1], 0) for part in parts]

    def collate(self, part: tuple[Sequence[int], int]) -> tuple[Batch, int]:
        """A micro-batch on this process's device, with its weight."""
        numbers, weight = part
        batch = self.examples.collate(numbers, self.position.epoch)
        return {name: tensor.to(self.processes.device) for name, tensor in batch.items()}, weight

    def counts(self, batches: list[tuple[Batch, int]], stop: bool) -> tuple[dict[str, float], bool]:
        """The number of terms of each loss in this step, over all processes; and whether any process is to stop."""
        weighted = [(self.objective.counts(batch), weight) for batch, weight in batches]
        names = list(weighted[0][0])
        own = [sum(counts[name] * weight for counts, weight in weighted) for name in names]
        # Terms with weights have fractional counts.
        dtype = torch.int64 if all(isinstance(count, int) for count in own) else torch.float64
        device = self.processes.device if self.processes.world_size > 1 else "cpu"
        total = self.processes.sum(torch.tensor([*own, int(stop)], dtype=dtype, device=device)).tolist()
        return dict(zip(names, total[:-1], strict=True)), total[-1] > 0

    def means(self, sums: Tensor, counts: dict[str, float]) -> dict[str, float]:
        """The mean of each loss over the whole step; a loss without terms is omitted."""
        total = self.processes.sum(sums)
        return {name: float(value / count) for value, (name, count) in zip(total, counts.items(), strict=True) if count}

    def check_finite(self, entry: dict[str, Any], numbers: list[int]) -> None:
        """Raise TrainingError, before any weight is changed, when the loss or the gradient norm is NaN or infinite."""
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
        """Move the position behind the step that was made."""
        position = self.position
        position.step += 1
        position.index += 1
        if position.index == len(self.epoch_steps):
            self.begin_epoch()

    def begin_epoch(self) -> None:
        """Move the position to the beginning of the next epoch, unless the run is at its end."""
        position = self.position
        if position.step < self.total:
            position.epoch, position.index = position.epoch + 1, 0
            self.epoch_steps = self.examples.steps(position.epoch)

    def learning_rate(self, steps: int) -> float:
        """The learning rate of the step after ``steps``, by the length that the run had then."""
        total = next((total for total in self.totals if steps < total), self.total)
        return scheduled_learning_rate(self.settings, steps, total)

    def warn_of_extension(self) -> None:
        """Say what the extension of a run that had ended means for the learning rate."""
        step = self.position.step
        if self.processes.is_main and step in self.totals[:-1]:
            logger.warning(
                "This run ended after %s steps and is extended to %s. Its learning rate was %.1e in the last step and "
                "continues at %.1e, on the %s schedule of %s steps; a run of %s steps from the start would have had "
                "other rates until here.", f"{step:,}", f"{self.total:,}", self.learning_rate(step - 1),
                self.learning_rate(step), self.settings.schedule, f"{self.total:,}", f"{self.total:,}",
            )  # fmt: skip

    def is_evaluation_due(self) -> bool:
        """Whether an evaluation follows the last step."""
        if self.evaluate is None:
            return False
        every, step = self.settings.evaluate_every, self.position.step
        is_end_of_epoch = self.position.index in (0, len(self.epoch_steps))
        return step in self.totals or (is_end_of_epoch if every == 0 else step % every == 0)

    def evaluate_model(self, metrics: MetricsLog) -> None:
        """Evaluate, and keep the weights if they are the best so far."""
        assert self.evaluate is not None
        position, name = self.position, self.settings.keep_best
        self.objective.eval()
        position.scores = self.objective.call(self.evaluate)
        metrics.write({"step": position.step, "scores": position.scores})
        if name is None:
            return
        if name not in position.scores:
            raise InputError(f"keep_best is {name!r}; the evaluation gives {', '.join(position.scores)}.")
        best = position.best["scores"][name] if position.best else -math.inf
        position.waited += 1
        if position.scores[name] > best or position.best is None:
            position.waited = 0
            position.best = {"step": position.step, "scores": position.scores}
            save_best(self.folder, position.step, self.objective.model, self.processes, self.identity)

    def is_done(self) -> bool:
        """Whether the last step was made: of the run, of this call, or the last that patience allows."""
        patience = self.settings.patience
        return self.position.step >= self.last or (patience is not None and self.position.waited >= patience)

    def save(self) -> None:
        """Write a snapshot of the current step."""
        position, processes = self.position, self.processes
        position.world_size, position.threads = processes.world_size, torch.get_num_threads()
        keep = self.settings.keep_snapshots
        save_snapshot(self.folder, position, self.objective.model, self.optimizer, processes, keep, self.identity)

    def finish(self) -> Result:
        """Put the weights that are kept into the model."""
        position = self.position
        kept = position.best or {"step": position.step, "scores": position.scores}
        is_done = self.is_done()
        for parameter in self.frozen:
            parameter.requires_grad_(True)
        if is_done and kept["step"] != position.step:
            load_best(self.folder, kept["step"], self.objective.model, self.identity)
        self.objective.eval()
        return Result(position.step, self.total, kept["scores"], kept["step"], is_done and position.step < self.total)


def steps_of(examples: Examples, length: Length) -> int:
    """How many steps a run of that length has."""
    return length["steps"] or (length["epochs"] or 1) * len(examples.steps(0))


def seed(device: torch.device, number: int) -> None:
    """torch.manual_seed; on the CPU without its search for other devices, which takes a millisecond."""
    if device.type == "cpu":
        torch.default_generator.manual_seed(number)
    else:
        torch.manual_seed(number)


@contextmanager
def stop_signals() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that the step is finished and saved; a second one ends at once."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield event
        return
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def stop(number: int, frame: object) -> None:
        event.set()
        signal.signal(number, handlers[signal.Signals(number)])

    for number in handlers:
        signal.signal(number, stop)
    try:
        yield event
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def remove_partial_files(folder: Path) -> None:
    """Remove the partly written files of a run that was killed."""
    for place in (folder, folder / "snapshots"):
        for part in place.glob(".*.part"):
            part.unlink(missing_ok=True)


def warn_of_other_rounding(position: Position, processes: Processes) -> None:
    """Say that the last bits may differ when a run is resumed with another number of processes or threads."""
    now = (processes.world_size, torch.get_num_threads())
    if position.step and processes.is_main and (position.world_size, position.threads) != now:
        logger.warning(
            "This run had %d processes of %d threads until step %d and now has %d of %d: the same examples in the same "
            "order, but sums may be rounded otherwise.", position.world_size, position.threads, position.step, *now,
        )  # fmt: skip
