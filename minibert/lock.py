"""A lock on a folder, so that two runs never write into it at once.

It is a lock of the operating system (flock; on Windows a locked byte), so it ends with its process, even with a killed
one.  The file ``.lock`` names the process that holds it.  It is removed at the end; one that a killed run left, or that
was copied with the folder, is taken over.  Start with :func:`alone_in`.
"""

import errno
import functools
import inspect
import json
import logging
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

from minibert.destination import check_folder
from minibert.errors import CheckpointError, InputError, MinibertError, reason_of

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("minibert")
NAME = ".lock"
FAR = 1 << 30  # on Windows a locked byte cannot be read, so this one, far after the end of the file, is locked
TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_held: dict[tuple[int, int], tuple[int, int]] = {}  # a folder's device and inode: the process and thread that lock it


def alone_in(argument: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: lock the folder in a call's ``argument`` until the call returns (:func:`locked`).

    Of several ``processes`` (training/distributed.py) the main one holds the lock, and all of them end if it is
    refused, or if one of them does not see the folder.  A call within another one may use the same folder.
    """

    def decorate(run: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(run)

        @functools.wraps(run)
        def alone(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                arguments = signature.bind(*args, **kwargs).arguments
            except TypeError:
                return run(*args, **kwargs)  # raises the TypeError, with the name of the function
            folder, processes = check_folder(arguments[argument], argument), arguments.get("processes")
            with ExitStack() as until_the_end:
                if processes is None:
                    until_the_end.enter_context(locked(folder))
                else:
                    with processes.main_first():
                        if processes.is_main:
                            until_the_end.enter_context(locked(folder))
                    processes.check_shared(folder / NAME)
                return run(*args, **kwargs)

        return alone

    return decorate


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock ``folder``, which is made if it does not exist, and removed again if it stays empty.

    Raises InputError, naming the process, when another run has locked it, CheckpointError when it cannot be written.
    On a file system without locks, such as some network file systems, a warning is logged and the block runs.
    """
    made: list[Path] = []
    try:
        make(folder, made)
        status = folder.stat()
        key, me = (status.st_dev, status.st_ino), (os.getpid(), threading.get_ident())
        file = None if _held.get(key) == me else take(folder / NAME)
    except (OSError, ValueError) as error:
        remove_empty(made)
        if isinstance(error, MinibertError):
            raise
        raise CheckpointError(
            f"{str(folder / NAME)!r} cannot be written ({reason_of(error)}). Name a folder that is, or can be made, "
            "writable."
        ) from error
    if file is None:
        yield
        return
    _held[key] = me
    try:
        yield
    finally:
        del _held[key]
        let_go(file, folder / NAME)
        remove_empty(made)


def take(path: Path) -> int:
    """The file descriptor of the locked ``.lock``; raises InputError when another process has it."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            lock(file)
        except OSError as error:
            if error.errno in TAKEN:
                holder = holder_of(file)
                os.close(file)
                raise InputError(
                    f"{path.parent} belongs to a run that is still at work: {holder}. Wait until it ends, or "
                    "stop it and run again, or name another folder."
                ) from error
            logger.warning(
                "The file system of %s has no locks (%s): see to it that no second run writes into this folder.",
                path.parent, reason_of(error),
            )  # fmt: skip
        try:
            ours = os.path.samestat(os.fstat(file), path.stat())
        except FileNotFoundError:
            ours = False
        if ours:
            break
        os.close(file)  # its former holder has just removed it
    with suppress(OSError):  # on a full disk the lock works without the name of its process
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"process": os.getpid(), "host": platform.node()}).encode())
    return file


def lock(file: int) -> None:
    """Lock a file for this process alone; OSError when another one has locked it, or without support for locks."""
    try:
        import fcntl
    except ImportError:
        try:
            import msvcrt
        except ImportError:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
        os.lseek(file, FAR, os.SEEK_SET)
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        finally:
            os.lseek(file, 0, os.SEEK_SET)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def let_go(file: int, path: Path) -> None:
    """Remove the file and the lock; on Windows, where an open file cannot be removed, close it first."""
    with suppress(OSError):
        path.unlink()
        os.close(file)
        return
    os.close(file)
    with suppress(OSError):
        path.unlink()


def holder_of(file: int) -> str:
    """The process that has the lock, if its file names it."""
    try:
        content = json.loads(os.pread(file, 1000, 0) if hasattr(os, "pread") else os.read(file, 1000))
        return f"process {content['process']} on {content['host']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def make(folder: Path, made: list[Path]) -> None:
    """Make a folder and its parents, and add those that are new to ``made``."""
    for place in (*reversed(folder.parents), folder):
        if not place.is_dir():
            place.mkdir(exist_ok=True)
            made.append(place)


def remove_empty(folders: list[Path]) -> None:
    """Remove those folders that are empty, the inner ones first."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()
