"""TensorFlow's checkpoint format, the tensor bundle, read without TensorFlow.

A *bundle* is one index, ``bert_model.ckpt.index``, and one or more data shards,
``bert_model.ckpt.data-00000-of-00001``; the common part of their names, ``bert_model.ckpt``, is its *prefix*.  The
index has the shard and the position of each tensor's raw little-endian bytes, and their CRC-32C.  Start with
``TensorBundle.tensor``, then index.py.

Written from tensorflow/core/util/tensor_bundle/{tensor_bundle.h,naming.cc}.  TensorFlow also
reads strings, partitioned variables and big-endian bundles, which are refused here.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from minibert.checkpoint.tensorflow.crc32c import crc32c, unmask
from minibert.checkpoint.tensorflow.index import TensorEntry, read_index
from minibert.checkpoint.tensorflow.sstable import MAX_TABLE_BYTES
from minibert.errors import CheckpointError
from minibert.files import refuse_pointer


class TensorBundle(Mapping[str, Tensor]):
    """The tensors of a checkpoint by name, each read from disk when it is needed, in the order of their names' bytes.

    ``bundle.entries[name]`` gives dtype and shape without reading; ``bundle[name]`` is ``bundle.tensor(name)``.
    No file stays open between reads, and nothing is cached.
    """

    def __init__(self, prefix: Path, num_shards: int, entries: Mapping[str, TensorEntry]) -> None:
        self.prefix = prefix
        self.num_shards = num_shards
        self.entries = entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __contains__(self, name: object) -> bool:
        return name in self.entries  # Mapping's own would read the tensor to find out

    def __getitem__(self, name: str) -> Tensor:
        return self.tensor(name)

    def __repr__(self) -> str:
        return f"TensorBundle({str(self.prefix)!r}: {len(self)} tensors, shards: {self.num_shards})"

    def shard_path(self, shard: int) -> Path:
        """The path of the data file number ``shard``."""
        return Path(f"{self.prefix}.data-{shard:05d}-of-{self.num_shards:05d}")

    def tensor(self, name: str, *, verify: bool = True) -> Tensor:
        """The tensor ``name`` with its entry's dtype and shape, in memory of its own.

        verify: compare its bytes with the CRC-32C in the index, at hundreds of MB/s.

        Raises KeyError for an unknown name; CheckpointError when the tensor cannot be read here, or when its bytes
        are not those that were written.
        """
        entry = self.entries[name]
        if entry.is_partitioned:
            raise CheckpointError(
                f"{self.prefix}: the variable {name!r} was saved in partitions, which minibert does not join. Save "
                "the checkpoint again without a partitioner."
            )
        if entry.dtype is None:
            raise CheckpointError(
                f"{self.prefix}: {name!r} has TensorFlow's dtype {entry.tf_dtype}, which no weight of a BERT has and "
                "minibert does not read. Leave it out."
            )
        path = self.shard_path(entry.shard)
        # Read, not memory-mapped: the checked bytes cannot change afterwards, and a file that shrinks meanwhile gives
        # an error instead of a SIGBUS.
        data = _read_range(path, entry.offset, entry.size)
        if verify and (computed := crc32c(data)) != (expected := unmask(entry.masked_crc32c)):
            raise CheckpointError(
                f"{path}: the {entry.size} bytes of {name!r} have the CRC-32C {computed:#010x}, expected "
                f"{expected:#010x}. The file is damaged; fetch it again."
            )
        if not data:
            return torch.empty(entry.shape, dtype=entry.dtype)
        if entry.dtype == torch.bool and max(data) > 1:  # undefined behaviour in torch
            raise CheckpointError(f"{path}: {name!r} is of dtype bool and holds the byte {max(data)}, expected 0 or 1.")
        return torch.frombuffer(data, dtype=entry.dtype).view(entry.shape)


def read_tensor_bundle(prefix: str | os.PathLike[str]) -> TensorBundle:
    """Read the index of the bundle ``prefix``, and check that its shards exist and are long enough.

    prefix: the path without ``.index``; ``find_bundle_prefix`` finds it.

    Raises CheckpointError when a file is missing, damaged or unsupported.  The values are read, and their checksums
    compared, later and tensor by tensor.
    """
    prefix = Path(prefix)
    index_path = Path(f"{prefix}.index")
    size = _file_size(index_path)
    if size > MAX_TABLE_BYTES:
        raise CheckpointError(
            f"{index_path} has {size:,} bytes, expected at most {MAX_TABLE_BYTES:,}: the index of a BERT checkpoint "
            "has some thousands. Give the prefix of a bundle whose .index is one."
        )
    num_shards, entries = read_index(bytes(_read_range(index_path, 0, size)), index_path)
    bundle = TensorBundle(prefix, num_shards, entries)
    ends: dict[int, int] = {}
    for entry in entries.values():
        if not entry.is_partitioned:
            ends[entry.shard] = max(ends.get(entry.shard, 0), entry.offset + entry.size)
    for shard, end in ends.items():
        path = bundle.shard_path(shard)
        size = _file_size(path)
        if size < end:
            raise CheckpointError(
                f"{path} has {size:,} bytes, expected at least {end:,} from what {index_path.name} says. It is "
                "incomplete, or belongs to another checkpoint; fetch both again."
            )
    return bundle


def find_bundle_prefix(path: str | os.PathLike[str]) -> Path | None:
    """The prefix of the bundle that ``path`` means, or None when there is none.

    path: a folder that holds one bundle, a prefix such as ``bert_model.ckpt``, or one of a bundle's files.

    Raises CheckpointError when a folder holds several, or cannot be listed.
    """
    path = Path(path)
    if not path.is_dir():
        stem, _, shard = path.name.rpartition(".data-")
        name = stem if "-of-" in shard else path.name.removesuffix(".index")
        prefix = path.parent / name
        return prefix if name and Path(f"{prefix}.index").is_file() else None
    try:
        names = sorted(file.name for file in path.iterdir() if file.is_file())
    except OSError as error:
        raise CheckpointError(f"The folder {path} cannot be listed ({error}).") from error
    stems = [name.removesuffix(".index") for name in names if name.endswith(".index")]
    # Other programs write *.index files, too; without a shard beside it, only a ".ckpt" is certainly TensorFlow's.
    stems = [stem for stem in stems if ".ckpt" in stem or any(name.startswith(f"{stem}.data-") for name in names)]
    if len(stems) > 1:
        listed = ", ".join(stems[:8]) + (", …" if len(stems) > 8 else "")
        raise CheckpointError(
            f"{path} holds {len(stems)} TensorFlow checkpoints ({listed}), expected one. Name the one you mean, for "
            f"example {path / stems[-1]}."
        )
    return path / stems[0] if stems else None


def _file_size(path: Path) -> int:
    """The size of a regular file in bytes."""
    if not path.is_file():
        raise CheckpointError(
            f"{path} does not exist or is not a file. A TensorFlow checkpoint is an .index file and all its .data "
            "files side by side; fetch the missing one."
        )
    refuse_pointer(path)
    try:
        return path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error}).") from error


def _read_range(path: Path, offset: int, size: int) -> bytearray:
    """The ``size`` bytes of ``path`` from ``offset`` on."""
    try:
        data = bytearray(size)
        with path.open("rb") as file:
            file.seek(offset)
            count = file.readinto(data)
    except (OSError, MemoryError, OverflowError) as error:
        raise CheckpointError(f"{path}: {size:,} bytes from byte {offset:,} on cannot be read ({error!r}).") from error
    if count != size:
        raise CheckpointError(f"{path} ends within the {size:,} bytes from byte {offset:,} on. Fetch it again.")
    return data
