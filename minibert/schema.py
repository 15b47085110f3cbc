"""The values that a settings file may hold: for each key of a JSON file, its type and range.

A file can contain anything: a number as text, a list instead of a name, NaN.  Each reader checks a file against a table
of these, so that a message names the file, the key, the value and what was expected.  Unknown keys are not checked.
Start with :func:`check_settings`.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from minibert.errors import CheckpointError, MinibertError

LONGEST_SHOWN = 80  # characters of a wrong value in a message


class Kind(NamedTuple):
    """A set of values: a test, and the set's name in messages."""

    holds: Callable[[Any], bool]
    expected: str


def check_settings(
    content: Mapping[str, Any],
    schema: Mapping[str, Kind],
    origin: Path | str,
    error: type[MinibertError] = CheckpointError,
) -> None:
    """Raise ``error``, naming ``origin`` (the file), the key, the value and what was expected, for a wrong value."""
    for key, kind in schema.items():
        if key in content and not kind.holds(content[key]):
            raise error(f"{origin}: {key} is {shown(content[key])}; expected {kind.expected}.")


def shown(value: Any) -> str:
    """``value`` as in its file, cut to a readable length."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):
        text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def optional(kind: Kind) -> Kind:
    """``kind``, or null."""
    return Kind(lambda x: x is None or kind.holds(x), f"{kind.expected}, or null")


def one_of(*values: Any) -> Kind:
    """One of ``values``; true, 1 and 1.0 are different."""
    listed = ", ".join(map(shown, values))
    return Kind(lambda x: any(type(x) is type(value) and x == value for value in values), f"one of {listed}")


def list_of(kind: Kind) -> Kind:
    """A list, each element of ``kind``."""
    return Kind(lambda x: isinstance(x, list | tuple) and all(map(kind.holds, x)), f"a list, each {kind.expected}")


def object_of(kind: Kind) -> Kind:
    """A JSON object, each value of ``kind``."""
    return Kind(
        lambda x: isinstance(x, dict) and all(map(kind.holds, x.values())), f"an object, each value {kind.expected}"
    )


def either(*kinds: Kind) -> Kind:
    """A value of any of ``kinds``."""
    return Kind(lambda x: any(kind.holds(x) for kind in kinds), " or ".join(kind.expected for kind in kinds))


def is_real(value: Any) -> bool:
    """Whether ``value`` is a finite number, not a boolean.  JSON readers also accept NaN and Infinity."""
    return type(value) is int or (type(value) is float and math.isfinite(value))  # isfinite raises for ints above 1e308


# type(), not isinstance, because True is an int.  Sizes have a limit because torch counts bytes in 63 bits, and a table
# has the product of two sizes.
SIZE = Kind(lambda x: type(x) is int and 1 <= x < 1 << 28, "a whole number of at least 1, below 2^28")
COUNT = Kind(lambda x: type(x) is int and 0 <= x < 1 << 28, "a whole number of at least 0, below 2^28")
NUMBER = Kind(is_real, "a number")
RATE = Kind(lambda x: is_real(x) and 0 <= x <= 1, "a number between 0 and 1")
FLAG = Kind(lambda x: type(x) is bool, "true or false")
NAME = Kind(lambda x: isinstance(x, str), "a name")
TEXT = Kind(lambda x: isinstance(x, str), "a text")
