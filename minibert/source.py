"""Where files come from: the one place that turns what a user typed into paths on this disk.

A *source* is what ``from_pretrained`` takes.  The config, the tokenizer and the weights all ask here, so
that they always agree on where a checkpoint lives and a new kind of source is added once.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minibert.errors import CheckpointError

Source = str | os.PathLike[str]


def find_file(source: Source, name: str) -> Path | None:
    """The path of the file ``name`` of ``source``, or None when that source does not have one.

    Raises CheckpointError when the source itself does not exist.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        path = folder / name
        return path if path.is_file() else None
    if folder.is_file():
        return folder if folder.name == name else None
    raise CheckpointError(
        f"{os.fspath(source)!r} is not a folder on this disk. Give the path of a folder that holds config.json, "
        "the weights and vocab.txt."
    )


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in ``path``; CheckpointError in a sentence when it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}, expected an object of settings.")
    return content


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside ``path``; it takes the final name only when the block ends well and the disk has it.

    So ``path`` holds either its old content or all of the new, never a half.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
