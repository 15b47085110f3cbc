"""Sentences that Python says in the page: what is left out, why a view is missing, what is wrong with a request.

The page shows them in its own language, so they travel as a key of its words (static/words/) with the values of the
places.  ``str()`` gives the English sentence.
"""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from minibert.errors import InputError

WORDS = Path(__file__).parent / "static" / "words"
LANGUAGES = ("en", "ko", "zh")
PLACE = re.compile(r"\{(\w+)(?:\|([^|{}]*)\|([^|{}]*))?\}")  # {name}, or {name|one|other}


@cache
def words(language: str) -> dict[str, str]:
    """Key → text of the page in one of LANGUAGES: the object in static/words/, which is JSON."""
    script = (WORDS / f"{language}.js").read_text(encoding="utf-8")
    found: dict[str, str] = json.loads(script[script.index("= {") + 2 : script.rindex("}") + 1])
    return found


@dataclass(frozen=True)
class Sentence:
    """One sentence: its key, and the values of its places."""

    key: str
    places: dict[str, str | int]

    @classmethod
    def of(cls, key: str, **places: str | int) -> "Sentence":
        """The sentence of ``key``; it must be among the words of the page."""
        return cls(key, places)

    def __str__(self) -> str:
        def value_of(place: re.Match[str]) -> str:
            value = self.places[place[1]]
            return str(value) if place[2] is None else place[2 if value == 1 else 3]

        return PLACE.sub(value_of, words("en")[self.key])

    def describe(self) -> dict[str, Any]:
        """The sentence for the page."""
        return {"key": self.key, "places": self.places}

    def as_reason(self) -> dict[str, Any]:
        """In place of a view that cannot be made."""
        return {"reason": self.describe()}


class PageError(InputError):
    """An input that is refused with one of the page's sentences."""

    def __init__(self, key: str, **places: str | int) -> None:
        self.sentence = Sentence.of(key, **places)
        super().__init__(str(self.sentence))
