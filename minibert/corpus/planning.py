"""Reading the input once: where each shard begins, which rows cannot be read, and a checksum of every shard's rows.

A shard ends after ``shard_rows`` rows, when its rows have ``shard_bytes``, and with its file.  In parquet it holds a
part of one row group, or several whole ones.  Nothing is kept but a line per shard, so memory does not grow with the
input's rows: 100 million of them take 24,415 lines (scripts/studies/plan_size.py).  Start with :func:`divide`.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

from minibert.corpus.inputs import CorpusInput
from minibert.corpus.pieces import SHARDS_PER_PIECE, ShardPlan, encoded
from minibert.corpus.sample import Sample
from minibert.data.columns import TextColumn, TextRow
from minibert.data.opening import bad_rows
from minibert.data.rows import BadRow, Place

SHARD_ROWS = 4096  # as many as encode sorts by length at once; a killed run loses no more work than this
SHARD_BYTES = 16 << 20

Row = tuple[int, int, TextRow | BadRow]  # with the offset and the line after it


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


class Content:
    """What the rows of a shard hold.

    Texts and ids are kept without a tuple for each row: Python's garbage collector would look at every one of these
    again and again, which takes longer than reading them.
    """

    def __init__(self, number: int, with_ids: bool) -> None:
        """``number``: of its first row in the file."""
        self.number, self.count = number, 0
        self.texts: list[str] = []
        self.ids: list[str | int] | None = [] if with_ids else None
        self.bad: list[BadRow] = []

    def add(self, row: TextRow | BadRow) -> None:
        """Take one more row."""
        self.count += 1
        if isinstance(row, BadRow):
            self.bad.append(row)
            return
        self.texts.append(row.text)
        if self.ids is not None:
            self.ids.append(row.id)

    def digest(self) -> str:
        """The SHA-256 of the rows: their numbers in the file, ids and texts, and which of them cannot be read.

        It is the same whatever format they were read from.
        """
        bad = [row.number for row in self.bad]
        shape = json.dumps([self.number, self.count, bad, self.ids, [len(text) for text in self.texts]])
        content = hashlib.sha256(shape.encode() + b"\n")
        content.update("".join(self.texts).encode())
        return content.hexdigest()

    def ids_are_numbers(self) -> bool:
        """Whether all ids are whole numbers of 64 bits."""
        return all(isinstance(one, int) and -(1 << 63) <= one < 1 << 63 for one in self.ids or ())


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
            for plan, content in shards_of(texts, number, found, (shard_rows, shard_bytes), sample):
                whole.update(bytes.fromhex(plan.sha256))
                if content.bad:
                    first_bad = first_bad or (texts, content.bad[0])
                found.ids_are_numbers = found.ids_are_numbers and content.ids_are_numbers()
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
    texts: TextColumn, file: int, found: Division, most: tuple[int, int], sample: Sample | None
) -> Iterator[tuple[ShardPlan, Content]]:
    """The shards of one file with their rows, of ``most`` so many rows and bytes; counts in ``found``."""
    reader = texts.file
    for unit in reader.units(*most):
        of_unit = found.shards
        is_one = isinstance(unit, tuple) and unit[1] - unit[0] > 1  # row groups that fit in one shard are not cut
        limits = (most[0], sys.maxsize) if is_one else most
        located = texts.at(Place(unit=unit), found.rows - texts.before + 1)
        for offset, size, line, content in blocks(texts, located, found.rows - texts.before + 1, limits, sample):
            where = (found.shards, found.groups, file, offset, size, line)
            what = (found.rows + 1, content.count, len(content.bad), content.digest())
            yield ShardPlan(*where, *what, None if unit is None else list(unit)), content
            found.shards, found.rows = found.shards + 1, found.rows + content.count
            found.bad += len(content.bad)
            content.texts.clear()  # not kept while the next shard is read
            found.groups += reader.seekable
        found.groups += not reader.seekable and found.shards > of_unit


def blocks(
    texts: TextColumn, located: Iterator[Row], number: int, most: tuple[int, int], sample: Sample | None
) -> Iterator[tuple[int, int, int, Content]]:
    """The rows of a unit, shard by shard, with the offset, the bytes and the first line of each.

    ``number``: of the first row in the file.
    """
    reader, with_ids = texts.file, texts.id_column is not None
    begin = end = passed = 0
    line = following = 1 if reader.counts_bytes else 0
    content = Content(number, with_ids)
    add, left, limit = content.add, most[0], most[1]
    for end, following, row in located if reader.counts_bytes else weighed(located):
        add(row)
        if sample is not None and isinstance(row, TextRow):
            sample.add(row)
        left -= 1
        if not left or end >= limit:
            yield begin if reader.seekable else passed, end - begin, line, content
            passed += content.count
            content = Content(number + passed, with_ids)
            add, left, limit = content.add, most[0], end + most[1]
            begin, line = end, following
    if content.count:
        yield begin if reader.seekable else passed, end - begin, line, content


def weighed(located: Iterable[Row]) -> Iterator[Row]:
    """Rows with the bytes of the texts so far in place of the offset."""
    size = 0
    for _, following, row in located:
        if isinstance(row, TextRow):
            size += len(row.text) if row.text.isascii() else len(row.text.encode())
        yield size, following, row
