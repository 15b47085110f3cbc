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

from minibert.integrations import batches


class Embed(batches.Embed):
    """A function for ``DataFrame.mapInPandas`` and ``mapInArrow``; :meth:`make_predict_fn` is for predict_batch_udf.

    ``threads``: Spark runs as many Python workers as an executor has cores, divided by ``spark.task.cpus``, so give
    that number.
    """

    def __call__(self, batch: Iterable[Any]) -> Iterator[Any]:
        """Each of the batches, a pandas.DataFrame or a pyarrow.RecordBatch, with the column of vectors."""
        for done in map(super().__call__, batch):
            yield with_lists(done, self.output_column) if hasattr(done, "schema") else done

    def make_predict_fn(self) -> Callable[[Any], Any]:
        """The function that a Python worker calls with the texts of a batch, an array of NumPy; (texts, W) float32."""
        return self.vectors


def with_lists(batch: Any, name: str) -> Any:
    """A pyarrow.RecordBatch whose vectors are lists of any length: Spark has no type for lists of one length."""
    import pyarrow as pa

    number = batch.schema.names.index(name)
    return batch.set_column(number, name, batch.column(number).cast(pa.list_(pa.float32())))
