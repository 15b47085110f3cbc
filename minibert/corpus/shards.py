"""Writing and reading the files of a shard.

Shard 3 is ``shard-00003.safetensors`` (one tensor, ``vectors``, a row per text) or ``.npy``, with a ``.jsonl`` whose
line n holds the row, id and text of vector n; or one ``.parquet`` with all of these.  A row has the C columns and the
dtype of the corpus' precision (vector_format.py): W float32 unless another was asked for.  ``shard-00003.json``,
written last, is the record: the counts, the rows that could not be read, the processor, the size and checksum of each
file, and the digest of the plan.  A shard whose record is missing, damaged, or does not match its files is made again.
"""

import ctypes
import json
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.checkpoint.save import write_numbers, write_safetensors_to
from minibert.checkpoint.weights import SafetensorsWeights
from minibert.checksum import file_digest, read_sealed, write_sealed_to
from minibert.corpus.folder import CorpusFolder
from minibert.corpus.vector_format import VectorFormat
from minibert.data.columns import TextRow
from minibert.data.parquet import ROWS_PER_BATCH, need_pyarrow
from minibert.errors import CheckpointError

FORMATS = ("safetensors", "npy", "parquet")
ROWS_PER_BLOCK = 8192  # that a reader holds at once
# What str.splitlines takes for the end of a line, and JSON does not escape.
LINE_ENDS = {letter: f"\\u{letter:04x}" for letter in (0x85, 0x2028, 0x2029)}
NPY_MAGIC = b"\x93NUMPY\x01\x00"  # numpy.lib.format, version 1.0
NPY_TYPES = {torch.float32: "<f4", torch.float16: "<f2", torch.int8: "|i1", torch.uint8: "|u1"}
RECORD = re.compile(r"shard-\d{5,}\.json")
FIELDS = {"rows", "vectors", "skipped", "truncated", "tokens", "processor", "files"}

Record = dict[str, Any]


def file_names(number: int, file_format: str) -> list[str]:
    """The files of a shard without its record; the first holds the vectors."""
    name = f"shard-{number:05d}"
    return [f"{name}.{file_format}", *([] if file_format == "parquet" else [f"{name}.jsonl"])]


def record_name(number: int) -> str:
    """``shard-00003.json``."""
    return f"shard-{number:05d}.json"


def write_shard(
    folder: CorpusFolder, number: int, output: dict[str, Any], rows: Sequence[TextRow], vectors: Tensor, facts: Record
) -> None:
    """Write the files of a shard, and last its record.

    Args:
        folder: of the corpus.
        number: of the shard, from 0.
        output: the manifest's ``output``.
        rows: those that were embedded.
        vectors: (len(rows), C), as the corpus' precision stores them.
        facts: what else the record holds, such as the digest of the plan.

    Two writers of one shard write the same bytes.  When one of them has made the corpus complete and removed the
    other's unfinished file as a left-over, the shard is there, and that is no error.  Raises CheckpointError when the
    files cannot be written.
    """
    try:
        files = {}
        for name in file_names(number, output["format"]):
            with folder.written(name) as temporary:
                write_file(temporary, name, output, rows, vectors)
                files[name] = {"bytes": temporary.stat().st_size, "sha256": file_digest(temporary)}
        with folder.written(record_name(number)) as temporary:
            write_sealed_to(temporary, {**facts, "files": files})
    except CheckpointError as error:
        was_removed = isinstance(error.__cause__, FileNotFoundError)
        if not (was_removed and read_record(folder, number, output["format"], facts["plan"], checksums=True)):
            raise


def write_file(path: Path, name: str, output: dict[str, Any], rows: Sequence[TextRow], vectors: Tensor) -> None:
    """Write what the file ``name`` of a shard holds to a temporary path."""
    if name.endswith(".jsonl"):
        lines = ({"row": row.number, "id": row.id, "text": row.text} for row in rows)
        without = ({"row": row.number, "id": row.id} for row in rows)
        write_lines(path, lines if output["text"] else without)
    elif output["format"] == "safetensors":
        write_safetensors_to(path, {"vectors": vectors})
    elif output["format"] == "npy":
        with path.open("wb") as file:
            file.write(npy_header(len(vectors), vectors.shape[1], vectors.dtype))
            write_numbers(file, [vectors])
    else:
        write_parquet(path, rows, vectors, output["text"], output["ids"] == "int64")


def read_record(folder: CorpusFolder, number: int, file_format: str, plan: str, *, checksums: bool) -> Record | None:
    """The record of a shard; None unless it is whole and its files have the recorded sizes (and ``checksums``).

    ``plan``: the expected digest of the plan.
    """
    try:
        record: Record
        with folder.local(record_name(number)) as path:
            record, sealed = read_sealed(path)
        if not sealed or not FIELDS <= record.keys() or record.pop("plan", None) != plan:
            return None
        for name in file_names(number, file_format):
            expected = record["files"][name]
            if expected["bytes"] != folder.size(name):
                return None
            if checksums and not folder.is_checked_store and not folder.is_whole(name, expected["sha256"]):
                return None
    except (OSError, LookupError, TypeError):  # CheckpointError is an OSError
        return None
    return record


def npy_header(rows: int, columns: int, dtype: torch.dtype) -> bytes:
    """The header of (rows, columns) in NumPy's own format, which NumPy can map into memory."""
    text = f"{{'descr': '{NPY_TYPES[dtype]}', 'fortran_order': False, 'shape': ({rows}, {columns}), }}"
    text += " " * (-(len(NPY_MAGIC) + 2 + len(text) + 1) % 64) + "\n"
    return NPY_MAGIC + struct.pack("<H", len(text)) + text.encode()


def vector_blocks(path: Path, rows: int, stored_as: VectorFormat) -> Iterator[Tensor]:
    """The vectors of a shard in blocks, each (…, C) as stored; raises CheckpointError for a damaged file."""
    for vectors in stored_vectors(path, rows, stored_as):
        for block in torch.split(vectors, ROWS_PER_BLOCK):
            check_finite(path, block)
            yield block


def check_finite(path: Path, vectors: Tensor) -> None:
    """Raise CheckpointError for vectors of a shard that hold NaN or infinity."""
    if vectors.is_floating_point() and not torch.isfinite(vectors).all():
        raise damaged(path, "it holds NaN or infinity, which no vector has")


def stored_vectors(path: Path, rows: int, stored_as: VectorFormat) -> Iterator[Tensor]:
    """The vectors of a shard, whatever their numbers are: of a .parquet in blocks, else all at once and mapped."""
    columns, dtype = stored_as.columns, stored_as.dtype
    count = 0
    try:
        for vectors in read_vectors(path, rows, columns, dtype):
            if vectors.dtype != dtype or vectors.ndim != 2 or vectors.shape[1] != columns:
                raise ValueError(
                    f"it holds {vectors.dtype} {tuple(vectors.shape)}, expected {columns} {bare(dtype)} a row"
                )
            yield vectors
            count += len(vectors)
        if count != rows:
            raise ValueError(f"it holds {count} vectors, expected {rows}")
    except (OSError, ValueError) as error:
        raise damaged(path, error) from error


def read_vectors(path: Path, rows: int, columns: int, dtype: torch.dtype) -> Iterator[Tensor]:
    """The vectors of a shard: in blocks of a .parquet, else all at once, mapped into memory."""
    if path.suffix == ".parquet":
        yield from read_parquet_vectors(path, dtype)
    elif path.suffix == ".npy":
        header = npy_header(rows, columns, dtype)
        size = len(header) + dtype.itemsize * rows * columns
        with path.open("rb") as file:
            if path.stat().st_size != size or file.read(len(header)) != header:
                raise ValueError(f"it does not hold {rows} rows of {columns} {bare(dtype)}")
        content = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        yield content[len(header) :].view(dtype).view(rows, columns)
    else:
        weights = SafetensorsWeights(path)
        if weights.names() != ["vectors"]:
            raise ValueError(f"it holds {weights.names()}, expected 'vectors'")
        yield weights.tensor("vectors")


def bare(dtype: torch.dtype) -> str:
    """``"float32"``: as NumPy and Arrow call it."""
    return str(dtype).removeprefix("torch.")


def damaged(path: Path, why: object) -> CheckpointError:
    """The error for a file that does not match the manifest."""
    return CheckpointError(
        f"{path} is missing or damaged ({why}). Run the embed command of this folder again: it makes anew what is not "
        "whole."
    )


def write_lines(path: Path, contents: Iterable[Record]) -> None:
    """Write a .jsonl without escapes, except of characters that some readers take for the end of a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for content in contents:
            file.write(json.dumps(content, ensure_ascii=False).translate(LINE_ENDS) + "\n")


def write_parquet(path: Path, rows: Sequence[TextRow], vectors: Tensor, keep_text: bool, ids_are_numbers: bool) -> None:
    """Write the columns ``row``, ``id``, ``text`` and ``vector``, C numbers; ``vectors``: (len(rows), C)."""
    pa = need_pyarrow()
    flat = vectors.contiguous()
    memory = (ctypes.c_char * flat.nbytes).from_address(flat.data_ptr()) if flat.numel() else b""
    numbers = pa.Array.from_buffers(arrow_type(flat.dtype), flat.numel(), [None, pa.py_buffer(memory)])
    columns = {
        "row": pa.array([row.number for row in rows], pa.int64()),
        "id": pa.array([row.id for row in rows], pa.int64())
        if ids_are_numbers
        else pa.array([str(row.id) for row in rows], pa.string()),
        "text": pa.array([row.text for row in rows], pa.string()),
        "vector": pa.FixedSizeListArray.from_arrays(numbers, vectors.shape[1]),
    }
    if not keep_text:
        del columns["text"]
    pa.parquet.write_table(pa.table(columns), path, use_dictionary=False)


def read_parquet_vectors(path: Path, dtype: torch.dtype) -> Iterator[Tensor]:
    """The vectors of a .parquet in blocks, each (rows, C) of ``dtype``; ValueError for a column of another type."""
    with need_pyarrow().parquet.ParquetFile(path) as file:
        expected = arrow_type(dtype)
        found = getattr(file.schema_arrow.field("vector").type, "value_type", None)
        if found != expected:
            raise ValueError(f"its vectors are of {found}, expected {expected}")
        for batch in file.iter_batches(8 * ROWS_PER_BATCH, columns=["vector"]):
            column = batch.column(0)
            numbers = column.flatten()
            start, count = numbers.offset * dtype.itemsize, len(numbers) * dtype.itemsize
            memory = bytearray(memoryview(numbers.buffers()[1])[start : start + count])
            yield torch.frombuffer(memory, dtype=dtype).view(len(column), -1)


def arrow_type(dtype: torch.dtype) -> Any:
    """The type that pyarrow has for the numbers of a vector."""
    return getattr(need_pyarrow(), bare(dtype))()


def read_parquet_rows(path: Path) -> Iterator[dict[str, Any]]:
    """``row``, ``id`` and, where it was kept, ``text`` of each row of a .parquet."""
    with need_pyarrow().parquet.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name != "vector"]
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=names):
            yield from batch.to_pylist()
