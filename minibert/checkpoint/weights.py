"""Weight files, opened but not read: names, shapes and dtypes at once, each tensor when it is needed.

No code of a checkpoint is executed: safetensors is plain data, a .bin (a pickle) is read by pickle_scan.py, which
cannot call anything, Google's bundles are read by tensorflow/, and ONNX files by onnx_weights.py.  Start with
:func:`open_weights`.
"""

import json
import mmap
import os
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minibert.checkpoint.adapter import AdapterSettings, LowRank, adapter_parts
from minibert.checkpoint.names import Names, Reading
from minibert.checkpoint.onnx_weights import OnnxWeights
from minibert.checkpoint.pickle_scan import BadPickle, describe_pickle
from minibert.checkpoint.tensorflow import find_bundle_prefix, read_tensor_bundle
from minibert.checkpoint.tensors import Weights, all_finite, dtype_name
from minibert.errors import CheckpointError, InputError, reason_of
from minibert.files import LARGEST_SETTINGS, is_file, read_json, without_repetition
from minibert.foreign import what_is, what_lies_in
from minibert.onnx_graph import find_onnx
from minibert.schema import shown
from minibert.source import ADAPTER, ONNX, Checkpoint, Source, Where

ALIGNMENT = 64  # bytes, torch's own: some matrix products round unaligned numbers differently
LARGE = 32 << 20  # bytes of a tensor; only word embeddings have more
BLOCK = 4 << 20
LARGEST_HEADER = 4 << 20  # bytes; bert-large's has 50 thousand
LONGEST_NAME = 1_000  # letters of a tensor's name; BERT's have sixty
MOST_TENSORS = 20_000  # bert-large with its optimizer's state has 1,200
DTYPES = {  # as safetensors calls them
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64,
    "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8, "BOOL": torch.bool,
}  # fmt: skip


class SafetensorsWeights(Weights):
    """One .safetensors file."""

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        try:
            self._header, self._start = check_header(path)
            file: Any = open_safetensors(path)
            self._names: list[str] = list(file.keys())
            self._file = file
        except (SafetensorError, OSError, ValueError, RecursionError) as error:
            known = what_is(path)
            advice = f"It is {known}" if known else "Download or copy it again."
            raise CheckpointError(f"{path} is not a whole safetensors file ({error}). {advice}") from error

    def names(self) -> list[str]:
        return self._names

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        entry = self._file.get_slice(name)
        name_in_file = entry.get_dtype()
        dtype = DTYPES.get(name_in_file)
        return tuple(entry.get_shape()), name_in_file if dtype is None else dtype_name(dtype)

    def tensor(self, name: str) -> Tensor:
        tensor: Tensor = self._file.get_tensor(name)
        return tensor

    def is_finite(self, name: str) -> bool:
        """As for any weights, but a large table is read in blocks and not mapped: a text uses few of its rows."""
        start, end = self._header[name]["data_offsets"]
        if end - start <= LARGE:
            return super().is_finite(name)
        dtype = self._file.get_slice(name)[:0].dtype
        block = bytearray(BLOCK)
        (path,) = self.files
        with path.open("rb") as file:
            file.seek(self._start + start)
            for position in range(start, end, BLOCK):
                size = file.readinto(memoryview(block)[: end - position])
                if not all_finite(torch.frombuffer(block, dtype=dtype, count=size // dtype.itemsize)):
                    return False
        return True


def open_safetensors(path: Path) -> Any:
    """The library's handle on a .safetensors file.  The library takes only paths in UTF-8; this takes all."""
    try:
        os.fspath(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            return safe_open(f"/proc/self/fd/{file.fileno()}", framework="pt")
    return safe_open(path, framework="pt")


def check_header(path: Path) -> tuple[dict[str, Any], int]:
    """The header, and the position of the first tensor's bytes.

    Raises ValueError for what the safetensors library accepts: headers of any length, repeated names.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
        if claimed > min(LARGEST_HEADER, size - 8):
            raise ValueError(
                f"it has {size:,} bytes and claims a header of {claimed:,}, expected at most {LARGEST_HEADER:,}"
            )
        return json.loads(file.read(claimed), object_pairs_hook=without_repetition), 8 + claimed


class PickleWeights(Weights):
    """One .bin file, as torch.save wrote it: a state dict, or a training checkpoint that holds one."""

    def __init__(self, path: Path) -> None:
        self.files = (path,)
        try:
            self._found = describe_pickle(path)
        except BadPickle as error:
            known = what_is(path)
            advice = f"It is {known}" if known else "Nothing in it was executed."
            raise CheckpointError(f"{path} cannot be used as a state dict: it {error}. {advice}") from error
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read ({reason_of(error)}).") from error
        self.holder = self._found.holder

    @cached_property
    def _mapped(self) -> mmap.mmap:
        """The file's bytes, copy-on-write: a change in memory does not reach the file."""
        (path,) = self.files
        try:
            with path.open("rb") as file:
                return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read ({error}). Copy or download it again.") from error

    def names(self) -> list[str]:
        return list(self._found.tensors)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        stored = self._found.tensors[name]
        return stored.shape, dtype_name(stored.storage.dtype)

    def tensor(self, name: str) -> Tensor:
        """The tensor, memory-mapped where its numbers are aligned, as torch has saved them since version 2.1."""
        stored = self._found.tensors[name]
        start, size = self._found.places[stored.storage.key]
        if not size:
            return torch.empty(stored.shape, dtype=stored.storage.dtype)
        if start + size > len(self._mapped):
            raise CheckpointError(f"{self.where} became shorter while it was read. Copy or download it again.")
        numbers = torch.frombuffer(self._mapped, dtype=stored.storage.dtype, count=stored.storage.count, offset=start)
        tensor = numbers.as_strided(stored.shape, stored.stride, stored.offset)
        return tensor if start % ALIGNMENT == 0 else tensor.clone()


class GivenWeights(Weights):
    """A state dict in memory, the argument of ``from_pretrained(state_dict=…)``.  Its tensors are copied."""

    files = ()

    def __init__(self, state: Mapping[str, Tensor]) -> None:
        if not isinstance(state, Mapping):
            raise InputError(f"state_dict is a {type(state).__name__}; expected names with their tensors.")
        for name, tensor in state.items():
            if not isinstance(name, str) or not isinstance(tensor, Tensor):
                entry = f"{shown(name)} with a {type(tensor).__name__}"
                raise InputError(f"state_dict holds {entry:.200}; expected names with their tensors.")
            if tensor.layout is not torch.strided or tensor.is_quantized:
                raise InputError(f"state_dict holds {name} as a {tensor.layout} tensor; expected dense numbers.")
        self._state = dict(state)

    @property
    def where(self) -> str:
        """For messages."""
        return "the state_dict that was given"

    def names(self) -> list[str]:
        return list(self._state)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        tensor = self._state[name]
        return tuple(tensor.shape), dtype_name(tensor.dtype)

    def tensor(self, name: str) -> Tensor:
        """A copy of the tensor on the CPU, without its gradient."""
        return self._state[name].detach().to("cpu", copy=True)


class BundleWeights(Weights):
    """Google's format: TensorFlow's index and data shards."""

    def __init__(self, prefix: Path) -> None:
        self._bundle = read_tensor_bundle(prefix)
        shards = (self._bundle.shard_path(number) for number in range(self._bundle.num_shards))
        self.files = (Path(f"{prefix}.index"), *shards)

    def names(self) -> list[str]:
        return list(self._bundle)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        entry = self._bundle.entries[name]
        return entry.shape, f"TensorFlow's {entry.tf_dtype}" if entry.dtype is None else dtype_name(entry.dtype)

    def tensor(self, name: str) -> Tensor:
        """The tensor, after its checksum was compared."""
        return self._bundle.tensor(name)


class ShardedWeights(Weights):
    """Several files and the index that lists their tensors: ``{"weight_map": {tensor: file}}``."""

    def __init__(self, index: Path, shards: dict[str, Weights], weight_map: dict[str, str]) -> None:
        self.files = (index, *(path for shard in shards.values() for path in shard.files))
        self._shards, self._weight_map = shards, weight_map
        self.holder = next((shard.holder for shard in shards.values()), "")
        names_of: dict[str, set[str]] = {file: set() for file in shards}
        for name, file in weight_map.items():
            names_of[file].add(name)
        for file, shard in shards.items():
            listed, held = names_of[file], set(shard.names())
            if lacking := sorted(listed - held):
                raise CheckpointError(f"{index.parent / file} lacks {lacking[0]}, which {index.name} says it holds.")
            if extra := sorted(held - listed):
                elsewhere = weight_map.get(extra[0])
                where = f"puts into {elsewhere}" if elsewhere else "does not list"
                raise CheckpointError(f"{index.parent / file} holds {extra[0]}, which {index.name} {where}.")

    def names(self) -> list[str]:
        return list(self._weight_map)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        return self._shards[self._weight_map[name]].describe(name)

    def tensor(self, name: str) -> Tensor:
        return self._shards[self._weight_map[name]].tensor(name)

    def is_finite(self, name: str) -> bool:
        return self._shards[self._weight_map[name]].is_finite(name)


class AdapterWeights(Weights):
    """A base checkpoint with an adapter of PEFT merged into it: W + scale · B · A (adapter.py), tensor by tensor.

    The names are the base's, and those of tensors that only the adapter has, such as a head's.
    """

    def __init__(self, base: Weights, adapter: Weights, settings: AdapterSettings) -> None:
        """Raises CheckpointError for an adapter that does not fit the base."""
        self.files = (*base.files, settings.path, *adapter.files)
        self._base, self._adapter, self._settings, self.holder = base, adapter, settings, base.holder
        self.settings, self.hint = base.settings, base.hint
        self._changed, self._replaced = adapter_parts(adapter.names(), adapter.where)
        self._readings = base.readings()
        known = {reading.ours: name for name, reading in self._readings.items()}
        for ours, matrices in self._changed.items():
            if ours not in known:
                raise CheckpointError(f"{adapter.where} changes {ours}, which {base.where} does not hold.")
            self._check_shapes(known[ours], matrices)
        self._ours = {name: reading.ours for name, reading in self._readings.items()}
        self._ours |= {ours: ours for ours in self._replaced if ours not in known}
        scales = sorted({self._scale(matrices) for matrices in self._changed.values()})
        self.note = (
            f"LoRA: {len(self._changed)} weights are W + s · B · A, s = {', '.join(f'{x:g}' for x in scales)}; "
            f"{len(self._replaced)} tensors are the adapter's own"
        )

    def _check_shapes(self, name: str, matrices: LowRank) -> None:
        """Raise CheckpointError unless B · A has the shape of the weight."""
        a, b = (self._adapter.describe(matrix) for matrix in (matrices.a, matrices.b))
        shape = self._base.describe(name)[0]
        expected = shape[::-1] if self._readings[name].transposed else shape
        if len(a[0]) != 2 or len(b[0]) != 2 or a[0][0] != b[0][1] or (b[0][0], a[0][1]) != expected:
            raise CheckpointError(
                f"{self._adapter.where}: {matrices.a} has shape {a[0]} and {matrices.b} {b[0]}, but {name} of "
                f"{self._base.where} has {shape}. The adapter was made for another checkpoint."
            )
        for matrix, (_, dtype) in ((matrices.a, a), (matrices.b, b)):
            if dtype not in ("float32", "float64", "float16", "bfloat16"):
                raise CheckpointError(
                    f"{self._adapter.where}: {matrix} holds {dtype}, expected floating-point numbers."
                )

    def _scale(self, matrices: LowRank) -> float:
        return self._settings.scale(matrices.module, self._adapter.describe(matrices.a)[0][0])

    def names(self) -> list[str]:
        return list(self._ours)

    def describe(self, name: str) -> tuple[tuple[int, ...], str]:
        ours = self._ours[name]
        if ours in self._replaced:
            shape, dtype = self._adapter.describe(self._replaced[ours])
            return shape[::-1] if self._is_transposed(name) else shape, dtype
        shape, dtype = self._base.describe(name)
        return shape, dtype if ours not in self._changed or dtype == "float64" else "float32"

    def readings(self) -> Names:
        """The base's, and the adapter's own tensors under our names."""
        readings = Names(
            {name: self._readings.get(name) or Reading(ours, (), False) for name, ours in self._ours.items()}
        )
        readings.prefixes = self._readings.prefixes
        return readings

    def why_unused(self, name: str) -> str | None:
        return self._base.why_unused(name) if name in self._readings else None

    def _is_transposed(self, name: str) -> bool:
        return name in self._readings and self._readings[name].transposed

    def tensor(self, name: str) -> Tensor:
        """The base's tensor, the adapter's, or the two merged, in float32 at least."""
        ours = self._ours[name]
        if ours in self._replaced:
            tensor = self._adapter.tensor(self._replaced[ours])
            return tensor.T if self._is_transposed(name) else tensor
        if ours not in self._changed:
            return self._base.tensor(name)
        matrices, weight = self._changed[ours], self._base.tensor(name)
        weight = weight if weight.dtype == torch.float64 else weight.float()
        a, b = (self._adapter.tensor(matrix).to(weight.dtype) for matrix in (matrices.a, matrices.b))
        change = (b @ a) * self._scale(matrices)  # in this order, as peft merges
        return weight + (change.T if self._is_transposed(name) else change)

    def is_finite(self, name: str) -> bool:
        is_base = self._ours[name] not in self._changed and self._ours[name] not in self._replaced
        return self._base.is_finite(name) if is_base else super().is_finite(name)


PICKLES = (".bin", ".pt", ".pth", ".tar", ".th")
SINGLE = {"model.safetensors": SafetensorsWeights, "pytorch_model.bin": PickleWeights}
# In order of preference: plain data before pickles.
NAMES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")


def open_weights(source: Source, where: Where | None = None, *, use_safetensors: bool | None = None) -> Weights:
    """The weights of a source: safetensors first, then .bin, whole or in shards, Google's own format, then ONNX.

    ``use_safetensors``: True takes no other format, False all others.  Raises CheckpointError when there are none, or
    when a file is broken.
    """
    return within_bounds(find_weights(Checkpoint.open(source, **(where or {})), use_safetensors))


def open_adapter(checkpoint: Checkpoint, base: Checkpoint, use_safetensors: bool | None) -> Weights:
    """The weights of ``base`` with those of an adapter merged into them; the adapter's are never a pickle."""
    settings, weights = checkpoint.own(ADAPTER), checkpoint.own("adapter_model.safetensors")
    assert settings is not None
    if weights is None:
        raise CheckpointError(
            f"{checkpoint} is an adapter of PEFT without adapter_model.safetensors; its weights are read from no other "
            "file. peft writes it: model.save_pretrained(FOLDER)."
        )
    read = AdapterSettings.read(settings)
    return AdapterWeights(find_weights(base, use_safetensors), within_bounds(SafetensorsWeights(weights)), read)


def as_weights(state: Mapping[str, Tensor] | Weights) -> Weights:
    """A state dict as weights; weights that :func:`open_weights` opened stay as they are."""
    return state if isinstance(state, Weights) else within_bounds(GivenWeights(state))


def within_bounds(weights: Weights) -> Weights:
    """``weights`` themselves; CheckpointError when they have more or longer names than any BERT."""
    names = weights.names()
    if len(names) > MOST_TENSORS or max(map(len, names), default=0) > LONGEST_NAME:
        raise CheckpointError(
            f"{weights.where} holds {len(names):,} tensors, the longest name of {max(map(len, names)):,} letters; "
            f"expected at most {MOST_TENSORS:,} and {LONGEST_NAME:,}: this is no checkpoint of a BERT."
        )
    return weights


def find_weights(checkpoint: Checkpoint, use_safetensors: bool | None) -> Weights:
    """The weights of a checkpoint, not yet checked by :func:`within_bounds`."""
    if checkpoint.file is not None and checkpoint.file.suffix != ".json":
        return open_file(checkpoint.file)
    names = [
        name for name in NAMES if use_safetensors is None or name.startswith("model.safetensors") is use_safetensors
    ]
    for name in names:
        path = checkpoint.own(name)
        if path is not None:
            return open_shards(path, checkpoint) if name.endswith(".json") else SINGLE[name](path)
    prefix = None if checkpoint.bert_folder is None else find_bundle_prefix(checkpoint.bert_folder)
    if prefix is not None and not use_safetensors:
        return BundleWeights(prefix)
    if checkpoint.base is not None:
        return open_adapter(checkpoint, checkpoint.base, use_safetensors)
    graph = None if use_safetensors else find_onnx(checkpoint)
    if graph is not None:
        return OnnxWeights(*graph)
    google = "" if use_safetensors else f", {', '.join(ONNX)} and TensorFlow's *.ckpt.index"
    raise CheckpointError(
        f"{os.fspath(checkpoint)} holds no weights; looked for {', '.join(names)}{google}."
        f"{what_lies_in(checkpoint)}{checkpoint.offline_note()}"
    )


def open_file(path: Path) -> Weights:
    """The weights in one file; its name tells the format."""
    exists = is_file(path)  # a bundle is named by the prefix that its files share, which may be no file
    if path.name.endswith(".safetensors"):
        return SafetensorsWeights(path)
    if path.suffix.lower() == ".onnx":
        return OnnxWeights(path)
    prefix = find_bundle_prefix(path)
    if prefix is not None:
        return BundleWeights(prefix)
    if path.suffix in PICKLES or (exists and path.suffix == ".ckpt"):
        return PickleWeights(path)
    if known := what_is(path):
        raise CheckpointError(f"{path} is {known}")
    raise CheckpointError(
        f"{path} is of no format that holds weights: .safetensors, {', '.join(PICKLES)} or .ckpt of torch, .onnx, "
        "or a TensorFlow *.ckpt."
    )


def open_shards(index: Path, checkpoint: Checkpoint) -> Weights:
    """The weights that an index lists; it may name only files in its own folder."""
    weight_map = read_json(index, largest=LARGEST_SETTINGS).get("weight_map")
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CheckpointError(f'{index} has no "weight_map" of tensors and the files they are in.')
    if not 1 <= len(weight_map) <= MOST_TENSORS:
        raise CheckpointError(f"{index} lists {len(weight_map):,} tensors, expected 1 to {MOST_TENSORS:,}.")
    shards = {}
    for file in dict.fromkeys(weight_map.values()):
        check_shard_name(index, file)
        path = checkpoint.own(file)  # a shard of the hub may still have to be fetched
        if path is None or path.parent != index.parent:
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
