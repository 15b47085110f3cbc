"""The similarities of a word's places as text: the places, the cosines by hidden state, conclusions."""

from collections.abc import Sequence
from math import isfinite
from typing import Protocol

from torch import Tensor

from minibert.display.elements import element, joined, note
from minibert.display.maps import cut, labelled_map
from minibert.display.scale import Scale
from minibert.display.tables import html_table, paragraph, tabled
from minibert.embedding.words import WordVector
from minibert.terminal import BAR, drawing_width, table, with_bar

STATE = "hidden state"  # 0 is the embeddings, k the output of encoder.layer.(k - 1)
AROUND = 30  # characters of a text to show on either side of the word
PAIRS_IN_WORDS = 6  # up to so many pairs have a sentence each


class Similarities(Protocol):
    """A WordSimilarity."""

    @property
    def word(self) -> str: ...
    @property
    def texts(self) -> Sequence[str]: ...
    @property
    def occurrences(self) -> Sequence[WordVector]: ...
    @property
    def text_numbers(self) -> Sequence[int]: ...
    @property
    def pairs(self) -> Sequence[tuple[int, int]]: ...
    @property
    def position_ids(self) -> Sequence[int]: ...
    @property
    def matched(self) -> bool: ...
    @property
    def same_position(self) -> bool: ...
    @property
    def cosines(self) -> Tensor: ...


def similarity_text(found: Similarities, unk_token: str | None) -> str:
    """All of it: the places, a table of cosines by hidden state, and conclusions."""
    lines = [occurrences_table(found)]
    if any(unk_token in word.pieces for word in found.occurrences):
        lines.append(f"\n{unk_token} is what the vocabulary lacks: of such a word only its place is compared.")
    lines += [
        f"\n{about_positions(found)}",
        "cosine similarity by hidden state (0: the embeddings; k: the output of layer k - 1)\n",
        f"{layer_table(found)}\n",
        *conclusions(found),
    ]
    return "\n".join(lines)


def about_positions(found: Similarities, remedy: str = "--match-positions") -> str:
    """Whether the positions differ: in hidden state 0, equal pieces differ by their positions only."""
    if found.matched:
        return f"the texts were moved so that the word stands at position {found.position_ids[0]} in each"
    if found.same_position:
        return f"the word stands at position {found.position_ids[0]} in each"
    different = sorted(set(found.position_ids))
    listed = ", ".join(map(str, different)) if len(different) <= 4 else f"{different[0]} to {different[-1]}"
    return (
        f"the word stands at different positions ({listed}), which is part of every difference below;\n"
        f"{remedy} takes it out"
    )


def occurrences_table(found: Similarities) -> str:
    """The places of the word, numbered from 1."""
    rows = []
    for number, (word, text_number) in enumerate(zip(found.occurrences, found.text_numbers, strict=True), start=1):
        text = found.texts[text_number]
        rows.append((number, marked(text, word), " ".join(word.pieces), text[slice(*word.covers)]))
    headers = ["", f"{found.word} stands here", "pieces"]
    if any(word.covers != (word.start, word.end) for word in found.occurrences):
        headers.append("which stand for")  # pieces extend beyond the word
    return table(headers, [row[: len(headers)] for row in rows], right=("",))


def marked(text: str, word: WordVector) -> str:
    """``word`` in «marks» with some context, in one line."""
    before, after = around(text, word)
    return " ".join(f"{before}«{word.text}»{after}".split())


def around(text: str, word: WordVector) -> tuple[str, str]:
    """Some of the text before and after a word."""
    before, after = text[: word.start], text[word.end :]
    before = before if len(before) <= AROUND else f"…{before[-AROUND:]}"
    return before, after if len(after) <= AROUND else f"{after[:AROUND]}…"


def similarity_html(found: Similarities) -> str:
    """The places of the word, and the cosine of each pair (row) in each hidden state (column) as a map."""
    places = []
    for number, (word, which) in enumerate(zip(found.occurrences, found.text_numbers, strict=True), start=1):
        before, after = (" ".join(part.split("\n")) for part in around(found.texts[which], word))
        said = joined([before, element("b", word.text), after])
        places.append((str(number), said, " ".join(word.pieces)))
    names = [pair_name(pair) for pair in found.pairs]
    by_pair: list[list[float]] = found.cosines.T.tolist()
    parts = [html_table(("", f"{found.word} stands here", "pieces"), places, right=("",), name="places")]
    parts += [note(about_positions(found, "match_positions=True").replace("\n", " "))]
    rules = []
    if by_pair and by_pair[0]:
        shown, left_out = cut(by_pair)
        states = list(map(str, range(len(by_pair[0]))))
        picture = labelled_map(shown, names, states, _scale(by_pair), "cosine similarity")
        parts += [
            note("cosine similarity of each pair by hidden state: 0 is the embeddings, k the output of layer k − 1")
        ]
        parts += [picture.html, *map(note, left_out)]
        rules = picture.rules
    return tabled(parts, paragraph(*conclusions(found)), rules=rules)


def layer_table(found: Similarities) -> str:
    """A row per hidden state and a column per pair, with bars if they fit; with many pairs, a row per pair."""
    columns, names = drawing_width(), [pair_name(pair) for pair in found.pairs]
    cosines: list[list[float]] = found.cosines.tolist()
    with_bars = len(STATE) + len(names) * (2 + len("-0.1234 ") + BAR) <= columns
    if with_bars or len(STATE) + len(names) * (2 + len("-0.1234")) <= columns:
        write = with_bar if with_bars else "{:7.4f}".format
        rows: list[Sequence[object]] = [(state, *map(write, row)) for state, row in enumerate(cosines)]
        headers = [STATE, *(f" {name}" if with_bars else name for name in names)]
        return table(headers, rows, right=[STATE] if with_bars else headers)
    headers = ["pair", *map(str, range(len(cosines)))]
    by_pair = zip(names, zip(*cosines, strict=True), strict=True)
    return table(headers, [(name, *(f"{x:.2f}" for x in row)) for name, row in by_pair], right=headers[1:])


def _scale(cosines: Sequence[Sequence[float]]) -> Scale:
    """From the least to the greatest cosine: most are close to 1."""
    every = [x for row in cosines for x in row if isfinite(x)] or [1.0]
    return Scale(min(every), max(every)) if min(every) < max(every) else Scale(0.0, 1.0)


def pair_name(pair: tuple[int, int]) -> str:
    """The name of a pair; places are numbered from 1."""
    return f"{pair[0] + 1}–{pair[1] + 1}"


def conclusions(found: Similarities) -> list[str]:
    """In which hidden state each pair is most and least alike, and where the pairs are furthest apart."""
    names = [pair_name(pair) for pair in found.pairs]
    lines = []
    for name, values in zip(names, found.cosines.T.tolist(), strict=True):
        most, least = max(values), min(values)
        lines.append(
            f"{name}: most alike in hidden state {values.index(most)} ({most:.4f}), "
            f"least in hidden state {values.index(least)} ({least:.4f})."
        )
    if len(names) > PAIRS_IN_WORDS:
        lines.clear()
    if len(names) > 1:
        spreads = [max(row) - min(row) for row in found.cosines.tolist()]
        state = spreads.index(max(spreads))
        row = found.cosines[state].tolist()
        lines.append(
            f"The pairs are furthest apart in hidden state {state}: from {min(row):.4f} ({names[row.index(min(row))]}) "
            f"to {max(row):.4f} ({names[row.index(max(row))]})."
        )
    return lines
