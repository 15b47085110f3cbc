"""plan_corpus: read the input once, and write down what belongs to each shard.

With the plan in the folder, any number of processes may make shards, each reading only its part of the input
(run.py).  What identifies the input is a checksum of every shard's rows, taken while they are read for the first time;
a plan whose files have the same names, sizes and times is trusted without reading them again.  Start with
:func:`plan_corpus`.
"""

import json
import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import torch

from minibert._version import __version__
from minibert.corpus.folder import FILE, CorpusFolder, open_folder
from minibert.corpus.inputs import CorpusInput, file_named
from minibert.corpus.long_rows import why_not
from minibert.corpus.manifest import (
    KIND,
    PIECE,
    QUANTIZATION,
    VERSION,
    Manifest,
    check_is_corpus,
    check_same,
    check_version,
    plan_digest,
    planned,
    plans_of_records,
    read_manifest,
    shard_count,
    write_manifest,
)
from minibert.corpus.model import describe_model, embedder_for, follow_backend, prepared, resolve, torch_threads
from minibert.corpus.pieces import PLAN, SHARDS_PER_PIECE, ShardPlan, described, piece_name, read_piece, write_piece
from minibert.corpus.planning import SHARD_BYTES, SHARD_ROWS, Division, divide
from minibert.corpus.progress import Progress, explained_write_errors
from minibert.corpus.sample import Sample, quantization_of
from minibert.corpus.shards import FORMATS
from minibert.corpus.vector_format import VectorFormat, dtype_name, read_format
from minibert.data.memory import Data
from minibert.data.parquet import need_pyarrow
from minibert.embedding import Embedder
from minibert.embedding.arguments import check_choice, check_whole
from minibert.embedding.precision import PRECISIONS
from minibert.errors import CheckpointError, InputError
from minibert.source import Source

logger = logging.getLogger("minibert.corpus")


@dataclass
class Plan:
    """What a folder of vectors will hold, and where each shard's rows are."""

    folder: CorpusFolder
    manifest: Manifest = field(repr=False)  # the plan's part of it
    input: CorpusInput | None = field(default=None, repr=False)  # None: as the manifest says
    embedder: Embedder | None = field(default=None, repr=False)  # None: as the manifest says
    piece: tuple[int, list[ShardPlan]] | None = field(default=None, init=False, repr=False)  # read last

    @classmethod
    def open(cls, folder: "Source | CorpusFolder | Plan") -> "Plan":
        """The plan in a folder.  Raises CheckpointError where there is none, InputError for an earlier version."""
        if isinstance(folder, Plan):
            return folder
        place = open_folder(folder)
        manifest = read_manifest(place)
        check_version(place, manifest)
        return cls(place, planned(manifest))

    @property
    def shards(self) -> int:
        """How many there are."""
        return shard_count(self.manifest)

    @property
    def threads(self) -> int:
        """How many threads torch has, in every process that makes a shard."""
        return int(self.manifest["threads"])

    def lines(self) -> Iterator[ShardPlan]:
        """What is planned of every shard, in order.  Raises CheckpointError for a damaged plan."""
        for number in range(len(self.manifest["plan"])):
            yield from self.lines_of(number)

    def lines_of(self, number: int) -> list[ShardPlan]:
        """A piece of the plan."""
        if self.piece is None or self.piece[0] != number:
            listed = read_piece(self.folder, self.manifest["plan"][number])
            self.piece = number, [ShardPlan(**line) for line in listed]
        return self.piece[1]

    def shard(self, number: int) -> ShardPlan:
        """What is planned of one shard."""
        return self.lines_of(number // SHARDS_PER_PIECE)[number % SHARDS_PER_PIECE]

    def groups(self) -> Iterator[list[int]]:
        """The numbers of the shards that are read together: what is handed out."""
        for _, shards in groupby(self.lines(), key=lambda line: line.group):
            yield [line.shard for line in shards]

    def of_worker(self, number: int, workers: int) -> list[int]:
        """The shards of every ``workers``-th group, from group ``number``."""
        return [line.shard for line in self.lines() if line.group % workers == number]

    def source(self) -> CorpusInput:
        """The input, opened where the manifest says; to be read by the embedder, once there is one."""
        if self.input is None:
            stored = self.manifest["input"]
            if stored["format"] == "memory":
                raise InputError(
                    f"The rows of {self.folder} were in memory; only embed_corpus, which gets them again, can go on."
                )
            self.input = CorpusInput.of(stored, [file_named(file) for file in stored["files"]])
        if self.embedder is not None:
            self.input.why_not = why_not(self.embedder, self.manifest["encoding"])
        return self.input

    def prepare(self, model: Source | Embedder | None = None, device: str | None = None) -> Embedder:
        """The embedder that makes the shards, loaded or checked once.

        ``model``: an Embedder or a source; default: the source that the manifest names.  ``device``: where it is loaded
        to; default: the CPU.  Raises InputError for another model than the plan's.
        """
        if self.embedder is None:
            embedder = prepared(embedder_for(self.manifest, self.folder, model, device))
            with torch_threads(self.threads):
                follow_backend(embedder, self.manifest["model"]["backend"], self.folder, self.manifest["encoding"])
            self.embedder = embedder
        return self.embedder

    def vector_format(self) -> VectorFormat:
        """How vectors are stored."""
        return read_format(self.manifest, self.folder.shown(FILE))

    def to_dict(self) -> dict[str, Any]:
        """What a person wants to know of it."""
        stored = self.manifest["input"]
        return {
            "folder": str(self.folder),
            "rows": stored["rows"],
            "unreadable": stored["unreadable"],
            "files": len(stored["files"]),
            "shards": self.shards,
            "groups": sum(1 for _ in self.groups()),
            "threads": self.threads,
        }

    def __str__(self) -> str:
        facts = self.to_dict()
        shards, groups = facts["shards"], facts["groups"]
        in_shards = f"{shards:,} {'shard' if shards == 1 else 'shards'}"
        if groups != shards:
            in_shards += f" in {groups:,} {'group' if groups == 1 else 'groups'}, each read by one worker"
        return f"{self.folder}: {facts['rows']:,} rows are planned as {in_shards}"


def plan_corpus(
    model: Embedder | Source,
    input: Data,
    output: Source | CorpusFolder,
    *,
    column: str | None = None,
    id_column: str | None = None,
    format: str = "safetensors",
    shard_rows: int = SHARD_ROWS,
    shard_bytes: int = SHARD_BYTES,
    keep_text: bool = True,
    skip_bad: bool = False,
    precision: str = "float32",
    threads: int | None = None,
    **encoding: Any,
) -> Plan:
    """Read the input once and write the plan of a corpus into a folder; where the same plan is there, return that.

    Args:
        model: an Embedder, or the source of one.
        input: files in UTF-8 of one kind: .txt (one text per line), .csv, .tsv, .jsonl or .parquet; all but the last
            also as .gz or .zst.  One path, a folder, a glob such as ``"data/*.csv"``, or a list of ``Path``; or rows in
            memory (:mod:`minibert.data.memory`).
        output: a folder: new, empty, or of an earlier run with the same arguments.
        column: the column that holds the texts; a .txt has none.
        id_column: the column that holds the ids to keep with the vectors; default: the number of the row, from 1.
        format: of the shards: ``"safetensors"``, ``"npy"``, or ``"parquet"`` (needs the extra).
        shard_rows: rows of the input per shard, at most.
        shard_bytes: bytes of the input, after which a shard ends.
        keep_text: whether the texts are kept beside the vectors.
        skip_bad: whether rows that cannot be read are left out, counted and listed, instead of refused.
        precision: of the vectors in the folder: ``float32``, ``float16``, ``int8``, ``uint8``, ``binary`` or
            ``ubinary`` (:mod:`minibert.embedding.precision`).  Ranges and loss are those of a sample of up to 1,000
            rows, which is embedded now.
        threads: of torch in every process that makes a shard.  Default: as many as torch has now.
        encoding: ``pooling``, ``layers``, ``weights``, ``normalize``, ``include_special_tokens``, ``long``, ``stride``,
            ``prompt``, ``prompt_name``, ``truncate_dim`` of :meth:`Embedder.encode`; without a prompt, the model's
            ``document`` prompt, else its default one.

    Raises InputError for wrong arguments, for rows that cannot be read, and for a folder with another plan;
    CheckpointError for a folder that cannot be written.
    """
    embedder = prepared(model if isinstance(model, Embedder) else Embedder.from_pretrained(model))
    settings = resolve(embedder, encoding)
    check_arguments(format, shard_rows, shard_bytes, threads)
    check_choice("precision", precision, PRECISIONS)
    folder = open_folder(output)
    check_is_corpus(folder)
    stored, damage = stored_manifest(folder)
    count = threads or (stored["threads"] if stored else torch.get_num_threads())
    with torch_threads(count):
        if stored:
            follow_backend(embedder, stored["model"]["backend"], folder, settings)
        else:
            follow_backend(embedder, embedder.backend.name, folder, settings)
        width = int(embedder.encode([], **settings).shape[1])  # refuses wrong choices before the input is read
        shape = {"format": format, "dtype": dtype_name(precision), "width": width}
        shape |= {"shard_rows": shard_rows, "shard_bytes": shard_bytes, "text": keep_text}
        shape |= {} if precision == "float32" else {"precision": precision}
        wanted: Manifest = {
            "kind": KIND,
            "version": VERSION,
            "minibert": __version__,
            "model": describe_model(embedder),
            "encoding": settings,
            "threads": count,
            "output": shape,
        }
        wanted = json.loads(json.dumps(wanted))  # tuples become lists
        source = CorpusInput.find(input, column, id_column, folder)
        source.why_not = why_not(embedder, settings)
        if stored:
            check_same(folder, stored, {**wanted, "input": {"id_column": same_name(id_column, stored["input"])}})
            if is_as_planned(folder, stored, source, skip_bad):
                return Plan(folder, planned(stored), CorpusInput.of(stored["input"], source.files), embedder)
        sample = None if precision == "float32" else Sample()
        division = divide(source, shard_rows, shard_bytes, skip_bad, sample)
        states = source.states()
        described_input = describe_input(source, division, states)
        wanted = {**wanted, "input": described_input}
        wanted["output"] = {**wanted["output"], "ids": "int64" if division.ids_are_numbers else "string"}
        wanted = {
            name: wanted[name]
            for name in ("kind", "version", "minibert", "model", "encoding", "threads", "input", "output")
        }
        with explained_write_errors(folder):
            manifest = settle(folder, stored, damage, wanted, division, embedder, sample)
    return Plan(folder, manifest, CorpusInput.of(described_input, source.files), embedder)


def check_arguments(file_format: str, shard_rows: int, shard_bytes: int, threads: int | None) -> None:
    """Raise InputError for a wrong argument."""
    if file_format not in FORMATS:
        raise InputError(f"{file_format!r} is no format of shards; there are {', '.join(FORMATS)}.")
    if file_format == "parquet":
        need_pyarrow()
    if shard_rows < 1:
        raise InputError(f"shard_rows is {shard_rows}; a shard has at least 1 row.")
    check_whole("shard_bytes", shard_bytes, 1)
    if threads is not None:
        check_whole("threads", threads, 1)


def stored_manifest(folder: CorpusFolder) -> tuple[Manifest | None, CheckpointError | None]:
    """The manifest in a folder, None where there is none; or what is wrong with one that is damaged."""
    if folder.size(FILE) is None:
        return None, None
    try:
        manifest = read_manifest(folder)
    except CheckpointError as error:
        return None, error
    check_version(folder, manifest)
    return manifest, None


def same_name(id_column: str | None, stored: Manifest) -> str | None:
    """The column's name as it is in the file, where it is the one of a stored plan with other spaces around."""
    then: str | None = stored["id_column"]
    return then if id_column and then and id_column.strip() == then.strip() else id_column


def is_as_planned(folder: CorpusFolder, stored: Manifest, source: CorpusInput, skip_bad: bool) -> bool:
    """Whether the files of the input are those of a stored plan, untouched since, and the plan is whole."""
    then = stored["input"]
    files = [{name: file[name] for name in ("name", "bytes", "stamp")} for file in then["files"]]
    column = source.column or (None if then["column_given"] else then["column"])
    is_same = not source.in_memory and source.states() == files
    if not is_same or (column, source.id_column) != (then["column"], then["id_column"]):
        return False
    if then["unreadable"] and not skip_bad:
        return False  # reading it again says which rows
    for piece in stored["plan"]:
        if not folder.is_whole(piece["name"], piece["sha256"]):
            logger.warning("%s is missing or damaged; the input is planned again.", folder.shown(piece["name"]))
            return False
    return True


def describe_input(source: CorpusInput, division: Division, states: list[dict[str, Any]]) -> dict[str, Any]:
    """The manifest's ``input``."""
    row, files = 1, []
    for state, rows in zip(states, division.rows_of_files, strict=True):
        files.append({**state, "row": row, "rows": rows})
        row += rows
    found = {"files": files, **source.describe()}
    return {**found, "sha256": division.sha256, "rows": division.rows, "unreadable": division.bad}


def settle(
    folder: CorpusFolder,
    stored: Manifest | None,
    damage: CheckpointError | None,
    wanted: Manifest,
    division: Division,
    embedder: Embedder,
    sample: Sample | None,
) -> Manifest:
    """Write a new plan into its folder, or compare it with the one that is there, and return that which holds.

    Ranges are measured only where the folder does not have them; of several processes that plan at once, the plan that
    is written first holds for all.  A damaged manifest is written again if the records of the shards are of this plan.
    Raises InputError, naming the difference, when the two plans differ, and CheckpointError for a damaged manifest that
    may have been of another.
    """
    contents = division.pieces
    sizes = [min(SHARDS_PER_PIECE, division.shards - number * SHARDS_PER_PIECE) for number in range(len(contents))]
    pieces = [described(PLAN, number, *facts) for number, facts in enumerate(zip(sizes, contents, strict=True))]
    if stored is None and damage is None:
        stored = stored_manifest(folder)[0]  # planning took its time
    if stored is None:
        whole = {**wanted, **measure_sample(embedder, sample, wanted), "plan": pieces, "complete": False}
        if damage is None:
            stored = stored_manifest(folder)[0]  # measuring, too
        elif plans_of_records(folder) != {plan_digest(whole)}:
            raise CheckpointError(
                f"{damage} Nothing here says that its shards are of what is asked for now. Put back a copy of it, or "
                "give another --output."
            ) from None  # not of the disk: making room does not help
        else:
            logger.warning("%s It is written again; its shards are of the same input, model and settings.", damage)
        if stored is None:
            write_plan(folder, whole, contents)
            return whole
    check_same(folder, stored, wanted)
    whole = planned(stored)
    moved = [file["name"] for file in stored["input"]["files"]] != [file["name"] for file in wanted["input"]["files"]]
    if stored["plan"] != pieces or (not stored.get("complete") and stored["input"] != wanted["input"]):
        whole = {**whole, "input": wanted["input"], "plan": pieces}
        logger.info("%s: the plan is written again, for files that %s.", folder, "moved" if moved else "were touched")
        write_plan(folder, whole, contents)
    elif any(not folder.is_whole(piece["name"], piece["sha256"]) for piece in pieces):
        write_pieces(folder, contents)
    return whole


def write_plan(folder: CorpusFolder, plan: Manifest, contents: Iterable[bytes]) -> None:
    """Write the pieces, and then the manifest that names them."""
    write_pieces(folder, contents)
    write_manifest(folder, plan)
    expected = {piece["name"] for piece in plan["plan"]}
    for name in folder.names():
        if PIECE.fullmatch(name) and name not in expected:  # of a plan that was killed
            folder.remove(name)


def write_pieces(folder: CorpusFolder, contents: Iterable[bytes]) -> None:
    """Write the pieces of a plan."""
    for number, content in enumerate(contents):
        write_piece(folder, piece_name(PLAN, number), content)


def measure_sample(embedder: Embedder, sample: Sample | None, plan: Manifest) -> Manifest:
    """The ranges and the loss of a sample's vectors, as the manifest's ``quantization``; nothing for float32."""
    if sample is None:
        return {}
    texts, is_all, precision = sample.texts(), sample.is_all, plan["output"]["precision"]
    sample.kept.clear()  # they are not needed any more
    with Progress(embedder, len(texts), 0, f"measuring {precision}") as progress:
        progress.left = len(texts)
        try:
            vectors = embedder.encode(texts, **plan["encoding"])
        except InputError as error:
            raise InputError(f"Of a sample of {len(texts):,} rows: {error}") from error
    return {QUANTIZATION: quantization_of(vectors, precision, is_all)}
