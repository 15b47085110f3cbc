"""The calling convention by known values, without any other library: batches, rows, warnings, errors, threads."""

import copy
import logging
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from minibert.errors import MinibertError, TokenizerError
from minibert.tokenizer import BertTokenizer

CLS, SEP, PAD, MASK = 1, 2, 3, 4
A, B, C, D, E = 18, 19, 20, 21, 22


def test_single_pair_and_batch(toy):
    assert dict(toy("a b")) == {
        "input_ids": [CLS, A, B, SEP],
        "token_type_ids": [0, 0, 0, 0],
        "attention_mask": [1, 1, 1, 1],
    }
    pair = toy("a b", "c")
    assert pair.input_ids == [CLS, A, B, SEP, C, SEP]
    assert pair["token_type_ids"] == [0, 0, 0, 0, 1, 1]
    assert toy(["a", ("b", "c")])["input_ids"] == [[CLS, A, SEP], [CLS, B, SEP, C, SEP]]
    assert toy(["a"], ["c"])["input_ids"] == [[CLS, A, SEP, C, SEP]]
    assert toy("a", "")["input_ids"] == [CLS, A, SEP]


def test_padding_and_truncation(toy):
    batch = toy(["a b c d", "a"], padding=True, truncation=True, max_length=5)
    assert batch["input_ids"] == [[CLS, A, B, C, SEP], [CLS, A, SEP, PAD, PAD]]
    assert batch["attention_mask"] == [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]]
    assert toy("a", padding="max_length", max_length=5, padding_side="left")["input_ids"] == [PAD, PAD, CLS, A, SEP]
    assert toy("a b c", max_length=4)["input_ids"] == [CLS, A, B, SEP]  # a bare max_length cuts
    assert toy("a", padding=True, pad_to_multiple_of=8)["input_ids"] == [CLS, A, SEP, *[PAD] * 5]
    assert toy("a b c", padding="max_length", truncation=True)["input_ids"] == [CLS, A, B, C, SEP]  # no limit known


def test_overflow(toy):
    batch = toy(["a b c d e", "a"], truncation=True, max_length=5, stride=1, return_overflowing_tokens=True)
    assert batch["input_ids"] == [[CLS, A, B, C, SEP], [CLS, C, D, E, SEP], [CLS, A, SEP]]
    assert batch["overflow_to_sample_mapping"] == [0, 0, 1]
    toy.truncation_side = "left"
    assert toy("a b c d e", truncation=True, max_length=4)["input_ids"] == [CLS, D, E, SEP]


def test_words_and_characters(toy):
    batch = toy(["UNwanted", "runn"], is_split_into_words=True, return_offsets_mapping=True)
    assert batch.tokens() == ["[CLS]", "un", "##want", "##ed", "runn", "[SEP]"]
    assert batch.word_ids() == [None, 0, 0, 0, 1, None]
    assert batch["offset_mapping"] == [(0, 0), (0, 2), (2, 6), (6, 8), (0, 4), (0, 0)]
    plain = toy("wa, un", "b")
    assert plain.sequence_ids() == [None, 0, 0, 0, None, 1, None]
    assert plain.char_to_token(4) == 3
    assert plain.char_to_token(0, sequence_index=1) == 5
    assert plain.char_to_token(3) is None
    assert plain.token_to_chars(2) == (2, 3)
    assert plain.word_to_tokens(2) == (3, 4)
    assert plain.word_to_chars(2).start == 4
    assert plain.char_to_word(2) == 1
    assert plain[0].tokens == plain.tokens()
    with pytest.raises(IndexError, match="no row 4 in a batch of 1"):
        plain.tokens(4)


def test_offsets_through_changing_lengths():
    vocab = {t: i for i, t in enumerate(["[UNK]", "i", "##stanbul", "e", "ᄇ", "##ᅢ", "中", "i\u0307", "##x"])}
    offsets = BertTokenizer(vocab)("İstanbul ééé 배 e\u0301 中中", return_offsets_mapping=True)["offset_mapping"][1:-1]
    assert offsets == [(0, 1), (1, 8), (9, 12), (13, 14), (13, 14), (15, 16), (18, 19), (19, 20)]
    kept = BertTokenizer(vocab, strip_accents=False)("İX", return_offsets_mapping=True)
    assert kept["offset_mapping"][1:-1] == [(0, 1), (1, 2)]


def test_special_tokens_in_text(toy):
    assert toy.tokenize("a[MASK]b [SEP]") == ["a", "[MASK]", "b", "[SEP]"]
    batch = toy("a[MASK]b", return_special_tokens_mask=True, return_offsets_mapping=True)
    assert batch["special_tokens_mask"] == [1, 0, 0, 0, 1]  # only what was put around the text counts
    assert batch["offset_mapping"][2] == (1, 7)
    assert "[MASK]" not in toy.tokenize("a [MASK]", split_special_tokens=True)


def test_tensors(toy):
    torch = pytest.importorskip("torch")
    batch = toy(["a b", "a"], padding=True, return_tensors="pt")
    assert batch["input_ids"].dtype == torch.int64
    assert batch["input_ids"].tolist() == [[CLS, A, B, SEP], [CLS, A, SEP, PAD]]
    assert toy("a", return_tensors="pt").to("cpu").input_ids.shape == (1, 3)
    assert sorted({**batch}) == ["attention_mask", "input_ids", "token_type_ids"]
    assert toy.decode(batch["input_ids"], skip_special_tokens=True) == ["a b", "a"]
    padded = toy.pad([{"input_ids": torch.tensor([1, 2])}, {"input_ids": torch.tensor([3])}])
    assert padded["input_ids"].tolist() == [[1, 2], [3, PAD]]
    with pytest.raises(TokenizerError, match=r"rows hold 3 to 4 tokens.*padding=True"):
        toy(["a b", "a"], return_tensors="pt")
    with pytest.raises(TokenizerError, match="'tf' is not known"):
        toy("a", return_tensors="tf")


def test_numpy(toy):
    np = pytest.importorskip("numpy")
    assert toy(["a b", "c d"], return_tensors="np")["input_ids"].dtype == np.int64


def test_too_long_is_said_once(toy, caplog):
    toy.model_max_length = 4
    with caplog.at_level(logging.WARNING):
        toy("a b c d")
        toy("a b c d")
    assert len(caplog.records) == 1
    assert "6 tokens, the model takes 4" in caplog.text
    assert toy("a b c d", truncation=True)["input_ids"] == [CLS, A, B, SEP]
    assert toy("a", padding="max_length")["input_ids"] == [CLS, A, SEP, PAD]


def test_useless_max_length_warns(toy):
    with pytest.warns(UserWarning, match="max_length=9 has no effect"):
        toy(["a", "b c"], padding=True, max_length=9)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (([],), "batch is empty"),
        ((None,), "nothing to tokenize"),
        ((3,), "The text is 3, a int; expected text"),
        ((["a", None],), "Entry 1 of the batch is None"),
        ((["a", 3],), "Entry 1 of the batch is 3, a int"),
        ((["a"], "b"), "text_pair must be a list"),
        ((["a"], ["b", "c"]), "must pair up"),
        (([["a", "b", "c"]],), "a list of 3 holding str"),
    ],
)
def test_wrong_texts(toy, arguments, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        toy(*arguments)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"truncation": "foo"}, "truncation='foo' is not known"),
        ({"padding": "foo"}, "padding='foo' is not known"),
        ({"truncation": True, "max_length": -1}, "max_length=-1 is negative"),
        ({"truncation": "only_second", "max_length": 4}, "needs a text_pair"),
        ({"truncation": True, "max_length": 5, "stride": 3}, "stride=3 must be less than the 3 tokens"),
        ({"truncation": True, "max_length": 5, "stride": 7}, "stride=7 leaves no way forward"),
        ({"padding": True, "truncation": True, "max_length": 5, "pad_to_multiple_of": 4}, "max_length=4"),
        ({"padding": "max_length", "max_length": 9, "padding_side": "up"}, "padding_side='up'"),
        ({"is_split_into_words": True}, "expected a list of words"),
    ],
)
def test_wrong_options(toy, options, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        toy("a b c d e", **options)


def test_cannot_cut_the_first_text_away(toy):
    with pytest.raises(TokenizerError, match="cannot remove 5 tokens from a text of 1"):
        toy("a", "b c d e f g", truncation="only_first", max_length=5)


def test_no_padding_token(toy):
    toy.pad_token = None
    with pytest.raises(TokenizerError, match="needs a padding token"):
        toy(["a", "b c"], padding=True)


def test_older_names(toy):
    assert dict(toy.encode_plus("a", "b")) == dict(toy("a", "b"))
    assert dict(toy.batch_encode_plus(["a", "b c"])) == dict(toy(["a", "b c"]))
    assert toy.get_special_tokens_mask([5], [6, 7]) == [1, 0, 1, 0, 0, 1]
    assert toy.get_special_tokens_mask([CLS, 5, SEP], already_has_special_tokens=True) == [1, 0, 1]
    assert toy.num_special_tokens_to_add(pair=True) == 3
    assert toy("a", text_target="b")["labels"] == [CLS, B, SEP]
    assert (toy.mask_token, toy.mask_token_id, toy.bos_token_id, toy.is_fast) == ("[MASK]", MASK, None, True)
    assert "vocab_size=25" in repr(toy)


def test_copies(toy):
    toy.add_tokens("<e>")
    for twin in (copy.deepcopy(toy), pickle.loads(pickle.dumps(toy))):
        assert twin("a <e>")["input_ids"] == toy("a <e>")["input_ids"]
        twin.add_tokens("<f>")
        assert len(twin) == len(toy) + 1
    batch = toy(["wa, un", "b"], padding=True, return_tensors="pt")
    sent = pickle.loads(pickle.dumps(batch))
    assert sent.tokens(0) == batch.tokens(0)
    assert sent[1].offsets == batch[1].offsets
    assert len(pickle.dumps(batch)) < 5000  # the vocabulary does not travel with every batch


def test_many_threads_agree(toy, monkeypatch):
    monkeypatch.setattr("minibert.tokenizer.fast.MAX_CACHED", 50)  # the memory is thrown away all the time
    monkeypatch.setattr("minibert.tokenizer.encoder.MAX_CACHED_STRETCHES", 50)
    texts = [f"un{i} wanted{i % 7}, a{i} é{i % 11} [MASK]" for i in range(400)]
    expected = [dict(toy(text, return_offsets_mapping=True)) for text in texts]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: dict(toy(text, return_offsets_mapping=True)), texts * 4))
    assert found == expected * 4


def test_memory_is_bounded(toy, monkeypatch):
    monkeypatch.setattr("minibert.tokenizer.fast.MAX_CACHED", 100)
    for i in range(1000):
        toy(f"w{i} {'x' * 200}{i}")
    assert len(toy._encoder._fast._stretches) <= 100
    assert max(map(len, toy._encoder._fast._stretches)) <= 64


def test_import_does_not_load_torch():
    code = (
        "import sys, minibert.tokenizer as t; t.BertTokenizer({'[UNK]': 0, 'a': 1})('a b');"
        "print([m for m in ('torch', 'numpy', 'transformers', 'tokenizers') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_error_is_of_the_family():
    assert issubclass(TokenizerError, MinibertError)
    assert issubclass(TokenizerError, ValueError)
