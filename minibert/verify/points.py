"""The points at which two implementations are compared, in the order of computation.

They are a selection from the table of points (minibert/points.py).  Their names are those of ``named_modules()`` in the
published tree, so the same hooks work on minibert's model, on transformers' and on any port that keeps the tree.  Two
values are computed inside a module and have names of their own: the attention probabilities and the context.  Start
with :func:`record`.
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
    """Whether a point is one of the most important: embeddings, a layer's output, the pooler, the logits."""
    return re.sub(r"^encoder\.layer\.\d+\.", "encoder.layer.0.", point) in OUTER


def depth_of(point: str, layers: int) -> float:
    """The depth of a point in layers: ½ at the embeddings, k + 1 in layer k, L + 1 in pooler and head."""
    if point.startswith("embeddings"):
        return 0.5
    layer = Point(point).layer
    return layers + 1.0 if layer is None else layer + 1.0


def attention_of(model: nn.Module, values: Mapping[str, Tensor]) -> str:
    """The attention that ran: "eager" if probabilities were recorded, otherwise what the config names."""
    if any(name.endswith(".probabilities") for name in values):
        return "eager"
    config = getattr(model, "config", None)
    named = getattr(config, "attn_implementation", None) or getattr(config, "_attn_implementation", None)
    return f"{named} (no maps)" if named == "eager" else str(named or "unnamed (no maps)")


def has_published_names(model: object) -> bool:
    """Whether a program is a module with ``encoder.layer`` or ``bert.encoder.layer``, as every published BERT."""
    encoder = getattr(model, "bert", model)
    return isinstance(encoder, nn.Module) and "encoder.layer" in dict(encoder.named_modules())


def layers_of(model: nn.Module, side: str) -> int:
    """The number of layers; InputError if the model does not have BERT's module names."""
    layers = dict(getattr(model, "bert", model).named_modules()).get("encoder.layer")
    if layers is None:
        raise InputError(
            f"The {side} model ({type(model).__name__}) has no module encoder.layer, nor bert.encoder.layer. Points "
            "are found by the published module names (embeddings, encoder.layer.0.attention.self.query, …): name the "
            "port's modules so, or wrap it in a module that does."
        )
    return len(layers._modules)


def record(model: nn.Module, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run ``model`` on ``inputs`` and record every point it has, detached, in the order of :func:`compared_points`.

    Points that the model does not compute are absent, such as the probabilities of fused attention.
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

    points = compared_points(layers_of(model, "given"))
    with _hooks(encoder, points, keep), torch.no_grad():
        outputs = model(**inputs)
    for field in LOGITS:
        value = outputs.get(field) if isinstance(outputs, dict) else getattr(outputs, field, None)
        if value is not None:
            seen[field] = value.detach().clone()
    return {name: seen[name] for name in points if name in seen}


@contextmanager
def _hooks(
    encoder: nn.Module, points: list[str], keep: Callable[[dict[str, int]], Callable[..., None]]
) -> Iterator[None]:
    """Forward hooks on the modules that return ``points``, removed at the end of the block."""
    modules = dict(encoder.named_modules())
    returned: dict[str, dict[str, int]] = {}  # module → point → its number in the module's output
    for name in points:
        suffix = next((suffix for suffix in RETURNED if name.endswith(suffix)), "")
        returned.setdefault(name.removesuffix(suffix), {})[name] = RETURNED.get(suffix, 0)
    present = [(modules[owner], names) for owner, names in returned.items() if owner in modules]
    handles = [module.register_forward_hook(keep(names)) for module, names in present]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
