"""What the answers of lesson 1 are worth."""

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from minibert.tokenizer.basic import BasicTokenizer

UNKNOWN = ["[UNK]"]
LETTERS = ("u", "n", "w", "a", "##w", "##a", "##n", "##t", "##e", "##d")
LONGER = ("un", "want", "ed", "##want", "##wanted", "##ed", "##anted", "배", "배를", "를", "가", "##를", "##가")
VOCABULARY = frozenset(LETTERS + LONGER)
WORDS = ("unwanted", "wanted", "want", "배를", "배가", "unwantedX", "nX", "X", "가")
Split = Callable[[str, Collection[str]], list[str]]


def greedy(word: str, vocabulary: Collection[str], *, shortest: bool = False, mark: str = "##") -> list[str]:
    """WordPiece; or the wrong one that takes the shortest piece, or that looks for pieces without their "##"."""
    found: list[str] = []
    start = 0
    while start < len(word):
        ends = range(start + 1, len(word) + 1) if shortest else range(len(word), start, -1)
        prefix = mark if start else ""
        end = next((end for end in ends if prefix + word[start:end] in vocabulary), None)
        if end is None:
            return [*found, *UNKNOWN]
        found.append(prefix + word[start:end])
        start = end
    return found


def whole(split: Split) -> Split:
    """The same, but one [UNK] for a word of which any part is unknown."""

    def split_whole(word: str, vocabulary: Collection[str]) -> list[str]:
        found = split(word, vocabulary)
        return UNKNOWN if found[-1:] == UNKNOWN else found

    return split_whole


def from_the_right(word: str, vocabulary: Collection[str]) -> list[str]:
    """The longest piece at the end of the word first."""
    found: list[str] = []
    end = len(word)
    while end:
        pieces = [("##" if start else "") + word[start:end] for start in range(end)]
        piece = next((piece for piece in pieces if piece in vocabulary), None)
        if piece is None:
            return UNKNOWN
        found.insert(0, piece)
        end -= len(piece.removeprefix("##"))
    return found


def wordpiece(answer: Any) -> str:
    """The greedy search, tried on words of a small vocabulary."""
    right = whole(greedy)
    splits: list[tuple[str, Split]] = [
        ("right", right),
        ("shortest", whole(lambda word, vocabulary: greedy(word, vocabulary, shortest=True))),
        ("unmarked", whole(lambda word, vocabulary: greedy(word, vocabulary, mark=""))),
        ("unmarked", lambda word, vocabulary: marked(whole(partial(greedy, mark=""))(word, vocabulary))),
        ("stripped", lambda word, vocabulary: [piece.removeprefix("##") for piece in right(word, vocabulary)]),
        ("partly-unknown", greedy),
        ("unknown-left-out", lambda word, vocabulary: [p for p in greedy(word, vocabulary) if [p] != UNKNOWN]),
        ("empty", lambda word, vocabulary: [p for p in right(word, vocabulary) if [p] != UNKNOWN]),
        ("from-the-right", from_the_right),
    ]
    given = [list(answer(word, VOCABULARY)) for word in WORDS]
    return next((name for name, split in splits if given == [split(word, VOCABULARY) for word in WORDS]), "other")


def marked(pieces: list[str]) -> list[str]:
    """Pieces with "##" before all but the first."""
    return pieces[:1] + ["##" + piece for piece in pieces[1:]]


def words(answer: Any) -> str:
    """The words of a text in Hanja and Hangul."""
    given = " ".join(answer)
    mistakes = {
        " ".join(BasicTokenizer(do_lower_case=False).tokenize("韓國語를 배운다!")): "right",
        "韓國語를 배운다!": "spaces-alone",
        "韓國語 를 배운다 !": "ideographs-together",
        "韓國語를 배운다 !": "ideographs-together",
        "韓 國 語 를 배운다!": "punctuation",
        "韓 國 語를 배운다 !": "last-ideograph",
        "韓 國 語 를 배 운 다 !": "syllables",
        "韓 國 語 를 배운다": "dropped",
    }
    return mistakes.get(given, "other")


def code_points(answer: Any) -> str:
    """How many code points are left of three texts, after NFD and without the marks."""
    mistakes: dict[tuple[int, ...], str] = {
        (5, 1, 3): "right",
        (6, 2, 3): "marks-kept",
        (5, 2, 3): "voicing-kept",
        (5, 1, 1): "composed",
        (5, 1, 4): "cluster",
        (5, 1, 2): "coda-dropped",
    }
    return mistakes.get(tuple(int(number) for number in answer), "other")


def whose(answer: Any) -> str:
    """Which vocabulary made which pieces."""
    cased, uncased, kcbert = "multilingual-cased", "multilingual-uncased", "kcbert"
    mistakes: dict[tuple[str, ...], str] = {
        (cased, uncased, kcbert): "right",
        (uncased, cased, kcbert): "case",
        (kcbert, uncased, cased): "size",
    }
    return mistakes.get(tuple(name.strip().lower() for name in answer), "other")
