"""``minibert similar``: what it prints, its JSON, its layouts, and a sentence for each mistake."""

import json
import re
from pathlib import Path

import pytest

import minibert
from minibert import Embedder, embed_corpus
from minibert.cli import build_parser, main
from minibert.terminal import with_bar
from tests.support.command import mistake

FOLDER = str(Path(minibert.__file__).parent / "goldens" / "random-bert")
BANKS = ["He sat on the bank of the river.", "She put money in the bank."]


@pytest.fixture(autouse=True)
def a_terminal_of_100_columns(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")


def similar(*arguments: str) -> int:
    return main(["similar", *arguments])


def test_two_places(capsys, minilm) -> None:
    assert similar("bank", *BANKS, "--model", str(minilm)) == 0
    printed = capsys.readouterr().out
    assert "1  He sat on the «bank» of the river.  bank" in printed
    assert "2  She put money in the «bank».        bank" in printed
    assert similar("bank", *BANKS, "--model", str(minilm), "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["occurrences"][1] == {
        "number": 2,
        "text": 2,
        "start": 21,
        "end": 25,
        "written": "bank",
        "pieces": ["bank"],
        "covers": [21, 25],
        "position": 6,
    }
    assert content["pairs"] == [[1, 2]]
    assert [row["hidden_state"] for row in content["hidden_states"]] == list(range(7))
    cosines = [row["cosines"][0] for row in content["hidden_states"]]
    rows = re.findall(r"^ +(\d)  +(\d\.\d{4}) [█▏▎▍▌▋▊▉]+$", printed, flags=re.MULTILINE)
    assert rows == [(str(layer), f"{cosine:.4f}") for layer, cosine in enumerate(cosines)]
    least = min(cosines)
    assert (
        f"1–2: most alike in hidden state 0 ({cosines[0]:.4f}), least in hidden state {cosines.index(least)} "
        f"({least:.4f})" in printed
    )


def test_it_says_when_positions_differ_and_can_match_them(capsys, minilm) -> None:
    def table_of(*options: str) -> tuple[str, list[float]]:
        assert similar("bank", *BANKS, "--model", str(minilm), *options) == 0
        printed = capsys.readouterr().out
        return printed, [float(x) for x in re.findall(r"^ +\d  +(\d\.\d{4}) ", printed, flags=re.MULTILINE)]

    plain, cosines = table_of()
    assert "the word stands at different positions (5, 6), which is part of every difference below" in plain
    assert "cosine similarity by hidden state (0: the embeddings; k: the output of layer k - 1)" in plain
    matched, moved = table_of("--match-positions")
    assert "the texts were moved so that the word stands at position 6 in each" in matched
    assert cosines[0] < 0.999 and moved[0] == 1.0 and len(moved) == 7
    assert similar("bank", BANKS[0], "He ran to the bank.", "--model", str(minilm)) == 0
    assert "the word stands at position 5 in each" in capsys.readouterr().out


def test_pooling_changes_what_a_word_of_several_pieces_is(capsys, minilm) -> None:
    answers = {}
    for pooling in ("mean", "first", "last"):
        texts = ["나는 배를 타고 여행을 간다.", "배가 아프다."]
        assert similar("배", *texts, "--model", str(minilm), "--json", "--pooling", pooling) == 0
        content = json.loads(capsys.readouterr().out)
        assert content["pooling"] == pooling
        assert [len(entry["pieces"]) for entry in content["occurrences"]] == [2, 2]
        answers[pooling] = content["hidden_states"][6]["cosines"][0]
    assert len(set(answers.values())) == 3


def test_it_says_when_pieces_stand_for_more_than_the_word(capsys) -> None:
    assert similar("배", "배 그리고 배", "--model", FOLDER) == 0
    assert "which stand for" not in capsys.readouterr().out
    assert similar("riv", "the river by the river", "--model", FOLDER) == 0
    printed = capsys.readouterr().out
    assert "which stand for" in printed
    assert "the «riv»er by the river  river   river" in printed
    assert similar("zebra", "the zebra by the zebra", "--model", FOLDER) == 0
    assert "[UNK] is what the vocabulary lacks" in capsys.readouterr().out


def test_more_pairs_take_narrower_layouts(capsys) -> None:
    def printed(count: int) -> str:
        assert similar("bank", *["the bank", "by the bank of the river"] * count, "--model", FOLDER) == 0
        return capsys.readouterr().out

    few, more, many = printed(1), printed(2), printed(4)
    assert "█" in few
    assert "The pairs" not in few
    assert "hidden state      1–2      1–3      1–4      2–3      2–4      3–4" in more
    assert "█" not in more
    assert "3–4: most alike in hidden state" in more
    assert "pair     0     1     2" in many
    assert len(re.findall(r"^\d–\d +-?\d\.\d\d +-?\d\.\d\d +-?\d\.\d\d$", many, flags=re.MULTILINE)) == 28
    assert "7–8: most alike" not in many
    for text in (more, many):
        assert "The pairs are furthest apart in hidden state" in text
        assert max(map(len, text.splitlines())) <= 100


@pytest.mark.parametrize(
    ("cosine", "expected"),
    [(1.0, " 1.0000 ████████"), (0.5, " 0.5000 ████"), (0.5625, " 0.5625 ████▌"), (-0.2, "-0.2000 ")],
)
def test_bars(cosine: float, expected: str) -> None:
    assert with_bar(cosine) == expected


def test_a_long_text_is_shown_around_the_word(capsys) -> None:
    assert similar("bank", "river " * 40 + "bank\n" + "tree " * 40, "the bank", "--model", FOLDER) == 0
    assert re.search(r"1  …\w* (river )+«bank» (tree )+\w*…  bank", capsys.readouterr().out)


@pytest.mark.parametrize("keep_text", [True, False])
def test_the_nearest_texts_of_a_corpus(tmp_path, capsys, keep_text: bool) -> None:
    texts = ["the river bank", "a pear tree is in bloom", "she went home " * 9, "the bank of the river"]
    (tmp_path / "texts.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    embedder = Embedder.from_pretrained(FOLDER)
    folder = str(tmp_path / "vectors")
    embed_corpus(embedder, tmp_path / "texts.txt", folder, keep_text=keep_text)
    query = "the bank by the river"
    vectors = embedder.encode([query, *texts], normalize=True)
    expected = sorted(zip((vectors[1:] @ vectors[0]).tolist(), range(4), strict=True), reverse=True)

    assert similar(query, "--in", folder, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["query"] == query
    assert [hit["row"] for hit in content["hits"]] == [number + 1 for _, number in expected]
    assert [hit["score"] for hit in content["hits"]] == pytest.approx([score for score, _ in expected], abs=1e-6)
    assert [hit["text"] for hit in content["hits"]] == [texts[n] if keep_text else None for _, n in expected]

    assert similar(query, "--in", folder, "-k", "3", "--model", FOLDER) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["cosine", "row", "id", *(["text"] if keep_text else [])]
    assert len(lines) == 2 + 3
    for place, (line, (score, number)) in enumerate(zip(lines[2:], expected, strict=False), start=1):
        assert re.match(rf"{place}  +{score:.4f} [█▏▎▍▌▋▊▉]+ +{number + 1} ", line)
        assert (texts[number][:60] in line) == keep_text
        assert ("…" in line) == (keep_text and number == 2)
    assert "nothing" in mistake(capsys, ["similar", query, "--in", str(tmp_path / "nothing")])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["bank", *BANKS, "the pear", "--model", FOLDER], "The word 'bank' does not stand in text 3, 'the pear'."),
        (["bank", "the bank", "--model", FOLDER], "nothing to compare 'bank' with"),
        (["bank", "--model", FOLDER], "There is no text to compare 'bank' in"),
        (["bank", *BANKS, "--model", FOLDER, "-k", "3"], "-k says how many texts of a corpus"),
        (["bank", *BANKS, "--in", "folder"], "not both"),
        (["bank", "--in", "folder", "--match-positions"], "--match-positions is about a word in several texts"),
        (["bank", "--in", "folder", "--pooling", "first"], "--pooling is of a word's pieces"),
        ([" ", *BANKS, "--model", FOLDER], "The word to look for is empty"),
        (["bank", *BANKS, "--model", "/nowhere/at/all"], "is neither a folder on this disk nor a name on the hub"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str, capsys) -> None:
    assert sentence in mistake(capsys, ["similar", *arguments])


def test_help_has_an_example(capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args(["similar", "--help"])
    assert stopped.value.code == 0
    assert "example: minibert similar bank" in " ".join(capsys.readouterr().out.split())
