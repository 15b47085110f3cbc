"""Hostile safetensors files, indexes of shards, and Google bundles."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.checkpoint.hostile import (
    Spoil,
    add,
    change,
    cut,
    directory,
    in_turn,
    index_of,
    link,
    pipe,
    raw_safetensors,
    remove,
    sparse,
    take_apart,
    weight_map_of,
    write,
    write_index,
)

FILE = "model.safetensors"
WORD = "embeddings.word_embeddings.weight"
Header = dict[str, Any]


def edit(how: Callable[[Header], Header | None]) -> Spoil:
    """Change the header, leave the numbers."""

    def spoil(folder: Path) -> None:
        header, data = take_apart(folder / FILE)
        (folder / FILE).write_bytes(raw_safetensors(how(header) or header, data))

    return spoil


def entry(**changes: Any) -> Spoil:
    """Change what the header says about the word embeddings, which are its first tensor: bytes 0 to 352."""
    return edit(lambda header: header[WORD].update(changes))


def flip(content: bytes, seed: int) -> bytes:
    """One bit of the header, or of its length, flipped."""
    end = 8 + struct.unpack("<Q", content[:8])[0]
    position = random.Random(seed).randrange(end * 8)
    changed = bytearray(content)
    changed[position // 8] ^= 1 << position % 8
    return bytes(changed)


for seed in range(20):
    add(f"safetensors-cut-{seed}", "safetensors", cut(FILE, seed), FILE, "whole safetensors file")
    add(f"safetensors-flip-{seed}", "safetensors", change(FILE, lambda c, seed=seed: flip(c, seed)), FILE, "")
for name, content, words in (
    ("empty", b"", "0 bytes"),
    ("7-bytes", bytes(7), "7 bytes"),
    ("8-bytes", bytes(8), "whole safetensors"),
    ("header-2e63", struct.pack("<Q", 1 << 63) + b"{}", "header of 9,223,372,036,854,775,808"),
    ("header-2e64", b"\xff" * 8 + b"{}", "header of 18,446,744,073,709,551,615"),
    ("not-json", raw_safetensors(b"hello bert", b""), "whole safetensors"),
    ("not-utf-8", raw_safetensors(b'{"\xff\xfe": 1}', b""), "whole safetensors"),
    ("a-list", raw_safetensors([1], b""), "whole safetensors"),
    ("deep", raw_safetensors(b'{"a":' * 100_000, b""), "whole safetensors"),
    ("a-zip", b"PK\x03\x04" + bytes(100), "header"),
    ("a-pickle", b"\x80\x02}q\x00." + bytes(100), "header"),
    ("no-tensors", raw_safetensors({}, b""), "0 layers"),
    ("only-numbers", raw_safetensors({}, bytes(64)), "whole safetensors"),
):
    add(f"safetensors-{name}", "safetensors", write(FILE, content), FILE, words)
add("safetensors-header-1-GB", "safetensors", sparse(FILE, (1 << 30) + 8, struct.pack("<Q", 1 << 30) + b"{"), FILE,
    "header of 1,073,741,824")  # fmt: skip
many = {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(30_000)}
add("safetensors-30k-tensors", "safetensors", write(FILE, raw_safetensors(many, b"")), FILE, "30,000 tensors")
named = {"module." * 100_000: many["t0"]}
add("safetensors-a-long-name", "safetensors", write(FILE, raw_safetensors(named, b"")), FILE, "700,000 letters")

for name, changes, words in (
    ("negative-offset", {"data_offsets": [-4, 348]}, "whole safetensors"),
    ("overlap", {"data_offsets": [4, 356]}, "whole safetensors"),
    ("backwards", {"data_offsets": [352, 0]}, "whole safetensors"),
    ("outside", {"data_offsets": [0, 1 << 40]}, "whole safetensors"),
    ("beyond-64-bits", {"data_offsets": [0, 1 << 70]}, "whole safetensors"),
    ("offsets-as-text", {"data_offsets": ["0", "352"]}, "whole safetensors"),
    ("three-offsets", {"data_offsets": [0, 4, 352]}, "whole safetensors"),
    ("unknown-dtype", {"dtype": "F33"}, "whole safetensors"),
    ("dtype-null", {"dtype": None}, "whole safetensors"),
    ("shape-too-small", {"shape": [10, 8]}, "whole safetensors"),
    ("shape-too-large", {"shape": [12, 8]}, "whole safetensors"),
    ("shape-huge", {"shape": [1 << 62, 1 << 62]}, "whole safetensors"),
    ("shape-beyond-64-bits", {"shape": [1 << 70]}, "whole safetensors"),
    ("shape-negative", {"shape": [-11, -8]}, "whole safetensors"),
    ("shape-fraction", {"shape": [11.0, 8.0]}, "whole safetensors"),
    ("shape-null", {"shape": None}, "whole safetensors"),
    ("shape-swapped", {"shape": [8, 11]}, "(8, 11)"),
    ("shape-flat", {"shape": [88]}, "(88,)"),
    ("shape-of-many-ones", {"shape": [1] * 200 + [11, 8]}, "has shape"),
    ("int32", {"dtype": "I32"}, "holds int32"),
    ("uint32", {"dtype": "U32"}, "holds U32"),
    ("float16-of-half-the-size", {"dtype": "F16"}, "whole safetensors"),
    ("int64", {"dtype": "I64", "shape": [11, 4]}, "holds int64"),
    ("bool", {"dtype": "BOOL", "shape": [11, 32]}, "holds bool"),
    ("float8", {"dtype": "F8_E4M3", "shape": [11, 32]}, "holds F8_E4M3"),
    ("complex64", {"dtype": "C64", "shape": [11, 4]}, "holds C64"),
):
    add(f"safetensors-tensor-{name}", "safetensors", entry(**changes), FILE, words)


def renamed(new: str, old: str = WORD) -> Spoil:
    return edit(lambda header: {new if name == old else name: value for name, value in header.items()})


QUERY = "encoder.layer.1.attention.self.query.weight"
add("safetensors-tensor-list", "safetensors", edit(lambda h: h.update({WORD: [1]})), FILE, "whole safetensors")
add("safetensors-tensor-renamed", "safetensors", renamed("x"), FILE, "lacks 1 of the 39", WORD)
add("safetensors-tensor-escape", "safetensors", renamed("\x1b[2J\x1b]0;x\x07\0"), FILE, "lacks 1 of the 39")
add("safetensors-layer-of-5000-digits", "safetensors", renamed(QUERY.replace("1", "9" * 5000), QUERY), FILE, "letters")
add("safetensors-layer-of-900-digits", "safetensors", renamed(QUERY.replace("1", "9" * 900), QUERY), FILE, "3 layers")
add("safetensors-layer-billion", "safetensors", renamed(QUERY.replace("1", "999999999"), QUERY), FILE, "3 layers")
add("safetensors-two-dialects", "safetensors", renamed(f"module.bert.{WORD}", QUERY), FILE, "two tensors")
add("safetensors-trailing-bytes", "safetensors", change(FILE, lambda c: c + b"x"), FILE, "whole safetensors")


def repeat_name(content: bytes) -> bytes:
    """The first tensor's name twice in the header."""
    length = struct.unpack("<Q", content[:8])[0]
    header = content[8 : 8 + length]
    first = header[: header.index(b"}") + 1]
    return raw_safetensors(first + b", " + header[1:], content[8 + length :])


add("safetensors-repeated-name", "safetensors", change(FILE, repeat_name), FILE, "it has the key ")


def with_more(name: str, kind: str, shape: list[int], data: bytes) -> Spoil:
    """One more tensor."""

    def spoil(folder: Path) -> None:
        header, numbers = take_apart(folder / FILE)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [len(numbers), len(numbers) + len(data)]}
        (folder / FILE).write_bytes(raw_safetensors(header, numbers + data))

    return spoil


POSITIONS = "embeddings.position_ids"
add("safetensors-second-words", "safetensors", with_more(f"bert.{WORD}", "F32", [1], bytes(4)), FILE, "two tensors")
for kind, size in (("BOOL", 1), ("F8_E5M2", 1), ("C64", 8), ("U8", 1)):
    spoil = with_more(POSITIONS, kind, [1, 10], bytes(10 * size))
    add(f"positions-{kind}", "safetensors", spoil, FILE, POSITIONS, "expected whole numbers")
add("positions-reversed", "safetensors", with_more(POSITIONS, "I64", [2], bytes(16)), FILE, POSITIONS, "is not 0, 1, 2")

thin = {f"encoder.layer.{n}.output.dense.bias": many["t0"] for n in range(15_000)}
as_deep = in_turn(write("config.json", '{"num_hidden_layers": 15000}'), write(FILE, raw_safetensors(thin, b"")))
add("safetensors-15k-thin-layers", "safetensors", as_deep, FILE, "15000 layers", "16")


# ── shards ───────────────────────────────────────────────────────────────────────────────────────


def listing(how: Callable[[dict[str, Any], Path], object]) -> Spoil:
    """Replace the weight_map by what ``how`` makes of it, or by what it did to it."""

    def spoil(folder: Path) -> None:
        weight_map: dict[str, Any] = weight_map_of(folder)
        result = how(weight_map, folder)
        write_index(folder, weight_map if result is None else result)

    return spoil


def whole(content: bytes | str) -> Spoil:
    """Replace the index."""
    return lambda folder: write(index_of(folder).name, content)(folder)


for form, index, suffix in (
    ("shards", "model.safetensors.index.json", ".safetensors"),
    ("bin_shards", "pytorch_model.bin.index.json", ".bin"),
):
    first = f"{index.split('.')[0]}-0{suffix}"
    for name, place in (
        ("above", "../x"),
        ("above-with-suffix", f"../outside{suffix}"),
        ("absolute", "/etc/passwd"),
        ("absolute-with-suffix", f"/tmp/outside{suffix}"),
        ("inside", f"a/b{suffix}"),
        ("backslashes", f"..\\x{suffix}"),
        ("empty", ""),
        ("dot", "."),
        ("two-dots", ".."),
        ("nul", f"x\0{suffix}"),
        ("escape", f"\x1b[2J{suffix}"),
        ("index-itself", index),
        ("config", "config.json"),
        ("very-long", "x" * 5000 + suffix),
        ("url", f"https://example.org/x{suffix}"),
        ("home", f"~/x{suffix}"),
        ("missing", f"nowhere{suffix}"),
    ):
        words = {"missing": "not there", "escape": "not there", "very-long": "too long"}.get(name, "not safe")
        file = "x" * 100 if name == "very-long" else index
        add(f"{form}-place-{name}", form, listing(lambda m, _, p=place: m.update(dict.fromkeys(list(m)[:1], p))), file,
            words)  # fmt: skip
    for name, value, words in (
        ("null", None, "has no"),
        ("list", [["a", "b"]], "has no"),
        ("numbers", {"a": 1}, "has no"),
        ("nested", {"a": {"b": first}}, "has no"),
        ("empty", {}, "lists 0 tensors"),
        ("100k", {f"t{n}": f"m{n}{suffix}" for n in range(100_000)}, "100,000 tensors"),
        ("20k-shards", {f"t{n}": f"m{n}{suffix}" for n in range(20_000)}, "not there"),
    ):
        add(f"{form}-map-{name}", form, lambda folder, v=value: write_index(folder, v), index, words)
    for name, content in (("empty", b""), ("binary", bytes(range(256))), ("list", b"[]"), ("deep", b"[" * 99_999)):
        add(f"{form}-index-{name}", form, whole(content), index, "JSON")
    add(f"{form}-index-repeated-name", form, whole('{"weight_map": {"a": "b", "a": "c"}}'), index, "twice")
    add(f"{form}-index-a-folder", form, lambda f, i=index: directory(i)(f), index, "is a folder")
    add(f"{form}-index-a-pipe", form, lambda f, i=index: pipe(i)(f), index, "a pipe")
    add(f"{form}-index-8-MB", form, sparse(index, 8 << 20, b'{"weight_map": {}}'), index, "8,388,608 bytes")
    add(f"{form}-shard-missing", form, remove(first), first, "not there")
    add(f"{form}-shard-cut", form, cut(first, 1), first, "")
    add(f"{form}-shard-a-folder", form, directory(first), first, "is a folder")
    add(f"{form}-shard-a-pipe", form, pipe(first), first, "a pipe or a device")
    add(f"{form}-shard-linked-to-zero", form, link(first, "/dev/zero"), first, "a pipe or a device")
    add(f"{form}-shard-linked-to-itself", form, link(first, first), first, "a link to nothing")

    def linked_outside(folder: Path, first: str = first) -> None:
        (folder / first).rename(folder.parent / "outside")
        (folder / first).symlink_to("../outside")

    def linked_to_blobs(folder: Path, first: str = first) -> None:
        """The places of the hub's cache, in a folder that is not the hub's cache."""
        (folder.parent.parent / "blobs").mkdir(exist_ok=True)
        outside = folder.parent.parent / "blobs" / f"{folder.parent.name}-x"
        (folder / first).rename(outside)
        (folder / first).symlink_to(outside)

    add(f"{form}-shard-linked-outside", form, linked_outside, first, "outside the checkpoint")
    add(f"{form}-shard-linked-to-blobs", form, linked_to_blobs, first, "outside the checkpoint")
    add(f"{form}-shard-linked-to-passwd", form, link(first, "/etc/passwd"), first, "outside the checkpoint")
    add(f"{form}-tensor-absent", form, listing(lambda m, _, f=first: m.update({"\x1b[2Jx": f})), first, "lacks")
    add(f"{form}-tensor-not-listed", form, listing(lambda m, _: void_pop(m, WORD)), index, "does not list")
    add(f"{form}-tensor-elsewhere", form, listing(lambda m, _, f=first: m.update({WORD: f})), first, "lacks")


def void_pop(weight_map: dict[str, Any], name: str) -> None:
    del weight_map[name]


def in_both(folder: Path) -> None:
    header, data = take_apart(folder / "model-0.safetensors")
    header[WORD] = {"dtype": "F32", "shape": [1], "data_offsets": [len(data), len(data) + 4]}
    (folder / "model-0.safetensors").write_bytes(raw_safetensors(header, data + bytes(4)))


def in_both_bins(folder: Path) -> None:
    state = torch.load(folder / "pytorch_model-0.bin")
    torch.save(state | {WORD: torch.zeros(1)}, folder / "pytorch_model-0.bin")


add("shards-tensor-in-both", "shards", in_both, "model-0.safetensors", "puts into model-1")
add("bin_shards-tensor-in-both", "bin_shards", in_both_bins, "pytorch_model-0.bin", "puts into pytorch_model-1")
add("shards-swapped", "shards", listing(lambda m, _: {k: f"model-{1 - int(v[6])}.safetensors" for k, v in m.items()}),
    "model-", "lacks")  # fmt: skip


# ── Google's; tensorflow/test_hostile_bundle.py has hundreds more ────────────────────────────────────

INDEX, DATA = "bert_model.ckpt.index", "bert_model.ckpt.data-00000-of-00001"
for seed in range(8):
    add(f"google-index-cut-{seed}", "google", cut(INDEX, seed), INDEX, "cannot be read as the index")
    add(f"google-data-cut-{seed}", "google", cut(DATA, seed), DATA, "incomplete")
add("google-index-empty", "google", write(INDEX, b""), INDEX, "0 bytes")
add("google-index-text", "google", write(INDEX, b"bert" * 100), INDEX, "ends with the number")
add("google-index-1-GB", "google", sparse(INDEX, 1 << 30), INDEX, "1,073,741,824 bytes")
add("google-index-a-folder", "google", directory(INDEX), "google-index-a-folder", "holds no weights")
add("google-index-a-pipe", "google", pipe(INDEX), "google-index-a-pipe", "holds no weights")
add("google-data-missing", "google", remove(DATA), DATA, "does not exist")
add("google-data-a-folder", "google", directory(DATA), DATA, "not a file")
add("google-data-a-pipe", "google", pipe(DATA), DATA, "not a file")
add("google-data-a-device", "google", link(DATA, "/dev/zero"), DATA, "not a file")
add("google-data-flipped", "google", change(DATA, lambda c: bytes([c[0] ^ 1]) + c[1:]), DATA, "CRC-32C")
add("google-config-of-another", "google", write("bert_config.json", json.dumps({"num_hidden_layers": 2})), INDEX,
    "has shape")  # fmt: skip
