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
from minibert.integrations import batches
from minibert.integrations.batches import texts_of, with_vectors

PLACE = ("source", "revision")  # the same model may be elsewhere
PROCESS = os.getpid()  # another one after a fork, the same in a process that imports this file for itself


class Embed(batches.Embed):
    """A function for ``Dataset.map`` and ``IterableDataset.map`` with ``batched=True``."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """As :class:`batches.Embed <minibert.integrations.batches.Embed>`, and read the model, to know its checksums.

        Each process that embeds loads it for itself.  With ``num_proc``, ``threads`` is the number of cores divided by
        it.  Raises CheckpointError for a model that cannot be loaded, InputError for wrong arguments.
        """
        super().__init__(*arguments, **settings)
        check_backend(self.backend)
        embedder = Embedder.from_pretrained(self.model)  # on the CPU: what a GPU has begun, a fork cannot use either
        embedder.encode([], **self.encoding)
        known = {name: value for name, value in describe_model(embedder).items() if name not in PLACE}
        self.identity = json_digest([known, __version__])  # only for the hash

    def __call__(self, batch: Any) -> Any:
        """The column of vectors, (rows, W) float32; of a formatted dataset (pandas, arrow) the batch with it."""
        texts = texts_of(batch, self.column)
        if os.getpid() == PROCESS:
            vectors = self.vectors(texts)
        else:
            with ThreadPoolExecutor(1) as thread:
                vectors = thread.submit(self.vectors, texts).result()
        name = self.output_column
        if hasattr(batch, "schema") or hasattr(batch, "assign"):
            return with_vectors(batch, name, vectors)
        return {name: vectors}
