"""Where files come from: the one place that turns what a user typed into paths on this disk.

A *source* is what ``from_pretrained`` takes: a folder, one file in a folder, a name on the model hub, or
``"minibert-demo"``, the checkpoint that comes with minibert.  A :class:`Checkpoint` is a source that was looked up: the
config, the tokenizer, the weights and the pooling settings all ask it for their files, so that they come from one place
and one commit, and a new kind of source is added once.  Start there.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, Unpack

from minibert.errors import CheckpointError, InputError
from minibert.files import LARGEST_SETTINGS, is_file, is_inside, is_kind, read_json
from minibert.schema import FLAG, NAME, Kind, check_settings, either, optional, shown

Source = str | os.PathLike[str]
DEMO = "minibert-demo"  # the name of the checkpoint that comes with minibert
DEMO_FOLDER = Path(__file__).parent / "demo"
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Where(TypedDict, total=False):
    """Options of ``from_pretrained`` that say where on the hub, and how to get it."""

    revision: str | None
    cache_dir: str | os.PathLike[str] | None
    local_files_only: bool
    token: str | bool | None
    force_download: bool


WHERE: dict[str, Kind] = {
    "revision": optional(NAME),
    "cache_dir": optional(Kind(lambda x: isinstance(x, str | os.PathLike), "the path of a folder")),
    "local_files_only": FLAG,
    "token": optional(either(NAME, FLAG)),
    "force_download": FLAG,
}


def take_where(settings: dict[str, Any]) -> Where:
    """Remove the options of :class:`Where` from ``settings`` and return them, for :meth:`Checkpoint.open`."""
    where: Where = {}
    if "use_auth_token" in settings:  # the older spelling
        settings.setdefault("token", settings.pop("use_auth_token"))
    for name in Where.__annotations__:
        if name in settings:
            where[name] = settings.pop(name)  # type: ignore[literal-required]
    return where


@dataclass(eq=False)
class Checkpoint(os.PathLike[str]):
    """A source, looked up once.  It is itself a source, so every ``from_pretrained`` takes it::

        checkpoint = Checkpoint.open("owner/name")
        model, tokenizer = BertModel.from_pretrained(checkpoint), BertTokenizer.from_pretrained(checkpoint)

    On the hub the first file that is found pins the commit, and all others come from that commit, even when somebody
    pushes meanwhile.  ``str`` gives the source back as it was typed.
    """

    source: Source  # as given
    folder: Path | None  # on this disk; None: it lies on the hub
    file: Path | None  # the single file that was named; None for a folder and for the hub
    where: Where = field(repr=False)  # on the hub, pinned; it may hold a token
    found: dict[str, Path] = field(default_factory=dict, repr=False)  # by its path within the source

    @classmethod
    def open(cls, source: Source, **where: Unpack[Where]) -> "Checkpoint":
        """The checkpoint that ``source`` means; one that is open already is returned as it is.

        Args:
            source: a folder, one file in a folder, a name on the hub, or ``"minibert-demo"``.
            where: for the hub: ``revision=`` (a branch, a tag or a commit), ``cache_dir=``, ``local_files_only=``,
                ``token=``, ``force_download=``.

        Raises InputError for what is no source, CheckpointError when there is no such source on this disk.  The hub is
        asked for the first file only.
        """
        if isinstance(source, Checkpoint):
            if where:
                raise InputError(f"{source} is open already; give {', '.join(where)} to Checkpoint.open.")
            return source
        check_settings(where, WHERE, "from_pretrained", InputError)
        folder = local_folder(source)
        if folder is None and not is_hub_name(source):
            raise CheckpointError(
                f"{os.fspath(source)!r} is neither a folder on this disk nor a name on the hub (owner/name). Give the "
                "path of a folder that holds config.json, the weights and vocab.txt."
            )
        return cls(source, folder, None if folder is None else local_file(source), where)

    def __fspath__(self) -> str:
        return os.fspath(self.source)

    def __str__(self) -> str:
        return str(self.source)

    def at(self, path: str) -> Path | None:
        """The file at ``path`` within the source (``"1_Pooling/config.json"``), or None when there is none.

        A file of the hub is fetched when it is not in the cache.  Raises CheckpointError for what is no file, and for
        everything that goes wrong on the way from the hub.
        """
        if path not in self.found:
            found = self.fetch(path) if self.folder is None else self.folder / path
            if found is None or not is_file(found):
                return None
            self.found[path] = found
        return self.found[path]

    def fetch(self, path: str) -> Path | None:
        """The same of a hub repository; the first file that is found pins the commit."""
        from minibert.hub import commit_of, hub_file

        found = hub_file(os.fspath(self.source), path, **self.where)
        if found is not None and (commit := commit_of(found)):
            self.where = {**self.where, "revision": commit}
        return found

    def find(self, name: str) -> Path | None:
        """The file ``name`` where the BERT is, else in the source itself; None when neither has it."""
        return self.at(self.inner + name) or (self.at(name) if self.inner else None)

    @cached_property
    def inner(self) -> str:
        """Where the BERT is within the source: ``"0_Transformer/"`` in many sentence-transformers layouts, else ``""``.

        ``modules.json`` decides, as for that library: its releases before 2.0 put a config.json of their own beside it.
        """
        if self.folder is None:
            self.at("config.json")  # which nearly every repository has: so modules.json is of that commit
        listing = self.at("modules.json")
        inner = "" if listing is None else transformer_path(listing)
        if inner and self.folder is not None and not is_inside(self.folder / inner, self.folder):
            raise CheckpointError(
                f"{listing} names {self.folder / inner}, a link to somewhere outside. It is not safe to follow."
            )
        return f"{inner}/" if inner else ""

    @property
    def bert_folder(self) -> Path | None:
        """Where the BERT is on this disk; None for the hub."""
        return None if self.folder is None else self.folder / self.inner

    def offline_note(self) -> str:
        """A sentence to add when a file of the hub was not found and nobody asked the hub for it; else ``""``."""
        if self.folder is not None:
            return ""
        from huggingface_hub import constants

        offline = constants.HF_HUB_OFFLINE or self.where.get("local_files_only", False)
        return " Only the cache on this disk was looked at, since the hub is switched off (offline)." if offline else ""


def is_demo(source: Source) -> bool:
    """Whether ``source`` is the name of the checkpoint that comes with minibert.

    A path never is, nor "./minibert-demo": a folder of that name can be meant, and none that happens to lie where
    somebody works is ever taken for it.
    """
    return isinstance(source, str) and source == DEMO


def demo_folder() -> Path:
    """Where the checkpoint lies that comes with minibert; CheckpointError when this installation has none."""
    if not is_kind(DEMO_FOLDER / "config.json", stat.S_ISREG):
        raise CheckpointError(
            "This installation of minibert carries no checkpoint of its own. Name the one to use: a folder that holds "
            "config.json, the weights and vocab.txt, or a name on the hub (--model on the command line)."
        )
    return DEMO_FOLDER


def local_folder(source: Source) -> Path | None:
    """The folder on this disk that ``source`` means: itself, or the one its single file lies in.  None: the hub's."""
    if is_demo(source):
        return demo_folder()
    path = as_path(source)
    if is_kind(path, stat.S_ISDIR):
        return path
    return None if local_file(path) is None else path.parent


def local_file(source: Source) -> Path | None:
    """The single file that ``source`` names, or None when it is a folder or a hub name."""
    if is_demo(source):
        return None
    path = as_path(source)
    if is_kind(path, stat.S_ISDIR):
        return None
    # The second: bert_model.ckpt, which names several files.
    return path if is_kind(path, stat.S_ISREG) or is_kind(Path(f"{path}.index"), stat.S_ISREG) else None


def is_path(source: object) -> bool:
    """Whether ``source`` is a path at all; an empty one is not: it would be the folder one happens to be in."""
    try:
        path = os.fspath(source)  # type: ignore[call-overload]
    except TypeError:
        return False
    return isinstance(path, str) and path != ""


def as_path(source: Source) -> Path:
    """``source`` as a path, ``~`` for the user's folder; InputError for what is no path: None, a number, bytes, …"""
    if not is_path(source):
        hint = " (os.fsdecode makes a path of bytes)" if isinstance(source, bytes) else ""
        raise InputError(
            f"{shown(source)} is no source; expected the path of a folder or file, or a name on the hub (owner/name)"
            f"{hint}."
        )
    try:
        return Path(source).expanduser()
    except RuntimeError:  # ~somebody, whom this machine does not know
        return Path(source)


def transformer_path(listing: Path) -> str:
    """The path of the BERT that a sentence-transformers ``modules.json`` lists, ``""`` for the folder itself."""
    for module in read_json(listing, list, largest=LARGEST_SETTINGS):
        if isinstance(module, dict) and str(module.get("type", "")).endswith("Transformer"):
            path = module.get("path") or ""
            if not isinstance(path, str) or not re.fullmatch(r"[\w-]*", path):
                raise CheckpointError(f"{listing} names the path {path!r}; expected a folder beside it.")
            return path
    return ""


def is_hub_name(source: Source) -> bool:
    """Whether ``source`` could be a name on the hub: ``name`` or ``owner/name``, and no path on this disk."""
    if not isinstance(source, str) or is_demo(source) or HUB_NAME.fullmatch(source) is None:
        return False
    return not is_kind(Path(source), lambda mode: True)
