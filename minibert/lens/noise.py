"""How much output j moves when input i is disturbed: noise goes in at one token, and every token is watched.

    found = sensitivity(model, tokenizer("New York is large.", return_tensors="pt"))
    found.maps[5, 1, 2]  # layer 5: how far "york" (2) moves for each unit that "new" (1) is moved

With noise ε ~ N(0, σ²I) and Δ the movement it causes, the entry is √(mean of ‖Δ_j‖² / ‖ε_i‖²).  As σ falls, Δ_j comes
to be J_ji ε_i, and the entry comes to be ‖J_ji‖_F / √H, J_ji being the (H, H) block ∂h_j/∂h_i: ``exact_sensitivity``
(jacobian.py) gives that limit in the same table.  A value that is only handed on has 1 with itself.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.errors import InputError
from minibert.lens.perturbing import Disturbed, Mode, Positions, as_grid, wide
from minibert.lens.tracing import Inputs
from minibert.renamed import newer_value, older_arguments, older_attributes


@older_attributes
@dataclass(frozen=True, eq=False)
class Sensitivity:
    """Position × position tables, one for each watched layer.

    W layers watched, R positions (or groups) disturbed, T tokens.  Of several texts all tables have a B in front.
    """

    maps: Tensor  # (W, R, T) float64: [w, i, j] how far token j moves for each unit that i is moved; NaN at padding
    standard_error: Tensor  # the same shape: of the draws; NaN for a single one, 0 in an exact table
    points: tuple[str, ...]  # W: where it was watched
    at: tuple[str, ...]  # W: where, for that, it was disturbed
    positions: tuple[tuple[int, ...], ...]  # R: what was disturbed together; by default each token alone, so R = T
    mode: Mode
    tokens: tuple[tuple[str, ...], ...] | None  # B × T, where the inputs knew them
    std: float | None = None  # of the noise; None: exact, the limit of none
    relative: bool = False  # whether ``std`` counts in the spread of the value at the point
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

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists, for JSON."""
        return {
            "mode": self.mode,
            "exact": self.std is None,
            "std": self.std,
            "deviation": self.std,  # older name, until 0.3
            "relative": self.relative,
            "samples": self.samples,
            "seed": self.seed,
            "points": list(self.points),
            "at": list(self.at),
            "positions": [list(group) for group in self.positions],
            "tokens": self.tokens and [list(row) for row in self.tokens],
            "maps": as_grid(self.maps),
            "standard_error": as_grid(self.standard_error),
        }


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
    progress: bool | Callable[[int, int], object] | None = None,
) -> Sensitivity:
    """How much each token moves in each layer when Gaussian noise is added to one token.

    Args:
        model: any model of minibert that reads (B, T), in eval mode.  Edits that are open act on every run.
        inputs: what the tokenizer returned.
        std: the noise's standard deviation, in the units of the value at the point; or, with ``relative``,
            times the spread (the standard deviation) of all numbers of that text there.
        samples: draws for each position; the standard error falls with their root.
        seed: of the draws, which depend on nothing else: neither on the device, nor the dtype, nor ``chunk``.
        at: the point the noise is added to: any with a vector for each token, such as ``encoder.layer.2``.
        points: what to watch; default the output of every layer after ``at``.
        mode: ``"single"``: noise is added at ``at`` and every later point is measured.  ``"per_layer"``: noise is added
            to the input of each layer, and only the output of that layer is measured.
        positions: a number, or several; each is disturbed by itself, but those in brackets of their own together:
            ``[1, (2, 3)]``.  A group's movement counts for the noise of the whole group.  Default: every token.
        chunk: how many disturbed copies are computed at once; default as many as make about 4096 tokens.
        progress: a function that is told (copies done, copies in all), or False for no progress bar.

    Costs R · samples forward passes of the texts, in chunks, in either mode.  The tables are exact to the rounding of
    the model's dtype divided by ``std``: below 1e-3, convert the model, ``model.double()``.  Raises InputError.
    """
    if not (isinstance(std, int | float) and 0 < std < math.inf):
        raise InputError(f"std is {std!r}; expected a number above 0: noise without spread moves nothing.")
    if type(samples) is not int or samples < 1:
        raise InputError(f"samples is {samples!r}; expected a whole number of at least 1.")
    if type(relative) is not bool:
        raise InputError(f"relative is {relative!r:.80}; expected True or False.")
    if type(seed) is not int or not -(1 << 63) <= seed < 1 << 64:
        raise InputError(f"seed is {seed!r}; expected a whole number of at most 64 bits.")
    mode = newer_value("minibert.lens.perturbing.Mode", mode, stacklevel=5)
    run = Disturbed(model, inputs, at, mode, points)
    groups = run.groups(positions)
    scales = _scales(run, std, relative)  # P of (B, 1, 1)
    total = len(groups) * samples
    draw = torch.Generator().manual_seed(seed)
    sums = torch.zeros(2, run.B, len(run.points), len(groups), run.T, dtype=torch.float64)
    rows_at_once = run.rows_at_once(chunk)
    with (
        torch.no_grad(),
        tqdm(total=total, desc="noise", unit="run", disable=None if progress is None else progress is not True) as bar,
    ):
        for start in range(0, total, rows_at_once):
            owners = [number // samples for number in range(start, min(start + rows_at_once, total))]
            noise, chosen = _draws(run, [groups[owner] for owner in owners], draw)
            ratios = _ratios(run, noise, chosen, scales)
            sums[0].index_add_(2, torch.tensor(owners), ratios)
            sums[1].index_add_(2, torch.tensor(owners), ratios.square())
            bar.update(len(owners))
            if callable(progress):
                progress(start + len(owners), total)
    maps, error = _root_and_error(sums, samples)
    return Sensitivity(
        run.finish(maps, groups), run.finish(error, groups), run.points, run.at, groups, mode, run.tokens(inputs),
        std, relative, samples, seed,
    )  # fmt: skip


def movements(
    model: nn.Module,
    inputs: Inputs,
    disturbance: Tensor,
    *,
    at: str = "embeddings",
    points: str | Iterable[str] | None = None,
) -> dict[str, Tensor]:
    """What ``disturbance`` (B, T, H), added at ``at``, adds to each later point: point → Δh (B, T, H)."""
    run = Disturbed(model, inputs, at, "single", points)
    with torch.no_grad():
        values = run.run({run.at[0]: fit(run, disturbance)})
    return {name: value - run.clean[name] for name, value in zip(run.points, values, strict=True)}


def fit(run: Disturbed, disturbance: Tensor) -> Tensor:
    """``disturbance`` in the dtype and on the device of what it is added to; InputError for another shape."""
    value = run.clean[run.at[0]]
    if disturbance.shape != value.shape:
        raise InputError(
            f"The disturbance has shape {tuple(disturbance.shape)}, expected {tuple(value.shape)} as {run.at[0]} has."
        )
    return disturbance.to(value)


def _scales(run: Disturbed, std: float, relative: bool) -> dict[str, Tensor]:
    """For each point disturbed, each text's standard deviation of the noise: (B, 1, 1)."""
    scales = {}
    for name in run.injected:
        value = run.clean[name]
        scale = torch.full((run.B, 1, 1), float(std), dtype=torch.float64)
        if relative:
            spreads = [row[real].double().std(correction=0) for row, real in zip(value.cpu(), run.real, strict=True)]
            scale *= torch.stack(spreads)[:, None, None]
        scales[name] = scale.to(value)
    return scales


def _draws(run: Disturbed, groups: list[tuple[int, ...]], draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Standard normal noise for each row, (rows, P, B, g, H), and where it goes, (rows, T, g) of 0 and 1.

    Drawn row by row, in float64 and on the CPU, so that a row is the same however the rows are cut into chunks.
    """
    largest = max(map(len, groups))
    P = len(run.injected)
    noise = torch.zeros(len(groups), P, run.B, largest, run.H, dtype=torch.float64)
    chosen = torch.zeros(len(groups), run.T, largest, dtype=torch.float64)
    for row, group in enumerate(groups):
        noise[row, :, :, : len(group)] = torch.randn(P, run.B, len(group), run.H, dtype=torch.float64, generator=draw)
        chosen[row, list(group), range(len(group))] = 1
    value = run.clean[run.at[0]]
    return noise.to(value), chosen.to(value)


def _ratios(run: Disturbed, noise: Tensor, chosen: Tensor, scales: Mapping[str, Tensor]) -> Tensor:
    """‖Δh_j‖² / ‖ε‖² of each draw: (B, W, rows, T) float64."""
    names = run.injected

    def one_row(noise: Tensor, chosen: Tensor) -> tuple[Tensor, ...]:
        values = run.run({name: chosen @ (noise[number] * scales[name]) for number, name in enumerate(names)})
        moved = (value - run.clean[name] for name, value in zip(run.points, values, strict=True))
        return tuple(wide(movement).square().sum(dim=-1) for movement in moved)  # W of (B, T)

    moved = torch.stack(torch.vmap(one_row)(noise, chosen), dim=2)  # (rows, B, W, T)
    sizes = {
        name: wide(noise[:, number] * scales[name]).square().sum(dim=(-2, -1))  # (rows, B)
        for number, name in enumerate(names)
    }
    size = torch.stack([sizes[name] for name in run.at], dim=2)  # (rows, B, W)
    return (moved / size[..., None]).permute(1, 2, 0, 3).cpu().double()


def _root_and_error(sums: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """The root of the mean of the draws, and its standard error: that of the mean, through the root's slope."""
    mean = sums[0] / samples
    if samples == 1:
        return mean.sqrt(), torch.full_like(mean, torch.nan)
    variance = ((sums[1] / samples - mean.square()) * samples / (samples - 1)).clamp(min=0)
    error = (variance / samples).sqrt() / (2 * mean.sqrt())
    return mean.sqrt(), torch.where(mean == 0, 0.0, error)
