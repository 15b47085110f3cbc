"""finish: when every shard is there, close the manifest and take away what killed writers left."""

import logging
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from minibert.corpus.folder import LEFTOVER, READ_AHEAD, SKIPPED, CorpusFolder
from minibert.corpus.manifest import QUANTIZATION, Manifest, has_ranges, plan_digest, read_manifest, write_manifest
from minibert.corpus.pieces import RECORDS, SHARDS_PER_PIECE, Piece, described, encoded, write_piece
from minibert.corpus.plan import Plan
from minibert.corpus.progress import explained_write_errors
from minibert.corpus.report import CorpusReport
from minibert.corpus.shards import Record, read_record, record_name, write_lines
from minibert.embedding.precision import bytes_per_vector
from minibert.errors import CheckpointError
from minibert.source import Source

logger = logging.getLogger("minibert.corpus")
COUNTED = ("vectors", "skipped", "truncated", "tokens")


class Closing:
    """The records of a folder, looked at once: how many there are, and what they count."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.folder, self.digest = plan, plan.folder, plan_digest(plan.manifest)
        self.format = plan.manifest["output"]["format"]
        counted = (*COUNTED, "clipped") if has_ranges(plan.manifest) else COUNTED
        self.counts: dict[str, Any] = dict.fromkeys(counted, 0)
        self.processors: Counter[str] = Counter()
        self.names = set(self.folder.names())
        self.found = 0
        self.with_skipped: list[int] = []  # the shards

    def record(self, number: int) -> Record | None:
        """The record of a shard, if its files have the recorded sizes."""
        return read_record(self.folder, number, self.format, self.digest, checksums=False)

    def lines(self) -> Iterator[Record]:
        """The records that are there, as they are listed at the end."""
        there = (number for number in range(self.plan.shards) if record_name(number) in self.names)
        while numbers := list(islice(there, READ_AHEAD)):
            self.folder.read_ahead([record_name(number) for number in numbers])
            for number in numbers:
                if record := self.record(number):
                    self.found += 1
                    if record["skipped"]:
                        self.with_skipped.append(number)
                    record = {"shard": number, **record, "skipped": len(record["skipped"])}
                    for name in self.counts:
                        self.counts[name] += record[name]
                    self.processors[record["processor"]] += 1
                    yield record

    def skipped(self) -> Iterator[dict[str, Any]]:
        """The rows that could not be read."""
        for number in self.with_skipped:
            yield from (self.record(number) or {"skipped": []})["skipped"]


def finish(plan: "Plan | Source | CorpusFolder") -> CorpusReport:
    """Close the manifest of a corpus whose shards are all there, made by any process; else say what is there.

    ``plan``: a plan, or the folder that has one.  Several processes may finish at once: each lists the folder after it
    has written its own shards, so the last to list sees all of them.  Where the corpus is complete,
    the temporary files of killed writers are removed.  Raises CheckpointError when the folder cannot be written.
    """
    plan = Plan.open(plan)
    with explained_write_errors(plan.folder):
        closing, pieces = Closing(plan), None
        if all(record_name(number) in closing.names for number in range(plan.shards)):
            pieces = write_records(closing)
        else:
            for _ in closing.lines():  # counts them
                pass
        complete = pieces is not None and closing.found == plan.shards
        if pieces is not None and complete:
            close(closing, pieces)
    if len(closing.processors) > 1:
        kinds = "; ".join(f"{name}: {count:,}" for name, count in sorted(closing.processors.items()))
        logger.warning(
            "%s was made by several kinds of processor, whose last bits may differ. Shards by kind: %s.",
            plan.folder,
            kinds,
        )
    return report_of(plan, closing, complete)


def write_records(closing: Closing) -> list[Piece]:
    """Write the list of records in pieces; without those that are missing, which nothing names then."""
    pieces: list[Piece] = []
    waiting: list[Record] = []

    def write() -> None:
        content = encoded(waiting)
        pieces.append(described(RECORDS, len(pieces), len(waiting), content))
        name = pieces[-1]["name"]
        if not closing.folder.is_whole(name, pieces[-1]["sha256"]):
            if name in closing.names:
                logger.warning("%s was damaged, or of another run; it is written again.", closing.folder.shown(name))
            write_piece(closing.folder, name, content)

    for record in closing.lines():
        waiting.append(record)
        if len(waiting) == SHARDS_PER_PIECE:
            write()
            waiting.clear()
    if waiting:
        write()
    return pieces


def close(closing: Closing, pieces: list[Piece]) -> None:
    """Write what there is only at the end, the manifest last, and remove left-over files.

    Another process may do the same, and remove the unfinished files of this one; then the corpus is complete.
    """
    folder, processors = closing.folder, dict(sorted(closing.processors.items()))
    manifest = {**closing.plan.manifest, "complete": True, "counts": closing.counts, "processors": processors}
    manifest["records"] = pieces
    try:
        if closing.with_skipped:
            with folder.written(SKIPPED) as temporary:
                write_lines(temporary, closing.skipped())
        write_manifest(folder, manifest)
    except CheckpointError as error:
        if not isinstance(error.__cause__, FileNotFoundError) or not is_complete(folder):
            raise
    for name in folder.names():
        if LEFTOVER.fullmatch(name):
            folder.remove(name)


def is_complete(folder: CorpusFolder) -> bool:
    """Whether somebody has closed the manifest."""
    try:
        return bool(read_manifest(folder)["complete"])
    except CheckpointError:
        return False


def report_of(plan: Plan, closing: Closing, complete: bool) -> CorpusReport:
    """What is in the folder."""
    manifest: Manifest = plan.manifest
    output, quantization = manifest["output"], manifest.get(QUANTIZATION, {})
    precision, width = output.get("precision", "float32"), output["width"]
    return CorpusReport(
        folder=str(plan.folder),
        complete=complete,
        rows=manifest["input"]["rows"],
        width=width,
        shards=closing.found,
        **closing.counts,
        precision=precision,
        bytes_per_vector=bytes_per_vector(precision, width),
        sample=quantization.get("sample", 0),
        loss=quantization.get("loss"),
    )
