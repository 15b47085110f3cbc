"""The inputs on which two implementations are compared.

A single sentence tests neither the mask nor the second segment, so there are three default batches: one sentence
without padding, pairs with padding, and a batch with a row of padding only, which reveals the constant of the mask.
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
    """The default batches, or one batch of ``texts``, tokenized by the checkpoint's own tokenizer."""
    limit = min(config.max_position_embeddings, 512)

    def tokenize(first: list[str], second: list[str] | None = None) -> Batch:
        batch = dict(tokenizer(first, second, padding=True, truncation=True, max_length=limit, return_tensors="pt"))
        if "token_type_ids" in batch:  # not every model has a second segment
            batch["token_type_ids"] = batch["token_type_ids"].clamp(max=config.type_vocab_size - 1)
        return batch

    if texts:
        return {"texts": tokenize(list(texts))}
    padded = tokenize([first for first, _ in PAIRS], [second for _, second in PAIRS])
    masked = padded["attention_mask"].clone()
    masked[-1] = 0
    return {
        "one sentence": tokenize([SENTENCE]),
        "padded pairs": padded,
        "a row of padding": padded | {"attention_mask": masked},
    }


def batches_from_config(config: BertConfig, seed: int = 0) -> dict[str, Batch]:
    """The same three batches with random ids, for a checkpoint without a vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    T = min(16, config.max_position_embeddings)
    ids = torch.randint(config.vocab_size, (3, T), generator=generator)
    lengths = torch.tensor([T, max(1, T // 2), max(1, T // 3)])
    mask = (torch.arange(T) < lengths[:, None]).long()
    segments = (torch.arange(T) >= T // 2).long().expand(3, T).clamp(max=config.type_vocab_size - 1)
    masked = mask.clone()
    masked[-1] = 0
    padded = {"input_ids": ids, "attention_mask": mask, "token_type_ids": segments * mask}
    return {
        "one sentence": {"input_ids": ids[:1]},
        "padded pairs": padded,
        "a row of padding": padded | {"attention_mask": masked},
    }
