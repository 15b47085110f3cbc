"""The steps inside a layer that the page shows, in the order of computation, and which point each is.

Names, formulas and shapes come from the table of points (minibert/points.py) and are part of the page's data; the
explanations are in static/steps.js.  Each letter in a formula has one meaning: the weights W and b are indexed by their
module (Q, K, V, AO attention.output.dense, I intermediate.dense, O output.dense), and the two sums are u and w.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from minibert.points import Point, encoder_points, hidden_state_names
from minibert.pretrained import BertPreTrainedModel

Kind = Literal["input", "head", "scores", "probabilities", "vector", "sum", "neurons", "output"]


@dataclass(frozen=True)
class LayerStep:
    """One step, the same in every layer."""

    id: str  # also the name of its tensor in a run
    kind: Kind  # how the page draws it
    point: str  # after "encoder.layer.N."; "" for the layer's output
    parts: tuple[str, ...] = ()  # of a sum: the two steps added

    @property
    def stored(self) -> str:
        """The point whose value is stored: that before the split into heads."""
        return self.point.removesuffix("_heads")


STEPS = (
    LayerStep("input", "input", ""),
    LayerStep("query", "head", "attention.self.query_heads"),
    LayerStep("key", "head", "attention.self.key_heads"),
    LayerStep("value", "head", "attention.self.value_heads"),
    LayerStep("scores", "scores", "attention.self.scores"),
    LayerStep("probabilities", "probabilities", "attention.self.probabilities"),
    LayerStep("context", "head", "attention.self.context_heads"),
    LayerStep("attention_dense", "vector", "attention.output.dense"),
    LayerStep("attention_residual", "sum", "attention.output.residual", parts=("input", "attention_dense")),
    LayerStep("attention_output", "vector", "attention.output"),
    LayerStep("neurons", "neurons", "intermediate"),
    LayerStep("output_dense", "vector", "output.dense"),
    LayerStep("output_residual", "sum", "output.residual", parts=("attention_output", "output_dense")),
    LayerStep("output", "output", ""),
)
EMBEDDINGS = {  # tensor of a run → point
    "word": "embeddings.word_embeddings",
    "segment": "embeddings.token_type_embeddings",
    "position": "embeddings.position_embeddings",
    "sum": "embeddings.sum",
}


def stored(*kinds: Kind) -> dict[str, str]:
    """For the steps of these kinds: tensor of a run → point after "encoder.layer.N."."""
    return {step.id: step.stored for step in STEPS if step.kind in kinds}


def names_of(step: LayerStep, layers: int, prefix: str = "") -> list[str]:
    """The point of a step in every layer; the input of a layer is the output of the one before."""
    states = hidden_state_names(layers, prefix)
    return states[:-1] if step.kind == "input" else [f"{state}.{step.point}".removesuffix(".") for state in states[1:]]


def describe_steps(model: BertPreTrainedModel) -> dict[str, Any]:
    """Formula, shape and points in ``model`` of the embeddings and of each step, for the page."""
    layers, prefix = model.config.num_hidden_layers, model.encoder_prefix
    table = {point.name: point for point in encoder_points(1, model.config.hidden_act)}
    steps = []
    for step in STEPS:
        point = table[names_of(step, 1)[0]]
        formula = "x" if step.kind == "input" else point.letters
        described = {"points": names_of(step, layers, prefix), "formula": formula, "shape": shape_of(point)}
        steps.append(asdict(step) | described)
    embeddings = table["embeddings"]
    return {"embeddings": {"formula": embeddings.letters, "shape": shape_of(embeddings)}, "steps": steps}


def shape_of(point: Point) -> str:
    """Its shape in letters, without the batch, as a run has one text."""
    return point.shape.replace("(B, ", "(")
