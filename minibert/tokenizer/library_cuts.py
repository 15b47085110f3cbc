"""Where a long text may be cut for a pipeline of the ``tokenizers`` library: the ids of the beginning stay the first.

As cuts.py, for what a tokenizer.json describes.  A cut lies before a single space between two ordinary letters.  It is
safe where every step of the normalizer looks at single characters or at the marks beside them, where the pre-tokenizer
ends a word at each space, so that the model sees no further, and where no added token holds a space.  Pipelines of
other steps, which can do anything, read a text whole.  Start with :func:`cuts_at_spaces`.
"""

import json
import re
from collections.abc import Iterable
from typing import Any

from minibert.tokenizer.added_tokens import AddedToken

# Digits, and letters of Latin, Greek, Cyrillic, kana and Hangul: each begins and ends a cluster of its own.  No
# ideographs, around which a BertNormalizer puts spaces.
_LETTER = (
    "[0-9A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f\u0391-\u03a9\u03b1-\u03c9\u0410-\u044f"
    "\u3041-\u3096\u30a1-\u30fa\uac00-\ud7a3]"
)
PLACE = re.compile(f"(?<={_LETTER}) (?={_LETTER})")

NORMALIZERS = {
    "BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled", "Prepend", "Strip",
    "StripAccents",
}  # fmt: skip
SPLITTERS = {"BertPreTokenizer", "ByteLevel", "Metaspace", "Whitespace", "WhitespaceSplit"}
PER_CHARACTER = {"Digits", "Punctuation"}  # these may come before the one that splits at spaces


def cuts_at_spaces(library: Any, added: Iterable[AddedToken]) -> bool:
    """Whether the ids of a text up to a ``PLACE`` are the first ids of the whole, for this tokenizer of the library."""
    normalize = library.normalizer.normalize_str if library.normalizer is not None else str
    forms = [form for token in added for form in (token.content, normalize(token.content).strip(" \u2581"))]
    return (
        all(_is_known(step) for step in _steps(library.normalizer, "normalizers"))
        and _splits(_steps(library.pre_tokenizer, "pretokenizers"))
        and not any(c.isspace() or c == "\u2581" for form in forms for c in form)
        and _never_fails(library)
    )


def _steps(part: Any, name: str) -> list[dict[str, Any]]:
    """The steps of a normalizer or a pre-tokenizer, those of sequences one by one."""
    if part is None:
        return []
    waiting, steps = [json.loads(part.__getstate__())], []
    while waiting:
        step = waiting.pop(0)
        if step.get("type") == "Sequence":
            waiting[:0] = step[name]
        else:
            steps.append(step)
    return steps


def _is_known(step: dict[str, Any]) -> bool:
    """Whether a step of the normalizer gives a beginning, cut at a ``PLACE``, what it gives it in the whole."""
    if step["type"] == "Replace":
        pattern = step["pattern"]
        if "String" in pattern:  # of one character, or such as `` that no place can be in
            return len(pattern["String"]) == 1 or not re.search(f"{_LETTER}|\\s", pattern["String"])
        return bool(pattern == {"Regex": " {2,}"})
    return step["type"] in NORMALIZERS


def _splits(steps: list[dict[str, Any]]) -> bool:
    """Whether the pre-tokenizer ends a word at each single space, before any step that looks at more."""
    for step in steps:
        if step["type"] in SPLITTERS:
            return step.get("split", True) is True and step.get("use_regex", True) is True
        if step["type"] not in PER_CHARACTER:
            return False
    return False


def _never_fails(library: Any) -> bool:
    """Whether the model has ids for any word, so that no word further on in a text is an error, and draws no lots."""
    model = json.loads(library.model.__getstate__())
    if model["type"] == "Unigram":
        return model["unk_id"] is not None or model["byte_fallback"] is True
    if model["type"] == "BPE" and (model["dropout"] or model["unk_token"] is None):
        return not model["dropout"]
    return model["unk_token"] in model["vocab"]
