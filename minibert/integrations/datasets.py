"""Vectors for a Dataset of the library datasets::

    from datasets import load_dataset
    from minibert.integrations.datasets import Embed

    reviews = load_dataset("csv", data_files="reviews.csv", split="train")
    reviews = reviews.map(Embed("path/to/checkpoint", column="review"), batched=True)

The library keeps the result of a map, and finds it again by a hash of the function.  :class:`Embed` has the same hash
in every run, and another one for other weights, another vocabulary or other settings.

With ``num_proc=4`` the processes are forked.  A forked process cannot use the threads that torch has begun before: it
would wait for them for ever.  So there a batch is computed in a new thread, which gets threads of its own.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from minibert._version import __version__
from minibert.checksum import json_digest
from minibert.corpus.model import describe_model
from minibert.embedding import Embedder
from minibert.embedding.backends import check_backend
from minibert.integrations.batches import BatchEmbedder, texts_of, with_vectors
from minibert.source import Source

PLACE = ("source", "revision")  # the same model may be elsewhere
PROCESS = os.getpid()  # another one after a fork, the same in a process that imports this file for itself


class Embed:
    """A function for ``Dataset.map`` and ``IterableDataset.map`` with ``batched=True``."""

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
        """Read the model once, to know it by its checksums; each process that embeds loads it for itself.

        Args:
            model: a folder, or a name on the hub.
            column: which holds the texts.
            output_column: for the vectors, W float32 each.
            threads: of torch, in each process; with ``num_proc``, give the number of cores divided by it.
            device: as in :meth:`Embedder.from_pretrained`.
            backend: as there.
            encoding: arguments of :meth:`Embedder.encode`.

        Raises CheckpointError for a model that cannot be loaded, InputError for wrong arguments.
        """
        check_backend(backend)
        self.batches = BatchEmbedder(model, column, output_column, threads, device, backend, encoding)
        embedder = Embedder.from_pretrained(model)  # on the CPU: what a GPU has begun, a fork cannot use either
        embedder.encode([], **encoding)
        known = {name: value for name, value in describe_model(embedder).items() if name not in PLACE}
        self.model = json_digest([known, __version__])  # only for the hash

    def __call__(self, batch: Any) -> Any:
        """The column of vectors, (rows, W) float32; of a formatted dataset (pandas, arrow) the batch with it."""
        texts = texts_of(batch, self.batches.column)
        if os.getpid() == PROCESS:
            vectors = self.batches.vectors(texts)
        else:
            with ThreadPoolExecutor(1) as thread:
                vectors = thread.submit(self.batches.vectors, texts).result()
        name = self.batches.output_column
        if hasattr(batch, "schema") or hasattr(batch, "assign"):
            return with_vectors(batch, name, vectors)
        return {name: vectors}
