"""The labels of a head: in the training data, numbered, and kept in the config, as in transformers.

``id2label`` and ``label2id`` name the rows of a head.  Dev data, scores and predictions take the labels from there.
Start with :func:`label_settings`.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from reprlib import repr as shortened
from typing import Any

from minibert.config import BertConfig
from minibert.data.labels import listed
from minibert.errors import InputError

logger = logging.getLogger("minibert.finetuning")
SINGLE = "single_label_classification"
HEADS = {"regression": "to predict a number", "multi_label_classification": "for any number of {count} labels"}
ASKED = {"regression": "one number", "multi_label_classification": "any number of {count} labels a text ({names})"}


def label_settings(names: Sequence[str]) -> dict[str, Any]:
    """The fields of a config that name the labels."""
    return {"id2label": dict(enumerate(names)), "label2id": {name: number for number, name in enumerate(names)}}


def label_names(config: BertConfig) -> list[str]:
    """The names of a head's labels in the order of its rows; InputError where config.json lacks one."""
    numbers = sorted(config.id2label)
    if numbers != list(range(len(numbers))):
        raise InputError(
            f"id2label in config.json has names for {listed(list(map(str, numbers)))}; expected a name for each number "
            f"from 0 to {len(numbers) - 1}, since the head has {len(numbers)} rows. Number the labels from 0, without "
            "gaps."
        )
    return [config.id2label[number] for number in numbers]


def label_numbers(config: BertConfig) -> dict[str, int]:
    """The row of each label in a head, by ``id2label``, which predictions use here and in transformers.

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
    """Raise InputError for labels that cannot be told apart; warn when ``label2id`` contradicts ``id2label``."""
    numbers = label_numbers(config)
    contrary = {name: number for name, number in config.label2id.items() if numbers.get(name, number) != number}
    if contrary:
        name, number = next(iter(contrary.items()))
        logger.warning(
            "In config.json label2id says that %r is %s, and id2label that it is %s; predictions go by id2label.",
            name, number, numbers[name],
        )  # fmt: skip


def check_head(source: str, config: BertConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """``settings``, which the data asks for, with the labels of a fine-tuned checkpoint's head, in its order.

    The data may lack some of the labels.  Raises InputError when it has labels that the head does not.
    """
    own = label_names(config)
    names = list(settings["id2label"].values())
    problem, asked = config.problem_type or SINGLE, settings.get("problem_type") or SINGLE
    if asked == "regression" and len(own) == 1 and config.problem_type in (None, "regression"):
        return {**settings, **label_settings([own[0]])}
    if problem != asked or not set(names) <= set(own):
        has = HEADS.get(problem, "for {count} labels").format(count=len(own))
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
    return {**settings, **label_settings(own)}
