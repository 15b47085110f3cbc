"""Vectors in fewer bytes: float16, one byte per number, or one bit per number.

:func:`quantize_embeddings` has the name, the arguments and the bytes of sentence-transformers' (6.2,
``util/quantization.py``); float16 is ours.  For W numbers per vector:

=============  ============  ==================================================================================
precision      bytes         a number x becomes
=============  ============  ==================================================================================
float32        4 W           itself
float16        2 W           the nearest float16
uint8          W             the number of its bucket, 0 to 255, of the range that its dimension has
int8           W             the same minus 128
ubinary        W / 8, up     one bit, whether x > 0; eight of them are a byte, the first one its highest bit
binary         W / 8, up     the same bytes minus 128
=============  ============  ==================================================================================

A range is the least and the greatest number of a dimension in a set of vectors.  Numbers beyond it are clipped.
"""

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minibert.embedding.arguments import check_choice, check_whole, described
from minibert.errors import InputError

logger = logging.getLogger("minibert.embedding")
PRECISIONS = {
    "float32": torch.float32, "float16": torch.float16, "int8": torch.int8, "uint8": torch.uint8,
    "binary": torch.int8, "ubinary": torch.uint8,
}  # fmt: skip
BUCKETED, PACKED = ("int8", "uint8"), ("binary", "ubinary")
FEW = 100  # vectors: ranges of fewer are unstable, says sentence-transformers, and warns
WEIGHTS = torch.tensor([128, 64, 32, 16, 8, 4, 2, 1], dtype=torch.uint8)  # of the bits of a byte


def quantize_embeddings(
    embeddings: Any, precision: str, ranges: Any = None, calibration_embeddings: Any = None
) -> Tensor:
    """Vectors in another precision, on the CPU: (n, W) of its dtype, (n, W / 8 rounded up) for bits.

    Args:
        embeddings: (n, W) or (W,) floating point: a tensor, an array, or a list of vectors.
        precision: one of ``PRECISIONS``.
        ranges: for int8 and uint8, (2, W): the least and the greatest number of each dimension.
        calibration_embeddings: for int8 and uint8 without ``ranges``, (m, W): vectors to take the ranges from.
            Default: ``embeddings`` themselves, which gives every set of vectors buckets of its own.

    Raises InputError for other shapes and dtypes, for NaN and infinity, for a number beyond float16's, and where the
    ranges would be those of a single vector.
    """
    check_choice("precision", precision, PRECISIONS)
    vectors = as_vectors("embeddings", embeddings)
    if precision in PACKED:
        packed: Tensor = pack_bits(vectors > 0)
        return packed if precision == "ubinary" else (packed ^ 128).view(torch.int8)
    if precision not in BUCKETED:
        return narrowed(vectors, PRECISIONS[precision])
    width = vectors.shape[-1]
    if ranges is not None:
        ranges = check_ranges(ranges, width)
    elif calibration_embeddings is not None:
        ranges = ranges_of(check_calibration(calibration_embeddings, width))
    elif vectors.numel():
        ranges = own_ranges(vectors, precision)
    else:
        return vectors.to(PRECISIONS[precision])
    buckets = ((vectors - ranges[0]) / steps_of(ranges)).floor_().clamp_(0, 255)
    stored: Tensor = buckets if precision == "uint8" else buckets - 128
    return stored.to(PRECISIONS[precision])


def dequantize_embeddings(stored: Any, precision: str, width: int, ranges: Any = None) -> Tensor:
    """Numbers that stand for what :func:`quantize_embeddings` stored, (n, W) float64.

    A bucket stands for its middle, which is half a bucket nearer than its lower end that sentence-transformers takes;
    a bit for 1 or -1.  float16 is exact.

    Args:
        stored: (n, W) of the precision's dtype, (n, W / 8 rounded up) for bits; or a single row.  A tensor or array.
        precision: one of ``PRECISIONS``.
        width: W, which the bytes of bits do not say.
        ranges: for int8 and uint8, those that were used.

    Raises InputError for another dtype or shape, and where ranges are missing.
    """
    dtype = PRECISIONS[check_choice("precision", precision, PRECISIONS)]
    columns = stored_width(precision, check_whole("width", width, 1))
    values = read_array("stored", stored).detach().cpu()
    if values.dtype != dtype or values.dim() not in (1, 2) or values.shape[-1] != columns:
        raise InputError(
            f"The vectors are {values.dtype} {tuple(values.shape)}; {width} numbers in {precision} are {dtype}, "
            f"{columns} a row."
        )
    if precision in PACKED:
        return unpack_bits(values, width).double() * 2 - 1
    if precision not in BUCKETED:
        return values.double()
    if ranges is None:
        raise InputError(f"{precision} is read with the ranges that it was made with; give ranges.")
    limits = check_ranges(ranges, width)
    middles = values.double().add_(128.5 if precision == "int8" else 0.5)
    middles.mul_(steps_of(limits).double()).add_(limits[0].double())
    return torch.minimum(middles, limits[1].double(), out=middles)  # the last bucket begins at the range's end


def stored_width(precision: str, width: int) -> int:
    """How many numbers of the precision's dtype a vector of ``width`` numbers has."""
    return -(-width // 8) if precision in PACKED else width


def bytes_per_vector(precision: str, width: int) -> int:
    """The size of a vector of ``width`` numbers."""
    return stored_width(precision, width) * PRECISIONS[precision].itemsize


def pack_bits(bits: Tensor) -> Tensor:
    """(…, W) bool as (…, W / 8 rounded up) uint8: NumPy's packbits."""
    padded = F.pad(bits.to(torch.uint8), (0, -bits.shape[-1] % 8))
    eight = padded.view(*padded.shape[:-1], padded.shape[-1] // 8, 8)
    return (eight * WEIGHTS).sum(dim=-1, dtype=torch.uint8)


def unpack_bits(stored: Tensor, width: int) -> Tensor:
    """The bits of binary (int8) or ubinary (uint8) rows, (…, W) bool."""
    packed = stored if stored.dtype == torch.uint8 else stored.view(torch.uint8) ^ 128
    return (packed[..., None] & WEIGHTS).ne(0).flatten(-2)[..., :width]


def narrowed(vectors: Tensor, dtype: torch.dtype) -> Tensor:
    """Rounded to the nearest number of ``dtype``; InputError where there is none."""
    result = vectors.to(dtype)
    if not torch.isfinite(result).all():
        raise InputError(
            f"embeddings holds {vectors.abs().max().item():g}, and {dtype} ends at {torch.finfo(dtype).max:g}. "
            "Normalize the vectors, or keep them in float32."
        )
    return result


def ranges_of(vectors: Tensor) -> Tensor:
    """The least and the greatest number of each dimension of (n, W): (2, W) float32."""
    return torch.stack((vectors.amin(dim=0), vectors.amax(dim=0))).float()


def own_ranges(vectors: Tensor, precision: str) -> Tensor:
    """The ranges of the vectors that are to be quantized themselves."""
    if vectors.dim() == 1 or len(vectors) == 1:
        raise InputError(
            f"The {precision} ranges of a single vector would be the vector itself. Encode many texts together or "
            "embed a file of them; or leave precision out, and give quantize_embeddings the ranges= of many vectors."
        )
    if len(vectors) < FEW:
        logger.warning(
            "The ranges of %s are those of %d vectors only, and other vectors would have others. Give "
            "quantize_embeddings ranges=, or calibration_embeddings= of %d or more.",
            precision, len(vectors), FEW,
        )  # fmt: skip
    return ranges_of(vectors)


def steps_of(ranges: Tensor) -> Tensor:
    """The width of a bucket of each dimension, (W,); 1 where all numbers are equal."""
    steps = (ranges[1] - ranges[0]) / torch.full_like(ranges[0], 255)
    return torch.where(steps == 0, 1, steps)


def check_ranges(ranges: Any, width: int) -> Tensor:
    """``ranges`` as (2, W) float32; InputError unless each has a least number that is at most its greatest."""
    limits = as_vectors("ranges", ranges).float()
    if tuple(limits.shape) != (2, width):
        raise InputError(
            f"ranges has the shape {tuple(limits.shape)}, expected (2, {width}): least and greatest numbers."
        )
    if not (limits[0] <= limits[1]).all():
        number = int((limits[0] > limits[1]).nonzero()[0])
        raise InputError(
            f"ranges[0][{number}] is {limits[0, number].item():g} and ranges[1][{number}] is "
            f"{limits[1, number].item():g}; the first is the least number."
        )
    return limits


def check_calibration(embeddings: Any, width: int) -> Tensor:
    """``calibration_embeddings`` as (m, W); InputError for another shape."""
    vectors = as_vectors("calibration_embeddings", embeddings)
    if vectors.dim() != 2 or vectors.shape[1] != width or not len(vectors):
        raise InputError(
            f"calibration_embeddings has the shape {tuple(vectors.shape)}, expected (m, {width}), at least one vector."
        )
    return vectors


def as_vectors(name: str, vectors: Any) -> Tensor:
    """``vectors`` as a tensor on the CPU, (n, W) or (W,), float32 or float64; InputError for anything else."""
    matrix = read_array(name, vectors).detach().cpu()
    if matrix.dim() not in (1, 2) or not matrix.is_floating_point() or not matrix.shape[-1]:
        raise InputError(
            f"{name} has shape {tuple(matrix.shape)} and dtype {matrix.dtype}; expected (n, W) or (W,) floating point."
        )
    if matrix.dtype.itemsize < 4:
        matrix = matrix.float()
    if not torch.isfinite(matrix).all():
        raise InputError(f"{name} holds NaN or infinity, which no bucket and no bit stands for.")
    return matrix


def read_array(name: str, values: Any) -> Tensor:
    """A tensor, an array, or a list of vectors as one tensor; InputError for anything else."""
    try:
        if not isinstance(values, list | tuple):
            return torch.as_tensor(values)
        if any(hasattr(row, "shape") for row in values):
            return torch.stack([torch.as_tensor(row) for row in values])
        return torch.tensor(values, dtype=torch.float64)  # Python's own precision, as NumPy reads them
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise InputError(f"{name} is {described(values)}, expected vectors as encode gives them.") from error
