"""A float32 ONNX graph in 8 bits: the products of every linear layer, and the tables of embeddings.

Each product ``x @ W + b`` becomes

    c = (x - middle) / spread        per input; hidden in the LayerNorm before it, where there is one
    m = max |c|                      per token
    q = round(127 · c / m) + 128     u8
    y = (q - 128) @ Q · scale · m / 127 + b'

with Q the weights in s8 and a scale per output (``rounding.py``).  The spread of an input moves the range of outliers
from the activations to the weights, SmoothQuant's scaling (Xiao et al. 2022); how much of it, is tried out per layer.
With one ``m`` per token a token's numbers depend on no other token, batch or padding, and no text can leave the range,
as it would leave ranges that were fixed during calibration.  GELU's output is never below -0.17, so there q begins at
0 and has twice the precision.  Operations are plain ONNX: QuantizeLinear, DequantizeLinear, MatMul, which runtimes
fuse to products of integers.  Start with :func:`quantize`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError, MissingExtraError
from minibert.export.rounding import round_weights, weight_scales
from minibert.verify.batches import Batch

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of the range of an input that its spread takes; SmoothQuant's alpha
ROWS = 2048  # tokens to choose the share by
LOWEST_GELU = -0.17  # its least value is -0.16997; that of its tanh form, -0.17004, is cut
LARGEST_GRAPH = (1 << 31) - 1  # bytes of a graph that onnxruntime takes from memory, weights included
SMALLEST = 1e-6  # of m: a token of nothing but zeros
OUTLIERS = 48  # one input in this many, those of the widest range, is multiplied in float32
TABLE = 16  # rows from which on a table of embeddings is written in 8 bits


@dataclass
class Product:
    """A linear layer of the graph: a MatMul, and the Add of its bias."""

    names: list[str]  # of the values it computes: of the MatMul, and of the Add of its bias
    weight: Tensor  # (K, N)
    bias: Tensor  # (N,)


@dataclass
class Group:
    """The products of one input, which is quantised once for all of them."""

    input: str
    products: list[Product]
    producer: Any | None  # the node that computes the input
    rows: list[Tensor] = field(default_factory=list)  # a sample of its tokens
    lowest: Tensor = field(default_factory=lambda: torch.zeros(0))  # (K,)
    highest: Tensor = field(default_factory=lambda: torch.zeros(0))
    middle: Tensor = field(default_factory=lambda: torch.zeros(0))
    spread: Tensor = field(default_factory=lambda: torch.zeros(0))
    kept: Tensor = field(default_factory=lambda: torch.ones(0))  # (K,): 0 of an input that stays in float32
    moment: Tensor = field(default_factory=lambda: torch.zeros(0))  # (K, K): sum of products of quantised inputs
    sums: tuple[Tensor, Tensor] = field(default_factory=lambda: (torch.zeros(0), torch.zeros(0)))  # exact, quantised
    count: int = 0

    @property
    def is_gelu(self) -> bool:
        """Whether the input has a known least value."""
        return self.producer is not None and self.producer.op_type == "Gelu"

    @property
    def is_normalised(self) -> bool:
        """Whether a LayerNorm computes the input, whose weights can take the middle and the spread."""
        return self.producer is not None and self.producer.op_type == "LayerNormalization"

    @property
    def outliers(self) -> Tensor:
        """The numbers of the inputs that stay in float32."""
        return (self.kept == 0).nonzero()[:, 0]

    @property
    def weight(self) -> Tensor:
        """All weights side by side, (K, N of all)."""
        return torch.cat([product.weight for product in self.products], dim=1)

    def quantised(self, x: Tensor) -> Tensor:
        """(n, K) as the graph will see it: ``c``, rounded."""
        c = (x - self.middle) / self.spread * self.kept
        if self.is_gelu:
            m = c.amax(dim=-1, keepdim=True).clamp(min=SMALLEST)
            return (c * (255 / m)).round().clamp(0, 255) * (m / 255)
        m = c.abs().amax(dim=-1, keepdim=True).clamp(min=SMALLEST)
        return (c * (127 / m)).round() * (m / 127)


def quantize(model: Any, batches: Sequence[Batch]) -> Any:
    """The graph in 8 bits, as a new ``onnx.ModelProto`` with the same inputs and outputs.

    Args:
        model: an ``onnx.ModelProto`` in float32, of :func:`minibert.graphs.onnx_model`.
        batches: calibration: ``input_ids``, ``attention_mask``, ``token_type_ids`` of text.

    Raises InputError for a graph without products and for calibration without tokens, MissingExtraError without onnx
    and onnxruntime.  The same graph and batches give the same bytes.
    """
    try:
        import onnx
        import onnxruntime  # noqa: F401
    except ImportError as error:
        raise MissingExtraError.of(f"{error.name} is not installed; to write int8", "onnx") from error
    if model.ByteSize() > LARGEST_GRAPH:
        raise InputError(
            f"This graph has {model.ByteSize() / 1e9:.1f} GB in float32; one of more than 2.1 GB cannot be calibrated."
        )
    written = onnx.ModelProto()
    written.CopyFrom(model)
    groups = find_groups(written.graph)
    if not groups:
        raise InputError("This graph has no linear layer, so there is nothing to write in 8 bits.")
    with torch.no_grad():
        run = activations(written, groups)
        for batch in batches:
            for group, x in run(batch):
                add_ranges(group, x)
        if not groups[0].count:
            raise InputError("The calibration text has no tokens.")
        for group in groups:
            choose_spread(group)
        for batch in batches:
            for group, x in run(batch):
                add_moments(group, x)
        rewrite(written.graph, groups)
        tables(written.graph)
    drop_unused(written.graph)
    onnx.checker.check_model(written)
    return written


def find_groups(graph: Any) -> list[Group]:
    """The products by a matrix of constants, in the order of the graph."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producers = {name: node for node in graph.node for name in node.output}
    readers: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    given = {output.name for output in graph.output}
    groups: dict[str, Group] = {}
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in constants:
            continue
        weight = to_torch(constants[node.input[1]])
        if weight.dim() != 2:
            continue
        bias, names = torch.zeros(weight.shape[1]), [node.output[0]]
        after = readers.get(node.output[0], [])
        if len(after) == 1 and after[0].op_type == "Add" and node.output[0] not in given:
            other = next((name for name in after[0].input if name in constants), None)
            if other is not None and tuple(constants[other].dims) == tuple(bias.shape):
                bias = to_torch(constants[other])
                names.append(after[0].output[0])
        name = node.input[0]
        group = groups.setdefault(name, Group(name, [], producers.get(name)))
        group.products.append(Product(names, weight, bias))
    return list(groups.values())


def activations(model: Any, groups: list[Group]) -> Any:
    """A function of a batch: each group with its input there, (tokens, K), padding left out."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto()
    watched.CopyFrom(model)
    del watched.graph.output[:]
    watched.graph.output.extend(
        onnx.helper.make_tensor_value_info(group.input, onnx.TensorProto.FLOAT, None) for group in groups
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(watched.SerializeToString(), options, providers=["CPUExecutionProvider"])
    taken = [each.name for each in session.get_inputs()]

    def run(batch: Batch) -> list[tuple[Group, Tensor]]:
        found = session.run(None, {name: batch[name].numpy() for name in taken})
        mask = batch["attention_mask"].bool().flatten(0, -2)
        pairs = zip(groups, map(torch.from_numpy, found), strict=True)
        return [(group, x[mask] if x.shape[:-1] == mask.shape else x.reshape(-1, x.shape[-1])) for group, x in pairs]

    return run


def add_ranges(group: Group, x: Tensor) -> None:
    """Take (n, K) into a group's ranges and its sample."""
    lowest, highest = x.amin(dim=0), x.amax(dim=0)
    group.lowest = torch.minimum(group.lowest, lowest) if group.count else lowest
    group.highest = torch.maximum(group.highest, highest) if group.count else highest
    group.count += len(x)
    group.rows.append(x[::7].clone())  # thinned out again when the share is chosen


def choose_spread(group: Group) -> None:
    """Set ``middle`` and ``spread``: the share of the range, out of SHARES, with the least error of the product."""
    x = torch.cat(group.rows)
    x = x[:: max(1, len(x) // ROWS)]
    group.rows = []
    weight = group.weight
    if group.is_gelu:
        group.middle = torch.full_like(group.lowest, LOWEST_GELU)
        reach = group.highest - LOWEST_GELU
    elif group.is_normalised:
        group.middle = (group.highest + group.lowest) / 2
        reach = (group.highest - group.lowest) / 2
    else:
        group.middle = torch.zeros_like(group.lowest)  # no node is there to take it
        reach = torch.maximum(group.highest.abs(), group.lowest.abs())
    group.kept = torch.ones_like(reach)
    if group.is_normalised:
        group.kept[reach.argsort(descending=True, stable=True)[: len(reach) // OUTLIERS]] = 0
    reach = (reach * group.kept).clamp(min=1e-3 * float(reach.max()) + 1e-12)
    exact = (x - x.mean(dim=0)) @ (weight * group.kept[:, None])
    best = float("inf")
    for share in SHARES[:1] if group.is_gelu else SHARES:
        spread, kept = (reach / reach.max()) ** share, group.spread
        group.spread = spread
        q = group.quantised(x)
        scaled = weight * (spread * group.kept)[:, None]
        scales = weight_scales(scaled, q.var(dim=0))
        rounded = (scaled / scales).round().clamp(-127, 127) * scales
        found = (q - q.mean(dim=0)) @ rounded
        error = float((found - exact).square().sum())
        if error < best:
            best = error
        else:
            group.spread = kept


def add_moments(group: Group, x: Tensor) -> None:
    """Take (n, K) into the sums over quantised inputs."""
    q = group.quantised(x)
    if not group.moment.numel():
        K = x.shape[1]
        group.moment, group.count = torch.zeros(K, K, dtype=torch.float64), 0
        group.sums = (torch.zeros(K, dtype=torch.float64), torch.zeros(K, dtype=torch.float64))
    group.count += len(x)
    group.moment += (q.T @ q).double()
    group.sums[0].add_(x.double().sum(dim=0))
    group.sums[1].add_(q.double().sum(dim=0))


def rewrite(graph: Any, groups: Sequence[Group]) -> None:
    """Put quantised products in the place of the float32 ones."""
    instead = {group.products[0].names[0]: group for group in groups}
    gone = {name for group in groups for product in group.products for name in product.names}
    nodes = list(graph.node)
    new: list[Any] = []
    for node in nodes:
        group = instead.get(node.output[0])
        if group is not None:
            new += quantised_input(graph, group)
            for product in group.products:
                new += quantised_product(graph, group, product)
        if node.output[0] not in gone:
            new.append(node)
    copies = [type(node).FromString(node.SerializeToString()) for node in new]
    del graph.node[:]
    graph.node.extend(copies)


def quantised_input(graph: Any, group: Group) -> list[Any]:
    """The nodes from a group's input to ``q`` (given back as float32, NAME_steps) and ``m`` (NAME_largest)."""
    from onnx.helper import make_node

    name = group.input
    centred = f"{name}_centred"
    nodes = []
    if group.is_normalised and group.producer is not None:
        constants = {tensor.name: tensor for tensor in graph.initializer}
        gain, *shift = (to_torch(constants[each]) for each in group.producer.input[1:])
        shifted = (shift[0] if shift else 0) - group.middle
        normed = type(group.producer).FromString(group.producer.SerializeToString())
        del normed.input[1:], normed.output[:]
        normed.input.extend(
            [
                constant(graph, f"{centred}_weight", gain / group.spread * group.kept),
                constant(graph, f"{centred}_bias", shifted / group.spread * group.kept),
            ]
        )
        normed.output.append(centred)
        normed.name = f"{centred}_LayerNormalization"
        nodes.append(normed)
    elif group.is_gelu:
        nodes.append(
            make_node("Sub", [name, constant(graph, "int8_lowest_gelu", torch.tensor(LOWEST_GELU))], [centred])
        )
    else:
        nodes.append(make_node("Div", [name, constant(graph, f"{name}_spread", group.spread)], [centred]))
    smallest = constant(graph, "int8_smallest", torch.tensor(SMALLEST))
    axes = constant(graph, "int8_last_axis", torch.tensor([-1]))
    kind = "unsigned" if group.is_gelu else "signed"
    step = constant(graph, f"int8_{kind}_step", torch.tensor(1 / 255 if group.is_gelu else 1 / 127))
    zero = constant(graph, f"int8_{kind}_zero", torch.tensor(0 if group.is_gelu else 128, dtype=torch.uint8))
    magnitude = centred
    if not group.is_gelu:
        magnitude = f"{name}_magnitude"
        nodes.append(make_node("Abs", [centred], [magnitude]))
    if len(group.outliers):
        numbers = constant(graph, f"{name}_outlier_numbers", group.outliers)
        nodes.append(make_node("Gather", [name, numbers], [f"{name}_outliers"], axis=-1))
    return [
        *nodes,
        make_node("ReduceMax", [magnitude, axes], [f"{name}_reach"], keepdims=1),
        make_node("Max", [f"{name}_reach", smallest], [f"{name}_largest"]),
        make_node("Div", [centred, f"{name}_largest"], [f"{name}_share"]),
        make_node("QuantizeLinear", [f"{name}_share", step, zero], [f"{name}_u8"]),
        make_node("DequantizeLinear", [f"{name}_u8", step, zero], [f"{name}_steps"]),
    ]


def quantised_product(graph: Any, group: Group, product: Product) -> list[Any]:
    """The nodes from a quantised input to a product with its bias."""
    from onnx.helper import make_node

    name = product.names[-1]
    scaled = product.weight * (group.spread * group.kept)[:, None]
    mean, quantised_mean = group.sums[0] / group.count, group.sums[1] / group.count
    moment = group.moment / group.count - quantised_mean[:, None] * quantised_mean
    scales = weight_scales(scaled, moment.diagonal().float())
    rounded = round_weights(scaled, scales, moment)
    # The mean of the product stays what it was: what rounding changes in it is made good here, once.
    change = mean @ (product.weight * group.kept[:, None]).double() - quantised_mean @ (
        rounded.double() * scales.double()
    )
    weight = constant(graph, f"{name}_weight_int8", rounded)
    scale = constant(graph, f"{name}_scale", scales)
    bias = constant(graph, f"{name}_bias", (product.bias.double() + change).float())
    nodes = [
        make_node("DequantizeLinear", [weight, scale], [f"{name}_weight"], axis=1),
        make_node("MatMul", [f"{group.input}_steps", f"{name}_weight"], [f"{name}_product"]),
        make_node("Mul", [f"{name}_product", f"{group.input}_largest"], [f"{name}_scaled"]),
    ]
    scaled_name = f"{name}_scaled"
    if len(group.outliers):
        rows = constant(graph, f"{name}_outlier_weight", product.weight[group.outliers])
        nodes += [
            make_node("MatMul", [f"{group.input}_outliers", rows], [f"{name}_outliers"]),
            make_node("Add", [scaled_name, f"{name}_outliers"], [f"{name}_whole"]),
        ]
        scaled_name = f"{name}_whole"
    return [*nodes, make_node("Add", [scaled_name, bias], [name])]


def tables(graph: Any) -> None:
    """Tables that Gather reads rows of, with TABLE rows or more: int8 with a scale per row."""
    from onnx.helper import make_node

    constants = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[Any] = []
    for node in graph.node:
        table = constants.get(node.input[0]) if node.op_type == "Gather" else None
        axis = next((each.i for each in node.attribute if each.name == "axis"), 0)
        if table is None or table.data_type != table.FLOAT or len(table.dims) != 2 or table.dims[0] < TABLE or axis:
            nodes.append(node)
            continue
        name, output = table.name, node.output[0]
        rows = to_torch(table)
        scales = rows.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / 127
        integers = constant(graph, f"{name}_int8", (rows / scales).round().to(torch.int8))
        scale = constant(graph, f"{name}_scale", scales)
        nodes += [
            make_node("Gather", [integers, node.input[1]], [f"{output}_int8"]),
            make_node("Cast", [f"{output}_int8"], [f"{output}_steps"], to=table.FLOAT),
            make_node("Gather", [scale, node.input[1]], [f"{output}_scale"]),
            make_node("Mul", [f"{output}_steps", f"{output}_scale"], [output]),
        ]
    copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def drop_unused(graph: Any) -> None:
    """Take out constants that no node reads."""
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    copies = [type(tensor).FromString(tensor.SerializeToString()) for tensor in kept]
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(copies)


def constant(graph: Any, name: str, value: Tensor) -> str:
    """Add a constant, unless one of this name is there; its name."""
    from onnx import numpy_helper

    if all(tensor.name != name for tensor in graph.initializer):
        graph.initializer.append(numpy_helper.from_array(value.numpy(), name))
    return name


def to_torch(tensor: Any) -> Tensor:
    """An initializer as a tensor of its own."""
    from onnx import numpy_helper

    return torch.from_numpy(numpy_helper.to_array(tensor).copy())
