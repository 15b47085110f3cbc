"""The steps about text: WordPiece, and the row of a pair."""

import random
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from minibert.learn.workbook import reference as right
from minibert.learn.workbook.cases import Case, Exercise, from_functions
from minibert.source import demo_folder

UNKNOWN = "[UNK]"


def vocabulary() -> dict[str, int]:
    """The pieces of minibert-demo."""
    lines = (demo_folder() / "vocab.txt").read_text(encoding="utf-8").splitlines()
    return {piece: number for number, piece in enumerate(lines)}


def wordpiece(seed: int) -> Exercise:
    """Words of the vocabulary's own pieces, and those that try the rules for what is unknown or long."""
    vocab, draw = vocabulary(), random.Random(seed)
    words = ["unwanted", "playing", "영화에서는", "재미있었습니다", "transformers"]
    words += joined_words(vocab, draw, 12)
    unknown = "\U00013000"  # a hieroglyph, which no piece of the vocabulary has
    inside = joined_words(vocab, draw, 1)[0]
    named = [("word", word) for word in words]
    named += [
        ("unknown_start", unknown + inside),
        ("unknown_end", inside + unknown),
        ("unknown_inside", f"{inside}{unknown}{inside}"),
        ("long_100", repeated(inside, 100)),
        ("long_101", repeated(inside, 101)),
        ("long_bytes", repeated("영화", 60)),
        ("long_more", repeated(inside, 300)),
    ]
    cases = [
        Case(f"word:{word}" if name == "word" else name, (word, vocab), right.wordpiece(word, vocab))
        for name, word in named
    ]
    return Exercise(cases, lambda: from_functions(cases, wordpiece_mistakes()))


def joined_words(vocab: Mapping[str, int], draw: random.Random, count: int) -> list[str]:
    """Words of two or three pieces, among them such as the longest and the shortest match read differently."""
    starts = [p for p in vocab if len(p) > 2 and p.isalpha() and p.isascii()]
    ends = [p[2:] for p in vocab if p.startswith("##") and len(p) > 4 and p[2:].isalpha() and p.isascii()]
    return [draw.choice(starts) + draw.choice(ends) for _ in range(count)]


def repeated(text: str, length: int) -> str:
    """A text again and again, cut off."""
    return (text * length)[:length]


def search(
    *,
    shortest: bool = False,
    prefix: bool = True,
    shown_prefix: bool = True,
    always_prefix: bool = False,
    unknown: str = "whole",
    limit: Callable[[str], bool] = lambda word: len(word) > 100,
) -> Callable[[str, Mapping[str, int]], list[str]]:
    """The greedy loop with its rules changed."""

    def wordpiece(word: str, vocab: Mapping[str, int]) -> list[str]:
        if limit(word):
            return [UNKNOWN]
        pieces: list[str] = []
        start = 0
        while start < len(word):
            front = "##" if prefix and (start or always_prefix) else ""
            ends = range(len(word), start, -1)
            found = next((e for e in (reversed(ends) if shortest else ends) if front + word[start:e] in vocab), None)
            if found is None:
                if unknown == "whole":
                    return [UNKNOWN]
                if unknown in ("rest", "cut"):
                    return pieces + ([UNKNOWN] if unknown == "rest" else [])
                if unknown == "each":
                    pieces.append(UNKNOWN)
                start += 1
                continue
            piece = front + word[start:found]
            pieces.append(piece if shown_prefix else piece.removeprefix("##"))
            start = found
        return pieces

    return wordpiece


def from_the_end(word: str, vocab: Mapping[str, int]) -> list[str]:
    """The longest piece that ends the word, then the longest before it."""
    if len(word) > 100:
        return [UNKNOWN]
    pieces: list[str] = []
    end = len(word)
    while end:
        found = next((s for s in range(end) if ("##" if s else "") + word[s:end] in vocab), None)
        if found is None:
            return [UNKNOWN]
        pieces.insert(0, ("##" if found else "") + word[found:end])
        end = found
    return pieces


def is_longer(limit: int, word: str) -> bool:
    """Whether a word has more characters than the limit."""
    return len(word) > limit


def wordpiece_mistakes() -> Iterator[Any]:
    """Key and wrong function."""
    yield "wordpiece.shortest", search(shortest=True)
    yield "wordpiece.from_the_end", from_the_end
    yield "wordpiece.prefix_forgotten", search(prefix=False)
    yield "wordpiece.prefix_not_returned", search(shown_prefix=False)
    yield "wordpiece.prefix_at_start", search(always_prefix=True)
    yield "wordpiece.unknown_each", search(unknown="each")
    yield "wordpiece.unknown_rest", search(unknown="rest")
    yield "wordpiece.unknown_skipped", search(unknown="skip")
    yield "wordpiece.unknown_cut", search(unknown="cut")
    yield "wordpiece.no_limit", search(limit=lambda word: False)
    yield "wordpiece.limit_off_by_one", search(limit=lambda word: len(word) >= 100)
    yield "wordpiece.limit_bytes", search(limit=lambda word: len(word.encode()) > 100)
    for limit in (50, 200):
        yield "wordpiece.limit_other", search(limit=partial(is_longer, limit)), {"limit": str(limit)}
    yield "wordpiece.characters", lambda word, vocab: [("##" if n else "") + c for n, c in enumerate(word)]
    yield "wordpiece.ids", lambda word, vocab: [vocab[piece] for piece in right.wordpiece(word, vocab)]
    for rule, key in (("each", "wordpiece.unknown_each"), ("skip", "wordpiece.unknown_skipped")):
        yield key, search(unknown=rule, limit=lambda word: False)
    yield "wordpiece.whole_word", lambda word, vocab: [word] if word in vocab else [UNKNOWN]


Row = tuple[list[int], list[int], list[int]]


def pair_row(seed: int) -> Exercise:
    """Two texts, one text, and rows with and without padding; special ids that are nobody's usual ones."""
    draw = random.Random(seed)

    def text(length: int) -> list[int]:
        return [draw.randrange(1000, 2000) for _ in range(length)]

    given: list[tuple[str, list[int], list[int] | None, int, int]] = [
        ("pair", text(4), text(3), 14, 0),
        ("single", text(5), None, 9, 0),
        ("pair_full", text(3), text(5), 11, 0),
        ("other_padding", text(2), text(2), 10, 7),
        ("empty_second", text(2), [], 8, 0),
    ]
    cases = []
    for name, first, second, length, pad_id in given:
        args = (first, second, 101, 102, pad_id, length)
        cases.append(Case(name, args, right.pair_row(*args)))
    return Exercise(cases, lambda: from_functions(cases, row_mistakes()))


def row(
    *,
    cls: bool = True,
    middle: bool = True,
    end: bool = True,
    cls_again: bool = False,
    middle_segment: int = 0,
    end_segment: int = 1,
    segments: tuple[int, int] = (0, 1),
    padding_segment: int = 0,
    padding: bool = True,
    left: bool = False,
    padding_id: int | None = None,
    visible: tuple[int, int] = (1, 0),
    sep_hidden: bool = False,
    second: bool = True,
    sep_for_none: bool = False,
    swapped: bool = False,
    single_sep: bool = True,
) -> Callable[..., Row]:
    """The row with its rules changed."""

    def pair_row(a: list[int], b: list[int] | None, cls_id: int, sep_id: int, pad_id: int, length: int) -> Row:
        if swapped and b is not None:
            a, b = b, a
        ids, kinds = ([cls_id] if cls else []) + a, [segments[0]] * (len(a) + cls)
        if middle if b is not None else single_sep:
            ids, kinds = [*ids, sep_id], [*kinds, middle_segment if b is not None else segments[0]]
        if b is not None and second:
            again = [cls_id] if cls_again else []
            ids, kinds = ids + again + b, kinds + [segments[1]] * (len(b) + len(again))
            if end:
                ids, kinds = [*ids, sep_id], [*kinds, end_segment]
        elif b is None and sep_for_none:
            ids, kinds = [*ids, sep_id], [*kinds, segments[1]]
        seen = [0 if sep_hidden and each in (cls_id, sep_id) else visible[0] for each in ids]
        more = max(0, length - len(ids)) if padding else 0
        filling = [pad_id if padding_id is None else padding_id] * more
        if left:
            return filling + ids, [padding_segment] * more + kinds, [visible[1]] * more + seen
        return ids + filling, kinds + [padding_segment] * more, seen + [visible[1]] * more

    return pair_row


def row_mistakes() -> Iterator[Any]:
    """Key and wrong function."""
    yield "row.no_cls", row(cls=False)
    yield "row.no_middle_sep", row(middle=False)
    yield "row.no_end_sep", row(end=False)
    yield "row.no_end_sep", row(end=False, single_sep=False)
    yield "row.no_sep", row(middle=False, end=False)
    yield "row.no_sep", row(middle=False, end=False, single_sep=False)
    yield "row.no_special", row(cls=False, middle=False, end=False, single_sep=False)
    yield "row.cls_again", row(cls_again=True)
    yield "row.middle_sep_in_second", row(middle_segment=1)
    yield "row.end_sep_in_first", row(end_segment=0)
    yield "row.segments_zero", row(segments=(0, 0), end_segment=0)
    yield "row.segments_one", row(segments=(1, 1), middle_segment=1)
    yield "row.segments_exchanged", row(segments=(1, 0), middle_segment=1, end_segment=0)
    yield "row.segments_from_one", row(segments=(1, 2), middle_segment=1, end_segment=2)
    yield "row.segments_from_one", row(segments=(1, 2), middle_segment=1, end_segment=2, padding_segment=0)
    yield "row.padding_segment_one", row(padding_segment=1)
    yield "row.no_padding", row(padding=False)
    yield "row.padding_left", row(left=True)
    yield "row.padding_zero", row(padding_id=0)
    yield "row.mask_inverted", row(visible=(0, 1))
    yield "row.mask_all_one", row(visible=(1, 1))
    yield "row.mask_hides_special", row(sep_hidden=True)
    yield "row.second_missing", row(second=False)
    yield "row.sep_for_none", row(sep_for_none=True)
    yield "row.texts_exchanged", row(swapped=True)
    yield "row.order", lambda *args: tuple(right.pair_row(*args)[n] for n in (0, 2, 1))
