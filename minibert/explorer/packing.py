"""How tensors are written into the page, and how much of a run fits.

A page is a text file.  A tensor is its shape, its dtype and its bytes in base64, so each byte takes 4/3 characters.
float16 halves the size at three significant digits, which is what can be read off a colour.

bert-base computes 30 MB of numbers for 32 tokens.  A page keeps the vectors that a reader steps through; the
residual sums are added up in the page.  Of longer texts it keeps the beginning of each vector, then no scores, then
fewer tokens.
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
from minibert.explorer.steps import EMBEDDINGS, stored

KINDS = {"float16": torch.float16, "float32": torch.float32, "int32": torch.int32}
LARGEST_HALF = torch.finfo(torch.float16).max


def pack(value: Tensor, kind: str = "float16") -> dict[str, Any]:
    """``{"shape", "kind", "data"}``: little-endian, row by row.  What float16 cannot hold becomes its largest."""
    if sys.byteorder != "little":
        raise InputError("The page's numbers are written as little-endian bytes; this machine has them the other way.")
    value = value.detach().cpu()
    if kind == "float16":
        value = value.clamp(-LARGEST_HALF, LARGEST_HALF)
    value = value.to(KINDS[kind]).contiguous()
    content = ctypes.string_at(value.data_ptr(), value.numel() * value.element_size()) if value.numel() else b""
    return {"shape": list(value.shape), "kind": kind, "data": base64.b64encode(content).decode("ascii")}


def unpack(packed: dict[str, Any]) -> Tensor:
    """The tensor that :func:`pack` was given, as exactly as its kind keeps it."""
    content = bytearray(base64.b64decode(packed["data"]))
    if not content:
        return torch.zeros(packed["shape"], dtype=KINDS[packed["kind"]])
    return torch.frombuffer(content, dtype=KINDS[packed["kind"]]).view(packed["shape"])


def packed_size(numbers: int, kind: str = "float16") -> int:
    """How many letters of a page that many numbers take."""
    bytes_each: int = KINDS[kind].itemsize
    return -(-numbers * bytes_each // 3) * 4


BEGINNING = 8  # numbers of each head, where a vector is not shown whole
HIGHEST = 16  # neurons of the feed-forward network, the strongest of each token
SENTENCE_LIMIT = 128  # tokens; beyond, sensitivity maps take minutes: they are asked for explicitly


@dataclass(frozen=True)
class Detail:
    """What of a walk goes into the page."""

    tokens: int  # the first so many
    numbers: int  # of a vector of H: H, or BEGINNING a head
    scores: bool

    def sentences(self, config: BertConfig, length: int) -> list[str]:
        """What is left out, for the reader of the page."""
        said = [
            f"Of the {config.intermediate_size} neurons of each feed-forward network, the {HIGHEST} strongest of each "
            "token are kept.",
            "Residual sums are added up in the page from the two parts that are kept.",
        ]
        if self.numbers < config.hidden_size:
            width = self.numbers // config.num_attention_heads
            said.append(
                f"Of each vector the first {self.numbers} of {config.hidden_size} numbers are kept "
                f"(of each head {width}); norm, mean and spread are those of the whole vector."
            )
        if not self.scores:
            said.append("Scores are left out; the probabilities, their softmax, are here.")
        if self.tokens < length:
            said.append(f"The model read all {length} tokens; numbers are kept for the first {self.tokens}.")
        return said


def choose_detail(config: BertConfig, length: int, limit: int) -> Detail:
    """The most that fits into ``limit`` letters for a text of ``length`` tokens; at least two tokens."""
    whole, abridged = config.hidden_size, min(config.hidden_size, BEGINNING * config.num_attention_heads)
    for detail in (Detail(length, whole, True), Detail(length, abridged, True), Detail(length, abridged, False)):
        if size_of(config, detail) <= limit:
            return detail
    tokens = length
    while tokens > 2 and size_of(config, Detail(tokens, abridged, False)) > limit:
        tokens -= 1
    return Detail(tokens, abridged, False)


def size_of(config: BertConfig, detail: Detail) -> int:
    """Letters of a page that a walk takes, near enough."""
    L, N, T = config.num_hidden_layers, config.num_attention_heads, detail.tokens
    alone, in_layers, sums = len(EMBEDDINGS) + L + 1, len(stored("head", "vector")), len(stored("sum"))
    vectors = (alone + in_layers * L) * T * detail.numbers
    maps = L * N * T * T * (2 if detail.scores else 1) + (L + 1 + 2 * L) * T * T
    statistics = 2 * (alone + (in_layers + sums) * L) * T * 3  # float32, which is two of float16
    neurons = L * T * HIGHEST * 3
    pieces = 2 * (L + 1) * T * 5 * 15  # what each layer would predict, the token masked or not: text and numbers
    return packed_size(vectors + maps + statistics + neurons) + pieces
