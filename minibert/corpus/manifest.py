"""``manifest.json``: how the vectors of a folder are made, and which shards there are.

It is written twice.  First, with ``"complete": false``, it holds the plan: model, encoding, input, output, the number
of threads, and the pieces of the plan's list of shards (pieces.py).  So a run that continues, or another worker, cannot
mix vectors of two plans.  Where the vectors are not float32, it also holds ``quantization``: the ranges of int8 and
uint8, and what is lost (sample.py).  At the end it also holds the counts, the processors, and the pieces of the list of
records.  It holds no date and no duration: a run that was killed many times ends with the same bytes as one that was
not.

Versions 1 and 2 had one list of shards in the manifest itself, and one file as input.  They are read, not continued.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibert.checksum import json_digest, read_sealed, write_sealed_to
from minibert.corpus.folder import FILE, LEFTOVER, SKIPPED, CorpusFolder, LocalFolder
from minibert.corpus.pieces import lines_in, read_piece
from minibert.corpus.shards import RECORD, Record
from minibert.errors import CheckpointError, InputError

__all__ = ["FILE", "LEFTOVER", "SKIPPED"]
KIND, VERSION = "minibert corpus", 3
OLDER = ((1, False), (2, True))  # and whether the manifest has a checksum
QUANTIZATION = "quantization"  # the key of what was measured on a sample
# What may differ, because checksums compare the content; and what is known only at the end.
NAMES = {
    "model.source", "model.revision", "input.files", "input.format", "input.lines", "input.head", "input.column_given",
}  # fmt: skip
PLANNED = ("kind", "version", "minibert", "model", "encoding", "threads", "input", "output", QUANTIZATION)
PIECE = re.compile(r"plan-\d{5,}\.jsonl")  # of a plan that was killed before its manifest was written

Manifest = dict[str, Any]


def check_is_corpus(folder: CorpusFolder) -> None:
    """Raise InputError for a folder that holds files and no corpus, CheckpointError for a new one that cannot be."""
    names = folder.names()
    if not names:
        folder.check_writable()
    foreign = [name for name in names if not LEFTOVER.fullmatch(name) and not PIECE.fullmatch(name)]
    if foreign and FILE not in names:
        raise InputError(
            f"{folder} holds {foreign[0]!r} and no {FILE}, so it is no corpus. Give an empty folder, or a new one."
        )


def check_version(folder: object, manifest: Manifest) -> None:
    """Raise InputError for the manifest of an earlier version, which no run continues."""
    if manifest["version"] != VERSION:
        done = "complete, and search reads it" if manifest.get("complete") else "not complete"
        raise InputError(
            f"{folder} was begun by an earlier version of minibert, and is {done}. Go on with that version, or give "
            "another --output."
        )


def check_same(folder: object, stored: Manifest, wanted: Mapping[str, Any]) -> None:
    """Raise InputError, naming the differences, unless a stored manifest is of what is asked for now."""
    old = dict(flat(stored))
    changed = [(name, value) for name, value in flat(wanted) if name not in NAMES and old.get(name) != value]
    if changed:
        listed = "; ".join(f"{name} was {old.get(name)!r} and is now {value!r}" for name, value in changed)
        raise InputError(f"{folder} was begun with something else: {listed}. Give the same again, or another --output.")


def flat(content: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Nested settings by dotted names, such as ``"model.sha256"``."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def planned(manifest: Manifest) -> Manifest:
    """What of a manifest was there before the first shard."""
    return {name: manifest[name] for name in (*PLANNED, "plan") if name in manifest} | {"complete": False}


def plan_digest(plan: Manifest) -> str:
    """The SHA-256 of what may not differ, which the record of each shard holds."""
    fixed = {name: plan[name] for name in PLANNED if name in plan}
    return json_digest({name: value for name, value in flat(fixed) if name not in NAMES})


def plans_of_records(folder: CorpusFolder) -> set[str]:
    """The digests of the plans in the undamaged records of a folder."""
    digests = set()
    for name in folder.names():
        if RECORD.fullmatch(name):
            with suppress(CheckpointError), folder.local(name) as path:
                digests.add(str(read_sealed(path)[0].get("plan")))
    return digests


def has_ranges(plan: Manifest) -> bool:
    """Whether numbers can lie beyond ranges, and are counted: int8 and uint8."""
    return "ranges" in plan.get(QUANTIZATION, {})


def begun_with(folder: Path | CorpusFolder) -> str | None:
    """The backend that the corpus in a folder was begun with; None where there is none, or its manifest is damaged."""
    try:
        return str(read_manifest(folder)["model"].get("backend", "torch"))
    except CheckpointError:
        return None


def shard_count(manifest: Manifest) -> int:
    """The number of shards."""
    if manifest["version"] == VERSION:
        return lines_in(manifest["plan"])
    return -(-int(manifest["input"]["rows"]) // int(manifest["output"]["shard_rows"]))


def shard_records(place: Path | CorpusFolder, manifest: Manifest) -> Iterator[Record]:
    """The records of a complete corpus, of any version, in order.  CheckpointError for a damaged piece."""
    if manifest["version"] != VERSION:
        yield from manifest["shards"]
        return
    folder = LocalFolder(place) if isinstance(place, Path) else place
    for piece in manifest["records"]:
        yield from read_piece(folder, piece)


def write_manifest(folder: CorpusFolder, manifest: Manifest) -> None:
    """Write ``manifest.json``, whole or not at all."""
    with folder.written(FILE) as temporary:
        write_sealed_to(temporary, manifest)


def read_manifest(place: Path | CorpusFolder) -> Manifest:
    """The manifest of a folder; CheckpointError when it is missing, damaged, or of another program."""
    folder = LocalFolder(place) if isinstance(place, Path) else place
    if folder.size(FILE) is None:
        raise CheckpointError(f"{folder} holds no {FILE}. Make it: minibert embed --input FILE --output {folder}.")
    manifest: Manifest
    with folder.local(FILE) as path:
        manifest, sealed = read_sealed(path)
    shown, version = folder.shown(FILE), manifest.get("version")
    known = (version, sealed) in ((VERSION, True), *OLDER)
    if manifest.get("kind") != KIND or not known:
        raise CheckpointError(f"{shown} is not the manifest of a corpus (version {VERSION}) of minibert's.")
    parts = ("model", "encoding", "input", "output")
    if any(not isinstance(manifest.get(part), dict) for part in parts) or (
        version == VERSION and not isinstance(manifest.get("plan"), list)
    ):
        raise CheckpointError(f"{shown} is damaged: parts of it are missing. Embed the corpus anew.")
    return manifest
