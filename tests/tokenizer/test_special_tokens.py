"""Special tokens: names and ids that are read, set, copied and saved; transformers' answers where it is installed."""

import copy
import pickle

import pytest

from minibert.errors import TokenizerError
from minibert.tokenizer import AddedToken, BertTokenizer
from minibert.tokenizer.vocabulary import SPECIAL_TOKEN_NAMES
from tests.tokenizer.conftest import TOY

CLS, SEP, PAD, MASK, A, B = 1, 2, 3, 4, 18, 19
CHANGES = {
    "a name": lambda t: setattr(t, "cls_token", "a"),
    "an id": lambda t: setattr(t, "sep_token_id", B),
    "no name": lambda t: setattr(t, "mask_token", None),
    "a new token": lambda t: t.add_special_tokens({"mask_token": "<mask>", "bos_token": "<s>"}),
    "extra tokens": lambda t: t.add_special_tokens({"extra_special_tokens": ["<e>", "<f>"]}),
    "further extra tokens": lambda t: [
        t.add_special_tokens({"extra_special_tokens": [token]}, replace_extra_special_tokens=False)
        for token in ("<e>", "<f>")
    ],
    "added tokens": lambda t: t.add_tokens(["<g>", "b"]),
    "another unknown token": lambda t: setattr(t, "unk_token", "[PAD]"),
    "no unknown token": lambda t: setattr(t, "unk_token", None),
}


def state_of(tokenizer) -> dict:
    names = [name for name in SPECIAL_TOKEN_NAMES if name != "unk_token"]
    return {
        **{name: getattr(tokenizer, name) for name in SPECIAL_TOKEN_NAMES},
        **{f"{name}_id": getattr(tokenizer, f"{name}_id") for name in names},
        "map": dict(tokenizer.special_tokens_map),
        "extra": list(tokenizer.extra_special_tokens),
        "all": sorted(tokenizer.all_special_tokens),
        "added": tokenizer.get_added_vocab(),
        "length": len(tokenizer),
        "ids of tokens": tokenizer.convert_tokens_to_ids(["a", "<e>", "nowhere"]),
        "text": tokenizer.encode("a <e> <mask> [MASK] <g> nowhere", add_special_tokens=False),
    }


@pytest.mark.parametrize("change", CHANGES)
def test_names_and_ids_are_those_of_transformers(change, tmp_path):
    transformers = pytest.importorskip("transformers")
    vocab = {token: i for i, token in enumerate(TOY)}
    ours, theirs = BertTokenizer(vocab), transformers.BertTokenizer(vocab=vocab)
    CHANGES[change](ours)
    CHANGES[change](theirs)
    assert state_of(ours) == state_of(theirs)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "copied",
    [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_the_same_and_apart(toy, change, copied):
    CHANGES[change](toy)
    state, rows = state_of(toy), dict(toy("a b", "wanted"))
    twin = copied(toy)
    assert type(twin) is BertTokenizer
    assert state_of(twin) == state
    assert dict(twin("a b", "wanted")) == rows
    twin.add_special_tokens({"eos_token": "</s>", "extra_special_tokens": ["<x>"]})
    twin.pad_token = "c"
    assert state_of(toy) == state
    assert twin("a </s>")["input_ids"][-2] == twin.eos_token_id == len(twin) - 2


@pytest.mark.parametrize("change", [name for name in CHANGES if "unknown" not in name])
def test_saved_and_loaded_it_is_the_same(toy, change, tmp_path):
    CHANGES[change](toy)
    toy.save_pretrained(tmp_path)
    # None is not written: a name that is unset comes back with its default.
    loaded = state_of(BertTokenizer.from_pretrained(tmp_path, mask_token=toy.mask_token))
    saved = state_of(toy)
    if change in ("a name", "an id"):  # loading sets every named token apart, setting a name does not
        loaded["added"].pop(toy.cls_token if change == "a name" else toy.sep_token)
        loaded.pop("text"), saved.pop("text")
    assert loaded == saved


def test_rows_follow_the_names(toy):
    toy.cls_token, toy.sep_token_id = "a", B
    assert toy("c")["input_ids"] == [A, 20, B]
    assert toy.frame.row([5], [6]).ids == [A, 5, B, 6, B]
    toy.pad_token = "[MASK]"
    assert toy("c", padding="max_length", max_length=4)["input_ids"] == [A, 20, B, MASK]


def test_wrong_names_and_ids(toy):
    with pytest.raises(TokenizerError, match="cls_token must be text, an AddedToken or None, got int"):
        toy.cls_token = 3
    with pytest.raises(TokenizerError, match="cls_token_id cannot be 900"):
        toy.cls_token_id = 900
    with pytest.raises(TokenizerError, match="'msk_token' is not a special token's name"):
        toy.add_special_tokens({"cls_token": "a", "msk_token": "b"})
    assert toy.cls_token == "[CLS]"  # nothing was set before the wrong name was met


def test_a_token_may_come_as_an_object_or_its_fields():
    vocab = {token: i for i, token in enumerate(TOY)}
    as_object = BertTokenizer(vocab, mask_token=AddedToken("[MASK]", lstrip=True))
    as_fields = BertTokenizer(vocab, mask_token={"content": "[MASK]", "lstrip": True})
    for tokenizer in (as_object, as_fields):
        assert (tokenizer.mask_token, tokenizer.mask_token_id) == ("[MASK]", MASK)
        assert tokenizer("a [MASK]", return_offsets_mapping=True)["offset_mapping"][2] == (1, 8)
