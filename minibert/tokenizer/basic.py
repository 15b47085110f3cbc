"""From raw text to words: cleaning, CJK spacing, accents and lower case, punctuation.

This is ``BasicTokenizer`` of google-research/bert tokenization.py (the paper, section 3, only says "WordPiece"; the
rules are in that file), in the order of the ``tokenizers`` library's BertNormalizer and BertPreTokenizer.  Every step
maps an ``AlignedText`` to an ``AlignedText``, which keeps for each character its span in the original text: offsets
come from these spans.  Start with ``BasicTokenizer.normalize``.  fast.py applies the same rules to whole strings when
no offsets are requested; tests hold the two equal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from minibert.tokenizer import characters

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class AlignedText:
    """Normalized characters, and for each the half-open span of original characters that it comes from."""

    text: str
    spans: list[Span]

    @classmethod
    def of(cls, text: str, start: int = 0) -> "AlignedText":
        """``text`` unchanged; ``start`` is its position in a longer original."""
        return cls(text, [(start + i, start + i + 1) for i in range(len(text))])

    def __getitem__(self, part: slice) -> "AlignedText":
        return AlignedText(self.text[part], self.spans[part])

    def __len__(self) -> int:
        return len(self.text)

    def span(self, start: int = 0, end: int | None = None) -> Span:
        """The original span of the characters ``start:end``, from the start of the first to the end of the last."""
        end = len(self.text) if end is None else end
        return self.spans[start][0], self.spans[end - 1][1]


def _aligned(characters_and_spans: list[tuple[str, Span]]) -> AlignedText:
    return AlignedText("".join(c for c, _ in characters_and_spans), [span for _, span in characters_and_spans])


def clean(aligned: AlignedText) -> AlignedText:
    """Drop control characters and turn all whitespace into plain spaces."""
    return _aligned(
        [
            (" " if characters.is_whitespace(c) else c, span)
            for c, span in zip(aligned.text, aligned.spans, strict=True)
            if not characters.is_removed(c)
        ]
    )


def space_out_chinese(aligned: AlignedText) -> AlignedText:
    """Put spaces around every ideograph, since Chinese is written without spaces."""
    spaced: list[tuple[str, Span]] = []
    for c, span in zip(aligned.text, aligned.spans, strict=True):
        spaced += [(" ", span), (c, span), (" ", span)] if characters.is_chinese(c) else [(c, span)]
    return _aligned(spaced)


def decompose(aligned: AlignedText) -> AlignedText:
    """NFD: separate every character from its accents, and put the accents into canonical order.

    Reordering moves characters but not spans: the k-th character that *starts* a decomposition takes the k-th span.
    This matters for a few reordered marks that are not accents; the library does the same.
    """
    parts = [
        (characters.combining_class(part), part, k == 0)
        for c in aligned.text
        for k, part in enumerate(characters.decompose(c))
    ]
    begin = 0
    for i in range(len(parts) + 1):
        if i == len(parts) or parts[i][0] == 0:
            parts[begin:i] = sorted(parts[begin:i], key=lambda part: part[0])
            begin = i + 1
    result: list[tuple[str, Span]] = []
    taken = 0
    for _, c, is_first in parts:
        taken += is_first
        result.append((c, aligned.spans[taken - 1]))
    return _aligned(result)


def drop_accents(aligned: AlignedText) -> AlignedText:
    """Drop nonspacing marks (category Mn), which NFD has separated from their letters."""
    pairs = zip(aligned.text, aligned.spans, strict=True)
    return _aligned([(c, span) for c, span in pairs if not characters.is_nonspacing_mark(c)])


def lower(aligned: AlignedText) -> AlignedText:
    """Lower-case each character by itself; all characters that it becomes share its span."""
    pairs = zip(aligned.text, aligned.spans, strict=True)
    return _aligned([(small, span) for c, span in pairs for small in characters.lowercase(c)])


def split_words(aligned: AlignedText) -> Iterator[AlignedText]:
    """The words of a normalized text, split at spaces; every punctuation character is a word of its own."""
    begin = 0
    for i, c in enumerate(aligned.text):
        is_space = c == " "
        if not is_space and not characters.is_punctuation(c):
            continue
        if begin < i:
            yield aligned[begin:i]
        if not is_space:
            yield aligned[i : i + 1]
        begin = i + 1
    if begin < len(aligned):
        yield aligned[begin:]


@dataclass(frozen=True, slots=True)
class BasicTokenizer:
    """Google's BasicTokenizer with its three switches.

    ``strip_accents=None`` means ``do_lower_case``: the uncased models were trained on text without accents.
    """

    do_lower_case: bool = True
    strip_accents: bool | None = None
    tokenize_chinese_chars: bool = True

    @property
    def strips_accents(self) -> bool:
        """``strip_accents``, or ``do_lower_case`` where that is None."""
        return self.do_lower_case if self.strip_accents is None else self.strip_accents

    def normalize(self, aligned: AlignedText) -> AlignedText:
        """All steps that change characters, in BERT's order."""
        aligned = clean(aligned)
        if self.tokenize_chinese_chars:
            aligned = space_out_chinese(aligned)
        if self.strips_accents:
            aligned = drop_accents(decompose(aligned))
        if self.do_lower_case:
            aligned = lower(aligned)
        return aligned

    def words(self, text: str) -> list[AlignedText]:
        """The words of ``text``, each with the spans of its characters in ``text``."""
        return list(split_words(self.normalize(AlignedText.of(text))))

    def tokenize(self, text: str) -> list[str]:
        """The words of ``text`` as plain strings: ``"ah博推zz"`` → ``["ah", "博", "推", "zz"]``."""
        return [word.text for word in self.words(text)]
