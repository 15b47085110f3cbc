"""Broken and hostile checkpoints, made one by one from good ones; test_hostile.py opens them all.

A *case* is a function that spoils a good checkpoint in a folder, and the words that the sentence about it must have.
The good ones are tiny and come in seven formats; the cases stand in hostile_settings.py, hostile_tensors.py,
hostile_pickles.py and hostile_onnx.py, and the small writers that make what no library would write, here.
"""

import json
import os
import random
import shutil
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minibert import BertConfig, BertModel
from tests.support.onnx_models import GraphOfBert

GOOGLE = Path(__file__).parent / "google"
FORMATS = ("safetensors", "bin", "legacy", "shards", "bin_shards", "google", "onnx")
Spoil = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """One hostile checkpoint."""

    name: str
    format: str  # of the good checkpoint that is spoilt
    spoil: Spoil
    file: str  # which the sentence must name
    words: tuple[str, ...]  # that it must have; of words joined by "|" any


CASES: dict[str, Case] = {}


def add(name: str, form: str, spoil: Spoil, file: str, *words: str) -> None:
    """Enter a case."""
    assert name not in CASES, name
    CASES[name] = Case(name, form, spoil, file, words)


# ── good checkpoints ─────────────────────────────────────────────────────────────────────────────

TINY = {
    "model_type": "bert", "vocab_size": 11, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12, "max_position_embeddings": 10,
}  # fmt: skip


def make_good(folder: Path, form: str) -> None:
    """Write a good checkpoint of the format ``form`` into ``folder``."""
    if form == "google":
        shutil.copytree(GOOGLE, folder)
        return
    torch.manual_seed(0)
    if form == "onnx":
        folder.mkdir(parents=True)
        write_config(folder, {})
        (folder / "model.onnx").write_bytes(GraphOfBert(BertModel(BertConfig(**TINY))).build().SerializeToString())
        return
    state = BertModel(BertConfig(**TINY)).state_dict()
    folder.mkdir(parents=True)
    write_config(folder, {})
    first = {name: tensor for name, tensor in state.items() if "layer" in name}
    parts = (first, {name: tensor for name, tensor in state.items() if name not in first})
    if form == "safetensors":
        write_state(folder / "model.safetensors", state)
    elif form in ("bin", "legacy"):
        torch.save(state, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "bin")
    else:
        kind = "model-{}.safetensors" if form == "shards" else "pytorch_model-{}.bin"
        for number, part in enumerate(parts):
            path = folder / kind.format(number)
            write_state(path, part) if form == "shards" else torch.save(part, path)
        weight_map = {name: kind.format(number) for number, part in enumerate(parts) for name in part}
        write_index(folder, weight_map)


def write_config(folder: Path, changes: dict[str, Any]) -> None:
    """The tiny config with ``changes``."""
    (folder / "config.json").write_text(json.dumps(TINY | changes))


def index_of(folder: Path) -> Path:
    """The index of a folder with shards."""
    return next(folder.glob("*.index.json"))


def write_index(folder: Path, weight_map: object) -> None:
    """An index with ``weight_map`` for the shards in ``folder``."""
    bins = (folder / "pytorch_model-0.bin").exists()
    name = "pytorch_model.bin.index.json" if bins else "model.safetensors.index.json"
    (folder / name).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": weight_map}))


def weight_map_of(folder: Path) -> dict[str, str]:
    """The weight_map in ``folder``."""
    weight_map: dict[str, str] = json.loads(index_of(folder).read_text())["weight_map"]
    return weight_map


# ── safetensors, by hand ─────────────────────────────────────────────────────────────────────────


def raw_safetensors(header: object, data: bytes, *, length: int | None = None) -> bytes:
    """A file with any header: bytes, or something for JSON."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def write_state(path: Path, state: dict[str, torch.Tensor]) -> None:
    """A whole file, without metadata, so that every byte of the header means something."""
    header, data = {}, b""
    for name, tensor in state.items():
        numbers = tensor.float().numpy().tobytes()
        offsets = [len(data), len(data) + len(numbers)]
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": offsets}
        data += numbers
    path.write_bytes(raw_safetensors(header, data))


def take_apart(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the numbers of a safetensors file."""
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


# ── pickles, instruction by instruction ──────────────────────────────────────────────────────────


def text(value: str) -> bytes:
    """BINUNICODE."""
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    """LONG1."""
    content = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


def together(*parts: bytes) -> bytes:
    """MARK … TUPLE."""
    return b"(" + b"".join(parts) + b"t"


def word(name: str) -> bytes:
    """GLOBAL: the name of something to import, ``module.name``."""
    return b"c" + "\n".join(name.rsplit(".", 1)).encode() + b"\n"


def called(function: str, *arguments: bytes) -> bytes:
    """REDUCE."""
    return word(function) + together(*arguments) + b"R"


def mapping(*items: bytes) -> bytes:
    """EMPTY_DICT with alternating keys and values."""
    return b"}(" + b"".join(items) + b"u"


def program(value: bytes) -> bytes:
    """A whole pickle."""
    return b"\x80\x02" + value + b"."


def tensor(
    count: int, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], key: str = "0", kind: str = "FloatStorage"
) -> bytes:
    """A tensor as torch pickles it."""
    storage = together(text("storage"), word(f"torch.{kind}"), text(key), text("cpu"), number(count)) + b"Q"
    sizes, steps = together(*map(number, shape)), together(*map(number, stride))
    hooks = called("collections.OrderedDict")
    return called("torch._utils._rebuild_tensor_v2", storage, number(offset), sizes, steps, b"\x89", hooks)


def zip_of(pickled: bytes, storages: dict[str, bytes], **more: bytes) -> Callable[[Path], None]:
    """Writes pytorch_model.bin as torch would; ``more`` are further entries, ``__`` for ``/`` in their names."""

    def write(folder: Path) -> None:
        with zipfile.ZipFile(folder / "pytorch_model.bin", "w") as archive:
            archive.writestr("archive/data.pkl", pickled)
            archive.writestr("archive/version", b"3\n")
            for key, content in storages.items():
                archive.writestr(f"archive/data/{key}", content)
            for name, content in more.items():
                archive.writestr(name.replace("__", "/"), content)

    return write


# ── ways to spoil a file ─────────────────────────────────────────────────────────────────────────


def write(name: str, content: bytes | str) -> Spoil:
    """Replace a file."""
    return lambda folder: void((folder / name).write_bytes(content if isinstance(content, bytes) else content.encode()))


def change(name: str, how: Callable[[bytes], bytes]) -> Spoil:
    """Rewrite a file."""
    return lambda folder: void((folder / name).write_bytes(how((folder / name).read_bytes())))


def cut(name: str, seed: int) -> Spoil:
    """Truncate a file at a random byte."""
    return change(name, lambda content: content[: random.Random(seed).randrange(len(content))])


def remove(name: str) -> Spoil:
    """Remove a file."""
    return lambda folder: (folder / name).unlink()


def link(name: str, target: str | Path) -> Spoil:
    """Put a link in the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return spoil


def pipe(name: str) -> Spoil:
    """Put a pipe in the place of a file: whoever opens it waits for ever."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return spoil


def directory(name: str) -> Spoil:
    """Put a folder in the place of a file."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir()

    return spoil


def sparse(name: str, size: int, start: bytes = b"") -> Spoil:
    """A file of ``size`` bytes, zeros after ``start``, that takes no room on the disk."""

    def spoil(folder: Path) -> None:
        with (folder / name).open("wb") as file:
            file.write(start)
            file.truncate(size)

    return spoil


def in_turn(*spoils: Spoil) -> Spoil:
    """One after the other."""
    return lambda folder: void([spoil(folder) for spoil in spoils])


def void(_: object) -> None:
    """Forget a result."""
