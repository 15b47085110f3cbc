"""What people hand to the tokenizer: arguments of other releases, and values of a wrong type, shape or range.

Every public function gives a value or a TokenizerError, whatever it is handed.
"""

import inspect
import random
import warnings
from pathlib import Path
from typing import Any

import pytest

from minibert.errors import MinibertError, TokenizerError
from minibert.tokenizer import AddedToken, BertTokenizer
from tests.tokenizer.conftest import TOY

A, B, C, CLS, SEP, PAD = 18, 19, 20, 1, 2, 3


def toy_of(**arguments: Any) -> BertTokenizer:
    return BertTokenizer({token: i for i, token in enumerate(TOY)}, **arguments)


def test_calls_of_older_tutorials(toy):
    padded = [CLS, A, SEP, PAD, PAD]
    assert toy.encode_plus("a", max_length=5, pad_to_max_length=True)["input_ids"] == padded
    assert toy.encode("a b c d", max_length=4, pad_to_max_length=True) == [CLS, A, B, SEP]  # it has always cut, too
    assert toy.encode("a b c d", max_length=4, truncation_strategy="longest_first") == [CLS, A, B, SEP]
    assert toy("a b c d", max_length=8, pad_to_max_length=False)["input_ids"] == [CLS, A, B, C, A + 3, SEP]
    assert toy(["a", "b"], is_pretokenized=True)["input_ids"] == [CLS, A, B, SEP]
    assert toy.batch_encode_plus(["a"], return_attention_masks=False).keys() == {"input_ids", "token_type_ids"}
    assert toy.batch_encode_plus(["a"], return_input_lengths=True)["length"] == [3]
    assert toy.decode([A], use_source_tokenizer=False) == "a"
    toy.model_max_length = 5
    assert toy("a", pad_to_max_length=True)["input_ids"] == padded


def test_older_arguments_of_the_class(tmp_path):
    assert toy_of(max_len=9).model_max_length == 9
    assert toy_of(do_basic_tokenize=True, use_fast=True, verbose=False).tokenize("a") == ["a"]
    assert toy_of(never_split=["hello"]).tokenize("hello Hello") == ["hello", "hello"]
    assert toy_of(never_split=["##want"]).tokenize("##want") == ["##want"]  # not cut at its punctuation
    toy_of(never_split=["hello"]).save_pretrained(tmp_path)
    assert BertTokenizer.from_pretrained(tmp_path, use_fast=False).added_tokens_decoder[15].content == "hello"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"do_basic_tokenize": False}, "do_basic_tokenize=False is not known here.*is_split_into_words=True"),
        ({"never_split": ["zz"]}, "never_split names 'zz', which the vocabulary does not hold"),
        ({"never_split": "zz"}, 'never_split is "zz"; expected a list'),
        ({"add_prefix_space": True}, "BertTokenizer takes no add_prefix_space=: it belongs to byte-level"),
        ({"tokenizer_file": "x.json"}, "from_pretrained.'tokenizer.json'"),
        ({"do_lowercase": True}, "takes no do_lowercase=. Do you mean do_lower_case="),
        ({"do_lower_case": "false"}, 'BertTokenizer: do_lower_case is "false"; expected true or false'),
        ({"model_max_length": "512"}, 'model_max_length is "512"'),
        ({"padding_side": "up"}, 'padding_side is "up"; expected one of "left", "right"'),
        ({"cls_token": 5}, "cls_token is 5"),
        ({"model_input_names": None}, "model_input_names is null"),
    ],
)
def test_arguments_of_the_class_that_are_refused(arguments, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        toy_of(**arguments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"add_prefix_space": True}, "A call of the tokenizer takes no add_prefix_space=: it belongs to byte-level"),
        ({"tokenizer_kwargs": {}}, "takes no tokenizer_kwargs=: give the arguments by name"),
        ({"paddng": True}, "takes no paddng=. Do you mean padding="),
        ({"max_length": 5.5}, "max_length is 5.5; expected a whole number"),
        ({"max_length": "5"}, 'max_length is "5"'),
        ({"max_length": True}, "max_length is true"),
        ({"stride": -1}, "stride is -1; expected a whole number of at least 0"),
        ({"add_special_tokens": "false"}, 'add_special_tokens is "false"; expected True or False'),
        ({"return_offsets_mapping": "no"}, "return_offsets_mapping is"),
        ({"padding": ["longest"]}, "padding=.'longest'. is not known"),
        ({"padding": "max_length", "max_length": 10**12}, "Rows would become 1000000000000 tokens long"),
        ({"padding": True, "pad_to_multiple_of": 10**12}, "Rows would become 1000000000000 tokens long"),
        ({"padding_side": 5}, "padding_side=5 is not known"),
        ({"return_tensors": ["pt"]}, "return_tensors=.'pt'. is not known"),
    ],
)
def test_arguments_of_a_call_that_are_refused(toy, arguments, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        toy("a b", **arguments)


def test_numbers_of_numpy_and_torch(toy):
    np, torch = pytest.importorskip("numpy"), pytest.importorskip("torch")
    assert toy("a b c d", truncation=True, max_length=np.int64(4))["input_ids"] == [CLS, A, B, SEP]
    assert toy("a", add_special_tokens=np.bool_(False))["input_ids"] == [A]
    assert toy.decode(np.int64(A)) == toy.decode(torch.tensor(A)) == "a"
    assert toy.convert_ids_to_tokens(torch.tensor([A, B])) == ["a", "b"]
    assert toy.convert_ids_to_tokens(np.int64(A)) == "a"
    assert toy.get_special_tokens_mask(np.array([A]), torch.tensor([B])) == [1, 0, 1, 0, 1]
    assert toy.batch_decode(np.array([[A], [B]])) == ["a", "b"]


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda t: t.decode("a"), "'a' is not a token id"),
        (lambda t: t.decode([1.5]), "1.5 is not a token id"),
        (lambda t: t.decode([True]), "True is not a token id"),
        (lambda t: t.decode([-100]), "-100 is not a token id.*a label of -100"),
        (lambda t: t.decode(None), "None is not a token id"),
        (lambda t: t.decode({"ids": [1]}), "no input_ids among ids"),
        (lambda t: t.convert_tokens_to_ids(None), "takes a list of tokens, each a text; it got None"),
        (lambda t: t.convert_tokens_to_ids([5]), "a list of 1 holding int"),
        (lambda t: t.convert_tokens_to_string("a b"), "it got 'a b', a str"),
        (lambda t: t.convert_ids_to_tokens(["a"]), "'a' is not a token id"),
        (lambda t: t.tokenize(["a", "b"]), "tokenize takes one text, and got a list of 2"),
        (lambda t: t.batch_encode_plus("a b"), "takes a list of texts or of pairs, and got 'a b'"),
        (lambda t: t.batch_encode_plus(None), "and got None"),
        (lambda t: t.pad([{"input_ids": [1]}, {}]), "Row 1 to pad has no input_ids, which row 0 has"),
        (lambda t: t.pad({"input_ids": 5}), "input_ids to pad is 5"),
        (lambda t: t.pad({"input_ids": [[1], 5]}), "expected a list of rows"),
        (
            lambda t: t.pad({"input_ids": [1], "attention_mask": 1}, padding="max_length", max_length=3),
            "attention_mask",
        ),
        (lambda t: t.add_tokens(5), "5 are not tokens"),
        (lambda t: t.add_tokens([5]), "5 is not a token; expected its text or an AddedToken"),
        (lambda t: t.add_special_tokens(["<e>"]), "is not a dictionary"),
        (lambda t: t.add_special_tokens({"cls_token": 5}), "cls_token is 5"),
        (lambda t: t.add_special_tokens({"extra_special_tokens": "<e>"}), "extra_special_tokens is"),
        (lambda t: t.save_pretrained(5), "5 is not a folder"),
        (lambda t: t.save_pretrained("x", push_to_hub=True), "takes no push_to_hub=: minibert writes to no hub"),
        (lambda t: t.save_vocabulary("x", "../y"), "filename_prefix is"),
        (lambda t: setattr(t, "cls_token_id", "x"), "'x' is not a token id"),
        (lambda t: setattr(t, "cls_token", 5), "cls_token must be text"),
        (lambda t: AddedToken(5), "is not a token"),  # type: ignore[arg-type]
        (lambda t: AddedToken("x", lstrip="yes"), "flags True or False"),  # type: ignore[arg-type]
        (lambda t: BertTokenizer(5), "needs a vocabulary, and got 5"),  # type: ignore[arg-type]
        (lambda t: BertTokenizer(["a"]), "needs a vocabulary, and got"),  # type: ignore[arg-type]
        (lambda t: BertTokenizer(b"vocab.txt"), "needs a vocabulary, and got"),  # type: ignore[arg-type]
        (lambda t: t("a").char_to_token("0"), "is not a position"),
        (lambda t: t("a").tokens(None), "is not a position"),
    ],
)
def test_wrong_values(toy, call, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        call(toy)


def test_tokens_of_the_library_are_taken(toy):
    library = pytest.importorskip("tokenizers")
    token = library.AddedToken("<E>", lstrip=True, normalized=False)
    assert toy.add_tokens([token]) == 1
    assert toy.added_tokens_decoder[len(TOY)] == AddedToken("<E>", lstrip=True, normalized=False)
    assert toy.add_special_tokens({"mask_token": token}) == 1
    assert toy.mask_token == "<E>"


def test_adding_says_what_to_call_on_the_model(toy, caplog):
    toy.add_tokens(["hello", "a"])  # of the vocabulary: no row is missing
    assert caplog.text == ""
    toy.add_tokens(["<e>", "<f>"])
    toy.add_special_tokens({"mask_token": "<m>"})
    assert len(caplog.records) == 1
    assert "grew from 25 to 27 tokens" in caplog.text
    assert "model.resize_token_embeddings(len(tokenizer))" in caplog.text
    assert len(toy) == 28


class Odd:
    """An object of no use to anybody."""

    def __repr__(self) -> str:
        return "odd"


def wrong_values() -> list[Any]:
    """One of everything that an argument may turn out to be."""
    values: list[Any] = [None, True, False, 0, 1, -1, 7, 3.5, float("nan"), float("inf"), 10**30, -(10**30)]
    values += ["", "a", "false", "longest", "\ud800", "\0", "a" * 200, b"a", bytearray(b"a"), Path("a"), 2j]
    values += [
        [],
        [[]],
        [1],
        [-1],
        [None],
        ["a"],
        ["a", None],
        [["a"], ["b"]],
        [1.5],
        [[1], 2],
        [[1, 2], [3]],
        (1, "a"),
    ]
    values += [{}, {"a": 1}, {"input_ids": None}, {"input_ids": [[1], "a"]}, {"input_ids": [1], "attention_mask": 5}]
    values += [{"cls_token": None}, {"content": "x"}, {1}, {"a"}, range(3), iter([1]), object(), Odd(), len, Odd]
    values += [[Odd()], {"input_ids": Odd()}, [{"input_ids": [1]}, 5], [[], ["a"]], [("a", "b"), ("a", 5)], frozenset()]
    try:
        import numpy as np
        import torch
    except ImportError:
        return values
    values += [np.int64(3), np.float32("nan"), np.array(["a", "b"]), np.array([[1, 2]]), np.zeros((0,)), np.bool_(True)]
    values += [torch.tensor([1, 2]), torch.tensor(1.5), torch.zeros(0, 3), torch.zeros(2, 2, 2), torch.tensor([[1]])]
    return [*values, torch.tensor([True]), np.array([None, Odd()])]


def call_with(function: Any, valid: dict[str, Any], name: str, value: Any) -> bool:
    """Whether the call gave a value; anything raised but MinibertError fails the test that calls this."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            function(**{**valid, name: value})
    except MinibertError as error:
        assert len(str(error)) > 15
        return False
    except Exception as error:
        raise AssertionError(
            f"{function.__qualname__}({name}={value!r:.60}): {type(error).__name__}: {error}"
        ) from error
    return True


VALID: dict[str, dict[str, Any]] = {
    "__call__": {"text": "a b"},
    "encode": {"text": "a b"},
    "encode_plus": {"text": "a b"},
    "batch_encode_plus": {"batch_text_or_text_pairs": ["a", "b"]},
    "tokenize": {"text": "a b"},
    "pad": {"encoded_inputs": [{"input_ids": [1]}, {"input_ids": [1, 2]}]},
    "decode": {"token_ids": [1, 2]},
    "batch_decode": {"sequences": [[1, 2]]},
    "convert_tokens_to_ids": {"tokens": ["a"]},
    "convert_ids_to_tokens": {"ids": [1]},
    "convert_tokens_to_string": {"tokens": ["a"]},
    "add_tokens": {"new_tokens": ["a"]},
    "add_special_tokens": {"special_tokens_dict": {"cls_token": "[CLS]"}},
    "get_special_tokens_mask": {"token_ids_0": [1]},
    "num_special_tokens_to_add": {},
    "token_rows": {"texts": ["a b", ("a", "b c")], "max_length": 5},
    "tokens_with_offsets": {"text": "a b"},
    "save_pretrained": {},
    "save_vocabulary": {},
}


def public_methods() -> dict[str, Any]:
    names = [name for name in dir(BertTokenizer) if not name.startswith("_") or name == "__call__"]
    return {name: getattr(BertTokenizer, name) for name in names if inspect.isfunction(getattr(BertTokenizer, name))}


def test_every_public_method_is_swept():
    assert set(public_methods()) - {"get_vocab", "get_added_vocab"} == set(VALID)


@pytest.mark.parametrize("method", VALID)
def test_wrong_values_in_every_argument(method, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    calls = 0
    for name, parameter in inspect.signature(public_methods()[method]).parameters.items():
        if name == "self":
            continue
        names = [name]
        if parameter.kind is parameter.VAR_KEYWORD:  # what the call takes besides, and what other releases have
            names = ["pad_to_max_length", "truncation_strategy", "is_pretokenized", "nonsense", "padding", "max_length"]
        for argument in names:
            for value in wrong_values():
                tokenizer = toy_of()
                valid = {**VALID[method], **({"save_directory": tmp_path} if method.startswith("save") else {})}
                call_with(getattr(tokenizer, method), valid, argument, value)
                calls += 1
    assert calls > 50 or method == "num_special_tokens_to_add"


def test_wrong_values_in_the_constructor(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    vocab = {token: i for i, token in enumerate(TOY)}
    for name in inspect.signature(BertTokenizer.__init__).parameters:
        if name == "self":
            continue
        for value in wrong_values():
            call_with(
                BertTokenizer, {"vocab": vocab} if name != "vocab_file" else {}, "x" if name == "older" else name, value
            )


def test_wrong_values_in_from_pretrained(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(TOY), encoding="utf-8")
    for name in ("do_lower_case", "never_split", "tokenizer_class", "added_tokens_decoder", "unk_token", "nonsense"):
        for value in wrong_values():
            call_with(BertTokenizer.from_pretrained, {"source": tmp_path}, name, value)


def test_wrong_values_in_attributes(toy):
    for name in ("padding_side", "truncation_side", "model_max_length", "pad_token", "pad_token_id", "cls_token"):
        for value in wrong_values():
            tokenizer = toy_of()

            def change(name: str, value: Any, tokenizer: BertTokenizer = tokenizer) -> None:
                setattr(tokenizer, name, value)
                tokenizer(["a", "b c"], padding=True, truncation=True)

            call_with(change, {"name": name}, "value", value)


def test_two_wrong_values_at_once(toy):
    """Pairs of arguments of a call, seeded: what one check lets pass may trouble the next."""
    source, values = random.Random(2026), wrong_values()
    names = [name for name in inspect.signature(BertTokenizer.__call__).parameters if name not in ("self", "older")]
    for _ in range(3000):
        first, second, third = source.sample(names, 3)
        valid = {
            "text": source.choice(["a b", ["a", "b c"]]),
            first: source.choice(values),
            second: source.choice(values),
        }
        call_with(toy.__call__, valid, third, source.choice(values))


def test_wrong_values_in_a_batch(toy):
    batch = toy(["a b", "c"], ["b", "c"], padding=True)
    for method in ("tokens", "word_ids", "sequence_ids", "token_to_sequence", "token_to_word", "token_to_chars"):
        self_sweep(batch, method)
    for method in ("char_to_token", "char_to_word", "word_to_tokens", "word_to_chars", "convert_to_tensors"):
        self_sweep(toy(["a b", "c"], ["b", "c"], padding=True), method)


def self_sweep(batch: Any, method: str) -> None:
    for name in inspect.signature(getattr(batch, method)).parameters:
        for value in wrong_values():
            first = next(iter(inspect.signature(getattr(batch, method)).parameters))
            try:
                call_with(getattr(batch, method), {first: 0} if first != name else {}, name, value)
            except AssertionError as error:
                assert isinstance(error.__cause__, IndexError), error
