"""Reading .parquet, with the extra of that name.

The file is read in batches: memory grows with the size of its row groups, not of the file.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from minibert.data.beginnings import CutLine, CutText, cut_line
from minibert.data.remote import RemoteFile
from minibert.data.rows import WHOLE, Located, Place, RowFile, Unreadable, decoded
from minibert.errors import MissingExtraError

ROWS_PER_BATCH = 1024
BYTES_PER_BATCH = 16 << 20


def need_pyarrow() -> Any:
    """The module pyarrow, with pyarrow.parquet loaded; MissingExtraError when it is not installed."""
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError.of("pyarrow is not installed; for parquet files", "parquet") from error
    return pyarrow


class ParquetRows(RowFile):
    """.parquet, of which only the selected columns are read.  Its units are row groups, (first, after the last)."""

    metadata: Any = None  # of the file, once it was read

    @contextmanager
    def opened(self) -> Iterator[Any]:
        """The pyarrow.parquet.ParquetFile; its metadata is read the first time."""
        library, path = need_pyarrow().parquet, self.path
        content = path.at_places() if isinstance(path, RemoteFile) else path.open("rb", buffering=0)
        with content, library.ParquetFile(content, metadata=self.metadata) as file:
            self.metadata = file.metadata
            yield file

    def columns(self) -> list[str]:
        with self.opened() as file:
            names: list[str] = file.schema_arrow.names
        return names

    def units(self, rows: int, size: int) -> Iterator[tuple[int, int]]:
        with self.opened() as file:
            groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
            counts = [(group.num_rows, self.size_of(group)) for group in groups]
        first, together, bytes_together = 0, 0, 0
        for number, (count, length) in enumerate(counts):
            if number > first and (together + count > rows or bytes_together + length > size):
                yield first, number
                first, together, bytes_together = number, 0, 0
            together, bytes_together = together + count, bytes_together + length
        if counts:
            yield first, len(counts)

    def size_of(self, group: Any) -> int:
        """The bytes of the selected columns in a row group, before compression."""
        columns = [group.column(number) for number in range(group.num_columns)]
        return sum(
            column.total_uncompressed_size
            for column in columns
            if self.selected is None or column.path_in_schema.split(".")[0] in self.selected
        )

    def records(self) -> Iterator[tuple[None, dict[str, Any]]]:
        return ((None, cells) for _, _, _, cells in self.located())

    def located(self, place: Place = WHOLE) -> Iterator[Located]:
        """The cells of each row, not yet converted: then one that is not UTF-8 makes only its own row a bad one."""
        offset = 0
        with self.opened() as file:
            groups = list(range(file.metadata.num_row_groups)) if place.unit is None else list(range(*place.unit))
            rows = self.rows_per_batch([file.metadata.row_group(number) for number in groups])
            for batch in file.iter_batches(rows, row_groups=groups, columns=self.selected):
                may_cut = self.longest is not None and batch.nbytes > self.longest
                for cells in zip(*batch.columns, strict=True):
                    offset += 1
                    held = map(self.cut, cells) if may_cut else cells
                    yield offset, 0, None, dict(zip(batch.schema.names, held, strict=True))

    def rows_per_batch(self, groups: list[Any]) -> int:
        """How many rows are read at once: fewer where they are long."""
        longest = max((self.size_of(group) // max(1, group.num_rows) for group in groups), default=0)
        return max(1, min(ROWS_PER_BATCH, BYTES_PER_BATCH // max(1, longest)))

    def cut(self, cell: Any) -> Any:
        """The cell, or the beginning of its bytes where they are too many."""
        content = cell.as_buffer() if hasattr(cell, "as_buffer") else None
        if content is None or self.longest is None or content.size <= self.longest:
            return cell
        return cut_line(content[: self.longest].to_pybytes(), self.longest)

    def parse(self, record: Mapping[str, Any]) -> dict[str, Any]:
        """The cells as Python values."""
        try:
            return {name: CutText(decoded(c)) if isinstance(c, CutLine) else c.as_py() for name, c in record.items()}
        except UnicodeDecodeError as error:
            place = f"byte {error.start + 1} is 0x{error.object[error.start]:02x}"
            raise Unreadable(f"is not UTF-8 ({place})") from error
