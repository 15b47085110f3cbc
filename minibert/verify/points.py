"""The named values inside a BERT that two implementations can be compared at, in the order they are computed.

They are selected from the one table of points (minibert/points.py).  Names are those of ``named_modules()`` in the
published tree, so the same hooks work on our model, on transformers' and on any port that keeps the tree.  Two values
lie inside a module and get a name of their own: the attention probabilities and the context.  Start with
:func:`record`.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.points import LOGITS, Point, encoder_points

RETURNED = {".context": 0, ".probabilities": 1}  # what attention.self returns: two points in one output


def compared_points(layers: int, level: int = 2) -> list[str]:
    """The points up to ``level`` of an encoder with that many layers, in the order of computation; then the logits."""
    return [*(point.name for point in encoder_points(layers) if point.level <= level), *LOGITS]


OUTER = frozenset(compared_points(1, level=1))


def is_outer(point: str) -> bool:
    """Whether a point is one of the few that tell most: embeddings, a layer's output, the pooler, the head's scores."""
    return re.sub(r"^encoder\.layer\.\d+\.", "encoder.layer.0.", point) in OUTER


def depth_of(point: str, layers: int) -> float:
    """How much has been computed before a point: ½ at the embeddings, k + 1 in layer k, L + 1 in pooler and head."""
    if point.startswith("embeddings"):
        return 0.5
    layer = Point(point).layer
    return layers + 1.0 if layer is None else layer + 1.0


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
    """Run ``model`` on ``inputs`` and keep every point it has, detached, in the order of :func:`compared_points`.

    A fused attention has no probabilities; a model without pooler has no pooler: such points are not in the result.
    """
    encoder = getattr(model, "bert", model)
    seen: dict[str, Tensor] = {}

    def keep(names: dict[str, int]) -> Callable[..., None]:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            values = output if isinstance(output, tuple) else (output,)
            for name, index in names.items():
                if index < len(values) and values[index] is not None:
                    seen[name] = values[index].detach().clone()

        return hook

    wanted = compared_points(layers_of(model, "given"))
    with _hooks(encoder, wanted, keep), torch.no_grad():
        outputs = model(**inputs)
    for field in LOGITS:
        value = outputs.get(field) if isinstance(outputs, dict) else getattr(outputs, field, None)
        if value is not None:
            seen[field] = value.detach().clone()
    return {name: seen[name] for name in wanted if name in seen}


@contextmanager
def _hooks(
    encoder: nn.Module, wanted: list[str], keep: Callable[[dict[str, int]], Callable[..., None]]
) -> Iterator[None]:
    """Forward hooks on the modules that return the wanted points; gone again whatever happens."""
    modules = dict(encoder.named_modules())
    returned: dict[str, dict[str, int]] = {}  # module → point → its number in the module's output
    for name in wanted:
        suffix = next((suffix for suffix in RETURNED if name.endswith(suffix)), "")
        returned.setdefault(name.removesuffix(suffix), {})[name] = RETURNED.get(suffix, 0)
    present = [(modules[owner], names) for owner, names in returned.items() if owner in modules]
    handles = [module.register_forward_hook(keep(names)) for module, names in present]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
