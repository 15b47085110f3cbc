"""A folder that belongs to one run: while it lives, a second one is refused.

The lock is the system's own (flock, on Windows a locked byte), so it ends with its process, however that ends; a file
with a number in it would outlive a kill.  ``.lock`` says who holds it.  It is removed at the end, and one that a killed
run left, or that came along with a copy of the folder, is taken over.  Look first at :func:`alone_in`.
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
from minibert.errors import CheckpointError, InputError, MinibertError

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("minibert")
NAME = ".lock"
FAR = 1 << 30  # Windows lets nobody read a locked byte, so one behind everything is locked
TAKEN = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)
_held: dict[tuple[int, int], tuple[int, int]] = {}  # folders by device and number; the process and thread at work


def alone_in(argument: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: the folder that a call's ``argument`` names belongs to it until it returns (:func:`locked`).

    Of several workers (``workers``) the first holds the lock, and all of them end where it is refused.  A call inside
    another one may use the same folder.
    """

    def decorate(run: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(run)

        @functools.wraps(run)
        def alone(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                given = signature.bind(*args, **kwargs)
            except TypeError:
                return run(*args, **kwargs)  # whose own message names the function
            folder, workers = check_folder(given.arguments[argument], argument), given.arguments.get("workers")
            with ExitStack() as until_the_end:
                if workers is None:
                    until_the_end.enter_context(locked(folder))
                else:
                    with workers.first_alone():
                        if workers.is_first:
                            until_the_end.enter_context(locked(folder))
                return run(*args, **kwargs)

        return alone

    return decorate


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold ``folder``, which is made if it is not there, and removed again if nothing came into it.

    Raises InputError, naming the process, when another run holds it, CheckpointError when it cannot be written.  Where
    the system has no such locks, as some network file systems, a warning says so, and the block runs.
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
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(
            f"{str(folder / NAME)!r} cannot be written ({reason}). Name a folder that is, or can be made, writable."
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
    """The descriptor of the lock's file, locked; raises InputError when another process has it."""
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
                path.parent, error.strerror or error,
            )  # fmt: skip
        try:
            ours = os.path.samestat(os.fstat(file), path.stat())
        except FileNotFoundError:
            ours = False
        if ours:
            break
        os.close(file)  # whoever had it before removed it in this moment
    with suppress(OSError):  # a full disk: the lock holds without a name in it
        os.ftruncate(file, 0)
        os.write(file, json.dumps({"process": os.getpid(), "host": platform.node()}).encode())
    return file


def lock(file: int) -> None:
    """Lock a file for this process alone; OSError when another one has it, or when there are no locks here."""
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
    """Remove the file and the lock; where an open file cannot be removed (Windows), after it is closed."""
    with suppress(OSError):
        path.unlink()
        os.close(file)
        return
    os.close(file)
    with suppress(OSError):
        path.unlink()


def holder_of(file: int) -> str:
    """Who has the lock, as far as its file tells."""
    try:
        content = json.loads(os.pread(file, 1000, 0) if hasattr(os, "pread") else os.read(file, 1000))
        return f"process {content['process']} on {content['host']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def make(folder: Path, made: list[Path]) -> None:
    """Make a folder and those that it lies in, and add to ``made`` what was not there."""
    for place in (*reversed(folder.parents), folder):
        if not place.is_dir():
            place.mkdir(exist_ok=True)
            made.append(place)


def remove_empty(folders: list[Path]) -> None:
    """Remove folders, the inner ones first, as long as nothing is in them."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()
