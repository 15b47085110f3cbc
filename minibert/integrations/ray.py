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

from minibert.integrations import batches


class Embed(batches.Embed):
    """A class for ``ray.data.Dataset.map_batches``, whose ``batch_format`` may be any of Ray's."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        """As :class:`batches.Embed <minibert.integrations.batches.Embed>`, and load the model: an actor begins so.

        Raises CheckpointError for a model that cannot be loaded, InputError for wrong arguments.
        """
        super().__init__(*arguments, **settings)
        self.embedder.encode([], **self.encoding)  # wrong arguments end the actor before a batch comes
