"""Words, and beneath each the pieces that WordPiece made of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Protocol

from minibert.display.elements import FAINT, MONOSPACE, MUTED, Html, Rule, element, framed, note, themed
from minibert.display.shown import Display
from minibert.errors import InputError
from minibert.palette import lines
from minibert.terminal import table

MOST_TOKENS = 200  # shown


class Tokenizer(Protocol):
    """A tokenizer of minibert."""

    def __call__(self, text: Any, text_pair: Any = None, /) -> Any:
        """Its batch."""

    def convert_ids_to_tokens(self, ids: Any, /) -> Any:
        """Ids to pieces."""


@dataclass(frozen=True)
class Piece:
    """One token of a row."""

    position: int
    token: str
    id: int | None
    segment: int | None
    word: tuple[int | None, int | None]  # which text, and which word of it; None for special tokens
    written: str  # the word as it is written in the text; "" where that is not known


def show_tokens(tokenizer: Tokenizer, text_or_encoding: Any, second: str | None = None) -> Display:
    """The pieces of a text with ids and segments, under the words they come from.

    Args:
        tokenizer: the tokenizer.
        text_or_encoding: a text, or what the tokenizer returned for one; of several texts the first is shown.
        second: the second text of a pair.

    More than 200 tokens are cut, and a line says so.  Raises InputError, TokenizerError.
    """
    pieces, more = pieces_of(tokenizer, text_or_encoding, second)
    return Display(tokens_html(pieces, more), lambda: tokens_text(pieces, more))


def pieces_of(tokenizer: Tokenizer, text_or_encoding: Any, second: str | None = None) -> tuple[list[Piece], list[str]]:
    """The tokens of the first row, and sentences about what is not there."""
    more: list[str] = []
    texts: tuple[str, ...] = ()
    if isinstance(text_or_encoding, str):
        texts = (text_or_encoding,) if second is None else (text_or_encoding, second)
        encoding = tokenizer(*texts)
    elif second is not None:
        raise InputError("second is a text, but the first is no text; give two texts, or what the tokenizer returned.")
    elif hasattr(text_or_encoding, "keys") and "input_ids" in text_or_encoding.keys():  # noqa: SIM118
        encoding = text_or_encoding
    else:
        raise InputError(f"{text_or_encoding!r:.80} is neither a text nor what the tokenizer returned.")
    ids, rows = first_row(encoding["input_ids"])
    if rows > 1:
        more.append(f"Shown is the first of {rows} texts.")
    segments = first_row(encoding["token_type_ids"])[0] if "token_type_ids" in encoding.keys() else None  # noqa: SIM118
    words: Sequence[int | None] = [None] * len(ids)
    sequences: Sequence[int | None] = [None] * len(ids)
    offsets: Sequence[tuple[int, int] | None] = [None] * len(ids)
    if getattr(encoding, "encodings", None):
        row = encoding.encodings[0]
        tokens, words, sequences, offsets = row.tokens, row.word_ids, row.sequence_ids, row.offsets
    else:
        tokens = tokenizer.convert_ids_to_tokens(ids)
    pieces = []
    for n, token in enumerate(tokens):
        which, word, written = sequences[n], words[n], ""
        if word is not None and which is not None:
            same = [k for k in range(len(ids)) if words[k] == word and sequences[k] == which]
            spans = [span for k in same if (span := offsets[k]) is not None]
            if which < len(texts):
                written = texts[which][spans[0][0] : spans[-1][1]]
            else:
                written = "".join(str(tokens[k]).removeprefix("##") if k > same[0] else str(tokens[k]) for k in same)
        segment = None if segments is None else segments[n]
        pieces.append(Piece(n, str(token), ids[n], segment, (which, word), written))
    if len(pieces) > MOST_TOKENS:
        more.append(f"Shown are the first {MOST_TOKENS} of {len(pieces)} tokens.")
        pieces = pieces[:MOST_TOKENS]
    return pieces, more


def first_row(values: Any) -> tuple[list[int], int]:
    """The numbers of the first text, and how many texts there are."""
    plain = values.tolist() if hasattr(values, "tolist") else values
    if plain and hasattr(plain[0], "tolist"):
        plain = [each.tolist() for each in plain]
    return (plain[0], len(plain)) if plain and isinstance(plain[0], list) else (list(plain), 1)


def groups_of(pieces: Sequence[Piece]) -> list[list[Piece]]:
    """The pieces, those of one word together."""
    groups = groupby(pieces, key=lambda piece: (piece.word, piece.position if piece.word[1] is None else -1))
    return [list(group) for _, group in groups]


def tokens_html(pieces: Sequence[Piece], more: Sequence[str] = ()) -> Html:
    """Words as boxes in running lines; in each its pieces, with id and segment."""
    with_segments = any(piece.segment for piece in pieces)
    boxes = []
    for group in groups_of(pieces):
        columns = [
            element(
                "span",
                element("span", piece.token, class_="mb-p"),
                element("span", "" if piece.id is None else str(piece.id), class_="mb-i"),
                element("span", f"segment {piece.segment}", class_="mb-i") if with_segments else None,
                class_="mb-col",
                title=f"position {piece.position}",
            )
            for piece in group
        ]
        special = group[0].word[1] is None
        word = element("span", group[0].written, class_="mb-w")
        tone = "mb-x" if special else f"mb-s{group[0].segment or 0}"
        boxes.append(element("span", word, element("span", columns, class_="mb-cols"), class_=f"mb-box {tone}"))
    count = f"{len(pieces)} tokens" if len(pieces) != 1 else "1 token"
    body = element("div", boxes, class_="mb-line", role="group", aria_label=count)
    return framed(body, map(note, more), rules=TOKEN_RULES)


TOKEN_RULES: list[Rule] = [
    (".mb-line", "display:flex;flex-wrap:wrap;gap:6px;align-items:flex-start"),
    (
        ".mb-box",
        f"display:inline-flex;flex-direction:column;border:1px solid {FAINT};border-radius:5px;overflow:hidden",
    ),
    (".mb-w", "text-align:center;padding:1px 6px;min-height:1.5em;white-space:pre"),
    (".mb-cols", f"display:inline-flex;justify-content:center;border-top:1px solid {FAINT}"),
    (".mb-col", "display:inline-flex;flex-direction:column;align-items:center;padding:1px 6px"),
    (".mb-p", f"font-family:{MONOSPACE};white-space:pre"),
    (".mb-i", f"font-size:11px;color:{MUTED};font-variant-numeric:tabular-nums"),
    *(
        (f".mb-s{n}", f"border-left-width:3px;{themed('border-left-color', lines('light')[n], lines('dark')[n])}")
        for n in (0, 1)
    ),
    (".mb-x .mb-p", f"color:{MUTED}"),
]


def tokens_text(pieces: Sequence[Piece], more: Sequence[str] = ()) -> str:
    """A row for each token."""
    rows = [
        (
            piece.position,
            piece.token,
            "" if piece.id is None else piece.id,
            "" if piece.segment is None else piece.segment,
            piece.written,
        )
        for piece in pieces
    ]
    right = ("position", "id", "segment")
    return "\n".join([table(("position", "token", "id", "segment", "word"), rows, right=right), *more])
