"""trace: one run of a model, with every value kept.

    values = trace(model, tokenizer("She sat by the bank.", return_tensors="pt"))
    values["encoder.layer.3.attention.self.probabilities"]  # (B, N, T, T)
    print(values)  # all of them as a table

The values are recorded in the model's own forward pass (watch.py); there is no second implementation.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.lens.printing import trace_html, trace_table
from minibert.outputs import ModelOutput
from minibert.points import Point, select
from minibert.pretrained import BertPreTrainedModel
from minibert.watch import Watch

Inputs = Mapping[str, Any] | Tensor  # what the tokenizer returned, or input_ids alone


class UnknownPointError(InputError, KeyError):
    """A name that is not in a trace."""


class Trace(dict[str, Tensor]):
    """Point → value, in the order of computation; ``outputs`` is what the model returned."""

    def __init__(self, values: Mapping[str, Tensor], points: Mapping[str, Point], outputs: ModelOutput | None) -> None:
        super().__init__(values)
        self.points, self.outputs = points, outputs

    def __missing__(self, name: object) -> Tensor:
        """Raise InputError, also a KeyError, for a name that is not in this trace."""
        close = get_close_matches(str(name), self, n=1, cutoff=0.5)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known = "was not kept in this trace" if name in self.points else "is no point of this model"
        raise UnknownPointError(f"{name!r} {known}.{hint} model.points() lists every name.")

    def __str__(self) -> str:
        return trace_table(self, self.points)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return trace_html(self, self.points)


def trace(
    model: nn.Module,
    inputs: Inputs,
    *,
    points: str | Iterable[str] | None = None,
    grad: bool = False,
    stop: bool = False,
) -> Trace:
    """Run ``model`` on ``inputs`` and keep the value of every point.

    Args:
        model: any model of minibert; its mode is kept, so call ``eval()`` for values without dropout.
        inputs: what the tokenizer returned; ``inputs_embeds`` and labels as the model takes them.
        points: the names to keep, with ``*`` and ``**`` as in :func:`minibert.points.select`; default all.
        grad: keep the graph, for autograd and torch.func, if gradients are enabled; default without gradients.
        stop: end the run once all of ``points`` are recorded; ``outputs`` is then None.

    Values share memory as they do in the model (``query_heads`` is a view of ``query``): clone one before you change
    it in place.  Open edits act on the run, and the trace records the edited values.  Raises InputError.
    """
    model = watchable(model)
    arguments = as_arguments(model, inputs)
    names = None if points is None else select(model, points)
    values: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        values[name] = value if grad else value.detach()
        if stop and names is not None and len(values) == len(names):
            raise Stop
        return value

    outputs: ModelOutput | None = None
    with Watch(model, keep, None if names is None else frozenset(names)):
        try:
            with torch.set_grad_enabled(grad and torch.is_grad_enabled()):
                outputs = model(**arguments, return_dict=True)
        except Stop:
            pass
    return Trace(values, model.points().by_name, outputs)


class Stop(BaseException):
    """Ends a run from within; not an Exception, so that no ``except Exception`` on the way catches it."""


def watchable(model: nn.Module) -> BertPreTrainedModel:
    """The model, without the wrapper of torch.compile; InputError if it has no points."""
    model = getattr(model, "_orig_mod", model)
    if not isinstance(model, BertPreTrainedModel):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise InputError(f"{kind} has no points to look at; load it as one of minibert's models.")
    if model._compiled_call_impl is not None:
        raise InputError("A model compiled in place, by compile(), cannot be looked into; load it again without.")
    return model


def as_arguments(model: BertPreTrainedModel, inputs: Inputs) -> dict[str, Any]:
    """``inputs`` as keyword arguments on the model's device; lists (without ``return_tensors``) become tensors."""
    if isinstance(inputs, Tensor):
        inputs = {"input_ids": inputs}
    if not isinstance(inputs, Mapping):
        raise InputError(
            f"The inputs are of type {type(inputs).__name__}; expected what the tokenizer returned: "
            'tokenizer(text, return_tensors="pt").'
        )
    arguments = {}
    for name, value in inputs.items():
        argument = value
        if isinstance(value, Sequence) and not isinstance(value, str):
            try:
                argument = torch.tensor(value)
            except (TypeError, ValueError) as error:
                raise InputError(f"{name} is no rectangle of numbers; tokenize with padding=True.") from error
            argument = argument[None] if argument.dim() == 1 else argument  # the ids of a single text have no batch
        arguments[name] = argument.to(model.device) if isinstance(argument, Tensor) else argument
    return arguments
