"""A Ray cluster of several nodes on this machine, each a process tree of its own, to kill parts of."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

# A node that is gone is found to be within two seconds; Ray's own patience is fifteen.
IMPATIENT = {
    "health_check_initial_delay_ms": 500,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 2,
}
TITLE = b"ray::ShardWorker"
SETTINGS = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}


@contextmanager
def nodes(count: int, cpus: int = 1) -> Iterator["Nodes"]:
    """A head without CPUs, and ``count`` nodes with ``cpus`` each."""
    before = {name: os.environ.get(name) for name in SETTINGS}
    os.environ.update(SETTINGS)
    cluster = Nodes(cpus)
    try:
        cluster.add(count)
        yield cluster
    finally:
        cluster.close()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


class Nodes:
    """The cluster; its address is ``address``."""

    def __init__(self, cpus: int) -> None:
        from ray.cluster_utils import Cluster

        self.cpus = cpus
        head = {"num_cpus": 0, "include_dashboard": False, "_system_config": IMPATIENT}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self.cluster.address
        self.nodes: list[Any] = []

    def add(self, count: int = 1) -> None:
        """More nodes; they are there a few seconds later."""
        self.nodes += [self.cluster.add_node(num_cpus=self.cpus, wait=False) for _ in range(count)]

    def kill_node(self, number: int) -> int:
        """SIGKILL to a node's raylet, as when a machine is gone; returns how many workers it had."""
        node = self.nodes.pop(number)
        process = node.all_processes["raylet"][0].process
        workers = self.workers(process.pid)
        process.kill()
        process.wait()
        for worker in workers:  # a machine that is gone takes them with it
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        # What else belonged to it, such as its agents.
        self.cluster.worker_nodes.discard(node)
        node.kill_all_processes(check_alive=False, allow_graceful=False)
        return len(workers)

    def workers(self, raylet: int | None = None) -> list[int]:
        """The processes that hold a model, of one node or of all."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.nodes} if raylet is None else {raylet}
        found = []
        for process in Path("/proc").iterdir():
            with suppress(OSError, ValueError):  # gone
                number = int(process.name)
                if (process / "cmdline").read_bytes().startswith(TITLE) and raylets & set(ancestors(number)):
                    found.append(number)
        return found

    def processes(self) -> list[int]:
        """Everything that belongs to the cluster."""
        roots = {
            one.process.pid
            for node in self.cluster.list_all_nodes()
            for all_ in node.all_processes.values()
            for one in all_
        }
        return [
            int(process.name)
            for process in Path("/proc").iterdir()
            if process.name.isdecimal() and roots & {int(process.name), *ancestors(int(process.name))}
        ]

    def close(self) -> None:
        """End it."""
        self.cluster.shutdown()


def ancestors(process: int) -> list[int]:
    """The parents of a process, the nearest first."""
    found = []
    with suppress(OSError, IndexError):
        while process > 1:
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
            found.append(process)
    return found


def start(*arguments: object, env: dict[str, str] | None = None) -> "subprocess.Popen[str]":
    """``minibert embed`` in a process group of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "minibert", "embed", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **(env or {})},
    )


def wait_until(condition: Callable[[], bool], process: "subprocess.Popen[str]", seconds: float = 120) -> bool:
    """Whether something became true before ``process`` ended; AssertionError when it takes too long."""
    until = time.monotonic() + seconds
    while not condition():
        if process.poll() is not None:
            return False
        assert time.monotonic() < until, "too long"
        time.sleep(0.02)
    return True


def shards_in(folder: Path) -> int:
    """How many are complete."""
    return sum(1 for _ in folder.glob("shard-*.json"))
