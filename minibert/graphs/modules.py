"""What a graph computes: a model with the inputs and outputs that other runtimes know by name.

Each module here is called with ``input_ids``, ``attention_mask`` and ``token_type_ids`` by position and returns a
tuple, one tensor per name in ``outputs``.  The model in it is a copy with attention written out: fused attention
becomes operations that fewer runtimes have, and a row of nothing but padding would be 0 in one and an average in
another.
"""

import copy

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.model import BertLayer, BertModel
from minibert.points import HEADS
from minibert.pretrained import BertPreTrainedModel
from minibert.watch import Watch

INPUTS = ("input_ids", "attention_mask", "token_type_ids")


class GraphModule(nn.Module):
    """A model as three ids in, a tuple of tensors out."""

    outputs: tuple[str, ...]  # names of what forward returns, in order
    input_axes: tuple[str, ...] = ("batch", "length")  # of every input

    def __init__(self, model: BertPreTrainedModel) -> None:
        """``model`` is copied, never changed."""
        super().__init__()
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.model.config.attn_implementation = "eager"
        for module in self.model.modules():
            if isinstance(module, BertLayer):
                module.chunk_size_feed_forward = 0  # chunks would fix the length

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Each argument (B, T) int64."""
        raise NotImplementedError


class HiddenStates(GraphModule):
    """The encoder: ``last_hidden_state`` (B, T, H), or the hidden states with these numbers (0: the embeddings)."""

    def __init__(self, model: BertPreTrainedModel, layers: tuple[int, ...] | None = None) -> None:
        super().__init__(model)
        base = self.model.base_model
        assert isinstance(base, BertModel)
        base.pooler = None
        self.base = base
        self.layers = (base.config.num_hidden_layers,) if layers is None else layers
        self.outputs = ("last_hidden_state",) if layers is None else tuple(f"hidden_state_{n}" for n in layers)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Each argument (B, T) int64."""
        found = self.base(input_ids, attention_mask, token_type_ids, output_hidden_states=True, return_dict=True)
        return tuple(found.hidden_states[number] for number in self.layers)


class Logits(GraphModule):
    """A head's scores: ``logits``, or both of a head that has two, by their names."""

    def __init__(self, model: BertPreTrainedModel) -> None:
        super().__init__(model)
        head = next((HEADS[name] for name in class_names(model) if name in HEADS), ())
        self.outputs = tuple(point.name[1:] for point in head if point.name.endswith("logits"))
        if not self.outputs:
            raise InputError(f"{type(model).__name__} has no head, so it has no logits; export its hidden states.")
        self.input_axes = axes_of(model)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Each argument (B, T) int64; for multiple choice (B, C, T)."""
        found = self.model(input_ids, attention_mask, token_type_ids, return_dict=True)
        return tuple(found[name] for name in self.outputs)


class AllPoints(GraphModule):
    """Every named value of a run (``model.points()``), for teaching and debugging."""

    def __init__(self, model: BertPreTrainedModel) -> None:
        super().__init__(model)
        self.input_axes = axes_of(model)
        with torch.no_grad():
            reached = self.values(*example(self))
        order = [point.name for point in self.model.points()]
        self.outputs = tuple(sorted(reached, key=order.index))

    def values(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Point → value of a run."""
        seen: dict[str, Tensor] = {}

        def keep(name: str, value: Tensor) -> Tensor:
            seen[name] = value
            return value

        with Watch(self.model, keep):
            self.model(*inputs, return_dict=True)
        return seen

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> tuple[Tensor, ...]:
        """Each argument (B, T) int64; for multiple choice (B, C, T)."""
        seen = self.values(input_ids, attention_mask, token_type_ids)
        return tuple(seen[name].clone() for name in self.outputs)  # some points are one tensor under several names


def class_names(model: nn.Module) -> list[str]:
    """The names of a model's class and of its base classes."""
    return [base.__name__ for base in type(model).__mro__]


def axes_of(model: nn.Module) -> tuple[str, ...]:
    """The axes of a model's inputs; multiple choice has one more."""
    is_choice = "BertForMultipleChoice" in class_names(model)
    return ("batch", "choices", "length") if is_choice else ("batch", "length")


def example(module: GraphModule) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs to trace a module with: no size is 1, and no two are equal, so that no size becomes a constant."""
    sizes = {"batch": 2, "choices": 3, "length": 5}
    shape = [sizes[axis] for axis in module.input_axes]
    ids = torch.ones(shape, dtype=torch.long)
    mask = torch.ones_like(ids)
    mask[..., -1] = 0
    return ids, mask, torch.zeros_like(ids)
