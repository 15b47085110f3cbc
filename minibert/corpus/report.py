"""What a run reports: of the shards it made, and of the whole folder."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from minibert.corpus.folder import SKIPPED
from minibert.corpus.sample import NEAREST


@dataclass(frozen=True)
class FailedShard:
    """A shard that could not be made, three times."""

    shard: int
    rows: tuple[int, int]  # the numbers of its first and last row in the input, from 1
    why: str

    def __str__(self) -> str:
        return f"shard {self.shard} (rows {self.rows[0]:,} to {self.rows[1]:,}): {self.why}"


@dataclass(frozen=True)
class ShardProgress:
    """What has just happened to a shard: it was ``made``, was ``there`` already, will be ``retried``, or ``failed``."""

    shard: int
    rows: int
    tokens: int  # that the model read for it; 0 for one that was there
    outcome: str


@dataclass(frozen=True)
class ShardsReport:
    """What a call of ``embed_shards`` did."""

    folder: str
    made: int  # shards
    there: int  # that were there already
    retried: int  # attempts after one that failed
    tokens: int  # that the model read
    failed: tuple[FailedShard, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


@dataclass(frozen=True)
class CorpusReport:
    """What is in a folder after a run."""

    folder: str
    complete: bool  # False while other workers still run
    rows: int  # of the input
    vectors: int
    width: int
    shards: int
    skipped: int  # rows that could not be read; skipped.jsonl lists them
    truncated: int  # texts that were longer than the model reads and were cut
    tokens: int  # that the model read, including [CLS] and [SEP]
    precision: str = "float32"
    bytes_per_vector: int = 0
    clipped: int = 0  # numbers beyond the ranges of int8 or uint8
    sample: int = 0  # rows that the loss was measured on; none for float32
    loss: dict[str, float | None] | None = None  # see minibert.corpus.sample.measure_loss
    failed: tuple[FailedShard, ...] = ()  # that this run could not make

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)

    def __str__(self) -> str:
        shards = f"{self.shards:,} {'shard' if self.shards == 1 else 'shards'}"
        size = "" if self.precision == "float32" else f" ({self.precision}, {self.bytes_per_vector} bytes each)"
        vectors = f"{self.vectors:,} {'vector' if self.vectors == 1 else 'vectors'}"
        sentence = f"{self.folder}: {vectors} of {self.width} numbers{size} in {shards}"
        if not self.complete and self.failed:
            return f"{sentence} so far; {len(self.failed):,} failed"
        if not self.complete:
            return f"{sentence} so far; other workers are still at it, or were stopped"
        if self.skipped:
            sentence += f"; {self.skipped:,} rows could not be read, {SKIPPED} lists them"
        if self.truncated:
            sentence += f"; {self.truncated:,} texts were longer than the model reads and were cut"
        return sentence + self.loss_text()

    def loss_text(self) -> str:
        """What the precision loses, in further lines; "" for float32."""
        lines = [""]
        loss = self.loss or {}
        if loss.get("cosine_mean") is not None:
            lines.append(
                f"{self.precision} on a sample of {self.sample:,} {'row' if self.sample == 1 else 'rows'}: cosine with "
                f"float32 {loss['cosine_mean']:.6f} on average, {loss['cosine_p1']:.6f} at the 1st percentile, "
                f"{loss['cosine_min']:.6f} at worst"
            )
        if loss.get("same_nearest") is not None:
            several = f"; of the {NEAREST} nearest rows, {loss['same_top10']:.1%} stay"  # fewer rows: all of them do
            more = several if self.sample > NEAREST + 1 else ""
            lines.append(f"the nearest row of each is the same for {loss['same_nearest']:.1%}{more}")
        if self.clipped:
            total = self.vectors * self.width
            lines.append(f"{self.clipped:,} of {total:,} numbers lie beyond the ranges and were clipped")
        return "\n".join(lines)


def listed(failed: Sequence[FailedShard]) -> str:
    """The failed shards, one a line, behind a sentence."""
    what = "1 shard" if len(failed) == 1 else f"{len(failed):,} shards"
    return "\n".join(
        (f"{what} failed three times; the others are kept, and the same command tries again:", *map(str, failed))
    )
