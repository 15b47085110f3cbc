"""The text files that paths name: a folder stands for the files in it (:mod:`minibert.data.find`).

Sub-folders are searched, in the order of their names.  Hidden files, other formats, and folders with a checkpoint or a
run are left out, and counted.  A file that is named twice is read once.
"""

import logging
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from minibert.data.find import listed, once, others, walk
from minibert.data.formats import USES, data_path
from minibert.errors import InputError
from minibert.files import is_folder
from minibert.source import Source

logger = logging.getLogger("minibert.pretraining")
READ = USES["documents"].endings


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
        inside = list(walk(path, READ, None if output is None else data_path(output), left_out))
        if not inside:
            raise InputError(f"The folder {path} holds no file to read{others(left_out)}; read are {', '.join(READ)}.")
        folders = len({file.parent for file in inside})
        where = f" in {folders:,} folders" if folders > 1 else ""
        left = f"; left out: {listed(left_out)}" if left_out else ""
        logger.info("%s: %s%s%s.", path, counted(len(inside), "file"), where, left)
        files += inside
    return once(files)


def counted(number: int, what: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
