"""The steps from ``gelu`` to ``mlm_head``: real weights, real values, and the known mistakes of minibert.verify.

A step covers some of BERT's values (``covers``, names of verify/computation.py).  Whatever of the table of mistakes
replaces only those is a mistake that can be made in that step; it is computed in float64 from the same inputs.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.heads import BertForPreTraining
from minibert.learn.workbook import reference as right
from minibert.learn.workbook.cases import Alternative, Case, Exercise, from_functions, same
from minibert.learn.workbook.values import Adapt
from minibert.source import DEMO
from minibert.verify.computation import EMBEDDINGS, LAYER, POOLER, PREDICTIONS, Computation, Formula, Reference
from minibert.verify.mistakes import known_mistakes
from minibert.verify.ports import batches_for_ports, reference_of

SELF, OUT = "attention.self", "attention.output"
SCORES, PROBABILITIES, CONTEXT = (f"{SELF}.{name}" for name in ("scores", "probabilities", "context"))
NAMES = {  # what verify's places are called in my_bert.py
    "attention.self.query": "query_weight, query_bias",
    "attention.self.key": "key_weight, key_bias",
    "attention.self.value": "value_weight, value_bias",
    "attention.output.dense": "attention_output_weight, attention_output_bias",
    "attention.output.residual": "self_output",
    "attention.output.LayerNorm": "attention_norm",
    "intermediate.dense": "intermediate_weight, intermediate_bias",
    "output.dense": "output_weight, output_bias",
    "output.residual": "feed_forward",
    "output.LayerNorm": "output_norm",
    "pooler.dense": "pooler_weight, pooler_bias",
    "cls.predictions.transform.dense": "transform_weight, transform_bias",
    "cls.predictions.transform.LayerNorm": "transform_norm",
    "cls.predictions.decoder": "word, decoder_bias",
    "cls.predictions": "mlm_head",
    "embeddings.LayerNorm": "embeddings",
}


@cache
def demo() -> tuple[BertConfig, dict[str, Tensor], dict[str, Tensor]]:
    """minibert-demo: its settings, its tensors under BERT's names, and in float64 under those of my_bert.py."""
    model = BertForPreTraining.from_pretrained(DEMO).eval()
    state = {name: value.detach() for name, value in model.state_dict().items()}
    mine = {name: value.double() for name, value in right.my_names(state).items()}
    return model.config, state, mine


@cache
def right_model() -> right.MyBert:
    """The teacher's model with minibert-demo's weights, in float64."""
    config, state, _ = demo()
    return right.build(config, state).double()


@cache
def reference() -> Reference:
    """The same for verify's computation."""
    return reference_of(BertForPreTraining.from_pretrained(DEMO))


def part(name: str) -> dict[str, Tensor]:
    """The weights of a part of my_bert.py, ``embed``, ``layers.2`` or ``head``, by their names in it."""
    return {key.removeprefix(f"{name}."): value for key, value in demo()[2].items() if key.startswith(f"{name}.")}


@dataclass(frozen=True)
class Setting:
    """A batch, a layer and what computes their values."""

    name: str  # of the case
    c: Computation
    k: int  # the layer

    @property
    def eps(self) -> float:
        """Of every LayerNorm."""
        return float(self.c.reference.config.layer_norm_eps)

    @property
    def mask(self) -> Tensor:
        """(B, T)."""
        return self.c.batch["attention_mask"]

    @property
    def w(self) -> dict[str, Tensor]:
        """The layer's weights."""
        return part(f"layers.{self.k}")

    @property
    def x(self) -> Tensor:
        """What the layer reads."""
        return self.c[f"encoder.layer.{self.k - 1}.output" if self.k else "embeddings"]

    def __getitem__(self, name: str) -> Tensor:
        """A value of the layer."""
        return self.c[f"encoder.layer.{self.k}.{name}"]

    def having(self, name: str, **values: Tensor) -> "Setting":
        """The same where some values of the layer (``__`` for a dot) are other ones."""
        known = dict(self.c.known)
        known.update({f"encoder.layer.{self.k}.{key.replace('__', '.')}": value for key, value in values.items()})
        return Setting(name, Computation(self.c.reference, self.c.batch, known), self.k)

    def unmasked(self) -> "Setting":
        """The same without padding."""
        batch = {**self.c.batch, "attention_mask": torch.ones_like(self.mask)}
        return Setting(self.name, Computation(self.c.reference, batch, dict(self.c.known)), self.k)


def settings(seed: int, other_eps: float | None = 1e-2) -> list[Setting]:
    """Texts with padding; one text without, in another layer, and where LayerNorm has another eps."""
    right_reference = reference()
    config = right_reference.config
    batches = batches_for_ports(config, seed)
    draw = torch.Generator().manual_seed(seed)
    first, second = torch.randperm(config.num_hidden_layers, generator=draw)[:2].tolist()
    other = right_reference
    if other_eps is not None:
        changed = copy.copy(config)
        changed.layer_norm_eps = other_eps
        other = Reference(changed, right_reference.weights, doubles=right_reference.doubles)
    return [
        Setting("padded", Computation(right_reference, batches["padded texts"]), first),
        Setting("eps" if other_eps else "one_text", Computation(other, batches["one text"]), second),
    ]


def exercise(
    where: Sequence[Setting],
    function: Callable[..., Any],
    args: Callable[[Setting], tuple[Any, ...]],
    covers: Iterable[str],
    target: str,
    part_of_table: str = "layer",
    adapt: Callable[[Setting], Adapt] = lambda setting: same,
    more: Iterable[Any] = (),
    keys: str = "",
) -> Exercise:
    """A step that computes ``target`` from values before ``covers``; ``keys`` begins its known mistakes."""
    covered = frozenset(covers)
    cases = []
    for setting in where:
        given = args(setting)
        cases.append(Case(setting.name, given, function(*given), adapt=adapt(setting)))

    def alternatives() -> Iterable[Alternative]:
        yield from from_functions(cases, more)
        table = from_table(where, covered, target, part_of_table)
        yield from (alternative for alternative in table if alternative.key.startswith(keys))

    return Exercise(cases, alternatives)


def from_table(
    where: Sequence[Setting], covered: frozenset[str], target: str, part_of_table: str
) -> Iterable[Alternative]:
    """The known mistakes of minibert.verify that replace nothing but the values ``covered``."""
    values: dict[tuple[str, str, int], list[Any]] = {}  # by key, formula, and which of those that have both alike
    details: dict[tuple[str, str, int], Mapping[str, str]] = {}
    for setting in where:
        alike: Counter[tuple[str, str]] = Counter()
        front = f"encoder.layer.{setting.k}." if part_of_table == "layer" else ""
        after = [front + name for name in covered]
        for mistake in known_mistakes(setting.c.reference, part_of_table):
            if mistake.key == "dense.rounded" or not covered.issuperset(mistake.formulas):
                continue
            alike[mistake.key, mistake.formula] += 1
            key = (mistake.key, mistake.formula, alike[mistake.key, mistake.formula])
            replaced: dict[str, Formula] = {front + name: formula for name, formula in mistake.formulas.items()}
            details.setdefault(key, told(mistake.details))
            values.setdefault(key, []).append(setting.c.fork(after, replaced, {})[front + target])
    for key, computed in values.items():
        if len(computed) == len(where):
            yield Alternative(key[0], computed, details[key])


def told(details: Mapping[str, str]) -> dict[str, str]:
    """What fills a sentence's blanks, with the places under the names of my_bert.py."""
    return {blank: NAMES.get(value, value) for blank, value in details.items()}


def gelu(seed: int) -> Exercise:
    """X → x Φ(x)."""
    where = settings(seed)
    return exercise(
        where, right.gelu, lambda s: (s["intermediate.dense"],), ["intermediate"], "intermediate",
        more=[("gelu.cdf_alone", lambda x: right.gelu(x) / x)],
    )  # fmt: skip


def layer_norm(seed: int) -> Exercise:
    """Also of values so small that eps counts."""
    first, second = settings(seed)
    quiet = first.having("quiet", attention__output__residual=first[f"{OUT}.residual"] * 1e-5)

    def args(s: Setting) -> tuple[Any, ...]:
        return s[f"{OUT}.residual"], s.w["attention_norm_weight"], s.w["attention_norm_bias"], s.eps

    made = exercise([first, quiet, second], right.layer_norm, args, [OUT], OUT)

    def alternatives() -> Iterable[Alternative]:
        for alternative in made.alternatives():
            yield Alternative(alternative.key, alternative.values, {**alternative.details, "where": "layer_norm"})

    return Exercise(made.cases, alternatives)


def embeddings(seed: int) -> Exercise:
    """Three tables and a LayerNorm."""
    return exercise(
        settings(seed),
        right.embeddings,
        lambda s: (s.c.batch["input_ids"], s.c.batch["token_type_ids"], part("embed"), s.eps),
        EMBEDDINGS,
        "embeddings",
        "embeddings",
    )


def split_heads(seed: int) -> Exercise:
    """(B, T, H) → (B, N, T, D)."""
    N = reference().config.num_attention_heads
    cases = [
        Case(s.name, (s[f"{SELF}.query"], N), right.split_heads(s[f"{SELF}.query"], N)) for s in settings(seed, None)
    ]
    what = {"what": "split_heads"}
    wrong: list[Any] = [
        ("attention.heads_viewed", lambda x, n: x.reshape(len(x), n, x.shape[1], -1), what),
        ("attention.heads_exchanged", lambda x, n: x.view(*x.shape[:2], -1, n).permute(0, 3, 1, 2), what),
        ("heads.not_transposed", lambda x, n: x.view(*x.shape[:2], n, -1)),
        ("heads.exchanged_axes", lambda x, n: x.view(*x.shape[:2], n, -1).permute(0, 2, 3, 1)),
    ]
    return Exercise(cases, lambda: from_functions(cases, wrong))


def merge_heads(seed: int) -> Exercise:
    """(B, N, T, D) → (B, T, H)."""
    N = reference().config.num_attention_heads
    given = [(s.name, right.split_heads(s[CONTEXT], N).contiguous()) for s in settings(seed, None)]
    cases = [Case(name, (x,), right.merge_heads(x)) for name, x in given]
    wrong: list[Any] = [
        ("attention.merged_by_view", lambda x: x.reshape(len(x), x.shape[2], -1)),
        ("attention.merged_exchanged", lambda x: x.permute(0, 2, 3, 1).flatten(2)),
        ("heads.not_merged", lambda x: x.transpose(1, 2)),
    ]
    return Exercise(cases, lambda: from_functions(cases, wrong))


def attention_scores(seed: int) -> Exercise:
    """Q kᵀ / √D."""
    N = reference().config.num_attention_heads
    return exercise(
        settings(seed, None),
        right.attention_scores,
        lambda s: (right.split_heads(s[f"{SELF}.query"], N), right.split_heads(s[f"{SELF}.key"], N)),
        [SCORES],
        SCORES,
    )


def apply_mask(seed: int) -> Exercise:
    """Compared after the softmax, because what is hidden may be any very low number."""
    first, second = settings(seed, None)
    large = first.having("large", attention__self__scores=first[SCORES] * 60)
    return exercise(
        [first, large, second],
        right.apply_mask,
        lambda s: (s[SCORES], s.mask),
        [PROBABILITIES],
        PROBABILITIES,
        adapt=lambda s: lambda scores: torch.softmax(scores.double(), dim=-1),
        keys="mask.",
    )


def softmax(seed: int) -> Exercise:
    """Of scores with a mask, and of scores in the thousands."""
    first, second = settings(seed, None)
    hidden = first.having("masked", attention__self__scores=right.apply_mask(first[SCORES], first.mask)).unmasked()
    large = second.having("large", attention__self__scores=second[SCORES] * 3000)
    return exercise(
        [hidden, second, large],
        right.softmax,
        lambda s: (s[SCORES],),
        [PROBABILITIES],
        PROBABILITIES,
        keys="softmax.",
        more=[("softmax.overflow", lambda x: torch.exp(x) / torch.exp(x).sum(-1, keepdim=True))],
    )


def context(seed: int) -> Exercise:
    """P v; (B, N, T, D)."""
    N = reference().config.num_attention_heads

    def args(s: Setting) -> tuple[Any, ...]:
        return s[PROBABILITIES], right.split_heads(s[f"{SELF}.value"], N)

    return exercise(
        settings(seed, None), right.context, args, [CONTEXT], CONTEXT,
        adapt=lambda s: right.merge_heads,
        more=[
            ("context.mean", lambda p, v: p @ v / v.shape[-2]),
            ("context.scaled", lambda p, v: p @ v / v.shape[-1] ** 0.5),
        ],
    )  # fmt: skip


def self_attention(seed: int) -> Exercise:
    """All of it, from x to the merged heads."""
    N = reference().config.num_attention_heads
    covers = [name for name in LAYER if name.startswith(f"{SELF}.")]
    return exercise(settings(seed, None), right.self_attention, lambda s: (s.x, s.mask, s.w, N), covers, CONTEXT)


def self_output(seed: int) -> Exercise:
    """Dense, residual, LayerNorm."""
    covers = [f"{OUT}.dense", f"{OUT}.residual", OUT]
    return exercise(settings(seed), right.self_output, lambda s: (s[CONTEXT], s.x, s.w, s.eps), covers, OUT)


def feed_forward(seed: int) -> Exercise:
    """Dense, GELU, dense, residual, LayerNorm."""
    covers = ["intermediate.dense", "intermediate", "output.dense", "output.residual", "output"]
    return exercise(settings(seed), right.feed_forward, lambda s: (s[OUT], s.w, s.eps), covers, "output")


def layer(seed: int) -> Exercise:
    """A whole layer."""
    N = reference().config.num_attention_heads
    return exercise(settings(seed), right.layer, lambda s: (s.x, s.mask, s.w, N, s.eps), LAYER, "output")


def encoder(seed: int) -> Exercise:
    """All layers, and every hidden state."""
    config = reference().config
    layers = [part(f"layers.{k}") for k in range(config.num_hidden_layers)]
    N = config.num_attention_heads
    cases = []
    for s in settings(seed):
        args = (s.c["embeddings"], s.mask, layers, N, s.eps)
        cases.append(Case(s.name, args, right.encoder(*args)))
    return Exercise(cases, lambda: from_functions(cases, encoder_mistakes(config.num_hidden_layers)))


def encoder_mistakes(L: int) -> Iterable[Any]:
    """As wrong functions of the encoder's own arguments."""
    whole = right.encoder

    def with_layers(change: Callable[[Any], Any]) -> Callable[..., Any]:
        return lambda x, mask, layers, heads, eps: whole(x, mask, change(layers), heads, eps)

    def each_alone(x: Tensor, mask: Tensor, layers: Any, heads: int, eps: float) -> list[Tensor]:
        return [x, *(right.layer(x, mask, w, heads, eps) for w in layers)]

    yield "encoder.reversed", with_layers(lambda layers: layers[::-1])

    def one_alone(k: int) -> Callable[..., Any]:
        return with_layers(lambda layers: [layers[k]] * len(layers))

    for k in range(L):
        yield "encoder.one_layer", one_alone(k), {"layer": str(k)}
    yield "encoder.not_chained", each_alone
    yield "outputs.off_by_one", lambda *args: whole(*args)[1:]
    yield "encoder.last_missing", lambda *args: whole(*args)[:-1]
    yield "encoder.last_alone", lambda *args: whole(*args)[-1]
    yield "encoder.first_twice", lambda x, *args: [x, *whole(x, *args)]
    yield "encoder.inputs", lambda x, mask, layers, heads, eps: [x] * (len(layers) + 1)
    yield "encoder.all_last", lambda *args: [whole(*args)[-1]] * len(whole(*args))
    yield "mask.missing", lambda x, mask, *args: whole(x, torch.ones_like(mask), *args)
    yield "encoder.outputs_reversed", lambda *args: whole(*args)[::-1]

    def outer_residual(x: Tensor, mask: Tensor, layers: Any, heads: int, eps: float) -> list[Tensor]:
        states = [x]
        for w in layers:
            states.append(states[-1] + right.layer(states[-1], mask, w, heads, eps))
        return states

    yield "layer.extra_residual", outer_residual


def pooler(seed: int) -> Exercise:
    """tanh(W [CLS] + b)."""
    last = f"encoder.layer.{reference().config.num_hidden_layers - 1}.output"
    return exercise(
        settings(seed, None), right.pooler, lambda s: (s.c[last], part("head")), POOLER, "pooler", "heads",
        more=[("pooler.all_tokens", lambda x, w: torch.tanh(x @ w["pooler_weight"].T + w["pooler_bias"]))],
    )  # fmt: skip


def mlm_head(seed: int) -> Exercise:
    """Of a few tokens: there are as many scores as pieces."""
    last = f"encoder.layer.{reference().config.num_hidden_layers - 1}.output"
    where = []
    for s in settings(seed):
        known = {last: s.c[last][:2, :3].contiguous()}
        where.append(Setting(s.name, Computation(s.c.reference, s.c.batch, known), s.k))
    word = part("embed")["word"]
    return exercise(
        where, right.mlm_head, lambda s: (s.c[last], word, part("head"), s.eps), PREDICTIONS, "cls.predictions", "heads"
    )
