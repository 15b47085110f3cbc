"""What the reports of verification say, in English, Korean and Chinese: mistakes, causes, labels and notes.

A folder for each language has the same files with the same keys:

- ``mistakes.json``: a title and a sentence for every key of mistakes/.  A sentence has blanks for the mistake's details
  ("{scale}"); ``details`` and ``patterns`` translate what fills them, where it is words.
- ``reports.json``: the labels and conclusions of all reports (``words``), and the notes that code writes in English
  (``notes``), which :func:`retold` recognizes.
- ``tokenizers.json`` and ``training.json``: a sentence for each cause that two tokenizers or two training runs part.

To add a mistake, add its key to all three languages; tests/verify/test_sentences.py says what is missing.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from minibert.errors import InputError

__all__ = ["LANGUAGES", "cause", "retold", "sentence", "title", "word"]

LANGUAGES = ("en", "ko", "zh")


@dataclass(frozen=True)
class Entry:
    """What is said of one mistake."""

    title: str  # at most five words
    sentence: str  # what is wrong, and why it matters or how to mend it; blanks in braces


@dataclass(frozen=True)
class Language:
    """One of the three folders.

    Attributes:
        mistakes: key → what is said of it.
        details: the English words of a blank → theirs in this language.
        patterns: regular expression → replacement, for words with numbers in them ("layers 0–3").
        words: key → label or conclusion of a report.
        notes: key → note.
        causes: "tokenizers" or "training" → key → sentence.
    """

    mistakes: Mapping[str, Entry]
    details: Mapping[str, str]
    patterns: Mapping[str, str]
    words: Mapping[str, str]
    notes: Mapping[str, str]
    causes: Mapping[str, Mapping[str, str]]

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
    return filled(text, {name: told.said(str(value)) for name, value in details.items()}, mistake_key)


def title(mistake_key: str, language: str = "en") -> str:
    """The mistake in at most five words.

    Raises InputError for an unknown language or key.
    """
    return entry(mistake_key, language).title


def word(key: str, language: str = "en", /, **details: object) -> str:
    """A label or conclusion of a report, for example "computed".

    Raises InputError for an unknown language or key, and where a blank has nothing to fill it.
    """
    words = speak(language).words
    if key not in words:
        raise InputError(f"The reports have no word {key!r}; those they have are in minibert/verify/sentences.")
    return filled(words[key], details, key)


def cause(of: str, key: str, details: Mapping[str, object], language: str = "en") -> str:
    """Why two tokenizers (``of="tokenizers"``) or two training runs (``of="training"``) part.

    Raises InputError for an unknown language or key, and where a blank has nothing to fill it.
    """
    causes = speak(language).causes[of]
    if key not in causes:
        raise InputError(f"No sentence for the cause {key!r}; the keys are in minibert/verify/sentences.")
    return filled(causes[key], details, key)


def retold(note: str, language: str = "en") -> str:
    """An English note in another language; one that ``notes`` of reports.json does not have, as it is.

    Raises InputError for an unknown language.
    """
    notes = speak(language).notes
    if language == "en":
        return note
    for key, pattern in _patterns_of_notes().items():
        if found := pattern.fullmatch(note):
            return notes[key].format_map(found.groupdict())
    return note


@cache
def _patterns_of_notes() -> dict[str, re.Pattern[str]]:
    """The English notes as regular expressions, with a group for each blank."""
    patterns = {}
    for key, text in speak("en").notes.items():
        parts = re.split(r"{(\w+)}", text)
        literal = "".join(re.escape(part) if i % 2 == 0 else f"(?P<{part}>.*)" for i, part in enumerate(parts))
        patterns[key] = re.compile(literal, re.DOTALL)
    return patterns


def entry(mistake_key: str, language: str) -> Entry:
    """Title and sentence of a key; InputError where there is none."""
    mistakes = speak(language).mistakes
    if mistake_key not in mistakes:
        raise InputError(f"No sentence for the mistake {mistake_key!r}; the keys are in minibert/verify/sentences.")
    return mistakes[mistake_key]


def filled(text: str, details: Mapping[str, object], key: str) -> str:
    """A text with its blanks filled; InputError where a blank has nothing to fill it."""
    missing = sorted(blanks(text) - set(details))
    if missing:
        raise InputError(f"The sentence of {key!r} has blanks that details does not fill: {', '.join(missing)}.")
    return text.format_map(details)


def blanks(text: str) -> frozenset[str]:
    """The names in braces."""
    return frozenset(re.findall(r"{(\w+)}", text))


def speak(language: str) -> Language:
    """A language's folder; InputError for one that there is none of."""
    if language not in LANGUAGES:
        raise InputError(f"language is {language!r}; there are sentences in {', '.join(map(repr, LANGUAGES))}.")
    return _read(language)


@cache
def _read(language: str) -> Language:
    folder = Path(__file__).with_name(language)
    files = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    mistakes, reports = files["mistakes"], files["reports"]
    return Language(
        {key: Entry(**said) for key, said in mistakes["mistakes"].items()},
        mistakes.get("details", {}),
        mistakes.get("patterns", {}),
        reports["words"],
        reports["notes"],
        {name: files[name] for name in ("tokenizers", "training")},
    )
