"""The similarity of two vectors, by the four functions that sentence-transformers names in ``similarity_fn_name``."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


def similarity(name: str, embeddings1: Any, embeddings2: Any) -> Tensor:
    """The similarity of each vector of the one with each of the other: (n, m), higher is more similar.

    ``embeddings1`` (n, W) or (W,), ``embeddings2`` (m, W) or (W,): tensors, lists of them, or numpy arrays.  The
    distances, ``euclidean`` and ``manhattan``, are negated.  Raises InputError for other shapes.
    """
    first, second = as_matrix("embeddings1", embeddings1), as_matrix("embeddings2", embeddings2)
    if first.shape[1] != second.shape[1]:
        raise InputError(f"Vectors of {first.shape[1]} and {second.shape[1]} numbers cannot be compared.")
    if name == "cosine":
        return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T
    if name == "dot":
        return first @ second.T
    return -torch.cdist(first, second, p=2.0 if name == "euclidean" else 1.0)


def as_matrix(name: str, vectors: Any) -> Tensor:
    """``vectors`` as (n, W) floating point."""
    try:
        matrix = torch.stack(list(vectors)) if isinstance(vectors, list | tuple) else torch.as_tensor(vectors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a {type(vectors).__name__}, expected vectors as encode gives them.") from error
    matrix = matrix[None] if matrix.dim() == 1 else matrix
    if matrix.dim() != 2 or not matrix.is_floating_point():
        raise InputError(
            f"{name} has shape {tuple(matrix.shape)} and dtype {matrix.dtype}; expected (n, W) floating point."
        )
    if not torch.isfinite(matrix).all():
        raise InputError(f"{name} holds NaN or infinity; such a vector is like no other.")
    return matrix
