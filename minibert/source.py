"""Sources of checkpoints, and the files in them as paths on this disk.

A *source* is what ``from_pretrained`` takes: a folder, one file in a folder, a name on the model hub, or
``"minibert-demo"``, the checkpoint that comes with minibert.  A :class:`Checkpoint` is a resolved source: the config,
the tokenizer, the weights and the pooling settings all get their files from it, so that they come from one place and
one commit.  Start there.
"""

import os
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypedDict, Unpack

from minibert.errors import CheckpointError, InputError
from minibert.files import LARGEST_SETTINGS, exists, is_file, is_folder, is_inside, is_regular, read_json
from minibert.renamed import older_attributes
from minibert.schema import FLAG, NAME, Kind, check_settings, either, optional, shown

Source = str | os.PathLike[str]
DEMO = "minibert-demo"  # the name of the checkpoint that comes with minibert
DEMO_FOLDER = Path(__file__).parent / "demo"
ADAPTER = "adapter_config.json"  # PEFT's
ONNX_FOLDER = "onnx"
ONNX = ("model.onnx", f"{ONNX_FOLDER}/model.onnx")  # where exporters write the graph of a checkpoint
# Endings that no repository of the hub has: a name with one is a file, mistyped where it is not there.
FILE_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".pt2", ".ckpt", ".onnx", ".xml", ".h5", ".json")
HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


class Where(TypedDict, total=False):
    """Options of ``from_pretrained`` for the hub: which revision, and how to get it."""

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
    if "use_auth_token" in settings:  # transformers' older name
        settings.setdefault("token", settings.pop("use_auth_token"))
    for name in Where.__annotations__:
        if name in settings:
            where[name] = settings.pop(name)  # type: ignore[literal-required]
    return where


@older_attributes
@dataclass(eq=False)
class Checkpoint(os.PathLike[str]):
    """A source, resolved once.  It is itself a source, so every ``from_pretrained`` takes it::

        checkpoint = Checkpoint.open("owner/name")
        model, tokenizer = BertModel.from_pretrained(checkpoint), BertTokenizer.from_pretrained(checkpoint)

    On the hub the first file pins the commit, and all others come from that commit, even if the repository changes
    meanwhile.  ``str`` returns the source as it was typed.
    """

    source: Source  # as it was passed
    folder: Path | None  # on this disk; None: on the hub
    file: Path | None  # the single file that was named; None for a folder and for the hub
    where: Where = field(repr=False)  # on the hub, pinned; it may contain a token
    paths: dict[str, Path] = field(default_factory=dict, repr=False)  # of known files, by their path in the source

    @classmethod
    def open(cls, source: Source, **where: Unpack[Where]) -> "Checkpoint":
        """The checkpoint of ``source``; an open checkpoint is returned as it is.

        Args:
            source: a folder, one file in a folder, a name on the hub, or ``"minibert-demo"``.
            where: for the hub: ``revision=`` (a branch, a tag or a commit), ``cache_dir=``, ``local_files_only=``,
                ``token=``, ``force_download=``.

        Raises InputError for anything that is no source, CheckpointError when there is no such source on this disk.
        No request is made to the hub before the first file is needed.
        """
        if isinstance(source, Checkpoint):
            if where:
                raise InputError(f"{source} is open already; give {', '.join(where)} to Checkpoint.open.")
            return source
        check_settings(where, WHERE, "from_pretrained", InputError)
        folder = local_folder(source)
        if folder is None and names_a_file(source):
            raise CheckpointError(
                f"There is no file {os.fspath(source)}. Check the path; the hub was not asked, since its repositories "
                "(owner/name) are not named like files."
            )
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

        A file of the hub is downloaded when it is not in the cache.  Raises CheckpointError when the path is not a
        file, and for every failure of a download.
        """
        if path not in self.paths:
            local = self.fetch(path) if self.folder is None else self.folder / path
            if local is None or not is_file(local):
                return None
            self.paths[path] = local
        return self.paths[path]

    def fetch(self, path: str) -> Path | None:
        """The same for a hub repository; the first file pins the commit."""
        from minibert.hub import commit_of, hub_file

        local = hub_file(os.fspath(self.source), path, **self.where)
        if local is not None and (commit := commit_of(local)):
            self.where = {**self.where, "revision": commit}
        return local

    def own(self, name: str) -> Path | None:
        """The file ``name`` in the folder of the BERT, else in the source itself; None when neither has it."""
        return self.at(self.inner + name) or (self.at(name) if self.inner else None)

    def find(self, name: str) -> Path | None:
        """The same for a file of the tokenizer; an adapter without a vocabulary has the tokenizer of its base."""
        path = self.own(name)
        if path is not None or any(map(self.own, ("vocab.txt", "tokenizer.json"))) or self.base is None:
            return path
        return self.base.find(name)

    @cached_property
    def base(self) -> "Checkpoint | None":
        """Of an adapter of PEFT (checkpoint/adapter.py): the checkpoint that it changes.  None for any other.

        Raises CheckpointError when that is not there, or is an adapter itself.
        """
        path = self.own(ADAPTER)
        if path is None:
            return None
        settings = read_json(path, largest=LARGEST_SETTINGS)
        check_settings(settings, {"base_model_name_or_path": optional(NAME), "revision": optional(NAME)}, path)
        name, revision = settings.get("base_model_name_or_path"), settings.get("revision")
        advice = f"Say where it is, in {path}, as base_model_name_or_path: a folder, or a name on the hub."
        if not name:
            raise CheckpointError(f"{path} does not name the checkpoint that the adapter is for. {advice}")
        where = {**self.where, "revision": revision}
        try:
            base = Checkpoint.open(name, **where)
        except CheckpointError as error:
            raise CheckpointError(
                f"The adapter {self} changes the weights of {name}, which is not there. {advice}"
            ) from error
        if base.own(ADAPTER) is not None:
            raise CheckpointError(
                f"{path} names {name}, which is an adapter itself. Merge that first: minibert convert {name} -o FOLDER."
            )
        return base

    @cached_property
    def inner(self) -> str:
        """The folder of the BERT in the source: often ``"0_Transformer/"`` for sentence-transformers, else ``""``.

        ``modules.json`` decides, as in that library, whose releases before 2.0 put their own config.json beside it.
        """
        if self.folder is None:
            self.at("config.json")  # nearly every repository has it: it pins the commit of modules.json
        listing = self.at("modules.json")
        inner = "" if listing is None else transformer_path(listing)
        if inner and self.folder is not None and not is_inside(self.folder / inner, self.folder):
            raise CheckpointError(
                f"{listing} names {self.folder / inner}, a link to somewhere outside. It is not safe to follow."
            )
        return f"{inner}/" if inner else ""

    @property
    def bert_folder(self) -> Path | None:
        """The folder of the BERT on this disk; None for the hub."""
        return None if self.folder is None else self.folder / self.inner

    def offline_note(self) -> str:
        """A sentence for when a file was not found and the hub was not asked; else ``""``."""
        if self.folder is not None:
            return ""
        from huggingface_hub import constants

        offline = constants.HF_HUB_OFFLINE or self.where.get("local_files_only", False)
        return " Only the cache on this disk was looked at, since the hub is switched off (offline)." if offline else ""


def is_demo(source: Source) -> bool:
    """Whether ``source`` is the name of the checkpoint that comes with minibert.

    A path is not, nor is "./minibert-demo", so that a folder with that name can be named; a folder that happens to be
    in the working directory never takes the name's place.
    """
    return isinstance(source, str) and source == DEMO


def demo_folder() -> Path:
    """The folder of the checkpoint that comes with minibert; CheckpointError when this installation has none."""
    if not is_regular(DEMO_FOLDER / "config.json"):
        raise CheckpointError(
            "This installation of minibert carries no checkpoint of its own. Name the one to use: a folder that holds "
            "config.json, the weights and vocab.txt, or a name on the hub (--model on the command line)."
        )
    return DEMO_FOLDER


def local_folder(source: Source) -> Path | None:
    """The folder on this disk of ``source``: itself, or the folder of a single file.  None: on the hub."""
    if is_demo(source):
        return demo_folder()
    path = as_path(source)
    if is_folder(path):
        return path
    return None if local_file(path) is None else folder_of_file(path)


def folder_of_file(path: Path) -> Path:
    """The checkpoint's folder, of one file in it; a graph in ``onnx/`` has its config.json one folder above."""
    folder = path.parent
    above = folder.absolute().parent
    is_export = path.suffix.lower() == ".onnx" and folder.absolute().name == ONNX_FOLDER
    return (
        above if is_export and not is_regular(folder / "config.json") and is_regular(above / "config.json") else folder
    )


def local_file(source: Source) -> Path | None:
    """The single file that ``source`` names, or None when it is a folder or a hub name."""
    if is_demo(source):
        return None
    path = as_path(source)
    if is_folder(path):
        return None
    # The second test is for bert_model.ckpt, the prefix of several files.
    return path if is_regular(path) or is_regular(Path(f"{path}.index")) else None


def is_path(source: object) -> bool:
    """Whether ``source`` is a path; an empty string, which would be the working directory, is not."""
    try:
        path = os.fspath(source)  # type: ignore[call-overload]
    except TypeError:
        return False
    return isinstance(path, str) and path != ""


def as_path(source: Source) -> Path:
    """``source`` as a path, with ``~`` expanded; InputError for anything else: None, a number, bytes, …"""
    if not is_path(source):
        hint = " (os.fsdecode makes a path of bytes)" if isinstance(source, bytes) else ""
        raise InputError(
            f"{shown(source)} is no source; expected the path of a folder or file, or a name on the hub (owner/name)"
            f"{hint}."
        )
    try:
        return Path(source).expanduser()
    except RuntimeError:  # ~name of an unknown user
        return Path(source)


def transformer_path(listing: Path) -> str:
    """The path of the BERT in a sentence-transformers ``modules.json``, ``""`` for the folder itself."""
    for module in read_json(listing, list, largest=LARGEST_SETTINGS):
        if isinstance(module, dict) and str(module.get("type", "")).endswith("Transformer"):
            path = module.get("path") or ""
            if not isinstance(path, str) or not re.fullmatch(r"[\w-]*", path):
                raise CheckpointError(f"{listing} names the path {path!r}; expected a folder beside it.")
            return path
    return ""


def is_hub_name(source: Source) -> bool:
    """Whether ``source`` can be a name on the hub: ``name`` or ``owner/name``, and no path on this disk."""
    if not isinstance(source, str) or is_demo(source) or HUB_NAME.fullmatch(source) is None or names_a_file(source):
        return False
    return not exists(Path(source))


def names_a_file(source: Source) -> bool:
    """Whether ``source`` ends as files of weights and settings do."""
    return os.fspath(source).lower().endswith(FILE_ENDINGS)
