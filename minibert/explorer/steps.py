"""The steps inside a layer that the page shows, in the order of computation, and which point each is.

Names, formulas and shapes are those of the one table of points (minibert/points.py).  The page gets them with its data
and adds its own words (static/steps.js).  Every letter in a formula means one thing: the weights W and b carry the
module they belong to (Q, K, V, AO attention.output.dense, I intermediate.dense, O output.dense), and the two sums are
u and w.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from minibert.points import Point, encoder_points, hidden_state_names
from minibert.pretrained import BertPreTrainedModel

Kind = Literal["input", "head", "scores", "probabilities", "vector", "sum", "neurons", "output"]


@dataclass(frozen=True)
class Step:
    """One step, the same in every layer."""

    id: str  # of its tensor in a walk, too
    kind: Kind  # how the page draws it
    point: str  # after "encoder.layer.N."; "" for the layer's output
    parts: tuple[str, ...] = ()  # of a sum: the two steps that it adds

    @property
    def stored(self) -> str:
        """The point whose numbers a walk holds: of a value that is split into heads, the whole."""
        return self.point.removesuffix("_heads")


STEPS = (
    Step("input", "input", ""),
    Step("query", "head", "attention.self.query_heads"),
    Step("key", "head", "attention.self.key_heads"),
    Step("value", "head", "attention.self.value_heads"),
    Step("scores", "scores", "attention.self.scores"),
    Step("probabilities", "probabilities", "attention.self.probabilities"),
    Step("context", "head", "attention.self.context_heads"),
    Step("attention_dense", "vector", "attention.output.dense"),
    Step("attention_residual", "sum", "attention.output.residual", parts=("input", "attention_dense")),
    Step("attention_output", "vector", "attention.output"),
    Step("neurons", "neurons", "intermediate"),
    Step("output_dense", "vector", "output.dense"),
    Step("output_residual", "sum", "output.residual", parts=("attention_output", "output_dense")),
    Step("output", "output", ""),
)
EMBEDDINGS = {  # a tensor of a walk → the point
    "word": "embeddings.word_embeddings",
    "segment": "embeddings.token_type_embeddings",
    "position": "embeddings.position_embeddings",
    "sum": "embeddings.sum",
}


def stored(*kinds: Kind) -> dict[str, str]:
    """Of the steps of these kinds: a tensor of a walk → the point after "encoder.layer.N."."""
    return {step.id: step.stored for step in STEPS if step.kind in kinds}


def names_of(step: Step, layers: int, prefix: str = "") -> list[str]:
    """The point of a step in every layer; that of the input is the output of the layer before."""
    states = hidden_state_names(layers, prefix)
    return states[:-1] if step.kind == "input" else [f"{state}.{step.point}".removesuffix(".") for state in states[1:]]


def describe_steps(model: BertPreTrainedModel) -> dict[str, Any]:
    """What the page says about the embeddings and about each step: formula, shape, and its points in ``model``."""
    layers, prefix = model.config.num_hidden_layers, model.encoder_prefix
    table = {point.name: point for point in encoder_points(1, model.config.hidden_act)}
    steps = []
    for step in STEPS:
        point = table[names_of(step, 1)[0]]
        formula = "x" if step.kind == "input" else point.letters
        more = {"points": names_of(step, layers, prefix), "formula": formula, "shape": shape_of(point)}
        steps.append(asdict(step) | more)
    embeddings = table["embeddings"]
    return {"embeddings": {"formula": embeddings.letters, "shape": shape_of(embeddings)}, "steps": steps}


def shape_of(point: Point) -> str:
    """The letters of its shape, without the batch: a walk is that of one text."""
    return point.shape.replace("(B, ", "(")
