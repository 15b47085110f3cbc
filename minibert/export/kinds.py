"""The nine kinds of input that an export is proven on.

Each is one that exporters get wrong: a mask that is baked in shows where there is padding, a size that is fixed where
the batch or the length is another, a shifted position at the longest length.  The texts are tokenized by the
checkpoint's own tokenizer; without one the ids are drawn.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.tokenizer import BertTokenizer
from minibert.verify.batches import PAIRS, SENTENCE, Batch

TEXTS = (
    "The pear tree is in bloom.",
    "Yes.",
    "She sat by the bank of the river and read until it was too dark to see the page, then she went home again.",
    "한국어 문장도 있다.",
)
KOREAN = ("나는 배를 타고 여행을 간다.", "배가 고파서 배를 먹었다.", "안녕하세요?")
LARGE = 17  # rows of the large batch


def nine_kinds(
    config: BertConfig,
    tokenizer: BertTokenizer | None = None,
    axes: tuple[str, ...] = ("batch", "length"),
    seed: int = 0,
) -> dict[str, Batch]:
    """Kind → ``input_ids``, ``attention_mask``, ``token_type_ids``, each (B, T) int64; (B, C, T) with "choices"."""
    draw = torch.Generator().manual_seed(seed)
    kinds = drawn(config, draw) if tokenizer is None else tokenized(config, tokenizer)
    kinds["holes and left padding"] = with_holes(kinds["padding"], kinds["pairs"], draw)
    for batch in kinds.values():
        batch["token_type_ids"] = batch["token_type_ids"].clamp(max=config.type_vocab_size - 1)
    if "choices" in axes:
        kinds = {name: with_choices(batch, 1 + number % 4) for number, (name, batch) in enumerate(kinds.items())}
    return {name: {role: value.contiguous() for role, value in batch.items()} for name, batch in kinds.items()}


def tokenized(config: BertConfig, tokenizer: BertTokenizer) -> dict[str, Batch]:
    """All kinds but the last, in the checkpoint's vocabulary."""
    longest = config.max_position_embeddings

    def batch_of(first: Sequence[str], second: Sequence[str] | None = None) -> Batch:
        pairs = None if second is None else list(second)
        encoded = tokenizer(list(first), pairs, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        ids: Tensor = encoded["input_ids"]
        segments = encoded["token_type_ids"] if "token_type_ids" in encoded else torch.zeros_like(ids)
        return {"input_ids": ids, "attention_mask": encoded["attention_mask"], "token_type_ids": segments}

    padded = batch_of(TEXTS)
    shortest = int(padded["attention_mask"].sum(dim=1).min())
    ids = batch_of([SENTENCE])["input_ids"][0, 1:-1]
    long_ids = batch_of([SENTENCE])["input_ids"][0].repeat(longest // max(len(ids), 1) + 1)[:longest]
    return {
        "no padding": cut(padded, shortest),
        "padding": padded,
        "a row of nothing but padding": hide_last_row(padded),
        "pairs": batch_of([first for first, _ in PAIRS], [second for _, second in PAIRS]),
        "one token": cut(padded, 1),
        "the longest length": one_row(long_ids),
        "Korean": batch_of(KOREAN),
        "one text alone": batch_of([SENTENCE]),
    }


def drawn(config: BertConfig, draw: torch.Generator) -> dict[str, Batch]:
    """All kinds but the last, of random ids."""
    longest, vocabulary = config.max_position_embeddings, config.vocab_size

    def batch_of(lengths: Sequence[int], lowest: int = 0) -> Batch:
        most = [min(length, longest) for length in lengths]
        ids = torch.randint(lowest, vocabulary, (len(most), max(most)), generator=draw)
        mask = (torch.arange(max(most)) < torch.tensor(most)[:, None]).long()
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}

    padded = batch_of([9, 3, 23, 7])
    pairs = batch_of([21, 10, 6])
    pairs["token_type_ids"] = (torch.arange(pairs["input_ids"].shape[1]) >= 4).long() * pairs["attention_mask"]
    last = batch_of([11, 13, 5], lowest=vocabulary * 3 // 4)
    last["input_ids"][0, 0] = vocabulary - 1
    return {
        "no padding": cut(padded, min(3, longest)),
        "padding": padded,
        "a row of nothing but padding": hide_last_row(padded),
        "pairs": pairs,
        "one token": cut(padded, 1),
        "the longest length": batch_of([longest]),
        "the last ids of the vocabulary": last,
        "one text alone": batch_of([12]),
    }


def cut(batch: Batch, length: int) -> Batch:
    """The first tokens of every text, all of them visible."""
    return {role: value[:, :length] for role, value in batch.items()}


def one_row(ids: Tensor) -> Batch:
    """One text of these ids, (T,), without padding; the second half is the second segment."""
    rows = ids[None]
    segments = (torch.arange(rows.shape[1]) >= rows.shape[1] // 2).long()[None]
    return {"input_ids": rows, "attention_mask": torch.ones_like(rows), "token_type_ids": segments}


def hide_last_row(batch: Batch) -> Batch:
    """The batch with its last text all padding."""
    mask = batch["attention_mask"].clone()
    mask[-1] = 0
    return {**batch, "attention_mask": mask}


def with_holes(padded: Batch, pairs: Batch, draw: torch.Generator) -> Batch:
    """A large batch of both: a text in two is padded on the left, and one token in four is hidden, anywhere."""
    most = max(padded["input_ids"].shape[1], pairs["input_ids"].shape[1])
    both = {
        role: torch.cat([torch.nn.functional.pad(b[role], (0, most - b[role].shape[1])) for b in (padded, pairs)])
        for role in padded
    }
    rows = torch.arange(LARGE) % len(both["input_ids"])
    large = {role: value[rows] for role, value in both.items()}
    for row in range(0, LARGE, 2):
        empty = most - int(large["attention_mask"][row].sum())
        for value in large.values():
            value[row] = value[row].roll(empty)
    mask = large["attention_mask"] * (torch.rand(LARGE, most, generator=draw) > 0.25).long()
    none = mask.sum(dim=1) == 0
    mask[none] = large["attention_mask"][none]
    return {**large, "attention_mask": mask}


def with_choices(batch: Batch, choices: int) -> Batch:
    """(B, T) to (B, C, T): each text beside those that follow it."""
    return {
        role: torch.stack([value.roll(-step, 0) for step in range(choices)], dim=1) for role, value in batch.items()
    }
