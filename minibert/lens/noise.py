"""Sensitivity of output j to input i, measured by adding Gaussian noise to one token.

    result = sensitivity(model, tokenizer("New York is large.", return_tensors="pt"))
    result.maps[5, 1, 2]  # layer 5: change of "york" (2) per unit of noise at "new" (1)

With noise ε_i ~ N(0, σ²I) at token i and Δ_j the change it causes at token j, an entry is √(mean of ‖Δ_j‖² / ‖ε_i‖²).
As σ goes to 0, Δ_j becomes J_ji ε_i with the (H, H) block J_ji = ∂h_j/∂h_i of the Jacobian, and the entry becomes
‖J_ji‖_F / √H: ``exact_sensitivity`` (jacobian.py) computes that limit.  The identity map has sensitivity 1.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from minibert.display.elements import note
from minibert.display.maps import MOST_CELLS, Panel, labelled_map, many_maps
from minibert.display.scale import Scale
from minibert.display.tables import tabled
from minibert.errors import InputError
from minibert.lens.perturbing import (
    Mode,
    PerturbedRun,
    Positions,
    Progress,
    as_lists,
    at_least_float32,
    progress_bar,
)
from minibert.lens.tracing import Inputs
from minibert.random_normal import standard_normal
from minibert.renamed import newer_value, older_arguments, older_attributes


@older_attributes
@dataclass(frozen=True, eq=False)
class Sensitivity:
    """One position × position table per measured layer.

    W layers measured, R positions (or groups) perturbed, T tokens.  With several texts all tables start with B.
    """

    maps: Tensor  # (W, R, T) float64: [w, i, j] change of token j per unit of perturbation at i; NaN at padding
    standard_error: Tensor  # the same shape: over the samples; NaN for a single sample, 0 in an exact table
    points: tuple[str, ...]  # W: the points measured
    at: tuple[str, ...]  # W: for each of them, the point perturbed
    positions: tuple[tuple[int, ...], ...]  # R: the positions perturbed together; by default each alone, so R = T
    mode: Mode
    tokens: tuple[tuple[str, ...], ...] | None  # B × T, if the inputs know them
    std: float | None = None  # of the noise; None: the exact limit
    relative: bool = False  # whether ``std`` is in units of the standard deviation of the value at the point
    samples: int | None = None
    seed: int | None = None

    def text(self, number: int) -> "Sensitivity":
        """One text of several, without its padding."""
        if self.maps.dim() != 4:
            raise InputError("These tables are of one text.")
        if not 0 <= number < len(self.maps):
            raise InputError(f"There is no text {number}: there are 0 to {len(self.maps) - 1}.")
        known = ~self.maps[number, 0].isnan()
        rows, columns = known.any(dim=1).nonzero()[:, 0], known.any(dim=0).nonzero()[:, 0]
        place = {old: new for new, old in enumerate(columns.tolist())}
        return replace(
            self,
            maps=self.maps[number][:, rows][:, :, columns],
            standard_error=self.standard_error[number][:, rows][:, :, columns],
            positions=tuple(tuple(place[i] for i in self.positions[row]) for row in rows.tolist()),
            tokens=self.tokens and (tuple(self.tokens[number][old] for old in columns.tolist()),),
        )

    def _repr_html_(self) -> str:
        return sensitivity_html(self)

    def to_dict(self) -> dict[str, Any]:
        """All fields as plain lists, for JSON."""
        values = {field.name: as_lists(getattr(self, field.name)) for field in fields(self)}
        return values | {"exact": self.std is None, "deviation": self.std}  # deviation: older name, until 0.3


@older_arguments
def sensitivity(
    model: nn.Module,
    inputs: Inputs,
    *,
    std: float = 0.1,
    relative: bool = False,
    samples: int = 8,
    seed: int = 0,
    at: str = "embeddings",
    points: str | Iterable[str] | None = None,
    mode: Mode = "single",
    positions: Positions | None = None,
    chunk: int | None = None,
    progress: Progress = None,
) -> Sensitivity:
    """How much each token changes in each layer when Gaussian noise is added to one token.

    Args:
        model: any model of minibert with (B, T) inputs, in eval mode.  Open edits act on every run.
        inputs: what the tokenizer returned.
        std: the standard deviation of the noise, in the units of the value at the point; with ``relative``, in units
            of the standard deviation of all numbers of that text at the point.
        samples: noise samples per position; the standard error falls with their square root.
        seed: of the samples, which depend on neither the device, nor the dtype, nor ``chunk``: sample s of row r is
            stream r · samples + s of the generator that minibert/random_normal.py documents.
        at: the point that noise is added to: any with a vector for each token, such as ``encoder.layer.2``.
        points: the points to measure; default the output of every layer after ``at``.
        mode: ``"single"``: noise is added at ``at`` and every later point is measured.  ``"per_layer"``: noise is added
            to the input of each layer, and only the output of that layer is measured.
        positions: one position or several, each perturbed alone; those in a nested sequence are perturbed together,
            as in ``[1, (2, 3)]``, and the change is relative to the noise of the whole group.  Default: every token.
        chunk: how many perturbed copies to compute at once; default as many as make about 4096 tokens.
        progress: a function called with (copies done, copies in all); or False for no progress bar.

    Costs R · samples forward passes of the texts, in either mode.  Rounding errors are those of the model's dtype
    divided by ``std``: for a ``std`` below 1e-3 use ``model.double()``.  Raises InputError.
    """
    if not (isinstance(std, int | float) and 0 < std < math.inf):
        raise InputError(f"std is {std!r}; expected a number above 0: noise of standard deviation 0 changes nothing.")
    if type(samples) is not int or samples < 1:
        raise InputError(f"samples is {samples!r}; expected a whole number of at least 1.")
    if type(relative) is not bool:
        raise InputError(f"relative is {relative!r:.80}; expected True or False.")
    if type(seed) is not int or not -(1 << 63) <= seed < 1 << 64:
        raise InputError(f"seed is {seed!r}; expected a whole number of at most 64 bits.")
    mode = newer_value("minibert.lens.perturbing.Mode", mode, stacklevel=5)
    run = PerturbedRun(model, inputs, at, mode, points)
    groups = run.groups(positions)
    scales = _scales(run, std, relative)  # P of (B, 1, 1)
    total = len(groups) * samples
    sums = torch.zeros(2, run.B, len(run.points), len(groups), run.T, dtype=torch.float64)
    size = run.chunk_size(chunk)
    with torch.no_grad(), progress_bar("noise", total, progress) as advance:
        for start in range(0, total, size):
            streams = range(start, min(start + size, total))
            rows = [stream // samples for stream in streams]
            noise, places = _samples(run, [groups[row] for row in rows], seed, streams)
            ratios = _ratios(run, noise, places, scales)
            sums[0].index_add_(2, torch.tensor(rows), ratios)
            sums[1].index_add_(2, torch.tensor(rows), ratios.square())
            advance(len(rows))
    maps, error = _root_and_error(sums, samples)
    return Sensitivity(
        run.finish(maps, groups), run.finish(error, groups), run.points, run.at, groups, mode, run.tokens(inputs),
        std, relative, samples, seed,
    )  # fmt: skip


def changes(
    model: nn.Module,
    inputs: Inputs,
    perturbation: Tensor,
    *,
    at: str = "embeddings",
    points: str | Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """The change at each later point when ``perturbation`` (B, T, H) is added at ``at``: point → Δh (B, T, H)."""
    run = PerturbedRun(model, inputs, at, "single", points)
    with torch.no_grad():
        values = run.run({run.at[0]: fit(run, perturbation)})
    return {name: value - run.clean[name] for name, value in zip(run.points, values, strict=True)}


def fit(run: PerturbedRun, perturbation: Tensor) -> Tensor:
    """``perturbation`` with the dtype and device of the value it is added to; InputError for another shape."""
    value = run.clean[run.at[0]]
    if perturbation.shape != value.shape:
        raise InputError(
            f"The perturbation has shape {tuple(perturbation.shape)}, expected {tuple(value.shape)} as {run.at[0]} has."
        )
    return perturbation.to(value)


def _scales(run: PerturbedRun, std: float, relative: bool) -> dict[str, Tensor]:
    """The standard deviation of the noise: perturbed point → (B, 1, 1)."""
    scales = {}
    for name in run.perturbed:
        value = run.clean[name]
        scale = torch.full((run.B, 1, 1), float(std), dtype=torch.float64)
        if relative:
            texts = zip(value.cpu(), run.is_token, strict=True)
            scale *= torch.stack([text[real].double().std(correction=0) for text, real in texts])[:, None, None]
        scales[name] = scale.to(value)
    return scales


def _samples(
    run: PerturbedRun, groups: list[tuple[int, ...]], seed: int, streams: Iterable[int]
) -> tuple[Tensor, Tensor]:
    """Standard normal noise per row, (rows, P, B, g, H), and its positions as one-hot vectors, (rows, T, g).

    Each row is a stream of its own (random_normal.py), so that the noise does not depend on the chunks: in it are
    P · B · g · H numbers in this order, g being the number of positions of the row's own group.
    """
    largest = max(map(len, groups))
    P = len(run.perturbed)
    noise = torch.zeros(len(groups), P, run.B, largest, run.H, dtype=torch.float64)
    places = torch.zeros(len(groups), run.T, largest, dtype=torch.float64)
    for row, (group, normal) in enumerate(zip(groups, standard_normal(seed, streams, noise[0].numel()), strict=True)):
        own = (P, run.B, len(group), run.H)
        noise[row, :, :, : len(group)] = normal[: math.prod(own)].view(own)
        places[row, list(group), range(len(group))] = 1
    value = run.clean[run.at[0]]
    return noise.to(value), places.to(value)


def _ratios(run: PerturbedRun, noise: Tensor, places: Tensor, scales: Mapping[str, Tensor]) -> Tensor:
    """‖Δh_j‖² / ‖ε‖² of each sample: (B, W, rows, T) float64."""
    names = run.perturbed

    def one_row(noise: Tensor, places: Tensor) -> tuple[Tensor, ...]:
        values = run.run({name: places @ (noise[number] * scales[name]) for number, name in enumerate(names)})
        changes = (value - run.clean[name] for name, value in zip(run.points, values, strict=True))
        return tuple(at_least_float32(change).square().sum(dim=-1) for change in changes)  # W of (B, T)

    changes = torch.stack(torch.vmap(one_row)(noise, places), dim=2)  # (rows, B, W, T)
    sizes = {
        name: at_least_float32(noise[:, number] * scales[name]).square().sum(dim=(-2, -1))  # (rows, B)
        for number, name in enumerate(names)
    }
    size = torch.stack([sizes[name] for name in run.at], dim=2)  # (rows, B, W)
    return (changes / size[..., None]).permute(1, 2, 0, 3).cpu().double()


def _root_and_error(sums: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """The square root of the mean over the samples, and its standard error (delta method)."""
    mean = sums[0] / samples
    if samples == 1:
        return mean.sqrt(), torch.full_like(mean, torch.nan)
    variance = ((sums[1] / samples - mean.square()) * samples / (samples - 1)).clamp(min=0)
    error = (variance / samples).sqrt() / (2 * mean.sqrt())
    return mean.sqrt(), torch.where(mean == 0, 0.0, error)


# ── in a notebook ────────────────────────────────────────────────────────────────────────────────


def sensitivity_html(found: Sensitivity) -> str:
    """A map for each measured point: a row for the token perturbed, a column for the token that changes.

    The colours end at the largest value off the diagonal, which is so much larger that it would leave the rest blank.
    """
    notes = []
    if found.maps.dim() == 4:
        notes = [f"Shown is text 0 of {len(found.maps)}."] if len(found.maps) > 1 else []
        found = found.text(0)
    W, R, T = found.maps.shape
    side = max(4, math.isqrt(MOST_CELLS // W))
    if side < max(R, T):
        notes.append(f"Shown are the first {min(R, side)} × {min(T, side)} of {R} × {T} values.")
    tables: list[list[list[float]]] = found.maps[:, :side, :side].double().cpu().tolist()
    groups = found.positions[:side]
    words = found.tokens[0] if found.tokens else tuple(map(str, range(T)))
    rows, columns = [" ".join(words[i] for i in group) for group in groups], list(words[:side])
    apart = [
        value
        for values in tables
        for group, row in zip(groups, values, strict=True)
        for j, value in enumerate(row)
        if j not in group and math.isfinite(value)
    ]
    every = [value for values in tables for row in values for value in row if math.isfinite(value)]
    highest = max(every, default=0.0)
    top = max(apart, default=0.0) or highest or 1.0
    scale = Scale(0.0, top, beyond=highest if highest > top else None)
    title = "change of the column's token per unit of noise at the row's token"
    if W == 1:
        picture = labelled_map(tables[0], rows, columns, scale, title)
        said = f"{found.points[0]}: {title}"
    else:
        panels = [Panel(layer_title(point), values) for point, values in zip(found.points, tables, strict=True)]
        picture = many_maps(panels, rows, columns, math.ceil(math.sqrt(W)), scale, title)
        said = f"{title}, at {W} points"
    how = "the limit of small noise" if found.std is None else f"noise of standard deviation {found.std:g}"
    return tabled(note(said), note(how), picture.html, map(note, notes), rules=picture.rules)


def layer_title(point: str) -> str:
    """``layer 3`` for ``bert.encoder.layer.3``; the name of any other point."""
    found = re.fullmatch(r"(?:bert\.)?encoder\.layer\.(\d+)", point)
    return point if found is None else f"layer {found[1]}"
