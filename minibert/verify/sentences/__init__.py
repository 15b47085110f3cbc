"""What each known mistake is called and what the learner is told about it, in English, Korean and Chinese.

``en.json``, ``ko.json`` and ``zh.json`` have a title and a sentence for every key of mistakes/.  A sentence has blanks
for the mistake's details ("{scale}"); ``details`` and ``patterns`` translate what fills them, where it is words.
To add a mistake, add its key to all three files; tests/verify/test_sentences.py says what is missing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minibert.errors import InputError

__all__ = ["LANGUAGES", "sentence", "title"]

LANGUAGES = ("en", "ko", "zh")


@dataclass(frozen=True)
class Entry:
    """What is said of one mistake."""

    title: str  # at most five words
    sentence: str  # what is wrong, and why it matters or how to mend it; blanks in braces


@dataclass(frozen=True)
class Language:
    """One of the three files.

    Attributes:
        mistakes: key → what is said of it.
        details: the English words of a blank → theirs in this language.
        patterns: regular expression → replacement, for words with numbers in them ("layers 0–3").
    """

    mistakes: Mapping[str, Entry]
    details: Mapping[str, str]
    patterns: Mapping[str, str]

    def said(self, detail: str) -> str:
        """A blank's English words in this language; names and numbers as they are."""
        if detail in self.details:
            return self.details[detail]
        for pattern, replacement in self.patterns.items():
            detail = re.sub(pattern, replacement, detail)
        return detail


def sentence(mistake_key: str, details: Mapping[str, str], language: str = "en") -> str:
    """What is wrong, said to the person whose code it is.

    Args:
        mistake_key: for example "attention.no_scale".
        details: what fills the blanks, in English: the mistake's ``details``, and "where" (several places joined).
            More than the sentence has blanks for are allowed.
        language: "en", "ko" or "zh".

    Raises InputError for an unknown language or key, and where a blank has nothing to fill it.
    """
    told = speak(language)
    text = entry(mistake_key, language).sentence
    missing = sorted(blanks(text) - set(details))
    if missing:
        raise InputError(
            f"The sentence of {mistake_key!r} has blanks that details does not fill: {', '.join(missing)}."
        )
    return text.format_map({name: told.said(str(value)) for name, value in details.items()})


def title(mistake_key: str, language: str = "en") -> str:
    """The mistake in at most five words.

    Raises InputError for an unknown language or key.
    """
    return entry(mistake_key, language).title


def entry(mistake_key: str, language: str) -> Entry:
    """Title and sentence of a key; InputError where there is none."""
    mistakes = speak(language).mistakes
    if mistake_key not in mistakes:
        raise InputError(f"No sentence for the mistake {mistake_key!r}; the keys are in minibert/verify/sentences.")
    return mistakes[mistake_key]


def blanks(text: str) -> frozenset[str]:
    """The names in braces."""
    return frozenset(re.findall(r"{(\w+)}", text))


def speak(language: str) -> Language:
    """A language's file; InputError for one that there is none of."""
    if language not in LANGUAGES:
        raise InputError(f"language is {language!r}; there are sentences in {', '.join(map(repr, LANGUAGES))}.")
    return _read(language)


@cache
def _read(language: str) -> Language:
    content = json.loads(Path(__file__).with_name(f"{language}.json").read_text(encoding="utf-8"))
    mistakes = {key: Entry(**said) for key, said in content["mistakes"].items()}
    return Language(mistakes, content.get("details", {}), content.get("patterns", {}))
