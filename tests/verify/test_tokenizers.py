"""Two tokenizers: right ones agree, and of each wrong one the mistake is named, and no other."""

import json
from pathlib import Path

import pytest

from minibert.cli import main
from minibert.errors import InputError
from minibert.source import DEMO, demo_folder
from minibert.tokenizer import BertTokenizer
from minibert.verify import tokenizer_numbers, verify_tokenizer
from minibert.verify.hard_texts import hard_pieces
from minibert.verify.sentences import speak
from minibert.verify.tokenizer_mistakes import known_mistakes
from minibert.verify.tokenizer_rules import Rules
from tests.support.student_tokenizer import Student

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789ßµςσαοδφτıøłđй한국배배가ㅋ中文漢李㐀カなーがひか\u3099ोिा㈀½①ªﬁ"
PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~¿«»–“”…、。！・€£→★©°§\u200b\u00ad\x01\ufffd"
# Every character alone and inside a word, so that no difference hides behind [UNK]; a few words for the search.
VOCAB = {
    token: i
    for i, token in enumerate(
        dict.fromkeys(
            [*SPECIALS, *LETTERS, *(f"##{c}" for c in LETTERS + PUNCTUATION), *PUNCTUATION,
             "the", "fox", "##ing", "##er", "hello", "mask", "café", "é", "##é", "A", "##A", "中文",
             "ss", "##ss", "xyz"]
        )
    )
}  # fmt: skip
LINES = "spaces.line_separators"  # the student follows Google's file, see docs/verify.md

# The student's mistake → the names that the report gives it.
MISTAKES = {
    "keeps_case": {"lower_case.off"},
    "keeps_accents": {"accents.kept"},
    "no_chinese": {"chinese.off"},
    "basic_block": {"chinese.basic_block"},
    "kana_too": {"chinese.kana_too"},
    "keeps_controls": {"controls.kept"},
    "keeps_format": {"controls.format_kept"},
    "controls_are_spaces": {"controls.spaces"},
    "drops_unassigned": {"controls.unassigned_too"},
    "NFKC": {"form.nfkc"},
    "folds": {"lower_case.folded"},
    "final_sigma": {"lower_case.context"},
    "NFKD_marks": {"accents.nfkd"},
    "all_marks": {"accents.all_marks"},
    "recomposes": {"accents.recomposed"},
    "tabs_dropped": {"spaces.tabs_dropped"},
    "no_punctuation": {"punctuation.none"},
    "ascii_punctuation": {"punctuation.ascii"},
    "symbols_too": {"punctuation.symbols_too"},
    "category_only": {"punctuation.category_only"},
    "splits_specials": {"special.split"},
    "specials_in_any_case": {"special.any_case"},
    "bytes": {"word_limit.bytes"},
    "no_prefix": {"prefix.none"},
    "unk_per_piece": {"unknown.per_piece"},
    "unk_rest": {"unknown.rest"},
    "no_sep": {"frame.no_sep"},
}


@pytest.fixture(scope="module")
def ours() -> BertTokenizer:
    return BertTokenizer(VOCAB, do_lower_case=True)


def names(report) -> set[str]:
    return {cause.key for cause in report.causes}


def test_our_rules_give_our_own_ids(ours) -> None:
    rules, texts = Rules.of(ours), hard_pieces(ours)
    assert len(texts) > 800
    assert [rules.ids(rules.pieces(text)) for text in texts] == ours(texts)["input_ids"]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_each_mistake_is_named_and_no_other(ours, mistake) -> None:
    report = verify_tokenizer(ours, Student(VOCAB, mistake))
    assert report.explained, report
    assert names(report) == {*MISTAKES[mistake], LINES}
    assert all(cause.shown_by.ours != cause.shown_by.theirs for cause in report.causes)


def test_a_right_one_after_googles_file(ours) -> None:
    report = verify_tokenizer(ours, Student(VOCAB))
    assert names(report) == {LINES}
    assert report.shortest is not None
    assert report.shortest.text in ("\u2028", "\u2029")


@pytest.mark.parametrize(("numbers", "key", "said"), [
    ({"limit": 200}, "word_limit", "beyond 200 characters"),
    ({"limit": 50}, "word_limit", "beyond 50 characters"),
    ({"limit": 10**9}, "word_limit", "no limit"),
    ({"most": 64}, "truncation.right", "beyond 64 pieces"),
])  # fmt: skip
def test_numbers_are_found(ours, numbers, key, said) -> None:
    report = verify_tokenizer(ours, Student(VOCAB, **numbers))
    assert names(report) == {key, LINES}
    assert said in next(cause.sentence for cause in report.causes if cause.key == key)


@pytest.mark.parametrize("mistakes", [
    ("keeps_case", "no_chinese"), ("keeps_accents", "unk_rest", "no_punctuation"), ("NFKC", "splits_specials"),
])  # fmt: skip
def test_several_mistakes_one_after_the_other(ours, mistakes) -> None:
    report = verify_tokenizer(ours, Student(VOCAB, *mistakes), seed=1)
    assert report.explained
    assert names(report) == {LINES}.union(*(MISTAKES[mistake] for mistake in mistakes))


def test_pieces_without_their_prefix(ours) -> None:
    report = verify_tokenizer(ours, Student(VOCAB, "prefix_left_out", gives="pieces"))
    assert names(report) == {"prefix.left_out", LINES}
    assert report.compared == "pieces"


def test_no_frame_is_a_note_for_a_function(ours) -> None:
    report = verify_tokenizer(ours, Student(VOCAB, "no_frame"))
    assert names(report) == {LINES}
    assert report.notes == ("Their result has no [CLS] and [SEP]; the pieces of the text alone are compared.",)


def without(token: str) -> dict[str, int]:
    return {t: i for i, t in enumerate(t for t in VOCAB if t != token)}


def test_a_missing_line(ours) -> None:
    report = verify_tokenizer(ours, Student(without("xyz"), gives="pieces"))
    assert names(report) == {"vocabulary.missing", LINES}
    report = verify_tokenizer(ours, Student(without("hello")))
    assert report.explained
    assert names(report) == {"vocabulary.missing", "vocabulary.shifted", LINES}


def test_the_report_in_three_languages(ours) -> None:
    report = verify_tokenizer(ours, Student(VOCAB, "no_frame", "keeps_case", limit=50), seed=1)
    assert names(report) == {"lower_case.off", "word_limit", LINES}
    for language, cause, seen, note in (
        (
            "en",
            "A word is [UNK] beyond 50 characters in their tokenizer; here the limit is 100 characters",
            "seen in",
            "Their result has no [CLS] and [SEP]",
        ),
        (
            "ko",
            "상대 토크나이저에서는 50자를 넘는 단어가 [UNK]가 됩니다.",
            "차이가 드러난 텍스트:",
            "[CLS]와 [SEP]가 없으므로",
        ),
        ("zh", "在对方的分词器中，超过 50 个字符的单词成为 [UNK]", "见于文本：", "对方的结果没有 [CLS] 和 [SEP]"),
    ):
        text, page = report.to_text(language), report.to_html(language)
        assert all(part in text for part in (cause, seen, note)) and "{" not in text.replace("'{'", "")
        assert f'<div lang="{language}"' in page and cause in page
        content = report.to_dict(language)
        assert any(cause in each["sentence"] for each in content["causes"]) and note in content["notes"][0]
    assert str(report) == report.to_text("en")


def test_every_mistake_has_a_sentence(ours) -> None:
    """Also where the rules are others from the start; and no sentence is left that no mistake uses."""
    used = {"form"}
    for lower in (True, False):
        for rules in (Rules.of(ours).but(lower=lower), Rules.of(ours).but(lower=lower, strip=lower, special="split")):
            for mistake in (*known_mistakes(rules), *known_mistakes(rules.but(chinese="off"))):
                assert mistake.sentence.endswith(".")
                used.add(mistake.told or mistake.key)
    code = Path(tokenizer_numbers.__file__).read_text(encoding="utf-8")
    left = {key for key in speak("en").causes["tokenizers"] if key not in used}
    assert {key for key in left if key.partition(".")[0] not in ("word_limit", "vocabulary", "truncation")} == set()
    assert all(f'"{key.partition(".")[0]}' in code for key in left)


def test_an_unknown_mistake_is_not_named(ours) -> None:
    def reversed_words(text: str) -> list[int]:
        ids = ours(text)["input_ids"]
        return [ids[0], *ids[-2:0:-1], ids[-1]]

    report = verify_tokenizer(ours, reversed_words)
    assert (report.causes, report.explained) == ((), False)
    assert report.remaining
    assert all(len(difference.text) <= 3 for difference in report.remaining)
    assert "No known mistake explains" in str(report)


def test_the_libraries_agree(tmp_path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    pytest.importorskip("transformers")
    file = demo_folder() / "tokenizer.json"
    for theirs in (str(file), "transformers", tokenizers.Tokenizer.from_file(str(file))):
        report = verify_tokenizer(DEMO, theirs)
        assert report.same, report
        assert report.texts > 2000


@pytest.mark.parametrize(("part", "changes", "keys"), [
    ("normalizer", {"lowercase": True}, {"lower_case.on", "do_lower_case.on"}),
    ("normalizer", {"strip_accents": True}, {"accents.stripped"}),
    ("normalizer", {"handle_chinese_chars": False}, {"chinese.off"}),
    ("normalizer", {"clean_text": False}, {"controls.kept"}),
    ("model", {"max_input_chars_per_word": 60}, {"word_limit"}),
])  # fmt: skip
def test_settings_of_a_tokenizer_json(tmp_path, part, changes, keys) -> None:
    pytest.importorskip("tokenizers")
    content = json.loads((demo_folder() / "tokenizer.json").read_text(encoding="utf-8"))
    content[part].update(changes)
    (tmp_path / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    report = verify_tokenizer(DEMO, str(tmp_path / "tokenizer.json"))
    assert report.explained, report
    assert names(report)
    assert names(report) <= keys


def test_the_verb(tmp_path, capsys) -> None:
    vocabulary, mine = tmp_path / "vocab.txt", tmp_path / "mine.py"
    vocabulary.write_text("".join(f"{token}\n" for token in VOCAB), encoding="utf-8")
    mine.write_text("def fails(text):\n    return [1 / 0]\n\ndef none(text):\n    return None\n", encoding="utf-8")
    for name, sentence in (("fails", "ZeroDivisionError: division by zero (line 2 of mine.py"), ("none", "expected")):
        assert main(["verify-tokenizer", str(vocabulary), "--lower-case", "--against", f"{mine}:{name}"]) == 2
        assert sentence in capsys.readouterr().err
    mine.write_text(
        f"from minibert import BertTokenizer\nours = BertTokenizer({str(vocabulary)!r}, do_lower_case=True)\n"
        "def right(text):\n    return ours(text)\n\ndef wrong(text):\n    return ours(text.replace('\\u2603', 'a'))\n",
        encoding="utf-8",
    )
    verb = ["verify-tokenizer", str(vocabulary), "--lower-case", "--against"]
    assert main([*verb, f"{mine}:right"]) == 0
    assert main([*verb, f"{mine}:wrong"]) == 0
    capsys.readouterr()
    (tmp_path / "more.txt").write_text("a snowman \u2603 here\n", encoding="utf-8")
    assert main([*verb, f"{mine}:wrong", "--texts", str(tmp_path / "more.txt"), "--json", "--seed", "3"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["shortest"]["text"] == "\u2603"
    assert (content["same"], content["seed"]) == (False, 3)
    with pytest.raises(InputError, match="is neither a tokenizer"):
        verify_tokenizer(vocabulary, "/nowhere/at/all")
