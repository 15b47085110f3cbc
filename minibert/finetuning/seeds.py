"""The same fine-tuning with several seeds: how much of a score is luck.

A seed decides how the head begins, the order of the examples and what dropout drops; on small data the scores of two
seeds differ by more than most improvements (Dodge et al. 2020).  Each seed is a run of its own in a sub-folder,
``seed-0``, ``seed-1`` …, which can be interrupted and resumed like any run.  The checkpoint that is best on the dev
data is copied to the folder itself, so that it is used like that of a single run.  Start with :func:`finetune_seeds`.
"""

import json
import shutil
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minibert.data.memory import Data
from minibert.errors import InputError
from minibert.files import write_text, written_whole
from minibert.finetuning.evaluation import shown
from minibert.finetuning.run import Finetuned, finetune
from minibert.finetuning.task import Task
from minibert.lock import alone_in
from minibert.schema import SIZE, Kind, check_settings
from minibert.source import Source, as_path
from minibert.terminal import table
from minibert.training.distributed import SINGLE_PROCESS, Processes

SUMMARY = "seeds.json"
WHOLE = Kind(lambda x: type(x) is int, "a whole number")
OF_A_RUN = ("run.json", "metrics.jsonl", "loss.svg", "snapshots", "tensorboard", ".lock")  # beside its checkpoint


@dataclass(frozen=True)
class Seeds:
    """How the runs ended."""

    folder: str  # holds a copy of the best checkpoint, when all runs are done
    seeds: tuple[int, ...]
    runs: tuple[Finetuned, ...]  # in the order of the seeds; fewer after an interruption
    score: str  # by which the best is chosen

    @property
    def interrupted(self) -> bool:
        """Whether runs, or steps of one, remain to be done; the same call continues with them."""
        return len(self.runs) < len(self.seeds) or any(run.interrupted for run in self.runs)

    @property
    def done(self) -> dict[int, Finetuned]:
        """The runs that came to their end, by their seeds."""
        return {seed: run for seed, run in zip(self.seeds, self.runs, strict=False) if not run.interrupted}

    @property
    def mean(self) -> dict[str, float]:
        """The mean of each dev score over the seeds that are done."""
        return {name: statistics.fmean(values) for name, values in self.by_score.items()}

    @property
    def std(self) -> dict[str, float]:
        """The standard deviation of each dev score (of a sample: divided by the number of seeds - 1)."""
        return {name: statistics.stdev(values) for name, values in self.by_score.items() if len(values) > 1}

    @property
    def by_score(self) -> dict[str, list[float]]:
        """The values of each dev score."""
        runs = list(self.done.values())
        return {name: [run.scores[name] for run in runs] for name in (runs[0].scores if runs else ())}

    @property
    def best(self) -> int | None:
        """The seed with the highest dev score, the first of equal ones; None while there are runs to do."""
        done = self.done
        return None if self.interrupted else max(done, key=lambda seed: done[seed].scores[self.score])

    def to_dict(self) -> dict[str, Any]:
        """The fields and what is computed from them, by name."""
        return {
            "folder": self.folder,
            "seeds": list(self.seeds),
            "best": self.best,
            "score": self.score,
            "mean": self.mean,
            "std": self.std,
            "interrupted": self.interrupted,
            "runs": [{"seed": seed, **run.to_dict()} for seed, run in zip(self.seeds, self.runs, strict=False)],
        }

    def __str__(self) -> str:
        """The dev scores of each seed, their mean and standard deviation, and which checkpoint is kept."""
        last = self.runs[-1]
        count = f"{len(self.seeds)} seeds"
        if self.interrupted:
            return (
                f"{self.folder}: seed {self.seeds[len(self.runs) - 1]} of {count} stopped after {last.steps:,} of "
                f"{last.total:,} steps; the same command goes on"
            )
        names = [name.replace("_", " ") for name in last.scores]
        names[0] = last.metric or names[0]
        rows = [(str(seed), *map(shown, run.scores.values()), str(run.kept_step)) for seed, run in self.done.items()]
        rows += [(what, *map(shown, scores.values()), "") for what, scores in (("mean", self.mean), ("std", self.std))]
        header = ("seed", *names, "step")
        return "\n\n".join([
            f"{self.folder}: {last.task}, {count}, {last.examples:,} examples; on the dev data",
            table(header, rows, right=header[1:]),
            f"kept: {self.folder}, a copy of {folder_of(self.folder, self.best)}, the best by "
            f"{self.score.replace('_', ' ')}",
        ])  # fmt: skip


@alone_in("output")
def finetune_seeds(
    task: str | Task[Any, Any],
    model: Source,
    train_file: Data,
    output: Source,
    dev_file: Data | None,
    *,
    seeds: int = 3,
    seed: int = 0,
    processes: Processes = SINGLE_PROCESS,
    **arguments: Any,
) -> Seeds:
    """Fine-tune with several seeds.  After an interruption, the same call continues where it was.

    Args:
        task, model, train_file: as for :func:`minibert.finetuning.finetune`.
        output: a folder: new, or of an earlier call with the same arguments; with more ``seeds`` it is extended.
        dev_file: the data to compare the seeds on.  A share (``"10%"``) is drawn once, by ``seed``.
        seeds: how many.
        seed: the first one; the others follow: ``seed + 1``, ``seed + 2`` …
        processes: those that train together.
        arguments: all others of :func:`minibert.finetuning.finetune`.

    Raises InputError for fewer than two seeds, without dev data, and when the folder holds a run of one seed; and what
    :func:`minibert.finetuning.finetune` raises.
    """
    check_settings({"seeds": seeds, "seed": seed}, {"seeds": SIZE, "seed": WHOLE}, "finetune_seeds", InputError)
    if seeds < 2:
        raise InputError(
            f"seeds is {seeds}; a standard deviation needs 2 or more (--seeds 3). For one run, leave it out."
        )
    if dev_file is None:
        raise InputError(
            "The seeds are compared on dev data, and there are none: name them (--dev FILE, or --dev 10%), or leave "
            "seeds (--seeds) out."
        )
    if arguments.get("stop_after") is not None:
        raise InputError(
            "stop_after (--stop-after) ends a run on purpose, perhaps before it has scores to compare; it is for one "
            "seed. Ctrl-C interrupts several, and the same call goes on."
        )
    folder = as_path(output)
    if (folder / "run.json").exists():
        raise InputError(f"{folder} holds a run of one seed. Name another folder for several.")
    runs: list[Finetuned] = []
    numbers = tuple(range(seed, seed + seeds))
    for number in numbers:
        place = folder_of(output, number)
        runs.append(
            finetune(
                task, model, train_file, place, dev_file, seed=number, dev_seed=seed, processes=processes, **arguments
            )
        )
        if runs[-1].interrupted:
            break
    score = arguments.get("keep_best") or next(iter(runs[-1].scores), "")
    found = Seeds(str(output), numbers, tuple(runs), score)
    if found.best is not None:
        if processes.is_main:
            copy_checkpoint(folder_of(output, found.best), folder)
            write_text(folder / SUMMARY, json.dumps(found.to_dict(), ensure_ascii=False, indent=2) + "\n")
        processes.wait()
    return found


def folder_of(output: Source, seed: int | None) -> Path:
    """The folder of the run with this seed."""
    return as_path(output) / f"seed-{seed}"


def copy_checkpoint(run: Path, folder: Path) -> None:
    """Copy the checkpoint of a run, each file whole or not at all."""
    for path in sorted(run.rglob("*")):
        place = path.relative_to(run)
        if path.is_file() and place.parts[0] not in OF_A_RUN:
            with written_whole(folder / place) as temporary:
                shutil.copyfile(path, temporary)
