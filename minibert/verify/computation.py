"""BERT as formulas that can be computed one by one, from any value that is already known: the table of points, alive.

A :class:`Computation` holds the values of one batch.  A value is computed when it is first asked for, from the values
before it; a value that is *set* (because another implementation has it) is what everything after it is computed from;
and a formula that is *replaced* (by a known mistake) gives what an implementation with that mistake would have.  All of
it in float64, so that the only rounding in a comparison is that of the other side.

The names are those of minibert/points.py, without the points that only repeat another ("= dropout").  Start with
``FORMULAS``; ``tests/verify/test_computation.py`` holds every one against the model.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.model import activation

Formula = Callable[["Scope"], Tensor]

SELF, OUT = "attention.self", "attention.output"

EMBEDDINGS: dict[str, Formula] = {
    "embeddings.word_embeddings": lambda s: s.rows("embeddings.word_embeddings", s.ids),
    "embeddings.token_type_embeddings": lambda s: s.rows("embeddings.token_type_embeddings", s.segments),
    "embeddings.position_embeddings": lambda s: s.rows("embeddings.position_embeddings", s.positions),
    "embeddings.sum": lambda s: (
        s["embeddings.word_embeddings"] + s["embeddings.token_type_embeddings"] + s["embeddings.position_embeddings"]
    ),
    "embeddings": lambda s: s.layer_norm("embeddings.LayerNorm", s["embeddings.sum"]),
}
LAYER: dict[str, Formula] = {  # names after encoder.layer.N.; "x" is what the layer reads
    "attention.self.query": lambda s: s.dense(f"{SELF}.query", s["x"]),
    "attention.self.key": lambda s: s.dense(f"{SELF}.key", s["x"]),
    "attention.self.value": lambda s: s.dense(f"{SELF}.value", s["x"]),
    "attention.self.scores": lambda s: s.heads(s[f"{SELF}.query"]) @ s.heads(s[f"{SELF}.key"]).mT * s.scale,
    "attention.self.probabilities": lambda s: torch.softmax(s[f"{SELF}.scores"] + s.mask, dim=-1),
    "attention.self.context": lambda s: s.merged(s[f"{SELF}.probabilities"] @ s.heads(s[f"{SELF}.value"])),
    "attention.output.dense": lambda s: s.dense(f"{OUT}.dense", s[f"{SELF}.context"]),
    "attention.output.residual": lambda s: s[f"{OUT}.dense"] + s["x"],
    "attention.output": lambda s: s.layer_norm(f"{OUT}.LayerNorm", s[f"{OUT}.residual"]),
    "intermediate.dense": lambda s: s.dense("intermediate.dense", s["attention.output"]),
    "intermediate": lambda s: s.act(s["intermediate.dense"]),
    "output.dense": lambda s: s.dense("output.dense", s["intermediate"]),
    "output.residual": lambda s: s["output.dense"] + s["attention.output"],
    "output": lambda s: s.layer_norm("output.LayerNorm", s["output.residual"]),
}
POOLER: dict[str, Formula] = {
    "pooler.dense": lambda s: s.dense("pooler.dense", s["last"][:, 0]),
    "pooler": lambda s: torch.tanh(s["pooler.dense"]),
}
PREDICTIONS: dict[str, Formula] = {
    "cls.predictions.transform.dense": lambda s: s.dense("cls.predictions.transform.dense", s["last"]),
    "cls.predictions.transform.transform_act_fn": lambda s: s.act(s["cls.predictions.transform.dense"]),
    "cls.predictions.transform": lambda s: s.layer_norm(
        "cls.predictions.transform.LayerNorm", s["cls.predictions.transform.transform_act_fn"]
    ),
    "cls.predictions": lambda s: s.dense("cls.predictions.decoder", s["cls.predictions.transform"]),
}
OTHER_HEADS: dict[str, Formula] = {
    "cls.seq_relationship": lambda s: s.dense("cls.seq_relationship", s["pooler"]),
    "classifier": lambda s: s.dense("classifier", s["last" if s.c.tokens_are_classified else "pooler"]),
    "qa_outputs": lambda s: s.dense("qa_outputs", s["last"]),
}
AXES = {  # what each value's axes are, in the layout of minibert/points.py
    "attention.self.scores": "BNTS",
    "attention.self.probabilities": "BNTS",
    "intermediate.dense": "BTI",
    "intermediate": "BTI",
    "pooler.dense": "BH",
    "pooler": "BH",
    "cls.predictions": "BTV",
    "cls.seq_relationship": "BC",
    "qa_outputs": "BTC",
}


class Doubles:
    """Weights in float64: those that were used last are kept, so that a large model is never whole in memory twice."""

    def __init__(self, most: int = 1 << 28) -> None:
        self.most, self.size = most, 0  # bytes
        self.kept: OrderedDict[tuple[int, torch.Size, torch.dtype], tuple[Tensor, Tensor]] = OrderedDict()

    def of(self, weight: Tensor) -> Tensor:
        """The weight in float64, itself where it is."""
        if weight.dtype == torch.float64:
            return weight
        key = weight.data_ptr(), weight.shape, weight.dtype
        if key not in self.kept:
            self.kept[key] = weight, weight.double()
            self.size += 8 * weight.numel()
            while self.size > self.most and len(self.kept) > 1:
                _, (_, double) = self.kept.popitem(last=False)
                self.size -= 8 * double.numel()
        self.kept.move_to_end(key)
        return self.kept[key][1]


@dataclass(frozen=True)
class Reference:
    """The right model: its settings, and its weights under BERT's names (without ``bert.``), in any dtype."""

    config: BertConfig
    weights: Mapping[str, Tensor]
    tokens_are_classified: bool = False
    dtype: torch.dtype = torch.float32  # in which the model that the weights are of computes
    doubles: Doubles = field(default_factory=Doubles, repr=False, compare=False)

    def weight(self, name: str) -> Tensor:
        """A weight in float64."""
        return self.doubles.of(self.weights[name])

    def rows(self, name: str, ids: Tensor) -> Tensor:
        """Rows of a table in float64: ids of any shape → (…, H)."""
        return self.weights[name][ids].double()

    @property
    def sizes(self) -> dict[str, int]:
        """How long the axes N, D, H, I, V and C are."""
        config, heads = self.config, [head for head in OTHER_HEADS if f"{head}.weight" in self.weights]
        N, H = config.num_attention_heads, config.hidden_size
        classes = len(self.weights[f"{heads[0]}.weight"]) if heads else 2
        return {"N": N, "D": H // N, "H": H, "I": config.intermediate_size, "V": config.vocab_size, "C": classes}

    @property
    def names(self) -> list[str]:
        """Every value, in the order of computation."""
        layers = [f"encoder.layer.{k}.{name}" for k in range(self.config.num_hidden_layers) for name in LAYER]
        others = [name for name in OTHER_HEADS if f"{name}.weight" in self.weights]
        pooler = list(POOLER) if "pooler.dense.weight" in self.weights else []
        predictions = list(PREDICTIONS) if "cls.predictions.transform.dense.weight" in self.weights else []
        return [*EMBEDDINGS, *layers, *pooler, *predictions, *others]

    def axes(self, name: str) -> str:
        """The letters of a value's axes: B, T, H, N, S (the tokens seen), I, V, C (classes)."""
        local = split(name)[1]
        if local == "classifier":
            return "BTC" if self.tokens_are_classified else "BC"
        return AXES.get(local, "BTH")


@lru_cache(maxsize=8192)
def split(name: str) -> tuple[int | None, str]:
    """The layer of a value, and its name in the layer: ``encoder.layer.3.output`` → (3, "output")."""
    parts = name.split(".", 3)
    return (int(parts[2]), parts[3]) if parts[:2] == ["encoder", "layer"] else (None, name)


@dataclass
class Computation:
    """The values of one batch.

    Attributes:
        known: values that were set or computed, by full name.
        replaced: formulas in place of the right ones, by full name.
        weights_of: for each layer, the number of the layer whose weights it uses.
    """

    reference: Reference
    batch: Mapping[str, Tensor]  # input_ids, attention_mask, token_type_ids: (B, T)
    known: dict[str, Tensor] = field(default_factory=dict)
    replaced: dict[str, Formula] = field(default_factory=dict)
    weights_of: dict[int, int] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Tensor:
        if name not in self.known:
            layer, local = split(name)
            formula = self.replaced.get(name) or FORMULAS[local]
            self.known[name] = formula(Scope(self, layer))
        return self.known[name]

    def layer(self, number: int, x: Tensor) -> Tensor:
        """What a layer makes of any input (B, T, H)."""
        before = f"encoder.layer.{number - 1}.output" if number else "embeddings"
        last = f"encoder.layer.{number}.output"
        replaced = {name: formula for name, formula in self.replaced.items() if name not in (before, last)}
        return Computation(self.reference, self.batch, {before: x}, replaced, self.weights_of)[last]

    def fork(self, after: list[str], replaced: Mapping[str, Formula], weights_of: Mapping[int, int]) -> "Computation":
        """The same up to the values ``after``, which are computed again with these formulas in place."""
        again = set(after)
        known = {name: value for name, value in self.known.items() if name not in again}
        return Computation(
            self.reference, self.batch, known, {**self.replaced, **replaced}, {**self.weights_of, **weights_of}
        )

    @property
    def tokens_are_classified(self) -> bool:
        """Whether the classifier reads every token, not the pooler."""
        return self.reference.tokens_are_classified

    @property
    def visible(self) -> Tensor:
        """(B, T) bool: which tokens are no padding."""
        return self.batch["attention_mask"].bool()


@dataclass(frozen=True)
class Scope:
    """What a formula sees: values and weights by their names in its layer, and the batch."""

    c: Computation
    layer: int | None

    def __getitem__(self, name: str) -> Tensor:
        if name == "x":
            assert self.layer is not None
            return self.c[f"encoder.layer.{self.layer - 1}.output" if self.layer else "embeddings"]
        if name == "last":
            return self.c[f"encoder.layer.{self.config.num_hidden_layers - 1}.output"]
        return self.c[name if self.layer is None else f"encoder.layer.{self.layer}.{name}"]

    def right(self, name: str) -> Tensor:
        """A value by the right formula, whatever stands in its place."""
        return FORMULAS[name](self)

    @property
    def config(self) -> BertConfig:
        """The model's settings."""
        return self.c.reference.config

    def w(self, name: str) -> Tensor:
        """A weight, by its name in the layer."""
        prefix = "" if self.layer is None else f"encoder.layer.{self.c.weights_of.get(self.layer, self.layer)}."
        return self.c.reference.weight(prefix + name)

    def rows(self, table: str, ids: Tensor) -> Tensor:
        """Rows of one of the embeddings' tables: ids of any shape → (…, H)."""
        return self.c.reference.rows(f"{table}.weight", ids)

    def dense(self, name: str, x: Tensor) -> Tensor:
        """``x @ Wᵀ + b``."""
        return F.linear(x, self.w(f"{name}.weight"), self.w(f"{name}.bias"))

    def layer_norm(self, name: str, x: Tensor) -> Tensor:
        """LayerNorm with the weights of that name, over the last axis."""
        return F.layer_norm(
            x, x.shape[-1:], self.w(f"{name}.weight"), self.w(f"{name}.bias"), self.config.layer_norm_eps
        )

    def act(self, x: Tensor) -> Tensor:
        """The config's activation."""
        return activation(self.config.hidden_act)(x)

    def heads(self, x: Tensor) -> Tensor:
        """(B, T, H) → (B, N, T, D)."""
        return x.view(*x.shape[:-1], self.config.num_attention_heads, -1).transpose(1, 2)

    def merged(self, x: Tensor) -> Tensor:
        """(B, N, T, D) → (B, T, H)."""
        return x.transpose(1, 2).flatten(2)

    @property
    def scale(self) -> float:
        """1/√D."""
        return float((self.config.hidden_size // self.config.num_attention_heads) ** -0.5)

    @property
    def ids(self) -> Tensor:
        """(B, T)."""
        return self.c.batch["input_ids"]

    @property
    def segments(self) -> Tensor:
        """(B, T)."""
        return self.c.batch["token_type_ids"]

    @property
    def positions(self) -> Tensor:
        """(B, T): 0 … T-1."""
        return torch.arange(self.ids.shape[1]).expand_as(self.ids)

    @property
    def mask(self) -> Tensor:
        """(B, 1, 1, T): 0 where a token may be seen, the most negative float32 where not."""
        return torch.where(self.c.visible, 0.0, torch.finfo(torch.float32).min).double()[:, None, None]


FORMULAS: dict[str, Formula] = {**EMBEDDINGS, **LAYER, **POOLER, **PREDICTIONS, **OTHER_HEADS}


def sources(reference: Reference) -> dict[str, frozenset[str]]:
    """Value → every value that it is computed from, directly or not, itself among them.

    Found by computing all of one text of two tokens, in a model of that many layers in which all else is two.
    """
    config = copy.copy(reference.config)
    config.hidden_size, config.num_attention_heads = 2, 1
    weights = {
        name: torch.zeros([min(size, 2) for size in weight.shape], dtype=torch.float64)
        for name, weight in reference.weights.items()
    }
    roles = ("input_ids", "attention_mask", "token_type_ids")
    batch = {role: torch.zeros(1, 2, dtype=torch.long) for role in roles}
    direct: dict[str, set[str]] = {}

    class Watched(dict[str, Tensor]):
        def __getitem__(self, name: str) -> Tensor:
            direct[current].add(name)
            return super().__getitem__(name)

    known = Watched()
    computation = Computation(Reference(config, weights, reference.tokens_are_classified), batch, known)
    result: dict[str, frozenset[str]] = {}
    for name in reference.names:
        current = name
        direct[name] = set()
        _ = computation[name]
        result[name] = frozenset({name}).union(*(result[source] for source in direct[name] - {name}))
    return result
