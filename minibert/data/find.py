"""The files that a source names: one file, a folder, a glob such as ``data/*.parquet``, or a list of these.

A folder stands for the files in it and in its sub-folders, in the order of their names.  Hidden files, other formats,
and folders with a checkpoint, a run or a corpus are left out.  A file that is named twice is read once.  Start with
:func:`find_files`.

What reads the files asks of each only ``name``, ``suffix``, ``open("rb")``, ``str``, and :func:`size_of` and
:func:`stamp_of`.
"""

import glob
import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from minibert.data.formats import USES, check_format, data_path, ending_of
from minibert.errors import InputError, reason_of
from minibert.files import is_file, is_folder, is_regular
from minibert.source import Source

logger = logging.getLogger("minibert.data")
TEXTS = USES["texts"].endings
OURS = ("config.json", "run.json", "modules.json", "manifest.json")  # a folder with one of these is of minibert's
WILD = "*?["
SHOWN = 4  # endings in a message


def find_files(source: Source | Sequence[Source], output: Path | None = None) -> list[Path]:
    """The files of ``source``, all of one kind, as an embedding reads them; ``output``: a folder that is not searched.

    Raises InputError where there is none, or no such file, for files of two kinds, and for a folder that cannot be
    searched; CheckpointError for what is no file.
    """
    sources: list[Source] = [source] if is_source(source) else list(source)  # type: ignore[list-item, arg-type]
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


def kind_of(file: Path) -> str:
    """The ending of a file that can be read, such as ".csv"; nothing is read of it."""
    ending = ending_of(file)
    return ending if ending in TEXTS and is_regular(file) else check_format(file)  # which says what is wrong


def is_source(source: Any) -> bool:
    """Whether this is one path, folder or glob, and no list of them."""
    return isinstance(source, str | os.PathLike)


def is_list_of_files(source: Any) -> bool:
    """Whether this is a list of paths; a list of ``str`` is texts, everywhere but in :func:`find_files`."""
    return isinstance(source, list | tuple) and bool(source) and all(isinstance(one, os.PathLike) for one in source)


def files_at(source: Source, output: Path | None) -> list[Path]:
    """The files of one path, folder or glob, sorted."""
    path = data_path(source, "the input")
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


def size_of(file: Path) -> int:
    """The size of a file in bytes; raises OSError."""
    return file.stat().st_size


def stamp_of(file: Path) -> str | int:
    """What changes when somebody writes to a file: the time of its last change; raises OSError."""
    return file.stat().st_mtime_ns


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


def once(files: Iterable[Path]) -> tuple[Path, ...]:
    """The files without repetitions, also by links; a warning names what was repeated."""
    known: dict[object, Path] = {}
    again = []
    for path in files:
        try:
            status = path.stat()
            key: object = (status.st_dev, status.st_ino) if status.st_ino else path.resolve()
        except (OSError, ValueError):
            key = str(path)  # a missing file; reading it raises
        if key in known:
            again.append(str(path))
        known.setdefault(key, path)
    if again:
        logger.warning("Named twice, and read once: %s.", ", ".join(again))
    return tuple(known.values())


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
