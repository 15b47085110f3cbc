"""Everything that a report says is there in English, Korean and Chinese, with the same keys and the same blanks."""

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import minibert.verify
from minibert import BertForPreTraining, InputError
from minibert.commands.verb import add_language
from minibert.verify.explanation import Explanation, Finding, explain
from minibert.verify.mistakes import Mistake, known_mistakes
from minibert.verify.ports import reference_of
from minibert.verify.sentences import LANGUAGES, blanks, retold, sentence, speak, title, word
from minibert.verify.training_causes import LOSSES

PLACES = "encoder.layer.N.output (layers 0–3), embeddings (layer 0, 2)"
# What the search adds to the table, and the blanks that it fills.
OTHERS = {
    "layers.order": {"layer", "other"},
    "layers.exchanged": {"layers"},
    "layers.skipped": {"layer"},
    "layers.repeated": {"layer"},
    "random.dropout": set(),
    "values.rounded": {"where", "dtype", "digits"},
    "mask.minus_10000": set(),
    "outputs.off_by_one": set(),
    "outputs.order": set(),
    "outputs.other": {"where", "point"},
    "decoder.not_tied": set(),
    "weights.not_loaded": {"where", "weight"},
    "weights.none_loaded": {"count", "weight", "all"},
    "weights.of_layer": {"where", "layer"},
    "weights.changed": {"where", "weight", "largest"},
    "relation.factor": {"where", "factor"},
    "relation.offset": {"where", "offset"},
    "relation.heads_permuted": {"where", "order"},
    "relation.tokens_permuted": {"where", "order"},
    "relation.one_sample": {"where", "samples"},
    "relation.padding_only": {"where"},
    "relation.rounding_grows": {"where", "ulps"},
    "relation.nan": {"theirs"},
    "relation.unknown": {"where"},
}
TRANSLATED = [language for language in LANGUAGES if language != "en"]
CODE = re.compile(
    r"[\d.e+-]+|.*[\d√].*|[a-z]*elu|leaky relu|quick gelu|gelu \((erf|tanh)\)|b?float16|[\w.]*LayerNorm.*|\w+"
)


@pytest.fixture(scope="module")
def table() -> list[Mistake]:
    reference = reference_of(BertForPreTraining.from_pretrained("minibert-demo"))
    return [mistake for part in ("embeddings", "layer", "heads") for mistake in known_mistakes(reference, part)]


@pytest.fixture(scope="module")
def expected(table: list[Mistake]) -> dict[str, set[str]]:
    """Key → the blanks that can be filled."""
    return {mistake.key: set(mistake.details) for mistake in table} | OTHERS


@pytest.mark.parametrize("language", LANGUAGES)
def test_has_a_sentence_for_every_mistake_and_for_no_other(language: str, expected: dict[str, set[str]]) -> None:
    assert set(speak(language).mistakes) == set(expected)
    assert len(expected) == len(set(expected) - set(OTHERS)) + len(OTHERS) >= 140


def test_the_command_line_offers_every_language() -> None:
    parser = argparse.ArgumentParser()
    add_language(parser)
    assert [parser.parse_args(["--language", language]).language for language in LANGUAGES] == list(LANGUAGES)


@pytest.mark.parametrize("language", LANGUAGES)
def test_blanks_are_those_of_the_mistake(language: str, expected: dict[str, set[str]]) -> None:
    said = {key: set(blanks(entry.sentence)) for key, entry in speak(language).mistakes.items()}
    assert said == expected


def test_the_same_mistake_has_the_same_details_everywhere(table: list[Mistake]) -> None:
    by_key: dict[str, set[frozenset[str]]] = {}
    for mistake in table:
        by_key.setdefault(mistake.key, set()).add(frozenset(mistake.details))
    assert [key for key, details in by_key.items() if len(details) > 1] == []


def keys_in_code() -> Iterator[tuple[str, str]]:
    """Every ``Mistake("key", …)`` that the package makes, and the file."""
    for file in Path(minibert.verify.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Mistake" and node.args:
                key = node.args[0]
                if isinstance(key, ast.Constant):
                    yield str(key.value), file.name


def test_every_mistake_made_in_code_has_a_sentence() -> None:
    found = list(keys_in_code())
    assert len(found) > 100
    assert [(key, file) for key, file in found if key not in speak("en").mistakes] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_fills_every_blank(language: str, table: list[Mistake]) -> None:
    for mistake in table:
        told = sentence(mistake.key, {**mistake.details, "where": PLACES}, language)
        assert "{" not in told and told.endswith("。" if language == "zh" else "."), told
    for key, names in OTHERS.items():
        assert "{" not in sentence(key, dict.fromkeys(names, "7"), language)


@pytest.mark.parametrize("language", TRANSLATED)
def test_words_in_details_are_translated(language: str, table: list[Mistake]) -> None:
    """What is no name, number or formula; and no translation is left that no mistake uses."""
    told = speak(language)
    values = {value for mistake in table for blank, value in mistake.details.items() if blank != "where"}
    assert [value for value in sorted(values) if told.said(value) == value and not CODE.fullmatch(value)] == []
    assert [value for value in ("none", "masked", "query", "value") if told.said(value) == value] == []
    assert set(told.details) - values == set()


@pytest.mark.parametrize(
    ("language", "places", "layers"),
    [
        ("en", "output (layers 0–3)", "0 and 2"),
        ("ko", "output(0–3번 층)", "0번 층과 2"),
        ("zh", "output (第 0–3 层)", "0 层和第 2"),
    ],
)
def test_words_around_numbers_are_translated(language: str, places: str, layers: str) -> None:
    assert speak(language).said("output (layers 0–3)") == places
    assert speak(language).said("0 and 2") == layers
    assert places in sentence("dense.no_bias", {"where": "output (layers 0–3)"}, language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_are_short_and_differ(language: str) -> None:
    titles = {key: title(key, language) for key in speak(language).mistakes}
    # Chinese has no spaces; two characters are a word on average.
    words = {text: len(text.split()) for text in titles.values()}
    if language == "zh":
        words = {text: len(re.findall("[\u4e00-\u9fff]", text)) / 2 for text in titles.values()}
    assert [text for text, count in words.items() if count > 5] == []
    assert len(set(titles.values())) == len(titles)
    assert [text for text in titles.values() if text.endswith((".", "。")) or "{" in text] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_are_in_their_language(language: str) -> None:
    script = {"en": "[a-z]{3}", "ko": "[\uac00-\ud7a3]", "zh": "[\u4e00-\u9fff]"}
    foreign = {
        "en": "[\u4e00-\u9fff\uac00-\ud7a3]",
        "ko": "[\u4e00-\u9fff]|요[.]|십시오",
        "zh": "[\uac00-\ud7a3]|[,;]$",
    }
    for key, entry in speak(language).mistakes.items():
        for text in (entry.title, entry.sentence):
            assert re.search(script[language], text, re.IGNORECASE), (key, text)
            assert not re.search(foreign[language], text), (key, text)
    for text in (*speak(language).words.values(), *speak(language).notes.values()):
        assert language == "en" or not re.search(foreign[language], text.replace("minibert", "")), text
    if language == "ko":  # as textbooks: every sentence ends in -습니다, -ㅂ니다
        texts = {key: said.sentence for key, said in speak("ko").mistakes.items()}
        texts |= {key: text for causes in speak("ko").causes.values() for key, text in causes.items()}
        ends = {key: re.findall(r"(\w{1,2})[.](?= |$)", text) for key, text in texts.items()}
        assert all(ends[key] for key in speak("ko").mistakes)
        assert {key: letters for key, letters in ends.items() if set(letters) - {"니다"}} == {}


def catalogue(language: str) -> dict[str, str]:
    """Every text of a language by its file and key."""
    told = speak(language)
    texts = {f"words {key}": text for key, text in told.words.items()}
    texts |= {f"notes {key}": text for key, text in told.notes.items()}
    texts |= {f"{of} {key}": text for of, causes in told.causes.items() for key, text in causes.items()}
    return texts | {f"mistakes {key}": entry.sentence for key, entry in told.mistakes.items()}


@pytest.mark.parametrize("language", TRANSLATED)
def test_has_the_keys_and_blanks_of_english(language: str) -> None:
    english, texts = catalogue("en"), catalogue(language)
    assert list(texts) == list(english)
    assert len(texts) > 250
    assert {key: blanks(text) for key, text in texts.items()} == {key: blanks(text) for key, text in english.items()}
    same = {key for key, text in texts.items() if text == english[key]}
    assert same <= {"words ids"}


def notes_in_code() -> Iterator[tuple[str, str]]:
    """What the package notes in a report, with 7 in its blanks, and the file."""
    for file in Path(minibert.verify.__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        named: dict[str, list[ast.expr]] = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign):
                named.setdefault(ast.unparse(node.targets[0]), []).append(node.value)
        texts: list[ast.expr] = []
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and re.search(r"\bnotes?(\.append)?$", ast.unparse(node.func)):
                name = ast.unparse(node.args[0])
                texts += named[name] if name.isupper() or name == "about" else [node.args[0]]
            elif file.name == "padding.py" and isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple):
                texts.append(node.value.elts[1])
        for text in texts:
            parts = text.values if isinstance(text, ast.JoinedStr) else [text]
            note = "".join(str(each.value) if isinstance(each, ast.Constant) else "7" for each in parts)
            if isinstance(text, ast.Constant | ast.JoinedStr) and note.strip("7"):
                yield note, file.name


def test_every_note_of_the_code_is_translated() -> None:
    found = list(notes_in_code())
    assert len(found) >= 20
    for language in TRANSLATED:
        assert [(note, file) for note, file in found if retold(note, language) == note] == []


def test_every_cause_of_a_training_has_a_sentence() -> None:
    """And no sentence is left that no cause uses."""
    folder = Path(minibert.verify.__file__).parent
    made: set[str] = set(LOSSES)
    for node in ast.walk(
        ast.parse("\n".join(file.read_text(encoding="utf-8") for file in folder.glob("training*.py")))
    ):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Cause.of":
            told = next((each.value for each in node.keywords if each.arg == "told"), node.args[0])
            made |= {each.value for each in ast.walk(told) if isinstance(each, ast.Constant)}
    assert made - {None} == set(speak("en").causes["training"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_notes_keep_what_fills_their_blanks(language: str) -> None:
    for text in speak("en").notes.values():
        names = blanks(text)
        told = retold(text.format_map({name: f"<{name}>" for name in names}), language)
        assert all(f"<{name}>" in told for name in names), told
    assert retold("a note of nobody", language) == "a note of nobody"


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_mistake_can_be_told_in_a_report(language: str, table: list[Mistake]) -> None:
    """With what the report fills in, also where one value can be several mistakes."""
    several = (table[0], table[-1])
    findings = [Finding("mistake", (mistake,), [f"encoder.layer.2.{mistake.first}"]) for mistake in table]
    told = explain(Explanation([], [*findings, Finding("mistake", several, ["embeddings"])]), language)
    assert len(told) == len(table) + 1
    assert told[-1].sentence.count(word("or", language)) == told[-1].title.count(" = ") == 1
    eps = next(each for each in told if each.name == "norm.eps (1e-5, 1e-12)")
    assert "1e-5" in eps.sentence and "1e-12" in eps.sentence and "embeddings" in eps.sentence


def test_says_what_the_learner_did() -> None:
    assert sentence("attention.no_scale", {}) == (
        "Your attention scores are not divided by √D, so the softmax is too sharp; multiply q kᵀ by 1/√D."
    )
    assert "1/√H" in sentence("attention.wrong_scale", {"scale": "1/√H"}, "ko")
    assert "上下文" in sentence("residual.elsewhere", {"where": "output.residual", "from": "the context"}, "zh")


def test_refuses_another_language_key_or_an_empty_blank() -> None:
    for call in (sentence, lambda key, _, language: title(key, language)):
        with pytest.raises(InputError, match="language is 'de'; there are sentences in 'en', 'ko', 'zh'"):
            call("attention.no_scale", {}, "de")
        with pytest.raises(InputError, match="No sentence for the mistake 'attention.spelling'"):
            call("attention.spelling", {}, "en")
    with pytest.raises(InputError, match="have no word 'hello'"):
        word("hello")
    with pytest.raises(InputError, match="language is 'de'"):
        explain(Explanation([]), "de")
    with pytest.raises(InputError, match="'norm.eps' has blanks that details does not fill: right, where"):
        sentence("norm.eps", {"eps": "1e-5"})
