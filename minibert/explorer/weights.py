"""The weights of a model as they travel in a page that computes: small, and unpacked in a moment.

A tensor is float16, which is exact for a checkpoint that was stored so, or with ``int8`` a whole number from -127 to
127 for each weight and a scale for each row.  All lie in one buffer, little-endian, which is compressed with gzip where
that makes it much smaller, and stand in the page as base64.  float16 numbers of a trained model shrink by 8% only, and
unpacking them would be a quarter of the time that the page takes to open.  static/engine/weights.js reads them.
"""

import base64
import ctypes
import gzip
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minibert.errors import InputError
from minibert.explorer.packing import DTYPES, LARGEST_HALF
from minibert.explorer.values import has_next_sentence
from minibert.pretrained import BertPreTrainedModel

WORTH = 0.8  # of the size, at most, for gzip to be used
LARGEST = 160_000_000  # bytes: a page that browsers still open


@dataclass(frozen=True)
class PackedWeights:
    """The weights of a model for a page."""

    table: list[dict[str, Any]]  # name, shape, dtype and place of each tensor
    content: bytes
    compressed: bool  # whether ``content`` is gzip
    dtype: str  # of the large tensors
    exact: bool  # whether they are the model's own

    @property
    def text(self) -> str:
        """For the page's block."""
        return base64.b64encode(self.content).decode("ascii")

    def tensors(self) -> dict[str, Tensor]:
        """The float32 tensors with which the page computes, by name."""
        buffer = bytearray(gzip.decompress(self.content) if self.compressed else self.content)

        def read(dtype: torch.dtype, place: int, shape: list[int]) -> Tensor:
            count = torch.Size(shape).numel()
            return torch.frombuffer(buffer, dtype=dtype, count=count, offset=place).view(shape).float()

        tensors = {}
        for entry in self.table:
            shape = entry["shape"]
            if entry["dtype"] == "int8":
                scales = read(torch.float32, entry["scales"], shape[:1])
                tensors[entry["name"]] = read(torch.int8, entry["offset"], shape) * scales[:, None]
            else:
                tensors[entry["name"]] = read(DTYPES[entry["dtype"]], entry["offset"], shape)
        return tensors


def pack_weights(model: BertPreTrainedModel, *, int8: bool = False) -> PackedWeights:
    """The layers of ``model``, and the heads of pre-training that it has.

    ``int8``: for matrices a whole number per weight and a float32 scale per row.  Values that float16 cannot hold stay
    float32.  Raises InputError for a model that is too large for a page.
    """
    named = list(tensors_of(model))
    parameters = sum(value.numel() for _, value in named)
    size = parameters * (1 if int8 else 2)
    if size > LARGEST:
        advice = "" if int8 else ", or --int8 makes it half as large"
        raise InputError(
            f"This model has {parameters / 1e6:.0f} million weights; a page holds {LARGEST / 1e6:.0f} MB of them, and "
            f"these take {size / 1e6:.0f} MB. minibert explore --serve shows a model of any size{advice}."
        )
    table: list[dict[str, Any]] = []
    content = bytearray()

    def add(value: Tensor) -> int:
        content.extend(bytes(-len(content) % 4))
        place = len(content)
        value = value.contiguous()
        content.extend(ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()))
        return place

    exact = True
    for name, value in named:
        entry: dict[str, Any] = {"name": name, "shape": list(value.shape)}
        if int8 and value.dim() == 2:
            whole, scales = quantise(value)
            entry |= {"dtype": "int8", "offset": add(whole), "scales": add(scales)}
            exact = False
        elif value.abs().max() <= LARGEST_HALF:
            entry |= {"dtype": "float16", "offset": add(value.half())}
            exact = exact and torch.equal(value.half().float(), value)
        else:
            entry |= {"dtype": "float32", "offset": add(value)}
        table.append(entry)
    content.extend(bytes(-len(content) % 4))
    small = gzip.compress(bytes(content), compresslevel=6, mtime=0)
    compressed = len(small) < WORTH * len(content)
    return PackedWeights(
        table, small if compressed else bytes(content), compressed, "int8" if int8 else "float16", exact
    )


def tensors_of(model: BertPreTrainedModel) -> Iterator[tuple[str, Tensor]]:
    """The tensors that the page needs, float32 on the CPU; of tied ones the first."""
    tied, prefix = model.tied_names(), model.encoder_prefix
    needed = [f"{prefix}embeddings.", f"{prefix}encoder.", "cls."]
    if has_next_sentence(model):
        needed.append(f"{prefix}pooler.")
    for name, value in model.state_dict().items():
        if name.startswith(tuple(needed)) and name not in tied:
            yield name, value.detach().float().cpu()


def quantise(value: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, columns) as int8 from -127 to 127, and the float32 scale of each row."""
    scales = value.abs().amax(dim=1).clamp_min(1e-12) / 127
    return (value / scales[:, None]).round().to(torch.int8), scales


def with_weights(model: BertPreTrainedModel, packed: PackedWeights) -> BertPreTrainedModel:
    """A copy of ``model`` with the weights of the page, float32 on the CPU."""
    copy = deepcopy(model).float().cpu()
    copy.load_state_dict(packed.tensors(), strict=False)
    copy.tie_weights()
    return copy.eval()
