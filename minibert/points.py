"""Every named value inside BERT: its name, its formula and its shape.

A module's output has the name of the module in ``named_modules``; a value inside a module has the module's name in
front, ``encoder.layer.0.attention.self.scores``; a field of a record follows a slash, ``/logits``.  The order is the
order of computation: read from top to bottom, the tables are BERT as a list of formulas.

Names and formulas are defined only here.  ``model.points()``, the lens, minibert.verify and the explorer's page select
from these tables.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import pairwise
from typing import Any, Protocol

from minibert.display.tables import code, html_table, tabled, unbroken
from minibert.errors import InputError
from minibert.terminal import table


@dataclass(frozen=True)
class Point:
    """One named value."""

    name: str
    formula: str = ""  # names in it are of the same module, else of the same layer
    shape: str = ""  # B batch, T tokens, H hidden size, N heads, D = H / N, I intermediate size, V vocabulary
    letters: str = ""  # a textbook's formula, one letter per value; x is a layer's input
    level: int = 3  # 1: the most important; 2: the others that every implementation has; 3: the rest

    @property
    def layer(self) -> int | None:
        """The number of the layer it is in; None outside the layers."""
        parts = self.name.removeprefix("bert.").split(".")
        return int(parts[2]) if parts[:2] == ["encoder", "layer"] else None


Table = tuple[Point, ...]

EMBEDDINGS: Table = (
    Point("embeddings.word_embeddings", "word_embeddings[input_ids]", "(B, T, H)", level=2),
    Point("embeddings.token_type_embeddings", "token_type_embeddings[token_type_ids]", "(B, T, H)", level=2),
    Point("embeddings.position_embeddings", "position_embeddings[position_ids]", "(1, T, H)", level=2),
    Point("embeddings.sum", "word_embeddings + token_type_embeddings + position_embeddings", "(B, T, H)"),
    Point("embeddings.LayerNorm", "LayerNorm(sum)", "(B, T, H)"),
    Point("embeddings.dropout", "dropout(LayerNorm)", "(B, T, H)"),
    Point(
        "embeddings",
        "= dropout",
        "(B, T, H)",
        letters="hidden state 0 = LayerNorm(word[id] + segment[segment] + position[position])",
        level=1,
    ),
)
LAYER: Table = (  # names after "encoder.layer.N."; {before} is the layer's input
    Point("attention.self.query", "{before} @ Wᵀ + b", "(B, T, H)", level=2),
    Point("attention.self.query_heads", "query, split into N heads", "(B, N, T, D)", letters="q = x W_Q + b_Q"),
    Point("attention.self.key", "{before} @ Wᵀ + b", "(B, T, H)", level=2),
    Point("attention.self.key_heads", "key, split into N heads", "(B, N, T, D)", letters="k = x W_K + b_K"),
    Point("attention.self.value", "{before} @ Wᵀ + b", "(B, T, H)", level=2),
    Point("attention.self.value_heads", "value, split into N heads", "(B, N, T, D)", letters="v = x W_V + b_V"),
    Point("attention.self.scores", "query_heads @ key_headsᵀ / √D", "(B, N, T, T)", letters="s = q · kᵀ / √D"),
    Point("attention.self.masked_scores", "scores + mask", "(B, N, T, T)"),
    Point("attention.self.probabilities", "softmax(masked_scores)", "(B, N, T, T)", letters="p = softmax(s)", level=2),
    Point("attention.self.dropout", "dropout(probabilities)", "(B, N, T, T)"),
    Point("attention.self.context_heads", "dropout @ value_heads", "(B, N, T, D)", letters="c = p v"),
    Point("attention.self.context", "context_heads, side by side", "(B, T, H)", level=2),
    Point("attention.self", "= context", "(B, T, H)"),
    Point("attention.output.dense", "attention.self @ Wᵀ + b", "(B, T, H)", letters="o = [c₁ … c_N] W_AO + b_AO"),
    Point("attention.output.dropout", "dropout(dense)", "(B, T, H)"),
    Point("attention.output.residual", "dropout + {before}", "(B, T, H)", letters="u = x + o"),
    Point("attention.output.LayerNorm", "LayerNorm(residual)", "(B, T, H)"),
    Point("attention.output", "= LayerNorm", "(B, T, H)", letters="a = LayerNorm(u)", level=2),
    Point("attention", "= attention.output", "(B, T, H)"),
    Point("intermediate.dense", "attention @ Wᵀ + b", "(B, T, I)"),
    Point("intermediate", "{activation}(dense)", "(B, T, I)", letters="f = {activation}(a W_I + b_I)", level=2),
    Point("output.dense", "intermediate @ Wᵀ + b", "(B, T, H)", letters="g = f W_O + b_O"),
    Point("output.dropout", "dropout(dense)", "(B, T, H)"),
    Point("output.residual", "dropout + attention", "(B, T, H)", letters="w = a + g"),
    Point("output.LayerNorm", "LayerNorm(residual)", "(B, T, H)"),
    Point("output", "= LayerNorm", "(B, T, H)", level=1),
    Point("", "= output", "(B, T, H)", letters="y = LayerNorm(w)"),
)
POOLER: Table = (
    Point("pooler.dense", "last_hidden_state[:, 0] @ Wᵀ + b", "(B, H)"),
    Point("pooler.activation", "tanh(dense)", "(B, H)"),
    Point("pooler", "= activation", "(B, H)", level=1),
)
PREDICTIONS: Table = (
    Point("cls.predictions.transform.dense", "last_hidden_state @ Wᵀ + b", "(B, T, H)"),
    Point("cls.predictions.transform.transform_act_fn", "{activation}(dense)", "(B, T, H)"),
    Point("cls.predictions.transform.LayerNorm", "LayerNorm(transform_act_fn)", "(B, T, H)"),
    Point("cls.predictions.transform", "= LayerNorm", "(B, T, H)"),
    Point("cls.predictions.decoder", "transform @ Wᵀ + b", "(B, T, V)"),
    Point("cls.predictions", "= decoder", "(B, T, V)"),
)
RELATIONSHIP: Table = (Point("cls.seq_relationship", "pooler_output @ Wᵀ + b", "(B, 2)"),)
HEADS: dict[str, Table] = {
    "BertForPreTraining": (
        *PREDICTIONS,
        *RELATIONSHIP,
        Point("cls", "= cls.predictions", "(B, T, V)"),
        Point("/loss", "cross-entropy(prediction_logits) + cross-entropy(seq_relationship_logits), with labels", "()"),
        Point("/prediction_logits", "= cls.predictions", "(B, T, V)", level=1),
        Point("/seq_relationship_logits", "= cls.seq_relationship", "(B, 2)", level=1),
    ),
    "BertForMaskedLM": (
        *PREDICTIONS,
        Point("cls", "= cls.predictions", "(B, T, V)"),
        Point("/loss", "cross-entropy(logits), with labels", "()"),
        Point("/logits", "= cls", "(B, T, V)", level=1),
    ),
    "BertForNextSentencePrediction": (
        *RELATIONSHIP,
        Point("cls", "= cls.seq_relationship", "(B, 2)"),
        Point("/loss", "cross-entropy(logits), with labels", "()"),
        Point("/logits", "= cls", "(B, 2)", level=1),
    ),
    "BertForSequenceClassification": (
        Point("dropout", "dropout(pooler_output)", "(B, H)"),
        Point("classifier", "dropout @ Wᵀ + b", "(B, labels)"),
        Point("/loss", "the loss of problem_type, with labels", "()"),
        Point("/logits", "= classifier", "(B, labels)", level=1),
    ),
    "BertForMultipleChoice": (
        Point("dropout", "dropout(pooler_output)", "(B·C, H)"),
        Point("classifier", "dropout @ Wᵀ + b", "(B·C, 1)"),
        Point("/loss", "cross-entropy(logits), with labels", "()"),
        Point("/logits", "classifier, a row for C choices", "(B, C)", level=1),
    ),
    "BertForTokenClassification": (
        Point("dropout", "dropout(last_hidden_state)", "(B, T, H)"),
        Point("classifier", "dropout @ Wᵀ + b", "(B, T, labels)"),
        Point("/loss", "cross-entropy(logits), with labels", "()"),
        Point("/logits", "= classifier", "(B, T, labels)", level=1),
    ),
    "BertForQuestionAnswering": (
        Point("qa_outputs", "last_hidden_state @ Wᵀ + b", "(B, T, 2)"),
        Point("/loss", "mean cross-entropy of start_logits and end_logits, with positions", "()"),
        Point("/start_logits", "qa_outputs[:, :, 0]", "(B, T)", level=1),
        Point("/end_logits", "qa_outputs[:, :, 1]", "(B, T)", level=1),
    ),
}
LOGITS = tuple(  # the fields of the heads' records with scores, without the slash
    dict.fromkeys(p.name.removeprefix("/") for head in HEADS.values() for p in head if p.name.endswith("logits"))
)


class Points(tuple[Point, ...]):
    """All points of a model, in the order of computation.  They print as a table."""

    @cached_property
    def by_name(self) -> dict[str, Point]:
        """Name → point, in the same order."""
        return {point.name: point for point in self}

    def __str__(self) -> str:
        rows = [(number, point.name, point.formula, point.shape) for number, point in enumerate(self, start=1)]
        return table(("step", "point", "formula", "shape"), rows, right=("step",))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows = [(str(n), code(p.name), code(p.formula), unbroken(p.shape)) for n, p in enumerate(self, start=1)]
        return tabled(html_table(("step", "point", "formula", "shape"), rows, right=("step",), name="points"))


class HasPoints(Protocol):
    """A model of minibert."""

    def points(self) -> Points:
        """Every point of the model."""


def hidden_state_names(layers: int, prefix: str = "") -> list[str]:
    """The points of hidden states 0 … L: the embeddings, then the output of each layer."""
    return [f"{prefix}embeddings", *(f"{prefix}encoder.layer.{number}" for number in range(layers))]


@lru_cache(maxsize=32)
def encoder_points(layers: int, activation: str = "activation", *, pooler: bool = True, prefix: str = "") -> Table:
    """The points of a BertModel with ``layers`` layers.

    Args:
        activation: the config's ``hidden_act``.
        prefix: of all names: "bert." gives ``bert.pooler`` and ``bert/pooler_output``.
    """
    points = list(EMBEDDINGS)
    states = hidden_state_names(layers)
    for before, this in pairwise(states):
        words = {"{before}": before, "{activation}": activation}
        points += [_placed(point, f"{this}.{point.name}".removesuffix("."), words) for point in LAYER]
    points.append(Point("encoder/last_hidden_state", f"= {states[-1]}", "(B, T, H)"))
    points += POOLER if pooler else ()
    points.append(Point("/last_hidden_state", "= encoder/last_hidden_state", "(B, T, H)"))
    if pooler:
        points.append(Point("/pooler_output", "= pooler", "(B, H)"))
    before_field = prefix.removesuffix(".")
    return tuple(
        replace(point, name=(before_field if point.name.startswith("/") else prefix) + point.name) for point in points
    )


def model_points(
    classes: Iterable[str], layers: int, activation: str, *, prefix: str, pooler: bool, modules: Iterable[str]
) -> Points:
    """Every point of a model, in the order of computation; a run has those that its inputs reach.

    Args:
        classes: the names of the model's class and of its base classes; the first with a table of a head is used.
        layers, activation, pooler, prefix: as for :func:`encoder_points`.
        modules: the names of all modules whose output may be a tensor; those that are in no table come last.
    """
    head = next((name for name in classes if name in HEADS), None)
    points = list(encoder_points(layers, activation, pooler=pooler, prefix=prefix))
    if head == "BertForMultipleChoice":
        points = [replace(point, shape=point.shape.replace("(B,", "(B·C,")) for point in points]
    points += [_placed(point, point.name, {"{activation}": activation}) for point in HEADS.get(head or "", ())]
    known = {point.name for point in points}
    return Points((*points, *(Point(name) for name in modules if name not in known)))


def _placed(point: Point, name: str, words: Mapping[str, str]) -> Point:
    """A point of a table under its full name, with the placeholders replaced."""
    formula, letters = point.formula, point.letters
    for placeholder, word in words.items():
        formula, letters = formula.replace(placeholder, word), letters.replace(placeholder, word)
    return replace(point, name=name, formula=formula, letters=letters)


def select(model: HasPoints, names: str | Iterable[str]) -> list[str]:
    """The points with these names, in the order of computation.

    In a name, ``*`` matches any characters but a dot and a slash, ``**`` any characters at all:
    ``encoder.layer.*.output`` is the output of every layer, ``**.output`` also that of every attention.  Raises
    InputError, with similar names, for a name that matches no point.
    """
    known = [point.name for point in model.points()]
    selected: set[str] = set()
    for name in names_in(names):
        pattern = re.escape(name).replace(r"\*\*", ".*").replace(r"\*", "[^./]*")
        matches = [point for point in known if re.fullmatch(pattern, point)]
        if not matches:
            raise InputError(_unknown(model, name, known))
        selected.update(matches)
    return [name for name in known if name in selected]


def names_in(names: str | Iterable[str]) -> list[str]:
    """One name or several, as a list; InputError for anything else."""
    several = isinstance(names, list | tuple | set | frozenset | dict | Iterator)
    listed: list[Any] = list(names) if several else [names]
    if not listed:
        raise InputError("There is no name of a point here; give at least one.")
    for name in listed:
        if not isinstance(name, str):
            raise InputError(f"{name!r} is no name of a point; expected a text such as 'encoder.layer.0.output'.")
    return listed


def _unknown(model: HasPoints, name: str, known: list[str]) -> str:
    within = [point for point in known if point.endswith(name.lstrip("./")) and name]
    near = list(dict.fromkeys([*within[:3], *get_close_matches(name, known, n=3)]))[:4]
    hint = f" Near it: {', '.join(near)}." if near else ""
    return f"There is no point {name!r} in {type(model).__name__}.{hint} model.points() lists all {len(known)}."
