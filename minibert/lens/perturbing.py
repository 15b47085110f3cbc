"""A run that is disturbed at some points and watched at others: what noise.py and jacobian.py share.

The map from a disturbance to the values after it is one function, ``Disturbed.run``: noise is a large argument to it,
a Jacobian its derivative at zero.  Two modes.  ``"single"``: the disturbance goes in at one point and all that follows
is watched.  ``"per_layer"``: it goes into the input of each layer and that layer's own output is watched; between two
layers the undisturbed value is put back, so that one run of the model tells about every layer.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.inputs import whole_numbers
from minibert.lens.tracing import Inputs, Stop, as_arguments, watchable
from minibert.points import hidden_state_names, names_in, select
from minibert.pretrained import BertPreTrainedModel
from minibert.watch import Watch

Mode = Literal["single", "per_layer"]
Positions = int | Sequence[int | Sequence[int]]  # several, each alone, or in brackets of its own as a group
TOKENS_AT_ONCE = 4096  # of all disturbed copies of the texts together


class Disturbed:
    """Where a run is disturbed, where it is watched, and what it computes undisturbed.

    ``points``: the W names watched.  ``at``: for each of them, the name disturbed.  ``clean``: name → undisturbed
    value (B, T, H).  ``real``: (B, T) bool, False at padding.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        at: str,
        mode: Mode,
        points: str | Iterable[str] | None,
        dtype: torch.dtype | None = None,
    ) -> None:
        """``dtype``: compute in it; default the model's own.  Raises InputError."""
        self.model = watchable(model)
        if self.model.training and (
            self.model.config.hidden_dropout_prob or self.model.config.attention_probs_dropout_prob
        ):
            raise InputError("In training mode dropout moves every value; call model.eval() before you disturb one.")
        self.arguments = as_arguments(self.model, inputs)
        if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
            raise InputError(f"dtype is {dtype!r}; expected a floating-point one such as torch.float64, or None.")
        self.tensors: dict[str, Tensor] = {}
        if dtype not in (None, self.model.dtype):
            self.tensors = {
                name: tensor.detach().to(dtype) if tensor.is_floating_point() else tensor
                for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers())
            }
            self.arguments = {
                name: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
                for name, value in self.arguments.items()
            }
        self.points, self.at = _plan(self.model, at, mode, points)
        with torch.no_grad():
            self.clean = dict(zip(self._names(), self._compute({}, self._names()), strict=True))
        self._check_values()
        self.B, self.T, self.H = self.clean[self.at[0]].shape
        mask = self.arguments.get("attention_mask")
        self.real = torch.ones(self.B, self.T, dtype=torch.bool)
        if isinstance(mask, Tensor) and mask.dim() == 2:
            self.real = mask.bool().cpu()

    @property
    def injected(self) -> tuple[str, ...]:
        """The P names disturbed, each once."""
        return tuple(dict.fromkeys(self.at))

    def run(self, disturbances: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The values at ``points`` when ``disturbances`` (each of its point's shape) are added; fit for torch.func."""
        return self._compute(disturbances, self.points)

    def rows_at_once(self, given: int | None) -> int:
        """How many disturbed copies to compute together: as given, or as many as TOKENS_AT_ONCE allows."""
        if given is not None and (type(given) is not int or given < 1):
            raise InputError(f"chunk is {given!r}; expected a whole number of at least 1, or None.")
        return given or max(1, TOKENS_AT_ONCE // (self.B * self.T))

    def groups(self, positions: Positions | None) -> tuple[tuple[int, ...], ...]:
        """The R sets of positions to disturb, each sorted; InputError for one that is nowhere a token."""
        given: Any = range(self.T) if positions is None else positions
        given = given.tolist() if isinstance(given, Tensor) else given
        groups = []
        for entry in given if isinstance(given, Iterable) and not isinstance(given, str | bytes) else [given]:
            group = whole_numbers("A position", entry)
            outside = [i for i in group if not -self.T <= i < self.T]
            if outside or not group:
                wrong = outside[0] if outside else entry
                raise InputError(f"There is no position {wrong}: the text has 0 to {self.T - 1}.")
            groups.append(tuple(sorted({i % self.T for i in group})))
        padding = [group for group in groups if not self.real[:, list(group)].all(dim=1).any()]
        if positions is not None and padding:
            raise InputError(f"Position {padding[0][0]} is padding; only tokens are disturbed.")
        if not groups:
            raise InputError("positions is empty; give at least one, or None for all.")
        return tuple(groups)

    def finish(self, table: Tensor, groups: tuple[tuple[int, ...], ...]) -> Tensor:
        """(B, W, R, T) with NaN wherever padding is disturbed or watched; (W, R, T) for a single text."""
        rows = torch.stack([self.real[:, list(group)].all(dim=1) for group in groups], dim=1)  # (B, R)
        known = rows[:, None, :, None] & self.real[:, None, None, :]
        table = torch.where(known, table, torch.nan)
        return table[0] if self.B == 1 else table

    def tokens(self, inputs: Inputs) -> tuple[tuple[str, ...], ...] | None:
        """The pieces of each text, where ``inputs`` come from the tokenizer and still know them."""
        if getattr(inputs, "encodings", None) is None:
            return None
        return tuple(tuple(inputs.tokens(number)) for number in range(self.B))  # type: ignore[union-attr]

    def _names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.at, *self.points)))

    def _compute(self, disturbances: Mapping[str, Tensor], wanted: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run the model up to the last of ``wanted``; what is disturbed is watched before it is."""
        seen: dict[str, Tensor] = {}

        def observe(name: str, value: Tensor) -> Tensor:
            if name in wanted:
                seen[name] = value
                if len(seen) == len(wanted):
                    raise Stop
            if name in disturbances:
                return self.clean[name] + disturbances[name]
            return value

        with Watch(self.model, observe, frozenset((*wanted, *disturbances))):
            try:
                if self.tensors:
                    torch.func.functional_call(self.model, self.tensors, (), {**self.arguments, "return_dict": True})
                else:
                    self.model(**self.arguments, return_dict=True)
            except Stop:
                pass
        missing = [name for name in wanted if name not in seen]
        if missing:
            raise InputError(f"{missing[0]} is not computed for these inputs, so there is nothing to watch.")
        return tuple(seen[name] for name in wanted)

    def _check_values(self) -> None:
        """Every value disturbed or watched has a vector for each token of each text."""
        B, T = self.clean[self.at[0]].shape[:2]
        for name, value in self.clean.items():
            if value.dim() != 3 or value.shape[:2] != (B, T):
                raise InputError(
                    f"{name} has shape {tuple(value.shape)}; expected ({B}, {T}, any): a vector for each token."
                )


def _plan(
    model: BertPreTrainedModel, at: str, mode: Mode, points: str | Iterable[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names watched and, for each, the name disturbed."""
    embeddings, *layers = hidden_state_names(model.config.num_hidden_layers, model.encoder_prefix)
    start = _only(model, at)
    watched = None if points is None else select(model, [_known(model, name) for name in names_in(points)])
    if mode == "per_layer":
        if start != embeddings:
            raise InputError("In mode 'per_layer' the input of each layer is disturbed; at is for mode 'single'.")
        other = [name for name in watched or () if name not in layers]
        if other:
            raise InputError(f"In mode 'per_layer' the outputs of layers are watched; {other[0]} is none.")
        inputs = dict(zip(layers, [start, *layers[:-1]], strict=True))
        names = watched or layers
        return tuple(names), tuple(inputs[name] for name in names)
    if mode != "single":
        raise InputError(f"mode is {mode!r}; there are 'single', and 'per_layer' for the input of each layer.")
    order = {name: number for number, name in enumerate(model.points().by_name)}
    names = [name for name in layers if order[name] > order[start]] if watched is None else watched
    before = [name for name in names if order[name] <= order[start]]
    if before or not names:
        raise InputError(
            f"{before[0] if before else 'No layer'} comes after {start}: a disturbance moves what follows."
        )
    return tuple(names), (start,) * len(names)


def _known(model: BertPreTrainedModel, name: str) -> str:
    """``name`` as ``model`` calls it: a point of the encoder may stand without the ``bert.`` of a model with a head."""
    known, prefix = model.points().by_name, model.encoder_prefix
    return prefix + name if name not in known and (prefix + name in known or "*" in name) else name


def _only(model: BertPreTrainedModel, name: str) -> str:
    found = [point for one in names_in(name) for point in select(model, _known(model, one))]
    if len(found) > 1:
        raise InputError(f"{name!r} names {len(found)} points; noise goes in at one.")
    point = model.points().by_name[found[0]]
    if point.shape.startswith(("(1", "(B·C")):
        raise InputError(f"{point.name} has shape {point.shape}; expected (B, T, H): a vector for each token.")
    return point.name


def wide(value: Tensor) -> Tensor:
    """Half precision in float32, to be squared and summed; the others as they are: not every device has float64."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def as_grid(value: Any) -> Any:
    """A tensor as nested lists, NaN as None: JSON has no NaN."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, list):
        return [as_grid(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
