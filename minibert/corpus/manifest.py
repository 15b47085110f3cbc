"""``manifest.json``: how the vectors of a folder were made, and which shards there are.

It is written twice.  First, with ``"complete": false``, it holds the plan: model, encoding, input and output, so that a
run that continues (or a second worker) cannot mix vectors of two plans.  Where the vectors are not float32, the plan
also holds ``quantization``: the ranges of int8 and uint8, and what is lost (sample.py).  At the end the manifest also
holds the counts and the shards.  It holds no date and no duration: a run that was killed many times ends with the same
bytes as one that was not.
"""

import hashlib
import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from minibert._version import __version__
from minibert.checksum import json_digest, read_sealed, write_sealed
from minibert.corpus.shards import Record, read_record, write_lines
from minibert.data.columns import TextColumn
from minibert.data.memory import MemoryRows
from minibert.embedding import Embedder
from minibert.embedding.backends.weights import settings_of, weights_digest
from minibert.errors import CheckpointError, InputError
from minibert.files import is_file, write_text
from minibert.hub import commit_of
from minibert.model import BertModel
from minibert.source import Checkpoint, is_demo

logger = logging.getLogger("minibert.corpus")
KIND, VERSION = "minibert corpus", 2
UNSEALED = 1  # the older version, without checksums in manifest and records
FILE, SKIPPED = "manifest.json", "skipped.jsonl"
QUANTIZATION = "quantization"  # the key of what was measured on a sample
# The temporary files of written_whole that a killed writer left, for the files that are ours.
LEFTOVER = re.compile(r"\.(shard-\d+\.\w+|manifest\.json|skipped\.jsonl)\.\d+-\d+\.part")
RECORD = re.compile(r"shard-\d{5,}\.json")
NAMES = {"model.source", "model.revision", "input.file"}  # may differ: checksums compare the content

Manifest = dict[str, Any]  # the plan, and at the end the counts and shards too


class InputCounts(NamedTuple):
    """What reading the whole input once shows, before anything is computed."""

    rows: int
    bad: int
    ids_are_numbers: bool  # of 64 bits, all of them: the type of the column of ids in a parquet file


def make_plan(
    embedder: Embedder, encoding: Mapping[str, Any], source: TextColumn, counts: InputCounts, output: Mapping[str, Any]
) -> Manifest:
    """Everything that determines the bits of the result, apart from the machine and its number of threads."""
    plan = {
        "kind": KIND,
        "version": VERSION,
        "minibert": __version__,
        "model": describe_model(embedder),
        "encoding": dict(encoding),
        "input": {
            "file": source.path.name,
            "bytes": None if isinstance(source.file, MemoryRows) else source.path.stat().st_size,
            "sha256": source.file.digest(),
            "column": source.column,
            "id_column": source.id_column,
            "rows": counts.rows,
            "unreadable": counts.bad,
        },
        "output": {**output, "ids": "int64" if counts.ids_are_numbers else "string"},
        "complete": False,
    }
    as_read: Manifest = json.loads(json.dumps(plan))  # tuples become lists
    return as_read


def describe_model(embedder: Embedder) -> Manifest:
    """The model: its source, and checksums of everything that it computes with.

    ``steps_sha256``, ``include_prompt`` and ``query_prompt``, which a search in the corpus uses, are there only for a
    sentence-transformers model that has them.
    """
    source, revision = origin_of(embedder.model)
    query_prompt = embedder.find_prompt(None, "query" if embedder.prompts["query"] else None)
    description = {
        "source": source,
        "revision": revision,
        "sha256": weights_digest(embedder.model, settings_of(embedder.model)),
        "dtype": str(embedder.model.dtype).removeprefix("torch."),
        "max_length": embedder.max_length,
        "tokenizer_sha256": tokenizer_digest(embedder),
        "backend": embedder.backend.name,
    }
    if embedder.backend.name != "torch":
        description["backend_version"] = embedder.backend.versions[embedder.backend.name]
    if len(embedder.steps):
        description["steps_sha256"] = weights_digest(embedder.steps, repr(embedder.steps))
    if not embedder.include_prompt:
        description["include_prompt"] = False
    return description | ({"query_prompt": query_prompt} if query_prompt else {})


def origin_of(model: BertModel) -> tuple[str | None, str | None]:
    """Where the weights came from: a path on this disk, or a name on the hub with its commit.

    Both are None for a model that was made in memory, or from a state dict.
    """
    report = model.load_report
    if report is None or not report.files:
        return None, None
    if is_demo(report.source):
        return report.source, None
    try:
        checkpoint = Checkpoint.open(report.source)
    except CheckpointError:  # moved since it was loaded
        return report.source, None
    if checkpoint.folder is None:
        return report.source, commit_of(Path(report.files[0]))
    return str(Path(report.source).expanduser().resolve()), None


def tokenizer_digest(embedder: Embedder) -> str:
    """The SHA-256 of the vocabulary and of the settings that determine how a text becomes ids."""
    tokenizer = embedder.tokenizer
    added = {number: token.to_json() for number, token in tokenizer.added_tokens_decoder.items()}
    switches = (tokenizer.do_lower_case, tokenizer.strip_accents, tokenizer.tokenize_chinese_chars)
    sides = (tokenizer.split_special_tokens, tokenizer.truncation_side)
    content = [sorted(tokenizer.get_vocab().items()), added, switches, sides, tokenizer.special_tokens_map]
    if tokenizer.pipeline is not None:  # of another kind, with rules and scores of its own
        content.append(tokenizer.pipeline)
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def check_is_corpus(folder: Path) -> None:
    """Raise InputError for a folder that holds files and no corpus."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; --output is a folder, which is made if it is not there.")
    if folder.is_dir():
        names = sorted(path.name for path in folder.iterdir())
        foreign = [name for name in names if not LEFTOVER.fullmatch(name)]
        if foreign and FILE not in names:
            raise InputError(
                f"{folder} holds {foreign[0]!r} and no {FILE}, so it is no corpus. Give an empty folder, or a new one."
            )


def begin(folder: Path, plan: Manifest, measure: Callable[[], Manifest] = dict) -> Manifest:
    """Write the plan into a new folder; in an older one, compare it with the plan that is there, and return that.

    ``measure``: the rest of the plan, ``quantization``, which takes a sample of vectors.  It is called only where the
    folder does not have it; of several workers that begin at once, the plan that is written first holds for all.

    A damaged manifest is written again if the records of the shards are of this plan.  Raises InputError, naming the
    difference, when the two plans differ, and CheckpointError for a damaged manifest that may have been of another.
    """
    if not is_file(folder / FILE):
        whole = plan | measure()
        if not is_file(folder / FILE):  # measuring took its time
            write_manifest(folder, whole)
            return whole
    try:
        stored = read_manifest(folder)
    except CheckpointError as error:
        whole = plan | measure()
        if plans_of_records(folder) != {plan_digest(whole)}:
            raise CheckpointError(
                f"{error} Nothing here says that its shards are of what is asked for now. Put back a copy of it, or "
                "give another --output."
            ) from None  # not of the disk: making room does not help
        logger.warning("%s It is written again; its shards are of the same input, model and settings.", error)
        write_manifest(folder, whole)
        return whole
    if stored["version"] == UNSEALED:
        logger.warning(
            "%s was begun by an earlier version, without checksums of its records: damage to them goes unnoticed.",
            folder,
        )
        plan = {**plan, "version": UNSEALED}
    old, new = {"model.backend": "torch", **dict(flat(stored))}, dict(flat(plan))  # earlier versions had no other
    changed = [name for name in new if old.get(name) != new[name] and name not in NAMES and name != "complete"]
    if changed:
        listed = "; ".join(f"{name} was {old.get(name)!r} and is now {new[name]!r}" for name in changed)
        raise InputError(f"{folder} was begun with something else: {listed}. Give the same again, or another --output.")
    measured = {name: stored[name] for name in (QUANTIZATION,) if name in stored}
    return {name: stored[name] for name in plan} | {"complete": False} | measured


def flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted names, such as ``"model.sha256"``."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def plan_digest(plan: Manifest) -> str | None:
    """The SHA-256 of what may not differ, which the record of each shard holds; None for a plan without checksums."""
    if plan["version"] == UNSEALED:
        return None
    return json_digest({name: value for name, value in flat(plan) if name not in NAMES and name != "complete"})


def plans_of_records(folder: Path) -> set[str | None]:
    """The digests of the plans in the undamaged records of a folder."""
    digests: set[str | None] = set()
    for path in folder.iterdir():
        if RECORD.fullmatch(path.name):
            with suppress(CheckpointError):
                digests.add(read_sealed(path)[0].get("plan"))
    return digests


def has_ranges(plan: Manifest) -> bool:
    """Whether numbers can lie beyond ranges, and are counted: int8 and uint8."""
    return "ranges" in plan.get(QUANTIZATION, {})


def begun_with(folder: Path) -> str | None:
    """The backend that the corpus in a folder was begun with; None where there is none, or its manifest is damaged."""
    try:
        return str(read_manifest(folder)["model"].get("backend", "torch"))
    except CheckpointError:
        return None


def shard_count(plan: Manifest) -> int:
    """The number of shards; the last may be shorter."""
    return -(-int(plan["input"]["rows"]) // int(plan["output"]["shard_rows"]))


def finish(folder: Path, plan: Manifest) -> Manifest:
    """The manifest with counts and shards; written as complete when every shard is there, made by any worker."""
    digest = plan_digest(plan)

    def records() -> Iterator[Record]:
        for number in range(shard_count(plan)):
            if record := read_record(folder, number, plan["output"]["format"], digest, checksums=False):
                yield record

    shards = [{**record, "skipped": len(record["skipped"])} for record in records()]
    counted = ["vectors", "skipped", "truncated", "tokens"]
    if has_ranges(plan):
        counted.append("clipped")
    counts = {name: sum(shard[name] for shard in shards) for name in counted}
    manifest = {**plan, "complete": len(shards) == shard_count(plan), "counts": counts, "shards": shards}
    if manifest["complete"]:
        if counts["skipped"]:
            write_lines(folder / SKIPPED, (row for record in records() for row in record["skipped"]))
        write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``, whole or not at all."""
    if manifest["version"] == UNSEALED:
        write_text(folder / FILE, json.dumps(manifest, ensure_ascii=False, indent=1) + "\n")
    else:
        write_sealed(folder / FILE, manifest)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a folder; CheckpointError when it is missing, damaged, or of another program."""
    if not is_file(folder / FILE):
        raise CheckpointError(f"{folder} holds no {FILE}. Make it: minibert embed --input FILE --output {folder}.")
    manifest: Manifest
    manifest, sealed = read_sealed(folder / FILE)
    if (manifest.get("kind"), manifest.get("version")) != (KIND, VERSION if sealed else UNSEALED):
        raise CheckpointError(f"{folder / FILE} is not the manifest of a corpus (version {VERSION}) of minibert's.")
    if any(not isinstance(manifest.get(part), dict) for part in ("model", "encoding", "input", "output")):
        raise CheckpointError(f"{folder / FILE} is damaged: parts of it are missing. Embed the corpus anew.")
    return manifest
