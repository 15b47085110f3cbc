"""Files that contain their own checksum, which a run compares before it uses them.

A sealed file has ``"checksum": "sha256:…"`` near its beginning: the SHA-256 of the file with 64 zeros in place of the
digest.  So the checksum covers every byte, and the file is still written whole or not at all.  It is the first key of a
JSON file, and the first of the metadata in a safetensors file.  Other files (texts, vectors, metrics logs) have their
SHA-256 in a sealed file.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import IO, Any

from minibert.errors import CheckpointError, reason_of
from minibert.files import read_json, written_whole

KEY = "checksum"
OPEN = "sha256:" + "0" * 64  # the value until the file is sealed
MARK = re.compile(rb'"checksum": ?"sha256:([0-9a-f]{64})"')
HEAD = 512  # the first bytes of a file, which contain it
# One flipped bit cannot remove both: a file with neither is from a version without checksums.
TRACES = (b'"checksum"', b"sha256:")


def seal(path: Path) -> None:
    """Write the checksum into a file that contains ``OPEN``."""
    with path.open("r+b") as file:
        mark = MARK.search(file.read(HEAD))
        assert mark is not None
        content = digest(file, mark)
        file.seek(mark.start(1))
        file.write(content)


def is_sealed(path: Path) -> bool:
    """Compare the checksum of a file; False when it has none, as files of earlier versions.

    Raises CheckpointError when the content has changed or cannot be read.
    """
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            mark = MARK.search(head)
            if mark is None and not any(trace in head for trace in TRACES):
                return False
            if mark is not None and digest(file, mark) == mark[1]:
                return True
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({reason_of(error)}).") from error
    raise CheckpointError(f"{path} is damaged: its content does not have the checksum that was written with it.")


def digest(file: IO[bytes], mark: re.Match[bytes]) -> bytes:
    """The SHA-256 of a file with zeros in place of the digest at ``mark``, as 64 hexadecimal digits."""
    file.seek(0)
    head = file.read(mark.end(1))
    hashed = hashlib.sha256(head[: mark.start(1)] + b"0" * 64)
    return hashlib.file_digest(file, lambda: hashed).hexdigest().encode()  # type: ignore[arg-type]


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object with its checksum, whole or not at all."""
    with written_whole(path) as temporary:
        write_sealed_to(temporary, content)


def write_sealed_to(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON object with its checksum."""
    text = json.dumps({KEY: OPEN, **content}, ensure_ascii=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8", newline="\n")
    seal(path)


def read_sealed(path: Path) -> tuple[dict[str, Any], bool]:
    """A JSON object without its checksum, and whether it has one; CheckpointError when it is damaged."""
    sealed = is_sealed(path)
    content = read_json(path)
    content.pop(KEY, None)
    return content, sealed


def file_digest(path: Path) -> str:
    """The SHA-256 of a whole file, as sha256sum prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def json_digest(content: Any) -> str:
    """The SHA-256 of settings, whatever their order."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
