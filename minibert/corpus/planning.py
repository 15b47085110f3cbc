"""Reading the input once: where each shard begins, which rows cannot be read, and a checksum of every shard's rows.

A shard ends after ``shard_rows`` rows, when its rows have ``shard_bytes``, and with its file.  In parquet it holds a
part of one row group, or several whole ones.  Nothing is kept but a line per shard, so memory does not grow with the
input's rows: 100 million of them take 24,415 lines (scripts/studies/plan_size.py).  Start with :func:`divide`.
"""

import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from minibert.corpus.inputs import CorpusInput, Rows
from minibert.corpus.pieces import SHARDS_PER_PIECE, ShardPlan, encoded
from minibert.corpus.sample import Sample
from minibert.data.columns import TextColumn, TextRow
from minibert.data.opening import bad_rows
from minibert.data.rows import BadRow, Place

SHARD_ROWS = 4096  # as many as encode sorts by length at once; a killed run loses no more work than this
SHARD_BYTES = 16 << 20


@dataclass
class Division:
    """What reading the input once shows, before anything is computed."""

    rows: int = 0
    bad: int = 0
    ids_are_numbers: bool = True  # of 64 bits, all of them: the type of the column of ids in a parquet file
    sha256: str = ""  # of all rows: of the shards' checksums one after the other
    shards: int = 0
    groups: int = 0
    rows_of_files: list[int] = field(default_factory=list)
    pieces: list[bytes] = field(default_factory=list)  # of the plan


def divide(
    source: CorpusInput,
    shard_rows: int = SHARD_ROWS,
    shard_bytes: int = SHARD_BYTES,
    skip_bad: bool = False,
    sample: Sample | None = None,
) -> Division:
    """Read the whole input and divide it into shards.

    ``sample`` is offered every row that can be read.  Raises InputError for rows that cannot, unless ``skip_bad``, and
    for a file that cannot be read or has other columns than the first.
    """
    found, whole = Division(), hashlib.sha256()
    lines: list[dict[str, Any]] = []
    first_bad: tuple[TextColumn, BadRow] | None = None
    with tqdm(desc="planning", unit=" rows", leave=False, disable=None) as progress:
        for number in range(len(source.files)):
            texts = source.texts(number)
            texts.before = found.rows
            for plan, rows in shards_of(texts, number, found, shard_rows, shard_bytes):
                whole.update(bytes.fromhex(plan.sha256))
                if plan.bad:
                    first_bad = first_bad or (texts, next(row for row in rows if isinstance(row, BadRow)))
                if found.ids_are_numbers and texts.id_column is not None:
                    found.ids_are_numbers = all(is_number(row) for row in rows)
                if sample is not None:
                    for row in rows:
                        if isinstance(row, TextRow):
                            sample.add(row)
                lines.append(plan.to_dict())
                if len(lines) == SHARDS_PER_PIECE:
                    found.pieces.append(encoded(lines))
                    lines.clear()
                progress.update(plan.rows)
            found.rows_of_files.append(found.rows - texts.before)
    if first_bad and not skip_bad:
        raise bad_rows(first_bad[0].file, first_bad[1], found.bad, found.rows)
    if lines:
        found.pieces.append(encoded(lines))
    found.sha256 = whole.hexdigest()
    return found


def shards_of(
    texts: TextColumn, file: int, found: Division, shard_rows: int, shard_bytes: int
) -> Iterator[tuple[ShardPlan, Rows]]:
    """The shards of one file with their rows; counts in ``found``."""
    reader = texts.file
    for unit in reader.units(shard_rows, shard_bytes):
        of_unit = found.shards
        for offset, size, line, rows in blocks(texts, unit, found.rows - texts.before + 1, shard_rows, shard_bytes):
            bad = sum(isinstance(row, BadRow) for row in rows)
            where = (found.shards, found.groups, file, offset, size, line)
            what = (found.rows + 1, len(rows), bad, digest_of(rows, texts))
            yield ShardPlan(*where, *what, None if unit is None else list(unit)), rows
            found.shards, found.rows, found.bad = found.shards + 1, found.rows + len(rows), found.bad + bad
            found.groups += reader.seekable
        found.groups += not reader.seekable and found.shards > of_unit


def blocks(
    texts: TextColumn, unit: Any, number: int, shard_rows: int, shard_bytes: int
) -> Iterator[tuple[int, int, int, Rows]]:
    """The rows of a unit, shard by shard, with the offset, the bytes and the first line of each.

    ``number``: of the first row in the file.
    """
    reader = texts.file
    if isinstance(unit, tuple) and unit[1] - unit[0] > 1:
        shard_bytes = sys.maxsize  # whole row groups, which are not cut
    rows: Rows = []
    begin = size = passed = 0
    line = following = 1 if reader.counts_bytes else 0
    for end, following, row in texts.at(Place(unit=unit), number):
        rows.append(row)
        size = end - begin if reader.counts_bytes else size + size_of(row)
        if len(rows) >= shard_rows or size >= shard_bytes:
            yield begin if reader.seekable else passed, size, line, rows
            begin, passed, size, line, rows = end, passed + len(rows), 0, following, []
    if rows:
        yield begin if reader.seekable else passed, size, line, rows


def size_of(row: TextRow | BadRow) -> int:
    """The bytes of a row's text."""
    if isinstance(row, BadRow):
        return 0
    return len(row.text) if row.text.isascii() else len(row.text.encode())


def is_number(row: TextRow | BadRow) -> bool:
    """Whether the id of a row is a whole number of 64 bits."""
    return isinstance(row, BadRow) or (isinstance(row.id, int) and -(1 << 63) <= row.id < 1 << 63)


def digest_of(rows: Rows, texts: TextColumn) -> str:
    """The SHA-256 of a shard's rows: their numbers in the file, ids and texts, and which rows cannot be read.

    It is the same whatever format they were read from.
    """
    good = [row for row in rows if isinstance(row, TextRow)]
    bad = [row.number for row in rows if isinstance(row, BadRow)]
    contents = [row.text for row in good]
    ids = None if texts.id_column is None else [row.id for row in good]
    begin = rows[0].number - (0 if isinstance(rows[0], BadRow) else texts.before)  # which a BadRow counts without
    shape = json.dumps([begin, len(rows), bad, ids, [len(text) for text in contents]])
    content = hashlib.sha256(shape.encode() + b"\n")
    content.update("".join(contents).encode())
    return content.hexdigest()
