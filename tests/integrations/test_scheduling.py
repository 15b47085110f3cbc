"""Who makes what, and what is tried again: a fake engine, in which workers die when the test says so."""

import itertools
from collections.abc import Callable, Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert.errors import InputError
from minibert.integrations.scheduling import (
    HOPELESS,
    OWN_TRIES,
    SYSTEM_TRIES,
    Done,
    Engine,
    Event,
    Failed,
    Lost,
    Placed,
    Ready,
    Schedule,
    Unfit,
)

Answer = Callable[[int, str, Sequence[int]], Event | None]  # worker, node, shards; None: Done


class FakeEngine(Engine):
    """Nodes with room; every look is a second later.  ``answer``: what becomes of a group."""

    def __init__(self, nodes: dict[str, int], answer: Answer = lambda *_: None) -> None:
        self.nodes, self.answer = nodes, answer
        self.time = 0.0
        self.alive: dict[int, str] = {}
        self.started: list[str] = []
        self.news: list[Event] = []
        self.handed: list[tuple[int, list[int]]] = []
        self.unfit: dict[str, str] = {}

    def room(self) -> Mapping[str, int]:
        return self.nodes

    def start(self, node: str) -> int:
        worker = len(self.started)
        self.started.append(node)
        self.alive[worker] = node
        if node in self.unfit:
            self.news.append(Unfit(worker, self.unfit[node]))
        elif sum(where == node for where in self.alive.values()) <= self.nodes.get(node, 0):
            self.news += [Placed(worker), Ready(worker)]
        return worker

    def hand_over(self, worker: int, shards: Sequence[int]) -> None:
        assert worker in self.alive
        self.handed.append((worker, list(shards)))
        self.news.append(self.answer(worker, self.alive[worker], shards) or Done(worker))

    def stop(self, worker: int) -> None:
        self.alive.pop(worker, None)

    def events(self, seconds: float) -> list[Event]:
        self.time += max(seconds, 0.5)
        news, self.news = self.news, []
        return news

    def name(self, node: str) -> str:
        return f"node {node}"

    def why_none(self) -> str:
        return "There is no room."


def scheduled(engine: FakeEngine, groups: list[list[int]], workers: int | None = None) -> Schedule:
    schedule = Schedule(iter(groups), engine, workers, clock=lambda: engine.time)
    schedule.run()
    return schedule


def singles(count: int) -> list[list[int]]:
    return [[number] for number in range(count)]


def test_every_group_is_made_once_by_as_many_workers_as_there_is_room_for() -> None:
    engine = FakeEngine({"a": 2, "b": 1})
    schedule = scheduled(engine, [[0, 1, 2], [3], [4, 5]])
    assert (schedule.made, schedule.retried, schedule.given_up) == (6, 0, {})
    assert sorted(shards for _, shards in engine.handed) == [[0, 1, 2], [3], [4, 5]]
    assert sorted(engine.started) == ["a", "a", "b"]


def test_a_few_workers_are_spread() -> None:
    engine = FakeEngine({"a": 4, "b": 4})
    scheduled(engine, singles(9), workers=2)
    assert sorted(engine.started) == ["a", "b"]


def test_a_worker_that_dies_costs_its_group_only() -> None:
    died = []

    def answer(worker, node, shards):
        if shards == [2] and not died:
            died.append(worker)
            return Lost(worker, "killed")
        return None

    engine = FakeEngine({"a": 2}, answer)
    schedule = scheduled(engine, singles(6))
    assert (schedule.made, schedule.retried, schedule.lost) == (6, 1, 1)
    assert sorted(shards for _, shards in engine.handed) == sorted([*singles(6), [2]])
    assert len(engine.started) == 3 and died[0] not in engine.alive


def test_groups_that_kill_their_workers_are_given_up_and_wait_longer_each_time() -> None:
    times = []

    def answer(worker, node, shards):
        if shards == [1]:
            times.append(engine.time)
            return Lost(worker, "out of memory")
        return None

    engine = FakeEngine({"a": 1, "b": 1}, answer)
    schedule = scheduled(engine, singles(4))
    assert len(times) == SYSTEM_TRIES
    assert schedule.given_up == {1: f"its worker died {SYSTEM_TRIES} times. out of memory"}
    assert schedule.made == 3
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert pauses[-1] >= 30 and sorted(pauses) == pauses


def test_an_error_is_tried_again_and_then_reported() -> None:
    engine = FakeEngine({"a": 1}, lambda worker, _, shards: Failed(worker, "no disk") if shards == [1, 2] else None)
    schedule = scheduled(engine, [[0], [1, 2], [3]])
    assert engine.handed.count((0, [1, 2])) == OWN_TRIES
    assert schedule.given_up == {1: "no disk", 2: "no disk"} and schedule.made == 2
    assert engine.started == ["a"]  # the worker lives


def test_what_embed_shards_gave_up_is_not_tried_again() -> None:
    engine = FakeEngine({"a": 1}, lambda worker, _, shards: Done(worker, {1: "NaN"}) if 1 in shards else None)
    schedule = scheduled(engine, [[0, 1, 2]])
    assert schedule.given_up == {1: "NaN"} and schedule.made == 2 and len(engine.handed) == 1


def test_many_failures_in_a_row_end_the_run() -> None:
    engine = FakeEngine({"a": 1}, lambda worker, _, shards: Failed(worker, "no disk") if shards[0] > 3 else None)
    with pytest.raises(InputError, match=rf"{HOPELESS} shards in a row failed.*The last one, \d+: no disk"):
        scheduled(engine, singles(1000))
    assert len(engine.handed) < 4 + OWN_TRIES * (HOPELESS + 3)


def test_a_node_that_cannot_work_gets_no_more_workers() -> None:
    engine = FakeEngine({"a": 3, "b": 1})
    engine.unfit["a"] = "no model there"
    schedule = scheduled(engine, singles(5))
    assert schedule.made == 5 and schedule.unfit == {"a": "no model there"}
    assert engine.started.count("a") <= 3


def test_no_node_that_can_work_is_a_sentence() -> None:
    engine = FakeEngine({"a": 1, "b": 1, "c": 1, "head": 0})
    engine.unfit = {"a": "no model there.", "b": "no model there.", "c": "minibert 0.0.1."}
    with pytest.raises(InputError, match="No node of the cluster.*node [abc] and 1 more: no model there.*minibert 0.0"):
        scheduled(engine, singles(5))


def test_workers_that_die_before_they_begin_are_not_started_for_ever() -> None:
    class Deadly(FakeEngine):
        def start(self, node: str) -> int:
            worker = super().start(node)
            if node == "a":
                self.news = [event for event in self.news if event.worker != worker]
                self.news.append(Lost(worker, "out of memory"))
            return worker

    engine = Deadly({"a": 1, "b": 1})
    assert scheduled(engine, singles(40)).made == 40
    assert engine.started.count("a") <= 5


def test_no_room_is_a_sentence_after_a_while() -> None:
    engine = FakeEngine({"a": 0})
    with pytest.raises(InputError, match="There is no room"):
        scheduled(engine, singles(3))
    assert engine.time < 25
    assert scheduled(FakeEngine({}), []).made == 0  # nothing to do


def test_workers_that_wait_for_room_are_waited_for_and_no_longer() -> None:
    class Full(FakeEngine):
        def start(self, node: str) -> int:
            worker = super().start(node)
            self.news.clear()
            return worker

    engine = Full({"a": 2})
    with pytest.raises(InputError, match="There is no room"):
        scheduled(engine, singles(3))
    assert 120 < engine.time < 130 and len(engine.started) == 2


def test_a_node_that_comes_later_gets_workers() -> None:
    engine = FakeEngine({"a": 1}, lambda worker, *_: engine.nodes.update(b=1))
    scheduled(engine, singles(20))
    assert set(engine.started) == {"a", "b"}


@given(st.data())
def test_whatever_dies_every_shard_is_made_or_reported(data) -> None:
    groups = [[0, 1], [2], [3, 4, 5], [6], [7], [8]]
    outcomes = st.sampled_from(["done"] * 4 + ["lost", "failed", "some"])
    made: set[int] = set()

    def answer(worker, node, shards):
        outcome = data.draw(outcomes)
        if outcome == "lost":
            return Lost(worker, "killed")
        if outcome == "failed":
            return Failed(worker, "error")
        failed = {shards[0]: "NaN"} if outcome == "some" else {}
        assert not made & set(shards)
        made.update(set(shards) - set(failed))
        return Done(worker, failed)

    schedule = scheduled(FakeEngine({"a": 2, "b": 1}, answer), groups)
    assert made | set(schedule.given_up) == set(range(9)) and not made & set(schedule.given_up)
    assert schedule.made == len(made)
