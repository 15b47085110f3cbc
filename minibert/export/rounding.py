"""Weights in 8 bits: scales per output, and rounding that makes up for its own errors (GPTQ).

A product of 8 bits is a sum of u8 activations times s8 weights.  Processors with AVX2 but without VNNI add two
neighbouring products in 16 bits (``vpmaddubsw``) and saturate: 255 · (127 + 127) is more than 32,767.  So the usual
weights of 8 bits give other vectors on such a machine.  Weights of 7 bits never saturate, and lose half of the
precision.  Here a weight keeps its 8 bits and only the two of a pair share a bound, see PAIR: no processor saturates,
by arithmetic, and hardly any weight is touched.

Source: Frantar et al. 2022, "GPTQ", algorithm 1, with the inputs in order of their power; the bound on pairs is ours.
"""

import torch
from torch import Tensor

LARGEST = 127  # |weight|
PAIR = 128  # |sum| of the weights of inputs 2k and 2k + 1 that have one sign: 255 · 128 = 32,640 ≤ 32,767
DAMPING = 0.05  # of the mean power of the inputs: keeps the inverse stable, and the correction from following noise
BLOCK = 64  # inputs whose corrections are applied at once
FACTORS = [1.6 - 0.05 * step for step in range(24)]  # of the scale that just holds the largest weight


def saturates(weight: Tensor) -> bool:
    """Whether any pair of products of ``weight``, (K, N) integers, may leave 16 bits, whatever the activations are."""
    pairs = padded_pairs(weight.int())
    highest, lowest = pairs.clamp(min=0).sum(dim=1), pairs.clamp(max=0).sum(dim=1)
    return bool((255 * highest > 32767).any() or (255 * lowest < -32768).any())


def padded_pairs(weight: Tensor) -> Tensor:
    """(K, N) to (⌈K/2⌉, 2, N): the two weights that a processor multiplies and adds at once."""
    if len(weight) % 2:
        weight = torch.cat([weight, torch.zeros_like(weight[:1])])
    return weight.view(-1, 2, weight.shape[1])


def weight_scales(weight: Tensor, power: Tensor) -> Tensor:
    """The scale of each output, (N,), with the least error of rounding within the bounds.

    Args:
        weight: (K, N) float.
        power: (K,): the mean square of each input, by which an error counts.
    """
    widest = weight.abs().amax(dim=0).clamp(min=1e-12) / LARGEST
    best, scales = torch.full_like(widest, float("inf")), widest.clone()
    for factor in FACTORS:
        candidate = widest * factor
        exact = weight / candidate
        rounded = padded_pairs(exact.round().clamp(-LARGEST, LARGEST))
        one_sign = rounded.prod(dim=1, keepdim=True) > 0
        beyond = (rounded.sum(dim=1, keepdim=True).abs() - PAIR).clamp(min=0) * one_sign
        within = (rounded - rounded.sign() * beyond / 2).reshape(-1, weight.shape[1])[: len(weight)]
        error = ((within - exact).square() * power[:, None]).sum(dim=0) * candidate.square()
        better = error < best
        best, scales = torch.where(better, error, best), torch.where(better, candidate, scales)
    return scales


def round_weights(weight: Tensor, scales: Tensor, moment: Tensor, damping: float = DAMPING) -> Tensor:
    """Integers of 8 bits, (K, N) int8, whose products with the inputs are closest to those of ``weight``.

    The inputs are rounded one after the other, those of the greatest power first; what each error changes in the
    product is taken back by the weights of inputs that are still to come and move together with it.

    Args:
        weight: (K, N) float.
        scales: (N,) of :func:`weight_scales`.
        moment: (K, K) float64: the covariance of the inputs.
        damping: added to its diagonal, as a share of the diagonal's mean.
    """
    moment = moment.double()
    order = moment.diagonal().argsort(descending=True, stable=True)
    exact = (weight.double() / scales.double())[order]
    mean = moment.diagonal().mean().clamp(min=1e-12)
    damped = moment[order][:, order] + torch.eye(len(order), dtype=torch.float64) * damping * mean
    inverse = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(damped)), upper=True)
    rounded = torch.zeros(len(order) + 1, weight.shape[1], dtype=torch.float64)  # a last input without a partner has 0
    places = order.tolist()
    for start in range(0, len(order), BLOCK):
        end = min(start + BLOCK, len(order))
        errors = torch.zeros(end - start, weight.shape[1], dtype=torch.float64)
        for row in range(start, end):
            partner = rounded[places[row] ^ 1]
            lowest, highest = -PAIR - partner.clamp(max=0), PAIR - partner.clamp(min=0)
            value = exact[row].round().clamp(-LARGEST, LARGEST).clamp(lowest, highest)
            rounded[places[row]] = value
            error = (exact[row] - value) / inverse[row, row]
            exact[row:end] -= inverse[row, row:end, None] * error
            errors[row - start] = error
        exact[end:] -= inverse[start:end, end:].T @ errors
    return rounded[: len(order)].to(torch.int8)
