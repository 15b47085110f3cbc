"""Weight files, opened but not read: names, shapes and kinds at once, a tensor when it is asked for.

Nothing a checkpoint brings is executed: safetensors is plain data, a .bin (a pickle) is opened by torch's restricted
reader (``weights_only=True``) after state_pickle.py has looked it through, and Google's bundles are read by
tensor_bundle.py.
Start with :func:`open_weights`.
"""

import json
import os
import zipfile
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minibert.checkpoint.state_pickle import BadPickle, describe_pickle
from minibert.checkpoint.tensor_bundle import find_bundle_prefix, read_tensor_bundle
from minibert.errors import CheckpointError
from minibert.source import (
    LARGEST_SETTINGS,
    Source,
    Where,
    find_file,
    local_file,
    local_folder,
    offline_note,
    read_json,
    transformer_folder,
    without_repetition,
)

MINIMUM_TORCH = (2, 6)  # before it, weights_only=True could be made to execute code (CVE-2025-32434)
LARGEST_HEADER = 4 << 20  # bytes; bert-large's has 50 thousand
LONGEST_NAME = 1_000  # letters of a tensor's name; BERT's have sixty
MOST_TENSORS = 20_000  # bert-large with its optimizer's memory has 1,200
KINDS = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool",
}  # fmt: skip


class Weights(ABC):
    """The tensors of one checkpoint, by the names its files give them."""

    files: tuple[Path, ...]

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all tensors, in the file's order."""

    @abstractmethod
    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number (``"float32"``) of a tensor, without reading it."""

    @abstractmethod
    def tensor(self, name: str) -> Tensor:
        """The tensor itself, memory-mapped where the format allows."""


class SafetensorsWeights(Weights):
    """One .safetensors file."""

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        try:
            check_header(path)
            file: Any = safe_open(path, framework="pt")
            self._names: list[str] = list(file.keys())
            self._file = file
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            raise CheckpointError(
                f"{path} is not a whole safetensors file ({error}). Download or copy it again."
            ) from error

    def names(self) -> list[str]:
        """Names of all tensors, in the file's order."""
        return self._names

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number of a tensor."""
        entry = self._file.get_slice(name)
        kind = entry.get_dtype()
        return tuple(entry.get_shape()), KINDS.get(kind, kind)

    def tensor(self, name: str) -> Tensor:
        """The tensor, memory-mapped: its pages are read when they are first used."""
        tensor: Tensor = self._file.get_tensor(name)
        return tensor


def check_header(path: Path) -> None:
    """Raise ValueError for what the safetensors library lets pass: headers of any length, names that stand twice."""
    size = path.stat().st_size
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
        if claimed > min(LARGEST_HEADER, size - 8):
            raise ValueError(
                f"it has {size:,} bytes and claims a header of {claimed:,}, expected at most {LARGEST_HEADER:,}"
            )
        json.loads(file.read(claimed), object_pairs_hook=without_repetition)


class PickleWeights(Weights):
    """One .bin file, as torch.save wrote it."""

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < MINIMUM_TORCH:
            raise CheckpointError(
                f"{path} is a pickle; torch {torch.__version__} cannot read one safely. Update torch to 2.6 or newer, "
                "or use a safetensors file."
            )
        try:
            self._described = describe_pickle(path)
        except BadPickle as error:
            raise CheckpointError(
                f"{path} cannot be used as a state dict: it {error}. Nothing in it was executed."
            ) from error
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({error.strerror or error}).") from error

    @cached_property
    def _state(self) -> dict[str, Tensor]:
        """What torch's restricted reader makes of a file that was looked through."""
        (path,) = self.files
        try:
            state: dict[str, Tensor] = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
            )
        except Exception as error:  # the file may have changed since it was looked through
            raise CheckpointError(
                f"{path} cannot be read ({type(error).__name__}). Copy or download it again."
            ) from error
        return state

    def names(self) -> list[str]:
        """Names of all tensors, in the file's order."""
        return list(self._described)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number of a tensor."""
        stored = self._described[name]
        return stored.shape, str(stored.storage.dtype).removeprefix("torch.")

    def tensor(self, name: str) -> Tensor:
        """The tensor, memory-mapped unless torch before 1.6 wrote the file."""
        return self._state[name]


class BundleWeights(Weights):
    """Google's format: TensorFlow's index and data shards."""

    def __init__(self, prefix: Path) -> None:
        self._bundle = read_tensor_bundle(prefix)
        shards = (self._bundle.shard_path(number) for number in range(self._bundle.num_shards))
        self.files = (Path(f"{prefix}.index"), *shards)

    def names(self) -> list[str]:
        """Names of all tensors, in the index's order."""
        return list(self._bundle)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number of a tensor."""
        entry = self._bundle.entries[name]
        kind = f"TensorFlow's {entry.tf_dtype}" if entry.dtype is None else str(entry.dtype).removeprefix("torch.")
        return tuple(entry.shape), kind

    def tensor(self, name: str) -> Tensor:
        """The tensor, its checksum compared."""
        return self._bundle.tensor(name)


class ShardedWeights(Weights):
    """Several files that one index holds together: ``{"weight_map": {tensor: file}}``."""

    def __init__(self, index: Path, shards: dict[str, Weights], weight_map: dict[str, str]) -> None:
        self.files = (index, *(path for shard in shards.values() for path in shard.files))
        self._shards, self._weight_map = shards, weight_map
        names_of: dict[str, set[str]] = {file: set() for file in shards}
        for name, file in weight_map.items():
            names_of[file].add(name)
        for file, shard in shards.items():
            listed, found = names_of[file], set(shard.names())
            if lacking := sorted(listed - found):
                raise CheckpointError(f"{index.parent / file} lacks {lacking[0]}, which {index.name} says it holds.")
            if extra := sorted(found - listed):
                elsewhere = weight_map.get(extra[0])
                where = f"puts into {elsewhere}" if elsewhere else "does not list"
                raise CheckpointError(f"{index.parent / file} holds {extra[0]}, which {index.name} {where}.")

    def names(self) -> list[str]:
        """Names of all tensors, in the index's order."""
        return list(self._weight_map)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        """Shape and kind of number of a tensor."""
        return self._shards[self._weight_map[name]].describe(name)

    def tensor(self, name: str) -> Tensor:
        """The tensor, from its shard."""
        return self._shards[self._weight_map[name]].tensor(name)


SINGLE = {"model.safetensors": SafetensorsWeights, "pytorch_model.bin": PickleWeights}
# In order of preference: plain data before pickles.
NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def open_weights(source: Source, where: Where | None = None) -> Weights:
    """The weights of a source: safetensors first, then .bin, whole or in shards, then Google's own format.

    Raises CheckpointError when there are none, or when a file is broken.
    """
    weights = find_weights(source, where)
    names = weights.names()
    if len(names) > MOST_TENSORS or max(map(len, names), default=0) > LONGEST_NAME:
        raise CheckpointError(
            f"{weights.files[0]} holds {len(names):,} tensors, the longest name of {max(map(len, names)):,} letters; "
            f"expected at most {MOST_TENSORS:,} and {LONGEST_NAME:,}: this is no checkpoint of a BERT."
        )
    return weights


def find_weights(source: Source, where: Where | None) -> Weights:
    """What :func:`open_weights` opens."""
    named = local_file(source)
    if named is not None and named.suffix != ".json":
        return open_file(named)
    for name in NAMES:
        path = find_file(source, name, where)
        if path is not None:
            return open_shards(path, source, where) if name.endswith(".json") else SINGLE[name](path)
    folder = local_folder(source)
    prefix = None if folder is None else find_bundle_prefix(transformer_folder(folder))
    if prefix is not None:
        return BundleWeights(prefix)
    raise CheckpointError(
        f"{os.fspath(source)} holds no weights; looked for {', '.join(NAMES)} and TensorFlow's *.ckpt.index."
        f"{offline_note(source, where)}"
    )


def open_file(path: Path) -> Weights:
    """The weights in one file, whose name says of which format they are."""
    if path.name.endswith(".safetensors"):
        return SafetensorsWeights(path)
    if path.suffix in (".bin", ".pt", ".pth"):
        return PickleWeights(path)
    prefix = find_bundle_prefix(path)
    if prefix is not None:
        return BundleWeights(prefix)
    raise CheckpointError(f"{path} is of no format that holds weights: .safetensors, .bin, or a TensorFlow *.ckpt.")


def open_shards(index: Path, source: Source, where: Where | None) -> Weights:
    """The weights that an index lists; it may only name files beside itself."""
    weight_map = read_json(index, largest=LARGEST_SETTINGS).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(f'{index} has no "weight_map" of tensors and the files they are in.')
    if not 1 <= len(weight_map) <= MOST_TENSORS:
        raise CheckpointError(f"{index} lists {len(weight_map):,} tensors, expected 1 to {MOST_TENSORS:,}.")
    beside = index.parent if local_folder(source) else source  # a shard of the hub may still have to be fetched
    shards = {}
    for file in dict.fromkeys(weight_map.values()):
        check_shard_name(index, file)
        path = find_file(beside, file, where)
        if path is None:
            raise CheckpointError(f"{index} lists {file}, which is not there. Copy or download the missing shard.")
        check_shard_place(index, path)
        shards[file] = open_file(path)
    return ShardedWeights(index, shards, weight_map)


def check_shard_name(index: Path, file: str) -> None:
    """Raise CheckpointError unless ``file`` is the plain name of a weight file of the index's own format."""
    suffix = ".safetensors" if index.name.startswith("model.") else ".bin"
    if Path(file).name != file or "\\" in file or "\0" in file or not file.endswith(suffix):
        raise CheckpointError(
            f"{index} lists {file!r}; a shard is a {suffix} file beside its index. It is not safe to follow."
        )


def check_shard_place(index: Path, path: Path) -> None:
    """Raise CheckpointError for a shard that is a link to somewhere else.

    The hub's cache keeps every file as a link from ``snapshots/REVISION/`` into ``blobs/`` of the same repository.
    """
    allowed = [index.parent.resolve()]
    if index.parent.parent.name == "snapshots":
        allowed.append(index.parent.parent.parent.resolve() / "blobs")
    if path.resolve().parent not in allowed:
        raise CheckpointError(
            f"{path} is a link to {path.resolve()}, outside the checkpoint. It is not safe to follow."
        )
