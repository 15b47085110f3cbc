"""Two tokenizers on hard texts: the shortest text on which they part, and the known mistake that explains it.

``verify_tokenizer`` looks for texts that differ (hard_texts.py), shortens them, and tries the mistakes of
tokenizer_rules.py.  A mistake is named only if our tokenizer with that mistake gives exactly their results.  Start with
``_Search.solve``.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any

from minibert.errors import InputError, MissingExtraError
from minibert.source import Checkpoint, Source
from minibert.terminal import table, visible
from minibert.tokenizer import BertTokenizer
from minibert.verify.hard_texts import hard_pieces, mixtures, of_vocabulary
from minibert.verify.tokenizer_rules import Rules, TokenizerMistake, known_mistakes
from minibert.verify.user_code import load_callable, names_code, running

Tokens = Sequence[str | int]
Result = tuple[str | int | None, ...]
Tokenize = Callable[[str], Any]

MIXTURES = 1500  # random texts of the search
FRESH = 1200  # and as many again, on which a named cause must hold
MOST_CAUSES = 8
NODES = 60  # combinations of mistakes whose result is computed on all texts
LONG = 80  # characters of a text that is shortened only if no shorter one differs
LONGEST_WORD = 1100  # where a word's limit is looked for


@dataclass(frozen=True)
class TokenizerDifference:
    """A text on which two tokenizers part.

    The results are pieces, or ids where their side gives only ids or the pieces are equal; ``pieces`` are ours.
    """

    text: str
    ours: tuple[str | int | None, ...]
    theirs: tuple[str | int | None, ...]
    pieces: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "text": self.text,
            "ours": list(self.ours),
            "theirs": list(self.theirs),
            "pieces": list(self.pieces),
        }


@dataclass(frozen=True)
class TokenizerCause:
    """A mistake that explains differences: its key, a sentence, and the shortest text that shows it.

    ``also`` holds the keys of mistakes with the same results on every text that was tried.
    """

    key: str
    sentence: str
    shown_by: TokenizerDifference
    also: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "key": self.key,
            "sentence": self.sentence,
            "shown_by": self.shown_by.to_dict(),
            "also": list(self.also),
        }


@dataclass(frozen=True)
class TokenizerReport:
    """What :func:`verify_tokenizer` found.

    Attributes:
        theirs: their side, in words.
        compared: "ids" or "pieces".
        texts: number of texts compared; ``differing`` of them differ.
        shortest: the shortest text on which they part, or None.
        causes: the mistakes that were named, in the order in which they were found.
        explained: with all of ``causes``, our tokenizer gives their result on every text.
        remaining: short texts that the named causes do not explain.
        notes: what was left out of the comparison.
    """

    theirs: str
    compared: str
    seed: int
    texts: int
    differing: int
    shortest: TokenizerDifference | None
    causes: tuple[TokenizerCause, ...]
    explained: bool
    remaining: tuple[TokenizerDifference, ...]
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether no text differs."""
        return self.shortest is None

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "same": self.same,
            "theirs": self.theirs,
            "compared": self.compared,
            "seed": self.seed,
            "texts": self.texts,
            "differing": self.differing,
            "shortest": self.shortest and self.shortest.to_dict(),
            "causes": [cause.to_dict() for cause in self.causes],
            "explained": self.explained,
            "remaining": [difference.to_dict() for difference in self.remaining],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        """The report as text for a terminal."""
        lines = []
        if self.shortest is None:
            lines.append(f"No text differs: {self.texts:,} texts, the same {self.compared}.")
        else:
            lines.append(
                f"{self.differing:,} of {self.texts:,} texts differ. The shortest: {shown(self.shortest.text)}"
            )
            lines.append(_two_rows(self.shortest))
        for number, cause in enumerate(self.causes, start=1):
            also = f" On every text the same as {', '.join(cause.also)}." if cause.also else ""
            lines.append(f"cause {number}: {cause.key}. {cause.sentence}{also}")
            if cause.shown_by != self.shortest:
                lines.append(f"seen in {shown(cause.shown_by.text)}\n{_two_rows(cause.shown_by)}")
        if not self.same and self.explained:
            named = "this cause" if len(self.causes) == 1 else "these causes"
            lines.append(f"With {named}, minibert's tokenizer gives their result on every text.")
        elif not self.same:
            lines.append(
                "No known mistake explains "
                + ("the rest:" if self.causes else "this; other texts that cannot be made shorter:")
            )
            lines += [f"{shown(difference.text)}\n{_two_rows(difference)}" for difference in self.remaining]
        lines += [f"note: {note}" for note in self.notes]
        return "\n\n".join(lines)

    def _repr_html_(self) -> str:
        """A table for a notebook: a row for each cause, then for what is left."""
        rows = [(cause.key, cause.sentence, cause.shown_by) for cause in self.causes]
        rows += [("not known", "", difference) for difference in self.remaining]
        cells = "".join(
            f"<tr><td>{escape(key)}</td><td>{escape(sentence)}</td><td>{escape(shown(seen.text))}</td>"
            f"<td>{escape(_joined(seen.ours))}</td><td>{escape(_joined(seen.theirs))}</td></tr>"
            for key, sentence, seen in rows
        )
        head = "<tr><th>cause</th><th></th><th>seen in</th><th>ours</th><th>theirs</th></tr>"
        return f"<p>{self.differing:,} of {self.texts:,} texts differ.</p><table>{head}{cells}</table>"


def shown(text: str) -> str:
    """A text with its invisible characters escaped, and its code points if it is short and not ASCII."""
    quoted = repr(text) if text.isprintable() else ascii(text) if len(text) < 20 else repr(text)
    if len(text) > 80:
        return f"{quoted[:40]}…{quoted[-20:]} ({len(text)} characters)"
    if text.isascii() or len(text) > 8:
        return quoted
    return f"{quoted} ({' '.join(f'U+{ord(c):04X}' for c in text)})"


def _joined(tokens: Result) -> str:
    known = [visible(str(token)) for token in tokens]
    if len(known) > 24:
        known = [*known[:12], "…", *known[-8:], f"({len(tokens)})"]
    return " ".join(known)


def _two_rows(difference: TokenizerDifference) -> str:
    rows = [("ours", _joined(difference.ours)), ("theirs", _joined(difference.theirs))]
    if difference.ours != difference.pieces:
        rows.insert(0, ("our pieces", _joined(difference.pieces)))
    return table(("", "result"), rows)


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
    return _Search(tokenizer, _Theirs.of(theirs), list(texts), seed).report()


def folder_for_transformers(source: Source) -> Path:
    """The folder of the tokenizer that ``source`` names; InputError for a single file, which says no class."""
    checkpoint = Checkpoint.open(source)
    if checkpoint.file is None:
        for name in ("tokenizer.json", "vocab.txt"):
            if path := checkpoint.find(name):
                return path.parent
    raise InputError(f"transformers loads a folder, and {source} is none; give the folder, or a tokenizer.json itself.")


class _Theirs:
    """Their side: a function from text to ids or pieces, whose results are kept."""

    def __init__(self, function: Tokenize, name: str, file: str | None, is_stored: bool, vocab: Any = None) -> None:
        self.name = name
        self.is_stored = is_stored  # a file or folder: its [CLS] and [SEP] are compared
        self.vocab: dict[str, int] | None = vocab
        self._function, self._file = function, file
        self._results: dict[str, tuple[Result, Result | None]] = {}
        self.kind = ""

    @classmethod
    def of(cls, theirs: Any) -> "_Theirs":
        """From what the user named."""
        if names_code(theirs):
            return cls(load_callable(theirs), theirs, theirs.rpartition(":")[0], False)
        if isinstance(theirs, str | Path):
            path = Path(theirs).expanduser()
            if path.is_dir():
                tokenizer = _with_transformers(path)
                return cls(_encoder_of(tokenizer), f"transformers with {theirs}", None, True, _vocab_of(tokenizer))
            if path.is_file():
                tokenizer = _with_tokenizers(path)
                return cls(_encoder_of(tokenizer), f"tokenizers with {theirs}", None, True, _vocab_of(tokenizer))
            raise InputError(
                f"{theirs} is neither a tokenizer.json nor a folder on this disk, and names no function as in "
                "path/to/file.py:tokenize."
            )
        function = _encoder_of(theirs)
        if not callable(function):
            raise InputError(
                f"A tokenizer to compare with must be a callable, a file or a folder, got {type(theirs).__name__}."
            )
        name = getattr(theirs, "__name__", type(theirs).__name__)
        return cls(function, name, None, function is not theirs, _vocab_of(theirs))

    def __call__(self, text: str) -> Result:
        return self._result(text)[0]

    def pieces(self, text: str) -> Result | None:
        """Their pieces where an encoding has them."""
        return self._result(text)[1]

    def _result(self, text: str) -> tuple[Result, Result | None]:
        if text not in self._results:
            with running(self._file, f"{self.name} fails on the text {text[:80]!r}"):
                value = self._function(text)
            found, pieces = _as_result(value, self.name, text)
            if found and not self.kind:
                self.kind = "pieces" if isinstance(found[0], str) else "ids"
            if found and isinstance(found[0], str) != (self.kind == "pieces"):
                raise InputError(f"{self.name} gives {self.kind} for some texts, and something else for {text[:80]!r}.")
            self._results[text] = found, pieces
        return self._results[text]


def _encoder_of(tokenizer: Any) -> Any:
    """The function from text to an encoding, for the libraries' tokenizers; anything else as it is."""
    module = type(tokenizer).__module__.partition(".")[0]
    if module == "tokenizers" and hasattr(tokenizer, "encode"):
        return tokenizer.encode
    if module == "transformers" and hasattr(tokenizer, "convert_ids_to_tokens"):
        return lambda text: tokenizer(text, verbose=False)
    return tokenizer


def _vocab_of(tokenizer: Any) -> dict[str, int] | None:
    vocab = tokenizer.get_vocab() if hasattr(tokenizer, "get_vocab") else None
    return vocab if isinstance(vocab, dict) else None


def _with_transformers(path: Path) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError.of("transformers is not installed", "test") from None
    with running(None, f"transformers cannot load the tokenizer of {path}"):
        return AutoTokenizer.from_pretrained(str(path))


def _with_tokenizers(path: Path) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise MissingExtraError.of("The tokenizers library is not installed", "train") from None
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise InputError(f"{path} cannot be read by the tokenizers library: {str(error)[:200]}.") from error


def _as_result(value: Any, name: str, text: str) -> tuple[Result, Result | None]:
    """Ids or pieces of one row without padding, and the pieces of an encoding."""
    pieces: Result | None = None
    mask: Any = None
    if hasattr(value, "ids") and hasattr(value, "tokens"):
        value, mask, tokens = value.ids, getattr(value, "attention_mask", None), value.tokens
        pieces = tuple(tokens() if callable(tokens) else tokens)
    elif isinstance(value, Mapping) or hasattr(value, "input_ids"):
        row = value["input_ids"] if isinstance(value, Mapping) or hasattr(value, "__getitem__") else value.input_ids
        mask = value.get("attention_mask") if hasattr(value, "get") else None
        value = row
    row, mask = _as_list(value), _as_list(mask)
    if row is None or (
        not all(isinstance(x, str) for x in row)
        and not all(isinstance(x, int) and not isinstance(x, bool) for x in row)
    ):
        raise InputError(
            f"{name} returns {value!r:.80} for the text {text[:40]!r}; expected pieces or ids: a list of text or of "
            "whole numbers, or an encoding with input_ids."
        )
    if mask is not None and len(mask) == len(row) and not all(mask):
        kept = [i for i, seen in enumerate(mask) if seen]
        row = [row[i] for i in kept]
        pieces = None if pieces is None or len(pieces) != len(mask) else tuple(pieces[i] for i in kept)
    return tuple(row), pieces


def _as_list(value: Any) -> list[Any] | None:
    """A list, tuple, array or tensor of one row as a list; None for anything else."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if not isinstance(value, list | tuple):
        return None
    if len(value) == 1 and isinstance(value[0], list | tuple):
        value = value[0]
    return list(value)


def _agree(ours: Result, theirs: Result) -> bool:
    """Equal; an id of ours that is not known (None) agrees with any."""
    if ours == theirs:
        return True
    return (
        None in ours
        and len(ours) == len(theirs)
        and all(a is None or a == b for a, b in zip(ours, theirs, strict=True))
    )


class _State:
    """Our tokenizer with the mistakes named so far, and its results."""

    def __init__(self, rules: Rules, kind: str) -> None:
        self.rules = rules
        self._kind = kind
        self._results: dict[str, Result] = {}

    def __call__(self, text: str) -> Result:
        if text not in self._results:
            pieces = self.rules.pieces(text)
            self._results[text] = tuple(self.rules.ids(pieces) if self._kind == "ids" else pieces)
        return self._results[text]


@dataclass(frozen=True)
class _Step:
    """One mistake on the way: the text that shows it, and the state after it."""

    mistake: TokenizerMistake
    shown_by: TokenizerDifference
    state: _State
    also: tuple[str, ...] = ()


class _Search:
    """Looks for texts that differ, and for the mistakes that explain all of them."""

    def __init__(self, ours: BertTokenizer, theirs: _Theirs, texts: list[str], seed: int) -> None:
        self.theirs, self.seed = theirs, seed
        self.random = random.Random(seed)
        self.notes: list[str] = []
        self.given = texts
        self.pieces = hard_pieces(ours, texts)
        self.texts = list(dict.fromkeys([*self.pieces, *of_vocabulary(ours, 400, self.random), *self._mixed(MIXTURES)]))
        for text in self.texts[:200]:  # ids or pieces: the first result that is not empty says it
            if theirs(text) and theirs.kind:
                break
        self.kind = theirs.kind or "pieces"
        self.base = self._state(self._fitting_frame(Rules.of(ours)))
        self.nodes = 0
        self._shortened: dict[tuple[int, str], str] = {}

    def _mixed(self, count: int) -> list[str]:
        return list(islice(mixtures(self.pieces, self.random), count))

    def _state(self, rules: Rules) -> _State:
        return _State(rules, self.kind)

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

    def differs(self, state: _State, text: str) -> bool:
        """Whether their result is another than that of ``state``."""
        return not _agree(state(text), self.theirs(text))

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
        causes = tuple(TokenizerCause(s.mistake.key, s.mistake.sentence, s.shown_by, s.also) for s in steps)
        return TokenizerReport(
            self.theirs.name, self.kind, self.seed, len(self.texts), differing, shortest, causes, explained,
            tuple(left), tuple(self.notes),
        )  # fmt: skip

    def difference(self, state: _State, text: str) -> TokenizerDifference:
        """Both results, as pieces where both sides have them."""
        theirs, pieces = self.theirs(text), self.theirs.pieces(text)
        ours = tuple(state.rules.pieces(text))
        if self.kind == "ids" and pieces is not None and pieces != ours:
            return TokenizerDifference(text, ours, pieces, ours)
        return TokenizerDifference(text, state(text), theirs, ours)

    def shorten(self, state: _State, text: str) -> str:
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

    def minimal(self, state: _State, differing: Sequence[str], count: int) -> list[str]:
        """Shortened texts, from the shortest and from a random sample of those that differ."""
        by_length = sorted(differing, key=_simple)
        short = [text for text in by_length if len(text) <= LONG]  # long ones take long to shorten
        chosen = by_length[: 6 if short else 2] + self.random.sample(short, min(count, len(short)))
        return list(dict.fromkeys(self.shorten(state, text) for text in chosen))

    def shortest(self, state: _State, differing: Sequence[str]) -> str:
        """The shortest text that was found, shortened; of equally short ones the plainest."""
        by_length = sorted(differing, key=_simple)
        count = 12 if len(by_length[0]) <= LONG else 2
        return min((self.shorten(state, text) for text in by_length[:count]), key=_simple)

    def solve(self, state: _State, steps: list[_Step]) -> list[_Step] | None:
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

    def _holds_on_fresh_texts(self, state: _State) -> bool:
        """Whether new random texts are explained as well; those that are not join the texts."""
        fresh = [text for text in self._mixed(FRESH) if self.differs(state, text)]
        self.texts += fresh
        return not fresh

    def _ranked(self, state: _State, text: str, differing: Sequence[str]) -> list[tuple[int, TokenizerMistake, _State]]:
        """The mistakes that explain ``text`` and part less from them than ``state`` does, the best first."""
        explaining = []
        for mistake in self._candidates(state, text):
            after = self._state(state.rules.but(**mistake.changes))
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
            found: list[tuple[int, TokenizerMistake, _State, str]] = []
            seen: set[str] = set()
            for text in sorted(minimal, key=_simple)[:8]:
                for mistake in self._candidates(state, text):
                    after = self._state(state.rules.but(**mistake.changes))
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

    def _candidates(self, state: _State, text: str) -> Iterator[TokenizerMistake]:
        """The table's mistakes, and those whose numbers come from ``text``."""
        yield from self._vocabularies(state, text)
        yield from known_mistakes(state.rules)
        yield from self._limits(state, text)
        yield from self._truncations(state, text)

    def _truncations(self, state: _State, text: str) -> Iterator[TokenizerMistake]:
        theirs, ours = self.theirs(text), state(text)
        if state.rules.most is None and len(theirs) < len(ours) and len(theirs) > 0:
            ways = {
                "right": "They cut off what goes beyond {} pieces.",
                "left": "They cut off the start of what is longer than {} pieces.",
                "ends too": "They cut off what goes beyond {} pieces, and [SEP] with it.",
            }
            for cut, sentence in ways.items():
                changes = {"most": len(theirs), "cut": cut}
                yield TokenizerMistake(f"truncation.{cut.replace(' ', '_')}", sentence.format(len(theirs)), changes)

    def _limits(self, state: _State, text: str) -> Iterator[TokenizerMistake]:
        rules = state.rules
        words = list(rules._split(rules._normalize(text)))
        word = max(words, key=len, default="")
        if len(word) < 4:
            return
        right = "none" if rules.limit is None else str(rules.limit)
        sentence = "A word is [UNK] beyond {} in their tokenizer; here the limit is {} characters "
        sentence += "(max_input_chars_per_word)."
        numbers: list[int | None] = [*self._lower_limits(state, text), len(word) - 1]
        if rules.limit is not None and len(word) > rules.limit:
            numbers = self._higher_limits(rules, text)
        for number in dict.fromkeys(numbers):
            if number is None:
                said = f"Their words have no limit; here a word of more than {right} characters is [UNK] "
                yield TokenizerMistake("word_limit", f"{said}(max_input_chars_per_word).", {"limit": None})
            elif number != rules.limit:
                said = sentence.format(f"{number} characters", right)
                yield TokenizerMistake("word_limit", said, {"limit": number})
        size = len(word.encode("utf-8", "ignore"))
        if size > len(word):
            for number in dict.fromkeys((100, 200, *range(size - 1, size - 5, -1))):
                said = sentence.format(f"{number} bytes of UTF-8", right)
                yield TokenizerMistake("word_limit.bytes", said, {"limit": number, "limit_bytes": True})

    def _lower_limits(self, state: _State, text: str) -> list[int]:
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
        endless = self._state(rules.but(limit=None))
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

    def _vocabularies(self, state: _State, text: str) -> Iterator[TokenizerMistake]:
        """Another vocabulary: theirs where it can be read, else what the results say about it."""
        names = state.rules.names
        known = self.theirs.vocab
        if known is not None:
            if dict(names.id_of) != known and names.unk in known:
                theirs = {token: known[token] for token in known if token not in names.id_of or token in names.vocab}
                changed = replace(names, vocab=theirs, id_of=known)
                yield TokenizerMistake(*_compared(names.id_of, known), {"names": changed})
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
                line = names.vocab[token]
                sentence = f"Their vocabulary lacks {token!r} (id {line})."
                changed = replace(names, vocab=kept, id_of=id_of)
                yield TokenizerMistake("vocabulary.missing", sentence, {"names": changed})
        if self.kind == "pieces":
            for piece in dict.fromkeys(theirs_pieces):
                if isinstance(piece, str) and piece not in names.vocab and piece:
                    more = replace(names, vocab={**names.vocab, piece: -1}, id_of={**names.id_of, piece: None})
                    sentence = f"Their vocabulary has {piece!r}, which ours lacks."
                    yield TokenizerMistake("vocabulary.more", sentence, {"names": more})

    def _renumbered(self, state: _State) -> Iterator[TokenizerMistake]:
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
            where = f"from {token_of.get(first)!r} (id {first}) on" if below >= 0 else "throughout"
            lines = "missing" if shift < 0 else "additional"
            if below >= 0:
                where += f", with {abs(shift)} {lines} line{'s' if abs(shift) > 1 else ''} of the vocabulary after "
                where += f"{token_of.get(below)!r} (id {below})"
            sentence = f"Their ids are shifted by {shift:+d} {where}."
            yield TokenizerMistake("vocabulary.shifted", sentence, {"names": replace(names, id_of=id_of)})
        elif len(set(theirs_of.values())) >= 0.95 * len(theirs_of):
            id_of = {t: theirs_of.get(i) if i is not None else None for t, i in names.id_of.items()}
            example = next(iter(sorted(moved)))
            sentence = (
                f"Their vocabulary has another order: of {len(theirs_of):,} ids that were seen, {len(moved):,} are "
                f"others, such as {theirs_of[example]} for {token_of.get(example)!r} (id {example})."
            )
            yield TokenizerMistake("vocabulary.order", sentence, {"names": replace(names, id_of=id_of)})


def _simple(text: str) -> tuple[int, bool, tuple[int, ...]]:
    """Short before long, printable before invisible, low code points before high ones."""
    return len(text), not text.isprintable(), tuple(map(ord, text[:8]))


def _compared(ours: Mapping[str, int | None], theirs: Mapping[str, int]) -> tuple[str, str]:
    """The key and the sentence for two vocabularies that can be read."""
    missing = [token for token in ours if token not in theirs]
    more = [token for token in theirs if token not in ours]
    moved = [token for token in ours if token in theirs and ours[token] != theirs[token]]
    if not missing and not more:
        token = moved[0]
        return "vocabulary.order", (
            f"Their vocabulary has another order: {len(moved):,} tokens have another id, such as {token!r} "
            f"({theirs[token]}, ours {ours[token]})."
        )
    parts = [
        f"{verb} {len(tokens):,} token{'s' if len(tokens) > 1 else ''} ({', '.join(map(repr, tokens[:3]))}"
        f"{', …' if len(tokens) > 3 else ''})"
        for verb, tokens in (("lacks", missing), ("has", more))
        if tokens
    ]
    others = " of its own".join(("", "")) if not more else " that ours lacks"
    key = "vocabulary.missing" if missing else "vocabulary.more"
    shifted = f"; {len(moved):,} others have another id" if moved else ""
    return key, f"Their vocabulary {' and '.join(parts)}{others if more else ''}{shifted}."
