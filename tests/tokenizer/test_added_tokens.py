"""Added tokens of every kind against the ``tokenizers`` library: all code points beside them, and random sets of them.

scripts/tools/fuzz_tokenizer.py --added runs the same comparisons at length.
"""

import unicodedata

import pytest

from minibert.tokenizer import AddedToken, BertTokenizer
from minibert.tokenizer import characters as ch
from minibert.tokenizer.added_tokens import Finder

ALONE = {"single_word": True, "lstrip": True, "rstrip": True, "normalized": False}


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("किताब", ["किताब"]),
        ("किताबें", ["[UNK]"]),  # a vowel sign continues the word, though Python's \w does not know it
        ("किताब\u200dक", ["[UNK]"]),  # so does a joiner
        ("का किताब।", ["[UNK]", "किताब", "[UNK]"]),
        ("_किताब", ["_", "[UNK]"]),
        ("किताब١", ["[UNK]"]),  # a digit of another script
        ("½किताब", ["[UNK]", "किताब"]),  # a fraction is none, although Python's \w has it
    ],
)
def test_single_word_ends_where_the_word_ends(text, tokens):
    tokenizer = BertTokenizer({"[UNK]": 0, "_": 1}, do_lower_case=False)
    tokenizer.add_tokens(AddedToken("किताब", single_word=True))
    assert tokenizer.tokenize(text) == tokens


def test_word_characters():
    """Alphabetic, marks, decimal digits, connectors and joiners: 144,667 code points of Unicode 17."""
    letters = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000 and ch.is_word_character(chr(c))]
    assert len(letters) == 144_667
    assert all(map(ch.is_word_character, "aZ0_é가中ا\u0301\u0903\u200c\u200d\u203f"))
    assert not any(map(ch.is_word_character, ["", " ", "-", "²", "½", "\u200b", "।", "😀"]))


@pytest.mark.parametrize("step", [31, pytest.param(1, marks=pytest.mark.slow)])
def test_every_code_point_beside_added_tokens(fuzzer, step):
    """single_word looks at both neighbours, lstrip and rstrip take the spaces: where exactly, for all code points."""
    from tokenizers import AddedToken as TheirToken
    from tokenizers import Tokenizer, models

    oracle = Tokenizer(models.WordPiece({"[UNK]": 0}, unk_token="[UNK]"))
    oracle.add_tokens([TheirToken("<x>", **ALONE)])
    finder = Finder([AddedToken("<x>", **ALONE)])
    before = [c for c in fuzzer.CODE_POINTS if unicodedata.category(chr(c)) not in ("Cn", "Co", "Lo")]
    stretches = [f"<x>{chr(c)}." for c in fuzzer.CODE_POINTS[::step]] + [f"{chr(c)}<x>." for c in before[::step]]
    for start in range(0, len(stretches), 1000):
        text = "".join(stretches[start : start + 1000])
        theirs = oracle.encode(text, add_special_tokens=False).offsets
        assert [(a, b) for _, a, b in finder.split(text)] == theirs, f"{start:x}"


def test_code_points_beside_all_kinds_through_the_pipeline(fuzzer):
    """All 32 combinations of the flags, through normalization, words and pieces: ids, offsets, words, tokens."""
    tables = fuzzer.tables
    pools = [fuzzer.expand(getattr(tables, name)) for name in ("WHITE_SPACE", "WHITESPACE", "REMOVED", "KEPT_MARKS")]
    codes = [code for pool in pools for code in pool[:120]] + fuzzer.expand(tables.WORD)[::301]
    codes += fuzzer.CODE_POINTS[:0x180] + fuzzer.CODE_POINTS[:0x3000:23]
    assert fuzzer.sweep_added(codes, beside=1, rules=fuzzer.RULES[:2]) == 0


@pytest.mark.parametrize("count", [500, pytest.param(3000, marks=pytest.mark.slow)])
def test_random_sets_of_added_tokens(fuzzer, count):
    assert fuzzer.fuzz_added(count=count, seed=2026) == 0


def test_special_tokens_stay_special():
    """Added again as an ordinary token, it is still split with ``split_special_tokens`` and skipped in decoding."""
    tokenizer = BertTokenizer({"[UNK]": 0, "<": 1, "s": 2, ">": 3})
    tokenizer.add_tokens(AddedToken("<s>", special=True))
    tokenizer.add_tokens(AddedToken("<s>", special=False))
    assert tokenizer.tokenize("s<s>") == ["s", "<s>"]
    assert tokenizer.tokenize("s<s>", split_special_tokens=True) == ["s", "<", "s", ">"]
    assert tokenizer.decode(tokenizer.encode("s<s>", add_special_tokens=False), skip_special_tokens=True) == "s"


def test_spaces_between_two_stripping_tokens_go_to_the_first():
    tokenizer = BertTokenizer({"[UNK]": 0, "a": 1})
    tokenizer.add_tokens([AddedToken("<b>", lstrip=True, rstrip=True), AddedToken(" x", lstrip=True)])
    batch = tokenizer("a <b>  <b>\x85 a", add_special_tokens=False, return_offsets_mapping=True)
    assert batch["offset_mapping"] == [(0, 1), (1, 7), (7, 12), (12, 13)]
    assert tokenizer("<b>  x", add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"] == [
        (0, 5),
        (5, 6),
    ]


def test_many_spaces_before_a_token_take_no_time():
    tokenizer = BertTokenizer({"[UNK]": 0, "a": 1})
    tokenizer.add_tokens(AddedToken("<b>", lstrip=True, normalized=False))
    text = "a" + " " * 200_000 + "a<b>"  # a search from each space to its end would take minutes
    assert tokenizer.tokenize(text)[-1] == "<b>"


def test_an_added_token_does_not_rename_the_piece_of_its_id():
    """The token is looked for with spaces around it; where letters stand beside it, WordPiece finds its own piece."""
    tokenizer = BertTokenizer({"[UNK]": 0, "中": 1, "q": 2})
    tokenizer.add_tokens(AddedToken("中", single_word=True))
    assert tokenizer.tokenize("q中q") == ["q", "中", "q"]
    assert tokenizer.convert_ids_to_tokens(1) == " 中 "  # as the library has it
