"""The values of one row by the names of their columns, checked one by one: a text, a number, a list, an id."""

import math
from collections.abc import Mapping
from reprlib import repr as shortened
from typing import Any

from minibert.data.rows import Unreadable, checked_text

Cells = Mapping[str, Any]  # the values of a row by the names of their columns


def value_in(cells: Cells, name: str) -> Any:
    """The value in a column; raises Unreadable for a missing one and for text that holds what no text may hold."""
    if name not in cells:
        raise Unreadable(f"has no {name!r}")
    value = cells[name]
    return checked_text(value) if isinstance(value, str) else value


def text_in(cells: Cells, name: str) -> str:
    """The text in a column; raises Unreadable."""
    value = value_in(cells, name)
    if not isinstance(value, str):
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected text")
    return value


def id_in(cells: Cells, name: str) -> str | int:
    """The id in a column, text or a whole number; raises Unreadable."""
    value = value_in(cells, name)
    if type(value) not in (str, int):  # True is an int for isinstance
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected text or a whole number")
    identity: str | int = value
    return identity


def number_in(cells: Cells, name: str) -> float:
    """The finite number in a column, written as a number or as text; raises Unreadable."""
    value = value_in(cells, name)
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected a number")
    return number


def whole_in(cells: Cells, name: str) -> int:
    """The whole number in a column, 0 or more; raises Unreadable."""
    number = number_in(cells, name)
    if number < 0 or number != int(number):
        raise Unreadable(f"has {shortened(cells[name])} in {name!r}, expected a whole number of at least 0")
    return int(number)


def list_in(cells: Cells, name: str) -> list[Any]:
    """The list in a column; raises Unreadable."""
    value = value_in(cells, name)
    if not isinstance(value, list):
        raise Unreadable(f"has {shortened(value)} in {name!r}, expected a list")
    return value


def where_it_stands(part: str, text: str) -> str:
    """A hint for the message that ``part`` is not where a row says it is."""
    place = text.find(part)
    return f"it stands at {place}" if place >= 0 else "it stands nowhere in the text"
