"""How much of an answer is right where spaces do not tell: characters in Korean, Chinese, Japanese and Thai.

SQuAD's F1 counts the words that an answer and the true one share.  A Korean word carries its particles ("서울에서", in
Seoul), and Chinese, Japanese and Thai put no spaces between words: there "서울" for "서울에서" would be all wrong.  The
evaluation scripts of KorQuAD 1.0 (every character counts) and MLQA (characters of such scripts one by one, other words
whole) are followed here.  Both lower-case, and drop punctuation and what stands for a space.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence

HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff\uffa0-\uffdc"
# Han, kana, Thai, Lao, Burmese, Khmer: scripts whose words have no spaces between them.
UNSPACED = (
    "\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U000323af"
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
LETTER = re.compile(r"[^\W\d_]")
OF_HANGUL, OF_UNSPACED = re.compile(f"[{HANGUL}]"), re.compile(f"[{UNSPACED}]")
UNIT_OF_UNSPACED = re.compile(f"[{UNSPACED}]|[^{UNSPACED}\\s]+")


def unit_of(text: str, share: float = 0.5) -> str:
    """What answers in this text are compared by: "character", "mixed" (MLQA's) or "word".

    Told by the script of its letters: more than this ``share`` of them has to be of such a script.
    """
    enough = len(LETTER.findall(text)) * share
    hangul, unspaced = len(OF_HANGUL.findall(text)), len(OF_UNSPACED.findall(text))
    if hangul + unspaced <= enough:
        return "word"
    return "character" if hangul >= unspaced else "mixed"


def units(text: str, unit: str) -> list[str]:
    """The parts of an answer that are counted, in lower case and without punctuation."""
    return list("".join(words(text))) if unit == "character" else UNIT_OF_UNSPACED.findall(" ".join(words(text)))


def words(text: str) -> list[str]:
    """What stands between spaces, in lower case and without punctuation (Unicode's and ASCII's)."""
    plain = unicodedata.normalize("NFC", text).lower()
    kept = (x for x in plain if x not in string.punctuation and not unicodedata.category(x).startswith("P"))
    return "".join(kept).split()


def overlap(gold: Sequence[str], predicted: str, unit: str) -> tuple[float, float]:
    """F1 and exact match of an answer, against the true one that it fits best; the empty text is no answer."""
    found = units(predicted, unit)
    scores = []
    for text in gold or [""]:
        right = units(text, unit)
        common = sum((Counter(right) & Counter(found)).values())
        f1 = 2 * common / (len(right) + len(found)) if right and found else float(right == found)
        same = words(text) == words(predicted) if unit == "character" else right == found  # KorQuAD: spaces, too
        scores.append((f1, float(same)))
    return max(f1 for f1, _ in scores), max(exact for _, exact in scores)
