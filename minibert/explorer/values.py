"""The values of one run, packed for the page.

All values come from :func:`minibert.lens.trace`: the page shows what the model computed.  Added are norms and cosines,
a projection of the hidden states on their first two principal components, and the relative change that an intervention
causes.  Start with :func:`walk_of`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.explorer.packing import HIGHEST, Detail, pack
from minibert.explorer.steps import EMBEDDINGS, stored
from minibert.explorer.text import Reading
from minibert.lens.tracing import trace
from minibert.model import BertModel
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel

BY_HEAD = stored("head")  # (B, T, H) in every layer, of which D numbers belong to each head
SUMS = stored("sum")  # (B, T, H)
VECTORS = BY_HEAD | stored("vector") | SUMS
MAPS = stored("scores", "probabilities")  # (B, N, T, T)
((_, NEURONS),) = stored("neurons").items()  # (B, T, I)


@dataclass(frozen=True)
class Run:
    """The values of one run, without the batch: stacked over the layers, on the CPU, float32 or wider."""

    hidden: Tensor  # (L + 1, T, H)
    embeddings: dict[str, Tensor]  # (T, H)
    vectors: dict[str, Tensor]  # (L, T, H)
    maps: dict[str, Tensor]  # (L, N, T, T)
    neurons: Tensor  # (L, T, I)

    @property
    def bytes(self) -> int:
        """What the values take in memory."""
        named = (*self.embeddings.values(), *self.vectors.values(), *self.maps.values())
        return sum(value.nbytes for value in (self.hidden, self.neurons, *named))


def run(model: BertPreTrainedModel, inputs: Mapping[str, Tensor]) -> Run:
    """Trace the encoder inside ``model``; edits that are open see the run."""
    base = encoder_of(model)
    layers = base.config.num_hidden_layers
    outputs = hidden_state_names(layers)
    names = [f"{output}.{suffix}" for output in outputs[1:] for suffix in (*VECTORS.values(), *MAPS.values(), NEURONS)]
    found = {
        name: value[0].float().cpu()
        for name, value in trace(base, inputs, points=[*EMBEDDINGS.values(), *outputs, *names]).items()
    }

    def stacked(suffix: str) -> Tensor:
        return torch.stack([found[f"{output}.{suffix}"] for output in outputs[1:]])

    return Run(
        hidden=torch.stack([found[name] for name in outputs]),
        embeddings={name: found[point] for name, point in EMBEDDINGS.items()},
        vectors={name: stacked(suffix) for name, suffix in VECTORS.items()},
        maps={name: stacked(suffix) for name, suffix in MAPS.items()},
        neurons=stacked(NEURONS),
    )


def hidden_states(model: BertPreTrainedModel, inputs: Mapping[str, Tensor], moved: int = 0) -> Tensor:
    """(L + 1, T, H): hidden state 0, the embeddings, to L, with all positions but [CLS]'s ``moved`` to the right."""
    base = encoder_of(model)
    points = hidden_state_names(base.config.num_hidden_layers)
    position_ids = torch.arange(inputs["input_ids"].shape[1])[None]
    position_ids[:, 1:] += moved
    found = trace(base, {**inputs, "position_ids": position_ids}, points=points)
    return torch.stack([value[0].float().cpu() for value in found.values()])


def encoder_of(model: BertPreTrainedModel) -> BertModel:
    """The BertModel whose values the page shows; its points are called as in a model without a head."""
    base = model.base_model
    assert isinstance(base, BertModel)
    return base


def cosines(hidden: Tensor) -> Tensor:
    """(…, T, H) to (…, T, T): the cosine of every two tokens."""
    unit = F.normalize(hidden, dim=-1)
    return unit @ unit.transpose(-1, -2)


@dataclass(frozen=True)
class Plane:
    """Two directions in the space of hidden states, and the point that is drawn in the middle."""

    middle: Tensor  # (H,) float64
    directions: Tensor  # (H, 2) float64
    share: tuple[float, float]  # of the variance, along each

    @classmethod
    def of(cls, hidden: Tensor) -> "Plane":
        """The plane of the hidden states (L + 1, T, H) of one run."""
        points = hidden.detach().flatten(0, -2).double()
        middle = points.mean(dim=0)
        _, spreads, directions = torch.linalg.svd(points - middle, full_matrices=False)
        directions = F.pad(directions[:2], (0, 0, 0, max(0, 2 - len(directions))))
        largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        directions = directions * torch.where(largest < 0, -1.0, 1.0)  # a direction and its opposite are the same plane
        shares = F.pad(spreads.square() / spreads.square().sum().clamp_min(1e-300), (0, 2))[:2].tolist()
        return cls(middle, directions.T, (shares[0], shares[1]))

    def place(self, hidden: Tensor) -> Tensor:
        """(…, H) to (…, 2)."""
        placed: Tensor = (hidden.double() - self.middle) @ self.directions
        return placed


def ripple(edited: Tensor, whole: Tensor) -> Tensor:
    """How far each hidden state is from that of the run without edits, relative to it: (L + 1, T) for (L + 1, T, H)."""
    distance = (edited - whole).norm(dim=-1)
    share: Tensor = distance / whole.norm(dim=-1).clamp_min(1e-12)
    return share


def walk_of(found: Run, config: BertConfig, detail: Detail, *, plane: Plane, kind: str = "float16") -> dict[str, Any]:
    """The tensors of ``found`` that ``detail`` keeps, as the page's JSON has them; ``kind`` is that of large ones."""
    tokens, heads = detail.tokens, config.num_attention_heads
    tensors: dict[str, Any] = {}
    for name, value in {**found.embeddings, "hidden": found.hidden, **found.vectors}.items():
        shown = value[..., :tokens, :]
        tensors[f"{name}_statistics"] = pack(statistics(shown), "float32")
        if name not in SUMS:
            kept = first_of_heads(shown, heads, detail.numbers) if name in BY_HEAD else shown[..., : detail.numbers]
            tensors[name] = pack(kept, kind)
    for name, value in found.maps.items():
        if name != "scores" or detail.scores:
            tensors[name] = pack(value[..., :tokens, :tokens], kind)
    strongest = strongest_neurons(found.neurons[:, :tokens])
    tensors |= {"neuron_values": pack(strongest[0], kind), "neuron_numbers": pack(strongest[1], "int32")}
    tensors["neurons_active"] = pack((found.neurons[:, :tokens] > 0).float().mean(dim=-1), "float32")
    tensors["norms"] = pack(found.hidden[:, :tokens].norm(dim=-1), "float32")
    tensors["cosines"] = pack(cosines(found.hidden[:, :tokens]), kind)
    tensors["path"] = pack(plane.place(found.hidden[:, :tokens]), "float32")
    return {"shown": tokens, "numbers": detail.numbers, "kind": kind, "share": plane.share, "tensors": tensors}


def first_of_heads(value: Tensor, heads: int, numbers: int) -> Tensor:
    """(…, H) to (…, numbers): as many of the first numbers of every head."""
    by_head = value.view(*value.shape[:-1], heads, -1)
    return by_head[..., : numbers // heads].flatten(-2)


def statistics(value: Tensor) -> Tensor:
    """(…, H) to (…, 3): norm, mean, standard deviation."""
    return torch.stack((value.norm(dim=-1), value.mean(dim=-1), value.std(dim=-1, correction=0)), dim=-1)


def strongest_neurons(neurons: Tensor) -> tuple[Tensor, Tensor]:
    """The values furthest from 0 in (…, I), the strongest first, and which neurons they are."""
    numbers = neurons.abs().topk(min(HIGHEST, neurons.shape[-1]), dim=-1).indices
    return neurons.gather(-1, numbers), numbers


def add_edit(walk: dict[str, Any], edited: Run, whole: Run) -> dict[str, Any]:
    """``walk`` with how far the edit reached: (L + 1, T) float32."""
    tensors = walk["tensors"] | {"ripple": pack(ripple(edited.hidden, whole.hidden)[:, : walk["shown"]], "float32")}
    return walk | {"tensors": tensors}


def describe_model(model: BertPreTrainedModel, name: str) -> dict[str, Any]:
    """What the page says about the model."""
    config = model.config
    return {
        "name": name,
        "kind": type(model).__name__,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "hidden": config.hidden_size,
        "headSize": config.hidden_size // config.num_attention_heads,
        "intermediate": config.intermediate_size,
        "vocabulary": config.vocab_size,
        "activation": config.hidden_act,
        "parameters": model.num_parameters(),
        "longest": config.max_position_embeddings,
    }


def tokens_of(reading: Reading, detail: Detail, config: BertConfig) -> dict[str, Any]:
    """The text's side of a walk: its pieces, and what is left out of the numbers."""
    said = detail.sentences(config, reading.length)
    if reading.whole_length > reading.length:
        said.insert(
            0, f"The text has {reading.whole_length} tokens; this model reads {reading.length} at most, so it was cut."
        )
    return reading.describe() | {"leftOut": said}
