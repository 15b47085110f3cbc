"""BERT in a graph: which stored numbers are which of its weights, and which settings the arithmetic shows.

Exporters rename most matrices (``onnx::MatMul_437``, ``val_86``) and optimisers join others, but the order of the steps
is BERT's: from the embeddings' layer norm on, each layer is found by what it takes and by what takes it.  Start with
:func:`find_bert`.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from minibert.errors import CheckpointError
from minibert.onnx_graph.expressions import Expression
from minibert.onnx_graph.file import MICROSOFT, Graph
from minibert.onnx_graph.node import Node
from minibert.onnx_graph.steps import ACTIVATIONS, Dense, Norm, Steps

MOST_TYPES = 16  # segments; a table with more rows is of positions or words
MOST_TRIED = 8  # layer norms of one sum; BERT has one
TRANSFORM = "cls.predictions.transform"


class Unknown(Exception):
    """The walk cannot go on; says where and why, for the message to the user."""


class NotBert(Exception):
    """The graph computes something that is not BERT; says what."""


@dataclass
class Bert:
    """What was found."""

    steps: Steps
    weights: dict[str, Expression] = field(default_factory=dict)  # by our name, in our layout: (out, in)
    settings: dict[str, Any] = field(default_factory=dict)  # fields of BertConfig that the graph shows
    problem: str = ""  # why the walk stopped; "" when every layer was recognised
    hidden: str = ""  # the value that is the last layer's output

    def put(self, name: str, dense: Dense) -> None:
        """Place a dense layer."""
        self.weights[f"{name}.weight"] = dense.weight
        if dense.bias is None:
            raise Unknown(f"{name} has no bias")
        self.weights[f"{name}.bias"] = dense.bias

    def put_norm(self, name: str, norm: Norm) -> None:
        """Place a layer norm."""
        self.weights[f"{name}.weight"], self.weights[f"{name}.bias"] = norm.weight, norm.bias

    def agree(self, setting: str, value: Any, where: str) -> None:
        """Keep a setting; NotBert where a part of the graph contradicts another."""
        if value is None:
            return
        if self.settings.setdefault(setting, value) != value:
            raise NotBert(f"{where} has {setting} {value}, others have {self.settings[setting]}")


def find_bert(graph: Graph) -> Bert:
    """BERT's weights and settings in ``graph``; ``problem`` says where a walk through it ended too early.

    Raises CheckpointError when the graph computes something else than BERT.
    """
    bert = Bert(Steps(graph))
    try:
        walk = _Walk(graph, bert)
        walk.embeddings()
        walk.layers()
        walk.heads()
    except Unknown as problem:
        bert.problem = str(problem)
    except NotBert as problem:
        raise CheckpointError(
            f"{graph.path} computes something else than BERT: {problem}. minibert runs BERT only; run the file with "
            "onnxruntime."
        ) from problem
    bert.settings |= {"num_labels": labels} if (labels := labels_of(graph)) else {}
    return bert


def labels_of(graph: Graph) -> int | None:
    """How many classes the classifier has, by its bias; None where there is none under that name."""
    biases = (graph.tensors[name].shape for name in graph.initializers if name.endswith("classifier.bias"))
    return next((shape[0] for shape in biases if len(shape) == 1), None)


def rounded(eps: float | None) -> float | None:
    """An epsilon as people write it: a float32 of 1e-12 is 9.999999960041972e-13."""
    return None if eps is None else float(f"{eps:.4g}")


class _Walk:
    """From the embeddings to the heads."""

    def __init__(self, graph: Graph, bert: Bert) -> None:
        self.graph, self.bert, self.steps = graph, bert, bert.steps
        self.norms: dict[str, Norm] = {}
        self.by_addend: dict[str, list[str]] = defaultdict(list)  # the norms whose sum has an addend
        for node in graph.nodes:
            value = node.outputs[0] if node.outputs else ""
            norm = self.steps.norm(value) if value else None
            if norm is not None:
                self.norms[value] = norm
                for addend in set(norm.addends):
                    self.by_addend[addend].append(value)

    # ── embeddings ───────────────────────────────────────────────────────────────────────────────

    def embeddings(self) -> None:
        """The three tables and their layer norm."""
        fused = next((n for n in self.graph.nodes if n.op == f"{MICROSOFT}.EmbedLayerNormalization"), None)
        if fused is not None:
            self.fused_embeddings(fused)
            return
        summed = (
            (value, norm)
            for value, norm in self.norms.items()
            if any(self.steps.lookup(addend) is not None for addend in norm.addends)
        )
        value, norm = next(summed, ("", None))
        if norm is None:
            raise Unknown("there is no layer norm of a sum of embeddings")
        tables = self.tables(norm)
        for role, table in tables.items():
            self.bert.weights[f"bert.embeddings.{role}_embeddings.weight"] = table
        self.bert.put_norm("bert.embeddings.LayerNorm", norm)
        self.bert.agree("layer_norm_eps", self.eps(norm), "the embeddings' layer norm")
        self.bert.hidden = value
        self.sizes_of_tables()

    def eps(self, norm: Norm) -> float | None:
        """The epsilon of a norm; None where float16 could not hold it."""
        return None if norm.eps is not None and self.is_half(norm) and norm.eps < 1e-6 else rounded(norm.eps)

    @staticmethod
    def is_half(norm: Norm) -> bool:
        return norm.weight.root.kind == "float16"

    def fused_embeddings(self, node: Node) -> None:
        """One operation of onnxruntime for all of it."""
        names = ("word", "position", "token_type")
        for role, name in zip(names, node.inputs[2:5], strict=False):
            table = self.steps.constants.weight(name)
            if table is None or len(table.shape) != 2:
                raise Unknown(f"{node.label} takes {name}, which is no table")
            self.bert.weights[f"bert.embeddings.{role}_embeddings.weight"] = table
        found = self.steps.norm_of((), node.input(5), node.input(6), node.attributes.get("epsilon", 1e-12))
        if found is None:
            raise Unknown(f"{node.label} takes a layer norm that is not stored")
        self.bert.put_norm("bert.embeddings.LayerNorm", found)
        self.bert.agree("layer_norm_eps", rounded(found.eps), "the embeddings' layer norm")
        self.bert.hidden = node.outputs[0]
        self.sizes_of_tables()

    def tables(self, norm: Norm) -> dict[str, Expression]:
        """Which table is of words, of positions, of segments: by the input that chooses its rows, else by its size."""
        found: dict[str, Expression] = {}
        unclear: list[Expression] = []
        for addend in norm.addends:
            lookup = self.steps.lookup(addend)
            dense = self.steps.dense(addend)
            if lookup is not None:
                role = self.role(lookup.ids)
                table: Expression | None = lookup.table
            elif dense is not None and dense.bias is None and dense.weight.shape[1] <= MOST_TYPES:
                role, table = "token_type", dense.weight.T  # Google's: a product with one-hot segments
            else:
                role, table = "position", self.folded(addend)
            if table is None:
                raise Unknown(
                    f"the embeddings add {addend}, which is no row of a stored table. If an exporter folded a table "
                    "into it, the table is lost: export with input_ids, attention_mask and token_type_ids as inputs, "
                    "all with dynamic sizes"
                )
            if lookup is not None and role is None and self.depends_on_ids(lookup.ids):
                raise NotBert(f"the rows of {table.in_file} are chosen by what the ids are, as RoBERTa's positions are")
            if role is None:
                unclear.append(table)
            elif role in found:
                raise Unknown(f"the embeddings have two tables of {role}s")
            else:
                found[role] = table
        rest = [role for role in ("token_type", "position", "word") if role not in found]
        unclear.sort(key=lambda each: each.shape[0])
        if len(unclear) != len(rest) or (
            len(unclear) > 1 and not unclear[0].shape[0] <= MOST_TYPES < unclear[1].shape[0]
        ):
            raise Unknown(f"the embeddings add {len(norm.addends)} tables, of which {', '.join(rest)} cannot be told")
        return found | dict(zip(rest, unclear, strict=True))

    def depends_on_ids(self, value: str) -> bool:
        """Whether a value depends on the numbers of an input, not on its sizes alone."""
        return any(
            name in self.graph.inputs
            for node in self.steps.behind(value)
            if node.op not in ("Shape", "Size")
            for name in node.inputs
        )

    def role(self, ids: str) -> str | None:
        """What an input of the graph chooses, by its name; None for ids that the graph computes."""
        value = self.steps.source(ids, moved=True)
        if value not in self.graph.inputs:
            return None
        plain = value.split(":")[0].split("/")[-1].lower()
        if "type" in plain or "segment" in plain:
            return "token_type"
        return "position" if "position" in plain else "word"

    def folded(self, addend: str) -> Expression | None:
        """A stored table that is added as it is, or its first rows: positions."""
        value = addend
        for _ in range(8):
            table = self.steps.constants.weight(value)
            if table is not None:
                shape = table.shape[-2:]
                return (
                    table.reshaped(shape)
                    if len(shape) == 2 and table.shape[:-2] in ((), (1,)) and shape[0] > 1
                    else None
                )
            node = self.steps.node(self.steps.source(value, moved=True))
            if node is None or node.op not in ("Slice", "Expand"):
                return None
            value = node.input(0)
        return None

    def sizes_of_tables(self) -> None:
        """The settings that the tables' shapes are."""
        for role, setting in (("word", "vocab_size"), ("position", "max_position_embeddings"),
                              ("token_type", "type_vocab_size")):  # fmt: skip
            table = self.bert.weights.get(f"bert.embeddings.{role}_embeddings.weight")
            if table is None:
                raise Unknown(f"the embeddings have no table of {role}s")
            rows, width = table.shape
            self.bert.settings[setting] = rows
            self.bert.agree("hidden_size", width, f"the table of {role}s")

    # ── layers ───────────────────────────────────────────────────────────────────────────────────

    def layers(self) -> None:
        """One layer after the other, until no layer norm adds to the hidden states any more."""
        number = 0
        while self.by_addend[self.bert.hidden]:
            name = f"bert.encoder.layer.{number}"
            value = self.attention_block(name)
            self.bert.hidden = self.feed_forward(name, value)
            number += 1
        if not number:
            raise Unknown("no layer follows the embeddings")
        self.bert.settings["num_hidden_layers"] = number
        self.bert.settings.setdefault("num_attention_heads", None)

    def residual(self, value: str, hidden: str) -> Dense | None:
        """Of the norm ``value``: the dense layer that is added to ``hidden``."""
        norm = self.norms[value]
        rest = list(norm.addends)
        rest.remove(hidden)
        vectors = [vector for addend in rest if (vector := self.steps.vector(addend)) is not None]
        layers = [dense for addend in rest if (dense := self.steps.dense(addend)) is not None]
        if len(layers) != 1 or len(vectors) + len(layers) != len(rest):
            return None
        dense = layers[0]
        biases = [bias for bias in (dense.bias, norm.extra_bias, *vectors) if bias is not None]
        return replace(dense, bias=biases[0]) if len(biases) == 1 else None

    def attention_block(self, name: str) -> str:
        """Self-attention, its output layer and the norm of the sum.  Returns the norm's value."""
        hidden = self.bert.hidden
        for value in self.by_addend[hidden][:MOST_TRIED]:
            output = self.residual(value, hidden)
            found = None if output is None else self.steps.attention(output.x)
            if output is None or found is None or found.x != hidden:
                continue
            for part in ("query", "key", "value"):
                self.bert.put(f"{name}.attention.self.{part}", getattr(found, part))
            self.bert.put(f"{name}.attention.output.dense", output)
            self.bert.put_norm(f"{name}.attention.output.LayerNorm", self.norms[value])
            self.bert.agree("layer_norm_eps", self.eps(self.norms[value]), f"{name}.attention.output.LayerNorm")
            self.bert.agree("num_attention_heads", found.heads, f"{name}.attention")
            self.check_scale(name, found.heads, found.scale)
            return value
        raise Unknown(
            f"layer norm {self.by_addend[hidden][0]} adds something to {hidden} that is not recognised as attention"
        )

    def check_scale(self, name: str, heads: int | None, scale: float | None) -> None:
        """Scores are divided by the root of the head size; a graph with another number computes another model."""
        size = self.bert.settings["hidden_size"]
        if scale is not None and not 0 < scale < 1e6:
            raise NotBert(f"{name}.attention multiplies its scores by {scale:.6g}")
        if heads is None and scale:  # the scale tells the head size
            heads = round(size * scale**2)
            if heads and size % heads == 0:
                self.bert.agree("num_attention_heads", heads, f"{name}.attention")
        if scale is not None and heads and abs(scale * (size / heads) ** 0.5 - 1) > 2e-3:  # float16 rounds by less
            raise NotBert(
                f"{name}.attention multiplies its scores by {scale:.6g}, and BERT with {heads} heads by "
                f"{(heads / size) ** 0.5:.6g}"
            )

    def feed_forward(self, name: str, value: str) -> str:
        """The two dense layers with the activation between them, and the norm of the sum."""
        for after in self.by_addend[value][:MOST_TRIED]:
            output = self.residual(after, value)
            found = None if output is None else self.steps.activation(output.x)
            if output is None or found is None or found[1].x != value:
                continue
            activation, intermediate = found
            self.bert.put(f"{name}.intermediate.dense", intermediate)
            self.bert.put(f"{name}.output.dense", output)
            self.bert.put_norm(f"{name}.output.LayerNorm", self.norms[after])
            if activation is None:
                raise NotBert(f"{name}.intermediate has an activation that is none of {', '.join(ACTIVATIONS)}")
            self.bert.agree("hidden_act", activation, f"{name}.intermediate")
            self.bert.agree("intermediate_size", intermediate.weight.shape[0], f"{name}.intermediate")
            self.bert.agree("layer_norm_eps", self.eps(self.norms[after]), f"{name}.output.LayerNorm")
            return after
        raise Unknown(f"{name} has attention, and no feed-forward network after it that is recognised")

    # ── heads ────────────────────────────────────────────────────────────────────────────────────

    def heads(self) -> None:
        """The pooler, and the transform and decoder of masked language modelling."""
        for node in self.graph.nodes:
            dense = self.pooler(node)
            if dense is not None:
                self.bert.put("bert.pooler.dense", dense)
                break
        for value, norm in self.norms.items():
            found = self.steps.activation(norm.addends[0]) if len(norm.addends) == 1 else None
            if found is not None and found[1].x == self.bert.hidden:
                self.bert.put(f"{TRANSFORM}.dense", found[1])
                self.bert.put_norm(f"{TRANSFORM}.LayerNorm", norm)
                self.decoder(value)
                break

    def pooler(self, node: Node) -> Dense | None:
        """The tanh of a dense layer of the first token's vector."""
        is_tanh = node.op == "Tanh" or (
            node.op == f"{MICROSOFT}.FusedGemm" and node.attributes.get("activation") == b"Tanh"
        )
        dense = self.steps.dense(node.input(0) if node.op == "Tanh" else node.outputs[0]) if is_tanh else None
        if dense is None or dense.bias is None or dense.weight.shape[0] != dense.weight.shape[1]:
            return None
        return dense if any(self.first_tokens(dense.x)) else None

    def first_tokens(self, value: str) -> Iterator[bool]:
        """For each operation that takes a part, back to the hidden states: whether it takes the first token."""
        taken = False
        for _ in range(8):
            value = self.steps.source(value, moved=True)
            if value == self.bert.hidden:
                yield taken
                return
            node = self.steps.node(value)
            if node is None or node.op not in ("Gather", "Slice"):
                return
            values = self.steps.constants.values
            if node.op == "Gather":
                taken |= node.attributes.get("axis", 0) in (1, -2) and values(node.input(1)) == [0]
            else:
                taken |= values(node.input(1)) == [0] and values(node.input(2)) == [1] and values(node.input(3)) == [1]
            value = node.input(0)

    def decoder(self, transformed: str) -> None:
        """The scores of all pieces, from the transformed hidden states."""
        for node in self.graph.nodes:
            dense = self.steps.dense(node.outputs[0]) if node.op in ("Add", "Gemm") else None
            if dense is not None and dense.x == transformed and dense.bias is not None:
                self.bert.weights["cls.predictions.decoder.weight"] = dense.weight
                self.bert.weights["cls.predictions.bias"] = dense.bias
                return
