"""Mistakes of a tokenizer whose numbers come from the text at hand: limits, truncation, another vocabulary."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from minibert.verify.tokenizer_mistakes import TokenizerMistake, known_mistakes
from minibert.verify.tokenizer_rules import Rules
from minibert.verify.tokenizer_sides import State, Theirs, agree

LONGEST_WORD = 1100  # where a word's limit is looked for


class Comparison:
    """Two tokenizers on some texts, and the mistakes that may explain a text on which they part."""

    def __init__(self, theirs: Theirs, texts: list[str], kind: str) -> None:
        self.theirs, self.texts = theirs, texts
        self.kind = kind  # of their results: "ids" or "pieces"

    def state(self, rules: Rules) -> State:
        """Our tokenizer with these rules."""
        return State(rules, self.kind)

    def differs(self, state: State, text: str) -> bool:
        """Whether their result is another than that of ``state``."""
        return not agree(state(text), self.theirs(text))

    def candidates(self, state: State, text: str) -> Iterator[TokenizerMistake]:
        """The table's mistakes, and those whose numbers come from ``text``."""
        yield from self._vocabularies(state, text)
        yield from known_mistakes(state.rules)
        yield from self._limits(state, text)
        yield from self._truncations(state, text)

    def _truncations(self, state: State, text: str) -> Iterator[TokenizerMistake]:
        theirs, ours = self.theirs(text), state(text)
        if state.rules.most is None and len(theirs) < len(ours) and len(theirs) > 0:
            for cut in ("right", "left", "ends too"):
                changes = {"most": len(theirs), "cut": cut}
                key = f"truncation.{cut.replace(' ', '_')}"
                yield TokenizerMistake(key, changes, {"count": str(len(theirs))})

    def _limits(self, state: State, text: str) -> Iterator[TokenizerMistake]:
        rules = state.rules
        words = list(rules._split(rules._normalize(text)))
        word = max(words, key=len, default="")
        if len(word) < 4:
            return
        right = "none" if rules.limit is None else str(rules.limit)
        numbers: list[int | None] = [*self._lower_limits(state, text), len(word) - 1]
        if rules.limit is not None and len(word) > rules.limit:
            numbers = self._higher_limits(rules, text)
        for number in dict.fromkeys(numbers):
            details = {"limit": str(number), "right": right}
            if number is None:
                yield TokenizerMistake("word_limit", {"limit": None}, details, "word_limit.none")
            elif number != rules.limit:
                yield TokenizerMistake("word_limit", {"limit": number}, details)
        size = len(word.encode("utf-8", "ignore"))
        if size > len(word):
            for number in dict.fromkeys((100, 200, *range(size - 1, size - 5, -1))):
                details = {"limit": str(number), "right": right}
                yield TokenizerMistake("word_limit.bytes", {"limit": number, "limit_bytes": True}, details)

    def _lower_limits(self, state: State, text: str) -> list[int]:
        """Where words that repeat the start of ``text`` begin to part, by bisection: limits below ours."""
        for start in (text[:1], text):
            low, high = 0, len(text)
            repeated = start * len(text)
            if not self.differs(state, repeated[:high]):
                continue
            while low + 1 < high:
                middle = (low + high) // 2
                low, high = (low, middle) if self.differs(state, repeated[:middle]) else (middle, high)
            return self._between(state.rules, repeated[:low], repeated[:high])
        return []

    def _higher_limits(self, rules: Rules, text: str) -> list[int | None]:
        """Limits above ours: up to where words that repeat ``text`` are split, by bisection; None if without end."""
        endless = self.state(rules.but(limit=None))
        repeated = text * (LONGEST_WORD // len(text) + 1)
        if not self.differs(endless, repeated[:LONGEST_WORD]):
            return [None]
        low, high = len(text), LONGEST_WORD
        while low + 1 < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self.differs(endless, repeated[:middle]) else (middle, high)
        return list(self._between(rules, repeated[:low], repeated[:high]))

    @staticmethod
    def _between(rules: Rules, short: str, long: str) -> list[int]:
        """The limits that keep the word of ``short`` and not that of ``long``; a syllable may be three characters."""

        def size(text: str) -> int:
            return max(map(len, rules._split(rules._normalize(text))), default=0)

        return list(range(max(1, size(short)), size(long)))[:8]

    def _vocabularies(self, state: State, text: str) -> Iterator[TokenizerMistake]:
        """Another vocabulary: theirs where it can be read, else what the results say about it."""
        names = state.rules.names
        known = self.theirs.vocab
        if known is not None:
            if dict(names.id_of) != known and names.unk in known:
                theirs = {token: known[token] for token in known if token not in names.id_of or token in names.vocab}
                changed = replace(names, vocab=theirs, id_of=known)
                yield _compared(names.id_of, known, {"names": changed})
            return
        if self.kind == "ids":
            yield from self._renumbered(state)
        ours, theirs_pieces = tuple(state.rules.pieces(text)), self.theirs(text)
        for token in dict.fromkeys(ours):
            if token in names.vocab and token not in names.special:
                if self.kind == "pieces" and token in theirs_pieces:
                    continue
                kept = {t: i for t, i in names.vocab.items() if t != token}
                id_of = {t: i for t, i in names.id_of.items() if t != token}
                details = {"token": repr(token), "id": str(names.vocab[token])}
                changed = replace(names, vocab=kept, id_of=id_of)
                yield TokenizerMistake("vocabulary.missing", {"names": changed}, details)
        if self.kind == "pieces":
            for piece in dict.fromkeys(theirs_pieces):
                if isinstance(piece, str) and piece not in names.vocab and piece:
                    more = replace(names, vocab={**names.vocab, piece: -1}, id_of={**names.id_of, piece: None})
                    yield TokenizerMistake("vocabulary.more", {"names": more}, {"token": repr(piece)})

    def _renumbered(self, state: State) -> Iterator[TokenizerMistake]:
        """Ids shifted from some line on, or numbered in another order, from all results of equal length."""
        names = state.rules.names
        seen: dict[int, Counter[int]] = {}
        for text in self.texts:
            ours, theirs = state(text), self.theirs(text)
            for a, b in zip(ours, theirs, strict=True) if len(ours) == len(theirs) else ():
                if isinstance(a, int) and isinstance(b, int):
                    seen.setdefault(a, Counter())[b] += 1
        # Another mistake may part them as well: what an id mostly becomes counts.
        theirs_of = {a: found.most_common(1)[0][0] for a, found in seen.items()}
        conflicts = sum(found.total() - max(found.values()) for found in seen.values())
        if conflicts > sum(found.total() for found in seen.values()) // 4:
            return
        moved = {a: b - a for a, b in theirs_of.items() if a != b}
        if len(moved) < 2:
            return
        token_of = {i: t for t, i in names.id_of.items()}
        shifts = sorted(moved.values())
        shift = shifts[len(shifts) // 2]
        first = min((a for a in moved if moved[a] == shift), default=0)
        agreeing = [a for a, b in theirs_of.items() if b - a == (shift if a >= first else 0)]
        if len(agreeing) >= 0.9 * len(theirs_of):
            below = max((a for a in theirs_of if a < first and theirs_of[a] == a), default=-1)
            id_of: dict[str, int | None] = {
                t: None if i is None or below < i < first else i + shift if i >= first else i
                for t, i in names.id_of.items()
            }
            changes = {"names": replace(names, id_of=id_of)}
            details = {"shift": f"{shift:+d}", "token": repr(token_of.get(first)), "id": str(first)}
            details |= {"count": str(abs(shift)), "before": repr(token_of.get(below)), "before_id": str(below)}
            told = "vocabulary.shifted"
            if below >= 0:
                told += "_by_missing" if shift < 0 else "_by_more"
            yield TokenizerMistake("vocabulary.shifted", changes, details, told)
        elif len(set(theirs_of.values())) >= 0.95 * len(theirs_of):
            id_of = {t: theirs_of.get(i) if i is not None else None for t, i in names.id_of.items()}
            example = next(iter(sorted(moved)))
            details = {"seen": f"{len(theirs_of):,}", "moved": f"{len(moved):,}", "theirs": str(theirs_of[example])}
            details |= {"token": repr(token_of.get(example)), "id": str(example)}
            changes = {"names": replace(names, id_of=id_of)}
            yield TokenizerMistake("vocabulary.order", changes, details, "vocabulary.order_seen")


def _compared(
    ours: Mapping[str, int | None], theirs: Mapping[str, int], changes: Mapping[str, Any]
) -> TokenizerMistake:
    """What is different in two vocabularies that can be read."""
    missing = [token for token in ours if token not in theirs]
    more = [token for token in theirs if token not in ours]
    moved = [token for token in ours if token in theirs and ours[token] != theirs[token]]
    details = {"moved": f"{len(moved):,}"}
    if not missing and not more:
        token = moved[0]
        details |= {"token": repr(token), "theirs": str(theirs[token]), "ours": str(ours[token])}
        return TokenizerMistake("vocabulary.order", changes, details)
    for name, tokens in (("missing", missing), ("more", more)):
        some = ", ".join(map(repr, tokens[:3])) + (", …" if len(tokens) > 3 else "")
        details |= {name: f"{len(tokens):,}", f"{name}_tokens": some}
    told = "_and_".join(name for name, tokens in (("lacks", missing), ("has", more)) if tokens)
    key = "vocabulary.missing" if missing else "vocabulary.more"
    return TokenizerMistake(key, changes, details, f"vocabulary.{told}")
