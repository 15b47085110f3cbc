"""Labels: found in the data, numbered, and kept in the config, where transformers looks for them too.

``id2label`` and ``label2id`` say what the numbers of a head mean; everything after the first reading of the training
data (dev data, scores, predictions) takes the names from there.  Start with :func:`label_settings`.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from reprlib import repr as shortened
from typing import Any

from minibert.config import MOST_LABELS, BertConfig
from minibert.corpus.rows import Unreadable, value
from minibert.errors import InputError
from minibert.finetuning.rows import Values, logger

SHOWN = 8  # names in a sentence
SINGLE = "single_label_classification"
HEADS = {"regression": "to predict a number", "multi_label_classification": "for any number of {count} labels"}
ASKED = {"regression": "one number", "multi_label_classification": "any number of {count} labels a text ({names})"}
SEPARATORS = ("|", ";", ",")
UNEVEN = 10  # the largest class against the smallest, from which on it is said


def label_in(columns: Values, name: str, known: Sequence[str] | None) -> str:
    """The label in a column as a name: ``1``, ``1.0``, ``"1"`` and ``" 1"`` are the same.

    Raises Unreadable for what is none (NaN is how tables write a missing one), and for one that is not among the
    ``known``.
    """
    found = value(columns, name)
    if isinstance(found, float) and not math.isfinite(found):
        raise Unreadable(f"has no label in {name!r} ({found})")
    if isinstance(found, bool | int | float):  # true, as it stands in the file; whole numbers without their ".0"
        found = json.dumps(int(found) if isinstance(found, float) and found.is_integer() else found)
    if isinstance(found, list):
        raise Unreadable(f"has {shortened(found)} in {name!r}, expected one label; for several a text: --multi-label")
    if not isinstance(found, str):
        raise Unreadable(f"has {shortened(found)} in {name!r}, expected a label: text or a number")
    label = found.strip()
    if not label:
        raise Unreadable(f"has no label in {name!r}")
    if known is not None and label not in known:
        raise Unreadable(f"has the label {shortened(label)} in {name!r}; the training data has {listed(known)}")
    return label


def sorted_labels(labels: Iterable[str]) -> list[str]:
    """Each label once, in order: numbers by their size, names by their letters."""
    names = sorted(set(labels))
    try:
        return sorted(names, key=float)
    except ValueError:
        return names


def label_settings(names: Sequence[str]) -> dict[str, Any]:
    """The fields of a config that name the labels."""
    return {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}


def label_names(config: BertConfig) -> list[str]:
    """The names of a head's labels in the order of its rows; InputError where config.json leaves one out."""
    numbers = sorted(config.id2label)
    if numbers != list(range(len(numbers))):
        raise InputError(
            f"id2label in config.json has names for {listed(list(map(str, numbers)))}; expected a name for each number "
            f"from 0 to {len(numbers) - 1}, since the head has {len(numbers)} rows. Number the labels from 0, without "
            "gaps."
        )
    return [config.id2label[number] for number in numbers]


def label_numbers(config: BertConfig) -> dict[str, int]:
    """The row of each label in a head.  By ``id2label``, which predictions go by, here and in transformers.

    Raises InputError for gaps, and where two labels have one name.
    """
    names = label_names(config)
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise InputError(
            f"id2label in config.json gives the name {shortened(name)} to {count} labels; nobody "
            "could tell them apart. Give each label a name of its own."
        )
    return {name: number for number, name in enumerate(names)}


def check_labels(config: BertConfig) -> None:
    """Raise InputError for labels that cannot be told apart; say when ``label2id`` contradicts ``id2label``."""
    numbers = label_numbers(config)
    said = {name: number for name, number in config.label2id.items() if name in numbers and numbers[name] != number}
    if said:
        name, number = next(iter(said.items()))
        logger.warning(
            "In config.json label2id says that %r is %s, and id2label that it is %s; predictions go by id2label.",
            name, number, numbers[name],
        )  # fmt: skip


def check_classes(path: Path, column: str, labels: Sequence[str]) -> None:
    """Raise InputError when the labels of all rows are one class, or none."""
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


def say_joined(path: Path, column: str, labels: Sequence[str]) -> None:
    """Say when labels look like several with a separator between: ``fun|long`` would be a class of its own."""
    counts = Counter(labels)
    for separator in SEPARATORS:
        joined = {name: name.split(separator) for name in counts if separator in name.strip(separator)}
        parts = Counter(part.strip() for some in joined.values() for part in some)
        # A comma may belong to a name: then its halves stand nowhere else.
        known = all(part in counts or parts[part] > 1 for part in parts)
        if joined and (separator == "|" or known):
            logger.warning(
                "%s: %d of %d rows have several labels in %r, such as %r; each such combination is learned as a class "
                "of its own. For several labels a text: --multi-label%s.",
                path, sum(counts[name] for name in joined), len(labels), column, next(iter(joined)),
                "" if separator == "|" else f" --separator {separator!r}",
            )  # fmt: skip
            return


def say_imbalance(path: Path, column: str, labels: Sequence[str]) -> None:
    """Say when one class has many times as many rows as another."""
    ordered = Counter(labels).most_common()
    (most, many), (least, few) = ordered[0], ordered[-1]
    if many >= UNEVEN * few:
        logger.warning(
            "%s: in %r %s has %d of %d rows, %s has %d. A model that always says %s is right in %.1f %%: look at macro "
            "F1, and at --class-weights balanced.",
            path, column, shortened(most), many, len(labels), shortened(least), few, shortened(most),
            100 * many / len(labels),
        )  # fmt: skip


def listed(names: Sequence[str]) -> str:
    """Some names, for a sentence."""
    shown = ", ".join(map(shortened, names[:SHOWN]))
    return f"{shown} and {len(names) - SHOWN} more" if len(names) > SHOWN else shown


def check_head(source: str, config: BertConfig, wanted: dict[str, Any]) -> dict[str, Any]:
    """The labels to train the head with that a fine-tuned checkpoint brings: its own.

    Its names and their order hold; data that lacks some of them is no reason for a new head.  Raises InputError when
    the data has labels that the head does not.
    """
    own = label_names(config)
    names = list(wanted["id2label"].values())
    kind, asked = config.problem_type or SINGLE, wanted.get("problem_type") or SINGLE
    if asked == "regression" and len(own) == 1 and config.problem_type in (None, "regression"):
        return {**wanted, **label_settings([own[0]])}
    unknown = [name for name in names if name not in own]
    if unknown or kind != asked:
        has = HEADS.get(kind, "for {count} labels").format(count=len(own))
        asks = ASKED.get(asked, "{count} ({names})").format(count=len(names), names=listed(names))
        raise InputError(
            f"{source} has a head {has} ({listed(own)}), but the data asks for {asks}. To put a new head in its place, "
            "ask for a fresh one (--fresh-head)."
        )
    if len(names) < len(own):
        logger.warning(
            "%s knows %d labels and keeps them; the training data has %d of these (%s).",
            source, len(own), len(names), listed(names),
        )  # fmt: skip
    return {**wanted, **label_settings(own)}
