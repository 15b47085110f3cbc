"""Tokens that stay whole: [CLS], [MASK] and those that users add, found in the text before it is cleaned.

Google's tokenization.py would split "[MASK]" at its brackets.  The ecosystem (the ``tokenizers`` library's
AddedVocabulary) finds such tokens first: the left-most match, the longest if several begin there, even inside a word.
A token with ``normalized=True`` is searched for later, in the normalized text.  Start with ``Finder.split``.
"""

import re
import sys
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, replace
from typing import Any

from minibert.errors import TokenizerError
from minibert.tokenizer.characters import is_white_space, is_word_character


@dataclass(frozen=True)
class AddedToken:
    """A token that WordPiece never sees.  ``normalized=None`` means True, and False for special tokens.

    ``single_word`` matches only between non-word characters; ``lstrip`` and ``rstrip`` include the spaces beside it.
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
            raise TokenizerError(f"{self!r:.200} is not a token: its content must be text, its flags True or False.")
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
        """An AddedToken from text, a dictionary of fields, an AddedToken, or the ``tokenizers`` library's."""
        if isinstance(value, AddedToken):
            return value
        if isinstance(value, str):
            return cls(value, special=special)
        if hasattr(value, "content"):
            value = {name: getattr(value, name, None) for name in cls.__dataclass_fields__}
        if not isinstance(value, dict) or "content" not in value:
            raise TokenizerError(f"{value!r:.80} is not a token; expected its text or an AddedToken.")
        known = {name: value[name] for name in cls.__dataclass_fields__ if value.get(name) is not None}
        return cls(**{"special": special, **known})


Part = tuple[AddedToken | None, int, int]  # token, start, end; the token is None for text between added tokens


class Finder:
    """Finds added tokens in texts.

    ``special`` holds the contents that count as special; ``form_of`` maps a content to the text that is searched for.
    """

    def __init__(
        self, tokens: Iterable[AddedToken], special: AbstractSet[str] = frozenset(), form_of: Callable[[str], str] = str
    ) -> None:
        self._special = special
        self._by_form = {form: token for token in tokens if (form := form_of(token.content))}
        # Python takes the first alternative that matches, so the longest come first.
        forms = sorted(self._by_form, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, forms))) if forms else None
        self.longest = len(forms[0]) if forms else 0  # characters of the longest form
        firsts = sorted({form[0] for form in forms})
        self._only = firsts[0] if len(firsts) == 1 else None  # usually "[": ``in`` is faster than a regular expression
        self._first = re.compile(f"[{''.join(map(re.escape, firsts))}]") if firsts else None

    def may_find(self, text: str) -> bool:
        """False if no token can be in ``text``; much cheaper than ``split``."""
        if self._only is not None:
            return self._only in text
        return self._first is not None and self._first.search(text) is not None

    def is_in(self, text: str, start: int = 0, end: int = sys.maxsize) -> bool:
        """Whether ``text[start:end]`` holds what a token is searched by."""
        return self._pattern is not None and self._pattern.search(text, start, end) is not None

    def split(self, text: str, ignore_special: bool = False) -> Iterator[Part]:
        """``text`` as added tokens and the stretches between them, in order, none of them empty.

        With ``ignore_special``, special tokens stay part of the stretches.  A token that was once added as special
        remains special, even if it is added again as a plain one, as in the ``tokenizers`` library.
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
                start = max(start, position)  # the previous token may have included these spaces
            if token.rstrip:
                while end < len(text) and is_white_space(text[end]):
                    end += 1
            if position < start:
                yield None, position, start
            if start < end:  # a token of spaces is empty if the previous one included them
                yield token, start, end
            position = end
        if position < len(text):
            yield None, position, len(text)
