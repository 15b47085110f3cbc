"""Settings files of a tokenizer with anything in them: each either loads and works, or is refused in a sentence."""

import copy
import json
import random
from typing import Any

import pytest

from minibert.errors import MinibertError, TokenizerError
from minibert.tokenizer import AddedToken, BertTokenizer
from tests.tokenizer.test_files import SPECIAL, TOKENS, folder, pipeline

NAN, HUGE = float("nan"), 10**400
WRONG = [
    None,
    True,
    False,
    0,
    1,
    -1,
    3.5,
    NAN,
    float("inf"),
    HUGE,
    10**12,
    "",
    "x",
    "false",
    "0",
    "-1",
    "007",
    "\ud800",
]
WRONG += [[], [1], ["a"], [None], [[]], [{}], {}, {"a": 1}, {"content": "x"}, {"content": 5}, {"0": {}}, {"-1": "a"}]
WRONG += [
    {"type": "Sequence", "normalizers": 5},
    {"type": "BertNormalizer"},
    {"id": 3, "content": "[PAD]"},
    "right",
    512,
]


def valid_files() -> dict[str, Any]:
    """One valid content of each file that is read."""
    tokens = {str(i): AddedToken(token, special=True).to_json() for i, token in enumerate(SPECIAL)}
    return {
        "tokenizer_config.json": {
            "do_lower_case": True,
            "strip_accents": None,
            "tokenize_chinese_chars": True,
            "model_max_length": 512,
            "max_len": 512,
            "padding_side": "right",
            "truncation_side": "right",
            "model_input_names": ["input_ids", "attention_mask"],
            "clean_up_tokenization_spaces": True,
            "split_special_tokens": False,
            "extra_special_tokens": ["<e>"],
            "additional_special_tokens": {"image_token": "<i>"},
            "added_tokens_decoder": tokens,
            "tokenizer_class": "BertTokenizer",
            "word_tokenizer_type": "basic",
            "do_basic_tokenize": True,
            "never_split": None,
            "mask_token": {"content": "[MASK]", "lstrip": True},
            **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep")},
        },
        "special_tokens_map.json": {"mask_token": {"content": "[MASK]", "lstrip": True}, "cls_token": "[CLS]"},
        "added_tokens.json": {"<new>": len(TOKENS), "<newer>": len(TOKENS) + 1},
        "tokenizer.json": pipeline(),
        "config.json": {"model_type": "bert", "tokenizer_class": None, "vocab_size": 20},
    }


def mutate(content: Any, source: random.Random) -> Any:
    """``content`` with one to three places, at any depth, replaced, removed, doubled or renamed."""
    content = copy.deepcopy(content)
    for _ in range(source.randint(1, 3)):
        node, place = content, None
        while isinstance(node, dict | list) and node and (place is None or source.random() < 0.7):
            parent, place = node, source.choice(list(node) if isinstance(node, dict) else range(len(node)))
            node = parent[place]
        if place is None:
            return source.choice(WRONG)
        what = source.random()
        if what < 0.7:
            parent[place] = copy.deepcopy(source.choice(WRONG))
        elif what < 0.85:
            del parent[place]
        elif isinstance(parent, list):
            parent.append(copy.deepcopy(node))
        else:
            parent[source.choice(["x", "-1", "07", "99999", str(HUGE), place, "content"])] = parent.pop(place)
    return content


def test_two_thousand_mutated_files(tmp_path):
    source, valid = random.Random(2026), valid_files()
    folder(tmp_path, TOKENS)
    loaded = refused = 0
    for _ in range(2000):
        present = [name for name in valid if source.random() < 0.6]
        changed = source.choice(present or ["tokenizer_config.json"])
        for name in valid:
            (tmp_path / name).unlink(missing_ok=True)
        for name in {*present, changed}:
            content = mutate(valid[name], source) if name == changed else valid[name]
            (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
        try:
            tokenizer = BertTokenizer.from_pretrained(tmp_path)
            ids = tokenizer(["Hello é [MASK]<e>", ("a", "b")], padding=True, truncation=True)["input_ids"]
            tokenizer.decode(ids, skip_special_tokens=True)
            if loaded % 20 == 0:  # each waits for the disk
                tokenizer.save_pretrained(tmp_path / "saved")
            loaded += 1
        except MinibertError as error:
            assert len(str(error)) > 20
            refused += 1
    assert (loaded > 300, refused > 800) == (True, True), (loaded, refused)


def test_valid_files_load(tmp_path):
    for name, content in valid_files().items():
        (folder(tmp_path, TOKENS) / name).write_text(json.dumps(content), encoding="utf-8")
    assert BertTokenizer.from_pretrained(tmp_path)("hello")["input_ids"] == [2, 5, 3]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"model_max_length": "x"}, 'model_max_length is "x"; expected a number of tokens, at least 1, or null'),
        ({"model_max_length": 0}, "model_max_length is 0"),
        ({"model_max_length": NAN}, "model_max_length is NaN"),
        ({"max_len": -1}, "max_len is -1"),
        ({"model_input_names": None}, "model_input_names is null; expected a list, each a name"),
        ({"model_input_names": "input_ids"}, "model_input_names is"),
        ({"do_lower_case": "false"}, 'do_lower_case is "false"; expected true or false'),
        ({"do_lower_case": 0}, "do_lower_case is 0"),
        ({"strip_accents": "null"}, 'strip_accents is "null"'),
        ({"padding_side": "Right"}, 'padding_side is "Right"; expected one of "left", "right"'),
        ({"mask_token": 5}, "mask_token is 5"),
        ({"mask_token": {"lstrip": True}}, "mask_token is"),
        ({"mask_token": {"content": "<m>", "lstrip": "yes"}}, "mask_token is"),
        ({"unk_token": None}, "unk_token is null"),
        ({"extra_special_tokens": 5}, "extra_special_tokens is 5"),
        ({"added_tokens_decoder": {"-1": {"content": "<e>"}}}, "added_tokens_decoder is"),
        ({"added_tokens_decoder": {"05": {"content": "<e>"}}}, "added_tokens_decoder is .*; expected an object of ids"),
        ({"added_tokens_decoder": {"99999999999": {"content": "<e>"}}}, "added_tokens_decoder is"),
        ({"added_tokens_decoder": ["<e>"]}, "added_tokens_decoder is"),
        ({"tokenizer_class": 5}, "tokenizer_class is 5"),
        ({"never_split": "x"}, "never_split is"),
    ],
)
def test_wrong_kinds_in_tokenizer_config(tmp_path, content, sentence):
    with pytest.raises(TokenizerError, match=r"tokenizer_config\.json: " + sentence.replace("(", r"\(")):
        BertTokenizer.from_pretrained(folder(tmp_path, TOKENS, tokenizer_config=content))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("added_tokens", {"<e>": "14"}, "gives '<e>' the id \"14\"; expected a whole number"),
        ("added_tokens", {"<e>": -1}, "gives '<e>' the id -1"),
        ("added_tokens", {"<e>": 2**31}, "gives '<e>' the id"),
        ("added_tokens", {"<e>": 14, "<f>": 14}, "give the id 14 to '<e>' and to '<f>'"),
        ("special_tokens_map", {"cls_token": ["[CLS]"]}, r"special_tokens_map\.json: cls_token is"),
        ("tokenizer", pipeline(added_tokens=[5]), r"tokenizer\.json: added_tokens is \[5\]"),
        ("tokenizer", pipeline(added_tokens=[{"content": "a"}]), "added_tokens is"),
        ("tokenizer", pipeline(added_tokens=[{"id": -3, "content": "a"}]), "added_tokens is"),
        ("tokenizer", pipeline(added_tokens=[{"id": 0, "content": "a"}, {"id": 0, "content": "b"}]), "the id 0 to 'a'"),
        ("tokenizer", pipeline(model=5), "model is 5; expected an object"),
        ("tokenizer", pipeline(model={**pipeline()["model"], "unk_token": 5}), "model: unk_token is 5"),
        (
            "tokenizer",
            pipeline(model={**pipeline()["model"], "vocab": {"[UNK]": 0, "a": 0}}),
            "the id 0 to '.UNK.' and to",
        ),
        ("tokenizer", pipeline(model={**pipeline()["model"], "vocab": {"[UNK]": 2**40}}), "no embedding table"),
        (
            "tokenizer",
            pipeline(normalizer={"type": "BertNormalizer", "lowercase": "no"}),
            'normalizer: lowercase is "no"',
        ),
        ("tokenizer", pipeline(truncation={"direction": 5}), "truncation: direction is 5"),
        (
            "tokenizer",
            pipeline(post_processor={"type": "TemplateProcessing", "pair": [5]}),
            "tokenizers library: .*PostProc",
        ),
    ],
)
def test_wrong_kinds_in_the_other_files(tmp_path, name, content, sentence):
    with pytest.raises(TokenizerError, match=sentence):
        BertTokenizer.from_pretrained(folder(tmp_path, TOKENS, **{name: content}))


@pytest.mark.parametrize("limit", [512, 512.0, 1e30, 10**30, HUGE, None])
def test_limits_that_are_written_in_many_ways(tmp_path, limit):
    tokenizer = BertTokenizer.from_pretrained(folder(tmp_path, TOKENS, tokenizer_config={"model_max_length": limit}))
    assert tokenizer.model_max_length == (int(1e30) if limit is None else int(limit))


def test_an_id_that_the_library_would_not_give_is_told(tmp_path, caplog):
    decoder = {str(len(TOKENS) + 5): {"content": "<e>"}}
    tokenizer = BertTokenizer.from_pretrained(
        folder(tmp_path, TOKENS, tokenizer_config={"added_tokens_decoder": decoder})
    )
    assert tokenizer.convert_tokens_to_ids("<e>") == len(TOKENS)
    assert "give the added token '<e>' the id 19; here, as in the tokenizers library, it gets 14" in caplog.text
