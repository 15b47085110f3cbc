"""Weights of classes in the loss: so that rare ones are not drowned by common ones.

A text of a class with weight w counts w times in the mean of a step, as with ``weight`` of torch's CrossEntropyLoss.
"balanced" gives each class the same total weight: rows / (classes · rows of the class), as scikit-learn has it.
"""

import math
from collections.abc import Mapping, Sequence
from numbers import Real
from reprlib import repr as shortened

from minibert.data.labels import listed, sorted_labels
from minibert.errors import InputError

Weights = str | Mapping[str, float] | Sequence[float] | None
BALANCED = "balanced"


def class_weights(given: Weights, counts: Mapping[str, int]) -> dict[str, float] | None:
    """The weight of each class by its name; ``counts``: how many rows each has.

    Raises InputError for weights that are none, or not of these classes.
    """
    if given == BALANCED:
        total = sum(counts.values())
        return {name: total / (len(counts) * count) for name, count in sorted(counts.items())}
    return given_weights(given, list(counts))


def given_weights(given: Weights, labels: Sequence[str]) -> dict[str, float] | None:
    """Weights that are given as numbers, by name; labels that are not mentioned have 1."""
    names = sorted_labels(labels)
    if given is None:
        return None
    if isinstance(given, str):
        raise InputError(
            f"class_weights is {shortened(given)}; expected {BALANCED!r}, a number for each label in their order "
            f"({listed(names)}), or numbers by name ({names[0]}=2)."
        )
    if not isinstance(given, Mapping):
        given = given.tolist() if hasattr(given, "tolist") else given  # NumPy's and torch's
        if not isinstance(given, list | tuple):
            raise InputError(f"class_weights is {given!r}; expected a number for each label: {listed(names)}.")
        if len(given) != len(names):
            raise InputError(
                f"class_weights has {len(given)} numbers, and the data {len(names)} labels: {listed(names)}. Give one "
                f"for each in this order, or by name ({names[0]}=2)."
            )
        given = dict(zip(names, given, strict=True))
    for name, weight in given.items():
        if name not in names:
            raise InputError(f"class_weights names {shortened(name)}; the data has {listed(names)}.")
        if not isinstance(weight, Real) or isinstance(weight, bool) or not math.isfinite(weight) or weight <= 0:
            raise InputError(f"class_weights of {shortened(name)} is {weight!r}; expected a number above 0.")
    return {name: float(given.get(name, 1.0)) for name in names}


def in_order(weights: Weights, names: Sequence[str]) -> list[float] | None:
    """The weights of :func:`class_weights` in the order of a head's labels."""
    if weights is None:
        return None
    assert isinstance(weights, Mapping)
    return [weights.get(name, 1.0) for name in names]
