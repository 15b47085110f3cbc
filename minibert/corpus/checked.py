"""Whether a file still has its checksum: computed once, and remembered by the file's size and times.

What was found whole is remembered in ``checked/`` of the cache folder (embedding/backends/cache.py): one file per
folder, whose lines are hashes of a file's name, its size, its inode, the times of its last changes, and its SHA-256.
So a file that was written or replaced is read again; damage that changes none of these, as of the disk itself, is
noticed only by who has not read the file before.  Start with :func:`is_whole`.
"""

import hashlib
import os
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from minibert.checksum import file_digest
from minibert.embedding.backends.cache import cache_folder

NANOSECONDS = 10**9
# A file may be written twice between two ticks of the clock that a file system keeps its times by: 10 ms, where times
# are whole seconds two of these.  A file that was changed more recently is not remembered.
TICK, COARSE_TICK = 20_000_000, 2 * NANOSECONDS


def is_whole(path: Path, sha256: str) -> bool:
    """Whether a file has this SHA-256.  Raises OSError when it cannot be read.

    The file is read unless it was found whole before, by any process of this user, and is as it was then.
    """
    status = path.stat()
    facts = (path.name, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns, sha256)
    key = hashlib.sha256(repr(facts).encode()).hexdigest()[:32]
    kept = remembered(memory_of(path.parent))
    if key in kept:
        return True
    now = time.time_ns()
    if file_digest(path) != sha256:
        return False
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    if now - changed > (TICK if changed % NANOSECONDS else COARSE_TICK):
        kept.add(key)
        with suppress(OSError):  # a cache that cannot be written: the file is read again next time
            remember(memory_of(path.parent), key)
    return True


def memory_of(folder: Path) -> Path:
    """The file that remembers the files of a folder."""
    return cache_folder() / "checked" / hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:32]


@lru_cache(maxsize=16)
def remembered(memory: Path) -> set[str]:
    """The keys in a memory, read once per process; a line that a killed process cut is nobody's key."""
    try:
        return set(memory.read_text(encoding="ascii", errors="replace").split())
    except OSError:
        return set()


def remember(memory: Path, key: str) -> None:
    """Add a key, in one write, so that several processes may."""
    memory.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(memory, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{key}\n".encode())
    finally:
        os.close(descriptor)
