"""Published tokenizations: Google's own test file, a tutorial's printed output, other projects' test values."""

import json
from pathlib import Path

import pytest

from minibert.tokenizer import BasicTokenizer, BertTokenizer, WordPiece
from minibert.tokenizer import characters as ch

SHARED = Path(__file__).resolve().parents[2].parent / "shared"

GOOGLE = ["[UNK]", "[CLS]", "[SEP]", "want", "##want", "##ed", "wa", "un", "runn", "##ing", ","]
HUGGING_FACE = [*GOOGLE[:3], "[PAD]", "[MASK]", *GOOGLE[3:], "low", "lowest"]


def tokenizer_of(tokens: list[str], **rules: object) -> BertTokenizer:
    return BertTokenizer({token: i for i, token in enumerate(tokens)}, **rules)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vocab", "ids"), [(GOOGLE, [7, 4, 5, 10, 8, 9]), (HUGGING_FACE, [9, 6, 7, 12, 10, 11])], ids=["google", "hf"]
)
def test_toy_vocabulary(vocab, ids):
    tokenizer = tokenizer_of(vocab)
    tokens = tokenizer.tokenize("UNwant\u00e9d,running")
    assert tokens == ["un", "##want", "##ed", ",", "runn", "##ing"]
    assert tokenizer.convert_tokens_to_ids(tokens) == ids
    assert tokenizer.encode("UNwant\u00e9d,running", add_special_tokens=False) == ids
    assert tokenizer.convert_ids_to_tokens(ids) == tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", []),
        ("unwanted running", ["un", "##want", "##ed", "runn", "##ing"]),
        ("unwantedX running", ["[UNK]", "runn", "##ing"]),
    ],
)
def test_wordpiece(text, tokens):
    vocab = {token: i for i, token in enumerate(GOOGLE)}
    wordpiece = WordPiece(vocab, vocab["[UNK]"])
    assert [GOOGLE[piece.id] for word in text.split() for piece in wordpiece.tokenize(word)] == tokens
    assert tokenizer_of(GOOGLE, do_lower_case=False).tokenize(text) == tokens


def test_pieces_cover_the_word_without_gaps():
    vocab = {token: i for i, token in enumerate(GOOGLE)}
    pieces = WordPiece(vocab, 0).tokenize("unwanted")
    assert [(piece.start, piece.end) for piece in pieces] == [(0, 2), (2, 6), (6, 8)]


@pytest.mark.parametrize(
    ("rules", "text", "words"),
    [
        ((True, None), "ah\u535a\u63a8zz", ["ah", "博", "推", "zz"]),
        ((True, None), " \tHeLLo!how  \n Are yoU?  ", ["hello", "!", "how", "are", "you", "?"]),
        ((True, None), "H\u00e9llo", ["hello"]),
        ((True, False), " \tHäLLo!how  \n Are yoU?  ", ["hällo", "!", "how", "are", "you", "?"]),
        ((True, False), "H\u00e9llo", ["h\u00e9llo"]),
        ((True, True), " \tHäLLo!how  \n Are yoU?  ", ["hallo", "!", "how", "are", "you", "?"]),
        ((False, None), " \tHeLLo!how  \n Are yoU?  ", ["HeLLo", "!", "how", "Are", "yoU", "?"]),
        ((False, False), " \tHäLLo!how  \n Are yoU?  ", ["HäLLo", "!", "how", "Are", "yoU", "?"]),
        ((False, True), " \tHäLLo!how  \n Are yoU?  ", ["HaLLo", "!", "how", "Are", "yoU", "?"]),
        (
            (True, None),
            "a\n'll !!to?'d of, can't.",
            ["a", "'", "ll", "!", "!", "to", "?", "'", "d", "of", ",", "can", "'", "t", "."],
        ),
        ((True, None), "\u200e\u200f", []),
        ((True, None), "\xad", []),
        ((True, None), "ΟΔΟΣ", ["οδοσ"]),  # never the final sigma
        ((True, False), "İI", ["i\u0307i"]),
        ((True, None), "İI", ["ii"]),
        ((True, None), "배", ["ᄇ\u1162"]),
        ((False, None), "배", ["배"]),
        ((True, None), "a\u0085b\u001cc\u000bd", ["abcd"]),  # controls, although Python calls them whitespace
        ((True, None), "a\u2028b\u1680c\u3000d", ["a", "b", "c", "d"]),
        ((True, None), "a\u180eb\u0000c\ufffdd\ue000", ["abcd"]),
        ((True, None), "a\u061db", ["a\u061db"]),  # punctuation since Unicode 14, a plain character to the library
    ],
)
def test_basic_tokenizer(rules, text, words):
    assert BasicTokenizer(*rules).tokenize(text) == words


def test_chinese_switch():
    assert BasicTokenizer(tokenize_chinese_chars=False).tokenize("的人有") == ["的人有"]
    assert BasicTokenizer().tokenize("的人有") == ["的", "人", "有"]
    vocab = ["[UNK]", "[CLS]", "[SEP]", "的", "人", "有", "##人", "##有"]
    assert tokenizer_of(vocab, tokenize_chinese_chars=False).tokenize("的人有") == ["的", "##人", "##有"]
    assert tokenizer_of(vocab).tokenize("的人有") == ["的", "人", "有"]


def test_special_token_in_text_is_not_split():
    words = ["HeLLo", "!", "how", "Are", "yoU", "?"]
    text = " \tHeLLo!how  \n Are yoU? [UNK]"
    tokenizer = tokenizer_of(["[UNK]", "[CLS]", "[SEP]", *words], do_lower_case=False)
    assert tokenizer.tokenize(text) == [*words, "[UNK]"]


@pytest.mark.parametrize("c", [" ", "\t", "\r", "\n", "\u00a0"])
def test_whitespace(c):
    assert ch.is_whitespace(c)


def test_character_classes():
    assert not any(map(ch.is_whitespace, "A-"))
    assert ch.is_removed("\u0005")
    assert not any(map(ch.is_removed, ["A", " ", "\t", "\r", "\U0001f4a9"]))
    assert all(map(ch.is_punctuation, "-$`."))
    assert not any(map(ch.is_punctuation, "A "))


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Québec", [101, 5447, 102]),
        ("syömme \t  täällä    tänään", [101, 25353, 5358, 4168, 11937, 25425, 9092, 14634, 102]),
        ("A, naïve [MASK] AllenNLP sentence.", [101, 1037, 1010, 15743, 103, 5297, 20554, 2361, 6251, 1012, 102]),
        ("sequence builders", [101, 5537, 16472, 102]),
        ("日本語のテキスト", [101, 1864, 1876, 1950, 1671, 30239, 30227, 30233, 30240, 102]),
        ("안녕하세요", [101, 1463, 30006, 30021, 29992, 30010, 30025, 30005, 30006, 29997, 30009, 29999, 30013, 102]),
        ("Café Ünïcödé ﬁ ligature", [101, 7668, 27260, 1984, 8018, 11244, 102]),
        ("😀 emoji", [101, 100, 7861, 29147, 2072, 102]),
    ],
)
def test_bert_base_uncased(uncased, text, ids):
    assert uncased(text)["input_ids"] == ids


def test_uncased_offsets_and_length_limit(uncased):
    batch = uncased("A, naïve [MASK] AllenNLP sentence.", return_offsets_mapping=True)
    assert batch["offset_mapping"] == [
        (0, 0), (0, 1), (1, 2), (3, 8), (9, 15), (16, 21), (21, 23), (23, 24), (25, 33), (33, 34), (0, 0)
    ]  # fmt: skip
    assert 100 not in uncased("x" * 100)["input_ids"]
    assert uncased("x" * 101)["input_ids"] == [101, 100, 102]
    a, b = (uncased.encode(text, add_special_tokens=False) for text in ("sequence builders", "multi-sequence build"))
    assert uncased.encode("sequence builders", "multi-sequence build") == [101, *a, 102, *b, 102]
    assert uncased.frame.row(a, b).ids == [101, *a, 102, *b, 102]


MULTI = {
    True: {
        "나는 배를 타고 여행을 간다.": [
            101,
            95064,
            1170,
            73446,
            1179,
            67384,
            1174,
            46069,
            91480,
            20966,
            32407,
            119,
            102,
        ],
        "배가 고프다.": [101, 1170, 26179, 11376, 47468, 28000, 12261, 119, 102],
        "日本語のテキスト": [101, 4316, 4465, 7852, 1537, 43323, 26468, 20894, 102],
        "مرحبا بالعالم": [101, 476, 46624, 29628, 11045, 10975, 38657, 22757, 102],
        "हिन्दी": [101, 18882, 102],
        "ไทย": [101, 1048, 96992, 96998, 102],
        "안녕하세요": [101, 1174, 26646, 49345, 13045, 35132, 25169, 47024, 102],
    },
    False: {
        "日本語のテキスト": [101, 4348, 4476, 7220, 1946, 64184, 31656, 20703, 102],
        "مرحبا بالعالم": [101, 788, 51052, 30877, 10909, 10961, 54422, 22887, 102],
        "हिन्दी": [101, 18479, 102],
        "ไทย": [101, 1454, 37022, 20503, 102],
        "안녕하세요": [101, 9521, 118741, 35506, 24982, 48549, 102],
    },
}


@pytest.mark.parametrize("lower", [True, False], ids=["uncased", "cased"])
def test_multilingual(vocabularies, lower):
    tokenizer = BertTokenizer.from_pretrained(vocabularies / f"bert-base-multilingual-{'un' * lower}cased")
    assert tokenizer.do_lower_case is lower  # the cased folder says so in tokenizer.json alone
    for text, ids in MULTI[lower].items():
        assert tokenizer.encode(text) == ids


def test_multilingual_uncased_stores_jamo(vocabularies):
    vocab = BertTokenizer.from_pretrained(vocabularies / "bert-base-multilingual-uncased").vocab
    nfd = ["ᄇ", "##ᅢ를", "##행을", "가", "##ᆫ다", "."]
    decomposed = ["".join(map(ch.decompose, token)) for token in nfd]
    assert [vocab.get(token) for token in decomposed] == [1170, 73446, 91480, 20966, 32407, 119]


def test_kcbert(vocabularies):
    tokenizer = BertTokenizer.from_pretrained(vocabularies / "kcbert-base")
    assert (tokenizer.do_lower_case, tokenizer.model_max_length) == (False, 300)
    assert [tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id] == [
        0,
        1,
        2,
        3,
    ]
    assert tokenizer.encode("안녕하세요") == [2, 19017, 8482, 3]
    assert tokenizer.encode("하이!") == [2, 15830, 5, 3]
    lower = BertTokenizer.from_pretrained(vocabularies / "kcbert-base", do_lower_case=True, strip_accents=False)
    assert lower.encode("😀 emoji") == [2, 3849, 70, 4221, 4404, 4400, 4178, 3]


def published() -> dict:
    path = SHARED / "reference" / "published_values.json"
    return json.loads(path.read_text(encoding="utf-8"))["tokenization"] if path.exists() else {}


@pytest.mark.skipif(not published(), reason="../shared/reference/published_values.json is not here")
def test_published_values(vocabularies):
    multi = published()["google-bert/bert-base-multilingual-uncased"]
    tokenizer = BertTokenizer.from_pretrained(vocabularies / "bert-base-multilingual-uncased")
    for case in (multi["tokenize"], multi["encode"]):
        assert tokenizer.tokenize(case["marked"]) == case["tokens"]
        if "ids" in case:
            assert tokenizer.convert_tokens_to_ids(case["tokens"]) == case["ids"]
            assert tokenizer.encode(case["marked"], add_special_tokens=False) == case["ids"]
    plain = multi["tokenize"]
    assert tokenizer.tokenize(plain["text"], add_special_tokens=True) == plain["tokens"]
    part = multi["vocab_slice"]
    assert list(tokenizer.vocab.keys())[part["start"] : part["stop"]] == part["tokens"]
    kcbert = published()["beomi/kcbert-base"]
    batch = BertTokenizer.from_pretrained(vocabularies / "kcbert-base")(kcbert["sentences"], **kcbert["call"])
    assert {name: kcbert[name] for name in ("input_ids", "token_type_ids", "attention_mask")} == dict(batch)
