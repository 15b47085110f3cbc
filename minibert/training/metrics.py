"""What a run reports: ``metrics.jsonl``, TensorBoard, a progress bar.

metrics.jsonl holds no times, so a run that was interrupted and resumed writes the same bytes as one that was not.  Each
snapshot stores the length of the log at its step, and the SHA-256 of that part.
"""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from minibert.errors import CheckpointError, MissingExtraError, reason_of

NAME = "metrics.jsonl"
CHUNK_BYTES = 1 << 20


class MetricsLog:
    """A line of JSON per step and per evaluation, written by the main process only."""

    def __init__(self, folder: Path, *, bytes_kept: int, writes: bool, tensorboard: bool, step: int) -> None:
        """Append after ``bytes_kept``; the lines behind that, of steps after the last snapshot, are written again."""
        self.path, self.content = folder / NAME, hashlib.sha256()
        self.file = self.tensorboard = None
        if not writes:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("ab")
            self.file.truncate(bytes_kept)
            hash_beginning(self.content, self.path, bytes_kept)
        except OSError as error:
            raise self.write_error(error) from error
        if tensorboard:
            self.tensorboard = need_tensorboard()(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, entry: dict[str, Any]) -> None:
        """Write one entry, also to TensorBoard.  Raises CheckpointError when the disk is full."""
        if self.file is None:
            return
        try:
            line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
            self.file.write(line)
            self.file.flush()
            self.content.update(line)
        except OSError as error:
            raise self.write_error(error) from error
        if self.tensorboard is not None:
            for name, value in {**entry, **entry.get("scores", {})}.items():
                if isinstance(value, float):
                    self.tensorboard.add_scalar(name, value, entry["step"])

    def flush(self) -> tuple[int, str]:
        """Write everything to the disk; returns the file's length and SHA-256."""
        if self.file is None:
            return 0, ""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise self.write_error(error) from error
        return self.file.tell(), self.content.hexdigest()

    def write_error(self, error: OSError) -> CheckpointError:
        """The error for a full disk."""
        return CheckpointError(
            f"{str(self.path)!r} cannot be written ({reason_of(error)}). Make room and run again: it goes on "
            "from the last snapshot."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.tensorboard is not None:
            self.tensorboard.close()
        if self.file is not None:
            try:
                self.file.close()
            except OSError as trouble:  # what was buffered did not fit
                if error is None:
                    raise self.write_error(trouble) from trouble


def check_metrics(folder: Path, size: int, digest: str) -> None:
    """Raise CheckpointError unless metrics.jsonl begins with ``size`` bytes of that SHA-256.

    A missing file is accepted: a run can be resumed without it.
    """
    path, content = folder / NAME, hashlib.sha256()
    try:
        read = hash_beginning(content, path, size)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({reason_of(error)}).") from error
    if read != size or digest != content.hexdigest():
        raise CheckpointError(
            f"{path} is damaged: its first {size:,} bytes are not those that the run had written by then. Put back a "
            "copy of it; or remove it, and the run goes on with a log that begins there."
        )


def hash_beginning(content: "hashlib._Hash", path: Path, size: int) -> int:
    """Hash the first ``size`` bytes of a file; returns how many there were."""
    read = 0
    with path.open("rb") as file:
        while block := file.read(min(CHUNK_BYTES, size - read)):
            content.update(block)
            read += len(block)
    return read


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run's metrics.jsonl; an incomplete last line is left out.

    Raises CheckpointError for a line that is no entry, FileNotFoundError where there is no such file.
    """
    entries = []
    for number, line in enumerate((folder / NAME).read_bytes().split(b"\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            if not isinstance(entry, dict) or not isinstance(entry.get("step"), int):
                raise ValueError("no object with a step")
        except (ValueError, RecursionError) as error:
            raise CheckpointError(
                f"Line {number} of {folder / NAME} is damaged ({error}). Put back a copy of the file, or remove "
                "the line."
            ) from error
        entries.append(entry)
    return entries


def need_tensorboard() -> Any:
    """The class SummaryWriter; MissingExtraError when the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError.of("TensorBoard logs need the package tensorboard", "tensorboard") from error
    return SummaryWriter


class Progress:
    """A progress bar with loss, tokens per second and the time left; shown only where stderr is a terminal."""

    def __init__(self, name: str, total: int, done: int, shows: bool) -> None:
        self.bar = tqdm(total=total, initial=done, desc=name, unit=" steps", disable=None if shows else True)
        self.tokens = 0

    def advance(self, loss: float, tokens: int) -> None:
        """Count one step, with its loss and its number of tokens."""
        self.tokens += tokens
        seconds = self.bar.format_dict["elapsed"] or 1
        self.bar.set_postfix_str(f"loss {loss:.3f}, {self.tokens / seconds:,.0f} tokens/s", refresh=False)
        self.bar.update()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.close()
