"""Resizing the vocabulary: the rows of the word embeddings, of the decoder and its bias.

Under one seed, new rows equal those of transformers' resize_token_embeddings.  They are drawn around the mean of the
old rows, so that a new piece is about as likely as the average one (Hewitt 2021, "Initializing New Word Embeddings for
Pretrained Language Models").
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.inputs import whole_number

Initialise = Callable[[nn.Module], None]
MOST_ROWS = 10_000_000  # ten times the largest vocabulary there is
SPREAD = 1e-9  # of the old rows' covariance: new rows are close to the mean, but not all equal


def new_size(rows: int, new_num_tokens: int | None, pad_to_multiple_of: int | None) -> int:
    """The new number of rows of a table with ``rows``; InputError for an impossible number."""
    size = rows if new_num_tokens is None else positive("new_num_tokens", new_num_tokens)
    multiple = 1 if pad_to_multiple_of is None else positive("pad_to_multiple_of", pad_to_multiple_of)
    return (size + multiple - 1) // multiple * multiple


def positive(name: str, value: object) -> int:
    """``value`` as a number of rows; InputError for anything else."""
    number = whole_number(name, value)
    if not 1 <= number <= MOST_ROWS:
        raise InputError(f"{name} is {number}; expected a whole number from 1 to {MOST_ROWS:,}.")
    return number


def resize_embedding(embedding: nn.Embedding, rows: int, mean_resizing: bool, initialise: Initialise) -> None:
    """Resize ``embedding`` to ``rows`` in place, and with it everything that is tied to its parameter."""
    weight = embedding.weight
    if rows != len(weight):
        fresh = nn.Embedding(rows, weight.shape[1], device=weight.device, dtype=weight.dtype)
        weight.data = resized(weight.data, fresh, rows, mean_resizing, initialise)
        weight.grad = None  # of the old shape
    embedding.num_embeddings = rows
    if embedding.padding_idx is not None and embedding.padding_idx >= rows:
        embedding.padding_idx = None


def resized_decoder(decoder: nn.Linear, rows: int, mean_resizing: bool, initialise: Initialise) -> nn.Linear:
    """An untied decoder with ``rows`` rows; new biases are drawn around the mean of the old ones."""
    old = decoder.weight.data
    fresh = nn.Linear(old.shape[1], rows, device=old.device, dtype=old.dtype)
    fresh.weight.data = resized(old, fresh, rows, mean_resizing, initialise)
    kept = min(rows, len(old))
    with torch.no_grad():
        if rows > kept and mean_resizing:
            mean = decoder.bias.mean(dtype=torch.float32).item()
            fresh.bias[kept:].normal_(mean, SPREAD * decoder.bias.std().float().item())
        fresh.bias[:kept] = decoder.bias[:kept]
    fresh.weight.requires_grad_(decoder.weight.requires_grad)
    fresh.bias.requires_grad_(decoder.weight.requires_grad)
    return fresh


def resized_bias(bias: nn.Parameter, rows: int) -> None:
    """Resize a tied decoder's bias to ``rows`` in place; new entries are 0."""
    if rows != len(bias):
        bias.data = torch.cat([bias.data[:rows], bias.data.new_zeros(max(0, rows - len(bias)))])
        bias.grad = None


def resized(
    old: Tensor,
    fresh: nn.Embedding | nn.Linear,
    rows: int,
    mean_resizing: bool,
    initialise: Initialise,
) -> Tensor:
    """The weight of the new module ``fresh``, filled with the first rows of ``old`` and with new rows after them."""
    kept = min(rows, len(old))
    weight = fresh.weight.data
    if rows > kept and not mean_resizing:
        initialise(fresh)
    elif rows > kept:
        weight[kept:] = rows_around_mean(old, rows - kept)
    weight[:kept] = old[:kept]
    return weight


def rows_around_mean(old: Tensor, count: int) -> Tensor:
    """``count`` rows from the normal distribution with the mean of ``old`` and SPREAD of its covariance."""
    table = old.float()
    mean = table.mean(dim=0)
    centred = table - mean
    covariance = SPREAD * (centred.T @ centred / len(old))
    if torch.distributions.constraints.positive_definite.check(covariance).all():  # type: ignore[no-untyped-call]
        drawn = torch.distributions.MultivariateNormal(mean, covariance_matrix=covariance).sample(torch.Size((count,)))
    else:
        drawn = mean.expand(count, -1)  # fewer rows than dimensions: the covariance is singular
    return drawn.to(old.dtype)
