"""Checks of output paths before the work starts, so that hours of it do not end at a bad name or a permission.

A disk can still fill up during the work, so the functions that write report errors, too.
"""

import os
from pathlib import Path

from minibert.errors import CheckpointError, InputError
from minibert.files import exists, is_folder, is_regular
from minibert.source import Source, as_path, is_path


def check_folder(path: Source, name: str = "output") -> Path:
    """``path`` as a folder, perhaps new, that files can be written into.  Raises CheckpointError when they cannot."""
    folder = destination(path, name)
    if not is_folder(folder) and os.path.lexists(folder):
        raise CheckpointError(f"{name} is {folder}, which is a file; give the path of a folder, new or existing.")
    check_writable(folder, name)
    return folder


def check_file(path: Source, name: str = "output") -> Path:
    """``path`` as a file that can be written, its folder perhaps new.  Raises CheckpointError when it cannot."""
    file = destination(path, name)
    if is_folder(file):
        raise CheckpointError(f"{name} is {file}, which is a folder; give the path of a file in it.")
    if exists(file) and not is_regular(file):
        raise CheckpointError(f"{name} is {file}, a pipe or a device; give the path of a file.")
    if is_regular(file) and not os.access(file, os.W_OK):
        raise CheckpointError(f"{name} is {file}, which may not be written (permissions). Choose another path.")
    check_writable(file.absolute().parent, name)
    return file


def destination(path: Source, name: str) -> Path:
    """``path`` as a path; InputError for anything else, CheckpointError for one that no file can have."""
    if not is_path(path):
        what = "empty" if path == "" else f"a {type(path).__name__}"
        raise InputError(f"{name} is {what}; expected a path.")
    local = as_path(path)
    if "\0" in str(local):
        raise CheckpointError(f"{name} is {str(local)!r}; a path holds no NUL (U+0000).")
    return local


def check_writable(folder: Path, name: str) -> None:
    """Raise CheckpointError unless ``folder``, or its nearest existing parent, may be written into."""
    here = folder.absolute()
    while not os.path.lexists(here) and here != here.parent:
        here = here.parent
    if not is_folder(here):
        raise CheckpointError(f"{name} is {folder}, and {here} is no folder. Choose another path.")
    if not os.access(here, os.W_OK | os.X_OK):
        raise CheckpointError(
            f"{name} is {folder}, and {here} may not be written into (permissions). Choose another path."
        )
