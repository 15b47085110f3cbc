"""Tokens that stay whole: [CLS], [MASK] and whatever the user adds, found in the text before anything is cleaned.

Google's tokenization.py would break "[MASK]" at its brackets; the ecosystem (the ``tokenizers`` library's
AddedVocabulary) cuts such tokens out first, at the left-most place and the longest there, even inside a word.
A token with ``normalized=True`` is looked for later, in the normalized text.  Look first at ``Finder.split``.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

_WORD_CHARACTER = re.compile(r"\w")
# Rust's \s is the Unicode property White_Space; Python's \s also takes the four separators U+001C..U+001F.
_SPACES = r"[^\S\x1c-\x1f]*"
_SPACES_AFTER = re.compile(_SPACES)
_SPACES_BEFORE = re.compile(_SPACES + r"\Z")


@dataclass(frozen=True)
class AddedToken:
    """A token that WordPiece never sees.  ``normalized=None`` means: look for it as written if it is special.

    ``single_word`` matches only between non-word characters; ``lstrip``/``rstrip`` take the spaces beside it.
    """

    content: str
    single_word: bool = False
    lstrip: bool = False
    rstrip: bool = False
    normalized: bool | None = None
    special: bool = False

    def __post_init__(self) -> None:
        if self.normalized is None:
            object.__setattr__(self, "normalized", not self.special)

    def __str__(self) -> str:
        return self.content

    def to_json(self) -> dict[str, Any]:
        """The fields as the files write them."""
        return asdict(self)

    @classmethod
    def of(cls, value: "str | AddedToken | dict[str, Any]", special: bool = False) -> "AddedToken":
        """What a file or a caller gave: the bare text, the fields, or the token itself."""
        if isinstance(value, AddedToken):
            return value
        if isinstance(value, dict):
            known = {name: value[name] for name in cls.__dataclass_fields__ if name in value}
            return cls(**{"special": special, **known})
        return cls(value, special=special)


Part = tuple[AddedToken | None, int, int]  # an added token or None for text between, start, end


class Finder:
    """Finds a set of added tokens in texts; ``written`` gives the form in which a token is looked for."""

    def __init__(self, tokens: Iterable[AddedToken], written: Callable[[str], str] = str) -> None:
        self._by_form = {form: token for token in tokens if (form := written(token.content))}
        # Python's alternation takes the first that fits: longest first makes it the left-most longest.
        forms = sorted(self._by_form, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, forms))) if forms else None
        firsts = "".join(sorted({re.escape(form[0]) for form in forms}))
        self._first = re.compile(f"[{firsts}]") if firsts else None

    def may_find(self, text: str) -> bool:
        """False when no token can be in ``text``; much cheaper than looking."""
        return self._first is not None and self._first.search(text) is not None

    def split(self, text: str, ignore_special: bool = False) -> Iterator[Part]:
        """``text`` cut into added tokens and the stretches between them, in order, nothing empty.

        With ``ignore_special`` special tokens are passed over and end up in the stretches.
        """
        position = 0
        for match in self._pattern.finditer(text) if self._pattern and self.may_find(text) else ():
            token = self._by_form[match.group()]
            start, end = match.span()
            if ignore_special and token.special:
                continue
            if token.single_word and (_ends_in_word(text[:start]) or _begins_with_word(text[end:])):
                continue
            if token.lstrip and (spaces := _SPACES_BEFORE.search(text, position, start)):
                start = spaces.start()
            if token.rstrip and (spaces := _SPACES_AFTER.match(text, end)):
                end = spaces.end()
            if position < start:
                yield None, position, start
            yield token, start, end
            position = end
        if position < len(text):
            yield None, position, len(text)


def _ends_in_word(text: str) -> bool:
    return bool(text) and _WORD_CHARACTER.match(text[-1]) is not None


def _begins_with_word(text: str) -> bool:
    return _WORD_CHARACTER.match(text) is not None
