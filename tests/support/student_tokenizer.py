"""A BERT tokenizer as students write it after Google's tokenization.py, with a switch for each mistake.

It shares no code with minibert: unicodedata instead of tables, strings instead of spans.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

IDEOGRAPHS = [
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
    (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
]  # fmt: skip
SPECIALS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


class Student:
    """``Student(vocab, "keeps_case")(text)`` gives ids, or pieces with ``gives="pieces"``."""

    def __init__(self, vocab: Mapping[str, int], *mistakes: str, gives: str = "ids", **numbers: Any) -> None:
        self.vocab = dict(vocab)
        self.wrong = set(mistakes)
        self.gives = gives
        self.limit = numbers.get("limit", 100)
        self.most = numbers.get("most")

    def __call__(self, text: str) -> list[Any]:
        pieces = self.tokenize(text)
        if "no_frame" not in self.wrong:
            room = None if self.most is None else max(0, self.most - 2)
            if "cut_left" in self.wrong and room is not None:
                pieces = pieces[max(0, len(pieces) - room) :]
            else:
                pieces = pieces[:room]
            pieces = ["[CLS]", *pieces] if "no_sep" in self.wrong else ["[CLS]", *pieces, "[SEP]"]
        if self.gives == "pieces":
            if "prefix_left_out" in self.wrong:
                return [p.removeprefix("##") for p in pieces]
            return pieces
        return [self.vocab.get(piece, self.vocab["[UNK]"]) for piece in pieces]

    def tokenize(self, text: str) -> list[str]:
        for form in ("NFC", "NFD", "NFKC"):
            if form in self.wrong:
                text = unicodedata.normalize(form, text)
        if "splits_specials" in self.wrong:
            return self.of_stretch(text)
        pieces = []
        flags = re.IGNORECASE if "specials_in_any_case" in self.wrong else 0
        for part in re.split("(" + "|".join(map(re.escape, SPECIALS)) + ")", text, flags=flags):
            if part.upper() in SPECIALS and (flags or part in SPECIALS):
                pieces.append(part.upper())
            else:
                pieces += self.of_stretch(part)
        return pieces

    def of_stretch(self, text: str) -> list[str]:
        text = self.clean(text)
        if "no_chinese" not in self.wrong:
            text = "".join(f" {c} " if self.is_ideograph(ord(c)) else c for c in text)
        if "keeps_case" not in self.wrong:
            if "folds" in self.wrong:
                text = text.casefold()
            elif "final_sigma" in self.wrong:
                text = text.lower()
            else:
                text = "".join(c.lower() for c in text)
        if "keeps_accents" not in self.wrong:
            text = unicodedata.normalize("NFKD" if "NFKD_marks" in self.wrong else "NFD", text)
            category = "M" if "all_marks" in self.wrong else "Mn"
            text = "".join(c for c in text if not unicodedata.category(c).startswith(category))
            if "recomposes" in self.wrong:
                text = unicodedata.normalize("NFC", text)
        pieces = []
        for word in text.split(" "):
            for part in self.split_punctuation(word):
                pieces += self.wordpiece(part)
        return pieces

    def clean(self, text: str) -> str:
        out = []
        for c in text:
            category = unicodedata.category(c)
            if c in " \t\n\r" or category == "Zs":
                if "tabs_dropped" in self.wrong and c in "\t\n\r":
                    continue
                out.append(" " if c in " \t\n\r" or "ascii_spaces" not in self.wrong else c)
            elif (
                category in ("Cc", "Cf", "Co")
                or c == "\ufffd"
                or (category == "Cn" and "drops_unassigned" in self.wrong)
            ):
                if "keeps_controls" in self.wrong or ("keeps_format" in self.wrong and category == "Cf"):
                    out.append(c)
                elif "controls_are_spaces" in self.wrong:
                    out.append(" ")
            else:
                out.append(c)
        return "".join(out)

    def is_ideograph(self, code: int) -> bool:
        ranges = IDEOGRAPHS[:1] if "basic_block" in self.wrong else IDEOGRAPHS
        if "kana_too" in self.wrong and 0x3040 <= code <= 0x30FF:
            return True
        return any(first <= code <= last for first, last in ranges)

    def is_punctuation(self, c: str) -> bool:
        if "no_punctuation" in self.wrong:
            return False
        is_ascii = 33 <= ord(c) <= 47 or 58 <= ord(c) <= 64 or 91 <= ord(c) <= 96 or 123 <= ord(c) <= 126
        if "ascii_punctuation" in self.wrong:
            return is_ascii
        category = unicodedata.category(c)
        if "symbols_too" in self.wrong and category[0] == "S":
            return True
        return (is_ascii and "category_only" not in self.wrong) or category.startswith("P")

    def split_punctuation(self, word: str) -> list[str]:
        parts: list[str] = []
        fresh = True
        for c in word:
            if self.is_punctuation(c):
                parts.append(c)
                fresh = True
            elif fresh:
                parts.append(c)
                fresh = False
            else:
                parts[-1] += c
        return parts

    def wordpiece(self, word: str) -> list[str]:
        length = len(word.encode()) if "bytes" in self.wrong else len(word)
        if length > self.limit:
            return ["[UNK]"]
        pieces: list[str] = []
        start = 0
        while start < len(word):
            end = len(word)
            while end > start:
                piece = word[start:end]
                if start and "no_prefix" not in self.wrong:
                    piece = "##" + piece
                if piece in self.vocab:
                    break
                end -= 1
            if end == start:
                if "unk_per_piece" in self.wrong:
                    pieces.append("[UNK]")
                    start += 1
                    continue
                if "unk_rest" in self.wrong:
                    return [*pieces, "[UNK]"]
                return ["[UNK]"]
            pieces.append(piece)
            start = end
        return pieces
