"""``minibert similar``: how alike a word is to itself elsewhere, by hidden state; and the nearest texts of a corpus."""

import argparse
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from minibert.commands.readout import STATE
from minibert.commands.verb import OWN, add_verb, positive, print_json, say_own
from minibert.errors import InputError
from minibert.source import DEMO
from minibert.terminal import table

if TYPE_CHECKING:
    from minibert.embedding.similarity import WordSimilarity
    from minibert.embedding.words import WordVector

BAR = 8  # cells of a terminal for a cosine of 1
EIGHTHS = ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")
AROUND = 30  # characters of a text to show on either side of the word
SHOWN = 80  # characters of a text that was found in a corpus
PAIRS_IN_WORDS = 6  # up to so many pairs have a sentence each


def add(verbs: Any) -> None:
    """``similar``."""
    verb = add_verb(verbs, "similar", similar, "compare a word with itself in other places, by hidden state")
    verb.description = (
        "Compare WORD wherever it stands in the TEXTs: the cosine similarity of each two places in every hidden state "
        "(0 is the embeddings, k the output of layer k - 1).  WORD is found as a word of its own and at the beginning "
        "of a Korean one (배 in 배를); in a text without such a place, at the beginning of any word; else anywhere.  "
        "Upper and lower case count where the model sees them, unless nothing is found so.  With --in: the texts of an "
        "embedded corpus that are nearest to QUERY."
    )
    verb.add_argument("word", metavar="WORD|QUERY", help="the word to compare; with --in the text to look for")
    verb.add_argument("texts", nargs="*", metavar="TEXT", help="texts that it stands in, each in quotes")
    verb.add_argument(
        "--model", metavar="CHECKPOINT", help=f"a folder or a hub name; default: {OWN}, with --in the corpus's model"
    )
    verb.add_argument(
        "--pooling", choices=("mean", "first", "last"), help="what becomes of a word's pieces (default mean)"
    )
    verb.add_argument(
        "--match-positions",
        action="store_true",
        help="move each text to the right, by position_ids, until WORD stands at one position in all",
    )
    verb.add_argument("--in", dest="folder", metavar="DIR", help="a folder that minibert embed wrote: search there")
    verb.add_argument("-k", "--top-k", type=positive, metavar="K", help="with --in: how many texts (default 10)")
    verb.add_argument("--prompt", metavar="TEXT", help="with --in: put before QUERY; default the model's query prompt")
    verb.epilog = (
        'example: minibert similar bank "He sat on the bank of the river." "He borrowed from the bank to buy a car."'
    )


def similar(options: argparse.Namespace) -> int:
    """``minibert similar``."""
    if options.folder is not None:
        return search(options)
    if options.top_k is not None:
        raise InputError("-k says how many texts of a corpus to show; give the corpus with --in DIR.")
    if options.prompt is not None:
        raise InputError("--prompt goes before a text to look for in a corpus; give the corpus with --in DIR.")
    if not options.texts:
        raise InputError(
            f"There is no text to compare {options.word!r} in: give some behind it, or a corpus with --in DIR."
        )
    return compare(options)


def search(options: argparse.Namespace) -> int:
    """``minibert similar QUERY --in DIR``."""
    if options.texts:
        raise InputError("Give texts to compare a word in, or a corpus with --in DIR to search; not both.")
    if options.match_positions:
        raise InputError("--match-positions is about a word in several texts; a corpus is searched without.")
    if options.pooling is not None:
        raise InputError("--pooling is of a word's pieces; a corpus is searched with the pooling it was embedded with.")
    from minibert.corpus import nearest

    hits = nearest(options.folder, options.word, options.top_k or 10, options.model, prompt=options.prompt)
    if options.json:
        print_json({"query": options.word, "hits": [hit.to_dict() for hit in hits]})
        return 0
    has_texts = any(hit.text is not None for hit in hits)
    headers = ("", " cosine", "row", "id", *(("text",) if has_texts else ()))
    lines = [
        (number, with_bar(hit.score), hit.row, hit.id, beginning(hit.text or ""))[: len(headers)]
        for number, hit in enumerate(hits, start=1)
    ]
    print(table(headers, lines, right=("", "row")))
    return 0


def compare(options: argparse.Namespace) -> int:
    """``minibert similar WORD TEXT…``."""
    from minibert.embedding import Embedder
    from minibert.embedding.similarity import word_similarity

    if options.model is None:
        options.model = DEMO
        say_own(options)
    embedder = Embedder.from_pretrained(options.model)
    found = word_similarity(
        embedder, options.word, options.texts, options.pooling or "mean", match_positions=options.match_positions
    )
    if options.json:
        print_json(found.to_dict() | {"pooling": options.pooling or "mean"})
        return 0
    print_occurrences(found)
    if any(embedder.tokenizer.unk_token in word.pieces for word in found.occurrences):
        print(
            f"\n{embedder.tokenizer.unk_token} is what the vocabulary lacks: of such a word only its place is compared."
        )
    print(f"\n{about_positions(found)}")
    print("cosine similarity by hidden state (0: the embeddings; k: the output of layer k - 1)\n")
    print(layer_table(found, shutil.get_terminal_size((100, 24)).columns), end="\n\n")
    print("\n".join(conclusions(found)))
    return 0


def about_positions(found: "WordSimilarity") -> str:
    """Whether the positions are among what differs: they alone make equal pieces differ in hidden state 0."""
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


def print_occurrences(found: "WordSimilarity") -> None:
    """Where the word was found, each place with its number."""
    rows = []
    for number, (word, text_number) in enumerate(zip(found.occurrences, found.text_numbers, strict=True), start=1):
        text = found.texts[text_number]
        rows.append((number, marked(text, word), " ".join(word.pieces), text[slice(*word.covers)]))
    headers = ["", f"{found.word} stands here", "pieces"]
    if any(word.covers != (word.start, word.end) for word in found.occurrences):
        headers.append("which stand for")  # no piece begins or ends where the word does
    print(table(headers, [row[: len(headers)] for row in rows], right=("",)))


def marked(text: str, word: "WordVector") -> str:
    """``word`` in «marks» with some of what stands around it, in one line."""
    before, after = text[: word.start], text[word.end :]
    before = before if len(before) <= AROUND else f"…{before[-AROUND:]}"
    after = after if len(after) <= AROUND else f"{after[:AROUND]}…"
    return " ".join(f"{before}«{word.text}»{after}".split())


def beginning(text: str) -> str:
    """As much of ``text`` as a table has room for, in one line."""
    line = " ".join(text.split())
    return line if len(line) <= SHOWN else f"{line[: SHOWN - 1]}…"


def layer_table(found: "WordSimilarity", columns: int) -> str:
    """A row per hidden state, a column per pair, with bars where there is room; with many pairs, a row per pair."""
    names = [pair_name(pair) for pair in found.pairs]
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
    """The pair as it is printed, numbered from 1."""
    return f"{pair[0] + 1}–{pair[1] + 1}"


def with_bar(cosine: float) -> str:
    """A cosine with a bar from 0 to 1 for the eye."""
    full, eighths = divmod(round(max(0.0, min(1.0, cosine)) * BAR * 8), 8)
    return f"{cosine:7.4f} {'█' * full}{EIGHTHS[eighths]}"


def conclusions(found: "WordSimilarity") -> list[str]:
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
