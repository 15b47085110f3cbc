"""What the workbook says, in English, Korean and Chinese: texts/, a file for each language with the same keys.

A mistake that the table of minibert.verify names has its words there; those of the workbook alone are here.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.learn.words import LANGUAGES
from minibert.verify.sentences import sentence, title

FOLDER = Path(__file__).with_name("texts")


def check_language(language: str) -> None:
    """InputError for a language that there is none of."""
    if language not in LANGUAGES:
        raise InputError(f"There is no workbook in {language!r}; the languages are {', '.join(LANGUAGES)}.")


@cache
def texts(language: str) -> dict[str, Any]:
    """All of them."""
    check_language(language)
    found: dict[str, Any] = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return found


def word(key: str, language: str, **details: object) -> str:
    """A label of the report."""
    return str(texts(language)["words"][key]).format(**details)


def mistake_title(key: str, language: str) -> str:
    """A known mistake in a few words."""
    own = texts(language)["mistakes"]
    return str(own[key]["title"]) if key in own else title(key, language)


def mistake_sentence(key: str, details: Mapping[str, str], language: str, step: str) -> str:
    """What is wrong and how to mend it.  ``step`` stands for the place where the details name none."""
    own = texts(language)["mistakes"]
    if key in own:
        return str(own[key]["sentence"]).format(**details)
    return sentence(key, {"where": step, **details}, language)
