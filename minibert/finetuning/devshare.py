"""Dev rows drawn from the training data, where there is no file of them: ``--dev 10%``.

Rows that belong together (questions about one context, pairs with one first text, copies of a text) go to the same
side; otherwise scores on the dev rows would measure memory.  Start with :func:`split_rows`.
"""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch

from minibert.data.memory import Data
from minibert.errors import InputError
from minibert.files import is_file
from minibert.source import as_path
from minibert.training.examples import generator
from minibert.training.overlap import letters_of

Row = TypeVar("Row")
DRAW = 1  # beside the seed: other draws than those of the first epoch's order


def share_of(dev_file: Data | None) -> float | None:
    """The share that ``"10%"`` means; None for a file.  Raises InputError for a share that leaves one side empty."""
    if not isinstance(dev_file, str) or not dev_file.strip().endswith("%") or is_file(as_path(dev_file)):
        return None
    try:
        percent = float(dev_file.strip()[:-1])
    except ValueError:
        percent = math.nan
    if not 0 < percent < 100:
        raise InputError(f"The dev share is {dev_file!r}; expected a percentage above 0 and below 100, such as '10%'.")
    return percent / 100


def share_identity(share: float | None, seed: int, dev_seed: int | None) -> dict[str, float]:
    """What run.json says of the share, so that a resumed run has the same dev rows."""
    if share is None:
        return {}
    found = {"dev share": share}
    if dev_seed is not None and dev_seed != seed:
        found["dev seed"] = dev_seed
    return found


def split_rows(rows: Sequence[Row], share: float, seed: int) -> tuple[list[Row], list[Row]]:
    """Training rows and dev rows, both in their order; about ``share`` of the rows, drawn by ``seed``, are dev rows.

    Raises InputError when either side would have no row.
    """
    documents: dict[str, list[int]] = {}
    for number, row in enumerate(rows):
        documents.setdefault(document_of(row), []).append(number)
    dev: set[int] = set()
    groups = list(documents.values())
    for group in torch.randperm(len(groups), generator=generator(seed, 0, DRAW)).tolist():
        if len(dev) >= round(share * len(rows)):
            break
        dev.update(groups[group])
    if not 0 < len(dev) < len(rows):
        belong = "" if len(documents) == len(rows) else f" ({len(documents):,} texts or contexts, which stay whole)"
        raise InputError(
            f"{share:.4g} of the training data's {len(rows):,} rows{belong} are {len(dev):,} dev rows; expected at "
            "least one, and one to train on. Give another share, or a file (--dev)."
        )
    return [row for n, row in enumerate(rows) if n not in dev], [row for n, row in enumerate(rows) if n in dev]


def document_of(row: object) -> str:
    """What a row shares with those that belong to it: its context, its (first) text, its question, or its words."""
    for name in ("context", "text", "texts", "question"):
        value = getattr(row, name, None)
        if value:
            return letters_of(value if isinstance(value, str) else value[0])
    return letters_of(" ".join(getattr(row, "words", ())))
