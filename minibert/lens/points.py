"""Every value inside a model that has a name: what it is called, how it is computed, which shape it has.

A module's output is called what ``named_modules`` calls the module; what lies between modules is called after the
module it is in, ``encoder.layer.0.attention.self.scores``; a field of a record stands behind a slash, ``/logits``.  The
order is the order of computation.  Read the tables from top to bottom: they are BERT as a list of formulas.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from torch import nn

from minibert.errors import InputError
from minibert.model import BertEncoder, BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.tables import table


@dataclass(frozen=True)
class Point:
    """One named value."""

    name: str
    formula: str  # of names nearby: those of the same module first, then those of the same layer
    shape: str  # in letters: B batch, T tokens, H hidden size, N heads, D = H / N, I intermediate size, V vocabulary

    @property
    def layer(self) -> int | None:
        """The number of the layer it is in; None outside the layers."""
        parts = self.name.removeprefix("bert.").split(".")
        return int(parts[2]) if parts[:2] == ["encoder", "layer"] else None


class Points(tuple[Point, ...]):
    """All points of a model, which print as a table."""

    def __str__(self) -> str:
        rows = [(number, point.name, point.formula, point.shape) for number, point in enumerate(self, start=1)]
        return table(("step", "point", "formula", "shape"), rows, right=("step",))

    __repr__ = __str__


Rows = tuple[tuple[str, str, str], ...]  # name, formula, shape

EMBEDDINGS: Rows = (
    ("embeddings.word_embeddings", "word_embeddings[input_ids]", "(B, T, H)"),
    ("embeddings.token_type_embeddings", "token_type_embeddings[token_type_ids]", "(B, T, H)"),
    ("embeddings.position_embeddings", "position_embeddings[position_ids]", "(1, T, H)"),
    ("embeddings.sum", "word_embeddings + token_type_embeddings + position_embeddings", "(B, T, H)"),
    ("embeddings.LayerNorm", "LayerNorm(sum)", "(B, T, H)"),
    ("embeddings.dropout", "dropout(LayerNorm)", "(B, T, H)"),
    ("embeddings", "= dropout", "(B, T, H)"),
)
LAYER: Rows = (  # after "encoder.layer.N."; {before} is what the layer reads
    ("attention.self.query", "{before} @ Wᵀ + b", "(B, T, H)"),
    ("attention.self.query_heads", "query, split into N heads", "(B, N, T, D)"),
    ("attention.self.key", "{before} @ Wᵀ + b", "(B, T, H)"),
    ("attention.self.key_heads", "key, split into N heads", "(B, N, T, D)"),
    ("attention.self.value", "{before} @ Wᵀ + b", "(B, T, H)"),
    ("attention.self.value_heads", "value, split into N heads", "(B, N, T, D)"),
    ("attention.self.scores", "query_heads @ key_headsᵀ / √D", "(B, N, T, T)"),
    ("attention.self.masked_scores", "scores + mask", "(B, N, T, T)"),
    ("attention.self.probabilities", "softmax(masked_scores)", "(B, N, T, T)"),
    ("attention.self.dropout", "dropout(probabilities)", "(B, N, T, T)"),
    ("attention.self.context_heads", "dropout @ value_heads", "(B, N, T, D)"),
    ("attention.self.context", "context_heads, side by side", "(B, T, H)"),
    ("attention.self", "= context", "(B, T, H)"),
    ("attention.output.dense", "attention.self @ Wᵀ + b", "(B, T, H)"),
    ("attention.output.dropout", "dropout(dense)", "(B, T, H)"),
    ("attention.output.residual", "dropout + {before}", "(B, T, H)"),
    ("attention.output.LayerNorm", "LayerNorm(residual)", "(B, T, H)"),
    ("attention.output", "= LayerNorm", "(B, T, H)"),
    ("attention", "= attention.output", "(B, T, H)"),
    ("intermediate.dense", "attention @ Wᵀ + b", "(B, T, I)"),
    ("intermediate", "{activation}(dense)", "(B, T, I)"),
    ("output.dense", "intermediate @ Wᵀ + b", "(B, T, H)"),
    ("output.dropout", "dropout(dense)", "(B, T, H)"),
    ("output.residual", "dropout + attention", "(B, T, H)"),
    ("output.LayerNorm", "LayerNorm(residual)", "(B, T, H)"),
    ("output", "= LayerNorm", "(B, T, H)"),
    ("", "= output", "(B, T, H)"),
)
POOLER: Rows = (
    ("pooler.dense", "last_hidden_state[:, 0] @ Wᵀ + b", "(B, H)"),
    ("pooler.activation", "tanh(dense)", "(B, H)"),
    ("pooler", "= activation", "(B, H)"),
)
PREDICTIONS: Rows = (
    ("cls.predictions.transform.dense", "last_hidden_state @ Wᵀ + b", "(B, T, H)"),
    ("cls.predictions.transform.transform_act_fn", "{activation}(dense)", "(B, T, H)"),
    ("cls.predictions.transform.LayerNorm", "LayerNorm(transform_act_fn)", "(B, T, H)"),
    ("cls.predictions.transform", "= LayerNorm", "(B, T, H)"),
    ("cls.predictions.decoder", "transform @ Wᵀ + b", "(B, T, V)"),
    ("cls.predictions", "= decoder", "(B, T, V)"),
)
RELATIONSHIP: Rows = (("cls.seq_relationship", "pooler_output @ Wᵀ + b", "(B, 2)"),)
HEADS: dict[str, Rows] = {
    "BertForPreTraining": (
        *PREDICTIONS,
        *RELATIONSHIP,
        ("cls", "= cls.predictions", "(B, T, V)"),
        ("/loss", "cross-entropy(prediction_logits) + cross-entropy(seq_relationship_logits), with labels", "()"),
        ("/prediction_logits", "= cls.predictions", "(B, T, V)"),
        ("/seq_relationship_logits", "= cls.seq_relationship", "(B, 2)"),
    ),
    "BertForMaskedLM": (
        *PREDICTIONS,
        ("cls", "= cls.predictions", "(B, T, V)"),
        ("/loss", "cross-entropy(logits), with labels", "()"),
        ("/logits", "= cls", "(B, T, V)"),
    ),
    "BertForNextSentencePrediction": (
        *RELATIONSHIP,
        ("cls", "= cls.seq_relationship", "(B, 2)"),
        ("/loss", "cross-entropy(logits), with labels", "()"),
        ("/logits", "= cls", "(B, 2)"),
    ),
    "BertForSequenceClassification": (
        ("dropout", "dropout(pooler_output)", "(B, H)"),
        ("classifier", "dropout @ Wᵀ + b", "(B, labels)"),
        ("/loss", "the loss of problem_type, with labels", "()"),
        ("/logits", "= classifier", "(B, labels)"),
    ),
    "BertForMultipleChoice": (
        ("dropout", "dropout(pooler_output)", "(B·C, H)"),
        ("classifier", "dropout @ Wᵀ + b", "(B·C, 1)"),
        ("/loss", "cross-entropy(logits), with labels", "()"),
        ("/logits", "classifier, a row for C choices", "(B, C)"),
    ),
    "BertForTokenClassification": (
        ("dropout", "dropout(last_hidden_state)", "(B, T, H)"),
        ("classifier", "dropout @ Wᵀ + b", "(B, T, labels)"),
        ("/loss", "cross-entropy(logits), with labels", "()"),
        ("/logits", "= classifier", "(B, T, labels)"),
    ),
    "BertForQuestionAnswering": (
        ("qa_outputs", "last_hidden_state @ Wᵀ + b", "(B, T, 2)"),
        ("/loss", "mean cross-entropy of start_logits and end_logits, with positions", "()"),
        ("/start_logits", "qa_outputs[:, :, 0]", "(B, T)"),
        ("/end_logits", "qa_outputs[:, :, 1]", "(B, T)"),
    ),
}


def points_of(model: BertPreTrainedModel) -> Points:
    """Every point of ``model``, in the order of computation; a run has those that its inputs lead to.

    There is no ``…word_embeddings`` where ``inputs_embeds`` are given, and no ``/loss`` without labels.  Modules that
    somebody has put into the tree are points, too; they stand at the end.
    """
    base = model.base_model
    assert isinstance(base, BertModel)
    prefix = "" if base is model else f"{model.base_model_prefix}."
    rows = [(_inner(prefix, name), formula, shape) for name, formula, shape in _encoder_rows(base)]
    head = next((HEADS[kind.__name__] for kind in type(model).__mro__ if kind.__name__ in HEADS), ())
    if "BertForMultipleChoice" in (kind.__name__ for kind in type(model).__mro__):
        rows = [(name, formula, shape.replace("(B,", "(B·C,")) for name, formula, shape in rows]
    rows += [(name, formula.replace("{activation}", model.config.hidden_act), shape) for name, formula, shape in head]
    known = {name for name, _, _ in rows}
    rows += [(name, "", "") for name in _other_modules(model) if name not in known]
    return Points(Point(*row) for row in rows)


def _encoder_rows(base: BertModel) -> Iterator[tuple[str, str, str]]:
    yield from EMBEDDINGS
    before = "embeddings"
    for number in range(len(base.encoder.layer)):
        this = f"encoder.layer.{number}"
        for name, formula, shape in LAYER:
            known = formula.replace("{before}", before).replace("{activation}", base.config.hidden_act)
            yield f"{this}.{name}".removesuffix("."), known, shape
        before = this
    yield "encoder/last_hidden_state", f"= {before}", "(B, T, H)"
    if base.pooler is not None:
        yield from POOLER
    yield "/last_hidden_state", "= encoder/last_hidden_state", "(B, T, H)"
    if base.pooler is not None:
        yield "/pooler_output", "= pooler", "(B, H)"


def _inner(prefix: str, name: str) -> str:
    """A point of the encoder as the model around it calls it: ``bert.pooler``, ``bert/pooler_output``."""
    return prefix.removesuffix(".") + name if name.startswith("/") else prefix + name


def _other_modules(model: BertPreTrainedModel) -> Iterator[str]:
    """Modules whose output is, or may be, a tensor."""
    for name, module in model.named_modules():
        if not isinstance(module, BertPreTrainedModel | BertEncoder | nn.ModuleList | nn.ModuleDict):
            yield name


def select(model: BertPreTrainedModel, wanted: str | Iterable[str]) -> list[str]:
    """The points that ``wanted`` names, in the order of computation.

    In a name, ``*`` stands for any letters but a dot and a slash, ``**`` for any letters at all:
    ``encoder.layer.*.output`` is the output of every layer, ``**.output`` also that of every attention.  Raises
    InputError for a name that is no point's, and says which come near.
    """
    known = [point.name for point in model.points()]
    found: set[str] = set()
    for name in names_in(wanted):
        pattern = re.escape(name).replace(r"\*\*", ".*").replace(r"\*", "[^./]*")
        matches = [point for point in known if re.fullmatch(pattern, point)]
        if not matches:
            raise InputError(_unknown(model, name, known))
        found.update(matches)
    return [name for name in known if name in found]


def names_in(wanted: str | Iterable[str]) -> list[str]:
    """One name, or several; InputError for anything else."""
    several = isinstance(wanted, list | tuple | set | frozenset | dict | Iterator)
    names: list[Any] = list(wanted) if several else [wanted]
    if not names:
        raise InputError("There is no name of a point here; give at least one.")
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"{name!r} is no name of a point; expected a text such as 'encoder.layer.0.output'.")
    return names


def _unknown(model: BertPreTrainedModel, name: str, known: list[str]) -> str:
    within = [point for point in known if point.endswith(name.lstrip("./")) and name]
    near = list(dict.fromkeys([*within[:3], *get_close_matches(name, known, n=3)]))[:4]
    hint = f" Near it: {', '.join(near)}." if near else ""
    return f"There is no point {name!r} in {type(model).__name__}.{hint} model.points() lists all {len(known)}."
