"""The first ids of a long text, read in parts: those of the whole, for any text, any rules and any added tokens."""

import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from minibert.errors import TokenizerError
from minibert.tokenizer import AddedToken, BertTokenizer, characters, encoder, library_encoder
from minibert.tokenizer.basic import AlignedText, BasicTokenizer
from minibert.tokenizer.library_cuts import cuts_at_spaces
from minibert.tokenizer.long_texts import knows_row
from tests.support.library_tokenizers import KINDS, TEXTS, library_tokenizer, write_tokenizer

# What the rules treat apart: accents before and after their letter, marks that NFD moves and accent stripping keeps,
# letters that become two, jamo, ideographs, punctuation, white space of all kinds, controls that are removed, words of
# more than 100 characters.
NASTY = [
    *"aBé中国가가ㅋßΣİ1_-.。、．'()[]",
    *("e\u0301", "\u0301", "\u0323", "\u0345", "\U0001d165", "\U0001d15e", "\u0f39", "\uf900", "\U0001f600", "x" * 101),
    *(" ", " ", " ", "  ", "\t", "\n", "\x0b", "\x0c", "\x85", "\u2028", "\u3000", "\u00a0"),
    *("\u200b", "\u00ad", "\ufffd", "\x00"),
    *("[MASK]", "[SEP]", "[UNK]", "foo", "Foo bar", "<e>", "\n\n", "foo-", "中文"),
]
ADDED = [
    AddedToken("foo"),
    AddedToken("Foo bar", rstrip=True),
    AddedToken("<e>", lstrip=True, rstrip=True, normalized=False),
    AddedToken("\n\n", lstrip=True, normalized=False),
    AddedToken("\t", rstrip=True),
    AddedToken("foo-", single_word=True),
    AddedToken("中文", single_word=True, normalized=False),
    AddedToken("  ", lstrip=True),
    AddedToken("[x", rstrip=True, normalized=False),
    AddedToken("É"),
    AddedToken("a\U0001d165"),
]
LETTERS = "   ▁가나ab"
VOCABULARIES = ["bert-base-uncased", "bert-base-multilingual-cased", "bert-base-multilingual-uncased", "kcbert-base"]
texts = st.lists(st.sampled_from(NASTY), max_size=80).map("".join) | st.text(max_size=60)
many = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def real(vocabularies: Path) -> dict[str, BertTokenizer]:
    return {name: BertTokenizer.from_pretrained(vocabularies / name) for name in VOCABULARIES}


def small(**rules) -> BertTokenizer:
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abefor1[]()._-'中国가xß", "##x", "##a", "##o", "e\u0301"]
    return BertTokenizer({piece: number for number, piece in enumerate(pieces)}, **rules)


@pytest.fixture
def _from_the_first_character(monkeypatch) -> None:
    """Every text counts as long, and parts are as short as can be."""
    for module in (encoder, library_encoder):
        monkeypatch.setattr(module, "CHARACTERS_PER_TOKEN", 1)
        monkeypatch.setattr(module, "SHORT", 0)


def check(tokenizer: BertTokenizer, text: str, size: int, split: bool) -> None:
    ids = tokenizer._encoder.ids
    parts = list(tokenizer._encoder._cuts.parts(text, size))
    assert "".join(parts) == text
    assert all(len(part) >= size for part in parts[:-1])
    assert [number for part in parts for number in ids(part, split)] == ids(text, split), parts
    (row,), _, truncated = tokenizer.token_rows([text], size + 1)
    whole = tokenizer(text, truncation=True, max_length=size + 1, return_offsets_mapping=True)  # of the whole text
    assert row.ids == whole["input_ids"]
    assert truncated == (len(ids(text)) > size - 1)


@pytest.mark.parametrize("name", VOCABULARIES)
@pytest.mark.usefixtures("_from_the_first_character")
@many
@given(text=texts, size=st.integers(1, 30), split=st.booleans())
def test_parts_of_a_text_have_the_ids_of_the_whole(real, name, text, size, split):
    check(real[name], text, size, split)


@pytest.mark.usefixtures("_from_the_first_character")
@many
@given(
    text=texts,
    size=st.integers(1, 12),
    rules=st.tuples(st.booleans(), st.sampled_from([None, True, False]), st.booleans()),
    added=st.lists(st.sampled_from(ADDED), max_size=4, unique=True),
    split=st.booleans(),
)
@example("中国中国", 2, (True, None, False), [], False)
@example(f"a<e>{' ' * 20}\n\nb", 8, (True, None, True), ADDED[2:4], False)
def test_parts_for_any_rules_and_added_tokens(text, size, rules, added, split):
    lower, accents, chinese = rules
    tokenizer = small(do_lower_case=lower, strip_accents=accents, tokenize_chinese_chars=chinese)
    tokenizer.add_tokens(added)
    check(tokenizer, text * 3, size, split)


def test_texts_with_added_tokens_are_cut_too():
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "##b"]
    tokenizer = BertTokenizer({piece: number for number, piece in enumerate(pieces)})
    sentence = "a ab [SEP] abb ab a ab, ab abb [MASK] a ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab ab. "
    assert len(list(tokenizer._encoder._cuts.parts(sentence * 100, 500))) > 15
    tokenizer.add_tokens(["foo", AddedToken("Foo bar", rstrip=True)])
    assert len(list(tokenizer._encoder._cuts.parts(sentence * 100, 500))) > 15


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("accents", [True, False])
def test_a_word_ends_before_every_character_of_a_cut(lower, accents):
    """All of Unicode: white space becomes a space, an ideograph begins with one, punctuation stays punctuation."""
    basic = BasicTokenizer(lower, accents)
    for code in (*range(0xD800), *range(0xE000, 0x110000)):
        character = chr(code)
        stands_alone = characters.is_whitespace(character) or characters.is_chinese(character)
        if stands_alone or characters.is_punctuation(character):
            first = basic.normalize(AlignedText.of(character)).text[:1]
            assert first == " " if stands_alone else characters.is_punctuation(first), hex(code)
            assert characters.combining_class(characters.decompose(character)[0]) == 0, hex(code)
        elif characters.is_white_space(character):
            assert characters.is_removed(character), hex(code)


@pytest.fixture(scope="module")
def libraries(tmp_path_factory) -> dict[str, BertTokenizer]:
    root = tmp_path_factory.mktemp("pipelines")
    return {kind: BertTokenizer.from_pretrained(write_tokenizer(root / kind, kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("_from_the_first_character")
@many
@given(
    text=st.lists(st.sampled_from([*NASTY, *TEXTS, *LETTERS, "<mask>", "</s>", "\u0d4e"]), max_size=60).map("".join),
    count=st.integers(1, 20),
    split=st.booleans(),
)
def test_a_pipeline_of_the_library_gives_the_first_ids(libraries, kind, text, count, split):
    ours = libraries[kind]._encoder
    assert ours._can_cut
    whole, first = ours.ids(text, split), ours.first_ids(text, split, count)
    assert first == whole[: len(first)]
    assert len(first) >= min(count, len(whole))


def test_pipelines_that_can_do_anything_are_read_whole():
    from tokenizers import Regex, normalizers, pre_tokenizers

    known = library_tokenizer("unigram")
    assert cuts_at_spaces(known, [])
    assert not cuts_at_spaces(known, [AddedToken("New York")])
    for normalizer, is_safe in (
        (normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]), True),
        (normalizers.Replace("``", '"'), True),
        (normalizers.Replace(Regex("a .*"), " "), False),
        (normalizers.Replace("a b", "c"), False),
    ):
        known.normalizer = normalizer
        assert cuts_at_spaces(known, []) is is_safe
    known.normalizer = normalizers.NFKC()
    for pre_tokenizer, is_safe in (
        (pre_tokenizers.Sequence([pre_tokenizers.Punctuation(), pre_tokenizers.WhitespaceSplit()]), True),
        (pre_tokenizers.Metaspace(split=False), False),
        (pre_tokenizers.ByteLevel(use_regex=False), False),
        (pre_tokenizers.Punctuation(), False),
        (pre_tokenizers.Split(Regex(".* "), "isolated"), False),
    ):
        known.pre_tokenizer = pre_tokenizer
        assert cuts_at_spaces(known, []) is is_safe
    known = library_tokenizer("words")
    known.model.unk_token = "not there"
    assert not cuts_at_spaces(known, [])


def test_a_long_text_takes_the_memory_of_its_beginning(real):
    """5 MB: the ids of all of it as a list would be 8 MB, of its words in tuples more."""
    tokenizer, text = real["bert-base-uncased"], "Ein Wort, und noch 1 Wörtchen. " * 160_000
    tokenizer.token_rows([text[:10_000]], 512)
    tracemalloc.start()
    (row,), _, truncated = tokenizer.token_rows([text], 512)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (len(row), truncated) == (512, 1)
    assert peak < 500_000


def test_a_lone_surrogate_far_behind_is_still_refused(real):
    with pytest.raises(TokenizerError, match="lone surrogate U\\+D800 at position 200000 of 200001"):
        real["bert-base-uncased"].token_rows(["a " * 100_000 + "\ud800"], 16)


@pytest.mark.usefixtures("_from_the_first_character")
@many
@given(
    beginning=texts,
    end=texts,
    longest=st.integers(3, 9),
    added=st.lists(st.sampled_from(ADDED), max_size=3, unique=True),
)
@example("abe foo abe foo abe [MAS", "K]", 4, [])
def test_a_beginning_that_is_enough_has_the_row_of_the_whole(beginning, end, longest, added):
    tokenizer = small()
    tokenizer.add_tokens(added)
    beginning *= 3
    if not knows_row(tokenizer, beginning, longest):
        return
    (row,), _, truncated = tokenizer.token_rows([beginning], longest)
    assert truncated == 1
    assert row.ids == tokenizer(beginning + end, truncation=True, max_length=longest, return_length=True)["input_ids"]


def test_which_beginnings_are_enough(libraries):
    tokenizer = small()
    assert knows_row(tokenizer, "a b " * 40, 9)
    assert not knows_row(tokenizer, "a b " * 3, 9)
    assert not knows_row(tokenizer, "a" * 1000, 9)  # a word that may go on
    assert not knows_row(tokenizer, "a " * 7 + " " * 1000, 9)  # seven tokens, and the row of a longer text has them too
    assert knows_row(tokenizer, "a " * 40 + " " * 10 + "b" * 1000, 9)
    tokenizer.truncation_side = "left"
    assert not knows_row(tokenizer, "a b " * 40, 9)
    assert knows_row(libraries["unigram"], "a b " * 400, 9)
    assert not knows_row(libraries["unigram"], "天" * 1000, 9)
