"""The folder of a corpus, behind the few operations that a run needs of it: list, read, write whole, remove.

All reading and writing of a corpus goes through here, so that it may lie elsewhere than on a disk of this machine.
Nothing is locked: a file appears under its name at once and whole, so that any number of processes, on any number of
machines, may work in one folder.  Start with :func:`open_folder`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from minibert.corpus.checked import is_whole
from minibert.destination import check_folder
from minibert.errors import CheckpointError, reason_of
from minibert.files import is_file, written_whole
from minibert.source import Source

FILE, SKIPPED = "manifest.json", "skipped.jsonl"
# The temporary files of written_whole that a killed writer left, for the files that are ours.
LEFTOVER = re.compile(r"\.((shard|plan|records)-\d+\.\w+|manifest\.json|skipped\.jsonl)\.\d+-\d+\.part")

FILE, SKIPPED = "manifest.json", "skipped.jsonl"
# The temporary files of written_whole that a killed writer left, for the files that are ours.
LEFTOVER = re.compile(r"\.((shard|plan|records)-\d+\.\w+|manifest\.json|skipped\.jsonl)\.\d+-\d+\.part")


class CorpusFolder(ABC):
    """Where the files of a corpus are.  A name is that of a file directly in the folder; ``str`` shows the folder."""

    @abstractmethod
    def names(self) -> list[str]:
        """Of all files, sorted, unfinished ones too; none where the folder does not exist yet."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """In bytes; None where there is no such file.

        Raises CheckpointError where something else has that name.
        """

    @abstractmethod
    def written(self, name: str) -> AbstractContextManager[Path]:
        """A temporary path on this disk to write to, which becomes the file ``name``, whole, at the end of the block.

        Raises CheckpointError when it cannot be written; then, and when the block raises, nothing is left.
        """

    @abstractmethod
    def local(self, name: str) -> AbstractContextManager[Path]:
        """A path on this disk with the content of a file, to read in the block."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def is_whole(self, name: str, sha256: str) -> bool:
        """Whether a file has this SHA-256, which is computed once (checked.py); False where there is no such file."""

    @abstractmethod
    def shown(self, name: str) -> str:
        """The place of a file, for a message."""


class LocalFolder(CorpusFolder):
    """A folder on a disk, or on a file system that machines share; made when the first file is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        try:
            return sorted(path.name for path in self.path.iterdir())
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self.path} cannot be used ({reason_of(error)}).") from error

    def size(self, name: str) -> int | None:
        path = self.path / name
        return path.stat().st_size if is_file(path) else None

    def written(self, name: str) -> AbstractContextManager[Path]:
        return written_whole(self.path / name)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self.path / name

    def remove(self, name: str) -> None:
        with suppress(FileNotFoundError):
            (self.path / name).unlink()

    def is_whole(self, name: str, sha256: str) -> bool:
        try:
            return is_whole(self.path / name, sha256)
        except OSError:
            return False

    def shown(self, name: str) -> str:
        return str(self.path / name)


def open_folder(output: "Source | CorpusFolder") -> CorpusFolder:
    """The folder of a corpus, which need not exist yet.

    Raises CheckpointError for a path that no folder can have, or that may not be written, and InputError for no path.
    """
    if isinstance(output, CorpusFolder):
        return output
    return LocalFolder(check_folder(output))
