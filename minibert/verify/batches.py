"""What two implementations are run on: inputs chosen so that a mistake has nowhere to hide.

A lone sentence leaves the mask and the second segment untested, so the default has three batches: one sentence without
padding, pairs with padding, and a row that is nothing but padding, which shows what constant the mask adds.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from minibert.config import BertConfig
from minibert.tokenizer import BertTokenizer

Batch = dict[str, Tensor]
SENTENCE = "나는 배를 타고 여행을 간다. The pear tree is in bloom."
PAIRS = (
    ("She sat by the bank of the river.", "The bank was closed, so she went home again."),
    ("배가 고프다.", "배를 먹었다."),
    ("Hello!", ""),
)


def batches_from_text(tokenizer: BertTokenizer, config: BertConfig, texts: Sequence[str] = ()) -> dict[str, Batch]:
    """The default batches, or one batch of ``texts``, as the checkpoint's own tokenizer reads them."""
    limit = min(config.max_position_embeddings, 512)

    def read(first: list[str], second: list[str] | None = None) -> Batch:
        read = tokenizer(first, second, padding=True, truncation=True, max_length=limit, return_tensors="pt")
        return dict(read)

    if texts:
        return {"texts": _fitting(read(list(texts)), config)}
    padded = read([first for first, _ in PAIRS], [second for _, second in PAIRS])
    hidden = {name: value.clone() for name, value in padded.items()}
    hidden["attention_mask"][-1] = 0
    return {
        "one sentence": _fitting(read([SENTENCE]), config),
        "padded pairs": _fitting(padded, config),
        "a row of padding": _fitting(hidden, config),
    }


def batches_from_config(config: BertConfig, seed: int = 0) -> dict[str, Batch]:
    """The same three batches with drawn ids, for a checkpoint that brings no vocabulary."""
    draw = torch.Generator().manual_seed(seed)
    T = min(16, config.max_position_embeddings)
    ids = torch.randint(config.vocab_size, (3, T), generator=draw)
    lengths = torch.tensor([T, max(1, T // 2), max(1, T // 3)])
    mask = (torch.arange(T) < lengths[:, None]).long()
    segments = (torch.arange(T) >= T // 2).long().expand(3, T).clamp(max=config.type_vocab_size - 1)
    hidden = mask.clone()
    hidden[-1] = 0
    return {
        "one sentence": {"input_ids": ids[:1]},
        "padded pairs": {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments * mask},
        "a row of padding": {"input_ids": ids, "attention_mask": hidden, "token_type_ids": segments * mask},
    }


def _fitting(inputs: Batch, config: BertConfig) -> Batch:
    """``inputs`` as a plain dict, with segments that the model has."""
    batch = dict(inputs)
    if "token_type_ids" in batch:
        batch["token_type_ids"] = batch["token_type_ids"].clamp(max=config.type_vocab_size - 1)
    return batch
