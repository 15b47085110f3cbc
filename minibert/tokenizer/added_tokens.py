"""Tokens that stay whole: [CLS], [MASK] and whatever the user adds, found in the text before anything is cleaned.

Google's tokenization.py would break "[MASK]" at its brackets; the ecosystem (the ``tokenizers`` library's
AddedVocabulary) cuts such tokens out first, at the left-most place and the longest there, even inside a word.
A token with ``normalized=True`` is looked for later, in the normalized text.  Look first at ``Finder.split``.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.characters import is_white_space, is_word_character


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
        flags = (self.single_word, self.lstrip, self.rstrip, self.special)
        if not isinstance(self.content, str) or not all(isinstance(flag, bool) for flag in flags):
            raise TokenizerError(f"{self!r:.200} is no token: its content must be text, its flags True or False.")
        if self.normalized is None:
            object.__setattr__(self, "normalized", not self.special)

    def __str__(self) -> str:
        return self.content

    def as_special(self) -> "AddedToken":
        """The same token, special."""
        return replace(self, special=True)

    def to_json(self) -> dict[str, Any]:
        """The fields as the files write them."""
        return asdict(self)

    @classmethod
    def of(cls, value: Any, special: bool = False) -> "AddedToken":
        """What a file or a caller gave: bare text, the fields, the token itself, or the ``tokenizers`` library's."""
        if isinstance(value, AddedToken):
            return value
        if isinstance(value, str):
            return cls(value, special=special)
        if hasattr(value, "content"):
            value = {name: getattr(value, name, None) for name in cls.__dataclass_fields__}
        if not isinstance(value, dict) or "content" not in value:
            raise TokenizerError(f"{value!r:.80} is no token; expected its text or an AddedToken.")
        known = {name: value[name] for name in cls.__dataclass_fields__ if value.get(name) is not None}
        return cls(**{"special": special, **known})


Part = tuple[AddedToken | None, int, int]  # an added token or None for text between, start, end


class Finder:
    """Finds a set of added tokens in texts.

    ``special`` holds the contents that count as special tokens, ``written`` gives the form a token is looked for in.
    """

    def __init__(
        self, tokens: Iterable[AddedToken], special: AbstractSet[str] = frozenset(), written: Callable[[str], str] = str
    ) -> None:
        self._special = special
        self._by_form = {form: token for token in tokens if (form := written(token.content))}
        # Python's alternation takes the first that fits: longest first makes it the left-most longest.
        forms = sorted(self._by_form, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, forms))) if forms else None
        firsts = sorted({form[0] for form in forms})
        self._only = firsts[0] if len(firsts) == 1 else None  # "[", mostly: soon found without an expression
        self._first = re.compile(f"[{''.join(map(re.escape, firsts))}]") if firsts else None

    def may_find(self, text: str) -> bool:
        """False when no token can be in ``text``; much cheaper than looking."""
        if self._only is not None:
            return self._only in text
        return self._first is not None and self._first.search(text) is not None

    def split(self, text: str, ignore_special: bool = False) -> Iterator[Part]:
        """``text`` cut into added tokens and the stretches between them, in order, nothing empty.

        With ``ignore_special`` special tokens are passed over and end up in the stretches.  A token that was ever
        added as special stays so, whatever it was added as later: the library keeps the set.
        """
        position = 0
        for match in self._pattern.finditer(text) if self._pattern and self.may_find(text) else ():
            token = self._by_form[match.group()]
            start, end = match.span()
            if ignore_special and token.content in self._special:
                continue
            if token.single_word and (
                is_word_character(text[start - 1 : start]) or is_word_character(text[end : end + 1])
            ):
                continue
            if token.lstrip:
                while start > position and is_white_space(text[start - 1]):
                    start -= 1
                start = max(start, position)  # the token before may have taken the spaces that this one begins with
            if token.rstrip:
                while end < len(text) and is_white_space(text[end]):
                    end += 1
            if position < start:
                yield None, position, start
            if start < end:  # nothing is left of a token that is all spaces, taken by the one before
                yield token, start, end
            position = end
        if position < len(text):
            yield None, position, len(text)
