"""What a graph computes from stored tensors alone: a weight that is transposed, cut out, or int8 with its scale.

Such an *expression* is a stored tensor and a few steps.  It has a shape at once; its numbers are read when they are
needed.  Start with :class:`Expressions`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from minibert.onnx_graph.file import Graph
from minibert.onnx_graph.node import Node
from minibert.onnx_graph.stored import Stored
from minibert.protobuf import DamagedMessage

LONGEST_CHAIN = 32  # operations between a stored tensor and where it is used
FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32")
SMALL = 4096  # numbers in what is read to understand the graph: shapes, scales, an epsilon


@dataclass(frozen=True, eq=False)
class Scale:
    """How whole numbers become weights: (x - zero_point) · scale, along ``axis`` where there are several scales."""

    scale: Stored
    zero_point: Stored | None
    axis: int

    def apply(self, numbers: Tensor, read: Callable[[Stored], Tensor]) -> Tensor:
        """The weights, float32."""
        scale = read(self.scale).float()
        zero = torch.zeros((), dtype=torch.float32) if self.zero_point is None else read(self.zero_point).float()
        return (numbers.float() - self.along(zero, numbers)) * self.along(scale, numbers)

    def along(self, values: Tensor, numbers: Tensor) -> Tensor:
        """One value, or one for each index along the axis, in a shape that broadcasts over ``numbers``."""
        if values.numel() == 1:
            return values.reshape(())
        sizes = [1] * numbers.dim()
        sizes[self.axis] = -1
        return values.reshape(sizes)


@dataclass(frozen=True, eq=False)
class Expression:
    """A stored tensor and what is done to it: dequantised, cut, reshaped, transposed, in this order."""

    root: Stored
    scale: Scale | None = None
    cut: tuple[int, int, int] | None = None  # dimension, first, behind the last
    view: tuple[int, ...] | None = None
    transposed: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the result."""
        shape = list(self.root.shape)
        if self.cut is not None:
            shape[self.cut[0]] = self.cut[2] - self.cut[1]
        if self.view is not None:
            shape = list(self.view)
        return tuple(shape[::-1] if self.transposed else shape)

    @property
    def T(self) -> "Expression":
        """Transposed; twice is not at all."""
        return replace(self, transposed=not self.transposed)

    @property
    def key(self) -> tuple[str, tuple[int, int, int] | None]:
        """Equal for expressions of the same stored numbers."""
        return self.root.name, self.cut

    @property
    def in_file(self) -> str:
        """The name of the stored tensor, with the part that is meant."""
        if self.cut is None:
            return self.root.name
        dim, start, stop = self.cut
        return f"{self.root.name}[{', '.join([':'] * dim + [f'{start}:{stop}'])}]"

    def part(self, dim: int, number: int, count: int) -> "Expression | None":
        """One of ``count`` equal parts along a dimension; None where it cannot be cut so."""
        if self.transposed and len(self.shape) == 2:
            inner = self.T.part(1 - dim, number, count)
            return None if inner is None else inner.T
        size = self.shape[dim] if len(self.shape) > dim else 0
        if self.cut or self.view is not None or self.transposed or not size or size % count:
            return None
        return replace(self, cut=(dim, number * size // count, (number + 1) * size // count))

    def reshaped(self, shape: tuple[int, ...]) -> "Expression | None":
        """In another shape, with -1 for what follows; None where it does not fit."""
        if self.transposed:
            return None
        count, known = math.prod(self.shape), math.prod(size for size in shape if size >= 0)
        whole = tuple(count // known if size == -1 and known else size for size in shape)
        return replace(self, view=whole) if math.prod(whole) == count and min(whole, default=0) >= 0 else None

    def flat(self) -> "Expression | None":
        """As a vector, where it has one dimension that is not 1; None otherwise."""
        if len(self.shape) == 1:
            return self
        return self.reshaped((-1,)) if sum(size != 1 for size in self.shape) <= 1 else None


class Expressions:
    """The expressions of a graph, by the name of the value."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self._found: dict[str, Expression | None] = {}
        self._numbers: dict[str, float | None] = {}

    def find(self, name: str) -> Expression | None:
        """The expression for a value; None where it depends on the inputs, or on what is not understood here."""
        if name not in self._found:
            self._found[name] = self._follow(name)
        return self._found[name]

    def weight(self, name: str) -> Expression | None:
        """The same for floating-point numbers only, or whole numbers with their scale."""
        found = self.find(name)
        if found is None or (found.scale is None and found.root.dtype not in FLOATS):
            return None
        return found

    def _follow(self, name: str) -> Expression | None:
        chain: list[Node] = []
        while name not in self.graph.tensors:
            maker = self.graph.maker.get(name)
            if maker is None or len(chain) >= LONGEST_CHAIN:
                return None
            chain.append(maker[0])
            name = maker[0].input(0)
        found: Expression | None = Expression(self.graph.tensors[name])
        for node in reversed(chain):
            found = None if found is None else self._step(found, node)
        return found

    def _step(self, found: Expression, node: Node) -> Expression | None:  # noqa: PLR0911 (one return for each operation)
        """One more operation on an expression."""
        match node.op:
            case "Identity":
                return found
            case "Cast" if found.root.dtype in FLOATS and node.attributes.get("to") in (1, 10, 11, 16):
                return found
            case "DequantizeLinear" | "com.microsoft.DequantizeLinear":
                return self.scaled(found, node.input(1), node.input(2), node.attributes.get("axis", 1))
            case "Transpose":
                ranks = list(range(len(found.shape)))
                order = node.attributes.get("perm", ranks[::-1])
                return found.T if order == ranks[::-1] else found if order == ranks else None
            case "Reshape":
                shape = self.whole_numbers(node.input(1))
                return found.reshaped(tuple(shape)) if shape is not None and 0 not in shape else None
            case "Unsqueeze" | "Squeeze":
                return found.flat()
        return None

    def scaled(self, found: Expression, scale: str, zero_point: str, axis: int) -> Expression | None:
        """Whole numbers with their scale; None where the scale does not fit them."""
        by, zero = self.graph.tensors.get(scale), self.graph.tensors.get(zero_point) if zero_point else None
        rank = len(found.root.shape)
        plain = found.scale is None and found.cut is None and found.view is None and not found.transposed
        if by is None or (zero_point and zero is None) or not plain or found.root.kind not in INTEGERS:
            return None
        if not -rank <= axis < rank:
            axis = 0
        sizes = {each.count for each in (by, zero) if each is not None}
        if zero is not None and zero.dtype is None:
            return None
        if not sizes <= {1, found.root.shape[axis] if rank else 1} or by.dtype not in FLOATS:
            return None
        return replace(found, scale=Scale(by, zero, axis % max(rank, 1)))

    def read(self, expression: Expression) -> Tensor:
        """The numbers: of the stored dtype, or float32 where they were whole numbers with a scale."""
        tensor = self._read(expression.root)
        if expression.scale is not None:
            tensor = expression.scale.apply(tensor, self._read)
        if expression.cut is not None:
            dim, start, stop = expression.cut
            tensor = tensor.narrow(dim, start, stop - start).contiguous()
        if expression.view is not None:
            tensor = tensor.reshape(expression.view)
        return tensor.permute(*reversed(range(tensor.dim()))) if expression.transposed else tensor

    def _read(self, stored: Stored) -> Tensor:
        return stored.read(self.graph.files)

    # ── small constants ──────────────────────────────────────────────────────────────────────────

    def values(self, name: str) -> list[float] | None:
        """All numbers of a small constant; None for a big one, or none."""
        found = self.find(name)
        if found is None or found.root.dtype is None or found.root.count > SMALL:
            return None
        try:
            numbers: list[float] = self.read(found).flatten().tolist()
        except DamagedMessage:
            return None
        return numbers

    def number(self, name: str, depth: int = 0) -> float | None:
        """A constant that is one number, also where the graph computes it from others, as in 1 / sqrt(32)."""
        if name not in self._numbers:
            self._numbers[name] = self._number(name, depth)
        return self._numbers[name]

    def _number(self, name: str, depth: int) -> float | None:  # noqa: PLR0911 (one return for each operation)
        values = self.values(name)
        if values is not None:
            return float(values[0]) if len(values) == 1 else None
        maker = self.graph.maker.get(name)
        if maker is None or depth > LONGEST_CHAIN:
            return None
        node = maker[0]
        if node.op in ("QuantizeLinear", "DequantizeLinear"):  # a constant between activations that are int8
            return self.number(node.input(0), depth + 1)
        if node.op in ("Cast", "Identity", "Squeeze", "Unsqueeze", "Sqrt", "Reciprocal"):
            first = self.number(node.input(0), depth + 1)
            if first is None or (first < 0 and node.op == "Sqrt") or (first == 0 and node.op == "Reciprocal"):
                return None
            return math.sqrt(first) if node.op == "Sqrt" else 1 / first if node.op == "Reciprocal" else first
        if node.op in ("Gather", "Slice"):
            return self.size_asked_for(node)
        if node.op in ("Mul", "Div") and len(node.inputs) == 2:
            one, other = (self.number(each, depth + 1) for each in node.inputs)
            if one is None or other is None or (node.op == "Div" and other == 0):
                return None
            try:
                return float({"Mul": one * other, "Div": one / other if other else 0.0}.get(node.op, one))
            except OverflowError:
                return None
        return None

    def size_asked_for(self, node: Node) -> float | None:
        """The last size of a value, where a Gather or Slice takes it from its Shape: the size of a head."""
        shape = self.graph.maker.get(node.input(0))
        start = self.values(node.input(1))
        if shape is None or shape[0].op != "Shape" or start not in ([-1], [3], [-1.0], [3.0]):
            return None
        value = shape[0].input(0)
        for _ in range(LONGEST_CHAIN):
            maker = self.graph.maker.get(value)
            if maker is None:
                return None
            if maker[0].op == "Reshape":
                sizes = self.sizes(maker[0].input(1))
                return None if not sizes or sizes[-1] is None or sizes[-1] < 1 else float(sizes[-1])
            if maker[0].op == "Transpose" and maker[0].attributes.get("perm") != [0, 2, 1, 3]:
                return None
            if maker[0].op not in ("Transpose", "Identity", "Cast", "Mul"):
                return None
            value = maker[0].input(0)
        return None

    def whole_numbers(self, name: str) -> list[int] | None:
        """A small constant as whole numbers."""
        values = self.values(name)
        return None if values is None else [int(value) for value in values if math.isfinite(value)]

    def sizes(self, name: str) -> list[int | None] | None:
        """A shape as far as it is known: the parts of a Concat, None for a size that the inputs decide."""
        constant = self.whole_numbers(name)
        if constant is not None:
            return list(constant)
        maker = self.graph.maker.get(name)
        if maker is None or maker[0].op != "Concat" or len(maker[0].inputs) > 8:
            return None
        known: list[int | None] = []
        for each in maker[0].inputs:
            part = self.whole_numbers(each)
            if part is not None:
                known += part
                continue
            # A slice of a shape may be of several sizes; the last ones are what is asked for.
            number = self.number_of_unsqueezed(each)
            known.append(number)
        return known

    def number_of_unsqueezed(self, name: str) -> int | None:
        """A size that stands in a list of its own."""
        maker = self.graph.maker.get(name)
        values = self.values(maker[0].input(0)) if maker is not None and maker[0].op == "Unsqueeze" else None
        return int(values[0]) if values is not None and len(values) == 1 and math.isfinite(values[0]) else None
