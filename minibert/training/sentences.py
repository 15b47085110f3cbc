"""Where one sentence ends and the next begins, by rule, in English and in Korean.

For pre-training a boundary need not be right every time: a sentence too long costs nothing, one that begins with
"said he" is none.  So a doubtful place is no boundary.  All decisions look at one word and the next;
:func:`ends_sentence` is the list of them.
"""

import re
from itertools import pairwise

STOP = re.compile(r"[.!?…。！？~^;ㅋㅎㅠㅜ]+$")
HARD_STOP = re.compile(r"[.!?…。！？]")
HANGUL = re.compile(r"[가-힣]$")
ONLY_STOPS = re.compile(r"[.!?…~^;ㅋㅎㅠㅜ]+")
INITIALS = re.compile(r"(?:[A-Z]\.)*[A-HJ-Z]|(?:[A-Z]\.)+I")  # "G", "U.S"; "I" by itself is a word
NUMBER = re.compile(r"\d+|[IVXLC]+|[A-Za-z]")  # of a list or a chapter: "1. Introduction"
COUNTED = re.compile(r"\d|[IVXLC]{2,}\b")  # "No. 5", "Vol. II"; but not "No. I will not"
CLOSERS = "\"'”’»」』)]}*_"
OPENERS = "\"'“‘«「『([{*_-—–"

TITLES = (
    "mr mrs ms dr st messrs mme mlle prof rev capt col gen lt sgt maj cmdr hon gov sen rep pres supt sir jr sr esq "
    "mt ft vs viz cf e.g i.e al approx etc"
)
ABBREVIATIONS = frozenset(TITLES.split())
BEFORE_NUMBERS = frozenset(["no", "nos", "vol", "ch", "chap", "fig", "p", "pp", "sec", "art", "bk", "pt"])


def split_sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, white space made single spaces; what has no end is a sentence, too.

    English: ``. ! ?`` with the quotes and brackets that close after them, unless a lower-case letter follows, or the
    word is an abbreviation or an initial.  Korean, besides: ``~ ㅋㅋ ㅎㅎ ㅠㅠ ^^ ;`` after a
    syllable or by themselves.
    """
    words = paragraph.split()
    sentences = []
    begin = 0
    for number, (word, following) in enumerate(pairwise(words)):
        if ends_sentence(word, following, is_first=number == begin):
            sentences.append(" ".join(words[begin : number + 1]))
            begin = number + 1
    if begin < len(words):
        sentences.append(" ".join(words[begin:]))
    return sentences


def ends_sentence(word: str, following: str, *, is_first: bool) -> bool:
    """Whether a sentence ends with ``word``, before the word ``following``; ``is_first``: it would be its only word."""
    core = word.rstrip(CLOSERS)
    found = STOP.search(core)
    if found is None or ONLY_STOPS.fullmatch(following):  # "정말... ㅋㅋ 좋다": the last of them ends it
        return False
    if is_first and ONLY_STOPS.fullmatch(word):  # "ㅋㅋㅋ 이게 뭐냐": no sentence by itself
        return False
    stop, before = found.group(), core[: found.start()].lstrip(OPENERS)
    if not HARD_STOP.search(stop) and before and not HANGUL.search(before):  # "ca. 5~ 6 cm", "however;"
        return False
    if following.lstrip(OPENERS)[:1].islower():  # "Thief!" he cried
        return False
    return stop != "." or not is_abbreviated(before, following, is_first=is_first)


def is_abbreviated(before: str, following: str, *, is_first: bool) -> bool:
    """Whether the full stop after ``before`` belongs to the word, as in "Mr.", "J. K.", "No. 5", "1. Outline"."""
    last = re.split(r"[^\w.]", before)[-1]  # "said—Mr.", "(Mrs.", "Lady-Day.—Dr."
    if last.lower() in ABBREVIATIONS or INITIALS.fullmatch(last):
        return True
    if before.lower() in BEFORE_NUMBERS and COUNTED.match(following) is not None:
        return True
    return is_first and NUMBER.fullmatch(before) is not None
