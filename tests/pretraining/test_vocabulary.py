"""Vocabularies: the same text gives the same pieces, and each of them is one that BertTokenizer can produce."""

import json
import os
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibert import BertTokenizer, InputError, MissingExtraError
from minibert.pretraining import vocabulary
from minibert.pretraining.vocabulary import SPECIAL_TOKENS, count_words, train_vocabulary
from minibert.tokenizer import BasicTokenizer, WordPiece

pytest.importorskip("tokenizers", reason="the extra train is not installed")

ROOT = Path(__file__).parents[2]
SYLLABLES = ["ba", "be", "bi", "da", "de", "di", "ga", "ge", "gi", "가", "나", "다", "라", "한국", "영화"]


def made_up(words: int, seed: int = 0) -> list[str]:
    """Lines in which many pairs of letters are as frequent as others: whoever breaks ties by chance shows it."""
    draw = random.Random(seed)
    lexicon = ["".join(draw.choices(SYLLABLES, k=draw.randint(1, 4))) for _ in range(words)]
    return [" ".join(lexicon[start : start + 10]) + "." for start in range(0, words, 10)] * 2


def of(pieces: list[str], **rules) -> BertTokenizer:
    return BertTokenizer({piece: number for number, piece in enumerate(pieces)}, **rules)


def test_special_tokens_then_letters_then_longer_pieces() -> None:
    pieces = train_vocabulary(["aab aab aab. Ab!"] * 3, 14)
    assert pieces[:5] == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    assert pieces[5:12] == ["!", ".", "A", "a", "b", "##a", "##b"]
    assert pieces[12:] == ["aa", "aab"]  # "##ab" would be as frequent; the letter with the lower number first
    assert len(pieces) == len(set(pieces))


def test_no_piece_begins_with_what_stands_alone() -> None:
    """Punctuation and ideographs are words of their own: "##!" could never be met."""
    pieces = train_vocabulary(["hey!hey? 漢字 가나!"] * 4, 100)
    assert {"!", "?", "漢", "字"} < set(pieces)
    assert not {"##!", "##?", "##漢", "##字"} & set(pieces)


SCRIPT = """
import json, random, sys
from tests.pretraining.test_vocabulary import made_up, train_vocabulary
lines = made_up(3000)
random.Random(int(sys.argv[1])).shuffle(lines)
print(json.dumps(train_vocabulary(lines, 400)))
"""


def test_the_same_text_gives_the_same_vocabulary() -> None:
    """In whatever order it comes, with one thread or several, in another process with other hashes."""
    found = []
    for number, threads in enumerate(["1", "2", "4", "4"]):
        environment = {**os.environ, "RAYON_NUM_THREADS": threads, "PYTHONHASHSEED": str(number)}
        environment["TOKENIZERS_PARALLELISM"] = "false" if threads == "1" else "true"
        run = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(number)], cwd=ROOT, env=environment, capture_output=True, check=True
        )
        found.append(json.loads(run.stdout))
    assert found[0] == found[1] == found[2] == found[3]
    assert len(found[0]) == 400


def witness(piece: str, pieces: list[str]) -> str:
    """A word in which the greedy search must come to ``piece``."""
    if not piece.startswith("##"):
        return piece
    beginnings = {other[:cut] for other in pieces if not other.startswith("##") for cut in range(1, len(other) + 1)}
    letters = [other for other in pieces if other.isalnum() and not other.startswith("##")]
    return next(other + piece[2:] for other in letters if other + piece[2] not in beginnings)


@pytest.mark.parametrize(
    "rules", [{"lowercase": False}, {"lowercase": True}, {"lowercase": True, "strip_accents": False}]
)
def test_every_piece_can_be_produced(rules: dict[str, bool]) -> None:
    text = ["Café CAFÉ İstanbul Ǆ ﬁn naïve ΣΊΣΥΦΟΣ straße don't ㅋㅋㅋ 각각 한국영화 漢字가 e\u0301tude १२३ x²"]
    pieces = train_vocabulary([*made_up(500), *text * 5], 300, limit_alphabet=500, **rules)
    tokenizer = of(pieces, do_lower_case=rules["lowercase"], strip_accents=rules.get("strip_accents"))
    for piece in pieces[len(SPECIAL_TOKENS) :]:
        assert piece in tokenizer.tokenize(witness(piece, pieces)), piece
    assert "[UNK]" not in tokenizer.tokenize(text[0])


def test_cased_keeps_capitals_accents_and_hangul() -> None:
    pieces = train_vocabulary(["Café 영화"] * 9, 100)
    assert {"Café", "영화"} < set(pieces)
    assert of(pieces, do_lower_case=False).tokenize("Café 영화") == ["Café", "영화"]
    small = train_vocabulary(["Café 영화"] * 9, 100, lowercase=True)
    assert {"cafe", "\u110b\u1167\u11bc\u1112\u116a"} < set(small)  # 영화, taken apart into jamo
    assert of(small).tokenize("Café 영화") == ["cafe", "\u110b\u1167\u11bc\u1112\u116a"]


def test_rare_letters_are_left_out() -> None:
    text = ["가나다 " * 20_000, "龘 ❤가 " * 2]
    pieces = train_vocabulary(text, 50)
    assert {"가", "##나", "##다"} < set(pieces) and not {"龘", "❤", "##❤"} & set(pieces)
    assert of(pieces, do_lower_case=False).tokenize("가나다 ❤가 龘") == ["가나다", "[UNK]", "[UNK]"]
    assert "龘" in train_vocabulary(text, 50, limit_alphabet=5)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_the_limit_of_the_alphabet_takes_the_most_frequent(limit: int) -> None:
    pieces = train_vocabulary(["c c c b b b a a"], 20, limit_alphabet=limit)
    assert pieces[5:] == sorted(["b", "c", "a"][:limit])  # b and c are as frequent: the first in Unicode first


def test_a_letter_seen_once_is_none() -> None:
    assert "z" not in train_vocabulary(["aa aa z"], 20)
    assert "z" in train_vocabulary(["aa aa z"], 20, min_frequency=1, limit_alphabet=9)


def test_a_frequent_word_counts_as_often_as_it_stands_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "REPEATED_TOGETHER", 3)
    pieces = train_vocabulary(["ab " * 7 + "cd " * 8], 12)  # room for one longer piece
    assert pieces[11:] == ["cd"]


@given(st.lists(st.text(alphabet="aB가漢!.' \t\n\x0b\x85\u2028\xa0é́ﬁ-\x00\ufffd", max_size=20), max_size=4))
def test_words_are_the_tokenizers(texts: list[str]) -> None:
    for rules in ((False, None), (True, None), (True, False)):
        basic = BasicTokenizer(*rules)
        assert count_words(texts, basic) == (Counter(word for text in texts for word in basic.tokenize(text)), 0)


def test_words_of_too_many_letters_are_left_out() -> None:
    words, _ = count_words(["a" * 101 + " " + "b" * 100], BasicTokenizer(False))
    assert list(words) == ["b" * 100]
    assert WordPiece({"[UNK]": 0, "a": 1, "##a": 2}, 0).tokenize("a" * 101)[0].id == 0  # why


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"A vocabulary of 8 has no room for the 5 special tokens and the 4 letters"):
        train_vocabulary(["ab ba"] * 2, 8)
    assert len(train_vocabulary(["ab ba"] * 2, 9)) == 9
    for nothing in ([], ["", " \n"], ["a b c"]):
        with pytest.raises(InputError, match="There is no text to train a vocabulary on"):
            train_vocabulary(nothing, 100)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[train\]'"):
        train_vocabulary(["ab ba"] * 2, 100)


def test_too_many_words_are_the_most_frequent_ones(caplog) -> None:
    """Counted nearly exactly where it matters: the frequent words, and all of them together."""
    draw = random.Random(1)  # ever more different words, with frequencies as in real text
    words = ["".join("abcdefghij"[int(d)] for d in str(int(draw.paretovariate(0.5)))) for _ in range(30_000)]
    texts = [" ".join(words[n : n + 50]) for n in range(0, len(words), 50)]
    exact = Counter(words)
    found, left_out = count_words(texts, BasicTokenizer(False), 300)
    assert len(exact) == 1666 and len(found) == 300
    assert found.total() + left_out == len(words)
    assert all(count - 2 <= found[word] <= count for word, count in exact.most_common(60))
    assert {word for word, _ in exact.most_common(100)} <= found.keys()
    caplog.set_level("INFO", "minibert.pretraining")
    few, all_of_them = (train_vocabulary(texts, 120, most_words=most) for most in (300, 10**6))
    assert len(set(few) & set(all_of_them)) > 110
    assert caplog.text.count("The vocabulary is learned from the 300 most frequent words, which make up") == 1


def test_memory_of_counting_does_not_grow_with_the_text() -> None:
    import tracemalloc

    def peak(words: int) -> int:
        numbers, rules = iter(range(words)), BasicTokenizer(False)
        tracemalloc.start()
        count_words((" ".join(f"w{next(numbers)}" for _ in range(100)) for _ in range(words // 100)), rules, 500)
        peaked = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peaked

    assert peak(12_000) < 1.2 * peak(3_000)
