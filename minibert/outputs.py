"""What a model returns: a record that is read by attribute, key or index, and can be unpacked.

    outputs.last_hidden_state   outputs["last_hidden_state"]   outputs[0]
    last_hidden_state, pooler_output = outputs

Index and unpacking skip values that are None, as in transformers.  There is one class for each type of head, all
direct subclasses of ModelOutput.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any, overload

from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(eq=False)
class ModelOutput:
    """The base of all outputs: the ways to read one."""

    def keys(self) -> tuple[str, ...]:
        """Names of the values that are present."""
        return tuple(field.name for field in fields(self) if getattr(self, field.name) is not None)

    def to_tuple(self) -> tuple[Any, ...]:
        """The values that are present, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    values = to_tuple

    def items(self) -> tuple[tuple[str, Any], ...]:
        """Pairs of name and value, for those that are present."""
        return tuple((name, getattr(self, name)) for name in self.keys())

    def get(self, name: str, default: Any = None) -> Any:
        """The value called ``name``, or ``default`` when it is absent."""
        value = getattr(self, name, None)
        return default if value is None else value

    @overload
    def __getitem__(self, key: str | int) -> Any: ...
    @overload
    def __getitem__(self, key: slice) -> tuple[Any, ...]: ...
    def __getitem__(self, key: str | int | slice) -> Any:
        if isinstance(key, str):
            if key not in self.keys():
                raise KeyError(f"{key!r} is not in this output; present are {', '.join(self.keys())}.")
            return getattr(self, key)
        return self.to_tuple()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.to_tuple())

    def __len__(self) -> int:
        return len(self.keys())

    def __contains__(self, name: object) -> bool:
        return name in self.keys()


@dataclass(eq=False)
class BertModelOutput(ModelOutput):
    """What BertModel returns."""

    last_hidden_state: Tensor  # (B, T, H)
    pooler_output: Tensor | None = None  # (B, H); None when the model has no pooler
    hidden_states: tuple[Tensor, ...] | None = None  # L + 1 of (B, T, H): the embeddings, then every layer
    attentions: tuple[Tensor, ...] | None = None  # L of (B, N, T, T)


@dataclass(eq=False)
class HeadOutput(ModelOutput):
    """What a head with one tensor of scores returns."""

    loss: Tensor | None = None  # ()
    logits: Tensor | None = None  # of the shape that the head documents
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class PreTrainingOutput(ModelOutput):
    """What BertForPreTraining returns."""

    loss: Tensor | None = None  # (), MLM + NSP
    prediction_logits: Tensor | None = None  # (B, T, V)
    seq_relationship_logits: Tensor | None = None  # (B, 2): 0 is "B follows A", 1 is "B is random"
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


@dataclass(eq=False)
class QuestionAnsweringOutput(ModelOutput):
    """What BertForQuestionAnswering returns."""

    loss: Tensor | None = None  # (), the mean of the losses for start and end
    start_logits: Tensor | None = None  # (B, T)
    end_logits: Tensor | None = None  # (B, T)
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: tuple[Tensor, ...] | None = None


def _register(output_class: type[ModelOutput]) -> None:
    """Register a record as a pytree, so that torch.func, FSDP and torch.export find its tensors."""

    def flatten(output: ModelOutput) -> tuple[list[Any], tuple[str, ...]]:
        return list(output.to_tuple()), output.keys()

    def unflatten(values: Any, names: Any) -> ModelOutput:
        return output_class(**dict(zip(names, values, strict=True)))

    pytree.register_pytree_node(
        output_class, flatten, unflatten, serialized_type_name=f"minibert.{output_class.__name__}"
    )


for _output_class in (BertModelOutput, HeadOutput, PreTrainingOutput, QuestionAnsweringOutput):
    _register(_output_class)
