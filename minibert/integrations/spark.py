"""Vectors for a DataFrame of Spark, in two ways::

    from minibert.integrations.spark import Embed

    embed = Embed("path/to/checkpoint", column="review", threads=1)
    rows.mapInPandas(embed, "id long, review string, embedding array<float>")

    from pyspark.ml.functions import predict_batch_udf
    from pyspark.sql.types import ArrayType, FloatType

    vector = predict_batch_udf(embed.make_predict_fn, return_type=ArrayType(FloatType()), batch_size=1024)
    rows.withColumn("embedding", vector("review"))

What Spark sends to its Python workers is the place of the model and a few settings.  A worker loads the model for its
first batch and keeps it for all tasks that it gets (``spark.python.worker.reuse``, on by default).  Every executor
needs minibert, and the model's folder, or access to the hub.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from minibert.integrations.batches import BatchEmbedder
from minibert.source import Source


class Embed:
    """A function for ``DataFrame.mapInPandas`` and ``mapInArrow``; :meth:`make_predict_fn` is for predict_batch_udf."""

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
        """Nothing is loaded here: the driver may have neither the model nor the memory for it.

        Args:
            model: a folder that every executor has, or a name on the hub.
            column: which holds the texts.
            output_column: for the vectors, W float32 each: ``array<float>``.
            threads: of torch, in each Python worker; Spark runs as many workers as an executor has cores, divided by
                ``spark.task.cpus``, so give that number.
            device: as in :meth:`Embedder.from_pretrained`.
            backend: as there.
            encoding: arguments of :meth:`Embedder.encode`.

        Raises InputError for arguments of another type.
        """
        self.batches = BatchEmbedder(model, column, output_column, threads, device, backend, encoding)

    def __call__(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Each batch, a pandas.DataFrame or a pyarrow.RecordBatch, with the column of vectors."""
        for batch in map(self.batches, batches):
            yield with_lists(batch, self.batches.output_column) if hasattr(batch, "schema") else batch

    def make_predict_fn(self) -> Callable[[Any], Any]:
        """The function that a Python worker calls with the texts of a batch, an array of NumPy; (texts, W) float32."""
        return self.batches.vectors


def with_lists(batch: Any, name: str) -> Any:
    """A pyarrow.RecordBatch whose vectors are lists of any length: Spark has no type for lists of one length."""
    import pyarrow as pa

    number = batch.schema.names.index(name)
    return batch.set_column(number, name, batch.column(number).cast(pa.list_(pa.float32())))
