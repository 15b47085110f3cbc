"""The text that an int8 file is calibrated on, and other text that its loss is measured on.

Without a file of the user's it is ``calibration.txt``: sentences of the course and short everyday ones, in English,
Korean and Chinese.  Texts in a script that the checkpoint's vocabulary does not have are left out.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from minibert.config import BertConfig
from minibert.data.columns import TEXTS, Column
from minibert.data.memory import Data
from minibert.data.opening import open_texts, read_all
from minibert.errors import InputError
from minibert.tokenizer import BertTokenizer
from minibert.verify.batches import Batch

DEFAULT = Path(__file__).resolve().parent / "calibration.txt"
COLUMN = Column("the texts of the calibration", "--calibration-column", TEXTS)
EVERY = 5  # one text in five is held out
MOST = 1500  # texts
FEWEST = 20
LONGEST = 256  # tokens
TOKENS = 2048  # of a batch, with padding


class Texts(NamedTuple):
    """Batches to calibrate on, and others to measure with; no text is in both."""

    calibration: list[Batch]
    held_out: list[Batch]


def calibration_texts(
    tokenizer: BertTokenizer, config: BertConfig, source: Data | None = None, column: str | None = None
) -> Texts:
    """The texts of ``source`` (a file, or rows in memory), as batches of similar lengths.

    ``column``: of a file with several; default one with a usual name.
    Raises InputError where it cannot be read, or has fewer than FEWEST different texts for this vocabulary.
    """
    opened = open_texts(DEFAULT if source is None else source, column, kind=COLUMN)
    found = (row.text for row in read_all(opened.file, opened.row, False))
    texts = list(dict.fromkeys(text for text in found if text.strip()))
    rows = [ids_of(tokenizer, config, text) for text in texts]
    if source is None:  # a user's file is in the user's language
        rows = [ids for text, ids in zip(texts, rows, strict=True) if is_known(tokenizer, text, ids)]
    if len(rows) < FEWEST:
        where = "the default text" if source is None else str(source)
        raise InputError(
            f"int8 is calibrated on at least {FEWEST} texts that the vocabulary knows, and {where} has {len(rows)}. "
            "Give a file of texts in the checkpoint's language: --calibration FILE."
        )
    rows = rows[:: -(-len(rows) // MOST)]
    pad = tokenizer.pad_token_id or 0
    return Texts(
        batches_of([ids for number, ids in enumerate(rows) if number % EVERY], pad, config),
        batches_of(rows[::EVERY], pad, config),
    )


def ids_of(tokenizer: BertTokenizer, config: BertConfig, text: str) -> list[int]:
    """The ids of a text, at most LONGEST."""
    longest = min(LONGEST, config.max_position_embeddings)
    ids: list[int] = tokenizer(text, truncation=True, max_length=longest)["input_ids"]
    return ids


def batch_of(tokenizer: BertTokenizer, config: BertConfig, texts: Sequence[str]) -> Batch:
    """Texts in their order as one padded batch."""
    return padded([ids_of(tokenizer, config, text) for text in texts], tokenizer.pad_token_id or 0, config)


def is_known(tokenizer: BertTokenizer, text: str, ids: Sequence[int]) -> bool:
    """Whether the vocabulary has the script of a text: no unknown token, and no more tokens than letters."""
    return tokenizer.unk_token_id not in ids and len(ids) - 2 <= len(text)


def batches_of(rows: Sequence[Sequence[int]], pad: int, config: BertConfig) -> list[Batch]:
    """Token rows, sorted by length, as padded batches of at most TOKENS."""
    batches: list[Batch] = []
    step: list[Sequence[int]] = []
    for ids in sorted(rows, key=len):
        if step and (len(step) + 1) * len(ids) > TOKENS:
            batches.append(padded(step, pad, config))
            step = []
        step.append(ids)
    return [*batches, padded(step, pad, config)]


def padded(rows: Sequence[Sequence[int]], pad: int, config: BertConfig) -> Batch:
    """(B, T) int64 each."""
    T = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (T - len(row))] for row in rows]).clamp(max=config.vocab_size - 1)
    mask = torch.tensor([[1] * len(row) + [0] * (T - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": torch.zeros_like(ids)}
