"""Identical to the ``tokenizers`` library: adversarial strings, code points, and the fast path to the readable one.

scripts/tools/fuzz_tokenizer.py runs the same comparison at length; here it runs for seconds.
"""

import unicodedata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibert.tokenizer import BasicTokenizer, BertTokenizer
from minibert.tokenizer import characters as ch
from minibert.tokenizer.basic import AlignedText
from minibert.tokenizer.fast import FastEncoder
from minibert.tokenizer.wordpiece import WordPiece

pytestmark = pytest.mark.peers

VOCAB = {t: i for i, t in enumerate(["[UNK]", "a", "b", "e", "##a", "##b", "##e", "σ", "ᄇ", "##ᅢ", ".", "中", "##ab"])}
ANY_RULES = st.builds(BasicTokenizer, st.booleans(), st.sampled_from([None, True, False]), st.booleans())
MARKS = "\u0301\u0323\u302e\u0345\u1baa\U0001d165\u08d4\u1dfb\u1abf\U00016ff0"
TEXTS = st.one_of(
    st.text(alphabet=st.characters(exclude_categories=["Cs"])),
    st.text(alphabet="abABeé.,中배Σİ \t\n\x0b\x85\x1c\u2028\u200b\u00ad" + MARKS, max_size=40),
)
# scripts/tools/fuzz_tokenizer.py searches for new cases; a test gives the same answer on every machine, busy or not.
SAME_EVERYWHERE = settings(derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@settings(SAME_EVERYWHERE, max_examples=500)
@given(TEXTS, ANY_RULES)
def test_fast_path_equals_readable_path(text, basic):
    wordpiece = WordPiece(VOCAB, 0)
    readable = [piece.id for word in basic.words(text) for piece in wordpiece.tokenize(word.text)]
    assert FastEncoder(basic, wordpiece).encode(text) == readable


@settings(SAME_EVERYWHERE, max_examples=300)
@given(TEXTS, ANY_RULES)
def test_words_of_stretches_are_the_words_of_the_text(text, basic):
    """Nothing looks across whitespace: the ground on which both memories stand."""
    whole = [(word.text, word.spans) for word in basic.words(text)]
    apart = []
    start = 0
    for end in [i for i, c in enumerate(text) if ch.is_whitespace(c)] + [len(text)]:
        apart += [(word.text, [(a + start, b + start) for a, b in word.spans]) for word in basic.words(text[start:end])]
        start = end
    assert apart == whole


@settings(SAME_EVERYWHERE, max_examples=300)
@given(TEXTS)
def test_spans_are_in_order_and_inside(text):
    spans = BasicTokenizer().normalize(AlignedText.of(text)).spans
    assert all(0 <= a < b <= len(text) for a, b in spans)
    assert spans == sorted(spans)


@pytest.mark.parametrize("count", [500, pytest.param(3000, marks=pytest.mark.slow)])
def test_strings_against_the_library(fuzzer, count):
    mismatches = fuzzer.fuzz(count=count, seed=2026, code_points=False)
    assert mismatches == 0


@pytest.mark.parametrize("step", [11, pytest.param(1, marks=pytest.mark.slow)])
def test_every_assigned_code_point_against_the_library(fuzzer, step):
    """Alone, between letters, and among accents; planes of private use and most ideographs are sampled."""
    large = {"Co": 4999, "Cn": 997, "Lo": 41, "So": 3, "Lm": 1}
    codes = [c for c in fuzzer.CODE_POINTS if c % large.get(unicodedata.category(chr(c)), 1) == 0]
    codes += [
        c for name in ("INERT", "KEPT_MARKS", "CHINESE") for c in fuzzer.expand(getattr(fuzzer.tables, name))[::7]
    ]
    assert len(codes) > 15_000
    codes = codes[::step]
    stretches = [f"{chr(c)} a{chr(c)}b é{chr(c)}\u0323\u302e{chr(c)}A" for c in codes]
    texts = [" ".join(stretches[i : i + 20]) for i in range(0, len(stretches), 20)]
    vocab = fuzzer.small_vocabulary()
    for rules in ((True, None, True), (False, None, True)):
        assert list(fuzzer.differences(fuzzer.ours_of(vocab, rules), fuzzer.oracle_of(vocab, rules), texts)) == []


def test_tables_are_what_the_library_does(fuzzer):
    """The table that a new version of the library would change first; ``--tables`` prints all anew."""
    from tokenizers import normalizers, pre_tokenizers

    clean = normalizers.BertNormalizer(True, False, False, False).normalize_str
    split = pre_tokenizers.BertPreTokenizer().pre_tokenize_str
    sample = [chr(c) for c in fuzzer.CODE_POINTS[:0x3000]]
    assert [c for c in sample if not clean(c)] == [c for c in sample if ch.is_removed(c)]
    assert [c for c in sample if len(split(f"a{c}b")) == 3] == [c for c in sample if ch.is_punctuation(c)]


def test_unicode_rules_do_not_depend_on_python():
    """Characters whose data Python 3.11, 3.12, 3.13 and later see differently, with the library's answer."""
    assert ch.decompose("\U00011938") == "\U00011938"  # decomposes since Unicode 13
    assert ch.decompose("\U000105c9") == "\U000105c9"  # … since Unicode 16
    assert ch.combining_class("\u1abf") == 0
    assert ch.lowercase("\ua7dc\u1c89\U00010d50\U00016ea0") == "\u019b\u1c8a\U00010d70\U00016ebb"  # Unicode 16 and 17
    assert not ch.is_nonspacing_mark("\u08d4")
    assert ch.is_nonspacing_mark("\u1734")
    assert ch.is_punctuation("\u166d")
    assert not ch.is_punctuation("\u2e5d")


@pytest.mark.parametrize("text", ["a\ud800b", "\udfff", "é\udc80"])
def test_lone_surrogates_are_refused_by_position(toy: BertTokenizer, text):
    position = next(i for i, c in enumerate(text) if "\ud800" <= c <= "\udfff")
    code = f"U\\+{ord(text[position]):04X}"
    for call in (toy, toy.tokenize, toy.encode, lambda t: toy(["a", t], return_offsets_mapping=True)):
        with pytest.raises(ValueError, match=f"lone surrogate {code} at position {position}"):
            call(text)
