"""What a run shows while it works, and what it says when the disk is full."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from tqdm import tqdm

from minibert.embedding import Embedder
from minibert.embedding.packed import Packed
from minibert.errors import CheckpointError, reason_of


class Progress:
    """A progress bar on stderr with texts and tokens per second and the time left; none where stderr is no terminal.

    Both are counted as they enter the model.
    """

    def __init__(
        self, embedder: Embedder, total: int, done: int, what: str = "embedding", hidden: bool | None = None
    ) -> None:
        """``hidden``: True for no bar; default: only where stderr is no terminal."""
        self.tokens = 0
        self.left = 0  # rows of the current shard that have not been counted
        self.troubles = ""
        self.began = time.monotonic()
        # No smoothing: the short texts of a shard come first, so the current speed does not predict the next.
        self.bar = tqdm(total=total, initial=done, desc=what, unit=" texts", smoothing=0, disable=hidden)
        self.embedder = embedder
        embedder.on_batch = self.count  # not a hook on the model, which would turn the packed path off
        # Its warning about long texts, one per shard, would break the bar; the report has their number.
        self.logger = logging.getLogger("minibert.embedding")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def count(self, packed: Packed) -> None:
        """Count a batch; called before it is run."""
        self.tokens += sum(packed.lengths)
        speed = f"{self.tokens / (time.monotonic() - self.began):,.0f} tokens/s"
        self.bar.set_postfix_str(speed + self.troubles, refresh=False)
        self.advance(len(packed.lengths))

    def advance(self, rows: int) -> None:
        """Count so many more rows, at most those that are left of the shard."""
        rows = min(rows, self.left)
        self.left -= rows
        self.bar.update(rows)

    def take_back(self, rows: int) -> None:
        """Uncount the current shard, of ``rows``, which failed."""
        self.bar.update(self.left - rows)
        self.left = 0

    def say(self, retried: int, failed: int) -> None:
        """Show how many shards were tried again, and how many failed for good."""
        self.troubles = f", {retried:,} retried" + (f", {failed:,} failed" if failed else "")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.embedder.on_batch = None
        self.logger.setLevel(self.level)
        self.bar.close()


@contextmanager
def explained_write_errors(folder: object) -> Iterator[None]:
    """Add to the error of a full disk, or of a folder that cannot be written, that nothing is lost and what to do."""
    try:
        yield
    except CheckpointError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        advice = "Make room or mend that and run again: what is complete is kept, and it goes on from there."
        raise CheckpointError(f"{error} {advice}") from error
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be used ({reason_of(error)}).") from error
