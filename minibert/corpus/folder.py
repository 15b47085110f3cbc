"""The folder of a corpus, behind the few operations that a run needs of it: list, read, write whole, remove.

All reading and writing of a corpus goes through here, so that it may lie elsewhere than on a disk of this machine.
Nothing is locked: a file appears under its name at once and whole, so that any number of processes, on any number of
machines, may work in one folder.  Start with :func:`open_folder`.
"""

import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from minibert.corpus.checked import is_whole
from minibert.data.stored import open_store, told
from minibert.destination import check_folder
from minibert.errors import CheckpointError, InputError, MinibertError, reason_of
from minibert.files import is_file, written_whole
from minibert.source import Source, as_path
from minibert.urls import check_not_mistyped, is_url, local_path, protocol_of, shown_url

COPY = {"s3": "aws s3 cp --recursive", "gs": "gcloud storage cp --recursive"}  # what a person types
OBJECT_STORES = ("s3", "gs", "abfs", "s3a", "gcs", "abfss", "az", "oci", "oss", "memory")
PROBE = ".manifest.json.0-0.part"  # an empty file; as an unfinished one, it is nobody's concern if it stays

FILE, SKIPPED = "manifest.json", "skipped.jsonl"
READ_AHEAD = 256  # records that are asked for at once
# The temporary files of written_whole that a killed writer left, for the files that are ours.
LEFTOVER = re.compile(r"\.((shard|plan|records)-\d+\.\w+|manifest\.json|skipped\.jsonl)\.\d+-\d+\.part")


class CorpusFolder(ABC):
    """Where the files of a corpus are.  A name is that of a file directly in the folder; ``str`` shows the folder."""

    # Whether what was written cannot become damaged or stay half-written: an object store compares a checksum when it
    # takes an object.  So its shards need not all be fetched to be trusted.
    is_checked_store = False

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

    def read_ahead(self, names: Sequence[str]) -> None:  # noqa: B027
        """Fetch small files at once for :meth:`local`, where each alone takes its time."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""

    @abstractmethod
    def is_whole(self, name: str, sha256: str) -> bool:
        """Whether a file has this SHA-256, which is computed once (checked.py); False where there is no such file."""

    @abstractmethod
    def check_writable(self) -> None:
        """Raise CheckpointError where no file can be written, before there is anything to write."""

    @abstractmethod
    def shown(self, name: str) -> str:
        """The place of a file, for a message."""


class LocalFolder(CorpusFolder):
    """A folder on a disk, or on a file system that machines share; made when the first file is written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __str__(self) -> str:
        return str(self.path)

    def check_writable(self) -> None:
        check_folder(self.path)

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


class ObjectFolder(CorpusFolder):
    """A folder of an object store, which takes and gives whole objects; the temporary files are on this disk."""

    is_checked_store = True

    def __init__(self, url: str) -> None:
        """Nothing is asked for yet.  Raises InputError for a URL that is no object store, MissingExtraError."""
        self.url = shown_url(url).rstrip("/")
        store = protocol_of(url)
        if store not in OBJECT_STORES:
            raise InputError(
                f"{self.url}: vectors are written to a folder on this disk or in an object store "
                f"({', '.join(f'{name}://' for name in OBJECT_STORES[:3])}), not to {store}://. Write them to a folder "
                "here, and copy that."
            )
        self.system, path = open_store(url)
        self.path = path.rstrip("/")
        self.sizes: dict[str, int] = {}  # as they were listed last
        self.ahead: dict[str, bytes] = {}  # files that were fetched and not read yet

    def __str__(self) -> str:
        return self.url

    def shown(self, name: str) -> str:
        return f"{self.url}/{name}"

    def ask(self, method: str, name: str, *arguments: Any, done: str = "read", **options: Any) -> Any:
        """Call a method of the file system for a file; None where that is not there, CheckpointError otherwise."""
        place, shown = (f"{self.path}/{name}", self.shown(name)) if name else (self.path, self.url)

        def call() -> Any:
            try:
                return getattr(self.system, method)(*arguments, place, **options)
            except FileNotFoundError:
                if done == "written":
                    raise
                return None

        return told(shown, call, done, CheckpointError)

    def names(self) -> list[str]:
        self.system.invalidate_cache(self.path)
        listed = self.ask("ls", "", detail=True) or []
        files = [one for one in listed if one["type"] == "file" and str(one["name"]).rstrip("/") != self.path]
        self.sizes = {str(one["name"]).rpartition("/")[2]: int(one["size"]) for one in files}
        return sorted(self.sizes)

    def check_writable(self) -> None:
        told(self.url, lambda: self.system.pipe_file(f"{self.path}/{PROBE}", b""), "written", CheckpointError)
        self.remove(PROBE)

    def size(self, name: str) -> int | None:
        if name not in self.sizes:
            self.system.invalidate_cache(self.path)
            info = self.ask("info", name)
            if info is None or info["type"] != "file":
                return None
            self.sizes[name] = int(info["size"])
        return self.sizes[name]

    @contextmanager
    def written(self, name: str) -> Iterator[Path]:
        with temporary_folder() as folder:
            yield folder / name
            self.ask("put_file", name, str(folder / name), done="written")
            self.sizes[name] = (folder / name).stat().st_size

    def read_ahead(self, names: Sequence[str]) -> None:
        places = {f"{self.path}/{name}": name for name in names}
        if not places:
            return
        found = told(self.url, lambda: self.system.cat(list(places), on_error="omit"), kind=CheckpointError)
        self.ahead = {places[place]: content for place, content in found.items() if place in places}

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        with temporary_folder() as folder:
            content = self.ahead.pop(name, None)
            if content is None:
                content = self.ask("cat_file", name)
            if content is None:
                raise CheckpointError(f"{self.shown(name)} does not exist.")
            (folder / name).write_bytes(content)
            yield folder / name

    def remove(self, name: str) -> None:
        self.sizes.pop(name, None)
        self.ask("rm_file", name, done="removed")

    def is_whole(self, name: str, sha256: str) -> bool:
        content = self.ask("cat_file", name)
        return content is not None and hashlib.sha256(content).hexdigest() == sha256


def local_corpus(folder: Source) -> Path:
    """The folder of a corpus on this disk, whose vectors are mapped into memory; InputError for one elsewhere."""
    if isinstance(folder, str) and is_url(folder):
        if (local := local_path(folder)) is not None:
            return as_path(local)
        shown = shown_url(folder).rstrip("/")
        command = COPY.get(protocol_of(folder))
        how = f": {command} {shown} vectors" if command else ""
        raise InputError(f"{shown} is not on this disk, where vectors are searched. Copy the folder{how}.")
    return as_path(folder)


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder on this disk for one file.  Raises CheckpointError when it cannot be made or filled."""
    try:
        with TemporaryDirectory(prefix="minibert-") as folder:
            yield Path(folder)
    except MinibertError:
        raise
    except OSError as error:
        raise CheckpointError(
            f"A temporary file cannot be written on this disk ({reason_of(error)}); TMPDIR names another place for it."
        ) from error


def open_folder(output: "Source | CorpusFolder") -> CorpusFolder:
    """The folder of a corpus, which need not exist yet.

    Raises CheckpointError for a path that no folder can have, or that may not be written, and InputError for no path.
    """
    if isinstance(output, CorpusFolder):
        return output
    if isinstance(output, str) and is_url(output):
        local = local_path(output)
        return ObjectFolder(output) if local is None else open_folder(local)
    check_not_mistyped(output)
    return LocalFolder(check_folder(output))
