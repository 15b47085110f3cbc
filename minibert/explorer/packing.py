"""How tensors are written into the page, and how much of a run fits.

A page is a text file.  A tensor is its shape, its dtype and its bytes in base64, so each byte takes 4/3 characters.
float16 halves the size at three significant digits, which is what can be read off a colour.

bert-base computes 30 MB of numbers for 32 tokens.  A page keeps the vectors that a reader steps through; the residual
sums are added up in the page.  Longer texts keep the beginning of each vector, then no scores, then fewer tokens.
"""

import base64
import ctypes
import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.errors import InputError
from minibert.explorer.sentences import Sentence
from minibert.explorer.steps import EMBEDDINGS, stored

DTYPES = {"float16": torch.float16, "float32": torch.float32, "int32": torch.int32}
LARGEST_HALF = torch.finfo(torch.float16).max
PER_HEAD = 8  # numbers kept of each head, if a vector is not kept whole
NEURONS = 16  # of the feed-forward network, the strongest of each token
SENSITIVITY_LIMIT = 128  # tokens; beyond, sensitivity maps take minutes and are made on request only


def pack(value: Tensor, dtype: str = "float16") -> dict[str, Any]:
    """``{"shape", "dtype", "data"}``, little-endian, row by row; values beyond float16 become its largest."""
    if sys.byteorder != "little":
        raise InputError("The page's numbers are written as little-endian bytes; this machine has them the other way.")
    value = value.detach().cpu()
    if dtype == "float16":
        value = value.clamp(-LARGEST_HALF, LARGEST_HALF)
    value = value.to(DTYPES[dtype]).contiguous()
    content = ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()) if value.numel() else b""
    return {"shape": list(value.shape), "dtype": dtype, "data": base64.b64encode(content).decode("ascii")}


def unpack(packed: dict[str, Any]) -> Tensor:
    """The tensor that :func:`pack` was given, in its packed dtype."""
    content, dtype = bytearray(base64.b64decode(packed["data"])), DTYPES[packed["dtype"]]
    if not content:
        return torch.zeros(packed["shape"], dtype=dtype)
    return torch.frombuffer(content, dtype=dtype).view(packed["shape"])


def packed_size(numbers: int, dtype: str = "float16") -> int:
    """The characters that this many numbers take."""
    itemsize: int = DTYPES[dtype].itemsize
    return -(-numbers * itemsize // 3) * 4


@dataclass(frozen=True)
class DetailLevel:
    """How much of a run is kept."""

    tokens: int  # the first so many
    numbers: int  # of a vector of H: H, or PER_HEAD of each head
    scores: bool

    def omissions(self, config: BertConfig, length: int) -> list[Sentence]:
        """Sentences for the page about what is left out of a run of ``length`` tokens."""
        sentences = [
            Sentence.of("omitted.neurons", all=config.intermediate_size, kept=NEURONS),
            Sentence.of("omitted.sums"),
        ]
        if self.numbers < config.hidden_size:
            per_head = self.numbers // config.num_attention_heads
            sentences.append(
                Sentence.of("omitted.numbers", numbers=self.numbers, hidden=config.hidden_size, per_head=per_head)
            )
        if not self.scores:
            sentences.append(Sentence.of("omitted.scores"))
        if self.tokens < length:
            sentences.append(Sentence.of("omitted.tokens", length=length, tokens=self.tokens))
        return sentences


def choose_detail(config: BertConfig, length: int, limit: int) -> DetailLevel:
    """The most detail that fits into ``limit`` characters for a text of ``length`` tokens; at least two tokens."""
    whole, abridged = config.hidden_size, min(config.hidden_size, PER_HEAD * config.num_attention_heads)
    for detail in (DetailLevel(length, whole, True), DetailLevel(length, abridged, True)):
        if size_of(config, detail) <= limit:
            return detail
    tokens = length
    while tokens > 2 and size_of(config, DetailLevel(tokens, abridged, False)) > limit:
        tokens -= 1
    return DetailLevel(tokens, abridged, False)


def size_of(config: BertConfig, detail: DetailLevel) -> int:
    """The characters that a run takes in a page, approximately."""
    L, N, T = config.num_hidden_layers, config.num_attention_heads, detail.tokens
    outside, in_layers, sums = len(EMBEDDINGS) + L + 1, len(stored("head", "vector")), len(stored("sum"))
    vectors = (outside + in_layers * L) * T * detail.numbers
    maps = L * N * T * T * (2 if detail.scores else 1) + (L + 1 + 2 * L) * T * T
    statistics = 2 * (outside + (in_layers + sums) * L) * T * 3  # float32: two float16 each
    neurons = L * T * NEURONS * 3
    predictions = 2 * (L + 1) * T * 5 * 15  # the tokens predicted by each layer, with and without a mask
    return packed_size(vectors + maps + statistics + neurons) + predictions
