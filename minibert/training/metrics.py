"""What a run says while it goes: ``metrics.jsonl``, TensorBoard, a progress bar.

Each snapshot knows how long the journal was then, and the SHA-256 of that much of it.

metrics.jsonl holds no clock: a run that was interrupted and went on has written the same bytes as one that was not.
"""

import hashlib
import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tqdm import tqdm

from minibert.errors import CheckpointError, MissingExtraError

NAME = "metrics.jsonl"
CHUNK_BYTES = 1 << 20


class Journal:
    """Lines of JSON, one a step or evaluation.  Silent for every worker but the first."""

    def __init__(self, folder: Path, *, bytes_kept: int, writes: bool, tensorboard: bool, step: int) -> None:
        """Go on after ``bytes_kept``: lines behind the last snapshot are about to be written again."""
        self.path, self.content = folder / NAME, hashlib.sha256()
        self.file = self.board = None
        if not writes:
            return
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.file = self.path.open("ab")
            self.file.truncate(bytes_kept)
            add_to(self.content, self.path, bytes_kept)
        except OSError as error:
            raise self.complaint(error) from error
        if tensorboard:
            self.board = open_board(folder / "tensorboard", step)

    def write(self, entry: dict[str, Any]) -> None:
        """One line; its numbers also to TensorBoard.  Raises CheckpointError when the disk is full."""
        if self.file is None:
            return
        try:
            line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
            self.file.write(line)
            self.file.flush()
            self.content.update(line)
        except OSError as error:
            raise self.complaint(error) from error
        if self.board is not None:
            for name, value in {**entry, **entry.get("scores", {})}.items():
                if isinstance(value, float):
                    self.board.add_scalar(name, value, entry["step"])

    def flush(self) -> tuple[int, str]:
        """Make sure that the disk has every line; returns the file's length and SHA-256."""
        if self.file is None:
            return 0, ""
        try:
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise self.complaint(error) from error
        return self.file.tell(), self.content.hexdigest()

    def complaint(self, error: OSError) -> CheckpointError:
        """The sentence for a disk that is full."""
        return CheckpointError(
            f"{str(self.path)!r} cannot be written ({error.strerror or error}). Make room and run again: it goes on "
            "from the last snapshot."
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.board is not None:
            self.board.close()
        if self.file is not None:
            try:
                self.file.close()
            except OSError as trouble:  # what was buffered did not fit
                if error is None:
                    raise self.complaint(trouble) from trouble


def check_journal(folder: Path, size: int, digest: str) -> None:
    """Raise CheckpointError unless the journal begins with ``size`` bytes of that SHA-256.

    One that is not there is no mistake: without the journal a run goes on as well.
    """
    path, content = folder / NAME, hashlib.sha256()
    try:
        found = add_to(content, path, size)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}).") from error
    if found != size or digest != content.hexdigest():
        raise CheckpointError(
            f"{path} is damaged: its first {size:,} bytes are not those that the run had written by then. Put back a "
            "copy of it; or remove it, and the run goes on with a journal that begins there."
        )


def add_to(content: "hashlib._Hash", path: Path, size: int) -> int:
    """Hash the first ``size`` bytes of a file; returns how many there were."""
    found = 0
    with path.open("rb") as file:
        while block := file.read(min(CHUNK_BYTES, size - found)):
            content.update(block)
            found += len(block)
    return found


def read_journal(folder: Path) -> list[dict[str, Any]]:
    """The entries of a run's journal; a last line that is not whole is left out.

    Raises CheckpointError for a line that is no entry, FileNotFoundError where there is no journal.
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


def open_board(folder: Path, step: int) -> Any:
    """A TensorBoard writer that goes on after ``step``, and hides what a killed run wrote behind it.

    Raises MissingExtraError without the extra.
    """
    return need_tensorboard()(str(folder), purge_step=step + 1)


def need_tensorboard() -> Any:
    """The class SummaryWriter; MissingExtraError when the package is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError.of("TensorBoard logs need the package tensorboard", "tensorboard") from error
    return SummaryWriter


class Progress:
    """A bar on stderr with loss, tokens a second and the time left; none where stderr is no terminal."""

    def __init__(self, name: str, total: int, done: int, shows: bool) -> None:
        self.bar = tqdm(total=total, initial=done, desc=name, unit=" steps", disable=None if shows else True)
        self.tokens = 0

    def advance(self, loss: float, tokens: int) -> None:
        """One step more, of that loss and so many tokens."""
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
