"""The steps of a BERT in a graph, however an exporter wrote them: dense layers, layer norms, activations, attention.

torch's two exporters, optimum, tf2onnx and onnxruntime's optimizer write the same arithmetic with different operations;
quantisers replace a MatMul by three or four.  Each method of :class:`Steps` answers for one value: is this a dense
layer, and of what?  None means that it is not recognised; nothing is guessed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.onnx_graph.expressions import FLOATS, Expression, Expressions
from minibert.onnx_graph.file import MICROSOFT, Graph
from minibert.onnx_graph.node import Node

# Operations that hand a value on: unchanged, rounded, or with its numbers in another order of dimensions.
SAME = {"Identity", "Dropout", "Cast", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"}
SAME |= {f"{MICROSOFT}.{op}" for op in ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")}
MOVED = {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten"}
LONGEST = 64  # operations in one step
MOST_BEHIND = 2_000  # values that a mask or the ids of positions depend on
POINTS = torch.linspace(-6, 6, 97, dtype=torch.float64)  # where activations are compared
CLOSE = 2e-4  # float16 constants change an activation by less; the two forms of GELU differ by 4.7e-4
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}
FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Add": torch.add, "Sub": torch.sub, "Mul": torch.mul, "Div": torch.div, "Pow": torch.pow, "Erf": torch.erf,
    "Tanh": torch.tanh, "Sigmoid": torch.sigmoid, "Relu": torch.relu, "Sqrt": torch.sqrt, "Exp": torch.exp,
    "Neg": torch.neg, "Reciprocal": torch.reciprocal,
    f"{MICROSOFT}.QuickGelu": lambda x: x * torch.sigmoid(1.702 * x),
}  # fmt: skip
WHOLE_GELU = {f"{MICROSOFT}.BiasGelu": "gelu", f"{MICROSOFT}.FastGelu": "gelu_new", f"{MICROSOFT}.Gelu": "gelu"}


@dataclass(frozen=True)
class Dense:
    """x · Wᵀ + b."""

    x: str  # the value that it takes
    weight: Expression  # (out, in)
    bias: Expression | None  # (out,)


@dataclass(frozen=True)
class Norm:
    """The layer norm of a sum."""

    addends: tuple[str, ...]
    weight: Expression
    bias: Expression
    eps: float | None
    extra_bias: Expression | None = None  # of the dense layer before it, which onnxruntime adds here


@dataclass(frozen=True)
class Attention:
    """What the heads read, and how."""

    x: str
    query: Dense
    key: Dense
    value: Dense
    heads: int | None
    scale: float | None  # of the scores; None: 1 / sqrt(head size), the operation's own


@dataclass(frozen=True)
class Lookup:
    """Rows of a table."""

    table: Expression
    ids: str


class Steps:
    """Recognises the steps of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.constants = Expressions(graph)
        self._dense: dict[str, Dense | None] = {}

    def node(self, value: str) -> Node | None:
        """The node whose first output a value is."""
        maker = self.graph.maker.get(value)
        return maker[0] if maker is not None and maker[1] == 0 else None

    def source(self, value: str, moved: bool = False) -> str:
        """The value behind operations that hand it on, with ``moved`` also behind those that reorder it."""
        through = SAME | MOVED if moved else SAME
        for _ in range(LONGEST):
            node = self.node(value)
            if node is None or node.op not in through or self.constants.find(node.input(0)) is not None:
                break
            before = self.node(node.input(0)) if node.op == "DequantizeLinear" else None
            if before is not None and before.op == "Gather" and self.constants.find(before.input(0)) is not None:
                break  # the scale belongs to the rows of a table
            value = node.input(0)
        return value

    def sides(self, node: Node) -> list[tuple[str, str]]:
        """The two inputs of a node, in both orders."""
        if len(node.inputs) != 2:
            return []
        one, other = node.inputs
        return [(one, other), (other, one)]

    # ── dense layers ─────────────────────────────────────────────────────────────────────────────

    def dense(self, value: str) -> Dense | None:
        """A dense layer, with or without a bias."""
        if value not in self._dense:
            self._dense[value] = self._find_dense(value)
        return self._dense[value]

    def _find_dense(self, value: str) -> Dense | None:
        node = self.node(self.source(value, moved=True))
        if node is None:
            return None
        if node.op == "Add":
            for bias, product in self.sides(node):
                vector = self.vector(bias)
                found = None if vector is None else self.product(product)
                if found is not None and vector is not None and found.bias is None:
                    return replace(found, bias=vector) if vector.shape == found.weight.shape[:1] else None
        return self.product(value)

    def vector(self, value: str) -> Expression | None:
        """Constant numbers along one dimension."""
        found = self.constants.weight(value)
        return None if found is None else found.flat()

    def product(self, value: str) -> Dense | None:  # noqa: PLR0911 (one return for each operation)
        """A product x · Wᵀ with a constant W, in floating point or in whole numbers."""
        node = self.node(self.source(value, moved=True))
        if node is None:
            return None
        attributes = node.attributes
        match node.op.removeprefix(f"{MICROSOFT}."):
            case "MatMul":
                return self.layer(node.input(0), self.constants.weight(node.input(1)), False)
            case "FusedMatMul" if not attributes.get("transA") and attributes.get("alpha", 1.0) == 1.0:
                return self.layer(
                    node.input(0), self.constants.weight(node.input(1)), bool(attributes.get("transB", 0))
                )
            case "Gemm" | "FusedGemm":
                plain = attributes.get("alpha", 1.0) == attributes.get("beta", 1.0) == 1.0
                if not plain or attributes.get("transA"):
                    return None
                found = self.layer(
                    node.input(0), self.constants.weight(node.input(1)), bool(attributes.get("transB", 0))
                )
                return self.with_bias(found, node.input(2))
            case "Mul":  # the sums of whole numbers times both scales
                for product, scales in self.sides(node):
                    inner = self.node(self.source(product))
                    if inner is not None and inner.op == "MatMulInteger":
                        return self.whole_product(inner, 0, 1, scales, 3)
            case "MatMulIntegerToFloat":
                return self.with_bias(self.whole_product(node, 0, 1, node.input(3), 5), node.input(6))
            case "DynamicQuantizeMatMul":
                return self.with_bias(self.whole_product(node, 0, 1, node.input(2), 3), node.input(4))
            case "QLinearMatMul":
                return self.whole_product(node, 0, 3, node.input(4), 5)
        return None

    def layer(self, x: str, weight: Expression | None, is_ours: bool) -> Dense | None:
        """A dense layer with W as it is stored: (out, in) where ``is_ours``, else (in, out)."""
        if weight is None or len(weight.shape) != 2:
            return None
        return Dense(self.source(x, moved=True), weight if is_ours else weight.T, None)

    def with_bias(self, found: Dense | None, bias: str) -> Dense | None:
        """The layer with its bias, where it has one."""
        if found is None or not bias:
            return found
        vector = self.vector(bias)
        return None if vector is None or vector.shape != found.weight.shape[:1] else replace(found, bias=vector)

    def whole_product(self, node: Node, x: int, weight: int, scales: str, zero_point: int) -> Dense | None:
        """A product of whole numbers; ``scales`` may be the product of both operands' scales."""
        scale = scales
        for _ in range(4):  # of the two factors, the constant one is the weight's
            factors = self.node(scale)
            if scale in self.graph.tensors or factors is None:
                break
            if factors.op == "Mul":
                scale = next((each for each in factors.inputs if self.constants.find(each) is not None), "")
            else:
                scale = factors.input(0)
        stored = self.graph.tensors.get(node.input(weight))
        if stored is None or scale not in self.graph.tensors or len(stored.shape) != 2:
            return None
        found = self.constants.scaled(Expression(stored), scale, node.input(zero_point), 1)
        return None if found is None else Dense(self.source(node.input(x), moved=True), found.T, None)

    # ── layer norms ──────────────────────────────────────────────────────────────────────────────

    def norm(self, value: str) -> Norm | None:
        """A layer norm over the last dimension, in one operation or written out."""
        node = self.node(value)
        if node is None:
            return None
        eps = node.attributes.get("epsilon")
        if node.op == "LayerNormalization":
            if node.attributes.get("axis", -1) not in (-1, 2) or not node.input(2):
                return None
            return self.norm_of(self.addends(node.input(0)), node.input(1), node.input(2), eps or 1e-5)
        if node.op == f"{MICROSOFT}.SkipLayerNormalization":
            both = (*self.addends(node.input(0)), *self.addends(node.input(1)))
            found = self.norm_of(both, node.input(2), node.input(3), eps or 1e-12)
            if found is None or not node.input(4):
                return found
            extra = self.vector(node.input(4))
            return None if extra is None else replace(found, extra_bias=extra)
        written = self.written_norm(value)
        return None if written is None else self.norm_of(self.addends(written[0]), *written[1:])

    def norm_of(self, addends: tuple[str, ...], weight: str, bias: str, eps: float | None) -> Norm | None:
        """A norm, where its weight and bias are constant vectors."""
        by, plus = self.vector(weight), self.vector(bias)
        return None if by is None or plus is None or by.shape != plus.shape else Norm(addends, by, plus, eps)

    def written_norm(self, value: str) -> tuple[str, str, str, float | None] | None:
        """Of (x - mean) / sqrt(variance + eps) · weight + bias, operation by operation: x, weight, bias, eps."""
        node = self.node(value)
        if node is None or node.op != "Add":
            return None
        for bias, scaled in self.sides(node):
            product = self.node(self.source(scaled)) if self.vector(bias) is not None else None
            for weight, normal in self.sides(product) if product is not None and product.op == "Mul" else ():
                found = self.centred_over_deviation(normal) if self.vector(weight) is not None else None
                if found is not None:
                    return found[0], weight, bias, found[1]
        return None

    def centred_over_deviation(self, value: str) -> tuple[str, float | None] | None:
        """Of (x - mean) / sqrt(variance + eps): x and eps."""
        node = self.node(self.source(value))
        if node is None or node.op not in ("Div", "Mul"):
            return None
        orders = self.sides(node) if node.op == "Mul" else [(node.input(0), node.input(1))]
        for centred, deviation in orders:
            root = self.node(self.source(deviation))
            if node.op == "Mul":
                root = self.node(root.input(0)) if root is not None and root.op == "Reciprocal" else None
            if root is None or root.op != "Sqrt":
                continue
            variance = self.node(self.source(root.input(0)))
            x = self.centred(centred)
            if x is None or variance is None or variance.op != "Add":
                continue
            for eps, mean in self.sides(variance):
                number = self.constants.number(eps)
                if number is not None and self.mean_of_squares(mean, x):
                    return x, number
        return None

    def centred(self, value: str) -> str | None:
        """Of x - mean(x): x."""
        node = self.node(self.source(value))
        if node is None or node.op != "Sub":
            return None
        mean = self.node(self.source(node.input(1)))
        x = self.source(node.input(0))
        return x if mean is not None and mean.op == "ReduceMean" and self.source(mean.input(0)) == x else None

    def mean_of_squares(self, value: str, x: str) -> bool:
        """Whether a value is the mean of (x - mean(x))²."""
        mean = self.node(self.source(value))
        square = self.node(self.source(mean.input(0))) if mean is not None and mean.op == "ReduceMean" else None
        if square is None or square.op not in ("Pow", "Mul"):
            return False
        if square.op == "Pow":
            return self.constants.number(square.input(1)) == 2 and self.centred(square.input(0)) == x
        return square.input(0) == square.input(1) and self.centred(square.input(0)) == x

    def addends(self, value: str) -> tuple[str, ...]:
        """What a sum is made of.  A dense layer with its bias is one addend."""
        found: list[str] = []
        waiting = [value]
        while waiting and len(found) < LONGEST:
            each = self.source(waiting.pop(0))
            node = self.node(each)
            if node is None or node.op != "Add" or self.dense(each) is not None or self.written_norm(each):
                found.append(each)
            else:
                waiting = [*node.inputs, *waiting]
        return tuple(found)

    # ── embeddings ───────────────────────────────────────────────────────────────────────────────

    def lookup(self, value: str) -> Lookup | None:
        """Rows of a constant table; int8 rows may be scaled after they were taken, by one scale or one for each row."""
        value = self.source(value)
        node = self.node(value)
        if node is not None and node.op == "DequantizeLinear":
            taken = self.gathered(node.input(0))
            table = None if taken is None else self.constants.scaled(taken.table, node.input(1), node.input(2), 0)
        elif node is not None and node.op == "Mul":
            taken, table = self.scaled_rows(node)
        else:
            taken = self.gathered(value)
            table = None if taken is None or node is None else taken.table
            table = table if table is not None and (table.scale or table.root.dtype in FLOATS) else None
        if taken is None or table is None or len(table.shape) != 2:
            return None
        return Lookup(table, taken.ids)

    def gathered(self, value: str) -> Lookup | None:
        """Rows of a constant, of any kind of numbers and any rank."""
        value = self.source(value, moved=True) if self.node(value) is not None else value
        node = self.node(value)
        if node is None or node.op != "Gather" or node.attributes.get("axis", 0) != 0:
            return None
        table = self.constants.find(node.input(0))
        return None if table is None else Lookup(table, node.input(1))

    def scaled_rows(self, node: Node) -> tuple[Lookup | None, Expression | None]:
        """Of int8 rows times the scale of each: the lookup, and the table with its scales."""
        for rows, scales in self.sides(node):
            taken, by = self.gathered(rows), self.gathered(scales)
            if taken is not None and by is not None and len(taken.table.shape) == 2 and taken.ids == by.ids:
                return taken, self.constants.scaled(taken.table, by.table.root.name, "", 0)
        return None, None

    # ── activations ──────────────────────────────────────────────────────────────────────────────

    def activation(self, value: str) -> tuple[str | None, Dense] | None:
        """The activation that a value is, None for an unknown one, and the dense layer that it is of.

        A formula that is written out is computed at some points and compared with the known ones.
        """
        node = self.node(self.source(value))
        if node is not None and node.op in WHOLE_GELU:
            inner = self.dense(node.input(0))
            found = self.with_bias(inner, node.input(1))
            return None if found is None else (WHOLE_GELU[node.op], found)
        found_at: dict[str, Dense] = {}
        try:
            curve = self.computed(value, found_at, {}, [LONGEST])
        except (RuntimeError, TypeError):  # sizes or inputs that do not fit: no formula of one variable
            return None
        if curve is None or len(set(map(id, found_at.values()))) != 1:
            return None
        distances = {name: float((curve - known(POINTS)).abs().max()) for name, known in ACTIVATIONS.items()}
        nearest = min(distances, key=lambda name: distances[name])
        (layer,) = {id(each): each for each in found_at.values()}.values()
        return (nearest if distances[nearest] < CLOSE else None), layer

    def computed(
        self, value: str, layers: dict[str, Dense], known: dict[str, Tensor | None], left: list[int]
    ) -> Tensor | None:
        """The values that an elementwise formula of one dense layer has where that layer's are POINTS."""
        value = self.source(value)
        if value in known:
            return known[value]
        left[0] -= 1
        if left[0] < 0:
            return None
        layer = self.dense(value)
        if layer is not None:
            layers[value] = layer
            known[value] = POINTS
            return POINTS
        number = self.constants.number(value)
        node = self.node(value)
        result = None
        if number is not None:
            result = torch.full_like(POINTS, number)
        elif node is not None and (node.op in FUNCTIONS or node.op == "Gelu"):
            known[value] = None
            inputs = [self.computed(each, layers, known, left) for each in node.inputs]
            if all(each is not None for each in inputs):
                if node.op == "Gelu":
                    how = "tanh" if node.attributes.get("approximate", b"none") == b"tanh" else "none"
                    result = F.gelu(inputs[0], approximate=how)  # type: ignore[arg-type]
                else:
                    result = FUNCTIONS[node.op](*inputs)
        known[value] = result
        return result

    # ── attention ────────────────────────────────────────────────────────────────────────────────

    def attention(self, context: str) -> Attention | None:  # noqa: PLR0911 (one return for each operation)
        """The attention whose context a value is."""
        node = self.node(self.source(context, moved=True))
        if node is None:
            return None
        heads = node.attributes.get("num_heads", node.attributes.get("q_num_heads"))
        heads = heads if heads is not None and heads > 0 else None
        scale = node.attributes.get("scale") or None
        match node.op:
            case "com.microsoft.Attention" | "com.microsoft.QAttention":
                return self.fused_attention(node, heads, scale)
            case "com.microsoft.MultiHeadAttention":
                if node.attributes.get("unidirectional"):
                    return None
                layers = [self.dense(node.input(number)) for number in range(3)]
                return self.three(layers, node.input(3), heads, scale)
            case "Attention":
                if node.attributes.get("is_causal") or node.attributes.get("softcap"):
                    return None
                found = [self.head_path(node.input(number)) for number in range(3)]
                parts = [each for each in found if each is not None]
                if len(parts) < 3:
                    return None
                own = self.three([each[0] for each in parts], "", heads or parts[0][2], None)
                product = parts[0][1] * parts[1][1]
                size = self.head_size(own)
                if own is None or (scale is None and product == 1):
                    return own
                default = None if size is None else size**-0.5
                whole = scale if scale is not None else default
                return None if whole is None else replace(own, scale=whole * product)
            case "MatMul" | "com.microsoft.FusedMatMul":
                return self.written_attention(node)
        return None

    @staticmethod
    def head_size(found: Attention | None) -> int | None:
        """H / N."""
        return None if found is None or not found.heads else found.query.weight.shape[0] // found.heads

    def three(self, layers: list[Dense | None], bias: str, heads: int | None, scale: float | None) -> Attention | None:
        """Attention from three dense layers of one value, with their biases in one vector where ``bias`` is given."""
        found = [each for each in layers if each is not None]
        if len(found) < 3 or len({each.x for each in found}) != 1:
            return None
        if bias:
            vector = self.vector(bias)
            parts = [None if vector is None else vector.part(0, number, 3) for number in range(3)]
            found = [replace(each, bias=part) for each, part in zip(found, parts, strict=True) if part is not None]
        return Attention(found[0].x, found[0], found[1], found[2], heads, scale) if len(found) == 3 else None

    def fused_attention(self, node: Node, heads: int | None, scale: float | None) -> Attention | None:
        """Attention and QAttention of onnxruntime: one matrix (H, 3H) for query, key and value."""
        attributes = node.attributes
        if attributes.get("unidirectional") or attributes.get("do_rotary"):
            return None
        if len(set(attributes.get("qkv_hidden_sizes", [0]))) != 1:
            return None
        if node.op.endswith("QAttention"):
            stored = self.graph.tensors.get(node.input(1))
            whole = None
            if stored is not None and len(stored.shape) == 2:
                whole = self.constants.scaled(Expression(stored), node.input(4), node.input(7), 1)
        else:
            whole = self.constants.weight(node.input(1))
        bias = self.vector(node.input(2)) if node.input(2) else None
        if whole is None or (node.input(2) and bias is None):
            return None
        x = self.source(node.input(0), moved=True)
        layers: list[Dense | None] = []
        for number in range(3):
            weight = whole.part(1, number, 3)
            own = None if bias is None else bias.part(0, number, 3)
            layers.append(None if weight is None or (bias is not None and own is None) else Dense(x, weight.T, own))
        return self.three(layers, "", heads, scale)

    def written_attention(self, node: Node) -> Attention | None:
        """softmax(query · keyᵀ · scale + mask) · value, operation by operation."""
        value = self.head_path(node.input(1))
        product = self.scores(node.input(0), [LONGEST], behind_softmax=False) if value is not None else None
        if value is None or product is None or value[1] != 1:
            return None
        scores, scale = product
        query, key = self.head_path(scores.input(0)), self.head_path(scores.input(1))
        if query is None or key is None or scores.attributes.get("transA"):
            return None
        scale *= query[1] * key[1] * float(scores.attributes.get("alpha", 1.0))
        return self.three([query[0], key[0], value[0]], "", query[2] or key[2] or value[2], scale)

    def scores(  # noqa: PLR0911 (one return for each operation)
        self, value: str, left: list[int], behind_softmax: bool
    ) -> tuple[Node, float] | None:
        """Behind the softmax, the mask and the scaling: the product of queries and keys, and by what it is scaled."""
        node = self.node(self.source(value))
        left[0] -= 1
        if node is None or left[0] < 0:
            return None
        if node.op == "Softmax" and not behind_softmax:
            last = node.attributes.get("axis", -1) in (-1, 3)
            return self.scores(node.input(0), left, True) if last else None
        if node.op == "Where":  # a mask, or zeros for rows without any token
            for each in node.inputs[1:]:
                if self.constants.find(each) is None and (found := self.scores(each, left, behind_softmax)):
                    return found
            return None
        if not behind_softmax:
            return None
        if node.op in ("MatMul", f"{MICROSOFT}.FusedMatMul"):
            return node, 1.0
        if node.op in ("Add", "Sub"):
            for each, other in self.sides(node)[: 2 if node.op == "Add" else 1]:
                if self.constants.find(each) is None and (found := self.scores(each, left, True)):
                    return None if self.reads_table(other) else found
            return None
        scaled = self.scaled(node)
        found = None if scaled is None else self.scores(scaled[0], left, True)
        return None if found is None or scaled is None else (found[0], found[1] * scaled[1])

    def behind(self, value: str) -> Iterator[Node]:
        """All nodes that a value depends on, without those that only its sizes depend on."""
        waiting, seen = [value], {value}
        while waiting and len(seen) < MOST_BEHIND:
            maker = self.graph.maker.get(waiting.pop())
            if maker is not None:
                yield maker[0]
                inputs = () if maker[0].op in ("Shape", "Size") else maker[0].inputs
                waiting += [name for name in inputs if name and name not in seen]
                seen.update(inputs)

    def reads_table(self, value: str) -> bool:
        """Whether a value has rows of a table of weights in it: a bias for relative positions is no mask."""
        return any(
            node.op == "Gather" and (table := self.constants.weight(node.input(0))) is not None and len(table.shape) > 1
            for node in self.behind(value)
        )

    def scaled(self, node: Node) -> tuple[str, float] | None:
        """Of x · number or x / number: x and the factor."""
        if node.op == "Mul":
            for number, x in self.sides(node):
                factor = self.constants.number(number)
                if factor is not None:
                    return x, factor
        if node.op == "Div":
            divisor = self.constants.number(node.input(1))
            if divisor:
                return node.input(0), 1 / divisor
        return None

    def head_path(self, value: str) -> tuple[Dense, float, int | None] | None:
        """From (B, N, T, D), or its transpose, back to the dense layer: with a scale and the number of heads."""
        scale, heads = 1.0, None
        for _ in range(LONGEST):
            value = self.source(value)
            maker = self.graph.maker.get(value)
            if maker is None:
                return None
            node = maker[0]
            if node.op == "Reshape":
                heads = self.heads_of(node, heads)
            if node.op not in MOVED:
                layer = self.dense_part(value)
                if layer is not None:
                    return layer, scale, heads
                scaled = self.scaled(node)
                if scaled is None:
                    return None
                value, factor = scaled
                scale *= factor
            else:
                value = node.input(0)
        return None

    def dense_part(self, value: str) -> Dense | None:
        """A dense layer, or one of the equal parts that one is split into: query, key and value in one product."""
        maker = self.graph.maker.get(self.source(value))
        if maker is None or maker[0].op != "Split":
            return self.dense(value)
        node, number = maker
        whole, count = self.dense(node.input(0)), len(node.outputs)
        sizes = node.attributes.get("split") or (self.constants.whole_numbers(node.input(1)) if node.input(1) else [])
        if whole is None or len(set(sizes or [0])) != 1 or node.attributes.get("axis", 0) not in (-1, 2):
            return None
        weight = whole.weight.part(0, number, count)
        bias = None if whole.bias is None else whole.bias.part(0, number, count)
        return None if weight is None or (whole.bias and bias is None) else Dense(whole.x, weight, bias)

    def heads_of(self, node: Node, heads: int | None) -> int | None:
        """The number of heads, from the shape (B, T, N, D) that a dense layer's output is given."""
        layer = self.dense_part(node.input(0))
        sizes = self.constants.sizes(node.input(1))
        if layer is None or sizes is None or len(sizes) < 2:
            return heads
        width = layer.weight.shape[0]
        number, size = sizes[-2:]
        if number is not None and number > 0 and size in (-1, width // number):
            return number if width % number == 0 else heads
        if size is not None and 0 < size < width and number in (-1, None) and width % size == 0:
            return width // size
        return heads
