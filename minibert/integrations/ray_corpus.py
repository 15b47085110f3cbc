"""A corpus on a Ray cluster: actors that hold the model, groups of shards as their tasks.

The folder and the input must lie where every node reaches them under the same name.  A shard has the bits that one
process with the plan's number of threads gives it, whichever worker made it, whenever, after whatever trouble: so a
worker may die, or this process may; the same command, with or without Ray, goes on.

``scheduling.py`` decides who does what, ``ray_worker.py`` is what an actor holds, ``ray_cluster.py`` connects.  Start
with :func:`embed_on_ray`.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count
from typing import Any

from tqdm import tqdm

from minibert.corpus import CorpusReport, FailedShard, Plan, finish
from minibert.corpus.folder import CorpusFolder, LocalFolder
from minibert.corpus.model import origin_of
from minibert.embedding.arguments import check_whole
from minibert.errors import CheckpointError, InputError
from minibert.integrations.ray_cluster import connected, first_line
from minibert.integrations.ray_worker import Counts, ShardWorker, versions
from minibert.integrations.scheduling import Done, Engine, Event, Failed, Lost, Placed, Ready, Schedule, Unfit
from minibert.source import Source

logger = logging.getLogger("minibert.integrations")
SECONDS_BETWEEN_COUNTS = 1.0  # at which workers are asked how far they are, in groups of several shards


def embed_on_ray(
    plan: Plan | Source | CorpusFolder,
    address: str | None = None,
    actors: int | None = None,
    *,
    device: str | None = None,
) -> CorpusReport:
    """Make the shards of a plan that are missing on a Ray cluster, and close the manifest.

    Progress is shown on stderr where that is a terminal.  Interrupted, it leaves a folder that goes on from there.

    Args:
        plan: of :func:`~minibert.corpus.plan_corpus`, or the folder that has one.
        address: ``"host:port"`` of a cluster; ``"local"`` starts one on this machine; ``"auto"``, the default, takes
            that of RAY_ADDRESS, or one that ``ray start`` began here, or starts one.
        actors: at most so many; default: as many as the CPUs of the nodes hold, each with the plan's ``threads``.
            Nodes that come later get some, too.
        device: such as ``"cuda"``: one actor per GPU; default: that of the plan's embedder, else the CPU.

    Raises MissingExtraError without ray; InputError where a cluster, its nodes or the plan are not fit for this, and
    when shards fail one after the other; CheckpointError for a folder without a plan, or that cannot be written.  What
    a worker could not make is in the report's ``failed``.
    """
    plan = Plan.open(plan)
    if actors is not None:
        check_whole("actors", actors, 1)
    folder, model = places_of(plan)
    if device is None and plan.embedder is not None:
        device = plan.embedder.device.type
    with connected(address, plan.threads) as ray:
        engine = RayEngine(ray, folder, model, plan.threads, None if device == "cpu" else device)
        with Board(plan, engine) as board:
            schedule = Schedule(plan.groups(), engine, min(actors or plan.shards, max(plan.shards, 1)))
            try:
                schedule.run(board.show)
            finally:
                engine.close()
    report = finish(plan)
    if not report.complete and not schedule.given_up:
        raise CheckpointError(
            f"The workers made every shard, and {plan.shards - report.shards:,} of {plan.shards:,} are not in {folder} "
            "here. Is it on storage that every node shares?"
        )
    return replace(report, failed=failed_shards(plan, schedule.given_up))


def failed_shards(plan: Plan, given_up: Mapping[int, str]) -> tuple[FailedShard, ...]:
    """What is reported of shards that were given up."""
    lines = (plan.shard(number) for number in sorted(given_up))
    return tuple(FailedShard(one.shard, (one.row, one.row + one.rows - 1), given_up[one.shard]) for one in lines)


def places_of(plan: Plan) -> tuple[str, str | None]:
    """Where other processes find the folder, and the model: None where the manifest says.

    Raises InputError for what only this process has.
    """
    if plan.manifest["input"]["format"] == "memory":
        raise InputError("The rows are in memory, where no other process finds them; write them to a file for Ray.")
    if plan.manifest["model"]["source"] is None:
        raise InputError("The model is in memory, where no other process finds it; save it, and give its folder.")
    moved = None if plan.embedder is None else origin_of(plan.embedder.model)[0]
    model = None if moved == plan.manifest["model"]["source"] else moved
    folder = str(plan.folder.path.absolute()) if isinstance(plan.folder, LocalFolder) else str(plan.folder)
    return folder, model


class RayEngine(Engine):
    """Actors as workers.  Ray restarts and retries nothing by itself: the schedule does."""

    def __init__(self, ray: Any, folder: str, model: str | None, threads: int, device: str | None) -> None:
        """``device``: None for the CPU; for the others see ShardWorker."""
        self.ray, self.given, self.threads, self.device = ray, (folder, model, device), threads, device
        self.numbers = count()
        self.actors: dict[int, Any] = {}
        self.sent: dict[Any, tuple[int, str]] = {}  # by reference: the worker, and what was asked of it
        self.groups: dict[int, int] = {}  # of a busy worker, how many shards
        self.counts: dict[int, Counts] = {}  # of each worker, lost ones too
        self.names: dict[str, str] = {}
        self.asked = time.monotonic()
        # Counted in a thread of its own, while a group is made.
        self.actor = ray.remote(concurrency_groups={"status": 1})(ShardWorker)

    def room(self) -> Mapping[str, int]:
        found = {}
        for node in self.ray.nodes():
            if node["Alive"]:
                resources, name = node["Resources"], node["NodeID"]
                self.names[name] = f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"
                by_threads = int(resources.get("CPU", 0)) // self.threads
                found[name] = min(by_threads, int(resources.get("GPU", 0))) if self.device else by_threads
        return found

    def start(self, node: str) -> int:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        worker = next(self.numbers)
        actor = self.actor.options(
            num_cpus=self.threads,
            num_gpus=1 if self.device else 0,
            max_restarts=0,
            max_task_retries=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(*self.given)
        self.actors[worker] = actor
        self.sent[actor.hello.remote()] = worker, "hello"
        return worker

    def hand_over(self, worker: int, shards: Sequence[int]) -> None:
        self.sent[self.actors[worker].make.remote(shards)] = worker, "make"
        self.groups[worker] = len(shards)

    def stop(self, worker: int) -> None:
        actor = self.actors.pop(worker, None)
        self.groups.pop(worker, None)
        self.sent = {reference: asked for reference, asked in self.sent.items() if asked[0] != worker}
        if actor is not None:
            with suppress(Exception):  # it is gone, or will be with its job
                self.ray.kill(actor, no_restart=True)

    def close(self) -> None:
        """End all workers."""
        for worker in list(self.actors):
            self.stop(worker)

    def events(self, seconds: float) -> list[Event]:
        if not self.sent:
            time.sleep(seconds)
            return []
        self.ask_for_counts()
        ready, _ = self.ray.wait(list(self.sent), num_returns=1, timeout=seconds)
        if ready:  # and whatever else has come
            ready, _ = self.ray.wait(list(self.sent), num_returns=len(self.sent), timeout=0)
        found = []
        for reference in ready:
            worker, asked = self.sent.pop(reference)
            try:
                answer = self.ray.get(reference)
            except Exception as error:
                found.append(self.trouble(worker, asked, error))
            else:
                found.append(self.understood(worker, asked, answer))
        return [event for event in found if event is not None]

    def ask_for_counts(self) -> None:
        """Ask the workers that make groups of several shards how far they are, now and then."""
        if time.monotonic() - self.asked < SECONDS_BETWEEN_COUNTS:
            return
        self.asked = time.monotonic()
        waiting = {worker for worker, asked in self.sent.values() if asked == "count"}
        for worker, shards in self.groups.items():
            if shards > 1 and worker not in waiting:
                method = self.actors[worker].counted.options(concurrency_group="status")
                self.sent[method.remote()] = worker, "count"

    def understood(self, worker: int, asked: str, answer: Any) -> Event | None:
        """What an answer means."""
        if asked == "hello":
            _, theirs = answer
            if theirs != versions():
                return Unfit(worker, f"it has {theirs}, and here is {versions()}; the versions have to be the same")
            self.sent[self.actors[worker].prepare.remote()] = worker, "prepare"
            return Placed(worker)
        if asked == "prepare":
            return Ready(worker) if answer is None else Unfit(worker, answer)
        if asked == "count":
            self.counts[worker] = answer
            return None
        self.groups.pop(worker, None)
        self.counts[worker] = answer.counts
        for warning in answer.warnings:
            logger.warning("%s", warning)
        return Done(worker, answer.failed) if answer.error is None else Failed(worker, answer.error)

    def trouble(self, worker: int, asked: str, error: Exception) -> Event | None:
        """What an exception of Ray's means: a death, or an error in the worker's own code."""
        if asked == "count":
            return None  # the group's own answer says more
        exceptions = self.ray.exceptions
        if isinstance(error, exceptions.RayTaskError):
            why = first_line(error.cause) if error.cause is not None else first_line(error)
            if "failed to import" in str(error) or "No module named" in str(error):
                return Unfit(worker, f"minibert cannot be imported there ({why})")
            return Failed(worker, why) if asked == "make" else Unfit(worker, why)
        if isinstance(error, exceptions.RuntimeEnvSetupError):
            return Unfit(worker, first_line(error))
        return Lost(worker, f"{type(error).__name__}: {first_line(error)}")

    def name(self, node: str) -> str:
        return self.names.get(node, node)

    def why_none(self) -> str:
        total, free = self.ray.cluster_resources(), self.ray.available_resources()
        kind, each = ("GPU", 1) if self.device else ("CPU", self.threads)
        unit = "CPU" if each == 1 else "CPUs"
        needs = "a GPU" if self.device else f"{each} {unit} of one node, the threads of the plan"
        advice = "or add nodes" if self.device else "add nodes, or plan with fewer threads"
        return (
            f"No worker could start: each needs {needs}, and of the cluster's {total.get(kind, 0):g} {kind}s "
            f"{free.get(kind, 0):g} are free. Wait for the others, {advice}."
        )


class Board:
    """Progress over all workers on stderr; nothing where that is no terminal."""

    def __init__(self, plan: Plan, engine: RayEngine) -> None:
        self.engine, self.began = engine, time.monotonic()
        self.bar = tqdm(
            total=plan.manifest["input"]["rows"],
            desc="embedding on Ray",
            unit=" texts",
            disable=None,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}{postfix}]",
        )

    def show(self, schedule: Schedule) -> None:
        """Show how far all of them are."""
        if self.bar.disable:
            return
        rows, there, tokens, retried = (
            sum(counts) for counts in zip(Counts(), *self.engine.counts.values(), strict=True)
        )
        standing = len(schedule.idle) + len(schedule.busy)
        if not standing and not rows:
            self.began = time.monotonic()
        self.bar.n = min(rows + there, self.bar.total)
        seconds = max(time.monotonic() - self.began, 1e-9)
        left = (self.bar.total - self.bar.n) * seconds / rows if rows else None
        facts = [
            f"{rows / seconds:,.0f} texts/s, {tokens / seconds:,.0f} tokens/s",
            *([f"{tqdm.format_interval(left)} left"] if left is not None else []),
            f"{standing} {'worker' if standing == 1 else 'workers'}",
            *([f"{retried + schedule.retried:,} retried"] if retried + schedule.retried else []),
            *([f"{len(schedule.given_up):,} failed"] if schedule.given_up else []),
        ]
        self.bar.set_postfix_str(", ".join(facts), refresh=False)
        self.bar.refresh()

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()
