"""The named values inside a BERT that two implementations can be compared at, in the order they are computed.

Names are those of ``named_modules()`` in the published tree, so the same hooks work on our model, on transformers'
and on any port that keeps the tree.  Two values lie inside a module and get a name of their own: the attention
probabilities and the context.  Start with :func:`record`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minibert.errors import InputError

EMBEDDING_POINTS = (
    "embeddings.word_embeddings",
    "embeddings.token_type_embeddings",
    "embeddings.position_embeddings",
    "embeddings",
)
LAYER_POINTS = (  # after "encoder.layer.N."
    "attention.self.query",
    "attention.self.key",
    "attention.self.value",
    "attention.self.probabilities",
    "attention.self.context",
    "attention.output",
    "intermediate",
    "output",  # the layer's output
)
ATTENTION_POINTS = (".probabilities", ".context")  # inside attention.self, no module's own output
HEAD_FIELDS = ("prediction_logits", "seq_relationship_logits", "logits", "start_logits", "end_logits")


def point_names(layers: int) -> list[str]:
    """Every point of an encoder with that many layers, in the order of computation, then the head's."""
    inside = [f"encoder.layer.{number}.{point}" for number in range(layers) for point in LAYER_POINTS]
    return [*EMBEDDING_POINTS, *inside, "pooler", *HEAD_FIELDS]


def is_outer(point: str) -> bool:
    """Whether a point is one of the few that tell most: embeddings, a layer's output, the pooler, the head's scores."""
    layer_output = point.startswith("encoder.layer.") and point.count(".") == 3 and point.endswith(".output")
    return layer_output or point in ("embeddings", "pooler", *HEAD_FIELDS)


def depth_of(point: str, layers: int) -> float:
    """How much has been computed before a point: ½ at the embeddings, k + 1 in layer k, L + 1 in pooler and head."""
    if point.startswith("embeddings"):
        return 0.5
    return float(point.split(".")[2]) + 1 if point.startswith("encoder.layer.") else layers + 1.0


def attention_of(model: nn.Module, seen: Mapping[str, Tensor]) -> str:
    """Which attention ran, by what was seen of it: "eager" where maps were returned, else what the config names."""
    if any(name.endswith(".probabilities") for name in seen):
        return "eager"
    config = getattr(model, "config", None)
    named = getattr(config, "attn_implementation", None) or getattr(config, "_attn_implementation", None)
    return f"{named} (no maps)" if named == "eager" else str(named or "unnamed (no maps)")


def layers_of(model: nn.Module, side: str) -> int:
    """The number of layers; InputError when the model does not have BERT's module names."""
    layers = dict(getattr(model, "bert", model).named_modules()).get("encoder.layer")
    if layers is None:
        raise InputError(
            f"The {side} model ({type(model).__name__}) has no module encoder.layer, nor bert.encoder.layer. Points "
            "are found by the published module names (embeddings, encoder.layer.0.attention.self.query, …): name the "
            "port's modules so, or wrap it in a module that does."
        )
    return len(layers._modules)


def record(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run ``model`` on ``inputs`` and keep every point it has, detached, in the order of :func:`point_names`.

    A fused attention has no probabilities; a model without pooler has no pooler: such points are not in the result.
    """
    encoder = getattr(model, "bert", model)
    seen: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            values = output if isinstance(output, tuple) else (output,)
            if name.endswith(".self"):  # the self-attention returns its context and, when written out, the map
                seen[f"{name}.context"] = values[0].detach().clone()
                if len(values) > 1 and values[1] is not None:
                    seen[f"{name}.probabilities"] = values[1].detach().clone()
            else:
                seen[name] = values[0].detach().clone()

        return hook

    wanted = point_names(layers_of(model, "given"))
    modules = dict(encoder.named_modules())
    with _hooks(modules, wanted, keep), torch.no_grad():
        outputs = model(**inputs)
    for field in HEAD_FIELDS:
        value = outputs.get(field) if isinstance(outputs, dict) else getattr(outputs, field, None)
        if value is not None:
            seen[field] = value.detach().clone()
    return {name: seen[name] for name in wanted if name in seen}


@contextmanager
def _hooks(
    modules: dict[str, nn.Module], wanted: list[str], keep: Callable[[str], Callable[..., None]]
) -> Iterator[None]:
    """Forward hooks on the modules behind the wanted points; gone again whatever happens."""
    owners = dict.fromkeys(_owner(name) for name in wanted)
    handles = [modules[name].register_forward_hook(keep(name)) for name in owners if name in modules]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _owner(point: str) -> str:
    """The module that computes a point."""
    head, _, last = point.rpartition(".")
    return head if last in ("probabilities", "context") else point
