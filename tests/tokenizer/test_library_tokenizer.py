"""Tokenizers that are not WordPiece: the results of transformers' PreTrainedTokenizerFast on the same folders.

Two things differ on purpose, both in rows of overflow (the windows after a text's first).  Where a post-processor trims
offsets, the library counts the space before a window's first token as it does at the beginning of a text; ours has the
offsets that the token has anywhere else.  And a template without segments is not applied to the second text there, so
that its segment stays 1; ours is 0 in every row.
"""

import copy
import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minibert.errors import InputError, MinibertError, MissingExtraError, TokenizerError
from minibert.tokenizer import AddedToken, BertTokenizer, LibraryTokenizer
from minibert.tokenizer.portable import settings_of
from minibert.verify import verify_tokenizer
from tests.support.library_tokenizers import FRAMES, KINDS, TEXTS, TRIMS, write_tokenizer

HARD = ["", " ", "<mask>", "a<mask>b", "배를 <mask> 간다", "<s> x </s>", "\u200b", "가각ㄱᄀ\x00", "\u3000 \u00a0"]
LETTERS = "".join(TEXTS) + "<mask></s>\u3000\u00a0가각ㄱᄀ"
CALLS: list[dict[str, Any]] = [
    {},
    {"add_special_tokens": False},
    {"padding": True, "truncation": True, "max_length": 12},
    {"truncation": True, "max_length": 11, "stride": 2, "return_overflowing_tokens": True},
    {"padding": "max_length", "max_length": 20, "padding_side": "left", "truncation": "longest_first"},
    {"split_special_tokens": True},
    {"is_split_into_words": True},
]
ASKED = {
    "return_offsets_mapping": True, "return_special_tokens_mask": True, "return_token_type_ids": True,
    "return_attention_mask": True,
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[tuple[str, str], Path]:
    root = tmp_path_factory.mktemp("tokenizers")
    return {(kind, frame): write_tokenizer(root / kind / frame, kind, frame) for kind in KINDS for frame in FRAMES}


@pytest.fixture(scope="module")
def both(folders) -> dict[tuple[str, str], tuple[BertTokenizer, Any]]:
    from transformers import AutoTokenizer

    return {
        name: (BertTokenizer.from_pretrained(folder), AutoTokenizer.from_pretrained(folder))
        for name, folder in folders.items()
    }


@pytest.fixture
def unigram(folders) -> BertTokenizer:
    return BertTokenizer.from_pretrained(folders["unigram", "XLM-R"])


def plain(batch: Any) -> dict[str, Any]:
    return json.loads(json.dumps(batch.data))


def assert_same(ours: BertTokenizer, theirs: Any, frame: str, text: Any, pair: Any, **call: Any) -> None:
    mine, other = (one(text, pair, **ASKED, **call) for one in (ours, theirs))
    found, expected = plain(mine), plain(other)
    overflow = "stride" in call
    if overflow and frame in TRIMS:
        del found["offset_mapping"], expected["offset_mapping"]
    if overflow and frame == "XLM-R":
        del found["token_type_ids"], expected["token_type_ids"]
    assert found == expected, (text, pair, call)
    for row in range(len(found["input_ids"]) if overflow else 1):
        assert mine.tokens(row) == other.tokens(row)
        assert mine.word_ids(row) == other.word_ids(row)
        assert mine.sequence_ids(row) == other.sequence_ids(row)


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("kind", KINDS)
def test_calls_are_those_of_transformers(both, kind, frame):
    ours, theirs = both[kind, frame]
    assert isinstance(ours, LibraryTokenizer) and isinstance(ours, BertTokenizer)
    texts = [*TEXTS, *HARD]
    for call in CALLS:
        for number, text in enumerate(texts):
            pair = texts[(7 * number + 3) % len(texts)]
            if "is_split_into_words" in call:
                text, pair = text.split(" "), pair.split(" ")  # noqa: PLW2901
            assert_same(ours, theirs, frame, text, None, **call)
            if pair and (frame == "XLM-R" or "stride" not in call):
                try:
                    theirs(text, pair, **call)
                except BaseException as error:  # the library panics where a window cannot move on
                    assert "stride" in str(error)
                    with pytest.raises(TokenizerError, match="stride"):
                        ours(text, pair, **call)
                else:
                    assert_same(ours, theirs, frame, text, pair, **call)


@pytest.mark.parametrize("kind", KINDS)
def test_vocabulary_and_decoding_are_those_of_transformers(both, kind):
    ours, theirs = both[kind, "XLM-R"]
    for name in ("vocab_size", "all_special_tokens", "all_special_ids", "model_max_length", "padding_side", "is_fast"):
        assert getattr(ours, name) == getattr(theirs, name), name
    for name in ("unk", "sep", "pad", "cls", "mask", "bos", "eos"):
        assert getattr(ours, f"{name}_token_id") == getattr(theirs, f"{name}_token_id"), name
    assert len(ours) == len(theirs)
    assert ours.get_vocab() == theirs.get_vocab()
    for pair in (False, True):
        assert ours.num_special_tokens_to_add(pair) == theirs.num_special_tokens_to_add(pair)
    for text in [*TEXTS, *HARD]:
        ids = theirs(text)["input_ids"]
        assert ours.tokenize(text) == theirs.tokenize(text)
        assert ours.encode(text) == theirs.encode(text)
        assert ours.convert_ids_to_tokens(ids) == theirs.convert_ids_to_tokens(ids)
        assert ours.convert_tokens_to_ids(["a", "없는말", "<mask>"]) == theirs.convert_tokens_to_ids(
            ["a", "없는말", "<mask>"]
        )
        for skips in (False, True):
            assert ours.decode(ids, skip_special_tokens=skips) == theirs.decode(ids, skip_special_tokens=skips)
    assert ours.convert_ids_to_tokens([0, 10**7, 2**40]) == ["<s>", None, None]
    rows = [theirs(text)["input_ids"] for text in TEXTS]
    assert ours.batch_decode(rows) == theirs.batch_decode(rows)
    assert plain(ours.pad({"input_ids": rows})) == plain(theirs.pad({"input_ids": rows}))


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.one_of(st.sampled_from(LETTERS), st.characters(exclude_categories=["Cs"])), max_size=40))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text(both, kind, text):
    for frame in ("XLM-R", "RoBERTa", "BERT"):
        ours, theirs = both[kind, frame]
        assert_same(ours, theirs, frame, text, None)
        assert_same(ours, theirs, frame, text, "배를 a", padding="max_length", max_length=16, truncation=True)


def test_a_batch_is_its_texts(unigram):
    """The quick path, which encodes many texts at once, and rows for the embedder."""
    texts = [*TEXTS, *HARD] * 3
    batch = unigram(texts)
    assert batch["input_ids"] == [unigram(text, return_offsets_mapping=True)["input_ids"] for text in texts]
    rows, owners, cut = unigram.token_rows(texts, 12, stride=2)
    assert set(owners) == set(range(len(texts))) and cut == 0
    assert max(map(len, rows)) == 12
    assert all(row.ids[0] == 0 and row.ids[-1] == 1 for row in rows)
    tensors = unigram(TEXTS[:2], TEXTS[2:4], padding=True, return_tensors="pt")
    assert tensors["token_type_ids"].sum() == 0  # XLM-R's template knows no segments
    words = unigram("배를 타고", return_offsets_mapping=True)
    assert words.char_to_token(3) == next(i for i, span in enumerate(words["offset_mapping"]) if span[0] <= 3 < span[1])


def test_threads_copies_and_pickles(unigram):
    expected = [unigram.encode(text) for text in TEXTS]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(unigram.encode, TEXTS * 20)) == expected * 20
    for twin in (copy.deepcopy(unigram), copy.copy(unigram), pickle.loads(pickle.dumps(unigram))):
        assert [twin.encode(text) for text in TEXTS] == expected
        assert twin.pad_token_id == 2


def test_added_tokens(unigram, folders):
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(folders["unigram", "XLM-R"])
    before = unigram("배를 새말 간다")
    for one in (unigram, theirs):
        assert one.add_tokens(["새말"]) == 1
        assert one.add_special_tokens({"extra_special_tokens": ["<e>"]}) == 1
    assert len(before.tokens()) == len(before["input_ids"])  # made now, by the tokenizer as it was
    assert unigram.convert_tokens_to_ids("새말") not in before["input_ids"]
    for text in ("배를 새말 간다<e>", "새말새말"):
        assert unigram(text, return_offsets_mapping=True).tokens() == theirs(text).tokens()
        assert unigram.encode(text) == theirs.encode(text)
    assert len(unigram) == len(theirs)


def test_round_trip(unigram, tmp_path):
    from transformers import AutoTokenizer

    unigram.add_tokens([AddedToken("새말")])
    names = [Path(path).name for path in unigram.save_pretrained(tmp_path)]
    assert names == ["tokenizer.json", "tokenizer_config.json"]
    again, theirs = BertTokenizer.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    for text in [*TEXTS, *HARD, "새말"]:
        assert again.encode(text) == unigram.encode(text) == theirs.encode(text)
    assert again.special_tokens_map == unigram.special_tokens_map
    assert again.model_max_length == 64


def test_a_tokenizer_json_alone_shows_its_special_tokens(folders):
    tokenizer = BertTokenizer.from_pretrained(folders["unigram", "XLM-R"] / "tokenizer.json")
    names = ("cls_token", "sep_token", "pad_token", "unk_token", "mask_token")
    assert [getattr(tokenizer, name) for name in names] == ["<s>", "</s>", "<pad>", "<unk>", "<mask>"]
    assert tokenizer(TEXTS[:2], padding=True)["input_ids"][1][-1] == 2


def changed(tmp_path: Path, change: Any, **config: Any) -> Path:
    folder = write_tokenizer(tmp_path, "unigram", "XLM-R", **config)
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    change(content)
    (folder / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def template(**parts: Any) -> Any:
    return lambda content: content["post_processor"].update(parts)


def twice(content: dict[str, Any]) -> None:
    content["post_processor"] = {"type": "Sequence", "processors": [content["post_processor"]] * 2}


A, B = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")
S = {"SpecialToken": {"id": "<s>", "type_id": 0}}


@pytest.mark.parametrize(
    ("change", "config", "sentence"),
    [
        (template(single=[S, B]), {}, "does not lay out the text A once and in order"),
        (template(pair=[B, S, A]), {}, "does not lay out the texts A and B once and in order"),
        (template(single=[{"Sequence": {"id": "A", "type_id": 1}}]), {}, "puts a single text into segment 1"),
        (template(pair=[A, {"Sequence": {"id": "B", "type_id": 2}}]), {}, "gives a pair other segments"),
        (template(single=[{"SpecialToken": {"id": "<q>", "type_id": 0}}, A]), {}, "template 'single' .* is broken"),
        (twice, {}, "has several steps that add special tokens"),
        (
            template(special_tokens={"<s>": {"id": "<s>", "ids": [7], "tokens": ["<s>"]},
                                     "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}),
            {}, "gives '<s>' the id 7; in its vocabulary that token has 0",
        ),
        (lambda content: content["model"].update(vocab=[]), {}, "cannot be read by the tokenizers library|no tokens"),
        (lambda content: content.pop("model"), {}, "it has no model"),
        (lambda content: None, {"do_lower_case": True}, "do_lower_case is True, and its pipeline does otherwise"),
        (lambda content: None, {"word_tokenizer_type": "mecab"}, "cuts words with 'mecab'"),
        (lambda content: None, {"padding_side": "up"}, "padding_side is"),
        (lambda content: content.update(pre_tokenizer={"type": "ByteLevel", "add_prefix_space": True,
                                                       "trim_offsets": True, "use_regex": True}),
         {"add_prefix_space": False}, "add_prefix_space is True there and False"),
    ],
)  # fmt: skip
def test_what_cannot_be_run_is_refused(tmp_path, change, config, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        BertTokenizer.from_pretrained(changed(tmp_path, change, **config))


def test_settings_that_contradict_are_told(tmp_path, caplog):
    BertTokenizer.from_pretrained(write_tokenizer(tmp_path / "none", "unigram", "none"))
    assert "writes no special tokens into a row, and not cls_token='<s>', sep_token='</s>'" in caplog.text
    caplog.clear()
    folder = write_tokenizer(tmp_path / "small")
    (folder / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 50}), encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert f"there are {len(tokenizer)} tokens, and config.json's vocab_size is 50" in caplog.text
    with pytest.raises(TokenizerError, match="do_lower_case is True, and its pipeline does otherwise"):
        BertTokenizer.from_pretrained(folder, do_lower_case=True)
    assert BertTokenizer.from_pretrained(folder, do_lower_case=False, model_max_length=9).model_max_length == 9


@pytest.mark.parametrize("name", ["sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.json"])
def test_pieces_alone_are_told_how_to_become_a_tokenizer(tmp_path, name):
    (tmp_path / name).write_bytes(b"{}")
    sources = [tmp_path] if name.endswith(".json") else [tmp_path, tmp_path / name]
    for source in sources:
        with pytest.raises(TokenizerError, match=rf"{name} is .* AutoTokenizer.from_pretrained\('FOLDER'\)"):
            BertTokenizer.from_pretrained(source)


def test_without_the_library(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    sentence = r"run by the tokenizers library, because its model is 'Unigram'.*pip install '\.\[tokenizers\]'"
    with pytest.raises(MissingExtraError, match=sentence):
        BertTokenizer.from_pretrained(folders["unigram", "XLM-R"])


def test_bad_text_and_calls(unigram, folders):
    with pytest.raises(TokenizerError, match="lone surrogate"):
        unigram("a\ud800")
    with pytest.raises(TokenizerError, match="lone surrogate"):
        unigram(["b", "a\ud800"])
    with pytest.raises(TokenizerError, match="has no vocab.txt"):
        unigram.save_vocabulary(".")
    with pytest.raises(TokenizerError, match="takes no do_lower_case="):
        LibraryTokenizer(unigram.pipeline, do_lower_case=True)
    with pytest.raises(TokenizerError, match="A page that computes has BERT's own tokenizer"):
        settings_of(unigram)
    with pytest.raises(InputError, match="no rules of ours to compare"):
        verify_tokenizer(unigram, str)


def test_an_unknown_word_without_an_unknown_token(tmp_path):
    folder = changed(tmp_path, lambda content: content["model"].update(unk_id=None), unk_token=None)
    tokenizer = BertTokenizer.from_pretrained(folder)
    assert tokenizer.unk_token is None
    for texts in ("語語語", ["a", "語語語"]):
        with pytest.raises(TokenizerError, match="cannot encode '語語語'"):
            tokenizer(texts)


def test_mutated_files_are_read_or_refused(folders, tmp_path):
    """Every part of a tokenizer.json but its pieces, replaced by something else: a MinibertError, or a tokenizer."""
    content = json.loads((folders["metaspace bpe", "sequence"] / "tokenizer.json").read_text(encoding="utf-8"))
    places = [(part,) for part in content] + [
        (p, k) for p in content if isinstance(content[p], dict) for k in content[p]
    ]
    places += [("post_processor", "processors", 1), ("post_processor", "processors", 1, "pair"), ("added_tokens", 0)]
    loaded = 0
    for place in places:
        for value in (None, -1, "x", [], {}, [1], {"a": 1}):
            whole = inner = json.loads(json.dumps(content))
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            (tmp_path / "tokenizer.json").write_text(json.dumps(whole), encoding="utf-8")
            try:
                BertTokenizer.from_pretrained(tmp_path)(["배를 타고", ""])
            except MinibertError as error:
                assert len(str(error)) > 40
            else:
                loaded += 1
    assert loaded > 10


def test_the_padding_token_of_a_stored_padding(folders, tmp_path):
    content = json.loads((folders["unigram", "XLM-R"] / "tokenizer.json").read_text(encoding="utf-8"))
    stored = {"strategy": "BatchLongest", "direction": "Left", "pad_to_multiple_of": None, "pad_id": 3}
    content["padding"] = {**stored, "pad_type_id": 0, "pad_token": "<unk>"}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    tokenizer = BertTokenizer.from_pretrained(tmp_path)
    assert (tokenizer.pad_token, tokenizer.padding_side) == ("<unk>", "left")
    assert tokenizer(["배", "배를 타고"], padding=True)["input_ids"][0][0] == 3
