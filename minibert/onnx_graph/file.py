"""An ONNX file, read as data: nodes, tensors, inputs and outputs.  Nothing is run, and nothing big is copied.

The file is one protocol-buffer message (minibert/protobuf.py).  The package onnx would copy every number twice and read
no more than 2 GB; here the numbers stay memory-mapped until a model takes them.  Subgraphs (of If, Loop and Scan) are
not read: no BERT has weights there.

Written from onnx/onnx.proto.  Start with :func:`read_graph`.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from graphlib import CycleError, TopologicalSorter
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from minibert.errors import CheckpointError
from minibert.files import is_file, is_inside
from minibert.onnx_graph.functions import Function, Reference, inlined
from minibert.onnx_graph.node import MOST_NODES, Node
from minibert.onnx_graph.stored import DTYPES, DataFile, Stored, refuse_overlaps
from minibert.protobuf import DamagedMessage, read_fields, unpack_varints
from minibert.schema import shown
from minibert.source import ONNX, Checkpoint

MOST_FIELDS = 500_000  # of all messages that are decoded: about a second
MOST_NAMES = 100_000  # inputs and outputs of nodes
LONGEST_NAME = 1_000
MICROSOFT = "com.microsoft"  # the domain of onnxruntime's fused operators

# Of the attributes that are read: what they are in every operation that has them.
KINDS: dict[str, type] = {
    **dict.fromkeys(("epsilon", "alpha", "beta", "scale"), float),
    **dict.fromkeys(("axis", "to", "transA", "transB", "num_heads", "q_num_heads", "unidirectional"), int),
    **dict.fromkeys(("perm", "split", "qkv_hidden_sizes"), list),
}

Value = int | memoryview
Fetch = Callable[[str], Path | None]  # the file at a path beside the graph; None when there is none


@dataclass(eq=False)
class Graph:
    """The whole file."""

    path: Path
    nodes: list[Node]  # in topological order
    tensors: dict[str, Stored]  # initializers and the values of Constant nodes
    initializers: tuple[str, ...]
    inputs: tuple[str, ...]  # without initializers
    outputs: tuple[str, ...]
    files: dict[str, DataFile]  # with external data, by location
    producer: str  # the program that wrote it, and its version

    @cached_property
    def maker(self) -> dict[str, tuple[Node, int]]:
        """The node that computes a value, and which of its outputs that is."""
        return {output: (node, number) for node in self.nodes for number, output in enumerate(node.outputs) if output}

    @cached_property
    def users(self) -> dict[str, list[Node]]:
        """The nodes that take a value."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                users.setdefault(name, []).append(node)
        return users


def read_graph(path: Path, fetch: Fetch | None = None) -> Graph:
    """The graph in the file ``path``.

    fetch: finds the files of external data; default: beside the file.

    Raises CheckpointError for what is no whole ONNX file, and for external data outside its folder.
    """
    own = DataFile(path)
    try:
        graph = _Reader(path).model(own.bytes)
        open_data(graph, fetch or (lambda name: path.parent / name))
        return graph
    except (DamagedMessage, CycleError) as error:
        reason = "its operations form a circle" if isinstance(error, CycleError) else str(error)
        raise CheckpointError(f"{path} is not a whole ONNX file: {reason}. Download or export it again.") from error


def find_onnx(checkpoint: Checkpoint) -> tuple[Path, Fetch] | None:
    """The ONNX file of a checkpoint, and what finds the files beside it; None when there is none.

    A file of external data may still have to be fetched from the hub.
    """
    if checkpoint.file is not None:
        path = checkpoint.file
        return (path, lambda location: path.parent / location) if path.suffix.lower() == ".onnx" else None
    for name in ONNX:
        found = checkpoint.own(name)
        if found is not None:
            return found, partial(own_file, checkpoint, name.removesuffix("model.onnx"))
    return None


def own_file(checkpoint: Checkpoint, folder: str, location: str) -> Path | None:
    """A file in a folder of a checkpoint."""
    return checkpoint.own(folder + location)


def open_data(graph: Graph, fetch: Fetch) -> None:
    """Find the files with external data, check that every tensor lies in its file, and keep them in ``graph.files``."""
    placed = [tensor for tensor in graph.tensors.values() if tensor.place]
    refuse_overlaps(placed)
    for tensor in placed:
        assert tensor.place is not None
        location, offset, size = tensor.place
        if location not in graph.files:
            graph.files[location] = DataFile(data_file(graph.path, location, fetch))
        if offset + size > graph.files[location].size:
            raise CheckpointError(
                f"{graph.files[location].path} has {graph.files[location].size:,} bytes, but {graph.path} says that "
                f"{tensor.name!r} ends at byte {offset + size:,}. Copy or download it again."
            )


def data_file(graph: Path, location: str, fetch: Fetch) -> Path:
    """The file of external data that ``graph`` names, which must be in its folder."""
    parts = PurePosixPath(location)
    if not location or parts.is_absolute() or ".." in parts.parts or "\\" in location or "\0" in location:
        raise CheckpointError(
            f"{graph} keeps numbers in {location!r}; external data is a file in the same folder. It is not safe to "
            "follow."
        )
    path = fetch(location)
    absent = f"{graph} keeps numbers in {location}, which is not there. Copy or download it, too."
    if path is None:
        raise CheckpointError(absent)
    # The hub's cache keeps every file as a link from snapshots/REVISION/ into blobs/ of the same repository.
    cache = next((folder.parent / "blobs" for folder in graph.parents if folder.name == "snapshots"), None)
    if not is_inside(path, graph.parent) and not (cache is not None and is_inside(path, cache)):
        raise CheckpointError(f"{path} is a link to {path.resolve()}, outside the folder. It is not safe to follow.")
    if not is_file(path):
        raise CheckpointError(absent)
    return path


class _Reader:
    """Decodes messages, and counts what it decodes: a hostile file costs no more than a second or two."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.fields_left, self.names_left = MOST_FIELDS, MOST_NAMES

    def fields(self, message: memoryview) -> Iterator[tuple[int, Value]]:
        for pair in read_fields(message):
            self.fields_left -= 1
            if self.fields_left < 0:
                raise DamagedMessage(f"it has more than {MOST_FIELDS:,} fields, which the graph of no BERT has")
            yield pair

    def text(self, value: memoryview) -> str:
        if len(value) > LONGEST_NAME:
            raise DamagedMessage(f"it has a name of {len(value):,} bytes")
        try:
            return bytes(value).decode()
        except UnicodeDecodeError as error:
            raise DamagedMessage(f"the name {bytes(value)[:80]!r} is not UTF-8") from error

    def model(self, message: memoryview) -> Graph:
        """ModelProto."""
        graph, producer, version, functions = None, "", "", []
        facts: dict[str, str] = {}
        for number, value in self.fields(message):
            match number, value:
                case 7, memoryview():
                    graph = value
                case 2, memoryview():
                    producer = self.text(value)
                case 3, memoryview():
                    version = self.text(value)
                case 14, memoryview():  # a name and what it stands for
                    entry = {key: self.text(word) for key, word in self.fields(value) if isinstance(word, memoryview)}
                    facts[entry.get(1, "")] = entry.get(2, "")
                case 25, memoryview():
                    functions.append(value)
        if graph is None:
            raise DamagedMessage("it holds no graph")
        if "minibert_version" in facts and facts.get("quantization") == "int8":
            raise CheckpointError(
                f"{self.path} was written by minibert export --int8: its weights are rounded, and what was divided out "
                f"of them stands in other operations. Use the checkpoint that it was made from, "
                f"{shown(facts.get('source'))}."
            )
        return self.graph(graph, f"{producer} {version}".strip(), [self.function(each) for each in functions])

    def function(self, message: memoryview) -> Function:
        """FunctionProto."""
        name = domain = ""
        inputs: list[str] = []
        outputs: list[str] = []
        nodes: list[Node] = []
        for number, value in self.fields(message):
            match number, value:
                case 1, memoryview():
                    name = self.text(value)
                case 4 | 5, memoryview():
                    (inputs if number == 4 else outputs).append(self.text(value))
                case 7, memoryview():
                    nodes.append(self.node(value))
                case 10, memoryview():
                    domain = self.text(value)
        return Function(f"{domain}.{name}", tuple(inputs), tuple(outputs), tuple(nodes))

    def graph(self, message: memoryview, producer: str, functions: list[Function]) -> Graph:
        """GraphProto, with its functions in place."""
        nodes: list[Node] = []
        tensors: dict[str, Stored] = {}
        inputs, outputs = [], []
        for number, value in self.fields(message):
            match number, value:
                case 1, memoryview():
                    nodes.append(self.node(value))
                    if len(nodes) > MOST_NODES:
                        raise DamagedMessage(f"it has more than {MOST_NODES:,} operations, which no BERT has")
                case 5, memoryview():
                    tensor = self.tensor(value)
                    if tensor.name in tensors:
                        raise DamagedMessage(f"two tensors are called {tensor.name[:80]!r}")
                    tensors[tensor.name] = tensor
                case 11, memoryview():
                    inputs.append(self.value_name(value))
                case 12, memoryview():
                    outputs.append(self.value_name(value))
                case 15, memoryview():
                    raise DamagedMessage("it has sparse tensors, which no BERT has")
        initializers = tuple(tensors)
        nodes = inlined(nodes, {function.op: function for function in functions})
        for node in nodes:
            if node.op == "Constant" and len(node.outputs) == 1:
                constant = constant_of(node)
                if constant is not None:
                    if node.outputs[0] in tensors:
                        raise DamagedMessage(f"two tensors are called {node.outputs[0][:80]!r}")
                    tensors[node.outputs[0]] = constant
        nodes = in_order([node for node in nodes if node.op != "Constant"], tensors)
        given = tuple(name for name in inputs if name not in tensors)
        return Graph(self.path, nodes, tensors, initializers, given, tuple(outputs), {}, producer)

    def value_name(self, message: memoryview) -> str:
        """The name in a ValueInfoProto."""
        return next((self.text(v) for number, v in self.fields(message) if number == 1 and not isinstance(v, int)), "")

    def node(self, message: memoryview) -> Node:
        """NodeProto."""
        inputs: list[str] = []
        outputs: list[str] = []
        name = op = domain = ""
        attributes: dict[str, Any] = {}
        for number, value in self.fields(message):
            if isinstance(value, int):
                continue
            if number in (1, 2):
                (inputs if number == 1 else outputs).append(self.text(value))
                self.names_left -= 1
                if self.names_left < 0:
                    raise DamagedMessage(f"its operations have more than {MOST_NAMES:,} inputs and outputs")
            elif number == 3:
                name = self.text(value)
            elif number == 4:
                op = self.text(value)
            elif number == 7:
                domain = self.text(value)
            elif number == 5:
                key, content = self.attribute(value)
                if not isinstance(content, KINDS.get(key, object) | Reference | None):
                    raise DamagedMessage(f"the attribute {key} of {op or 'an operation'} is of another kind")
                if content is not None:
                    attributes[key] = content
        full = op if domain in ("", "ai.onnx") else f"{domain}.{op}"
        return Node(full, name, tuple(inputs), tuple(outputs), attributes)

    def attribute(self, message: memoryview) -> tuple[str, Any]:
        """AttributeProto: its name and value; None for a graph or another kind that is not read."""
        name = ""
        content: Any = None
        several: list[Any] = []
        for number, value in self.fields(message):
            match number, value:
                case 1, memoryview():
                    name = self.text(value)
                case 2, int():
                    content = as_float(value)
                case 3, int():
                    content = value
                case 4, memoryview():
                    content = bytes(value[:LONGEST_NAME])
                case 5, memoryview():
                    content = self.tensor(value)
                case 21, memoryview():
                    content = Reference(self.text(value))
                case 7, int():
                    several.append(as_float(value))
                case 8, int():
                    several.append(value)
                case 7, memoryview():
                    several += struct.unpack(f"<{len(value) // 4}f", value[: len(value) // 4 * 4])
                case 8, memoryview():
                    several += self.whole_numbers(value)
        return name, several if several else content

    def whole_numbers(self, packed: memoryview) -> list[int]:
        if len(packed) > MOST_FIELDS:
            raise DamagedMessage(f"an attribute has a list of {len(packed):,} bytes")
        numbers: list[int] = unpack_varints(packed).tolist()
        return numbers

    def tensor(self, message: memoryview) -> Stored:  # noqa: PLR0912 (one branch for each field)
        """TensorProto, with every check that needs no other file."""
        dims: list[int] = []
        kind = location = 0
        name = ""
        raw: list[memoryview] = []
        packed: list[memoryview] = []
        numbers: list[int] = []
        external: dict[str, str] = {}
        for number, value in self.fields(message):
            if isinstance(value, int):
                if number == 1:
                    dims.append(value)
                elif number == 2:
                    kind = value
                elif number == 14:
                    location = value
                elif number in (5, 7, 11):
                    numbers.append(value)
                elif number in (4, 10):
                    raise DamagedMessage(f"{name[:80]!r} has numbers that are not packed; save it with raw_data")
            elif number == 1:
                dims += self.whole_numbers(value)
            elif number == 8:
                name = self.text(value)
            elif number in (9, 4, 10):  # packed floats are stored like raw data
                raw.append(value)
            elif number in (5, 7, 11):
                packed.append(value)
            elif number == 13:
                key, text = self.entry(value)
                external[key] = text
        what, dtype = DTYPES.get(kind, (f"DataType({kind})", None))
        whole = raw[0] if len(raw) == 1 else memoryview(bytearray().join(raw)) if raw else None
        if location == 1:
            return self.external(Stored(name, what, dtype, tuple(dims)), external)
        if whole is None and not packed and not numbers and dtype is not None:
            whole = memoryview(b"")
        stored = Stored(name, what, dtype, tuple(dims), whole, tuple(packed), tuple(numbers))
        stored.check()
        return stored

    def external(self, tensor: Stored, entries: dict[str, str]) -> Stored:
        """A tensor whose numbers are in another file."""
        tensor_without_bytes = Stored(tensor.name, tensor.kind, None, tensor.shape)
        tensor_without_bytes.check()
        try:
            offset, size = int(entries.get("offset", "0")), int(entries.get("length", str(tensor.size)))
        except ValueError as error:
            raise DamagedMessage(f"{tensor.name[:80]!r} has an offset or a length that is no number") from error
        if not 0 <= offset < 1 << 62 or not 0 <= size < 1 << 62:
            raise DamagedMessage(f"{tensor.name[:80]!r} has {size} bytes from byte {offset} on")
        placed = Stored(
            tensor.name, tensor.kind, tensor.dtype, tensor.shape, place=(entries.get("location", ""), offset, size)
        )
        placed.check()
        return placed

    def entry(self, message: memoryview) -> tuple[str, str]:
        """StringStringEntryProto."""
        texts = {number: self.text(value) for number, value in self.fields(message) if not isinstance(value, int)}
        return texts.get(1, ""), texts.get(2, "")


def as_float(bits: int) -> float:
    """A float of fixed size, from its bits."""
    return float(struct.unpack("<f", (bits & 0xFFFFFFFF).to_bytes(4, "little"))[0])


def constant_of(node: Node) -> Stored | None:
    """The tensor that a Constant node stands for; None for strings and sparse ones."""
    value = next(iter(node.attributes.values()), None)
    if isinstance(value, Stored):
        return Stored(node.outputs[0], value.kind, value.dtype, value.shape, value.raw, value.packed, value.numbers,
                      value.place)  # fmt: skip
    several = value if isinstance(value, list) else [value]
    if not several or not all(isinstance(each, int | float) for each in several):
        return None
    dtype = torch.float32 if isinstance(several[0], float) else torch.int64
    raw = memoryview(bytearray(struct.pack(f"<{len(several)}{'f' if dtype == torch.float32 else 'q'}", *several)))
    shape = (len(several),) if isinstance(value, list) else ()
    return Stored(node.outputs[0], str(dtype).removeprefix("torch."), dtype, shape, raw)


def in_order(nodes: list[Node], tensors: dict[str, Stored]) -> list[Node]:
    """The nodes in topological order.

    Raises DamagedMessage for a value that two of them compute, CycleError for a circle.
    """
    maker: dict[str, int] = {}
    for number, node in enumerate(nodes):
        for output in node.outputs:
            if output and (output in maker or output in tensors):
                raise DamagedMessage(f"the value {output[:80]!r} is computed twice")
            maker[output] = number
    needs = {
        number: {maker[name] for name in node.inputs if name and name in maker} for number, node in enumerate(nodes)
    }
    return [nodes[number] for number in TopologicalSorter(needs).static_order()]
