"""Files on this disk: read within limits, written whole or not at all.

A downloaded folder can contain a pipe, a link to a device, a Git-LFS pointer, or JSON of any size and depth:
:func:`is_file` and :func:`read_json` refuse each with a message.  :func:`written_whole` never leaves half a file.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from minibert.errors import CheckpointError, MinibertError, reason_of

LARGEST_JSON = 64 << 20  # bytes; a multilingual tokenizer.json has 3 million
LARGEST_SETTINGS = 4 << 20  # of a config or an index; parsing can multiply its size by forty
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
LARGEST_POINTER = 1024  # bytes, from the specification of Git LFS
DEEPEST_JSON = 32  # nested lists and objects; a tokenizer.json has 7


# Unlike the methods of Path, these never raise: a path can be too long, contain a NUL byte, or be in a closed folder.
def exists(path: Path) -> bool:
    """Whether ``path`` exists; a broken link does not."""
    return os.path.exists(path)  # noqa: PTH110


def is_folder(path: Path) -> bool:
    """Whether ``path`` is a folder or a link to one."""
    return os.path.isdir(path)  # noqa: PTH112


def is_regular(path: Path) -> bool:
    """Whether ``path`` is a file or a link to one: no folder, pipe or device."""
    return os.path.isfile(path)  # noqa: PTH113


def is_file(path: Path) -> bool:
    """Whether ``path`` is a file.

    Raises CheckpointError when something else has that name: opening a pipe blocks, and reading a device such as
    /dev/zero, or a link to it, never ends.  Also raises it for a Git-LFS pointer.
    """
    if is_regular(path):
        refuse_pointer(path)
        return True
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError as error:
        raise CheckpointError(f"{path} cannot be opened ({reason_of(error)}).") from error
    what = "a folder" if is_folder(path) else "a link to nothing, a pipe or a device"
    raise CheckpointError(f"{path} is {what}, expected a file. Put the file itself there.")


def refuse_pointer(path: Path) -> None:
    """Raise CheckpointError when the file ``path`` is the Git-LFS pointer of a file that was not downloaded."""
    try:
        size = path.stat().st_size
        if size > LARGEST_POINTER:
            return
        with path.open("rb") as file:
            start = file.read(len(LFS_POINTER))
    except OSError:  # reading the file will raise with a message
        return
    if start == LFS_POINTER:
        raise CheckpointError(
            f"{path} is a Git-LFS pointer of {size} bytes, not the file it stands for. Fetch the files (git lfs pull, "
            "in the cloned repository), or download this one by itself."
        )


def is_inside(path: Path, folder: Path) -> bool:
    """Whether ``path``, after links are resolved, is ``folder`` or in it."""
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, ValueError, RuntimeError):  # too long; a NUL byte; a cycle of links
        return False


def read_json(path: Path, expected: type = dict, *, largest: int = LARGEST_JSON) -> Any:
    """The JSON object (or list, for ``expected=list``) in ``path``, which may have ``largest`` bytes.

    Raises CheckpointError for anything else.
    """
    if not is_file(path):
        raise CheckpointError(f"{path} does not exist.")
    try:
        size = path.stat().st_size
        if size > largest:
            raise ValueError(f"it has {size:,} bytes, expected at most {largest:,}")
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=without_repetition)
        if is_deep(content):
            raise ValueError(f"lists and objects are nested more than {DEEPEST_JSON} deep")
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({reason_of(error)}).") from error
    except RecursionError as error:
        raise CheckpointError(f"{path} cannot be read as JSON (it is nested too deep).") from error
    except ValueError as error:  # UnicodeDecodeError and JSONDecodeError, too
        raise CheckpointError(f"{path} cannot be read as JSON ({error}). Copy or download it again.") from error
    if not isinstance(content, expected):
        what = "an object of settings" if expected is dict else f"a {expected.__name__}"
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}, expected {what}.")
    return content


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of ``pairs``; ValueError for a repeated key, of which readers use different ones."""
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise ValueError(f"it has the key {key!r} twice")
        content[key] = value
    return content


def is_deep(content: Any) -> bool:
    """Whether lists and objects are nested deeper than DEEPEST_JSON: copying them can fail."""
    level = [content]
    for _ in range(DEEPEST_JSON):
        level = [
            child
            for outer in level
            if isinstance(outer, dict | list)
            for child in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return any(isinstance(inner, dict | list) for inner in level)


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to ``path`` when the block has succeeded and the disk has the content.

    So ``path`` has either its old content or all of the new.  Raises CheckpointError when it cannot be written (no
    such folder, no permission, a full disk), and for a device or a pipe, which a file would replace.
    """
    if exists(path) and not is_regular(path):
        what = "a folder" if is_folder(path) else "a pipe or a device"
        raise CheckpointError(f"{str(path)!r} is {what}; give the name of a file to write.")
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except MinibertError:  # from the block
        raise
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise CheckpointError(f"{str(path)!r} cannot be written ({reason_of(error)}).") from error
    finally:
        with suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
