"""The tokenizer.json that ``save_pretrained`` writes, read by the ``tokenizers`` library: the same rows as ours.

Ids, offsets, words, tokens, segments and special masks, over adversarial strings, all rules, added tokens of every
kind, pairs, truncation, padding, and decoding.  The library alone runs the file: it takes no settings from beside it.
"""

import json
from itertools import product
from pathlib import Path

import pytest

from minibert.tokenizer import AddedToken, BertTokenizer
from tests.tokenizer.conftest import TOY

pytestmark = pytest.mark.peers
TEXTS = ["Hello world", "lowest LOW é", "", "un runn,ing a b c d e f g", "unrunning\u200b[MASK] 中文.", "a" * 101]


def saved(tokenizer: BertTokenizer, folder: Path):
    """The library's tokenizer of the file."""
    library = pytest.importorskip("tokenizers")
    tokenizer.save_pretrained(folder)
    return library.Tokenizer.from_file(str(folder / "tokenizer.json"))


def toy(**settings) -> BertTokenizer:
    return BertTokenizer({token: i for i, token in enumerate(TOY)}, **settings)


def rows(ours, texts, pairs=None, **settings) -> list[tuple]:
    found = ours(texts, pairs, return_offsets_mapping=True, return_special_tokens_mask=True, **settings)
    names = ("input_ids", "token_type_ids", "attention_mask", "special_tokens_mask", "offset_mapping")
    return [(*(found[name][i] for name in names), found.word_ids(i), found.tokens(i)) for i in range(len(texts))]


def their_rows(theirs, texts, pairs=None) -> list[tuple]:
    found = theirs.encode_batch(texts if pairs is None else list(zip(texts, pairs, strict=True)))
    return [
        (row.ids, row.type_ids, row.attention_mask, row.special_tokens_mask, row.offsets, row.word_ids, row.tokens)
        for row in found
    ]


@pytest.mark.parametrize("count", [100, pytest.param(250, marks=pytest.mark.slow)])
def test_adversarial_strings_over_all_rules_and_vocabularies(fuzzer, tmp_path, count):
    """The real vocabularies are among them where they are present."""
    for number, ((name, vocab), rules) in enumerate(product(fuzzer.find_vocabularies().items(), fuzzer.RULES)):
        if count < 500 and name != "small" and number % len(fuzzer.RULES) > 1:
            continue  # in small: lower-cased and cased
        ours = fuzzer.ours_of(vocab, rules)
        strings = fuzzer.Strings(vocab, seed=number)
        texts = [strings.one() for _ in range(count)]
        assert list(fuzzer.differences(ours, saved(ours, tmp_path), texts)) == [], (name, rules)


def test_added_tokens_of_all_32_kinds(fuzzer, tmp_path):
    """In the library's own tokenizer, to which the same tokens were added, and in ours, read from the file."""
    for rules in fuzzer.RULES[:2]:
        ours, _, contents = fuzzer.with_added_kinds(fuzzer.small_vocabulary(), rules)
        theirs, again = saved(ours, tmp_path), BertTokenizer.from_pretrained(tmp_path)
        texts = list(fuzzer.added_texts(range(0x20, 0x400), contents, beside=2))
        assert list(fuzzer.differences(ours, theirs, texts)) == []
        assert list(fuzzer.differences(again, theirs, texts)) == []


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_random_sets_of_added_tokens(fuzzer, tmp_path, count):
    source = fuzzer.AddedTokens(seed=21)
    for _ in range(count):
        rules = source.random.choice(fuzzer.RULES)
        ours, oracle = (make(fuzzer.small_vocabulary(), rules) for make in (fuzzer.ours_of, fuzzer.oracle_of))
        history = source.add(ours, oracle)
        texts = [text for text in (source.text() for _ in range(30)) if not fuzzer.panics(oracle, text)]
        assert list(fuzzer.differences(ours, saved(ours, tmp_path), texts)) == [], (rules, history)


@pytest.mark.parametrize(
    "make",
    [
        toy,
        lambda: toy(do_lower_case=False),
        lambda: toy(strip_accents=False),
        lambda: toy(tokenize_chinese_chars=False),
        lambda: toy(never_split=["low", "hello"]),
        lambda: toy(cls_token="a", sep_token="b", pad_token="c", unk_token="d", mask_token="e"),
        lambda: toy(cls_token="[SEP]"),
        lambda: toy(mask_token=AddedToken("[MASK]", lstrip=True, special=True), extra_special_tokens=["<x>"]),
        lambda: toy(bos_token="<s>", eos_token="</s>"),
    ],
    ids=["plain", "cased", "accents", "no chinese", "never split", "others", "one for two", "lstrip", "bos and eos"],
)
def test_pairs_and_truncation(make, tmp_path):
    ours = make()
    theirs = saved(ours, tmp_path)
    texts = [*TEXTS, "low <x>  [MASK] HELLO </s> low-hello"]
    pairs = [*reversed(texts)]
    assert rows(ours, texts) == their_rows(theirs, texts)
    assert rows(ours, texts, pairs) == their_rows(theirs, texts, pairs)
    for strategy, side, length in product(("longest_first", "only_first"), ("right", "left"), (2, 5, 9)):
        theirs.enable_truncation(length, strategy=strategy, direction=side)
        ours.truncation_side = side
        assert rows(ours, texts, truncation=strategy, max_length=length) == their_rows(theirs, texts)
    theirs.enable_truncation(9)
    ours.truncation_side = "right"
    theirs.enable_padding(pad_id=ours.pad_token_id, pad_token=ours.pad_token)
    together = rows(ours, texts, pairs, truncation=True, max_length=9, padding=True)
    assert together == their_rows(theirs, texts, pairs)
    assert {len(row[0]) for row in together} == {9}


def test_decoding(tmp_path):
    ours = toy()
    theirs = saved(ours, tmp_path)
    for text in TEXTS:
        ids = ours.encode(text)
        for skips in (False, True):
            assert ours.decode(ids, skip_special_tokens=skips) == theirs.decode(ids, skip_special_tokens=skips)


def test_the_file_is_complete(tmp_path):
    """Every part of the pipeline stands in it, so that a reader needs no defaults."""
    toy(do_lower_case=False, strip_accents=True).save_pretrained(tmp_path)
    content = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    assert content["normalizer"] == {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": True,
        "strip_accents": True,
        "lowercase": False,
    }
    assert [content[name]["type"] for name in ("pre_tokenizer", "post_processor", "decoder", "model")] == [
        "BertPreTokenizer",
        "TemplateProcessing",
        "WordPiece",
        "WordPiece",
    ]
    assert content["model"]["max_input_chars_per_word"] == 100
    assert [token["content"] for token in content["added_tokens"]] == ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]


def test_settings_load_in_transformers_4_and_5(tmp_path):
    """Release 4 takes extra_special_tokens as an object of names only, and fails at a list, even at an empty one."""
    for extra in ([], ["<x>"]):
        toy(extra_special_tokens=extra).save_pretrained(tmp_path)
        settings = json.loads((tmp_path / "tokenizer_config.json").read_text(encoding="utf-8"))
        assert "extra_special_tokens" not in settings
        assert settings.get("additional_special_tokens", []) == extra
        transformers = pytest.importorskip("transformers")
        theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
        assert list(theirs.extra_special_tokens) == extra
        assert theirs("a <x> b")["input_ids"] == BertTokenizer.from_pretrained(tmp_path)("a <x> b")["input_ids"]
