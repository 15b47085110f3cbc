"""Two tokenizers on hard texts: the shortest text on which they part, and the known mistake that explains it.

``verify_tokenizer`` looks for texts that differ (hard_texts.py), shortens them, and tries the mistakes of
tokenizer_mistakes.py and tokenizer_numbers.py.  A mistake is named only if our tokenizer with that mistake gives
exactly their results.  Start with ``_Search.solve``.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from minibert.errors import InputError
from minibert.source import Checkpoint, Source
from minibert.tokenizer import BertTokenizer
from minibert.verify.hard_texts import hard_pieces, mixtures, of_vocabulary
from minibert.verify.tokenizer_mistakes import TokenizerMistake
from minibert.verify.tokenizer_numbers import Comparison
from minibert.verify.tokenizer_report import TokenizerCause, TokenizerDifference, TokenizerReport
from minibert.verify.tokenizer_rules import Rules
from minibert.verify.tokenizer_sides import State, Theirs

MIXTURES = 1500  # random texts of the search
FRESH = 1200  # and as many again, on which a named cause must hold
MOST_CAUSES = 8
NODES = 60  # combinations of mistakes whose result is computed on all texts
LONG = 80  # characters of a text that is shortened only if no shorter one differs


def verify_tokenizer(
    ours: BertTokenizer | Source, theirs: Any, *, texts: Iterable[str] = (), seed: int = 0
) -> TokenizerReport:
    """Find the shortest text on which two tokenizers part, and name the cause.

    ``ours`` is a BertTokenizer, or what ``BertTokenizer.from_pretrained`` loads.  ``theirs`` is a tokenizer.json file,
    a folder for transformers, "transformers" (``ours`` loaded by it), ``"path.py:name"`` (that file is run), or any
    callable: it takes a text and returns pieces or ids, as a list, a tensor or a tokenizer's encoding.  ``texts`` are
    compared besides the hard ones; ``seed`` draws the random ones.

    Raises InputError for a side that cannot be loaded, fails, or returns something else; MissingExtraError without the
    library that a file needs.
    """
    if theirs == "transformers":
        if isinstance(ours, BertTokenizer):
            raise InputError("'transformers' loads what ours is loaded from: give ours as a path, or theirs as one.")
        theirs = folder_for_transformers(ours)
    tokenizer = ours if isinstance(ours, BertTokenizer) else BertTokenizer.from_pretrained(ours)
    if tokenizer.pipeline is not None:
        raise InputError(
            "Our side is a tokenizer.json that the tokenizers library runs, so there are no rules of ours to compare: "
            "verify_tokenizer names mistakes in BERT's own pipeline, with a vocabulary of WordPiece."
        )
    return _Search(tokenizer, Theirs.of(theirs), list(texts), seed).report()


def folder_for_transformers(source: Source) -> Path:
    """The folder of the tokenizer that ``source`` names; InputError for a single file, which says no class."""
    checkpoint = Checkpoint.open(source)
    if checkpoint.file is None:
        for name in ("tokenizer.json", "vocab.txt"):
            if path := checkpoint.find(name):
                return path.parent
    raise InputError(f"transformers loads a folder, and {source} is none; give the folder, or a tokenizer.json itself.")


@dataclass(frozen=True)
class _Step:
    """One mistake on the way: the text that shows it, and the state after it."""

    mistake: TokenizerMistake
    shown_by: TokenizerDifference
    state: State
    also: tuple[str, ...] = ()


class _Search(Comparison):
    """Looks for texts that differ, and for the mistakes that explain all of them."""

    def __init__(self, ours: BertTokenizer, theirs: Theirs, given: list[str], seed: int) -> None:
        self.seed, self.random = seed, random.Random(seed)
        self.notes: list[str] = []
        self.pieces = hard_pieces(ours, given)
        texts = [*self.pieces, *of_vocabulary(ours, 400, self.random), *self._mixed(MIXTURES)]
        texts = list(dict.fromkeys(texts))
        for text in texts[:200]:  # ids or pieces: the first result that is not empty says it
            if theirs(text) and theirs.kind:
                break
        super().__init__(theirs, texts, theirs.kind or "pieces")
        self.base = self.state(self._fitting_frame(Rules.of(ours)))
        self.nodes = 0
        self._shortened: dict[tuple[int, str], str] = {}

    def _mixed(self, count: int) -> list[str]:
        return list(islice(mixtures(self.pieces, self.random), count))

    def _fitting_frame(self, rules: Rules) -> Rules:
        """Without [CLS] and [SEP], where their function returns the pieces of the text alone."""
        if self.theirs.is_stored:
            return rules
        plain = [text for text in self.texts if text.isalpha() and text.isascii()][:40]
        framed = sum(len(self.theirs(text)) == len(rules.pieces(text)) for text in plain)
        alone = rules.but(cls=False, sep=False)
        bare = sum(len(self.theirs(text)) == len(alone.pieces(text)) for text in plain)
        if bare <= framed or 2 * bare < len(plain) or rules.names.cls in self.theirs(plain[0]):
            return rules
        self.notes.append("Their result has no [CLS] and [SEP]; the pieces of the text alone are compared.")
        return alone

    def report(self) -> TokenizerReport:
        """Everything: the search, the shortest text, the causes, what is left."""
        differing = [text for text in self.texts if self.differs(self.base, text)]
        if not differing:
            return self._report(0, None, [], True, [])
        shortest = self.shortest(self.base, differing)
        steps = self.solve(self.base, [])
        explained = steps is not None
        if steps is None:
            steps = self.confirmed()
            state = steps[-1].state if steps else self.base
            explained = not any(self.differs(state, text) for text in self.texts)
            explained = explained and self._holds_on_fresh_texts(state)
        left: list[TokenizerDifference] = []
        if not explained:
            state = steps[-1].state if steps else self.base
            minimal = self.minimal(state, [text for text in self.texts if self.differs(state, text)], 30)
            left = [self.difference(state, text) for text in sorted(minimal, key=_simple)[:6]]
        return self._report(len(differing), self.difference(self.base, shortest), steps, explained, left)

    def _report(
        self,
        differing: int,
        shortest: TokenizerDifference | None,
        steps: Sequence[_Step],
        explained: bool,
        left: Sequence[TokenizerDifference],
    ) -> TokenizerReport:
        causes = tuple(
            TokenizerCause(m.key, m.sentence, s.shown_by, s.also, m.told, m.details)
            for s, m in ((step, step.mistake) for step in steps)
        )
        return TokenizerReport(
            self.theirs.name, self.kind, self.seed, len(self.texts), differing, shortest, causes, explained,
            tuple(left), tuple(self.notes),
        )  # fmt: skip

    def difference(self, state: State, text: str) -> TokenizerDifference:
        """Both results, as pieces where both sides have them."""
        theirs, pieces = self.theirs(text), self.theirs.pieces(text)
        ours = tuple(state.rules.pieces(text))
        if self.kind == "ids" and pieces is not None and pieces != ours:
            return TokenizerDifference(text, ours, pieces, ours)
        return TokenizerDifference(text, state(text), theirs, ours)

    def shorten(self, state: State, text: str) -> str:
        """Leave out halves, quarters … single characters, as long as the two still part."""
        key = (id(state), text)
        if key in self._shortened:
            return self._shortened[key]
        size = max(1, len(text) // 2)
        short = text
        while short:
            removed = False
            start = 0
            while start < len(short):
                shorter = short[:start] + short[start + size :]
                if self.differs(state, shorter):
                    short, removed = shorter, True
                else:
                    start += size
            if size == 1 and not removed:
                break
            size = max(1, min(size // 2 or 1, len(short)) if not removed or size > 1 else 1)
        self._shortened[key] = short
        return short

    def minimal(self, state: State, differing: Sequence[str], count: int) -> list[str]:
        """Shortened texts, from the shortest and from a random sample of those that differ."""
        by_length = sorted(differing, key=_simple)
        short = [text for text in by_length if len(text) <= LONG]  # long ones take long to shorten
        chosen = by_length[: 6 if short else 2] + self.random.sample(short, min(count, len(short)))
        return list(dict.fromkeys(self.shorten(state, text) for text in chosen))

    def shortest(self, state: State, differing: Sequence[str]) -> str:
        """The shortest text that was found, shortened; of equally short ones the plainest."""
        by_length = sorted(differing, key=_simple)
        count = 12 if len(by_length[0]) <= LONG else 2
        return min((self.shorten(state, text) for text in by_length[:count]), key=_simple)

    def solve(self, state: State, steps: list[_Step]) -> list[_Step] | None:
        """The mistakes that together give their results on all texts, or None; the likeliest are tried first."""
        differing = [text for text in self.texts if self.differs(state, text)]
        if not differing:
            return steps if self._holds_on_fresh_texts(state) else self.solve(state, steps)
        if len(steps) >= MOST_CAUSES or self.nodes >= NODES:
            return None
        self.nodes += 1
        text = self.shortest(state, differing)
        ranked = self._ranked(state, text, differing)
        before = ranked[0][0] if ranked else 0
        for wrong, mistake, after in ranked[:4]:
            if wrong > before + 40:
                break
            also = tuple(m.key for w, m, other in ranked if w == wrong == 0 and m is not mistake) if wrong == 0 else ()
            step = _Step(mistake, self.difference(state, text), after, also)
            if (found := self.solve(after, [*steps, step])) is not None:
                return found
        return None

    def _holds_on_fresh_texts(self, state: State) -> bool:
        """Whether new random texts are explained as well; those that are not join the texts."""
        fresh = [text for text in self._mixed(FRESH) if self.differs(state, text)]
        self.texts += fresh
        return not fresh

    def _ranked(self, state: State, text: str, differing: Sequence[str]) -> list[tuple[int, TokenizerMistake, State]]:
        """The mistakes that explain ``text`` and part less from them than ``state`` does, the best first."""
        explaining = []
        for mistake in self.candidates(state, text):
            after = self.state(state.rules.but(**mistake.changes))
            if not self.differs(after, text) and self.differs(state, text):
                explaining.append((mistake, after))
        short = sorted(differing, key=len)[: max(200, len(differing) // 2)]
        sample = self.random.sample(short, min(200, len(short)))
        sample += self.minimal(state, differing, 20)
        others = set(differing)
        agreeing = [t for t in self.texts if t not in others and len(t) < 100]
        sample += self.random.sample(agreeing, min(400, len(agreeing)))
        now = sum(self.differs(state, t) for t in sample)
        ranked = []
        for order, (mistake, after) in enumerate(explaining):
            wrong = sum(self.differs(after, t) for t in sample)
            if wrong < now:
                if wrong == 0:
                    wrong = sum(self.differs(after, t) for t in self.texts)
                ranked.append((wrong, order, mistake, after))
        ranked.sort(key=lambda entry: entry[:2])
        return [(wrong, mistake, after) for wrong, _, mistake, after in ranked]

    def confirmed(self) -> list[_Step]:
        """Where not everything is explained: the mistakes that spoil no text and explain what they touch."""
        state, steps = self.base, list[_Step]()
        while len(steps) < MOST_CAUSES:
            differing = [text for text in self.texts if self.differs(state, text)]
            agreeing = [text for text in self.texts if not self.differs(state, text)]
            minimal = self.minimal(state, differing, 40)
            found: list[tuple[int, TokenizerMistake, State, str]] = []
            seen: set[str] = set()
            for text in sorted(minimal, key=_simple)[:8]:
                for mistake in self.candidates(state, text):
                    after = self.state(state.rules.but(**mistake.changes))
                    if repr(mistake) in seen or self.differs(after, text):
                        continue
                    seen.add(repr(mistake))
                    touched = [t for t in minimal if after(t) != state(t)]
                    if any(self.differs(after, t) for t in touched) or any(self.differs(after, t) for t in agreeing):
                        continue
                    fixed = sum(not self.differs(after, t) for t in differing)
                    if fixed >= 3:
                        found.append((fixed, mistake, after, text))
            if not found:
                return steps
            most = max(fixed for fixed, *_ in found)
            _, mistake, after, text = next(entry for entry in found if entry[0] == most)
            also = tuple(m.key for fixed, m, _, _ in found if fixed == most and m is not mistake)
            steps.append(_Step(mistake, self.difference(state, text), after, also))
            state = after
        return steps


def _simple(text: str) -> tuple[int, bool, tuple[int, ...]]:
    """Short before long, printable before invisible, low code points before high ones."""
    return len(text), not text.isprintable(), tuple(map(ord, text[:8]))
