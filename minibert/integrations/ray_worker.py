"""A worker of a corpus on Ray: the object that an actor holds.  Nothing of Ray is imported here.

Its methods return what is wrong as a sentence; what they raise is a fault in this program.  Start with
:meth:`ShardWorker.make`.
"""

import logging
import platform
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

import torch

from minibert._version import __version__
from minibert.corpus import Plan, ShardProgress, embed_shards
from minibert.errors import MinibertError


class Versions(NamedTuple):
    """What may change the bits of a vector, or the files of a corpus."""

    minibert: str
    torch: str

    def __str__(self) -> str:
        return f"minibert {self.minibert} with torch {self.torch}"


def versions() -> Versions:
    """Those of this process."""
    return Versions(__version__, torch.__version__)


class Counts(NamedTuple):
    """What a worker has done since it started; ``there``: rows of shards that were there already."""

    rows: int = 0
    there: int = 0
    tokens: int = 0
    retried: int = 0  # shards, by embed_shards itself


class Made(NamedTuple):
    """What became of a group."""

    error: str | None  # that ended the work at it; None: every shard was made, but for ``failed``
    failed: dict[int, str]
    counts: Counts
    warnings: list[str]


class ShardWorker:
    """A plan with its model, in a process of its own."""

    def __init__(self, folder: str, model: str | None, device: str | None) -> None:
        """Nothing is opened yet: an error here would say nothing to the driver.

        ``model``: where it is; None: where the manifest says.
        """
        self.folder, self.model, self.device = folder, model, device
        self.plan: Plan | None = None
        self.counts = Counts()
        self.said = Said()
        logging.getLogger("minibert").addHandler(self.said)

    def hello(self) -> tuple[str, Versions]:
        """Where this is, and what runs here."""
        return platform.node(), versions()

    def prepare(self) -> str | None:
        """Open plan and input and load the model; what is wrong, or None."""
        try:
            self.plan = Plan.open(self.folder)
            self.plan.source().states()  # the files are there
            self.plan.prepare(self.model, self.device)
        except (MinibertError, OSError) as error:
            return str(error)
        return None

    def make(self, numbers: Sequence[int]) -> Made:
        """Make these shards."""
        assert self.plan is not None
        error, failed = None, {}
        try:
            report = embed_shards(self.plan, numbers, on_progress=self.count)
            failed = {one.shard: one.why for one in report.failed}
        except (MinibertError, OSError) as caught:
            error = str(caught)
        return Made(error, failed, self.counts, self.said.taken())

    def count(self, progress: ShardProgress) -> None:
        """Called by embed_shards after each shard."""
        rows, there, tokens, retried = self.counts
        made, was_there = progress.outcome != "retried", progress.outcome == "there"
        self.counts = Counts(
            rows + progress.rows * (made and not was_there),
            there + progress.rows * was_there,
            tokens + progress.tokens,
            retried + (progress.outcome == "retried"),
        )

    def counted(self) -> Counts:
        """What was done so far; Ray calls this on another thread, while ``make`` works."""
        return self.counts


class Said(logging.Handler):
    """Warnings, which nobody would see in a worker's log."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        with suppress(Exception):
            self.sentences.append(record.getMessage())

    def taken(self) -> list[str]:
        """Those since the last time."""
        taken, self.sentences = self.sentences, []
        return taken
