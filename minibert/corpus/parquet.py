"""Parquet, in and out, with the extra: everything here that touches pyarrow.

Read by batches, so that memory does not grow with the file (it does with the file's row groups).
"""

import ctypes
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.corpus.rows import File, Row, Unreadable
from minibert.errors import MissingExtraError

ROWS_A_BATCH = 1024


def need_pyarrow() -> Any:
    """The module pyarrow, with pyarrow.parquet loaded; MissingExtraError when it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError.of("pyarrow is not installed; for parquet files", "parquet") from error
    return pyarrow


class ParquetRows(File):
    """.parquet, of which only the columns that are wanted are read."""

    def columns(self) -> list[str]:
        """The names of the schema's columns."""
        names: list[str] = need_pyarrow().parquet.read_schema(self.path).names
        return names

    def records(self) -> Iterator[tuple[None, dict[str, Any]]]:
        """The cells of each row, not yet looked into: one that is not UTF-8 spoils its own row and no other."""
        with need_pyarrow().parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS_A_BATCH, columns=self.wanted):
                for cells in zip(*batch.columns, strict=True):
                    yield None, dict(zip(batch.schema.names, cells, strict=True))

    def parse(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The cells as Python has them."""
        try:
            return {name: cell.as_py() for name, cell in record.items()}
        except UnicodeDecodeError as error:
            found = f"byte {error.start + 1} is 0x{error.object[error.start]:02x}"
            raise Unreadable(f"is not UTF-8 ({found})") from error


def write_table(path: Path, rows: Sequence[Row], vectors: Tensor, keep_text: bool, ids_are_numbers: bool) -> None:
    """Write one shard: ``row``, ``id``, ``text`` and ``vector``, W float32.  ``vectors``: (len(rows), W) float32."""
    pa = need_pyarrow()
    flat = vectors.contiguous()
    memory = (ctypes.c_char * (flat.numel() * 4)).from_address(flat.data_ptr()) if flat.numel() else b""
    numbers = pa.Array.from_buffers(pa.float32(), flat.numel(), [None, pa.py_buffer(memory)])
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


def read_vectors(path: Path) -> Iterator[Tensor]:
    """The vectors of a shard, a block at a time, each (rows, W) float32."""
    with need_pyarrow().parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(8 * ROWS_A_BATCH, columns=["vector"]):
            column = batch.column(0)
            numbers = column.flatten()
            start, count = numbers.offset * 4, len(numbers) * 4
            memory = bytearray(memoryview(numbers.buffers()[1])[start : start + count])
            yield torch.frombuffer(memory, dtype=torch.float32).view(len(column), -1)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """``row``, ``id`` and, where it was kept, ``text`` of each row of a shard."""
    with need_pyarrow().parquet.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name != "vector"]
        for batch in file.iter_batches(ROWS_A_BATCH, columns=names):
            yield from batch.to_pylist()
