"""What verify_tokenizer found: the shortest text on which two tokenizers part, and the causes with their sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from minibert.display.shown import Printed
from minibert.display.tables import code, html_table, lines, paragraph, tabled
from minibert.terminal import table, visible
from minibert.verify.drawing import folded
from minibert.verify.sentences import cause, retold, word

Result = tuple[str | int | None, ...]


@dataclass(frozen=True)
class TokenizerDifference:
    """A text on which two tokenizers part.

    The results are pieces, or ids where their side gives only ids or the pieces are equal; ``pieces`` are ours.
    """

    text: str
    ours: Result
    theirs: Result
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

    ``also`` holds the keys of mistakes with the same results on every text that was tried; ``told`` and ``details``
    are what its sentence is made of, in any language (:meth:`said`).
    """

    key: str
    sentence: str
    shown_by: TokenizerDifference
    also: tuple[str, ...] = ()
    told: str = ""
    details: Mapping[str, str] = field(default_factory=dict)

    def said(self, language: str = "en") -> str:
        """The sentence; InputError for a language other than "en", "ko" and "zh"."""
        return cause("tokenizers", self.told or self.key, self.details, language)

    def to_dict(self, language: str = "en") -> dict[str, Any]:
        """For JSON."""
        return {
            "key": self.key,
            "sentence": self.said(language),
            "shown_by": self.shown_by.to_dict(),
            "also": list(self.also),
        }


@dataclass(frozen=True)
class TokenizerReport(Printed):
    """What :func:`minibert.verify.verify_tokenizer` found.

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

    def to_dict(self, language: str = "en") -> dict[str, Any]:
        """For JSON; ``language``: of the sentences and notes."""
        return {
            "same": self.same,
            "theirs": self.theirs,
            "compared": self.compared,
            "seed": self.seed,
            "texts": self.texts,
            "differing": self.differing,
            "shortest": self.shortest and self.shortest.to_dict(),
            "causes": [cause.to_dict(language) for cause in self.causes],
            "explained": self.explained,
            "remaining": [difference.to_dict() for difference in self.remaining],
            "notes": [retold(note, language) for note in self.notes],
        }

    def conclusion(self, language: str = "en") -> str:
        """How many texts differ, and the shortest."""
        if self.shortest is None:
            compared = word(self.compared, language)
            return word("no_text_differs", language, texts=f"{self.texts:,}", compared=compared)
        numbers = {"differing": f"{self.differing:,}", "texts": f"{self.texts:,}"}
        return word("texts_differ", language, **numbers, shortest=shown(self.shortest.text, language))

    def to_text(self, language: str = "en") -> str:
        """For a terminal."""
        lines = [folded(self.conclusion(language))]
        if self.shortest is not None:
            lines.append(_two_rows(self.shortest, language))
        for number, each in enumerate(self.causes, start=1):
            also = word("also", language, keys=", ".join(each.also)) if each.also else ""
            said = word("cause_number", language, number=number, key=each.key, sentence=each.said(language))
            lines.append(folded(said + also))
            if each.shown_by != self.shortest:
                seen = word("seen_in", language, text=shown(each.shown_by.text, language))
                lines.append(f"{seen}\n{_two_rows(each.shown_by, language)}")
        if not self.same and self.explained:
            lines.append(
                folded(word("explained_by_one" if len(self.causes) == 1 else "explained_by_several", language))
            )
        elif not self.same:
            lines.append(folded(word("rest_unknown" if self.causes else "all_unknown", language)))
            lines += [f"{shown(each.text, language)}\n{_two_rows(each, language)}" for each in self.remaining]
        lines += [folded(word("note", language, note=retold(note, language))) for note in self.notes]
        return "\n\n".join(lines)

    def __str__(self) -> str:
        return self.to_text()

    def to_html(self, language: str = "en") -> str:
        """For a page or a notebook: a row for each cause, then for what is left."""
        rows = [(each.key, each.said(language), each.shown_by) for each in self.causes]
        rows += [(word("not_known", language), "", difference) for difference in self.remaining]
        cells = [
            (
                lines(key, sentence, bold=True),
                *map(code, (shown(seen.text, language), _joined(seen.ours), _joined(seen.theirs))),
            )
            for key, sentence, seen in rows
        ]
        heads = [word(key, language) for key in ("cause", "text", "ours", "theirs")]
        return tabled(
            paragraph(self.conclusion(language)),
            html_table(heads, cells, first="40%") if cells else None,
            language=language,
        )

    def _repr_html_(self) -> str:
        return self.to_html()


def shown(text: str, language: str = "en") -> str:
    """A text with its invisible characters escaped, and its code points if it is short and not ASCII."""
    quoted = repr(text) if text.isprintable() else ascii(text) if len(text) < 20 else repr(text)
    if len(text) > 80:
        return word("characters", language, text=f"{quoted[:40]}…{quoted[-20:]}", count=len(text))
    if text.isascii() or len(text) > 8:
        return quoted
    return f"{quoted} ({' '.join(f'U+{ord(c):04X}' for c in text)})"


def _joined(tokens: Result) -> str:
    known = [visible(str(token)) for token in tokens]
    if len(known) > 24:
        known = [*known[:12], "…", *known[-8:], f"({len(tokens)})"]
    return " ".join(known)


def _two_rows(difference: TokenizerDifference, language: str) -> str:
    rows = [("ours", difference.ours), ("theirs", difference.theirs)]
    if difference.ours != difference.pieces:
        rows.insert(0, ("our_pieces", difference.pieces))
    heads = ("", word("result", language))
    return table(heads, [(word(key, language), _joined(result)) for key, result in rows])
