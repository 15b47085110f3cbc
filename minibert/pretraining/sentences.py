"""Where one sentence ends and the next begins, by rule: English, Korean, Chinese, Japanese, Hindi and their relatives.

There are two kinds of marks.  ``。！？।`` end a sentence anywhere; :func:`cut_at_marks` finds them.  ``. ! ?`` end one
before white space, unless the word is an abbreviation ("Mr. Smith"); :func:`ends_sentence` decides from one word and
the next.  A language without marks, such as Thai, has a sentence per line (:func:`join_lines`).  A doubtful place is
not treated as a boundary: for pre-training, a sentence that is too long costs little, and one that begins with "said
he" is not a sentence.
"""

import re
from collections.abc import Iterable, Sequence
from itertools import pairwise

# Need no white space after them: full stops of Chinese and Japanese (full- and half-width), full-width ! and ?, the
# dandas of Hindi and its relatives, Urdu's and Arabic's, Armenian, Ethiopic, Burmese and Khmer full stops.
WIDE = "。｡！？﹗﹖।॥۔؟։።፧။។៕"
STOP = re.compile(rf"[.!?…．~^;ㅋㅎㅠㅜ{WIDE}]+$")
HARD_STOP = re.compile(rf"[.!?…．{WIDE}]")
HANGUL = re.compile(r"[가-힣]$")
ONLY_STOPS = re.compile(rf"[.!?…．~^;ㅋㅎㅠㅜ{WIDE}]+")
INITIALS = re.compile(r"(?:[A-Z]\.)*[A-HJ-Z]|(?:[A-Z]\.)+I")  # "G", "U.S"; "I" by itself is a word
NUMBER = re.compile(r"\d+|[IVXLC]+|[A-Za-z]")  # of a list or a chapter: "1. Introduction"
COUNTED = re.compile(r"\d|[IVXLC]{2,}\b")  # "No. 5", "Vol. II"; but not "No. I will not"
CLOSERS = "\"'”’»」』｣）)】〕］]}》〉*_"
OPENERS = "\"'“‘«「『｢（(【〔［[{《〈*_-—–"

# The first: a verse's number, "॥ १ ॥".  Full stops alone are left to ends_sentence.
MARKS = re.compile(rf"॥\s?\d+\s?॥|\.*[!?…．{WIDE}][.!?…．{WIDE}]*")
# Han and kana, which stand without spaces.
IDEOGRAPHS = (
    r"\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00020000-\U000323af"
)
IDEOGRAPH = re.compile(f"[{IDEOGRAPHS}]")
WITHOUT_SPACES = re.compile(f"[{IDEOGRAPHS}\u3000-\u303f\uff00-\uffef]")  # these, and their punctuation
QUOTES = "\"'”’」』｣»"
BRACKETS = {"（": "）", "(": ")", "【": "】", "〔": "〕", "［": "］", "[": "]", "《": "》", "〈": "〉"}
NEAR = 1000  # characters of a sentence that are examined before its mark, so that time does not grow quadratically
LONGEST_ASIDE = 100  # characters between brackets; a bracket that is not closed until then is a slip
GOES_ON = re.compile(r"[、，,;；:：]")
# After a quotation the sentence goes on: Korean 라고, Japanese と言った, Chinese 他说.
SAID = re.compile(
    r"이?라[고는며]|하[고며]|と(?!ても|にかく|ころ|りあえず|もかく)|って|など|[^。！？，、“”「」]{0,6}[说說道问問喊叫答]"
)
HESITATION = 4  # letters: fewer before "…" are no sentence ("我……我不知道。")
NO_MARKS = re.compile(r"[\u0e00-\u0e7f\u0e80-\u0eff]")  # Thai and Lao

TITLES = (
    "mr mrs ms dr st messrs mme mlle prof rev capt col gen lt sgt maj cmdr hon gov sen rep pres supt sir jr sr esq "
    "mt ft vs viz cf e.g i.e al approx etc"
)
ABBREVIATIONS = frozenset(TITLES.split())
BEFORE_NUMBERS = frozenset(["no", "nos", "vol", "ch", "chap", "fig", "p", "pp", "sec", "art", "bk", "pt"])


def split_sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, with single spaces; text without an end mark is a sentence too.

    English: ``. ! ?`` with the quotes and brackets that close after them, unless a lower-case letter follows, or the
    word is an abbreviation or an initial.  Korean, besides: ``~ ㅋㅋ ㅎㅎ ㅠㅠ ^^ ;`` after a
    syllable or by themselves.  Chinese, Japanese, Hindi: ``。！？．…।`` and what closes after them, with or without
    a space behind.
    """
    return [sentence for part in cut_at_marks(" ".join(paragraph.split())) for sentence in split_at_spaces(part)]


def cut_at_marks(text: str) -> list[str]:
    """``text``, cut after the marks that need no white space."""
    parts, begin, at = [], 0, 0
    while found := MARKS.search(text, at):
        at = found.end()
        near = max(begin, at - NEAR)
        if is_end(text, near, found):
            end = closed(text, near, at)
            while more := MARKS.match(text, end):  # "「はい。」。"
                at, end = more.end(), closed(text, near, more.end())
            if is_boundary(text[near:at], text[at:end], text[end : end + LONGEST_ASIDE].lstrip()):
                parts.append(text[begin:end].strip())
                begin = end
            at = end
    return [part for part in (*parts, text[begin:].strip()) if part]


def is_end(text: str, begin: int, mark: re.Match[str]) -> bool:
    """Whether ``mark`` needs no white space where it stands, in the sentence from ``begin`` (or a place near)."""
    if any(stop in WIDE for stop in mark[0]):
        return True
    last, following = text[mark.start() - 1 : mark.start()], text[mark.end() : mark.end() + 2]
    if "．" in mark[0]:  # but for a decimal point, and the number of a list
        is_listed = text[begin : mark.start()].strip(OPENERS + " ").isdigit()
        return not (last.isdigit() and (following[:1].isdigit() or is_listed))
    if not IDEOGRAPH.match(last) or not IDEOGRAPH.match(following.lstrip(CLOSERS + OPENERS)):
        return False
    return "…" not in mark[0] or sum(map(str.isalpha, text[begin : mark.start()])) >= HESITATION


def closed(text: str, begin: int, end: int) -> int:
    """Where the quotes and brackets that close at ``end`` end; a straight quote closes if one is open."""
    while end < len(text) and text[end] in CLOSERS:
        if text[end] in "\"'" and text.count(text[end], begin, end) % 2 == 0:
            break
        end += 1
    return end


def is_boundary(sentence: str, closers: str, behind: str) -> bool:
    """Whether ``sentence``, which ends with a mark, is over after ``closers`` and before the text ``behind``."""
    before = sentence.rstrip(f".!?…．{WIDE} ")
    if not behind or not before.strip(OPENERS + CLOSERS + " ") or ONLY_STOPS.match(behind) or GOES_ON.match(behind):
        return False
    if behind.lstrip(OPENERS)[:1].islower() and before[-1].lower() != before[-1].upper():  # "Wow！ he said"
        return False
    if any(quote in QUOTES for quote in closers) and SAID.match(behind):
        return False
    return not is_aside(sentence, closers, behind)


def is_aside(sentence: str, closers: str, behind: str) -> bool:
    """Whether a mark stands between brackets that the sentence opened on its way: "他（真的！）走了"."""
    inside = sentence.lstrip(" \"'“‘「『")[1:]  # a bracket around the whole sentence is none of these
    return any(
        inside.count(opening) > inside.count(closing) and closing in closers + behind
        for opening, closing in BRACKETS.items()
    )


def split_at_spaces(text: str) -> list[str]:
    """The sentences of ``text`` that end before white space."""
    words = text.split()
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
    if stop[-1] in WIDE + "．":  # cut_at_marks has decided
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


def join_lines(lines: Sequence[str]) -> list[str]:
    """The lines of a paragraph as one text; as they are where the language has no marks that end a sentence (Thai).

    Between Han or kana no space comes in: "他来" and "了。" are "他来了。".
    """
    letters = [letter for line in lines for letter in line if letter.isalpha()]
    if 2 * sum(map(bool, map(NO_MARKS.match, letters))) > len(letters):
        return list(lines)
    return ["".join(spaced(lines))]


def spaced(lines: Sequence[str]) -> Iterable[str]:
    """The lines, with spaces between those that need one."""
    for before, line in pairwise(("", *lines)):
        is_tight = WITHOUT_SPACES.match(before[-1:]) and WITHOUT_SPACES.match(line[:1])
        yield line if not before or is_tight else f" {line}"
