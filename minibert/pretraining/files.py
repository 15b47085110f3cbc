"""The text files that paths name: a folder stands for the files in it.

Sub-folders are searched, in the order of their names.  Hidden files, other formats, and folders with a checkpoint or a
run are left out, and counted.  A file that is named twice is read once.
"""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from minibert.data.formats import USES, data_path, ending_of
from minibert.errors import InputError, reason_of
from minibert.files import is_folder, is_regular
from minibert.source import Source

logger = logging.getLogger("minibert.pretraining")
READ = USES["documents"].endings
OURS = ("config.json", "run.json", "modules.json")  # a folder with one of these holds a checkpoint or a run
SHOWN = 4  # endings in a message


def files_of(paths: Iterable[Source], output: Source | None = None) -> tuple[Path, ...]:
    """The files of ``paths``; ``output``: the folder of the run, which is not searched.

    Raises InputError for a folder without a file to read, and for one that cannot be searched.
    """
    files: list[Path] = []
    for path in map(data_path, paths):
        if not is_folder(path):
            files.append(path)
            continue
        left_out: Counter[str] = Counter()
        inside = list(walk(path, None if output is None else data_path(output), left_out))
        if not inside:
            others = f" ({listed(left_out)})" if left_out else ""
            raise InputError(f"The folder {path} holds no file to read{others}; read are {', '.join(READ)}.")
        folders = len({file.parent for file in inside})
        where = f" in {folders:,} folders" if folders > 1 else ""
        others = f"; left out: {listed(left_out)}" if left_out else ""
        logger.info("%s: %s%s%s.", path, counted(len(inside), "file"), where, others)
        files += inside
    return once(files)


def walk(folder: Path, output: Path | None, left_out: Counter[str]) -> Iterator[Path]:
    """The files to read in ``folder`` and its sub-folders, sorted; what is left out is counted by kind."""

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
            elif ending_of(file) not in READ:
                left_out[file.suffix.lower() or "without ending"] += 1
            else:
                yield file


def once(files: list[Path]) -> tuple[Path, ...]:
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


def listed(left_out: Counter[str]) -> str:
    """``3 .pdf, 2 hidden``."""
    parts = [f"{count:,} {kind}" for kind, count in left_out.most_common(SHOWN)]
    rest = sum(left_out.values()) - sum(count for _, count in left_out.most_common(SHOWN))
    return ", ".join(parts + ([f"{rest:,} others"] if rest else []))


def counted(number: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
