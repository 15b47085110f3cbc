"""A run that is perturbed at some points and measured at others: what noise.py and jacobian.py share.

The map from a perturbation to the values after it is one function, ``PerturbedRun.run``: noise is a finite argument of
it, a Jacobian is its derivative at zero.  There are two modes.  ``"single"`` perturbs one point and measures all later
ones.  ``"per_layer"`` perturbs the input of each layer and measures the output of that layer; between two layers the
clean value is restored, so that one run measures every layer.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.errors import InputError
from minibert.inputs import whole_numbers
from minibert.lens.tracing import Inputs, Stop, as_arguments, watchable
from minibert.points import hidden_state_names, names_in, select
from minibert.pretrained import BertPreTrainedModel
from minibert.watch import Watch

Mode = Literal["single", "per_layer"]
Positions = int | Sequence[int | Sequence[int]]  # each position alone; those in a nested sequence together, as a group
Progress = bool | Callable[[int, int], object] | None
TOKENS_AT_ONCE = 4096  # of all perturbed copies of the texts together


class PerturbedRun:
    """Where a run is perturbed, where it is measured, and its clean values.

    ``points``: the W names measured.  ``at``: for each of them, the name perturbed.  ``clean``: name → clean value
    (B, T, H).  ``is_token``: (B, T) bool, False at padding.
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
            raise InputError("In training mode dropout changes every value; call model.eval() before you perturb one.")
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
        self.points, self.at = _resolve(self.model, at, mode, points)
        names = tuple(dict.fromkeys((*self.at, *self.points)))
        with torch.no_grad():
            self.clean = dict(zip(names, self._compute({}, names), strict=True))
        self._check_values()
        self.B, self.T, self.H = self.clean[self.at[0]].shape
        mask = self.arguments.get("attention_mask")
        self.is_token = torch.ones(self.B, self.T, dtype=torch.bool)
        if isinstance(mask, Tensor) and mask.dim() == 2:
            self.is_token = mask.bool().cpu()

    @property
    def perturbed(self) -> tuple[str, ...]:
        """The P names perturbed, each once."""
        return tuple(dict.fromkeys(self.at))

    def run(self, perturbations: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """The values at ``points`` with ``perturbations`` (name → (B, T, H)) added.  Works under torch.func."""
        return self._compute(perturbations, self.points)

    def chunk_size(self, chunk: int | None) -> int:
        """How many perturbed copies to compute together: ``chunk``, or as many as TOKENS_AT_ONCE allows."""
        if chunk is not None and (type(chunk) is not int or chunk < 1):
            raise InputError(f"chunk is {chunk!r}; expected a whole number of at least 1, or None.")
        return chunk or max(1, TOKENS_AT_ONCE // (self.B * self.T))

    def groups(self, positions: Positions | None) -> tuple[tuple[int, ...], ...]:
        """The R groups of positions to perturb, each sorted; InputError for a position without a token."""
        entries: Any = range(self.T) if positions is None else positions
        entries = entries.tolist() if isinstance(entries, Tensor) else entries
        groups = []
        for entry in entries if isinstance(entries, Iterable) and not isinstance(entries, str | bytes) else [entries]:
            group = whole_numbers("A position", entry)
            outside = [i for i in group if not -self.T <= i < self.T]
            if outside or not group:
                raise InputError(
                    f"There is no position {outside[0] if outside else entry}: the text has 0 to {self.T - 1}."
                )
            groups.append(tuple(sorted({i % self.T for i in group})))
        padding = [group for group in groups if not self.is_token[:, list(group)].all(dim=1).any()]
        if positions is not None and padding:
            raise InputError(f"Position {padding[0][0]} is padding; only tokens are perturbed.")
        if not groups:
            raise InputError("positions is empty; give at least one, or None for all.")
        return tuple(groups)

    def finish(self, table: Tensor, groups: tuple[tuple[int, ...], ...]) -> Tensor:
        """(B, W, R, T) with NaN wherever padding is perturbed or measured; (W, R, T) for a single text."""
        rows = torch.stack([self.is_token[:, list(group)].all(dim=1) for group in groups], dim=1)  # (B, R)
        known = rows[:, None, :, None] & self.is_token[:, None, None, :]
        table = torch.where(known, table, torch.nan)
        return table[0] if self.B == 1 else table

    def tokens(self, inputs: Inputs) -> tuple[tuple[str, ...], ...] | None:
        """The tokens of each text; None unless ``inputs`` is a BatchEncoding that still knows them."""
        if getattr(inputs, "encodings", None) is None:
            return None
        return tuple(tuple(inputs.tokens(number)) for number in range(self.B))  # type: ignore[union-attr]

    def _compute(self, perturbations: Mapping[str, Tensor], names: tuple[str, ...]) -> tuple[Tensor, ...]:
        """Run the model up to the last of ``names``; a point that is perturbed is recorded before its perturbation."""
        values: dict[str, Tensor] = {}

        def observe(name: str, value: Tensor) -> Tensor:
            if name in names:
                values[name] = value
                if len(values) == len(names):
                    raise Stop
            if name in perturbations:
                return self.clean[name] + perturbations[name]
            return value

        with Watch(self.model, observe, frozenset((*names, *perturbations))):
            try:
                if self.tensors:
                    torch.func.functional_call(self.model, self.tensors, (), {**self.arguments, "return_dict": True})
                else:
                    self.model(**self.arguments, return_dict=True)
            except Stop:
                pass
        missing = [name for name in names if name not in values]
        if missing:
            raise InputError(f"{missing[0]} is not computed for these inputs, so there is nothing to measure.")
        return tuple(values[name] for name in names)

    def _check_values(self) -> None:
        """Every value perturbed or measured has one vector per token."""
        B, T = self.clean[self.at[0]].shape[:2]
        for name, value in self.clean.items():
            if value.dim() != 3 or value.shape[:2] != (B, T):
                raise InputError(
                    f"{name} has shape {tuple(value.shape)}; expected ({B}, {T}, any): a vector for each token."
                )


def _resolve(
    model: BertPreTrainedModel, at: str, mode: Mode, points: str | Iterable[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names measured and, for each, the name perturbed."""
    embeddings, *layers = hidden_state_names(model.config.num_hidden_layers, model.encoder_prefix)
    start = _one_point(model, at)
    chosen = None if points is None else select(model, [_with_prefix(model, name) for name in names_in(points)])
    if mode == "per_layer":
        if start != embeddings:
            raise InputError("In mode 'per_layer' the input of each layer is perturbed; at is for mode 'single'.")
        other = [name for name in chosen or () if name not in layers]
        if other:
            raise InputError(f"In mode 'per_layer' the outputs of layers are measured; {other[0]} is none.")
        inputs = dict(zip(layers, [start, *layers[:-1]], strict=True))
        names = chosen or layers
        return tuple(names), tuple(inputs[name] for name in names)
    if mode != "single":
        raise InputError(f"mode is {mode!r}; there are 'single', and 'per_layer' for the input of each layer.")
    order = {name: number for number, name in enumerate(model.points().by_name)}
    names = [name for name in layers if order[name] > order[start]] if chosen is None else chosen
    before = [name for name in names if order[name] <= order[start]]
    if before or not names:
        raise InputError(
            f"{before[0] if before else 'No layer'} comes after {start}: a perturbation changes what follows."
        )
    return tuple(names), (start,) * len(names)


def _with_prefix(model: BertPreTrainedModel, name: str) -> str:
    """``name`` as ``model`` calls it: with a head, points of the encoder may be named without ``bert.``."""
    known, prefix = model.points().by_name, model.encoder_prefix
    return prefix + name if name not in known and (prefix + name in known or "*" in name) else name


def _one_point(model: BertPreTrainedModel, name: str) -> str:
    """The one point that ``name`` selects, which has a vector per token; InputError otherwise."""
    names = [point for one in names_in(name) for point in select(model, _with_prefix(model, one))]
    if len(names) > 1:
        raise InputError(f"{name!r} names {len(names)} points; noise goes in at one.")
    point = model.points().by_name[names[0]]
    if point.shape.startswith(("(1", "(B·C")):
        raise InputError(f"{point.name} has shape {point.shape}; expected (B, T, H): a vector for each token.")
    return point.name


@contextmanager
def progress_bar(what: str, total: int, progress: Progress) -> Iterator[Callable[[int], None]]:
    """Yield ``advance``(count), which moves a progress bar and calls ``progress``(done, total) if it is a function."""
    done = 0
    with tqdm(total=total, desc=what, unit="run", disable=None if progress is None else progress is not True) as bar:

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bar.update(count)
            if callable(progress):
                progress(done, total)

        yield advance


def at_least_float32(value: Tensor) -> Tensor:
    """``value`` in a dtype in which squares can be summed.  float32 stays: not every device has float64."""
    return value.to(torch.promote_types(value.dtype, torch.float32))


def as_lists(value: Any) -> Any:
    """Tensors and tuples as nested lists, with None for NaN, which JSON lacks."""
    if isinstance(value, Tensor):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [as_lists(entry) for entry in value]
    return None if isinstance(value, float) and math.isnan(value) else value
