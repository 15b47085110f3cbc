"""Batches of an engine: the texts of one column in, their vectors in another.

An engine sends a function to its worker processes and calls it with one batch after the other.  :class:`Embed` is
that function: a few settings, which travel, and a model, which each process loads for itself, once.  A batch comes
as the engine has it and goes back as the same: a dict of NumPy arrays or of lists, a pandas.DataFrame, or a
pyarrow.Table or RecordBatch.

The vectors are those of :meth:`Embedder.encode` for the same batch with the same number of threads, bit for bit.
"""

import os
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import torch

from minibert.embedding import Embedder
from minibert.embedding.arguments import check_text, check_whole, described
from minibert.errors import InputError
from minibert.source import Source


class Embed:
    """What an engine sends to each worker process, and calls there; the base of those for Ray, Spark and datasets."""

    def __init__(
        self,
        model: Source,
        column: str = "text",
        output_column: str = "embedding",
        *,
        threads: int | None = None,
        device: str | None = None,
        backend: str = "torch",
        **encoding: Any,
    ) -> None:
        """Nothing is loaded here: where an engine is told what to do may be no place for the model.

        Args:
            model: a folder that every machine has, or a name on the hub.
            column: which holds the texts.
            output_column: for the vectors, W float32 each.
            threads: of torch in each process, whatever OMP_NUM_THREADS says; default: as torch has them there.
            device: as in :meth:`Embedder.from_pretrained`.
            backend: as there.
            encoding: other arguments of :meth:`Embedder.encode`.

        Raises InputError for arguments of another type.
        """
        if isinstance(model, Embedder):
            raise InputError(
                "model is an Embedder, which stays in its process; give the folder or the name of the model."
            )
        self.model, self.device, self.backend, self.encoding = model, device, backend, encoding
        self.column = check_text("column", column)
        self.output_column = check_text("output_column", output_column)
        self.threads = None if threads is None else check_whole("threads", threads, 1)

    @property
    def embedder(self) -> Embedder:
        """The embedder of this process; loaded when it is asked for first."""
        if self.threads is not None and torch.get_num_threads() != self.threads:
            torch.set_num_threads(self.threads)  # before a backend is made: it takes as many
        return loaded(os.fspath(self.model), self.device, self.backend, torch.get_num_threads())

    def vectors(self, texts: Iterable[str]) -> Any:
        """The vectors of some texts, an array of NumPy: (len(texts), W) float32."""
        return self.embedder.encode(texts, **{**self.encoding, "convert_to_numpy": True})

    def __call__(self, batch: Any) -> Any:
        """``batch`` with the vectors of its texts; InputError where the column is missing or holds something else."""
        return with_vectors(batch, self.output_column, self.vectors(texts_of(batch, self.column)))


@lru_cache(maxsize=1)
def loaded(model: str, device: str | None, backend: str, threads: int) -> Embedder:
    """An embedder with this process' threads; ``threads`` are a key, because a backend's runtime keeps its number."""
    return Embedder.from_pretrained(model, device=device, backend=backend)


def texts_of(batch: Any, column: str) -> list[str]:
    """The texts of one column; InputError, naming column and row, where it is missing or a value is no text."""
    names = names_of(batch)
    if column not in names:
        raise InputError(f"The batch has no column called {column!r}; it has {', '.join(map(str, names)) or 'none'}.")
    values = batch.column(column).to_pylist() if hasattr(batch, "schema") else list(batch[column])
    for number, value in enumerate(values, start=1):
        if not isinstance(value, str):
            raise InputError(
                f"Row {number} of {len(values)} of a batch has {described(value)} in the column {column!r}; expected a "
                "text. Leave such rows out, or give them the text ''."
            )
    return values


def names_of(batch: Any) -> list[Any]:
    """The names of the columns of a batch, of any of the four kinds."""
    if hasattr(batch, "schema"):  # pyarrow
        return list(batch.schema.names)
    return list(batch.columns if hasattr(batch, "columns") else batch)


def with_vectors(batch: Any, name: str, vectors: Any) -> Any:
    """``batch`` with another column, (rows, W); a column of that name is replaced."""
    if hasattr(batch, "schema"):
        import pyarrow as pa

        # A list of one size per row: every engine that reads Arrow takes it for a vector.
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        names = batch.schema.names
        if name in names:
            return batch.set_column(names.index(name), name, column)
        return batch.append_column(name, column)
    if hasattr(batch, "assign"):  # pandas: an array in each cell
        return batch.assign(**{name: list(vectors)})
    return {**batch, name: vectors}
