"""What the beginning of a long JSON object says, the rest of which is not there.

The members of the object are read one after the other with the json module.  The last may be a string that goes on: it
is closed where the beginning ends, before an escape that is not complete.  Start with :func:`parse_beginning`.
"""

import json
import re
from collections.abc import Sequence
from json import JSONDecodeError, JSONDecoder
from typing import Any

from minibert.data.beginnings import CutText

DECODE = JSONDecoder().raw_decode
SPACE = re.compile(r"[ \t\n\r]*")
LONGEST_ESCAPE = len("\\ud83d\\ude00")  # of one character
HIGH = re.compile("[\ud800-\udbff]\\Z")  # half of a character, at the end


class Ends(Exception):
    """The beginning ends here, and the object goes on."""


def parse_beginning(beginning: str, names: Sequence[str] | None) -> dict[str, Any]:
    """The members of the object that are in its beginning, whole or, as the last one, a CutText.

    ``names``: those that are needed; None: all.  Raises JSONDecodeError for what is no JSON, and
    ValueError for what is no object.
    """
    place = after_space(beginning, 0)
    if beginning[place : place + 1] != "{":
        raise ValueError("it is no object")
    found: dict[str, Any] = {}
    try:
        place = after_space(beginning, place + 1)
        while beginning[place : place + 1] != "}":
            name, place = member(beginning, place)
            place = expect(":", beginning, place)
            found[name], place = value(beginning, place)
            if isinstance(found[name], CutText):
                break
            place = after_space(beginning, place)
            if beginning[place : place + 1] != "}":
                place = expect(",", beginning, place)
    except Ends:
        pass
    return found if names is None else {name: found[name] for name in names if name in found}


def after_space(text: str, place: int) -> int:
    """The place of the next character that is no space."""
    match = SPACE.match(text, place)
    assert match is not None
    return match.end()


def expect(character: str, text: str, place: int) -> int:
    """The place of what comes after this character and the spaces around it."""
    place = after_space(text, place)
    if place == len(text):
        raise Ends
    if text[place] != character:
        raise JSONDecodeError(f"Expecting {character!r} delimiter", text[:100], place)
    return after_space(text, place + 1)


def member(text: str, place: int) -> tuple[str, int]:
    """A name, and the place after it."""
    if place < len(text) and text[place] != '"':
        raise JSONDecodeError("Expecting property name enclosed in double quotes", text[:100], place)
    name, place = value(text, place)
    if isinstance(name, CutText):
        raise Ends
    return name, place


def value(text: str, place: int) -> tuple[Any, int]:
    """A value, and the place after it; raises Ends for one that goes on, unless it is a string."""
    try:
        found, end = DECODE(text, place)
    except JSONDecodeError as error:
        if text[place : place + 1] == '"' and is_at_end(error, text):
            return closed(text[place:], error), len(text)
        if is_at_end(error, text):
            raise Ends from None
        raise
    if end == len(text):  # 12 may be the beginning of 123
        raise Ends
    return found, end


def is_at_end(error: JSONDecodeError, text: str) -> bool:
    """Whether something is missing after the end of ``text``, and not wrong in it."""
    return error.msg.startswith("Unterminated string") or error.pos >= len(text) - LONGEST_ESCAPE


def closed(string: str, error: JSONDecodeError) -> CutText:
    """A string that begins with a quote and goes on, up to its last whole character."""
    for end in range(len(string), max(0, len(string) - LONGEST_ESCAPE), -1):
        try:
            found = json.loads(string[:end] + '"')
        except JSONDecodeError:  # the quote ended no string but an escape
            continue
        if not HIGH.search(found):
            return CutText(found)
    raise error
