"""The files that a source names: one file, a folder, a glob such as ``data/*.parquet``, or a list of these.

A folder stands for the files in it and in its sub-folders, in the order of their names.  Hidden files, other formats,
and folders with a checkpoint, a run or a corpus are left out.  A file that is named twice is read once.  Start with
:func:`find_files`.

A URL (remote.py) is one file, a folder or a glob in the same way.

What reads the files asks of each only ``name``, ``suffix``, ``open("rb")``, ``str``, and :func:`size_of` and
:func:`stamp_of`.
"""

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from minibert.data.formats import USES, check_format, data_path, ending_of
from minibert.data.remote import File, RemoteFile, remote_files
from minibert.errors import InputError, reason_of
from minibert.files import is_file, is_folder, is_regular
from minibert.source import Source
from minibert.urls import check_not_mistyped, is_url, local_path, shown_url

logger = logging.getLogger("minibert.data")
TEXTS = USES["texts"].endings
OURS = ("config.json", "run.json", "modules.json", "manifest.json")  # a folder with one of these is of minibert's
WILD = "*?["
AnyFile = TypeVar("AnyFile", bound=File)
SHOWN = 4  # endings in a message


def find_files(source: Source | RemoteFile | Sequence[Source | RemoteFile], output: Path | None = None) -> list[File]:
    """The files of ``source``, all of one kind, as an embedding reads them; ``output``: a folder that is not searched.

    Raises InputError where there is none, or no such file, for files of two kinds, and for a folder that cannot be
    searched; CheckpointError for what is no file.
    """
    sources: list[Source | RemoteFile] = [source] if is_source(source) else list(source)  # type: ignore[list-item, arg-type]
    files = list(once(file for one in sources for file in files_at(one, output)))
    if not files:
        raise InputError("There is no file to read; name one, a folder, or a glob such as 'data/*.parquet'.")
    kinds = {kind_of(file): file for file in reversed(files)}
    if len(kinds) > 1:
        (one, first), (other, second) = list(kinds.items())[:2]
        raise InputError(
            f"The files are of several kinds: {first.name} is {one}, {second.name} {other}. Name those of one kind, "
            f"such as '*{one}'."
        )
    return files


def kind_of(file: File) -> str:
    """The ending of a file that can be read, such as ".csv"; nothing is read of it."""
    ending = ending_of(file)
    is_there = isinstance(file, RemoteFile) or is_regular(file)
    return ending if ending in TEXTS and is_there else check_format(file)  # which says what is wrong


def is_source(source: Any) -> bool:
    """Whether this is one path, folder or glob, and no list of them."""
    return isinstance(source, str | os.PathLike | RemoteFile)


def is_list_of_files(source: Any) -> bool:
    """Whether this is a list of paths; a list of ``str`` is texts, everywhere but in :func:`find_files`."""
    return (
        isinstance(source, list | tuple)
        and bool(source)
        and all(isinstance(one, os.PathLike | RemoteFile) for one in source)
    )


def files_at(source: Source | RemoteFile, output: Path | None) -> Sequence[File]:
    """The files of one path, folder or glob, sorted."""
    if isinstance(source, RemoteFile):
        return [source]
    if is_url(source):
        return files_elsewhere(str(source))
    path = data_path(source, "the input")
    check_not_mistyped(source)
    if is_folder(path):
        left_out: Counter[str] = Counter()
        inside = list(walk(path, TEXTS, output, left_out))
        if not inside:
            raise InputError(f"The folder {path} holds no file to read{others(left_out)}; read are {', '.join(TEXTS)}.")
        return inside
    if any(letter in str(path) for letter in WILD) and not is_file(path):
        found = [Path(name) for name in sorted(glob.glob(str(path), recursive=True)) if is_regular(Path(name))]  # noqa: PTH207
        if not found:
            raise InputError(f"No file is called like {str(path)!r}.")
        return found
    return [path]


def files_elsewhere(url: str) -> Sequence[File]:
    """The same for a URL."""
    local = local_path(url)
    if local is not None:
        return files_at(local, None)
    files, in_folder = remote_files(url)
    if not in_folder:
        return files
    left_out: Counter[str] = Counter()
    ours = {file.folders for file in files if file.folders and file.name in OURS}
    inside = []
    for file in files:
        if any(part.startswith(".") for part in (*file.folders, file.name)):
            left_out["hidden"] += 1
        elif any(file.folders[:depth] in ours for depth in range(1, len(file.folders) + 1)):
            left_out["in folders of checkpoints or runs"] += 1
        elif ending_of(file) not in TEXTS:
            left_out[file.suffix.lower() or "without ending"] += 1
        else:
            inside.append(file)
    if not inside:
        raise InputError(
            f"The folder {shown_url(url)} holds no file to read{others(left_out)}; read are {', '.join(TEXTS)}."
        )
    return inside


def size_of(file: File) -> int:
    """The size of a file in bytes; raises OSError."""
    return file.size if isinstance(file, RemoteFile) else file.stat().st_size


def stamp_of(file: File) -> str | int:
    """What changes when somebody writes to a file: the time of its last change; raises OSError.

    Of a file elsewhere: what its server says now, such as an ETag; raises InputError.
    """
    return file.stamp if isinstance(file, RemoteFile) else file.stat().st_mtime_ns


def walk(folder: Path, endings: Sequence[str], output: Path | None, left_out: Counter[str]) -> Iterator[Path]:
    """The files with these endings in ``folder`` and its sub-folders, sorted; what is left out is counted by kind.

    ``output``: a folder that is not searched.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"The folder {error.filename} cannot be looked into ({reason_of(error)}).") from error

    for name, folders, names in os.walk(folder, onerror=refuse):
        here = Path(name)
        searched = []
        for inner in sorted(folders):
            if inner.startswith("."):
                left_out["hidden"] += 1
            elif (here / inner).is_symlink():
                left_out["links to folders"] += 1
            elif (output is not None and is_one(here / inner, output)) or any(
                (here / inner / ours).is_file() for ours in OURS
            ):
                left_out["folders of checkpoints or runs"] += 1
            else:
                searched.append(inner)
        folders[:] = searched  # os.walk continues with these
        for file in sorted(here / one for one in names):
            if file.name.startswith("."):
                left_out["hidden"] += 1
            elif not is_regular(file):
                left_out["no regular files"] += 1
            elif ending_of(file) not in endings:
                left_out[file.suffix.lower() or "without ending"] += 1
            else:
                yield file


def once(files: Iterable[AnyFile]) -> tuple[AnyFile, ...]:
    """The files without repetitions, also by links; a warning names what was repeated."""
    known: dict[object, AnyFile] = {}
    again = []
    for path in files:
        key = identity_of(path)
        if key in known:
            again.append(str(path))
        known.setdefault(key, path)
    if again:
        logger.warning("Named twice, and read once: %s.", ", ".join(again))
    return tuple(known.values())


def identity_of(file: File) -> object:
    """What two names of one file have in common."""
    if isinstance(file, RemoteFile):
        return file
    try:
        status = file.stat()
        return (status.st_dev, status.st_ino) if status.st_ino else file.resolve()
    except (OSError, ValueError):
        return str(file)  # a missing file; reading it raises


def is_one(path: Path, other: Path) -> bool:
    """Whether both paths are the same folder."""
    try:
        return path.samefile(other)
    except OSError:
        return False


def others(left_out: Counter[str]) -> str:
    """`` (3 .pdf, 2 hidden)``; "" for none."""
    return f" ({listed(left_out)})" if left_out else ""


def listed(left_out: Counter[str]) -> str:
    """``3 .pdf, 2 hidden``."""
    parts = [f"{count:,} {kind}" for kind, count in left_out.most_common(SHOWN)]
    rest = sum(left_out.values()) - sum(count for _, count in left_out.most_common(SHOWN))
    return ", ".join(parts + ([f"{rest:,} others"] if rest else []))
