"""Shards as .parquet, out and in, with the extra of that name."""

import ctypes
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from minibert.data.columns import TextRow
from minibert.data.parquet import ROWS_PER_BATCH, need_pyarrow


def write_table(path: Path, rows: Sequence[TextRow], vectors: Tensor, keep_text: bool, ids_are_numbers: bool) -> None:
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
        for batch in file.iter_batches(8 * ROWS_PER_BATCH, columns=["vector"]):
            column = batch.column(0)
            numbers = column.flatten()
            start, count = numbers.offset * 4, len(numbers) * 4
            memory = bytearray(memoryview(numbers.buffers()[1])[start : start + count])
            yield torch.frombuffer(memory, dtype=torch.float32).view(len(column), -1)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """``row``, ``id`` and, where it was kept, ``text`` of each row of a shard."""
    with need_pyarrow().parquet.ParquetFile(path) as file:
        names = [name for name in file.schema_arrow.names if name != "vector"]
        for batch in file.iter_batches(ROWS_PER_BATCH, columns=names):
            yield from batch.to_pylist()
