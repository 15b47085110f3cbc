"""Where files come from: the one place that turns what a user typed into paths on this disk.

A *source* is what ``from_pretrained`` takes: a folder, one file in a folder, or a name on the model hub.  The config,
the tokenizer and the weights all ask here, so that they always agree on where a checkpoint lives and a new kind of
source is added once.  Start with :func:`find_file`.
"""

import json
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypedDict

from minibert.errors import CheckpointError

Source = str | os.PathLike[str]
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")
LARGEST_JSON = 64 << 20  # bytes; a multilingual tokenizer.json has 3 million


class Where(TypedDict, total=False):
    """Options of ``from_pretrained`` that say where on the hub, and how to get it."""

    revision: str | None
    cache_dir: str | os.PathLike[str] | None
    local_files_only: bool
    token: str | bool | None
    force_download: bool


def take_where(settings: dict[str, Any]) -> Where:
    """Remove the options of :class:`Where` from ``settings`` and return them."""
    where: Where = {}
    for name in Where.__annotations__:
        if name in settings:
            where[name] = settings.pop(name)  # type: ignore[literal-required]
    return where


def find_file(source: Source, name: str, where: Where | None = None) -> Path | None:
    """The path of the file ``name`` of ``source``, or None when that source does not have one.

    A file of the hub is fetched when it is not in the cache.  Raises CheckpointError when there is no such source.
    """
    folder = local_folder(source)
    if folder is not None:
        return next((path for path in (folder / name, transformer_folder(folder) / name) if path.is_file()), None)
    if is_hub_name(source):
        return find_on_hub(os.fspath(source), name, where or {})
    raise CheckpointError(
        f"{os.fspath(source)!r} is neither a folder on this disk nor a name on the hub (owner/name). Give the path "
        "of a folder that holds config.json, the weights and vocab.txt."
    )


def find_on_hub(repository: str, name: str, where: Where) -> Path | None:
    """The file ``name`` of a hub repository, in its root or where sentence-transformers put it."""
    from minibert.hub import hub_file

    found = hub_file(repository, name, **where)
    if found is None and name != "modules.json" and (listing := hub_file(repository, "modules.json", **where)):
        inner = transformer_path(listing)
        found = hub_file(repository, f"{inner}/{name}", **where) if inner else None
    return found


def same_commit(where: Where, path: Path) -> Where:
    """``where``, at the commit that ``path`` came from: a branch may move while a checkpoint is being fetched."""
    from minibert.hub import commit_of

    commit = commit_of(path)
    return where if commit is None else {**where, "revision": commit}


def local_folder(source: Source) -> Path | None:
    """The folder on this disk that ``source`` means: itself, or the one its single file lies in.  None: the hub's."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if path.is_file() or Path(f"{path}.index").is_file():  # the second: bert_model.ckpt, which names several files
        return path.parent
    return None


def local_file(source: Source) -> Path | None:
    """The single file that ``source`` names, or None when it is a folder or a hub name."""
    path = Path(source).expanduser()
    return path if path.is_file() or (Path(f"{path}.index").is_file() and not path.is_dir()) else None


def transformer_folder(folder: Path) -> Path:
    """Where a sentence-transformers folder keeps its BERT (often ``0_Transformer``); elsewhere ``folder`` itself."""
    listing = folder / "modules.json"
    if not listing.is_file() or (folder / "config.json").is_file():
        return folder
    return folder / transformer_path(listing)


def transformer_path(listing: Path) -> str:
    """The path of the BERT that a sentence-transformers ``modules.json`` lists, ``""`` for the folder itself."""
    for module in read_json(listing, list):
        if isinstance(module, dict) and str(module.get("type", "")).endswith("Transformer"):
            path = module.get("path") or ""
            if not isinstance(path, str) or not re.fullmatch(r"[\w-]*", path):
                raise CheckpointError(f"{listing} names the path {path!r}; expected a folder beside it.")
            return path
    return ""


def is_hub_name(source: Source) -> bool:
    """Whether ``source`` could be a name on the hub: ``name`` or ``owner/name``, and no path on this disk."""
    return isinstance(source, str) and HUB_NAME.fullmatch(source) is not None and not Path(source).exists()


def read_json(path: Path, kind: type = dict) -> Any:
    """The JSON object (or list, for ``kind=list``) in ``path``; CheckpointError in a sentence when it is none."""
    try:
        if path.stat().st_size > LARGEST_JSON:
            raise CheckpointError(f"{path} has {path.stat().st_size:,} bytes; no file of settings is that large.")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise CheckpointError(f"{path} cannot be read as JSON ({error}).") from error
    if not isinstance(content, kind):
        wanted = "an object of settings" if kind is dict else f"a {kind.__name__}"
        raise CheckpointError(f"{path} holds a JSON {type(content).__name__}, expected {wanted}.")
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
