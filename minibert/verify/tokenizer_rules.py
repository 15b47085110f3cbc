"""BERT's tokenizer with every step open to change.

``Rules()`` of a tokenizer gives the results of minibert.tokenizer; ``replace(rules, lower=False)`` those of a tokenizer
with that mistake.  It is written for comparison with wrong tokenizers, not for speed.  Start with ``Rules.pieces``;
tokenizer_mistakes.py has the known mistakes.
"""

import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from minibert.tokenizer import AddedToken, BertTokenizer
from minibert.tokenizer import characters as ch
from minibert.tokenizer.added_tokens import Finder
from minibert.tokenizer.basic import AlignedText, decompose
from minibert.tokenizer.wordpiece import CONTINUATION, MAX_CHARACTERS_PER_WORD

ASCII_PUNCTUATION = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")


@dataclass(frozen=True, eq=False)
class Names:
    """What does not change with the rules: the vocabulary and the added tokens."""

    vocab: Mapping[str, int]
    unk: str
    cls: str
    sep: str
    added: tuple[AddedToken, ...] = ()
    special: frozenset[str] = frozenset()
    id_of: Mapping[str, int | None] = field(default_factory=dict)  # with the added tokens; None: not known

    @cached_property
    def longest(self) -> int:
        """Characters of the longest entry."""
        return max(map(len, self.vocab), default=0)

    @classmethod
    def of(cls, tokenizer: BertTokenizer) -> "Names":
        """Those of a tokenizer."""
        id_of, added = tokenizer.get_vocab(), tokenizer.get_added_vocab()
        searched = {t: i for t, i in id_of.items() if t not in added or i < tokenizer.vocab_size}
        return cls(
            searched,
            str(tokenizer.unk_token),
            str(tokenizer.cls_token),
            str(tokenizer.sep_token),
            tuple(tokenizer.added_tokens_decoder.values()),
            frozenset(tokenizer.all_special_tokens),
            id_of,
        )


@dataclass(frozen=True)
class Rules:
    """One setting for each step, in the order in which they are applied; the defaults are BERT's.

    Attributes:
        form: Unicode normalization of the text before everything else: "", "NFC", "NFD", "NFKC", "NFKD".
        special: special tokens inside text: "whole", "split" as other text, "spaced" (whole only between spaces),
            "any case".
        controls: "dropped", "kept", "kept, split" (kept, and words end at every White_Space), "format kept"
            (category Cf), "spaces", "unassigned too".
        spaces: "all", "Zs" (U+2028 and U+2029 are none), "ASCII" (space, tab, newline, return).
        tabs: tab, newline and return are spaces; else they are dropped as the control characters they are.
        chinese: "spaced", "off", "basic block" (U+4E00–9FFF only), "kana too", "Hangul too".
        strip: accents are stripped.
        marks: what counts as accent: "Mn", "M", "combining" (a class other than 0), "precomposed kept" (no NFD),
            "NFKD", "ASCII" (every letter outside ASCII that NFKD leaves is dropped).
        recompose: NFC after stripping.
        lower: lower-casing.
        case: "each" character by itself, "context" (final sigma), "folded" (casefold), "ASCII".
        lower_first: lower-casing comes before accents are stripped.
        punctuation: "all", "P" (category P only), "ASCII", "none", "symbols too".
        limit: characters of a word; None for none.  ``limit_bytes``: it counts bytes of UTF-8.
        unknown: "word", "piece" (each character without a piece), "rest" (pieces before it are kept), "left out".
        prefix: of pieces inside a word.
        search: "longest", "shortest", "from the end".
        most: pieces at most, [CLS] and [SEP] among them; None for all.  ``cut``: "right", "left", "ends too" ([SEP] is
            cut off as well).
        cls, sep: whether they are added.
        unicode: "tables" of minibert, or "Python"'s own.
    """

    form: str = ""
    special: str = "whole"
    controls: str = "dropped"
    spaces: str = "all"
    tabs: bool = True
    chinese: str = "spaced"
    strip: bool = True
    marks: str = "Mn"
    recompose: bool = False
    lower: bool = True
    case: str = "each"
    lower_first: bool = False
    punctuation: str = "all"
    limit: int | None = MAX_CHARACTERS_PER_WORD
    limit_bytes: bool = False
    unknown: str = "word"
    prefix: str = CONTINUATION
    bare: bool = False  # pieces are given without their prefix
    search: str = "longest"
    most: int | None = None
    cut: str = "right"
    cls: bool = True
    sep: bool = True
    unicode: str = "tables"
    names: Names = field(default_factory=lambda: Names({}, "[UNK]", "[CLS]", "[SEP]"), repr=False)
    _finders: dict[str, Finder] = field(default_factory=dict, compare=False, repr=False)
    _words: dict[str, list[str]] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, tokenizer: BertTokenizer) -> "Rules":
        """The rules of a tokenizer."""
        strips = tokenizer.do_lower_case if tokenizer.strip_accents is None else tokenizer.strip_accents
        return cls(
            lower=tokenizer.do_lower_case,
            strip=strips,
            chinese="spaced" if tokenizer.tokenize_chinese_chars else "off",
            special="split" if tokenizer.split_special_tokens else "whole",
            names=Names.of(tokenizer),
        )

    def but(self, **changes: Any) -> "Rules":
        """These rules with some changed; nothing kept from earlier texts is shared."""
        return replace(self, **changes, _finders={}, _words={})

    def ids(self, pieces: list[str]) -> list[int | None]:
        """The ids of pieces; of one that is in no vocabulary, that of the unknown token; None if it is not known."""
        id_of = self.names.id_of
        unk_id = id_of.get(self.names.unk)
        return [id_of.get(piece, unk_id) for piece in pieces]

    def pieces(self, text: str) -> list[str]:
        """The pieces of a text, [CLS] and [SEP] among them."""
        if self.form:
            text = unicodedata.normalize(self.form, text)  # type: ignore[arg-type]
        pieces: list[str] = []
        for token, part in self._parts(text):
            if token is not None:
                pieces.append(token)
                continue
            for word in self._split(self._normalize(part)):
                pieces += self._wordpiece(word)
        if self.bare:
            pieces = [p.removeprefix(self.prefix) if p not in self.names.special else p for p in pieces]
        return self._framed(pieces)

    def _framed(self, pieces: list[str]) -> list[str]:
        first, last = [self.names.cls] * self.cls, [self.names.sep] * self.sep
        if self.most is None:
            return [*first, *pieces, *last]
        if self.cut == "ends too":
            return [*first, *pieces, *last][: self.most]
        kept = max(0, self.most - len(first) - len(last))
        pieces = (
            pieces if len(pieces) <= kept else pieces[len(pieces) - kept :] if self.cut == "left" else pieces[:kept]
        )
        return [*first, *pieces, *last]

    def _parts(self, text: str) -> Iterator[tuple[str | None, str]]:  # noqa: PLR0912 (one branch for each rule)
        names = self.names
        added = names.added
        if self.special == "split":
            added = tuple(token for token in added if token.content not in names.special)
        if self.special == "spaced":
            words = text.split()
            if not names.special.intersection(words):
                yield None, text
            else:
                for word in words:
                    yield (word, word) if word in names.special else (None, word)
            return
        if not added:
            yield None, text
            return
        if not self._finders:
            fold = str.lower if self.special == "any case" else str
            self._finders["written"] = Finder((t for t in added if not t.normalized), names.special, fold)
            self._finders["normalized"] = Finder((t for t in added if t.normalized), names.special, self._normalize)
        searched = text
        if self.special == "any case":
            searched = "".join(c.lower() if len(c.lower()) == 1 else c for c in text)
        for token, start, end in self._finders["written"].split(searched):
            if token is not None:
                yield token.content, text[start:end]
            elif not any(t.normalized for t in added):
                yield None, text[start:end]
            else:
                part = self._normalize(text[start:end])
                for inner, begin, stop in self._finders["normalized"].split(part):
                    yield (None if inner is None else inner.content), part[begin:stop]

    def _normalize(self, text: str) -> str:
        text = "".join(map(self._cleaned, text))
        if self.chinese != "off":
            text = "".join(f" {c} " if self._is_chinese(c) else c for c in text)
        if self.lower and self.lower_first:
            text = self._lowered(text)
        if self.strip:
            text = self._stripped(text)
        if self.lower and not self.lower_first:
            text = self._lowered(text)
        return text

    def _cleaned(self, c: str) -> str:  # noqa: PLR0911 (one return for each rule)
        if not self.tabs and c in "\t\n\r":
            return ""
        if self._is_space(c):
            return " "
        if self.controls in ("kept", "kept, split"):
            return c
        category = unicodedata.category(c)
        if self.controls == "unassigned too" and category == "Cn":
            return ""
        if self.controls == "format kept" and category == "Cf":
            return c
        is_removed = category in ("Cc", "Cf", "Co") or c == "\ufffd" if self.unicode == "Python" else ch.is_removed(c)
        if is_removed and c not in "\t\n\r":
            return " " if self.controls == "spaces" else ""
        return c

    def _is_space(self, c: str) -> bool:
        if c in " \t\n\r":
            return self.tabs or c == " "
        if self.spaces == "ASCII":
            return False
        if self.controls == "kept, split" and ch.is_white_space(c):
            return True
        if self.spaces == "Zs" and c in "\u2028\u2029":
            return False
        return unicodedata.category(c)[0] == "Z" if self.unicode == "Python" else ch.is_whitespace(c)

    def _is_chinese(self, c: str) -> bool:
        if self.chinese == "basic block":
            return "一" <= c <= "\u9fff"
        if self.chinese == "kana too" and "\u3040" <= c <= "\u30ff":
            return True
        if self.chinese == "Hangul too" and "가" <= c <= "힣":
            return True
        return ch.is_chinese(c)

    def _stripped(self, text: str) -> str:
        if self.marks == "ASCII":
            return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
        if text.isascii():
            return text
        if self.marks == "NFKD":
            text = unicodedata.normalize("NFKD", text)
        elif self.marks != "precomposed kept":
            text = (
                unicodedata.normalize("NFD", text) if self.unicode == "Python" else decompose(AlignedText.of(text)).text
            )
        text = "".join(c for c in text if not self._is_mark(c))
        return unicodedata.normalize("NFC", text) if self.recompose else text

    def _is_mark(self, c: str) -> bool:
        if self.marks == "M":
            return unicodedata.category(c)[0] == "M"
        if self.marks == "combining":
            return unicodedata.combining(c) != 0
        return unicodedata.category(c) == "Mn" if self.unicode == "Python" else ch.is_nonspacing_mark(c)

    def _lowered(self, text: str) -> str:
        if self.case == "context":
            return text.lower()
        if self.case == "folded":
            return text.casefold()
        if self.case == "ASCII":
            return "".join(c.lower() if c.isascii() else c for c in text)
        return "".join(c.lower() for c in text) if self.unicode == "Python" else ch.lowercase(text)

    def _split(self, text: str) -> Iterator[str]:
        word = ""
        for c in text:
            is_space = c == " "
            if not is_space and not self._is_punctuation(c):
                word += c
                continue
            if word:
                yield word
            if not is_space:
                yield c
            word = ""
        if word:
            yield word

    def _is_punctuation(self, c: str) -> bool:
        if c in ASCII_PUNCTUATION:
            return self.punctuation not in ("none", "P") or (
                self.punctuation == "P" and unicodedata.category(c)[0] == "P"
            )
        if self.punctuation in ("none", "ASCII") or c.isascii():
            return False
        if self.punctuation == "symbols too" and unicodedata.category(c)[0] == "S":
            return True
        return unicodedata.category(c)[0] == "P" if self.unicode == "Python" else ch.is_punctuation(c)

    def _wordpiece(self, word: str) -> list[str]:
        pieces = self._words.get(word)
        if pieces is None:
            pieces = self._words[word] = self._search(word)
        return pieces

    def _search(self, word: str) -> list[str]:
        unk = [self.names.unk]
        length = len(word.encode("utf-8", "surrogatepass")) if self.limit_bytes else len(word)
        if self.limit is not None and length > self.limit:
            return unk
        if self.search == "from the end":
            return self._search_from_the_end(word)
        vocab, longest = self.names.vocab, self.names.longest
        pieces: list[str] = []
        start = 0
        while start < len(word):
            prefix = self.prefix if start else ""
            ends = range(min(len(word), start + longest), start, -1)
            for end in reversed(ends) if self.search == "shortest" else ends:
                if prefix + word[start:end] in vocab:
                    pieces.append(prefix + word[start:end])
                    start = end
                    break
            else:
                if self.unknown == "word":
                    return unk
                if self.unknown == "rest":
                    return pieces + unk
                pieces += [] if self.unknown == "left out" else unk
                start += 1
        return pieces

    def _search_from_the_end(self, word: str) -> list[str]:
        pieces: list[str] = []
        end = len(word)
        while end:
            for start in range(max(0, end - self.names.longest), end):
                piece = (self.prefix if start else "") + word[start:end]
                if piece in self.names.vocab:
                    pieces.insert(0, piece)
                    end = start
                    break
            else:
                return [self.names.unk]
        return pieces
