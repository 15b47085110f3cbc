"""The values of one run, packed for the page.

All values come from :func:`minibert.lens.trace`: the page shows what the model computed.  Added are norms and cosines,
a projection of the hidden states on their first two principal components, and the relative change that an intervention
causes.  Start with :func:`pack_run`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.config import BertConfig
from minibert.explorer import packing
from minibert.explorer.packing import DetailLevel, pack
from minibert.explorer.steps import EMBEDDINGS, stored
from minibert.heads import BertForNextSentencePrediction, BertForPreTraining
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
class RunValues:
    """The values of one run of one text, stacked over the layers, on the CPU, float32 or wider."""

    hidden: Tensor  # (L + 1, T, H)
    embeddings: dict[str, Tensor]  # (T, H)
    vectors: dict[str, Tensor]  # (L, T, H)
    maps: dict[str, Tensor]  # (L, N, T, T)
    neurons: Tensor  # (L, T, I)

    @property
    def nbytes(self) -> int:
        """The memory that the values take."""
        named = (*self.embeddings.values(), *self.vectors.values(), *self.maps.values())
        return sum(value.nbytes for value in (self.hidden, self.neurons, *named))


def run(model: BertPreTrainedModel, inputs: Mapping[str, Tensor]) -> RunValues:
    """Trace the encoder inside ``model``; open edits act on the run."""
    base = encoder_of(model)
    states = hidden_state_names(base.config.num_hidden_layers)
    names = [f"{state}.{suffix}" for state in states[1:] for suffix in (*VECTORS.values(), *MAPS.values(), NEURONS)]
    traced = trace(base, inputs, points=[*EMBEDDINGS.values(), *states, *names])
    values = {name: value[0].float().cpu() for name, value in traced.items()}

    def stacked(suffix: str) -> Tensor:
        return torch.stack([values[f"{state}.{suffix}"] for state in states[1:]])

    return RunValues(
        hidden=torch.stack([values[state] for state in states]),
        embeddings={name: values[point] for name, point in EMBEDDINGS.items()},
        vectors={name: stacked(suffix) for name, suffix in VECTORS.items()},
        maps={name: stacked(suffix) for name, suffix in MAPS.items()},
        neurons=stacked(NEURONS),
    )


def hidden_states(model: BertPreTrainedModel, inputs: Mapping[str, Tensor], offset: int = 0) -> Tensor:
    """Hidden states 0 to L, (L + 1, T, H), with ``offset`` added to every position but that of [CLS]."""
    base = encoder_of(model)
    points = hidden_state_names(base.config.num_hidden_layers)
    position_ids = torch.arange(inputs["input_ids"].shape[1])[None]
    position_ids[:, 1:] += offset
    states = trace(base, {**inputs, "position_ids": position_ids}, points=points)
    return torch.stack([state[0].float().cpu() for state in states.values()])


def encoder_of(model: BertPreTrainedModel) -> BertModel:
    """The BertModel inside ``model``; the names of its points have no prefix."""
    base = model.base_model
    assert isinstance(base, BertModel)
    return base


def has_next_sentence(model: BertPreTrainedModel) -> bool:
    """Whether it can tell if the second text of a pair follows the first."""
    return (
        isinstance(model, BertForPreTraining | BertForNextSentencePrediction) and encoder_of(model).pooler is not None
    )


def cosines(hidden: Tensor) -> Tensor:
    """(…, T, H) to (…, T, T): the cosine of every two tokens."""
    unit = F.normalize(hidden, dim=-1)
    return unit @ unit.transpose(-1, -2)


@dataclass(frozen=True)
class Projection:
    """The first two principal components of the hidden states of a run."""

    mean: Tensor  # (H,) float64
    directions: Tensor  # (H, 2) float64
    explained_variance: tuple[float, float]  # as a share, of each direction

    @classmethod
    def of(cls, hidden: Tensor) -> "Projection":
        """Of the hidden states (L + 1, T, H) of all layers and tokens."""
        points = hidden.detach().flatten(0, -2).double()
        mean = points.mean(dim=0)
        _, spreads, directions = torch.linalg.svd(points - mean, full_matrices=False)
        directions = F.pad(directions[:2], (0, 0, 0, max(0, 2 - len(directions))))
        largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
        directions = directions * torch.where(largest < 0, -1.0, 1.0)  # the sign of a component is arbitrary
        shares = F.pad(spreads.square() / spreads.square().sum().clamp_min(1e-300), (0, 2))[:2].tolist()
        return cls(mean, directions.T, (shares[0], shares[1]))

    def project(self, hidden: Tensor) -> Tensor:
        """(…, H) to (…, 2)."""
        projected: Tensor = (hidden.double() - self.mean) @ self.directions
        return projected


def relative_change(edited: Tensor, original: Tensor) -> Tensor:
    """‖edited − original‖ / ‖original‖ of every hidden state: (L + 1, T) for (L + 1, T, H)."""
    change: Tensor = (edited - original).norm(dim=-1) / original.norm(dim=-1).clamp_min(1e-12)
    return change


def pack_run(
    values: RunValues, config: BertConfig, detail: DetailLevel, *, projection: Projection, dtype: str = "float16"
) -> dict[str, Any]:
    """What ``detail`` keeps of ``values``, as JSON; ``dtype`` is that of the large tensors."""
    tokens, heads = detail.tokens, config.num_attention_heads
    tensors: dict[str, Any] = {}
    for name, value in {**values.embeddings, "hidden": values.hidden, **values.vectors}.items():
        shown = value[..., :tokens, :]
        tensors[f"{name}_statistics"] = pack(statistics(shown), "float32")
        if name not in SUMS:
            kept = first_of_heads(shown, heads, detail.numbers) if name in BY_HEAD else shown[..., : detail.numbers]
            tensors[name] = pack(kept, dtype)
    for name, value in values.maps.items():
        if name != "scores" or detail.scores:
            tensors[name] = pack(value[..., :tokens, :tokens], dtype)
    hidden, neurons = values.hidden[:, :tokens], values.neurons[:, :tokens]
    strongest, numbers = strongest_neurons(neurons)
    tensors |= {"neuron_values": pack(strongest, dtype), "neuron_numbers": pack(numbers, "int32")}
    tensors["neurons_active"] = pack((neurons > 0).float().mean(dim=-1), "float32")
    tensors["norms"] = pack(hidden.norm(dim=-1), "float32")
    tensors["cosines"] = pack(cosines(hidden), dtype)
    tensors["projection"] = pack(projection.project(hidden), "float32")
    return {
        "shown": tokens,
        "numbers": detail.numbers,
        "dtype": dtype,
        "explained_variance": projection.explained_variance,
        "tensors": tensors,
    }


def first_of_heads(value: Tensor, heads: int, numbers: int) -> Tensor:
    """(…, H) to (…, numbers): the first numbers of every head, equally many of each."""
    by_head = value.view(*value.shape[:-1], heads, -1)
    return by_head[..., : numbers // heads].flatten(-2)


def statistics(value: Tensor) -> Tensor:
    """(…, H) to (…, 3): norm, mean, standard deviation."""
    return torch.stack((value.norm(dim=-1), value.mean(dim=-1), value.std(dim=-1, correction=0)), dim=-1)


def strongest_neurons(neurons: Tensor) -> tuple[Tensor, Tensor]:
    """The values furthest from 0 in (…, I), in descending order, and the numbers of their neurons."""
    numbers = neurons.abs().topk(min(packing.NEURONS, neurons.shape[-1]), dim=-1).indices
    return neurons.gather(-1, numbers), numbers


def describe_model(model: BertPreTrainedModel, name: str) -> dict[str, Any]:
    config = model.config
    return {
        "name": name,
        "architecture": type(model).__name__,
        "layers": config.num_hidden_layers,
        "heads": config.num_attention_heads,
        "hidden": config.hidden_size,
        "head_size": config.hidden_size // config.num_attention_heads,
        "intermediate": config.intermediate_size,
        "parameters": model.num_parameters(),
    }
