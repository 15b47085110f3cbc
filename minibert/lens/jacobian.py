"""The exact limit of noise: how much output j moves when input i is moved by nearly nothing.

The block J_ji = ∂h_j/∂h_i is (H, H).  Forward-mode differentiation (torch.func.jvp) carries a direction through the
model alongside the value; H directions at position i give that position's blocks for every j in every layer at once.
``exact_sensitivity`` keeps only their norms, in the very table that noise.py estimates.  Start with _columns.
"""

from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.errors import InputError
from minibert.inputs import whole_number
from minibert.lens.noise import Sensitivity, fit
from minibert.lens.perturbing import Disturbed, Mode, Positions, wide
from minibert.lens.tracing import Inputs
from minibert.renamed import newer_value


def exact_sensitivity(
    model: nn.Module,
    inputs: Inputs,
    *,
    at: str = "embeddings",
    points: str | Iterable[str] | None = None,
    dtype: torch.dtype | None = torch.float64,
    mode: Mode = "single",
    positions: Positions | None = None,
    chunk: int | None = None,
    progress: bool | Callable[[int, int], object] | None = None,
) -> Sensitivity:
    """The norm of every Jacobian block, ‖∂h_j/∂h_i‖_F / √H: what :func:`minibert.sensitivity` comes to without noise.

    Args:
        model: any model of minibert that reads (B, T), in eval mode.  Edits that are open act on every run.
        inputs: what the tokenizer returned.
        at, points, mode, positions: as for :func:`minibert.sensitivity`.  A group counts as the root of the mean of
            its members' squares.
        dtype: what to compute in; None: the model's own.  Where it is another than the model's, the model's tensors
            are exchanged while this runs: let no other thread run it meanwhile, or convert it yourself before.
            Apple's GPUs have no float64: None there.
        chunk: how many directions are carried at once; default as many as make about 4096 tokens.
        progress: a function that is told (directions done, directions in all), or False for no progress bar.

    Costs as much as T · H forward passes of the texts (one for each position and direction), in either mode: for 32
    tokens of bert-base 24,576; ask for a few ``positions`` first.  Raises InputError.
    """
    mode = newer_value("minibert.lens.perturbing.Mode", mode)
    run = Disturbed(model, inputs, at, mode, points, dtype)
    groups = run.groups(positions)
    needed = sorted({i for group in groups for i in group})
    squares = torch.zeros(run.B, len(run.points), run.T, run.T, dtype=torch.float64)
    total, done = len(needed) * run.H, 0
    hidden = None if progress is None else progress is not True
    with tqdm(total=total, desc="directions", unit="run", disable=hidden) as bar:
        for position in needed:
            for columns in _columns(run, position, run.rows_at_once(chunk)):
                for number, column in enumerate(columns):  # (directions, B, T, H)
                    squares[:, number, position] += wide(column).square().sum(dim=(0, 3)).cpu()
                done += len(columns[0])
                bar.update(len(columns[0]))
                if callable(progress):
                    progress(done, total)
    maps = torch.stack([squares[:, :, list(group)].mean(dim=2) / run.H for group in groups], dim=2).sqrt()
    table = run.finish(maps, groups)
    error = run.finish(torch.zeros_like(maps), groups)
    return Sensitivity(table, error, run.points, run.at, groups, mode, run.tokens(inputs))


def jacobian_block(
    model: nn.Module,
    inputs: Inputs,
    at: str,
    i: int,
    point: str,
    j: int,
    *,
    text: int = 0,
    dtype: torch.dtype | None = torch.float64,
    chunk: int | None = None,
) -> Tensor:
    """∂(value at ``point``, token j) / ∂(value at ``at``, token i): (H out, H in).

    ``text`` is the row of the batch.  For the others see :func:`exact_sensitivity`, also for the cost: H forward
    passes.  Raises InputError.
    """
    run = Disturbed(model, inputs, at, "single", point, dtype)
    i, j = run.groups(whole_number("i", i))[0][0], run.groups(whole_number("j", j))[0][0]
    text = whole_number("text", text)
    if len(run.points) > 1 or not 0 <= text < run.B or not run.real[text, [i, j]].all():
        raise InputError(f"A block is of one point and two tokens of one text; text {text} of {run.B} lacks them.")
    return torch.cat([c[0][:, text, j] for c in _columns(run, i, run.rows_at_once(chunk))]).T.contiguous()


def jacobian_product(
    model: nn.Module,
    inputs: Inputs,
    direction: Tensor,
    *,
    at: str = "embeddings",
    points: str | Iterable[str] | None = None,
    dtype: torch.dtype | None = torch.float64,
) -> dict[str, Tensor]:
    """J · ``direction``: what a small step along ``direction`` (B, T, H) at ``at`` adds to each later point.

    :func:`minibert.lens.noise.movements` gives the same for a step of full length.  One forward pass.
    """
    run = Disturbed(model, inputs, at, "single", points, dtype)
    step = fit(run, direction)
    with torch.no_grad():
        derivatives = torch.func.jvp(lambda d: run.run({run.at[0]: d}), (torch.zeros_like(step),), (step,))[1]
    return dict(zip(run.points, derivatives, strict=True))


def _columns(run: Disturbed, position: int, at_once: int) -> Iterator[tuple[Tensor, ...]]:
    """The Jacobian's columns for one input position, some at a time: for each point, (directions, B, T, H).

    Each direction is one number of that position's vector, in every text and at every disturbed point.
    """
    value = run.clean[run.at[0]]
    zero = torch.zeros_like(value)

    def column(direction: Tensor) -> tuple[Tensor, ...]:
        def outcome(disturbance: Tensor) -> tuple[Tensor, ...]:
            return run.run(dict.fromkeys(run.injected, disturbance))

        derivatives: tuple[Tensor, ...] = torch.func.jvp(outcome, (zero,), (direction,))[1]
        return derivatives

    for start in range(0, run.H, at_once):
        numbers = torch.arange(start, min(start + at_once, run.H), device=value.device)
        directions = zero.new_zeros(len(numbers), *value.shape)
        directions[torch.arange(len(numbers), device=value.device), :, position, numbers] = 1
        with torch.no_grad():
            found: tuple[Tensor, ...] = torch.vmap(column)(directions)
        yield found
