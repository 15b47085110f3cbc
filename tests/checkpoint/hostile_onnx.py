"""Hostile ONNX files: what no library writes is written here, field by field."""

import struct
from collections.abc import Callable
from pathlib import Path

import onnx

from minibert.protobuf import read_fields
from tests.checkpoint.hostile import Spoil, add, cut, directory, in_turn, link, pipe, remove, sparse, write

FILE = "model.onnx"
WORD = "embeddings.word_embeddings.weight"


def varint(value: int) -> bytes:
    """A number, seven bits per byte."""
    value &= (1 << 64) - 1
    parts = []
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes | int) -> bytes:
    """One field of a message."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def graph_of(*fields: bytes) -> bytes:
    """A ModelProto with a graph of these fields."""
    return field(1, 10) + field(7, b"".join(fields))


def tensor(name: str, kind: int, dims: tuple[int, ...], *fields: bytes) -> bytes:
    """An initializer."""
    return field(
        5, b"".join(field(1, dim) for dim in dims) + field(2, kind) + field(8, name.encode()) + b"".join(fields)
    )


def node(op: str, inputs: tuple[str, ...], outputs: tuple[str, ...], *fields: bytes) -> bytes:
    """An operation."""
    taken = b"".join(field(1, name.encode()) for name in inputs)
    given = b"".join(field(2, name.encode()) for name in outputs)
    return field(1, taken + given + field(4, op.encode()) + b"".join(fields))


def function(name: str, *nodes: bytes) -> bytes:
    """A local function of the domain d: y of x."""
    inner = b"".join(field(7, bytes(value)) for each in nodes for _, value in read_fields(each) if value)
    return field(25, field(1, name.encode()) + field(4, b"x") + field(5, b"y") + field(10, b"d") + inner)


def external(**entries: str) -> bytes:
    """The fields of a tensor whose numbers are in another file."""
    pairs = (field(1, key.encode()) + field(2, value.encode()) for key, value in entries.items())
    return field(14, 1) + b"".join(field(13, pair) for pair in pairs)


def edit(how: Callable[[onnx.GraphProto], object]) -> Spoil:
    """Change the graph of the good file."""

    def spoil(folder: Path) -> None:
        model = onnx.load_model_from_string((folder / FILE).read_bytes())
        how(model.graph)
        (folder / FILE).write_bytes(model.SerializeToString())

    return spoil


def find(graph: onnx.GraphProto, name: str = WORD) -> onnx.TensorProto:
    return next(each for each in graph.initializer if each.name == name)


def more(*fields: bytes) -> Spoil:
    """Add fields to the graph, as a second part of the message, which readers join to the first."""

    def spoil(folder: Path) -> None:
        content = (folder / FILE).read_bytes()
        whole = onnx.load_model_from_string(content).graph.SerializeToString()
        (folder / FILE).write_bytes(field(1, 10) + field(7, whole + b"".join(fields)))

    return spoil


for seed in range(20):
    add(f"onnx-cut-{seed}", "onnx", cut(FILE, seed), FILE, "")
for name, content, words in (
    ("empty", b"", "holds no graph"),
    ("zeros", bytes(100), "holds no graph"),
    ("a-zip", b"PK\x03\x04" + bytes(100), "whole ONNX file"),
    ("text", b"hello bert, how are you", "whole ONNX file"),
    ("not-a-graph", field(7, 5), "holds no graph"),
    ("an-empty-graph", graph_of(), "0 of BERT's tensors"),
    ("a-field-that-is-cut", field(7, b"abc")[:-1], "ends within its field"),
    ("a-field-of-a-terabyte", varint(7 << 3 | 2) + varint(1 << 40) + b"x", "ends within its field"),
    ("a-field-of-2e64", varint(7 << 3 | 2) + b"\xff" * 9 + b"\x01", "ends within its field"),
    ("an-endless-number", b"\x80" * 1000, "cut off or over 64 bits"),
    ("a-group", b"\x0b" * 100, "wire type 3"),
    ("an-empty-function", field(25, b"") + graph_of(), "0 of BERT's"),
    ("a-function-that-calls-itself", function("f", node("f", ("x",), ("y",), field(7, b"d")))
     + graph_of(node("f", ("a",), ("b",), field(7, b"d"))), "more than 32 deep"),
    ("functions-that-double", b"".join(function(f"f{n}", *[node(f"f{n + 1}", ("x",), (f"y{m}",), field(7, b"d"))
                                                            for m in range(4)]) for n in range(30))
     + graph_of(node("f0", ("a",), ("b",), field(7, b"d"))), "more than 20,000 operations"),
    ("empty-functions-that-double", b"".join(function(f"f{n}", *[node(f"f{n + 1}", ("x",), (f"y{m}",), field(7, b"d"))
                                                                  for m in range(4)]) for n in range(30))
     + function("f30") + graph_of(node("f0", ("a",), ("b",), field(7, b"d"))), "more than 20,000 operations"),
    ("a-graph-in-a-graph", graph_of(field(1, field(5, field(1, b"g") + field(6, field(1, b"")))) * 3), "0 of BERT's"),
    ("a-name-that-is-not-utf-8", graph_of(field(1, field(4, b"\xff\xfe"))), "not UTF-8"),
    ("a-long-name", graph_of(field(1, field(4, b"x" * 100_000))), "a name of 100,000 bytes"),
    ("a-million-fields", graph_of(b"\x08\x01" * 600_000), "fields, which the graph of no BERT has"),
    ("30k-nodes", graph_of(field(1, b"") * 30_000), "more than 20,000 operations"),
    ("500k-inputs", graph_of(field(1, field(1, b"x") * 500_000)), "inputs and outputs"),
    ("30k-tensors", graph_of(*(tensor(f"t{number}", 1, (0,)) for number in range(30_000))), "0 of BERT's"),
    ("a-circle", graph_of(node("Add", ("a", "b"), ("c",)), node("Add", ("c", "c"), ("a",))), "form a circle"),
    ("itself", graph_of(node("Add", ("a", "a"), ("a",))), "form a circle"),
    ("a-value-twice", graph_of(node("Add", ("x", "x"), ("a",)), node("Mul", ("x", "x"), ("a",))), "computed twice"),
    ("a-tensor-twice", graph_of(tensor("a", 1, (0,)), tensor("a", 1, (0,))), "two tensors are called"),
    ("a-long-chain", graph_of(*(node("Identity", (f"v{n}",), (f"v{n + 1}",)) for n in range(4_000))), "0 of BERT's"),
    ("a-chain-of-dequantized", graph_of(*(node("DequantizeLinear", (f"v{n}", "s"), (f"v{n + 1}",))
                                          for n in range(4_000))), "0 of BERT's"),
    ("a-doubling-chain", graph_of(*(node("Add", (f"v{n}", f"v{n}"), (f"v{n + 1}",)) for n in range(5_000))),
     "0 of BERT's"),
    ("doubling-constants", graph_of(tensor("v0", 1, (), field(9, struct.pack("<f", 2.0))),
                                    *(node("Mul", (f"v{n}", f"v{n}"), (f"v{n + 1}",)) for n in range(5_000)),
                                    node("Tanh", ("v5000",), ("x",))), "0 of BERT's"),
):  # fmt: skip
    add(f"onnx-{name}", "onnx", write(FILE, content), FILE, words)
add(
    "onnx-1-GB",
    "onnx",
    sparse(FILE, 1 << 30, varint(7 << 3 | 2) + varint((1 << 30) - 6)),
    FILE,
    "fields|wire type|ends|cannot be read",
)

for name, kind, dims, fields, words in (
    ("a-dim-of-2e62", 1, (1 << 62,), (), "more than any memory holds"),
    ("many-large-dims", 1, (1 << 30,) * 8, (), "more than any memory holds"),
    ("a-negative-dim", 1, (-4, 4), (), "which no tensor has"),
    ("a-hundred-dims", 1, (1,) * 100, (field(9, bytes(4)),), "which no tensor has"),
    ("too-few-bytes", 1, (4, 4), (field(9, bytes(60)),), "60 bytes, expected 64"),
    ("too-many-bytes", 1, (4, 4), (field(9, bytes(68)),), "68 bytes, expected 64"),
    ("no-bytes", 1, (4, 4), (), "0 bytes, expected 64"),
    ("a-terabyte-in-no-bytes", 1, (1 << 38,), (), "0 bytes, expected"),
    ("a-terabyte-of-varints", 7, (1 << 38,), (field(7, b"\x01\x02"),), "fewer numbers"),
    ("one-by-one", 1, (2,), (varint(4 << 3 | 5) + bytes(4),), "not packed"),
    ("outside", 1, (4,), (external(location="../config.json"),), "not safe to follow"),
    ("absolute", 1, (4,), (external(location="/etc/passwd"),), "not safe to follow"),
    ("nul", 1, (4,), (external(location="a\0b"),), "not safe to follow"),
    ("backslash", 1, (4,), (external(location="..\\x"),), "not safe to follow"),
    ("no-location", 1, (4,), (external(),), "not safe to follow"),
    ("absent", 1, (4,), (external(location="absent.bin"),), "which is not there"),
    ("beyond-the-end", 1, (1000,), (external(location="config.json"),), "ends at byte"),
    ("offset-beyond-the-end", 1, (4,), (external(location="config.json", offset="1000000"),), "ends at byte"),
    ("a-negative-offset", 1, (4,), (external(location="config.json", offset="-16"),), "from byte -16"),
    ("an-offset-of-2e70", 1, (4,), (external(location="config.json", offset=str(1 << 70)),), "from byte"),
    ("an-offset-in-words", 1, (4,), (external(location="config.json", offset="four"),), "no number"),
    ("a-long-offset", 1, (4,), (external(location="config.json", offset="9" * 5000),), "a name of 5,000 bytes"),
    ("another-length", 1, (4,), (external(location="config.json", length="20"),), "20 bytes, expected 16"),
):
    add(f"onnx-tensor-{name}", "onnx", more(tensor("x", kind, dims, *fields)), FILE, words)
pairs = tensor("a", 1, (4,), external(location="config.json")), tensor("b", 1, (4,), external(location="config.json"))
add("onnx-tensors-that-overlap", "onnx", more(*pairs), FILE, "share bytes of config.json")
add("onnx-sparse-tensors", "onnx", more(field(15, b"")), FILE, "sparse tensors")
add("onnx-data-linked-outside", "onnx", in_turn(link("x.bin", "/etc/passwd"), more(
    tensor("x", 1, (4,), external(location="x.bin")))), "x.bin", "outside the folder")  # fmt: skip
add("onnx-data-a-pipe", "onnx", in_turn(pipe("x.bin"), more(tensor("x", 1, (4,), external(location="x.bin")))), "x.bin",
    "expected a file")  # fmt: skip

for name, kind, words in (("string", 8, "holds string"), ("int64", 7, "holds int64"), ("complex", 14, "holds complex"),
                          ("float8", 17, "holds float8"), ("unknown", 99, "DataType(99)")):  # fmt: skip

    def change_kind(graph: onnx.GraphProto, kind: int = kind) -> None:
        word = find(graph)
        size = {7: 8, 14: 8}.get(kind, 1)
        word.data_type, word.raw_data = kind, bytes(size * 88)

    add(f"onnx-word-embeddings-of-{name}", "onnx", edit(change_kind), FILE, f"{words}|0 of BERT's|tensors were found")


def infinite(graph: onnx.GraphProto) -> None:
    word = find(graph)
    word.raw_data = struct.pack("<f", float("inf")) * 88


def narrow(graph: onnx.GraphProto) -> None:
    word = find(graph)
    del word.dims[:]
    word.dims.extend([8, 11])


add("onnx-infinite", "onnx", edit(infinite), FILE, "NaN or infinite")
add("onnx-a-table-of-another-shape", "onnx", edit(narrow), FILE, "")
add(
    "onnx-no-config-and-no-graph",
    "onnx",
    in_turn(remove("config.json"), write(FILE, graph_of())),
    FILE,
    "does not show",
)
add("onnx-a-folder", "onnx", in_turn(remove(FILE), directory(FILE)), FILE, "expected a file")
add("onnx-a-link-to-zero", "onnx", in_turn(remove(FILE), link(FILE, "/dev/zero")), FILE, "expected a file")
