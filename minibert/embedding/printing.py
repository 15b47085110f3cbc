"""The similarities of a word's places as text: the places, the cosines by hidden state, conclusions."""

from collections.abc import Sequence

from minibert.embedding.similarity import WordSimilarity
from minibert.embedding.words import WordVector
from minibert.terminal import BAR, drawing_width, table, with_bar

STATE = "hidden state"  # 0 is the embeddings, k the output of encoder.layer.(k - 1)
AROUND = 30  # characters of a text to show on either side of the word
PAIRS_IN_WORDS = 6  # up to so many pairs have a sentence each


def similarity_text(found: WordSimilarity, unk_token: str | None) -> str:
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


def about_positions(found: WordSimilarity) -> str:
    """Whether the positions differ: in hidden state 0, equal pieces differ by their positions only."""
    if found.matched:
        return f"the texts were moved so that the word stands at position {found.position_ids[0]} in each"
    if found.same_position:
        return f"the word stands at position {found.position_ids[0]} in each"
    different = sorted(set(found.position_ids))
    listed = ", ".join(map(str, different)) if len(different) <= 4 else f"{different[0]} to {different[-1]}"
    return (
        f"the word stands at different positions ({listed}), which is part of every difference below;\n"
        "--match-positions takes it out"
    )


def occurrences_table(found: WordSimilarity) -> str:
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
    before, after = text[: word.start], text[word.end :]
    before = before if len(before) <= AROUND else f"…{before[-AROUND:]}"
    after = after if len(after) <= AROUND else f"{after[:AROUND]}…"
    return " ".join(f"{before}«{word.text}»{after}".split())


def layer_table(found: WordSimilarity) -> str:
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


def pair_name(pair: tuple[int, int]) -> str:
    """The name of a pair; places are numbered from 1."""
    return f"{pair[0] + 1}–{pair[1] + 1}"


def conclusions(found: WordSimilarity) -> list[str]:
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
