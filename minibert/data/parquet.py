"""Reading .parquet, with the extra of that name.

The file is read in batches: memory grows with the size of its row groups, not of the file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from minibert.data.rows import RowFile, Unreadable
from minibert.errors import MissingExtraError

ROWS_PER_BATCH = 1024


def need_pyarrow() -> Any:
    """The module pyarrow, with pyarrow.parquet loaded; MissingExtraError when it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError.of("pyarrow is not installed; for parquet files", "parquet") from error
    return pyarrow


class ParquetRows(RowFile):
    """.parquet, of which only the selected columns are read."""

    def columns(self) -> list[str]:
        names: list[str] = need_pyarrow().parquet.read_schema(self.path).names
        return names

    def records(self) -> Iterator[tuple[None, dict[str, Any]]]:
        """The cells of each row, not yet converted: then one that is not UTF-8 makes only its own row a bad one."""
        with need_pyarrow().parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(ROWS_PER_BATCH, columns=self.selected):
                for cells in zip(*batch.columns, strict=True):
                    yield None, dict(zip(batch.schema.names, cells, strict=True))

    def parse(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The cells as Python values."""
        try:
            return {name: cell.as_py() for name, cell in record.items()}
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} is 0x{error.object[error.start]:02x}"
            raise Unreadable(f"is not UTF-8 ({place})") from error
