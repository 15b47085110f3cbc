"""The similarity of vectors, by the four functions that sentence-transformers names in ``similarity_fn_name``.

:func:`cos_sim`, :func:`dot_score`, :func:`euclidean_sim` and :func:`manhattan_sim` compare each vector of the one with
each of the other; :func:`pairwise_similarity` compares the first with the first, the second with the second, and so on.
Names, operations and results are those of ``sentence_transformers.util``.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.errors import InputError

Score = Callable[[Any, Any], Tensor]  # (n, W) and (m, W) to (n, m), higher is more similar


def cos_sim(a: Any, b: Any) -> Tensor:
    """The cosine of each vector of ``a`` with each of ``b``: (n, m).

    ``a`` (n, W) or (W,), ``b`` (m, W) or (W,): tensors, numpy arrays, or lists; floating point.  Raises InputError for
    other shapes, and for NaN and infinity.
    """
    first, second = as_matrices(a, b)
    return F.normalize(first, dim=-1) @ F.normalize(second, dim=-1).T


def dot_score(a: Any, b: Any) -> Tensor:
    """The dot product of each vector of ``a`` with each of ``b``, (n, m); as :func:`cos_sim`."""
    first, second = as_matrices(a, b)
    return first @ second.T


def euclidean_sim(a: Any, b: Any) -> Tensor:
    """The Euclidean distance of each vector of ``a`` to each of ``b``, negated, (n, m); as :func:`cos_sim`."""
    return -torch.cdist(*as_matrices(a, b), p=2.0)


def manhattan_sim(a: Any, b: Any) -> Tensor:
    """The sum of the absolute differences of each vector of ``a`` and each of ``b``, negated, (n, m)."""
    return -torch.cdist(*as_matrices(a, b), p=1.0)


FUNCTIONS: dict[str, Score] = {
    "cosine": cos_sim, "dot": dot_score, "euclidean": euclidean_sim, "manhattan": manhattan_sim,
}  # fmt: skip
SIMILARITIES = tuple(FUNCTIONS)


def similarity(name: str, embeddings1: Any, embeddings2: Any) -> Tensor:
    """The similarity, by one of ``SIMILARITIES``, of each vector of the one with each of the other: (n, m)."""
    return FUNCTIONS[name](embeddings1, embeddings2)


def pairwise_similarity(name: str, embeddings1: Any, embeddings2: Any) -> Tensor:
    """The similarity of each vector with the one at the same place: (n,); a scalar for two single vectors.

    Both (n, W); a single vector, (W,) or (1, W), is compared with all of the other.  Raises InputError for other
    shapes.
    """
    first, second = as_matrices(embeddings1, embeddings2)
    if len(first) != len(second) and 1 not in (len(first), len(second)):
        raise InputError(
            f"similarity_pairwise compares vectors two by two, and there are {len(first)} and {len(second)}. "
            "similarity compares each with each."
        )
    if name == "cosine":
        scores = (F.normalize(first, dim=-1) * F.normalize(second, dim=-1)).sum(dim=-1)
    elif name == "dot":
        scores = (first * second).sum(dim=-1)
    elif name == "euclidean":
        scores = -torch.linalg.vector_norm(first - second, dim=-1)
    else:
        scores = -(first - second).abs().sum(dim=-1)
    return scores[0] if is_single(embeddings1) and is_single(embeddings2) else scores


def is_single(vectors: Any) -> bool:
    """Whether ``vectors`` is one vector, (W,)."""
    shape = getattr(vectors, "shape", None)
    return len(shape) == 1 if shape is not None else not hasattr(vectors[0], "__len__")


def as_matrices(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    """Two matrices whose rows can be compared, on the device of the second."""
    first, second = as_matrix("embeddings1", a), as_matrix("embeddings2", b)
    if first.shape[1] != second.shape[1]:
        raise InputError(f"Vectors of {first.shape[1]} and {second.shape[1]} numbers cannot be compared.")
    return first.to(second.device), second


def as_matrix(name: str, vectors: Any) -> Tensor:
    """``vectors`` as (n, W) floating point, at least float32: float16 would make ties of different similarities."""
    try:
        if isinstance(vectors, list | tuple):
            rows = [row if isinstance(row, Tensor) else torch.as_tensor(row) for row in vectors]
            matrix = torch.stack(rows)
        else:
            matrix = torch.as_tensor(vectors)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is a {type(vectors).__name__}, expected vectors as encode gives them.") from error
    matrix = matrix[None] if matrix.dim() == 1 else matrix
    if matrix.dim() != 2 or not matrix.is_floating_point():
        advice = " dequantize_embeddings reads int8 and bits." if matrix.dtype in (torch.int8, torch.uint8) else ""
        raise InputError(
            f"{name} has shape {tuple(matrix.shape)} and dtype {matrix.dtype}; expected (n, W) floating point.{advice}"
        )
    if matrix.dtype.itemsize < 4:
        matrix = matrix.float()
    if not torch.isfinite(matrix).all():
        raise InputError(f"{name} holds NaN or infinity; such a vector is like no other.")
    return matrix
