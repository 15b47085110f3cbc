"""embed_shards makes the shards of a plan; embed_corpus plans, makes them all and closes the manifest.

A shard is an independent unit of work: its batches hold only its own rows, so its bits do not depend on which process
makes it, on what was made before, or on how often the run was killed.  Several processes, on one machine or many, share
nothing but the folder and the input.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from tqdm import tqdm

from minibert.corpus.closing import finish
from minibert.corpus.folder import READ_AHEAD, CorpusFolder
from minibert.corpus.inputs import Rows
from minibert.corpus.manifest import has_ranges, plan_digest
from minibert.corpus.model import processor_of, torch_threads
from minibert.corpus.pieces import ShardPlan
from minibert.corpus.plan import Plan, plan_corpus
from minibert.corpus.planning import Content
from minibert.corpus.progress import Progress, explained_write_errors
from minibert.corpus.report import CorpusReport, FailedShard, ShardProgress, ShardsReport
from minibert.corpus.shards import read_record, record_name, write_shard
from minibert.data.columns import TextRow
from minibert.data.memory import Data
from minibert.data.rows import BadRow
from minibert.embedding import Embedder
from minibert.errors import InputError
from minibert.source import Source

logger = logging.getLogger("minibert.corpus")
MANY = 32  # shards
ATTEMPTS = 3  # of a shard, until it is reported as failed


def embed_corpus(
    embedder: Embedder,
    input: Data,
    output: Source | CorpusFolder,
    *,
    worker: tuple[int, int] = (0, 1),
    **settings: Any,
) -> CorpusReport:
    """Turn files of texts into a folder of vectors, in input order; memory does not grow with the input.

    Stopped at any moment and called again with the same arguments, it continues where it stopped, and the folder ends
    with the same bytes (on the same kind of processor).  It is :func:`plan_corpus`, :func:`embed_shards` and
    :func:`finish` in a row.

    Args:
        embedder: the model.
        input: files, or rows in memory, see :func:`plan_corpus`.
        output: a folder: new, empty, or of an earlier run with the same arguments.
        worker: ``(1, 4)`` makes the shards of every fourth group from group 1; the others are for other processes.
        settings: the other arguments of :func:`plan_corpus`.

    Raises InputError for wrong arguments and for rows that cannot be read, CheckpointError for a folder that cannot be
    written.  Shards that are complete are kept.  A shard that fails three times, as one with a vector that is not
    finite, is in the report's ``failed``, and the others are made.
    """
    number, workers = check_worker(worker)
    plan = plan_corpus(embedder, input, output, **settings)
    made = embed_shards(plan, None if workers == 1 else plan.of_worker(number, workers))
    return replace(finish(plan), failed=made.failed)


def check_worker(worker: tuple[int, int]) -> tuple[int, int]:
    """Number and count; InputError where there is no such worker."""
    number, workers = worker
    if not 0 <= number < workers:
        raise InputError(f"There is no worker {number} of {workers}: the first is 0/{workers}, counted from 0.")
    return number, workers


def embed_shards(
    plan: Plan | Source | CorpusFolder,
    numbers: Iterable[int] | None = None,
    model: Source | Embedder | None = None,
    on_progress: Callable[[ShardProgress], None] | None = None,
) -> ShardsReport:
    """Make those of some shards that are not there yet.  Nothing is read of the input but these shards' groups.

    Args:
        plan: a plan, or the folder that has one.  A process that calls this again and again keeps the Plan, which
            keeps the model.
        numbers: of shards, in any order; default: all.
        model: the model that the plan was made with: an Embedder, or the source of one.  Default: the source that the
            manifest names.
        on_progress: called after each attempt; without it there is a bar on stderr, where that is a terminal.

    torch has the plan's number of threads meanwhile.  An attempt that ends with an InputError or a RuntimeError, such
    as a vector that is not finite or a device out of memory, is repeated after the others, twice.

    Raises InputError for another model, for numbers of no shards, and when the input has changed since it was planned;
    CheckpointError when the folder cannot be written.
    """
    plan = Plan.open(plan)
    listed = sorted(range(plan.shards) if numbers is None else set(numbers))
    if listed and not 0 <= listed[0] <= listed[-1] < plan.shards:
        raise InputError(
            f"There is no shard {listed[-1] if listed[0] >= 0 else listed[0]}: {plan.folder} has "
            f"{plan.shards:,}, counted from 0."
        )
    maker = Maker(plan, on_progress)
    with explained_write_errors(plan.folder):
        pending = maker.pending(listed)
        if pending:
            embedder = plan.prepare(model)
            with torch_threads(plan.threads):
                maker.make(pending, embedder)
    return maker.report()


class Maker:
    """One call of :func:`embed_shards`."""

    def __init__(self, plan: Plan, on_progress: Callable[[ShardProgress], None] | None) -> None:
        self.plan, self.output = plan, plan.manifest["output"]
        self.digest, self.stored_as = plan_digest(plan.manifest), plan.vector_format()
        self.on_progress = on_progress
        self.rows_there = self.made = self.there = self.retried = self.tokens = 0
        self.failed: list[FailedShard] = []

    def report(self) -> ShardsReport:
        """What was done."""
        failed = tuple(sorted(self.failed, key=lambda one: one.shard))
        return ShardsReport(str(self.plan.folder), self.made, self.there, self.retried, self.tokens, failed)

    def tell(self, plan: ShardPlan, tokens: int, outcome: str) -> None:
        """Tell the caller, who may want to know."""
        if self.on_progress is not None:
            self.on_progress(ShardProgress(plan.shard, plan.rows, tokens, outcome))

    def pending(self, numbers: Sequence[int]) -> list[ShardPlan]:
        """Those that are not there."""
        missing, folder = [], self.plan.folder
        # For many, the folder is listed: where it is elsewhere, each question takes its time.
        names = set(folder.names()) if len(numbers) >= MANY else None
        for index, number in enumerate(
            tqdm(numbers, desc="checking what is there", unit=" shards", leave=False, disable=None)
        ):
            if names is not None and index % READ_AHEAD == 0:
                records = map(record_name, numbers[index : index + READ_AHEAD])
                folder.read_ahead([name for name in records if name in names])
            plan = self.plan.shard(number)
            if (names is None or record_name(number) in names) and self.is_there(number):
                self.there, self.rows_there = self.there + 1, self.rows_there + plan.rows
                self.tell(plan, 0, "there")
            else:
                missing.append(plan)
        return missing

    def is_there(self, number: int) -> bool:
        """Whether a shard is whole and of this plan; a warning says when there is a record and it is not."""
        folder, name = self.plan.folder, record_name(number)
        if folder.size(name) is None:
            return False
        if read_record(folder, number, self.output["format"], self.digest, checksums=True):
            return True
        shown = folder.shown(name)
        logger.warning("%s or a file that it lists is damaged, or of another corpus; the shard is made again.", shown)
        return False

    def make(self, pending: Sequence[ShardPlan], embedder: Embedder) -> None:
        """Make shards, group by group; one that fails comes again at the end."""
        waiting, attempts = deque(groups_of(pending)), dict.fromkeys((plan.shard for plan in pending), 0)
        total = self.rows_there + sum(plan.rows for plan in pending)
        shows = None if self.on_progress is None else True  # None: a bar on a terminal
        with Progress(embedder, total, self.rows_there, hidden=shows) as progress:
            while waiting:
                for plan, rows in self.plan.source().read(waiting.popleft()):
                    self.check(plan, rows)
                    before, progress.left = progress.tokens, plan.rows
                    attempts[plan.shard] += 1
                    try:
                        good, vectors, facts = self.embed(plan, rows, embedder, progress)
                    except (InputError, RuntimeError, MemoryError) as error:
                        progress.take_back(plan.rows)
                        outcome = self.put_back(plan, attempts[plan.shard], error)
                        if outcome == "retried":
                            waiting.append([plan])
                        progress.say(self.retried, len(self.failed))
                    else:
                        write_shard(self.plan.folder, plan.shard, self.output, good, vectors, facts)
                        self.made, outcome = self.made + 1, "made"
                        progress.advance(progress.left)
                    self.tokens += progress.tokens - before
                    self.tell(plan, progress.tokens - before, outcome)

    def check(self, plan: ShardPlan, rows: Rows) -> None:
        """Raise InputError unless the rows are those that were planned."""
        source = self.plan.source()
        texts = source.texts(plan.file)
        content = Content(plan.row - texts.before, texts.id_column is not None)
        for row in rows:
            content.add(row)
        if content.count != plan.rows or content.digest() != plan.sha256:
            raise InputError(
                f"{texts.path} was changed while it was read, or since it was planned. Give it back its content, and "
                "run again."
            )

    def embed(
        self, plan: ShardPlan, rows: Rows, embedder: Embedder, progress: Progress
    ) -> tuple[list[TextRow], Any, dict[str, Any]]:
        """The rows of a shard that can be read, their vectors as stored, and what else its record says."""
        good = [row for row in rows if isinstance(row, TextRow)]
        several = len(self.plan.source().files) > 1
        file = str(self.plan.source().texts(plan.file).path) if several else None
        before = self.plan.source().texts(plan.file).before
        tokens = progress.tokens
        vectors = embedder.encode([row.text for row in good], **self.plan.manifest["encoding"])
        facts: dict[str, Any] = {
            "plan": self.digest,
            "rows": [plan.row, plan.row + plan.rows - 1],
            "vectors": len(good),
            "truncated": embedder.truncated,
            "tokens": progress.tokens - tokens,
            "processor": processor_of(embedder),
            "skipped": [bad_row(row, before, file) for row in rows if isinstance(row, BadRow)],
        }
        if has_ranges(self.plan.manifest):
            facts["clipped"] = self.stored_as.clipped(vectors)
        return good, self.stored_as.quantize(vectors), facts

    def put_back(self, plan: ShardPlan, attempts: int, error: Exception) -> str:
        """Say that an attempt failed, and whether there will be another."""
        failed = FailedShard(plan.shard, (plan.row, plan.row + plan.rows - 1), str(error) or type(error).__name__)
        if attempts < ATTEMPTS:
            self.retried += 1
            logger.info("%s. It is tried again after the others.", failed)
            return "retried"
        self.failed.append(failed)
        logger.error("Failed %d times: %s", attempts, failed)
        return "failed"


def groups_of(plans: Sequence[ShardPlan]) -> Iterator[list[ShardPlan]]:
    """Shards in a row that are read together."""
    group: list[ShardPlan] = []
    for plan in plans:
        if group and group[-1].group != plan.group:
            yield group
            group = []
        group.append(plan)
    if group:
        yield group


def bad_row(row: BadRow, before: int, file: str | None) -> dict[str, Any]:
    """A line of skipped.jsonl; ``file``: where there are several."""
    facts = {"row": before + row.number, "file": file, "line": row.line, "why": row.why}
    return {name: value for name, value in facts.items() if value}
