"""The page's tokenizer gives what ours gives: ids, tokens, segments, special tokens, words, offsets, lengths.

scripts/studies/browser_tokenizer.py makes the same comparison in full: 50,000 strings, and every code point.
"""

import copy
import random
import unicodedata

import pytest

from minibert.explorer.text import tokenize
from minibert.tokenizer import AddedToken, BertTokenizer
from minibert.tokenizer.portable import unicode_data
from tests.support.browser_tokenizer import BrowserTokenizer, rows_of

REAL = ["bert-base-uncased", "bert-base-multilingual-uncased", "bert-base-multilingual-cased", "kcbert-base"]
TEXT = "Café İSTANBUL ΟΔΟΣ 배를 中文 don't [MASK] e\u0323\u0301 \x00\ufffd\u0378 😀"


@pytest.fixture
def small(fuzzer) -> BertTokenizer:
    return fuzzer.ours_of(fuzzer.small_vocabulary(), (True, None, True))


def examples_of(strings, count: int) -> list[tuple[str, str | None]]:
    """Adversarial texts, every third with a second one."""
    return [(strings.one(), strings.one() if number % 3 == 2 else None) for number in range(count)]


def test_strings_under_all_rules(browser, fuzzer) -> None:
    vocabulary = fuzzer.small_vocabulary()
    for seed, rules in enumerate(fuzzer.RULES):
        tokenizer, strings = fuzzer.ours_of(vocabulary, rules), fuzzer.Strings(vocabulary, seed)
        assert list(BrowserTokenizer(browser, tokenizer).differences(examples_of(strings, 100))) == []


@pytest.mark.parametrize("name", ["minibert-demo", *REAL])
def test_strings_over_real_vocabularies(browser, fuzzer, request, name) -> None:
    source = name if name == "minibert-demo" else request.getfixturevalue("shared") / "vocab" / name
    rules = {"do_lower_case": "uncased" in name, "strip_accents": None} if name != "minibert-demo" else {}
    tokenizer = BertTokenizer.from_pretrained(source, **rules)
    strings = fuzzer.Strings(tokenizer.get_vocab(), 7)
    in_browser = BrowserTokenizer(browser, tokenizer)
    assert list(in_browser.differences(examples_of(strings, 200))) == []
    ids = [0, 1, 4, 5, 2000, len(tokenizer) - 1]
    assert in_browser.tokens_of([*ids, len(tokenizer)]) == [*tokenizer.convert_ids_to_tokens(ids), None]


@pytest.mark.parametrize("step", [29, pytest.param(1, marks=pytest.mark.slow)])
def test_code_points_alone(browser, fuzzer, step) -> None:
    """Surrogates among them; a vocabulary of every letter, so that no difference hides behind [UNK]."""
    every = {"Co": 4999, "Cn": 499, "Lo": 7, "Cs": 101}
    codes = [code for code in range(0x110000) if code % every.get(unicodedata.category(chr(code)), 1) == 0]
    changing = [
        code for code in codes if fuzzer.ch.lowercase(chr(code)) + fuzzer.ch.decompose(chr(code)) != chr(code) * 2
    ]
    texts = list(map(chr, [*codes[::step], *changing[:: min(step, 3)], 0xD800, 0xDFFF, 0x10FFFF]))
    assert len(texts) > 1900
    vocabulary = fuzzer.letter_vocabulary()
    for rules in ((True, None, True), (False, None, True)):
        in_browser = BrowserTokenizer(browser, fuzzer.ours_of(vocabulary, rules))
        for start in range(0, len(texts), 20_000):
            assert list(in_browser.differences([(text, None) for text in texts[start : start + 20_000]])) == []


def test_added_tokens_of_all_kinds(browser, fuzzer) -> None:
    """Random sets of added tokens, the same content under other flags too, kept whole or split."""
    vocabulary = fuzzer.small_vocabulary()
    source = fuzzer.AddedTokens(3)
    for number in range(18):
        tokenizer = fuzzer.ours_of(vocabulary, fuzzer.RULES[number % len(fuzzer.RULES)])
        for _ in range(source.random.randint(1, 4)):
            tokens = [AddedToken(source.random.choice(source.CONTENTS), **source.flags()) for _ in range(2)]
            tokenizer.add_tokens(tokens, special_tokens=source.random.random() < 0.3)
        tokenizer.split_special_tokens = source.random.random() < 0.3
        in_browser = BrowserTokenizer(browser, tokenizer)
        assert list(in_browser.differences([(source.text(), None) for _ in range(100)])) == []
        ids = list(tokenizer.added_tokens_decoder)
        assert in_browser.tokens_of(ids) == tokenizer.convert_ids_to_tokens(ids)


def test_every_flag_beside_all_sorts_of_characters(browser, fuzzer) -> None:
    """One added token of each of the 32 kinds, before and behind characters of many categories."""
    tokenizer = fuzzer.ours_of(fuzzer.small_vocabulary(), (True, None, True))
    contents = [f"<K{number:x}>" for number in range(len(fuzzer.KINDS))]
    tokenizer.add_tokens([AddedToken(c, **kind) for c, kind in zip(contents, fuzzer.KINDS, strict=True)])
    codes = [code for code in fuzzer.CODE_POINTS[:0x3100] if code % 11 == 0]
    examples = [(text, None) for text in fuzzer.added_texts(codes, contents, beside=2)]
    assert list(BrowserTokenizer(browser, tokenizer).differences(examples)) == []


@pytest.mark.parametrize("side", ["right", "left"])
def test_rows_are_cut_as_ours(browser, small, side) -> None:
    small.truncation_side = side
    in_browser = BrowserTokenizer(browser, small)
    letters = random.Random(1)
    examples = [("abcde", None), ("", None), ("", ""), ("[MASK] hello world", "x")]
    lengths = [(0, 5), (5, 0), (1, 9), (9, 1), (4, 4), (3, 4), (7, 6)]
    examples += [tuple(" ".join(letters.choices("abcxyz", k=length)) for length in pair) for pair in lengths]
    for max_length in range(13):
        assert list(in_browser.differences(examples, max_length)) == []
    row = in_browser.encode([("a b c d", "x y")], 7)[0]
    assert row["tokens"] == ["[CLS]", *("ab" if side == "right" else "cd"), "[SEP]", *"xy", "[SEP]"]
    assert row["segments"] == [0, 0, 0, 0, 1, 1, 1]
    assert row["special"] == [True, False, False, True, False, False, True]
    assert (len(row["ids"]), row["fullLength"]) == (7, 9)


def test_the_page_s_own_rows(browser, model, tokenizer) -> None:
    """text.py, which cuts to what the model reads."""
    longest = model.config.max_position_embeddings
    texts = ["He sat on the bank.", "[MASK] sat on the [MASK].", "배를 中文 😀 שלום", "the bank, " * 400]
    for text, row in zip(
        texts, BrowserTokenizer(browser, tokenizer).encode([(t, None) for t in texts], longest), strict=True
    ):
        ours = tokenize(model, tokenizer, text)
        assert row["ids"] == ours.inputs["input_ids"][0].tolist()
        assert row["segments"] == ours.inputs["token_type_ids"][0].tolist()
        assert (row["tokens"], row["special"]) == (ours.tokens, ours.special)
        known = [
            None if id == tokenizer.unk_token_id else word for id, word in zip(row["ids"], row["words"], strict=True)
        ]
        assert known == ours.words
        assert row["fullLength"] == ours.full_length
    assert len(row["ids"]) == longest < row["fullLength"]


def test_by_hand(browser, fuzzer) -> None:
    """Known answers, so that nothing rests on the comparison alone; offsets count code points."""
    vocabulary = {
        t: i for i, t in enumerate([*fuzzer.SPECIALS, "cafe", "i", "##s", "οδοσ", "ᄇ", "##ᅢ", "中", "##\u0307s"])
    }
    text = "😀 Café [MASK] İs ΟΔΟΣ 배 中İS"
    (row,) = BrowserTokenizer(browser, BertTokenizer(vocabulary)).encode([(text, None)])
    assert row["tokens"][1:-1] == ["[UNK]", "cafe", "[MASK]", "i", "##s", "οδοσ", "ᄇ", "##ᅢ", "中", "i", "##s"]
    assert row["ids"] == [2, 1, 5, 4, 6, 7, 8, 9, 10, 11, 6, 7, 3]
    assert row["words"] == [None, 0, 1, 2, 3, 3, 4, 5, 5, 6, 7, 7, None]
    spans = [[0, 1], [2, 6], [7, 13], [14, 15], [15, 16], [17, 21], [22, 23], [22, 23], [24, 25], [25, 26], [26, 27]]
    assert row["offsets"] == [[0, 0], *spans, [0, 0]]
    cased = BrowserTokenizer(browser, BertTokenizer(vocabulary, strip_accents=False))
    (row,) = cased.encode([("İs Café [mask]", None)])
    assert row["tokens"][1:-1] == ["i", "##\u0307s", *["[UNK]"] * 4]
    assert row["offsets"][1:4] == [[0, 1], [0, 2], [3, 7]]


def test_words_that_are_kept_unknown_or_dropped(browser, fuzzer) -> None:
    vocabulary = fuzzer.small_vocabulary() | {"Hello": 5000, "don't": 5001}
    vocabulary = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = BertTokenizer(vocabulary, never_split=["Hello", "don't"])
    in_browser = BrowserTokenizer(browser, tokenizer)
    texts = [
        "x" * 100,
        "x" * 101,
        "é" * 100,
        "é" * 101,
        "가" * 50,
        "가" * 51,
        "xHello Hello, don't",
        "a\x00b\ufffdc\u0378",
        TEXT,
    ]
    assert list(in_browser.differences([(text, None) for text in texts])) == []
    rows = in_browser.encode([(text, None) for text in texts])
    assert [len(row["ids"]) for row in rows[:4]] == [102, 3, 102, 3]
    assert rows[6]["tokens"].count("Hello") == 1 and "don't" in rows[6]["tokens"]
    assert rows[7]["tokens"] == ["[CLS]", "[UNK]", "[SEP]"] and rows[7]["offsets"][1] == [0, 6]


def test_ids_without_a_token_and_tokens_without_a_name(browser) -> None:
    sparse = {"[UNK]": 3, "[SEP]": 5, "[PAD]": 6, "a": 9, "##b": 20, "": 21, "a\nb": 22}
    tokenizer = BertTokenizer(sparse, cls_token=None, mask_token=None)
    tokenizer.add_tokens([AddedToken("a\nb", normalized=False)])
    in_browser = BrowserTokenizer(browser, tokenizer)
    assert list(in_browser.differences([("ab a\nb abb c", None), ("a", "b")])) == []
    assert in_browser.tokens_of([0, 3, 9, 20, 22]) == [None, "[UNK]", "a", "##b", "a\nb"]


def test_lone_surrogates_are_refused_by_position(browser, small) -> None:
    texts = ["a\ud800b", "\udfff", "😀é\udc80 x", "[MASK]\ude00\ud83d"]
    in_browser = BrowserTokenizer(browser, small)
    assert in_browser.encode([(texts[2], None)]) == [
        {"error": "The text holds the lone surrogate U+DC80 at position 2 of 5: half of a character."}
    ]
    examples = [(text, None) for text in texts] + [("a", text) for text in texts]
    assert all(set(row) == {"error"} for row in rows_of(small, examples))
    assert list(in_browser.differences(examples)) == []


def test_every_table_and_every_setting_matters(browser, small) -> None:
    """A comparison that sees nothing wrong with a wrong table proves nothing."""
    beside = [AddedToken("<l>", lstrip=True, normalized=False), AddedToken("<w>", single_word=True, normalized=False)]
    small.add_tokens([*beside, AddedToken("abc")])
    texts = ["É\u3000<l> ü<w> abc", "ΑΒ 中文x 배 a.b", "a\u00adb\u0323\u0301\u0345 \u00a0c é", "e\u0302\u0323\u302e"]
    examples = [(text, None) for text in texts]
    assert list(BrowserTokenizer(browser, small).differences(examples)) == []
    wrong = {
        ("classes", "removed"): ("ad", "ac"),
        ("classes", "whitespace"): (" a0 ", " "),
        ("classes", "chinese"): ("4e00-9fff", "4e01-4e2c"),
        ("classes", "nonspacing_mark"): ("300-36f", "300 302-36f"),
        ("classes", "punctuation"): ("21-2f", "21-2d"),
        ("classes", "white_space"): (" 3000", ""),
        ("classes", "word"): ("f8-2c1", "fd-2c1"),
        ("combining", "224"): ("302e-302f", "302f"),
        ("decompositions",): ("c9>45+301", "c9>46+301"),
        ("lowercase",): ("391-3a1>3b1", "391-3a1>3b2"),
    }
    for path, (right, changed) in wrong.items():
        tables = copy.deepcopy(unicode_data())
        place = tables
        for key in path[:-1]:
            place = place[key]
        assert right in place[path[-1]], path
        place[path[-1]] = place[path[-1]].replace(right, changed, 1)
        assert list(BrowserTokenizer(browser, small, tables).differences(examples)) != [], path
    for change in (
        {"do_lower_case": False},
        {"strip_accents": False},
        {"tokenize_chinese_chars": False},
        {"max_characters_per_word": 1},
        {"unk_id": 0},
        {"added": []},
        {"cls": {"id": 0, "token": "[PAD]"}},
        {"sep": {"id": 0, "token": "[PAD]"}},
    ):
        assert list(BrowserTokenizer(browser, small, **change).differences(examples)) != [], change
