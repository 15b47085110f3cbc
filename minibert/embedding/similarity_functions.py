"""How alike two vectors are, by the four functions that sentence-transformers names in ``similarity_fn_name``."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError

SIMILARITIES = ("cosine", "dot", "euclidean", "manhattan")


def similarity(name: str, first: Any, second: Any) -> Tensor:
    """The similarity of each vector of ``first`` with each of ``second``: (n, m), higher is more alike.

    ``first`` (n, W) or (W,), ``second`` (m, W) or (W,): tensors or numpy arrays.  The distances, ``euclidean`` and
    ``manhattan``, are negated.  Raises InputError for other shapes.
    """
    a, b = as_rows("embeddings1", first), as_rows("embeddings2", second)
    if a.shape[1] != b.shape[1]:
        raise InputError(f"Vectors of {a.shape[1]} and {b.shape[1]} numbers cannot be compared.")
    if name == "cosine":
        return F.normalize(a, dim=-1) @ F.normalize(b, dim=-1).T
    if name == "dot":
        return a @ b.T
    return -torch.cdist(a, b, p=2.0 if name == "euclidean" else 1.0)


def as_rows(name: str, vectors: Any) -> Tensor:
    """``vectors`` as (n, W) floating point."""
    try:
        rows = torch.stack(list(vectors)) if isinstance(vectors, list | tuple) else torch.as_tensor(vectors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a {type(vectors).__name__}, expected vectors as encode gives them.") from error
    rows = rows[None] if rows.dim() == 1 else rows
    if rows.dim() != 2 or not rows.is_floating_point():
        raise InputError(f"{name} has shape {tuple(rows.shape)} and kind {rows.dtype}; expected (n, W) floating point.")
    if not torch.isfinite(rows).all():
        raise InputError(f"{name} holds NaN or infinity; such a vector is like no other.")
    return rows
