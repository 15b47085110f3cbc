"""Dev rows that are in the training data too: scores on them measure memory, not what the model does on new texts.

Rows are compared by what the model reads (the text, the pair, the words, the question with its context), not by label.
Start with :func:`warn_of_overlap`.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minibert.data.memory import Data, as_data, data_digest
from minibert.errors import InputError
from minibert.files import is_file
from minibert.training.overlap import is_same_file, letters_of

logger = logging.getLogger("minibert.finetuning")
READ_FIELDS = ("text", "texts", "words", "question", "context", "choices")  # the fields of rows that a model reads


def check_dev_file(train_file: Data, dev_file: Data) -> None:
    """Raise InputError when the dev data is the training data: one file, also by a link or as a copy, or equal rows."""
    train, dev = as_data(train_file, what="the training data"), as_data(dev_file, what="the dev data")
    for data in (train, dev):
        if isinstance(data, Path) and not is_file(data):
            raise InputError(f"{data} does not exist.")
    if isinstance(train, Path) and isinstance(dev, Path):
        if is_same_file(train, dev):
            other = "" if train == dev else f" {train}"
            raise InputError(
                f"The dev file {dev} is the training file{other}, so scores on it say nothing about new texts. Name "
                "another file, or leave it out (--dev)."
            )
    elif data_digest(train) == data_digest(dev):
        raise InputError(
            f"The rows of {dev} are those of {train}, so scores on them say nothing about new texts. Give others."
        )


def warn_of_overlap(rows: Sequence[Any], dev_rows: Sequence[Any]) -> None:
    """Warn when dev rows are among the training rows."""
    known = set(map(read_of, rows))
    count = sum(read_of(row) in known for row in dev_rows)
    if count:
        logger.warning(
            "%s of %s dev rows are in the training data, too; scores on them are too good.",
            f"{count:,}", f"{len(dev_rows):,}",
        )  # fmt: skip


def read_of(row: Any) -> tuple[str, ...]:
    """What a model reads of a row, without its white space."""
    parts: list[str] = []
    for name in READ_FIELDS:
        value = getattr(row, name, ())
        parts += map(letters_of, (value,) if isinstance(value, str) else value)
    return tuple(parts)
