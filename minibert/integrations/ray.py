"""Vectors for a Ray Dataset::

    from minibert.integrations.ray import Embed

    rows = ray.data.read_parquet("reviews/")
    rows.map_batches(
        Embed,
        fn_constructor_kwargs={"model": "path/to/checkpoint", "threads": 2},
        compute=ray.data.ActorPoolStrategy(size=4),
        num_cpus=2,
    ).write_parquet("vectors/")

Ray makes one :class:`Embed` per actor.  It sets OMP_NUM_THREADS of an actor to its ``num_cpus``; ``threads`` decides.
To embed a file into a folder that can be continued and searched, see ``ray_corpus.py``.
"""

from typing import Any

from minibert.integrations.batches import BatchEmbedder
from minibert.source import Source


class Embed:
    """A class for ``ray.data.Dataset.map_batches``, whose ``batch_format`` may be any of Ray's."""

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
        """Load the model.

        Args:
            model: a folder that every node has, or a name on the hub.
            column: which holds the texts.
            output_column: for the vectors, W float32 each.
            threads: of torch; default: as many as Ray gives the actor.
            device: as in :meth:`Embedder.from_pretrained`; ``"cuda"`` with ``num_gpus=1``.
            backend: as there.
            encoding: arguments of :meth:`Embedder.encode`.

        Raises CheckpointError for a model that cannot be loaded, InputError for wrong arguments.
        """
        self.batches = BatchEmbedder(model, column, output_column, threads, device, backend, encoding)
        self.batches.embedder.encode([], **encoding)  # wrong arguments end the actor before a batch comes

    def __call__(self, batch: Any) -> Any:
        """``batch`` with the vectors; its rows stay in their order."""
        return self.batches(batch)
