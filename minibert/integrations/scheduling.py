"""Handing out groups of shards to workers that may die: what is tried again, when, and when it is given up.

A worker stands on a node and holds the model.  It gets one group at a time.  When it dies, its group goes back into the
queue, and another worker is started where there is room.  Two kinds of failure are told apart:

- the system's: a worker or node died, or cannot be reached.  The group is tried again, later each time, and given up
  after SYSTEM_TRIES: then it is the group that kills its workers;
- its own: embed_shards raised an error.  It is tried OWN_TRIES times, then reported; the others finish.  (What is wrong
  with the rows of one shard, embed_shards itself tries again, and says at the end.)

A node that cannot work (no model there, another version) gets no more workers.  What starts and reaches workers is an
:class:`Engine`; no library is imported here.  Start with :meth:`Schedule.run`.
"""

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from minibert.errors import InputError

SYSTEM_TRIES = 10
OWN_TRIES = 3  # of what raised an error
FIRST_DELAY, LONGEST_DELAY = 0.25, 30.0  # seconds before a group is tried again: doubled each time
WORKERS_LOST = 5  # in a row on one node, none of which finished anything: it gets no more
HOPELESS = 20  # shards given up in a row, and none made: the fault is not theirs
SECONDS_BETWEEN_LOOKS = 2.0  # at which nodes there are
PATIENCE = 120.0  # seconds without any worker, at the start or later
PATIENCE_WITHOUT_ROOM = 15.0  # at the start, where no node is large enough


@dataclass(frozen=True)
class Placed:
    """A worker has found room, and will load the model."""

    worker: int


@dataclass(frozen=True)
class Ready:
    """A worker holds the model and can begin."""

    worker: int


@dataclass(frozen=True)
class Done:
    """A group is made, but for ``failed``: shard numbers with what was wrong."""

    worker: int
    failed: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Failed:
    """A worker could not make its group, and lives."""

    worker: int
    why: str


@dataclass(frozen=True)
class Lost:
    """A worker died, or its node did."""

    worker: int
    why: str


@dataclass(frozen=True)
class Unfit:
    """A worker says that its node cannot do this work."""

    worker: int
    why: str


Event = Placed | Ready | Done | Failed | Lost | Unfit


class Engine(ABC):
    """What starts workers and brings their messages."""

    @abstractmethod
    def room(self) -> Mapping[str, int]:
        """How many workers each node that is alive can hold, ours included, by its id."""

    @abstractmethod
    def start(self, node: str) -> int:
        """Ask for a worker on a node; its number.  Placed follows when there is room, then Ready; or Lost, or Unfit."""

    @abstractmethod
    def hand_over(self, worker: int, shards: Sequence[int]) -> None:
        """Let a worker make these shards; Done, Failed or Lost follows."""

    @abstractmethod
    def stop(self, worker: int) -> None:
        """End a worker that is not needed, or lost."""

    @abstractmethod
    def events(self, seconds: float) -> list[Event]:
        """What has happened; waits for so long if nothing has."""

    @abstractmethod
    def name(self, node: str) -> str:
        """A node as a person knows it."""

    @abstractmethod
    def why_none(self) -> str:
        """A sentence: why no worker can start."""


@dataclass(order=True)
class Group:
    """Shards that are handed out together, and what became of that so far."""

    due: float  # when it may be tried again
    shards: list[int]
    lost: int = field(default=0, compare=False)  # times that its worker died
    failed: int = field(default=0, compare=False)  # times that it failed by itself


class Schedule:
    """Workers, and the groups that are waiting, being made, or given up."""

    def __init__(
        self,
        groups: Iterator[list[int]],
        engine: Engine,
        workers: int | None = None,
        *,
        patience: float = PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``workers``: at most so many; default: as many as there is room for."""
        self.groups, self.engine, self.workers, self.patience, self.clock = groups, engine, workers, patience, clock
        self.nodes: dict[int, str] = {}  # of each worker
        self.placed: set[int] = set()
        self.idle: list[int] = []
        self.busy: dict[int, Group] = {}
        self.waiting: list[Group] = []  # a heap, of groups that are tried again
        self.ahead = next(groups, None)  # the next of groups; None: there are no more
        self.given_up: dict[int, str] = {}
        self.made = self.retried = self.lost = self.hopeless = 0
        self.unfit: dict[str, str] = {}  # nodes, and why
        self.lost_in_a_row: Counter[str] = Counter()
        self.looked = float("-inf")
        self.alone_since, self.ever = clock(), False  # since when there is no worker; whether there ever was

    def run(self, on_change: Callable[["Schedule"], Any] = lambda _: None) -> None:
        """Until every group is made or given up.  ``on_change`` is called after each look at what has happened.

        Raises InputError where no node can work, where none has room for longer than ``patience``, and where every
        shard fails.
        """
        while True:
            self.hand_out()
            if self.ahead is None and not self.busy and not self.waiting:
                return
            self.start_workers()
            for event in self.engine.events(self.seconds_to_wait()):
                self.take(event)
            on_change(self)

    def hand_out(self) -> None:
        """Give every idle worker a group, those first that are tried again."""
        while self.idle:
            group = self.next_group()
            if group is None:
                return
            worker = self.idle.pop()
            self.busy[worker] = group
            self.engine.hand_over(worker, group.shards)

    def next_group(self) -> Group | None:
        """The next to be made; None while those that are left may not be tried yet, or are being made."""
        if self.waiting and self.waiting[0].due <= self.clock():
            return heappop(self.waiting)
        shards = self.ahead
        if shards is None:
            return None
        self.ahead = next(self.groups, None)
        return Group(0.0, shards)

    def start_workers(self) -> None:
        """Ask for workers on every node that has room; at most every few seconds."""
        now = self.clock()
        if now - self.looked < SECONDS_BETWEEN_LOOKS or (self.ahead is None and not self.waiting):
            return
        self.looked = now
        room = {node: count for node, count in self.engine.room().items() if count and node not in self.unfit}
        if not room and self.unfit and not self.nodes:
            raise InputError(self.why_unfit())
        here = Counter(self.nodes.values())
        # One per node in turn, so that a few workers are spread over many nodes.
        places = sorted((k, node) for node, count in room.items() for k in range(here[node], count))
        for _, node in places:
            if self.workers is not None and len(self.nodes) >= self.workers:
                break
            self.nodes[self.engine.start(node)] = node
        if self.placed:
            self.alone_since = now
            self.ever = True
        elif now - self.alone_since > (self.patience if self.ever or self.nodes else PATIENCE_WITHOUT_ROOM):
            raise InputError(self.engine.why_none())

    def why_unfit(self) -> str:
        """Why no node can work."""
        reasons = Counter(self.unfit.values())
        said = "; ".join(
            f"{self.engine.name(next(node for node in self.unfit if self.unfit[node] == why))}"
            f"{f' and {count - 1} more' if count > 1 else ''}: {why}"
            for why, count in reasons.items()
        )
        return f"No node of the cluster can make the shards. {said}"

    def seconds_to_wait(self) -> float:
        """Until something is due."""
        due = self.waiting[0].due - self.clock() if self.waiting and self.idle else SECONDS_BETWEEN_LOOKS
        return max(0.01, min(due, 0.5))

    def take(self, event: Event) -> None:
        """Take note of what has happened; of a worker that was given up already, nothing."""
        worker = event.worker
        if worker not in self.nodes:
            return
        if isinstance(event, Placed):
            self.placed.add(worker)
        elif isinstance(event, Ready):
            self.idle.append(worker)
        elif isinstance(event, Lost | Unfit):
            self.drop(worker, event)
        else:
            group = self.busy.pop(worker)
            self.idle.append(worker)
            self.lost_in_a_row.pop(self.nodes[worker], None)
            if isinstance(event, Done):
                self.finished(group, event.failed)
            else:
                self.failed(group, event.why)

    def finished(self, group: Group, failed: Mapping[int, str]) -> None:
        """Count the shards of a group."""
        made = len(group.shards) - len(failed)
        self.made += made
        if made:
            self.hopeless = 0
        self.give_up(failed)

    def failed(self, group: Group, why: str) -> None:
        """Try a group again that raised an error, or give it up."""
        group.failed += 1
        if group.failed < OWN_TRIES:
            self.put_back(group, group.failed)
        else:
            self.give_up(dict.fromkeys(group.shards, why))

    def give_up(self, failed: Mapping[int, str]) -> None:
        """Note shards that are not tried again; InputError when nothing else comes any more."""
        self.given_up.update(failed)
        self.hopeless += len(failed)
        if self.hopeless >= HOPELESS:
            number, why = next(iter(failed.items()))
            raise InputError(
                f"{self.hopeless} shards in a row failed, so the others are not tried; what is complete is kept. The "
                f"last one, {number}: {why}"
            )

    def drop(self, worker: int, event: Lost | Unfit) -> None:
        """A worker is no more: its group goes back, and its node may get another one, or none."""
        node, group = self.nodes.pop(worker), self.busy.pop(worker, None)
        self.placed.discard(worker)
        if worker in self.idle:
            self.idle.remove(worker)
        self.engine.stop(worker)
        self.looked = float("-inf")
        if isinstance(event, Unfit):
            self.unfit[node] = event.why
        else:
            self.lost += 1
            self.lost_in_a_row[node] += 1
            if self.lost_in_a_row[node] >= WORKERS_LOST and group is None:
                self.unfit[node] = f"{WORKERS_LOST} workers in a row died there before they could begin. {event.why}"
        if group is None:
            return
        group.lost += 1
        if group.lost < SYSTEM_TRIES:
            self.put_back(group, group.lost)
        else:
            self.give_up(dict.fromkeys(group.shards, f"its worker died {SYSTEM_TRIES} times. {event.why}"))

    def put_back(self, group: Group, times: int) -> None:
        """Try a group again, later the more often that was."""
        self.retried += len(group.shards)
        group.due = self.clock() + min(FIRST_DELAY * 2 ** (times - 1), LONGEST_DELAY)
        heappush(self.waiting, group)
