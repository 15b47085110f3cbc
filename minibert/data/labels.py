"""Labels in data: read from a cell, sorted, and checked."""

import ast
import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from minibert.config import MOST_LABELS
from minibert.data.cells import Cells, value_in
from minibert.data.rows import Unreadable
from minibert.errors import InputError

logger = logging.getLogger("minibert.data")
SHOWN = 8  # names in a sentence
SEPARATORS = ("|", ";", ",")
UNEVEN = 10  # a warning is given when the largest class has at least so many times the rows of the smallest


def label_in(cells: Cells, name: str, known: Sequence[str] | None) -> str:
    """The label in a column as a name: ``1``, ``1.0``, ``"1"`` and ``" 1"`` are the same.

    Raises Unreadable for a missing label (tables write NaN) and for one that is not ``known``.
    """
    value = value_in(cells, name)
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable(f"has no label in {name!r} ({value})")
    if isinstance(value, bool | int | float):  # true, as it stands in the file; whole numbers without their ".0"
        value = json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value)
    if isinstance(value, list):
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected one label; for several a text: --multi-label")
    if not isinstance(value, str):
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected a label: text or a number")
    label = value.strip()
    if not label:
        raise Unreadable(f"has no label in {name!r}")
    if known is not None and label not in known:
        raise Unreadable(f"has the label {shortened(label)} in {name!r}; the training data has {listed(known)}")
    return label


def numbered_label(number: int, name: str, names: Sequence[str] | None, example: str) -> str:
    """The name of a label that is a number; raises Unreadable where there is none.  ``example``: such names."""
    if names is None:
        raise Unreadable(f"has labels that are numbers in {name!r}; say what they mean: --labels {example},…")
    if not 0 <= number < len(names):
        raise Unreadable(f"has the label {number} in {name!r}; there are names for 0 to {len(names) - 1}")
    return names[number]


def split_labels(text: str, name: str, separator: str) -> list[Any]:
    """The labels in a text: separated by ``separator``, or a list in JSON or Python; raises Unreadable."""
    if not (text.startswith("[") and text.endswith("]")):
        return [part.strip() for part in text.split(separator) if part.strip()]
    for read in (json.loads, ast.literal_eval):
        try:
            labels = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(labels, list):
            return labels
    raise Unreadable(f"has {shortened(text)} in {name!r}, which is no list of labels, as JSON writes one")


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Each label once, in order: numbers by size, names alphabetically."""
    names = sorted(set(labels))
    try:
        return sorted(names, key=float)
    except ValueError:
        return names


def listed(names: Sequence[str]) -> str:
    """The first names, for a message."""
    shown = ", ".join(map(shortened, names[:SHOWN]))
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def check_classes(path: Path, column: str, labels: Sequence[str]) -> None:
    """Raise InputError when all rows have one class, or nearly each its own."""
    names = sorted_labels(labels)
    if len(names) == 1:
        raise InputError(
            f"{path}: all {len(labels):,} rows have the same label in {column!r}, {shortened(names[0])}; there is "
            "nothing to learn. Expected two classes or more."
        )
    if len(names) > MOST_LABELS or (len(names) == len(labels) and len(names) > SHOWN):
        raise InputError(
            f"{path}: {column!r} has {len(names):,} different labels in {len(labels):,} rows ({listed(names)}); these "
            "are no classes. Name the column that holds them (--label-column NAME)."
        )


def warn_of_joined(path: Path, column: str, labels: Sequence[str]) -> None:
    """Warn when labels look like several with a separator between: ``fun|long`` would be a class of its own."""
    counts = Counter(labels)
    for separator in SEPARATORS:
        joined = {name: name.split(separator) for name in counts if separator in name.strip(separator)}
        parts = Counter(part.strip() for some in joined.values() for part in some)
        # A comma may be part of a name: then its halves are no labels elsewhere.
        known = all(part in counts or parts[part] > 1 for part in parts)
        if joined and (separator == "|" or known):
            logger.warning(
                "%s: %d of %d rows have several labels in %r, such as %r; each such combination is learned as a class "
                "of its own. For several labels a text: --multi-label%s.",
                path, sum(counts[name] for name in joined), len(labels), column, next(iter(joined)),
                "" if separator == "|" else f" --separator {separator!r}",
            )  # fmt: skip
            return


def warn_of_imbalance(path: Path, column: str, labels: Sequence[str]) -> None:
    """Warn when one class has many times as many rows as another."""
    ordered = Counter(labels).most_common()
    (most, many), (least, few) = ordered[0], ordered[-1]
    if many >= UNEVEN * few:
        logger.warning(
            "%s: in %r %s has %d of %d rows, %s has %d. A model that always says %s is right in %.1f %%: look at macro "
            "F1, and at --class-weights balanced.",
            path, column, shortened(most), many, len(labels), shortened(least), few, shortened(most),
            100 * many / len(labels),
        )  # fmt: skip
