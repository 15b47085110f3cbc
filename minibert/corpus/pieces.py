"""Lists with a line per shard, in pieces of 4,096 lines: ``plan-00000.jsonl``, ``records-00000.jsonl``.

The manifest has the name, the number of lines and the SHA-256 of each piece.  So a corpus of a billion rows has a
manifest of a few kilobytes, and who needs one shard reads one piece.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from minibert.corpus.folder import FILE, CorpusFolder
from minibert.errors import CheckpointError

SHARDS_PER_PIECE = 4096
PLAN, RECORDS = "plan", "records"

Piece = dict[str, Any]  # "name", "shards", "sha256", as in the manifest


class ShardPlan(NamedTuple):
    """A line of the plan: which rows a shard has, and where they are."""

    shard: int
    group: int  # shards of a group are read together
    file: int  # which of the input's files, from 0
    offset: int  # where it begins: a byte of the file; in a group that is read from its beginning, a row of that
    bytes: int  # of its rows, as they are in the file; of parquet and of rows in memory, those of its texts
    line: int  # of the file, which begins at the offset; 0 in a format without lines
    row: int  # its first one, counted through all files from 1
    rows: int
    bad: int  # rows that cannot be read
    sha256: str  # of its rows (planning.py)
    unit: list[int] | None = None  # of parquet, the row groups of the group: the first, and the one after the last

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return {name: value for name, value in self._asdict().items() if value is not None}


def piece_name(kind: str, number: int) -> str:
    """``plan-00000.jsonl``."""
    return f"{kind}-{number:05d}.jsonl"


def encoded(lines: Iterable[dict[str, Any]]) -> bytes:
    """The content of a piece."""
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def described(kind: str, number: int, shards: int, content: bytes) -> Piece:
    """What the manifest says of a piece."""
    return {"name": piece_name(kind, number), "shards": shards, "sha256": hashlib.sha256(content).hexdigest()}


def write_piece(folder: CorpusFolder, name: str, content: bytes) -> None:
    """Write a piece, whole or not at all."""
    with folder.written(name) as temporary:
        temporary.write_bytes(content)


def read_piece(folder: CorpusFolder, piece: Piece) -> Iterator[dict[str, Any]]:
    """The lines of a piece; CheckpointError when it is missing, or is not what the manifest says."""
    name = piece["name"]
    if folder.size(name) is None:
        raise damaged_piece(folder, name)
    try:
        with folder.local(name) as path:
            content = path.read_bytes()
    except OSError as error:
        raise damaged_piece(folder, name) from error
    lines = content.splitlines()
    if hashlib.sha256(content).hexdigest() != piece["sha256"] or len(lines) != piece["shards"]:
        raise damaged_piece(folder, name)
    yield from map(json.loads, lines)


def damaged_piece(folder: CorpusFolder, name: str) -> CheckpointError:
    """The error for a piece that is not what the manifest says."""
    return CheckpointError(
        f"{folder.shown(name)} is missing or damaged: its SHA-256 is not the one in {FILE}. Run the embed command of "
        "this folder again: it makes anew what is not whole."
    )


def lines_in(pieces: Sequence[Piece]) -> int:
    """How many shards the pieces have."""
    return sum(int(piece["shards"]) for piece in pieces)
