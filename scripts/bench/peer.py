"""The interface of a library that embeds texts: two calls, and how batches are made.

``embed(texts)`` goes from texts to vectors, tokenization included; ``pooled(ids, mask)`` is the model alone, from a
padded batch of ids to one mean-pooled vector per text.  A peer without an ``embed`` of its own gets the same input as
the others: transformers' fast tokenizer called on the whole list, the texts sorted by tokens (longest first, which
needs the least memory), padded batches of 32.
"""

import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

BATCH = 32  # texts


class Peer:
    """One library with one model in it."""

    name: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]  # as pip calls them; the first is the library itself
    way = "transformers' fast tokenizer on the whole list, token-sorted batches of 32, padded"
    has_forward = True  # whether ``pooled`` is there

    @classmethod
    def missing(cls) -> list[str]:
        """The packages that are not installed."""
        return [package for package in cls.packages if find_spec(package.replace("-", "_")) is None]

    @classmethod
    def prepare(cls, folder: Path, work: Path) -> None:
        """Write the library's own form of the checkpoint under ``work``, unless it is there."""

    def __init__(self, folder: Path, work: Path, threads: int) -> None:
        from transformers import AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.longest = longest(folder)
        self.load(folder, work, threads)

    def load(self, folder: Path, work: Path, threads: int) -> None:
        """Get ready to run."""

    def fresh(self) -> None:
        """Called before each timed ``embed``, outside the time: forget what the last run taught."""

    def embed(self, texts: Sequence[str]) -> Tensor:
        """(len(texts), H) float32, in the order given, of unit length."""
        rows = self.tokenizer(
            list(texts),
            truncation=True,
            max_length=self.longest,
            return_attention_mask=False,
            return_token_type_ids=False,
        )["input_ids"]
        order = sorted(range(len(rows)), key=lambda number: -len(rows[number]))
        batches = (
            padded([rows[n] for n in order[start : start + BATCH]], self.tokenizer.pad_token_id)
            for start in range(0, len(order), BATCH)
        )
        vectors = torch.cat(self.run(batches))
        result = torch.empty_like(vectors)
        result[torch.tensor(order)] = vectors
        return F.normalize(result, dim=-1)

    def run(self, batches: Iterator[tuple[Tensor, Tensor]]) -> list[Tensor]:
        """``pooled`` of each batch."""
        return [self.pooled(ids, mask) for ids, mask in batches]

    def pooled(self, ids: Tensor, mask: Tensor) -> Tensor:
        """(B, T) int64 ids and mask (1: token, 0: padding) to (B, H), the mean over the tokens."""
        raise NotImplementedError


def longest(folder: Path) -> int:
    """How many tokens a text may have: sentence-transformers' setting where the folder has one."""
    positions = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    settings = folder / "sentence_bert_config.json"
    wanted = json.loads(settings.read_text(encoding="utf-8")).get("max_seq_length") if settings.is_file() else None
    return min(wanted or positions, positions)


def padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Token ids and mask, both (B, T) int64."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return ids, (torch.arange(width) < lengths[:, None]).long()


def mean_over(hidden_states: Tensor, mask: Tensor) -> Tensor:
    """(B, T, H) to (B, H) as a matrix product, the quickest way there is."""
    return torch.bmm(mask.to(hidden_states.dtype)[:, None], hidden_states)[:, 0] / mask.sum(1, keepdim=True)


def transformers_model(folder: Path, attention: str) -> Any:
    """The BertModel of transformers without its pooler."""
    from transformers import AutoModel

    return AutoModel.from_pretrained(folder, attn_implementation=attention, add_pooling_layer=False).eval()
