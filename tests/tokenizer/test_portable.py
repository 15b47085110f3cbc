"""A tokenizer as plain data; tests/explorer/engine/ holds what the page makes of it against ours."""

import json

from minibert.tokenizer import AddedToken, BertTokenizer
from minibert.tokenizer import characters as ch
from minibert.tokenizer.portable import mapping_text, ranges_text, settings_of, unicode_data, vocabulary_of


def expand(text: str) -> list[int]:
    """The code points of "300-36f 483 100-12e/2"."""
    codes: list[int] = []
    for entry in text.split():
        bounds, _, step = entry.partition("/")
        first, _, last = bounds.partition("-")
        codes += range(int(first, 16), int(last or first, 16) + 1, int(step or 1))
    return codes


def mapping(text: str) -> dict[str, str]:
    """The mapping that such text stands for, written the slow way."""
    result = {}
    for entry in text.split():
        source, _, target = entry.partition(">")
        codes, targets = expand(source), [int(code, 16) for code in target.split("+")]
        for code in codes:
            result[chr(code)] = "".join(map(chr, [targets[0] + code - codes[0], *targets[1:]]))
    return result


def test_the_notation() -> None:
    assert ranges_text([0x300, 0x301, 0x302, 0x483]) == "300-302 483"
    pairs = [
        (0x41, (0x61,)),
        (0x42, (0x62,)),
        (0x100, (0x101,)),
        (0x102, (0x103,)),
        (0x104, (0x105,)),
        (0x105, (0x106,)),
    ]
    assert mapping_text([*pairs, (0x130, (0x69, 0x307))]) == "41-42>61 100-104/2>101 105>106 130>69+307"
    assert mapping_text([(0xC0, (0x41, 0x300)), (0xC1, (0x41, 0x301)), (0xC3, (0x41,))]) == "c0>41+300 c1>41+301 c3>41"
    assert (ranges_text([]), mapping_text([])) == ("", "")


def test_the_tables_say_what_characters_py_says() -> None:
    tables = unicode_data()
    lower, decompositions = mapping(tables["lowercase"]), mapping(tables["decompositions"])
    combining = {chr(code): int(k) for k, text in tables["combining"].items() for code in expand(text)}
    assert (lower["İ"], lower["Σ"], decompositions["ǖ"]) == ("i\u0307", "σ", "u\u0308\u0304")
    assert (combining["\u0301"], combining["\u0323"]) == (230, 220)
    for code in [*range(0xAC00), *range(0xE000, 0x20000, 3), *range(0x2F7F0, 0x2FA30), *range(0x20000, 0x110000, 997)]:
        character = chr(code)
        assert lower.get(character, character) == ch.lowercase(character)
        assert decompositions.get(character, character) == ch.decompose(character)
        assert combining.get(character, 0) == ch.combining_class(character)


def test_the_tables_are_small() -> None:
    """They are part of every page that computes."""
    assert len(json.dumps(unicode_data())) < 45_000


def test_settings() -> None:
    sparse = {"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[PAD]": 3, "[MASK]": 4, "b": 9}
    tokenizer = BertTokenizer(sparse, do_lower_case=False, model_max_length=64)
    tokenizer.truncation_side, tokenizer.split_special_tokens = "left", True
    tokenizer.add_tokens([AddedToken("<z>"), AddedToken("b", lstrip=True)])
    settings = settings_of(tokenizer)
    assert json.loads(json.dumps(settings)) == settings
    assert (settings["do_lower_case"], settings["strip_accents"]) == (False, False)
    assert (settings["max_length"], settings["truncation_side"]) == (64, "left")
    assert settings["split_special_tokens"] is True
    assert settings["mask"] == {"id": 4, "token": "[MASK]"}
    assert [(token["content"], token["id"]) for token in settings["added"][-2:]] == [("<z>", 6), ("b", 9)]
    assert settings["added"][-1]["lstrip"] is True and settings["added"][0]["special"] is True
    assert vocabulary_of(tokenizer) == ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]", None, None, None, None, "b"]
    assert settings_of(BertTokenizer({"[UNK]": 0}))["max_length"] is None
    assert settings_of(BertTokenizer({"[UNK]": 0}, mask_token=None))["mask"] is None
