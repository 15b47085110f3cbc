"""A folder for what is built once: ``$MINIBERT_CACHE``, else ``$XDG_CACHE_HOME/minibert``, else ``~/.cache/minibert``.

An entry is a folder whose name is the hash of everything that it depends on.  Its ``proof.json`` carries its own
checksum and those of the other files, which are compared before the entry is used: an entry that is damaged, half
there or of something else is built again.  It is built beside its place and renamed into it, so that two processes may
build at once: the first one's stays.
"""

import os
import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from minibert.checksum import file_digest, json_digest, read_sealed, write_sealed
from minibert.errors import CheckpointError, reason_of
from minibert.files import is_file

FILE = "proof.json"


def cache_folder() -> Path:
    """Where entries are kept; need not be there yet."""
    if own := os.environ.get("MINIBERT_CACHE"):
        return Path(own).expanduser()
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base).expanduser() / "minibert"
    return Path.home() / ".cache" / "minibert"


def entry_path(name: str, facts: dict[str, Any]) -> Path:
    """Where the entry of that kind and with these facts is, or would be."""
    return cache_folder() / "backends" / f"{name}-{json_digest(facts)[:32]}"


def read_entry(path: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """What ``proof.json`` of a whole entry says; None for one that is missing, damaged or of other facts."""
    try:
        if not is_file(path / FILE):
            return None
        proof, sealed = read_sealed(path / FILE)
        if not sealed or proof.get("facts") != facts:
            return None
        files = proof["files"]
        whole = all(Path(name).name == name and file_digest(path / name) == digest for name, digest in files.items())
    except (CheckpointError, OSError, KeyError, AttributeError, TypeError):
        return None
    return proof if whole else None


def build_entry(path: Path, facts: dict[str, Any], build: Callable[[Path], dict[str, Any]]) -> dict[str, Any]:
    """Let ``build`` fill a folder, which then takes the place ``path``; returns what its ``proof.json`` says.

    ``build`` returns what the proof holds besides the facts and the files.  Where it raises, nothing is left.  Raises
    CheckpointError where the cache cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    except OSError as error:
        raise unusable(path.parent, error) from error
    try:
        shown = build(temporary)
        files = {file.name: file_digest(file) for file in sorted(temporary.iterdir())}
        proof = {"facts": facts, "files": files, **shown}
        write_sealed(temporary / FILE, proof)
        move(temporary, path, facts)
    except OSError as error:
        if isinstance(error, CheckpointError):
            raise
        raise unusable(path.parent, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return proof


def move(temporary: Path, path: Path, facts: dict[str, Any]) -> None:
    """Rename, unless another process has put a whole entry there; a damaged one is taken away first."""
    with suppress(OSError):
        temporary.rename(path)
        return
    if read_entry(path, facts) is None:
        damaged = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".damaged", dir=path.parent))
        with suppress(OSError):  # another process has just done the same
            path.rename(damaged / path.name)
        shutil.rmtree(damaged, ignore_errors=True)
        temporary.rename(path)


def unusable(folder: Path, error: OSError) -> CheckpointError:
    """The sentence for a cache that cannot be written or read."""
    return CheckpointError(
        f"The cache {folder} cannot be used ({reason_of(error)}). Set MINIBERT_CACHE to another folder."
    )
