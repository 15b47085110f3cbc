"""embed_corpus: read the input once, write the plan, then the shards, then the manifest.

With a precision other than float32, the plan holds what a sample of the rows shows: the ranges of int8 and uint8, and
how much is lost (sample.py).

A shard is an independent unit of work: its batches hold only its own rows, so its bits do not depend on which worker
makes it, on what was made before, or on how often the run was killed.  Several workers divide the shards by their
numbers and share nothing but the folder; the worker that finishes last writes the manifest.
"""

import copy
import logging
import os
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from minibert.corpus.manifest import (
    FILE,
    LEFTOVER,
    QUANTIZATION,
    SKIPPED,
    InputCounts,
    Manifest,
    begin,
    begun_with,
    check_is_corpus,
    finish,
    has_ranges,
    make_plan,
    plan_digest,
    shard_count,
)
from minibert.corpus.sample import NEAREST, Sample, quantization_of
from minibert.corpus.shards import FORMATS, read_record, record_path, write_shard
from minibert.corpus.vector_format import VectorFormat, dtype_name, read_format
from minibert.data.columns import TextColumn, TextRow
from minibert.data.memory import Data
from minibert.data.opening import bad_rows, open_texts
from minibert.data.parquet import need_pyarrow
from minibert.data.rows import BadRow
from minibert.destination import check_folder
from minibert.embedding import Embedder
from minibert.embedding.arguments import check_choice
from minibert.embedding.packed import Packed
from minibert.embedding.precision import PRECISIONS, bytes_per_vector
from minibert.errors import CheckpointError, InputError, reason_of
from minibert.files import is_file
from minibert.source import Source, as_path

logger = logging.getLogger("minibert.corpus")
ENCODING: dict[str, Any] = {
    "pooling": None, "layers": "last", "weights": None, "normalize": None, "include_special_tokens": True,
    "long": "truncate", "stride": 64, "prompt": None, "prompt_name": None, "truncate_dim": None,
}  # fmt: skip
SHARD_ROWS = 4096  # as many as encode sorts by length at once; a killed run loses no more work than this


@dataclass(frozen=True)
class CorpusReport:
    """What is in a folder after a run."""

    folder: str
    complete: bool  # False while other workers still run
    rows: int  # of the input
    vectors: int
    width: int
    shards: int
    skipped: int  # rows that could not be read; skipped.jsonl lists them
    truncated: int  # texts that were longer than the model reads and were cut
    tokens: int  # that the model read, including [CLS] and [SEP]
    precision: str = "float32"
    bytes_per_vector: int = 0
    clipped: int = 0  # numbers beyond the ranges of int8 or uint8
    sample: int = 0  # rows that the loss was measured on; none for float32
    loss: dict[str, float | None] | None = None  # see minibert.corpus.sample.measure_loss

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        shards = f"{self.shards:,} {'shard' if self.shards == 1 else 'shards'}"
        size = "" if self.precision == "float32" else f" ({self.precision}, {self.bytes_per_vector} bytes each)"
        vectors = f"{self.vectors:,} {'vector' if self.vectors == 1 else 'vectors'}"
        sentence = f"{self.folder}: {vectors} of {self.width} numbers{size} in {shards}"
        if not self.complete:
            return f"{sentence} so far; other workers are still at it, or were stopped"
        if self.skipped:
            sentence += f"; {self.skipped:,} rows could not be read, {SKIPPED} lists them"
        if self.truncated:
            sentence += f"; {self.truncated:,} texts were longer than the model reads and were cut"
        return sentence + self.loss_text()

    def loss_text(self) -> str:
        """What the precision loses, in further lines; "" for float32."""
        lines = [""]
        loss = self.loss or {}
        if loss.get("cosine_mean") is not None:
            lines.append(
                f"{self.precision} on a sample of {self.sample:,} {'row' if self.sample == 1 else 'rows'}: cosine with "
                f"float32 {loss['cosine_mean']:.6f} on average, {loss['cosine_p1']:.6f} at the 1st percentile, "
                f"{loss['cosine_min']:.6f} at worst"
            )
        if loss.get("same_nearest") is not None:
            several = f"; of the {NEAREST} nearest rows, {loss['same_top10']:.1%} stay"  # fewer rows: all of them do
            more = several if self.sample > NEAREST + 1 else ""
            lines.append(f"the nearest row of each is the same for {loss['same_nearest']:.1%}{more}")
        if self.clipped:
            total = self.vectors * self.width
            lines.append(f"{self.clipped:,} of {total:,} numbers lie beyond the ranges and were clipped")
        return "\n".join(lines)


def embed_corpus(
    embedder: Embedder,
    input: Data,
    output: Source,
    *,
    column: str | None = None,
    id_column: str | None = None,
    format: str = "safetensors",
    shard_rows: int = SHARD_ROWS,
    keep_text: bool = True,
    skip_bad: bool = False,
    worker: tuple[int, int] = (0, 1),
    precision: str = "float32",
    **encoding: Any,
) -> CorpusReport:
    """Turn a file of texts into a folder of vectors, in input order; memory does not grow with the file.

    Stopped at any moment and called again with the same arguments, it continues where it stopped, and the folder ends
    with the same bytes (on the same machine, with the same number of torch threads).

    Args:
        embedder: the model.
        input: a .txt (one text per line), .csv, .tsv, .jsonl or .parquet file, in UTF-8; or rows in memory
            (:mod:`minibert.data.memory`).
        output: a folder: new, empty, or of an earlier run with the same arguments.
        column: the column that holds the texts; a .txt has none.
        id_column: the column that holds the ids to keep with the vectors; default: the number of the row, from 1.
        format: of the shards: ``"safetensors"``, ``"npy"``, or ``"parquet"`` (needs the extra).
        shard_rows: rows of the input per shard.
        keep_text: whether the texts are kept beside the vectors.
        skip_bad: whether rows that cannot be read are left out, counted and listed, instead of refused.
        worker: ``(1, 4)`` takes every fourth shard from shard 1; the others are for other processes.
        precision: of the vectors in the folder: ``float32``, ``float16``, ``int8``, ``uint8``, ``binary`` or
            ``ubinary`` (:mod:`minibert.embedding.precision`).  Ranges and loss are those of a sample of up to 1,000
            rows, which is embedded before the first shard.
        encoding: ``pooling``, ``layers``, ``weights``, ``normalize``, ``include_special_tokens``, ``long``, ``stride``,
            ``prompt``, ``prompt_name``, ``truncate_dim`` of :meth:`Embedder.encode`; without a prompt, the model's
            ``document`` prompt, else its default one.

    Raises InputError for wrong arguments and for rows that cannot be read, CheckpointError for a folder that cannot be
    written.  Shards that are complete are kept.
    """
    embedder = copy.copy(embedder)
    embedder.transposed = None  # optimize() rounds a batch of one text otherwise: bits are not to depend on it
    settings = resolve(embedder, encoding)
    check_arguments(format, shard_rows, worker)
    check_choice("precision", precision, PRECISIONS)
    source, folder = open_texts(input, column, id_column), as_path(output)
    with explained_write_errors(folder):
        check_is_corpus(folder)
    check_folder(folder)
    follow_backend(embedder, folder, settings)
    width = int(embedder.encode([], **settings).shape[1])  # refuses wrong choices before the input is read
    before = state(source)
    sample = None if precision == "float32" else Sample()
    counts = examine(source, skip_bad, sample)
    shape = {"format": format, "dtype": dtype_name(precision), "width": width, "shard_rows": shard_rows}
    shape |= {"text": keep_text} if sample is None else {"text": keep_text, "precision": precision}
    plan = make_plan(embedder, settings, source, counts, shape)

    def measure() -> Manifest:
        return {} if sample is None else {QUANTIZATION: measure_sample(embedder, sample, settings, precision)}

    with explained_write_errors(folder), shared(folder):
        plan = begin(folder, plan, measure)
        if sample is not None:
            sample.kept.clear()  # texts that are not needed any more
        stored_as = read_format(plan, folder / FILE)
        make_shards(embedder, source, before, folder, plan, worker, stored_as)
        manifest = finish(folder, plan)
    quantization = plan.get(QUANTIZATION, {})
    return CorpusReport(
        folder=str(folder),
        complete=manifest["complete"],
        rows=counts.rows,
        width=width,
        shards=len(manifest["shards"]),
        **manifest["counts"],
        precision=precision,
        bytes_per_vector=bytes_per_vector(precision, width),
        sample=quantization.get("sample", 0),
        loss=quantization.get("loss"),
    )


def measure_sample(embedder: Embedder, sample: Sample, settings: dict[str, Any], precision: str) -> Manifest:
    """The ranges and the loss of a sample's vectors."""
    texts, is_all = sample.texts(), sample.is_all
    with Progress(embedder, len(texts), 0, f"measuring {precision}") as progress:
        progress.left = len(texts)
        try:
            vectors = embedder.encode(texts, **settings)
        except InputError as error:
            raise InputError(f"Of a sample of {len(texts):,} rows: {error}") from error
    return quantization_of(vectors, precision, is_all)


def follow_backend(embedder: Embedder, folder: Path, settings: dict[str, Any]) -> None:
    """Compute with the backend that the corpus was begun with, and with a graph that gives the layers it needs."""
    name = begun_with(folder) or embedder.backend.name
    numbers = embedder.choose(settings["pooling"], settings["layers"], settings["weights"])[1].numbers
    if name != embedder.backend.name:
        logger.log(
            logging.INFO if embedder.asked_backend == "torch" else logging.WARNING,
            "%s was begun with the backend %s, so it goes on with that and not with %s.",
            folder,
            name,
            embedder.backend.name,
        )
        embedder.use_backend(name, numbers)
    elif embedder.runtime is not None and not embedder.runtime.fits(numbers):
        embedder.use_backend(name, numbers)


def resolve(embedder: Embedder, encoding: dict[str, Any]) -> dict[str, Any]:
    """The arguments for encode, with the embedder's own defaults for those that are missing."""
    if unknown := sorted(set(encoding) - set(ENCODING)):
        raise InputError(f"embed_corpus has no argument {unknown[0]!r}; encode's are {', '.join(ENCODING)}.")
    settings = {**ENCODING, **encoding}
    prompt, name = settings.pop("prompt"), settings.pop("prompt_name")
    if prompt is None and name is None and embedder.prompts["document"]:
        name = "document"
    prompt = embedder.find_prompt(prompt, name)
    if prompt or embedder.default_prompt_name is not None:
        settings["prompt"] = prompt
    if settings["pooling"] is None:
        settings["pooling"] = embedder.pooling
    if settings["truncate_dim"] is None:
        settings["truncate_dim"] = embedder.truncate_dim
    if settings["truncate_dim"] is None:
        del settings["truncate_dim"]
        if settings["normalize"] is None:  # else None is kept: unit length before the vectors are cut
            settings["normalize"] = embedder.normalize
    return settings


def check_arguments(file_format: str, shard_rows: int, worker: tuple[int, int]) -> None:
    """Raise InputError for a wrong argument."""
    if file_format not in FORMATS:
        raise InputError(f"{file_format!r} is no format of shards; there are {', '.join(FORMATS)}.")
    if file_format == "parquet":
        need_pyarrow()
    if shard_rows < 1:
        raise InputError(f"shard_rows is {shard_rows}; a shard has at least 1 row.")
    number, workers = worker
    if not 0 <= number < workers:
        raise InputError(f"There is no worker {number} of {workers}: the first is 0/{workers}, counted from 0.")


def examine(source: TextColumn, skip_bad: bool, sample: Sample | None = None) -> InputCounts:
    """Read the whole input once, which costs little beside the embedding, to find bad rows before the work starts.

    ``sample`` is offered every row that can be read.  Raises InputError for rows that cannot, unless ``skip_bad``.
    """
    rows, bad, first_bad, ids_are_numbers = 0, 0, None, True
    progress = tqdm(source, desc=f"checking {source.path.name}", unit=" rows", leave=False, disable=None)
    for rows, row in enumerate(progress, start=1):  # noqa: B007
        if isinstance(row, BadRow):
            bad += 1
            first_bad = first_bad or row
            continue
        if isinstance(row.id, str) or not -(1 << 63) <= row.id < 1 << 63:
            ids_are_numbers = False
        if sample is not None:
            sample.add(row)
    if first_bad and not skip_bad:
        raise bad_rows(source.file, first_bad, bad, rows)
    return InputCounts(rows, bad, ids_are_numbers)


def state(source: TextColumn) -> tuple[int, int]:
    """The size and modification time of the input, which change when somebody writes to it; (-1, -1) without a file."""
    try:
        status = source.path.stat()
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns


def make_shards(
    embedder: Embedder,
    source: TextColumn,
    before: tuple[int, int],
    folder: Path,
    plan: Manifest,
    worker: tuple[int, int],
    stored_as: VectorFormat,
) -> None:
    """Make those of this worker's shards that are missing."""
    output = plan["output"]
    numbers = range(worker[0], shard_count(plan), worker[1])
    checking = tqdm(numbers, desc="checking what is there", unit=" shards", leave=False, disable=None)
    digest = plan_digest(plan)
    pending = {number for number in checking if not is_there(folder, number, output["format"], digest)}
    rows, size = plan["input"]["rows"], output["shard_rows"]
    lengths = {number: min(size, rows - number * size) for number in numbers}
    done = sum(lengths.values()) - sum(lengths[number] for number in pending)
    with Progress(embedder, sum(lengths.values()), done) as progress:
        for number, block in blocks(source, size, pending):
            good = [row for row in block if isinstance(row, TextRow)]
            skipped = [bad_row(row) for row in block if isinstance(row, BadRow)]
            tokens, progress.left = progress.tokens, len(block)
            vectors = embedder.encode([row.text for row in good], **plan["encoding"])
            if state(source) != before or len(block) != lengths[number]:
                raise InputError(
                    f"{source.path} was changed while it was read. Give it back its content, and run again."
                )
            facts: dict[str, Any] = {} if digest is None else {"plan": digest}
            facts |= {
                "rows": [number * size + 1, number * size + len(block)],
                "vectors": len(good),
                "truncated": embedder.truncated,
                "tokens": progress.tokens - tokens,
                "skipped": skipped,
            }
            if has_ranges(plan):
                facts["clipped"] = stored_as.clipped(vectors)
            write_shard(folder, number, output, good, stored_as.quantize(vectors), facts)
            progress.advance(progress.left)


def is_there(folder: Path, number: int, file_format: str, plan: str | None) -> bool:
    """Whether a shard is whole and of this plan; a warning says when there is a record and it is not."""
    if read_record(folder, number, file_format, plan, checksums=True):
        return True
    if is_file(path := record_path(folder, number)):
        logger.warning("%s or a file that it lists is damaged, or of another corpus; the shard is made again.", path)
    return False


def blocks(
    rows: Iterable[TextRow | BadRow], size: int, numbers: set[int]
) -> Iterator[tuple[int, list[TextRow | BadRow]]]:
    """The numbers of these shards with their rows."""
    stream = iter(rows)
    for number in range(max(numbers, default=-1) + 1):
        block = islice(stream, size)
        if number in numbers:
            yield number, list(block)
        else:
            deque(block, maxlen=0)  # skips the rows


def bad_row(row: BadRow) -> dict[str, Any]:
    """A line of skipped.jsonl."""
    return {name: value for name, value in (("row", row.number), ("line", row.line), ("why", row.why)) if value}


class Progress:
    """A progress bar on stderr with texts and tokens per second and the time left; none where stderr is no terminal.

    Both are counted as they enter the model.
    """

    def __init__(self, embedder: Embedder, total: int, done: int, what: str = "embedding") -> None:
        self.tokens = 0
        self.left = 0  # rows of the current shard that have not been counted
        self.began = time.monotonic()
        # No smoothing: the short texts of a shard come first, so the current speed does not predict the next.
        self.bar = tqdm(total=total, initial=done, desc=what, unit=" texts", smoothing=0, disable=None)
        self.embedder = embedder
        embedder.on_batch = self.count  # not a hook on the model, which would turn the packed path off
        # Its warning about long texts, one per shard, would break the bar; the report has their number.
        self.logger = logging.getLogger("minibert.embedding")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def count(self, packed: Packed) -> None:
        """Count a batch; called before it is run."""
        self.tokens += sum(packed.lengths)
        self.bar.set_postfix_str(f"{self.tokens / (time.monotonic() - self.began):,.0f} tokens/s", refresh=False)
        self.advance(len(packed.lengths))

    def advance(self, rows: int) -> None:
        """Count so many more rows, at most those that are left of the shard."""
        rows = min(rows, self.left)
        self.left -= rows
        self.bar.update(rows)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.embedder.on_batch = None
        self.logger.setLevel(self.level)
        self.bar.close()


@contextmanager
def explained_write_errors(folder: Path) -> Iterator[None]:
    """Add to the error of a full disk, or of a folder that cannot be written, that nothing is lost and what to do."""
    try:
        yield
    except CheckpointError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        advice = "Make room or mend that and run again: what is complete is kept, and it goes on from there."
        raise CheckpointError(f"{error} {advice}") from error
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be used ({reason_of(error)}).") from error


@contextmanager
def shared(folder: Path) -> Iterator[None]:
    """Hold a shared lock on the folder; a worker that is alone removes the temporary files of killed ones.

    The system releases a lock when its process ends, even when it is killed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        import fcntl
    except ImportError:  # no such locks on Windows: the temporary files stay
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)

    def sweep_if_alone() -> None:
        with suppress(OSError):  # another worker is running
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in folder.iterdir():
                if LEFTOVER.fullmatch(path.name):
                    path.unlink()

    try:
        sweep_if_alone()
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        yield
        sweep_if_alone()
    finally:
        os.close(descriptor)
