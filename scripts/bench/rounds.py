"""Alternating runs and the statistics of their ratios, shared by the benchmarks.

Two programs are compared on a machine that also does other things, so they take turns (A B C, B C A, C A B, …) and the
ratio is taken within each round, in which both met the same load.  What is printed is the median of those ratios,
the lowest and the highest, and an interval for the true median that assumes nothing about how times are distributed
(the sign test turned around: Conover, "Practical Nonparametric Statistics", section 3.2).  Look at ``Ratio`` first.
"""

import argparse
import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from math import comb
from pathlib import Path
from typing import Any, TypeVar

Measured = TypeVar("Measured")
ROOT = Path(__file__).resolve().parents[2]
CONFIDENCE = 0.95


def seconds(work: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """The time of one run by ``clock``, by default the one on the wall; garbage collected before."""
    gc.collect()
    started = clock()
    result = work()
    elapsed = clock() - started
    del result
    return elapsed


def take_turns(runs: Mapping[str, Callable[[], Measured]], rounds: int) -> dict[str, list[Measured]]:
    """The results of each run, one value per round.  The order rotates, so that each run is first equally often."""
    from tqdm import tqdm

    names = list(runs)
    found: dict[str, list[Measured]] = {name: [] for name in names}
    for number in tqdm(range(rounds), unit="round", disable=None, leave=False):
        for name in rotated(names, number):
            found[name].append(runs[name]())
    return found


def rotated(names: Sequence[str], number: int) -> list[str]:
    """The order of round ``number``, counted from 0."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def median_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float, float]:
    """Two of the ``values`` that hold the true median between them, and how sure that is.

    Each value is below the true median with probability 1/2, like a coin.  So the k-th smallest and the k-th largest
    enclose it unless fewer than k fell on one side: 1 - 2 · P(fewer than k heads).  The largest k that keeps
    ``confidence`` is taken; fewer than 6 values cannot reach 95%, and their interval is from lowest to highest with the
    confidence that this has (5 values: 93.75%).
    """
    ordered, count = sorted(values), len(values)

    def held(k: int) -> float:
        return 1 - 2 * sum(comb(count, heads) for heads in range(k)) / 2**count

    k = max([k for k in range(1, count // 2 + 1) if held(k) >= confidence], default=1)
    return ordered[k - 1], ordered[-k], held(k)


@dataclass(frozen=True)
class Ratio:
    """One divided by the other, round by round."""

    median: float
    lowest: float
    highest: float
    low: float  # the interval of the true median
    high: float
    confidence: float
    rounds: int

    @classmethod
    def of(cls, above: Sequence[float], below: Sequence[float]) -> "Ratio":
        """``above`` / ``below``: for times, theirs above and ours below, so that above 1 we are faster."""
        values = [a / b for a, b in zip(above, below, strict=True)]
        return cls(statistics.median(values), min(values), max(values), *median_interval(values), len(values))

    def __str__(self) -> str:
        return f"{self.median:.2f} {self.range}"

    @property
    def range(self) -> str:
        """Lowest and highest."""
        return f"[{self.lowest:.2f}–{self.highest:.2f}]"

    @property
    def interval(self) -> str:
        """The interval of the median, its confidence, and a word where it leaves the question open."""
        open_question = ", a tie" if self.low <= 1 <= self.high else ""
        return f"{self.low:.2f}–{self.high:.2f} ({self.confidence:.0%}{open_question})"


def spread(values: Sequence[float], form: str = ".2f") -> str:
    """Median, lowest and highest, in one cell."""
    return f"{statistics.median(values):{form}} [{min(values):{form}}–{max(values):{form}}]"


def child_environment() -> dict[str, str]:
    """For fresh processes: this one's variables, this checkout on the path, and compiled bytecode is kept.

    Everyone then runs as an installed package does, also where a developer's shell forbids to write bytecode.
    """
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    return environment


def in_child(what: str, *arguments: str) -> Any:
    """What Python, called with ``arguments`` in a fresh process, prints as JSON in its last line.

    Ends with the child's message when it fails; ``what``: the child, for that.
    """
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env=child_environment()
    )
    if done.returncode:
        sys.exit(f"The process of {what} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def options_of(options: argparse.Namespace, *names: str) -> list[str]:
    """Those that were given, as arguments for a child."""
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    return [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]


def versions(*packages: str) -> str:
    """``torch 2.13.0, …`` of those that are installed."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def machine() -> str:
    """Python, the processor, how many cores this process may use."""
    name = platform.processor() or platform.machine()
    described = Path("/proc/cpuinfo")
    if described.is_file():
        lines = described.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"Python {platform.python_version()}, {name}, {cores} cores"
