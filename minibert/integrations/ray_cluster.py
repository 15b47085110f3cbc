"""Connecting to a Ray cluster, or starting one on this machine, quietly and without waiting for one that is not there.

Where to find it, as ``ray.init`` does:

=================  ================================================================================================
address            what happens
=================  ================================================================================================
``"auto"``, None   the cluster of RAY_ADDRESS; else one that ``ray start`` began on this machine; else a new one here
``"local"``        a new one here, which ends with the run
``"host:port"``    that one; this machine must be one of its nodes
=================  ================================================================================================

A process that is connected already stays so.  Start with :func:`connected`.
"""

import logging
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from minibert.errors import InputError, MissingExtraError

SECONDS_TO_ANSWER = 10.0  # for a connection; ray.init itself would try for many minutes
SECONDS_FOR_HEALTH = 30.0  # for Ray's own check, which starts Python
OBJECT_STORE = 100 << 20  # bytes of a cluster of ours: nothing large passes through it
ADVICE = "Is it the address that ray start printed, and is the cluster still there?"


def need_ray() -> Any:
    """The module ray; MissingExtraError when it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of(
            "ray is not installed; to embed on a cluster", "ray", "Without it, --worker I/N shares the work by hand."
        ) from error
    return ray


@contextmanager
def connected(address: str | None = None, threads: int = 1) -> Iterator[Any]:
    """The module ray, connected to a cluster; disconnected at the end, unless this process was connected before.

    ``threads``: of a worker: a cluster that is started here has at least as many CPUs, even where there are fewer.
    Raises MissingExtraError without ray, InputError where no cluster can be reached or started.
    """
    ray = need_ray()
    with ExitStack() as undo:
        undo.enter_context(quiet())
        if not ray.is_initialized():
            address = address or "auto"
            settings: dict[str, Any] = {"log_to_driver": False, "configure_logging": False, "logging_level": "ERROR"}
            where = find(address)
            if where is not None:
                check_answers(where)
                settings["address"] = where
            else:
                undo.enter_context(environment("RAY_USAGE_STATS_ENABLED", "0"))  # it would be sent to Ray's makers
                settings |= {"address": "local", "include_dashboard": False, "object_store_memory": OBJECT_STORE}
                settings["num_cpus"] = max(threads, cores())
            begin(ray, where, settings)
            undo.callback(ray.shutdown)
        yield ray


def begin(ray: Any, where: str | None, settings: dict[str, Any]) -> None:
    """Call ``ray.init``; InputError when it fails.  ``where``: None for a cluster that is started here.

    That is tried twice: Ray gives a node 30 seconds, which a busy machine may need longer for the first time.
    """
    for attempt in (1, 2):
        try:
            ray.init(**settings)
        except Exception as error:  # of many kinds, some of them RuntimeError
            ray.shutdown()
            if where is None and attempt == 1:
                continue
            what = f"The Ray cluster at {where}" if where else "A Ray cluster on this machine"
            done = "cannot be used" if where else "cannot be started"
            advice = f" This machine has to be one of its nodes: ray start --address={where}" if where else ""
            raise InputError(f"{what} {done} ({first_line(error)}).{advice}") from error
        return


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def find(address: str) -> str | None:
    """``"host:port"`` of a cluster that should be there; None for a new one on this machine."""
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or running_here() or "local"
    if address == "local":
        return None
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        hint = (
            " Ray's client (ray://) is for other uses: run this on a node of the cluster." if "://" in address else ""
        )
        raise InputError(f"{address!r} is no address of a Ray cluster; expected auto, local, or host:port.{hint}")
    return address


def running_here() -> str | None:
    """The address of a cluster that ``ray start`` began on this machine and wrote down; None where none is there."""
    folder = os.environ.get("RAY_TMPDIR") or os.environ.get("TMPDIR") or "/tmp"
    with suppress(OSError, ValueError):
        address = (Path(folder) / "ray" / "ray_current_cluster").read_text(encoding="utf-8").strip()
        host, _, port = address.rpartition(":")
        socket.create_connection((host.strip("[]"), int(port)), timeout=1).close()  # not one that was killed
        return address
    return None


def check_listens(address: str) -> None:
    """Raise InputError unless something takes a connection there: what can be said at once, before any work."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"No Ray cluster answers at {address} ({first_line(error)}). {ADVICE}") from error


def check_answers(address: str) -> None:
    """Raise InputError unless a Ray cluster answers there, soon."""
    check_listens(address)
    command = [sys.executable, "-m", "ray.scripts.scripts", "health-check", "--address", address]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS_FOR_HEALTH)
    except subprocess.TimeoutExpired as error:
        raise InputError(f"What answers at {address} is not a Ray cluster, or not a healthy one. {ADVICE}") from error
    if found.returncode:
        raise InputError(f"What answers at {address} is not a Ray cluster, or not a healthy one. {ADVICE}")


@contextmanager
def quiet() -> Iterator[None]:
    """Let Ray print nothing: its logger only errors, and nothing what its listener for workers' deaths prints."""
    logger = logging.getLogger("ray")
    level = logger.level
    logger.setLevel(logging.ERROR)
    out = sys.stdout
    sys.stdout = WithoutRay(out)
    try:
        with environment("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0"):  # without it, a warning about GPUs
            yield
    finally:
        sys.stdout = out
        logger.setLevel(level)


class WithoutRay:
    """Standard output, without what Ray's threads write: it prints deaths of workers, which the driver counts."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write ``text``, unless on one of Ray's threads."""
        return len(text) if threading.current_thread().name.startswith("ray_") else self.stream.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment in the block, unless the user has."""
    if name in os.environ:
        yield
        return
    os.environ[name] = value
    try:
        yield
    finally:
        with suppress(KeyError):
            del os.environ[name]


def first_line(error: BaseException) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
