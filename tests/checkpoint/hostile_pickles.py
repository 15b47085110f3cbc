"""Hostile .bin files: programs that want to run, to fill the memory, or to read elsewhere."""

import json
import os
import pickle
import random
import struct
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tests.checkpoint.hostile import (
    Spoil,
    add,
    called,
    change,
    cut,
    directory,
    mapping,
    number,
    pipe,
    program,
    sparse,
    tensor,
    text,
    together,
    word,
    write,
    zip_of,
)

FILE = "pytorch_model.bin"
WORD = "embeddings.word_embeddings.weight"
NUMBERS = {"0": bytes(88 * 4)}
REASON = "cannot be used as a state dict"


class Calls:
    """Pickles into a call of ``function``."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


def runs(make: Callable[[str], object], **how: Any) -> Spoil:
    """A .bin whose state dict holds what ``make`` makes of the path of a marker that it is to write."""

    def spoil(folder: Path) -> None:
        state = {WORD: torch.zeros(11, 8), "x": make(str(folder.parent / "executed"))}
        torch.save(state, folder / FILE, **how)

    return spoil


for form, how in (("zip", {}), ("legacy", {"_use_new_zipfile_serialization": False})):
    for name, make in (
        ("os-system", lambda marker: Calls(os.system, f"touch {marker}")),
        ("eval", lambda marker: Calls(eval, f"open({marker!r}, 'w')")),
        ("exec", lambda marker: Calls(exec, f"open({marker!r}, 'w')")),
        ("popen", lambda marker: Calls(subprocess.Popen, ["touch", marker])),
        ("mkdir", lambda marker: Calls(os.mkdir, marker)),
        ("open", lambda marker: Calls(open, marker, "w")),
        ("getattr", lambda marker: Calls(getattr, marker, "upper")),
        ("torch-load", lambda marker: Calls(torch.load, marker)),
        ("torch-save", lambda marker: Calls(torch.save, 1, marker)),
    ):
        add(f"pickle-{form}-{name}", "bin", runs(make, **how), FILE, "asks for", "Nothing in it was executed")

    def saved(value: Callable[[], object], how: dict[str, Any] = how) -> Spoil:
        return lambda folder: torch.save(value(), folder / FILE, **how)

    for name, value, words in (
        ("module", lambda: torch.nn.Linear(2, 2), "asks for|describes a storage"),
        ("tensor", lambda: torch.zeros(2), "not a state dict"),
        ("list", lambda: [torch.zeros(2)], "holds a list"),
        ("number", lambda: 7, "holds a int"),
        ("none", lambda: None, "holds a NoneType"),
        ("training-state", lambda: {"model": {WORD: torch.zeros(2)}, "epoch": 3}, "0 layers"),
        ("number-inside", lambda: {WORD: torch.zeros(11, 8), "epoch": 3}, "'epoch' is a int"),
        ("names-are-numbers", lambda: {0: torch.zeros(2)}, "name of a tensor"),
        ("names-are-tuples", lambda: {("a",): torch.zeros(2)}, "name of a tensor"),
        ("sparse", lambda: {WORD: torch.eye(3).to_sparse()}, "asks for"),
        ("sparse-rows", lambda: {WORD: torch.eye(3).to_sparse_csr()}, "asks for"),
        ("quantized", lambda: {WORD: torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8)}, "asks for"),
        ("complex", lambda: {WORD: torch.zeros(11, 8, dtype=torch.complex64)}, "asks for torch.ComplexFloatStorage"),
        ("float8", lambda: {WORD: torch.zeros(11, 8).to(torch.float8_e4m3fn)}, "asks for"),
        ("integers", lambda: {WORD: torch.zeros(11, 8, dtype=torch.int64)}, "0 layers"),
        ("meta", lambda: {WORD: torch.zeros(2, device="meta")}, "asks for"),
        ("numpy", lambda: {WORD: torch.zeros(2).numpy()}, "asks for"),
        ("storage", lambda: {WORD: torch.zeros(2).untyped_storage()}, "asks for torch.storage|is a Storage"),
        ("expanded", lambda: {WORD: torch.zeros(1).expand(11, 8)}, "was expanded"),
        ("expanded-a-million-times", lambda: {WORD: torch.zeros(1).expand(1 << 20, 1 << 20)}, "was expanded"),
        ("overlapping", lambda: {WORD: torch.zeros(20).as_strided((11, 8), (1, 1))}, "was expanded"),
    ):
        add(f"saved-{form}-{name}", "bin", saved(value), FILE, words)

for seed in range(10):
    add(f"bin-cut-{seed}", "bin", cut(FILE, seed), FILE, "zip")
    add(f"legacy-cut-{seed}", "legacy", cut(FILE, seed), FILE, REASON)


def flipped(content: bytes, seed: int) -> bytes:
    """A bit of the program flipped, which the archive's checksum sees."""
    start = content.index(b"\x80\x02")
    changed = bytearray(content)
    changed[start + random.Random(seed).randrange(2000)] ^= 1 << seed % 8
    return bytes(changed)


for seed in range(8):
    add(f"bin-flip-{seed}", "bin", change(FILE, lambda c, seed=seed: flipped(c, seed)), FILE, "CRC")
add("bin-empty", "bin", write(FILE, b""), FILE, REASON)
add("bin-text", "bin", write(FILE, b"version https://git-lfs.github.com/spec/v1\n"), FILE, "Git-LFS pointer")
add("bin-zeros-1-GB", "bin", sparse(FILE, 1 << 30), FILE, "neither a zip")
add("bin-pickle-1-GB", "bin", sparse(FILE, 1 << 30, b"\x80\x02"), FILE, REASON)
add("bin-a-folder", "bin", directory(FILE), FILE, "is a folder")
add("bin-a-pipe", "bin", pipe(FILE), FILE, "a pipe")
add("bin-trailing-bytes", "bin", change(FILE, lambda c: c + bytes(70_000)), FILE, "zip")
add("legacy-trailing-bytes", "legacy", change(FILE, lambda c: c + b"x"), FILE, "1 bytes after its end")
add(
    "bin-leading-bytes",
    "bin",
    change(FILE, lambda c: b"PK\x03\x04" + bytes(60) + c),
    FILE,
    "before its first entry|zip archive",
)

# ── programs ─────────────────────────────────────────────────────────────────────────────────────


def state(*items: bytes) -> bytes:
    return program(mapping(*items))


def bomb(before: bytes, after: bytes) -> bytes:
    """Ninety tuples, each of which holds the one before twice: 2^90 things to hash, compare or print."""
    return program(before + b")" + b"q\x00h\x00\x86" * 90 + after)


lists = b"]" + b"".join(b"q\x00]" + b"h\x00ah\x00a" for _ in range(60))
for name, pickled, words in (
    ("empty", b"", "broken|too early"),
    ("no-stop", b"\x80\x02}", "broken|too early"),
    ("stack-empty", b"\x80\x02.", "is broken"),
    ("no-memo", program(b"h\x07"), "is broken"),
    ("no-mark", program(b"t"), "is broken"),
    ("no-key", program(b"}(" + text("a") + b"u"), "is broken"),
    ("repeated-name", state(text(WORD), tensor(1, 0, (1,), (1,)), text(WORD), tensor(1, 0, (1,), (1,))), "twice"),
    ("new-object", program(word("collections.OrderedDict") + b")\x81"), "the instruction NEWOBJ"),
    ("instance", program(b"(ios\nsystem\n"), "the instruction INST"),
    ("extension", program(b"\x82\x01"), "the instruction EXT1"),
    ("stack-global", program(text("os") + text("system") + b"\x93"), "the instruction STACK_GLOBAL"),
    ("protocol-5", pickle.dumps({"a": 1}, protocol=5), "instruction FRAME|instruction SHORT_BINUNICODE"),
    ("bytearray-of-a-terabyte", state(text("a"), called("builtins.bytearray", number(1 << 40))), "builtins.bytearray"),
    ("tensor-of-a-terabyte", state(text("a"), called("torch.Tensor", number(1 << 40))), "asks for torch.Tensor"),
    ("call-of-a-dict", program(b"})R"), "calls something"),
    ("call-of-a-text", program(text("os.system") + text("ls") + b"\x85R"), "calls something"),
    ("parameter-of-text", state(text("a"), called("torch._utils._rebuild_parameter", text("b"))), "calls something"),
    ("dict-of-itself", program(b"}q\x00" + text("a") + b"h\x00s"), "'a' is a dict"),
    ("key-bomb", bomb(b"}", b"Ns"), "name of a tensor"),
    ("call-bomb", bomb(b"", b")R"), "calls something"),
    ("argument-bomb", bomb(word("torch._utils._rebuild_parameter"), b"\x85R"), "calls something"),
    ("storage-bomb", bomb(b"", b"Q"), "describes a storage"),
    ("state-bomb", bomb(b")", b"b"), "changes a tuple"),
    ("list-bomb", program(lists), "holds a list"),
    ("value-bomb", bomb(b"}" + text("a"), b"s"), "'a' is a tuple"),
    ("deep-tuple", program(b")" + b"\x85" * 500_000), "holds a tuple"),
    ("long-name", state(text("x" * 1_000_000), number(1)), "is a int"),
    ("escape-name", state(text("\x1b[2J\x1b]0;x\x07"), number(1)), "is a int"),
    ("huge-number", program(b"\x8b" + struct.pack("<i", 1 << 19) + bytes(1 << 19)), "the instruction LONG4"),
    ("text-number", program(b"L" + b"9" * 100_000 + b"L\n"), "is broken"),
    ("3-MB", program(b"N0" * 1_500_000 + b"}"), "1,048,576 bytes"),
    ("endless-text", b"\x80\x02X\xff\xff\xff\xff", "is broken"),
    ("storage-of-text", program(text("storage") + b"Q"), "describes a storage"),
    ("storage-elsewhere", program(together(text("module"), text("/etc/passwd")) + b"Q"), "describes a storage"),
):  # fmt: skip
    add(f"program-{name}", "bin", zip_of(pickled, NUMBERS), FILE, words)

for name, described, words in (
    ("offset-outside", tensor(88, 1, (11, 8), (8, 1)), "reaches outside"),
    ("offset-negative", tensor(88, -1, (11, 8), (8, 1)), "shape that cannot be"),
    ("offset-huge", tensor(88, 1 << 62, (11, 8), (8, 1)), "shape that cannot be"),
    ("shape-outside", tensor(88, 0, (12, 8), (8, 1)), "reaches outside"),
    ("shape-negative", tensor(88, 0, (-11, 8), (8, 1)), "shape that cannot be"),
    ("shape-huge", tensor(88, 0, (1 << 62, 1 << 62), (0, 0)), "shape that cannot be"),
    ("shape-wide", tensor(88, 0, (1 << 39, 1 << 39), (0, 0)), "was expanded"),
    ("stride-outside", tensor(88, 0, (11, 8), (80, 1)), "reaches outside"),
    ("stride-negative", tensor(88, 87, (11, 8), (-8, -1)), "shape that cannot be"),
    ("stride-missing", tensor(88, 0, (11, 8), (8,)), "shape that cannot be"),
    ("storage-larger-than-said", tensor(1 << 40, 0, (1 << 30, 256), (256, 1)), "has not just these"),
    ("storage-smaller-than-said", tensor(8, 0, (8,), (1,)), "has not just these"),
    ("storage-negative", tensor(-8, 0, (8,), (1,)), "describes a storage"),
    ("storage-missing", tensor(88, 0, (11, 8), (8, 1), key="1"), "has not just these"),
    ("storage-above", tensor(88, 0, (11, 8), (8, 1), key="../../../etc/passwd"), "has not just these"),
    ("storage-of-another-kind", tensor(88, 0, (11, 8), (8, 1), kind="DoubleStorage"), "has not just these"),
):
    add(f"tensor-{name}", "bin", zip_of(state(text(WORD), described), NUMBERS), FILE, words)

# ── archives ─────────────────────────────────────────────────────────────────────────────────────

fine = state(text(WORD), tensor(88, 0, (11, 8), (8, 1)))
for name, pickled, more, words in (
    ("names-above", fine, {"..__..__executed": b"x"}, "0 layers"),  # nothing is ever unpacked, so they do nothing
    ("name-absolute", fine, {"__tmp__executed": b"x"}, "0 layers"),
    ("big-endian", fine, {"archive__byteorder": b"big"}, "big-endian"),
    ("two-programs", fine, {"other__data.pkl": fine}, "holds 2 entries"),
):
    add(f"archive-{name}", "bin", zip_of(pickled, NUMBERS, **more), FILE, words)


def compressed(folder: Path) -> None:
    """A gigabyte of zeros in a megabyte."""
    with (
        zipfile.ZipFile(folder / FILE, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("archive/data.pkl", "w", force_zip64=True) as entry,
    ):
        for _ in range(64):
            entry.write(bytes(16 << 20))


def doubled(folder: Path) -> None:
    zip_of(fine, NUMBERS)(folder)
    with zipfile.ZipFile(folder / FILE, "a") as archive:
        archive.writestr("archive/data.pkI", fine)
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content.replace(b"data.pkI", b"data.pkl"))


def directory_says(**changes: int) -> Spoil:
    """Numbers of the last entry (the storage) in the archive's table of contents changed."""

    def spoil(folder: Path) -> None:
        zip_of(fine, NUMBERS)(folder)
        content = bytearray((folder / FILE).read_bytes())
        start = content.rindex(b"PK\x01\x02")
        for field, value in changes.items():
            struct.pack_into("<I", content, start + {"packed": 20, "size": 24, "place": 42}[field], value)
        (folder / FILE).write_bytes(content)

    return spoil


def listing_says(offset: int, value: int) -> Spoil:
    """A number of the end of the archive, where its table of contents is announced, changed."""

    def spoil(folder: Path) -> None:
        zip_of(fine, NUMBERS)(folder)
        content = bytearray((folder / FILE).read_bytes())
        struct.pack_into("<I", content, len(content) - 22 + offset, value)
        (folder / FILE).write_bytes(content)

    return spoil


add("archive-compressed-1-GB", "bin", compressed, FILE, "compressed archive")
add("archive-repeated-name", "bin", doubled, FILE, "two entries of one name")
add("archive-size-lies", "bin", directory_says(size=1 << 31), FILE, "claims more bytes")
add("archive-size-lies-a-little", "bin", directory_says(size=356), FILE, WORD, "has not just these")
add("archive-place-lies", "bin", directory_says(place=3), FILE, "no numbers where")
add("archive-place-outside", "bin", directory_says(place=1 << 30), FILE, "no numbers where")
add("archive-listing-of-4-GB", "bin", listing_says(12, 0xFFFFFFF0), FILE, "zip archive")
add("archive-listing-outside", "bin", listing_says(16, 0xFFFFFFF0), FILE, "cannot be")

many = state(*(part for n in range(1000) for part in (text(f"t{n}"), tensor(1 << 14, 0, (1 << 14,), (1,)))))
add("program-shared-a-thousand-times", "bin", zip_of(many, {"0": bytes(4 << 14)}), FILE, "the same numbers many times")


def overlapping(folder: Path) -> None:
    """A thousand entries which are all the same bytes."""
    big = {str(key): b"" for key in range(1000)} | {"0": bytes(1 << 16)}
    zip_of(fine, big)(folder)
    content = bytearray((folder / FILE).read_bytes())
    position = content.index(b"PK\x01\x02")
    while (position := content.find(b"PK\x01\x02", position + 1)) > 0:
        struct.pack_into("<II", content, position + 20, 1 << 16, 1 << 16)
    (folder / FILE).write_bytes(content)


add("archive-overlapping", "bin", overlapping, FILE, "claims more bytes")


def listing_of_100_mb(folder: Path) -> None:
    """A real table of contents that is too long to be read."""
    size = 100 << 20
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65535, 65535, size, 4, 0)
    sparse(FILE, 4 + size, b"PK\x03\x04")(folder)
    with (folder / FILE).open("ab") as file:
        file.write(end)


add("archive-listing-of-100-MB", "bin", listing_of_100_mb, FILE, "104,857,600 bytes")

# ── the legacy format ────────────────────────────────────────────────────────────────────────────

MAGIC = program(number(0x1950A86A20F9469CFC6C)) + program(number(1001))
INFO = program(mapping(text("little_endian"), b"\x88"))
KEYS = program(b"](" + text("0") + b"e")


def legacy(described: bytes, *, count: int = 88, info: bytes = INFO, keys: bytes = KEYS, data: int = 352) -> Spoil:
    content = MAGIC + info + state(text(WORD), described) + keys + struct.pack("<Q", count) + bytes(data)
    return write(FILE, content)


words88 = tensor(88, 0, (11, 8), (8, 1))
huge = tensor(1 << 38, 0, (1 << 38,), (1,))
for name, spoil, words in (
    ("fine-but-one-tensor", legacy(words88), "0 layers"),  # shows that the others fail for what they are made for
    ("big-endian", legacy(words88, info=program(mapping(text("little_endian"), b"\x89"))), "big-endian"),
    ("info-a-list", legacy(words88, info=program(b"]")), "is broken"),
    ("other-magic", write(FILE, program(number(7)) * 5), "neither a zip"),
    ("storage-of-a-terabyte", legacy(huge, count=1 << 38), "expected at least 1,099,5"),
    ("storage-count-lies", legacy(huge), "has not just these"),
    ("storage-count-2e64", legacy(words88, count=(1 << 64) - 1), "cut off"),
    ("storage-too-short", legacy(words88, data=351), "cut off"),
    ("storage-unknown", legacy(words88, keys=program(b"](" + text("9") + b"e")), "is broken"),
    ("storage-unlisted", legacy(words88, keys=program(b"]"), count=0, data=0), "after its end|has not just"),
    ("keys-a-number", legacy(words88, keys=program(number(1))), "is broken"),
    ("keys-a-tuple-bomb", legacy(words88, keys=bomb(b"](", b"e")), "names its storages"),
    ("expanded", legacy(tensor(1, 0, (11, 8), (0, 0)), count=1, data=4), "was expanded"),
):
    add(f"legacy-{name}", "legacy", spoil, FILE, words)

add("bin-config-of-another", "bin", write("config.json", json.dumps({"num_hidden_layers": 2})), FILE, "has shape")
