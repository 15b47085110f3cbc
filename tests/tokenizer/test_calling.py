"""The calling convention against transformers' BertTokenizer: random combinations of every argument, every field.

Where one raises the other must raise too; ours always in a sentence.
"""

import random
from typing import Any

import pytest

from minibert.errors import TokenizerError
from minibert.tokenizer import BertTokenizer

transformers = pytest.importorskip("transformers")
FIELDS = ("return_overflowing_tokens", "return_special_tokens_mask", "return_offsets_mapping", "return_length")


@pytest.fixture(scope="module")
def pair_of(fuzzer) -> tuple[Any, BertTokenizer]:
    """The same small vocabulary in both, with a model of 20 tokens."""
    vocab = fuzzer.small_vocabulary()
    return transformers.BertTokenizer(vocab, model_max_length=20), BertTokenizer(vocab, model_max_length=20)


class Calls:
    """Random calls: texts in every shape, arguments in every spelling."""

    def __init__(self, strings: Any, seed: int) -> None:
        self.random = random.Random(seed)
        self.strings = strings

    def text(self) -> str:
        fixed = ["hello world, [MASK] un-wanted café!", " ".join("abcdefghijklmnopqrst"), ""]
        return self.random.choice([self.strings.one(), *fixed])

    def words(self) -> list[str]:
        return [self.random.choice([self.text(), "hello", "New-York", ""]) for _ in range(self.random.randint(0, 5))]

    def one(self) -> tuple[Any, Any, dict[str, Any]]:
        choose = self.random
        split = choose.random() < 0.3
        item = self.words if split else self.text
        text, pair = choose.choice(
            [
                lambda: (item(), None),
                lambda: (item(), item()),
                lambda: ([item() for _ in range(choose.randint(1, 4))], None),
                lambda: ([(item(), item()) for _ in range(choose.randint(1, 4))], None),
                lambda: ([item() for _ in range(3)], [item() for _ in range(3)]),
                lambda: ([item(), (item(), item()), [item(), item()]], None),
            ]
        )()
        options: dict[str, list[Any]] = {
            "padding": [True, False, "longest", "max_length", "do_not_pad"],
            "truncation": [True, False, None, "longest_first", "only_first", "only_second", "do_not_truncate"],
            "max_length": [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 24, 32],
            "stride": [0, 1, 2, 4],
            "pad_to_multiple_of": [1, 4, 8],
            "padding_side": ["left", "right", None],
            "return_token_type_ids": [True, False, None],
            "return_attention_mask": [True, False, None],
            "split_special_tokens": [True, False],
            "add_special_tokens": [True, False],
            "return_tensors": ["pt", "np", None],
            **{name: [True] for name in FIELDS},
        }
        arguments = {name: choose.choice(values) for name, values in options.items() if choose.random() < 0.4}
        return text, pair, {**arguments, **({"is_split_into_words": True} if split else {})}


def plain(value: Any) -> Any:
    value = value.tolist() if hasattr(value, "tolist") else value
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def attempt(call: Any) -> tuple[Any, BaseException | None]:
    try:
        return call(), None
    except Exception as error:
        return None, error
    except BaseException as error:  # the library's own panics are not Exceptions
        if type(error).__name__ != "PanicException":
            raise
        return None, error


@pytest.mark.filterwarnings("ignore:.*max_length.*")
@pytest.mark.parametrize("seed", range(6))
def test_random_calls(pair_of, fuzzer, seed, capfd):
    theirs, ours = pair_of
    calls = Calls(fuzzer.Strings(ours.vocab, seed), seed)
    compared = 0
    for _ in range(100):
        text, pair, arguments = calls.one()
        theirs.truncation_side = ours.truncation_side = calls.random.choice(["left", "right"])
        expected, error = attempt(lambda: theirs(text, pair, **arguments))  # noqa: B023
        found, our_error = attempt(lambda: ours(text, pair, **arguments))  # noqa: B023
        assert (error is None) == (our_error is None), (text, pair, arguments, error, our_error)
        if error is not None:
            assert isinstance(our_error, TokenizerError)
            continue
        compared += 1
        assert list(found) == list(expected), (text, pair, arguments)
        assert {k: plain(v) for k, v in found.items()} == {k: plain(v) for k, v in expected.items()}, (text, arguments)
        assert_same_rows(found, expected)
    assert compared > 60


def assert_same_rows(found: Any, expected: Any) -> None:
    for row, (mine, other) in enumerate(zip(found.encodings, expected.encodings, strict=True)):
        for name in ("ids", "type_ids", "tokens", "offsets", "word_ids", "sequence_ids"):
            assert getattr(mine, name) == getattr(other, name), name
        assert mine.special_tokens_mask == other.special_tokens_mask
        assert mine.attention_mask == other.attention_mask
        assert mine.n_sequences == other.n_sequences
        for i in range(len(other)):
            assert found.token_to_chars(row, i) == expected.token_to_chars(row, i)
            assert found.token_to_word(row, i) == expected.token_to_word(row, i)
            assert found.token_to_sequence(row, i) == expected.token_to_sequence(row, i)
        for i in range(8):
            for text in range(other.n_sequences):
                assert found.char_to_token(row, i, text) == expected.char_to_token(row, i, text)
                assert found.char_to_word(row, i, text) == expected.char_to_word(row, i, text)
                span = expected.word_to_tokens(row, i, text)
                assert found.word_to_tokens(row, i, text) == span
                if span is not None:  # theirs fails on a word that is not there, ours gives None
                    assert found.word_to_chars(row, i, text) == expected.word_to_chars(row, i, text)


def test_decoding(pair_of, fuzzer):
    theirs, ours = pair_of
    source = random.Random(7)
    size = len(ours)
    text = "hello world . i don't know ; we 've, it 's do not ! [SEP]"
    rows = [[source.randrange(size) for _ in range(source.randint(0, 12))] for _ in range(200)]
    rows += [ours.encode(text), [size + 5, 3], []]
    for skip in (True, False):
        for clean in (True, False, None):
            options = {"skip_special_tokens": skip, "clean_up_tokenization_spaces": clean}
            assert ours.batch_decode(rows, **options) == theirs.batch_decode(rows, **options)
            assert [ours.decode(row, **options) for row in rows] == [theirs.decode(row, **options) for row in rows]
        assert ours.convert_ids_to_tokens(rows[0], skip) == theirs.convert_ids_to_tokens(rows[0], skip)
    tokens = ["hello", "##s", ",", "##", "a", "do", "not", "n't", "'"]
    assert ours.convert_tokens_to_string(tokens) == theirs.convert_tokens_to_string(tokens)
    assert ours.decode(101) == theirs.decode(101)


@pytest.mark.filterwarnings("ignore:.*max_length.*")
def test_padding_of_finished_rows(pair_of):
    theirs, ours = pair_of
    theirs.truncation_side = ours.truncation_side = "right"
    rows = [dict(ours(text, return_special_tokens_mask=True)) for text in ("hello world", "a b c d e", "")]
    inputs = [rows, rows[0], {"input_ids": [[1, 2], [3]], "labels": [[1, 2], [1]]}, {"input_ids": []}]
    options = [{"padding": p, "max_length": m} for p in (True, False, "max_length", "longest") for m in (None, 3, 12)]
    for given in inputs:
        for option in options:
            for more in ({}, {"pad_to_multiple_of": 8}, {"padding_side": "left"}, {"return_attention_mask": False}):
                expected = theirs.pad(
                    [dict(g) for g in given] if isinstance(given, list) else dict(given), **option, **more
                )
                assert dict(ours.pad(given, **option, **more)) == dict(expected), (given, option, more)


def test_arguments_have_transformers_names():
    import inspect

    theirs = inspect.signature(transformers.BertTokenizer.__call__).parameters
    ours = inspect.signature(BertTokenizer.__call__).parameters
    shared = [name for name in theirs if name not in ("kwargs", "tokenizer_kwargs")]
    assert [name for name in ours if name in theirs] == shared


def test_added_tokens(pair_of, fuzzer):
    from tokenizers import AddedToken as TheirToken

    from minibert.tokenizer import AddedToken

    vocab = fuzzer.small_vocabulary()
    theirs, ours = transformers.BertTokenizer(vocab), BertTokenizer(vocab)
    for tokens in ("newtok", "newtok", ["hello", "<e>"], ["Zz1", "zz2", "Zz1"]):
        assert ours.add_tokens(tokens) == theirs.add_tokens(tokens)
    options = [
        ("<lr>", {"lstrip": True, "rstrip": True}),
        ("<s>", {"single_word": True}),
        ("<E>", {"normalized": False}),
    ]
    for content, option in options:
        assert ours.add_tokens(AddedToken(content, **option)) == theirs.add_tokens(TheirToken(content, **option))
    named = {"mask_token": "<mask>", "extra_special_tokens": ["<x>", "<y>"]}
    assert ours.add_special_tokens(named) == theirs.add_special_tokens(named)
    for text in (
        "newtok NEWTOK anewtokb <e> a<e>b zz1 ZZ1x",
        " <lr> a  <lr>b <s> a<s>b <s>",
        "<E> <e>",
        "<mask><x>é<y>[MASK]",
    ):
        mine, other = ours(text, return_offsets_mapping=True), theirs(text, return_offsets_mapping=True)
        assert dict(mine) == dict(other)
        assert mine.tokens() == other.tokens()
        assert ours.decode(mine["input_ids"], True) == theirs.decode(other["input_ids"], skip_special_tokens=True)
    for name in ("vocab", "added_tokens_encoder", "all_special_tokens", "all_special_ids", "special_tokens_map"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert len(ours) == len(theirs)
