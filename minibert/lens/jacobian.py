"""The exact limit of noise: the norms of the blocks of the Jacobian.

The block J_ji = ∂h_j/∂h_i is (H, H).  Forward-mode differentiation (torch.func.jvp) carries a direction through the
model together with the value; H directions at position i give the blocks of that position for every j in every layer.
``exact_sensitivity`` keeps their norms, in the same table that noise.py estimates.  Start with _columns.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.inputs import whole_number
from minibert.lens.noise import Sensitivity, fit
from minibert.lens.perturbing import Mode, PerturbedRun, Positions, Progress, at_least_float32, progress_bar
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
    progress: Progress = None,
) -> Sensitivity:
    """The norm of every Jacobian block, ‖∂h_j/∂h_i‖_F / √H: the limit of :func:`minibert.sensitivity` for small noise.

    Args:
        model: any model of minibert with (B, T) inputs, in eval mode.  Open edits act on every run.
        inputs: what the tokenizer returned.
        at, points, mode, positions: as for :func:`minibert.sensitivity`.  The entry of a group is the root mean square
            over its positions.
        dtype: the dtype to compute in; None: the model's own.  For a dtype other than the model's, the tensors of the
            model are replaced during the call, so no other thread may run it meanwhile.  Apple's GPUs have no float64:
            use None there.
        chunk: how many directions to carry at once; default as many as make about 4096 tokens.
        progress: a function called with (directions done, directions in all); or False for no progress bar.

    Costs about T · H forward passes of the texts (one per position and direction), in either mode: 24,576 for 32
    tokens of bert-base.  Try a few ``positions`` first.  Raises InputError.
    """
    mode = newer_value("minibert.lens.perturbing.Mode", mode)
    run = PerturbedRun(model, inputs, at, mode, points, dtype)
    groups = run.groups(positions)
    needed = sorted({i for group in groups for i in group})
    squares = torch.zeros(run.B, len(run.points), run.T, run.T, dtype=torch.float64)
    with progress_bar("directions", len(needed) * run.H, progress) as advance:
        for position in needed:
            for columns in _columns(run, position, run.chunk_size(chunk)):
                for number, column in enumerate(columns):  # (directions, B, T, H)
                    squares[:, number, position] += at_least_float32(column).square().sum(dim=(0, 3)).cpu()
                advance(len(columns[0]))
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

    ``text`` is the row of the batch; for the other arguments see :func:`exact_sensitivity`.  Costs about H forward
    passes.  Raises InputError.
    """
    run = PerturbedRun(model, inputs, at, "single", point, dtype)
    i, j = run.groups(whole_number("i", i))[0][0], run.groups(whole_number("j", j))[0][0]
    text = whole_number("text", text)
    if len(run.points) > 1 or not 0 <= text < run.B or not run.is_token[text, [i, j]].all():
        raise InputError(f"A block is of one point and two tokens of one text; text {text} of {run.B} lacks them.")
    columns = _columns(run, i, run.chunk_size(chunk))
    return torch.cat([column[:, text, j] for (column,) in columns]).T.contiguous()


def jacobian_product(
    model: nn.Module,
    inputs: Inputs,
    direction: Tensor,
    *,
    at: str = "embeddings",
    points: str | Iterable[str] | None = None,
    dtype: torch.dtype | None = torch.float64,
) -> dict[str, Tensor]:
    """J · ``direction``: the change at each later point for a small step along ``direction`` (B, T, H) at ``at``.

    :func:`minibert.lens.noise.changes` gives the change for a step of full length.  One forward pass.
    """
    run = PerturbedRun(model, inputs, at, "single", points, dtype)
    step = fit(run, direction)
    with torch.no_grad():
        derivatives = torch.func.jvp(lambda d: run.run({run.at[0]: d}), (torch.zeros_like(step),), (step,))[1]
    return dict(zip(run.points, derivatives, strict=True))


def _columns(run: PerturbedRun, position: int, size: int) -> Iterator[tuple[Tensor, ...]]:
    """The columns of the Jacobian for one input position, in chunks: for each point, (directions, B, T, H).

    Each direction is one component of the vector at that position, in every text and at every perturbed point.
    """
    value = run.clean[run.at[0]]
    zero = torch.zeros_like(value)

    def column(direction: Tensor) -> tuple[Tensor, ...]:
        def values(perturbation: Tensor) -> tuple[Tensor, ...]:
            return run.run(dict.fromkeys(run.perturbed, perturbation))

        derivatives: tuple[Tensor, ...] = torch.func.jvp(values, (zero,), (direction,))[1]
        return derivatives

    for start in range(0, run.H, size):
        components = torch.arange(start, min(start + size, run.H), device=value.device)
        directions = zero.new_zeros(len(components), *value.shape)
        directions[torch.arange(len(components), device=value.device), :, position, components] = 1
        with torch.no_grad():
            columns: tuple[Tensor, ...] = torch.vmap(column)(directions)
        yield columns
