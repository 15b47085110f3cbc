"""The demo checkpoint's text: chapters and reviews, clean, and nothing of what is held out in what is trained on."""

import hashlib
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts" / "tools"
KINDS = ("books.english", "reviews.korean")
PARTS = tuple(f"{kind}.{part}.txt" for kind in KINDS for part in ("train", "heldout"))


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import demo_text

    monkeypatch.setattr(demo_text.free_texts, "SOURCES", ())  # test_free_texts.py
    return demo_text


def documents(path: Path) -> list[list[str]]:
    """The documents of a file, as minibert pretrain reads them."""
    return [document.split("\n") for document in path.read_text(encoding="utf-8").rstrip("\n").split("\n\n")]


# ── English ──────────────────────────────────────────────────────────────────────────────────────────────────────────

BOOK = """[A Book by Somebody 1866]

To a friend, with a preface that is no chapter.

VOLUME I

CHAPTER I


It was late--very late--and the basket-
woman sat down.  _She_ had walked all day.
"Who is there?" said he.

[Illustration: A woman
with a basket.]

          *    *    *

"Nobody."--Mr. Brown, who had heard it, laughed; he was a HARD MAN.*

*A hard-hearted man.

THE END OF THE FIRST PART

CHAPTER II

`So,' he said.
>From that day he was silent----quite silent.


     A star of gold,
       A star of red.

Finis
Notes that come after the end.
"""


def test_chapters_of_a_book(script) -> None:
    assert script.chapters(BOOK, r"CHAPTER [IVXL]+") == [
        [
            "It was late—very late—and the basket-woman sat down.",
            "She had walked all day.",
            '"Who is there?" said he.',
            '"Nobody."',
            "Mr. Brown, who had heard it, laughed; he was a HARD MAN.",
        ],
        ["'So,' he said.", "From that day he was silent—quite silent.", "A star of gold, A star of red."],
    ]


def test_what_an_asterisk_and_a_dash_stand_for(script) -> None:
    assert script.plain('heard of it."--But the\nrest') == 'heard of it." But the rest'
    assert script.plain("an end!--and yet") == "an end!—and yet"
    assert script.plain("--Three girls -- and a boy --") == "Three girls—and a boy"
    assert script.plain("for knaves, *--said he =once=") == "for knaves,—said he once"


def test_every_book_gives_a_chapter_and_about_a_share_of_its_words(script) -> None:
    words = [100] * 100
    chosen = script.chosen_chapters("a book", words)
    assert len(chosen) == 2
    assert chosen == script.chosen_chapters("a book", words)
    assert chosen != script.chosen_chapters("another book", words)
    assert len(script.chosen_chapters("short", [5000, 4000])) == 1
    assert sum(len(script.chosen_chapters(f"book {n}", [10] * 1000)) for n in range(5)) == 100


def test_the_same_chapters_are_held_out_for_ever(script) -> None:
    """A checksum decides, not a generator that a new Python may draw otherwise."""
    assert script.position("20261122 austen-emma.txt 44") == pytest.approx(
        int(hashlib.sha256(b"20261122 austen-emma.txt 44").hexdigest()[:16], 16) / 2**64
    )
    assert script.chosen_chapters("austen-emma.txt", [100] * 55) == {44, 50}


# ── Korean ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("line", "cleaned"),
    [
        ("  정말\t좋은  영화 ", "정말 좋은 영화"),
        ("감동도 주고.참 괜찮은 영화네요", "감동도 주고. 참 괜찮은 영화네요"),
        ("평점 9.5점,3.1절 특집~~굿", "평점 9.5점,3.1절 특집~~ 굿"),
        ("톰 &amp; 제리 &lt;3", "톰 & 제리 <3"),
        ("\u1112\u1161\u11ab\u1100\u1173\u11af", "한글"),  # pieces of letters, as some systems send them
        ("영\u200b화\u3164최고\u00a0ㅋㅋ", "영화 최고 ㅋㅋ"),
    ],
)
def test_clean_review(script, line: str, cleaned: str) -> None:
    assert script.clean_review(line) == cleaned


@pytest.fixture
def data(script, tmp_path) -> Path:
    """A small folder of data: every book with a few chapters, and reviews of all kinds."""
    headings = {
        "bryant-stories.txt": "THE STORY {}",
        "burgess-busterbrown.txt": "{}\n\nBUSTER BEAR WALKS",
        "carroll-alice.txt": "CHAPTER {}. A Story",
        "chesterton-ball.txt": "{}. A STORY",
        "chesterton-brown.txt": "{}. The Story",
        "chesterton-thursday.txt": "CHAPTER {}\n\nA STORY",
        "edgeworth-parents.txt": "\n\nCHAPTER {}.",
        "austen-persuasion.txt": "Chapter 1{}",
        "austen-sense.txt": "CHAPTER 1{}",
        "melville-moby_dick.txt": "CHAPTER 1{}\n\nA Story of\nTwo Lines.",
    }
    (tmp_path / "gutenberg").mkdir()
    for book in script.BOOKS:
        heading = headings.get(book, "CHAPTER {}")
        numbers = ("", "0", "1", "2") if "1{}" in heading else ("I", "II", "V", "X")
        text = "[A Title]\n\n" + "".join(
            f"\n{heading.format(n)}\n\nNumber {n or 'I'} of {book} is told here.  It is the only one that says so much "
            f"about {n or 'nothing'}.\n\nThe caf\xe9.\n" for n in numbers
        )  # fmt: skip
        (tmp_path / "gutenberg" / book).write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    reviews = [f"{n}번 봤는데 정말 좋은 영화였다. 또 보고 싶다!" for n in range(500)]
    odd = ["", "!!!", "10", "0번 봤는데, 정말 좋은 영화였다 또 보고싶다~", "톰 크루즈 최고"]
    (tmp_path / "ko-reviews").mkdir()
    (tmp_path / script.REVIEWS).write_text("\n".join(reviews + odd) + "\n", encoding="utf-8")
    (tmp_path / "nsmc-from-raw").mkdir()
    tested = [f"{n}\t{n}번 봤는데 정말 좋은 영화였다. 또 보고 싶다!\t1" for n in range(100, 200)]
    (tmp_path / script.TESTED).write_text("\n".join(["id\tdocument\tlabel", *tested]) + "\n", encoding="utf-8")
    return tmp_path


def test_prepare_writes_four_files(script, data, tmp_path) -> None:
    summary = script.prepare(data, tmp_path / "out")
    assert [file.name for file in summary.files] == list(PARTS)
    english, held_out = (documents(tmp_path / "out" / name) for name in PARTS[:2])
    assert (len(english), len(held_out)) == (33, 11)  # a chapter of each book
    for document in english + held_out:
        assert len(document) == 3 and document[2] == "The café."
        assert document[0].startswith("Number ") and document[1].startswith("It is the only one")
    assert {document[0].split()[3] for document in held_out} == {name.replace("_", "") for name in script.BOOKS}
    for file in summary.files:
        content = (tmp_path / "out" / file.name).read_bytes()
        assert file.sha256 == hashlib.sha256(content).hexdigest()
        assert file.documents == len(documents(tmp_path / "out" / file.name))
        assert file.sentences == sum(map(len, documents(tmp_path / "out" / file.name)))
        assert file.words == len(content.decode().split())


def test_no_review_is_on_both_sides_or_tested_elsewhere(script, data, tmp_path) -> None:
    summary = script.prepare(data, tmp_path / "out")
    assert summary.reviews == {
        "lines": 505,
        "without a letter": 3,
        "repeated": 1,
        "tested elsewhere": summary.reviews["tested elsewhere"],
        "kept": 501 - summary.reviews["tested elsewhere"],
    }
    train, held_out = (documents(tmp_path / "out" / name) for name in PARTS[2:])
    sides = [{script.letters("".join(review)) for review in side} for side in (train, held_out)]
    assert not sides[0] & sides[1]
    assert len(sides[0]) + len(sides[1]) == len(train) + len(held_out) == summary.reviews["kept"]
    assert 8 <= len(held_out) <= 36  # 20 of 501, within 3.6 standard deviations
    tested = {script.letters(f"{n}번 봤는데 정말 좋은 영화였다. 또 보고 싶다!") for n in range(100, 200)}
    assert not tested & sides[0]
    assert 100 - len(tested & sides[1]) == summary.reviews["tested elsewhere"]
    assert ["톰 크루즈 최고"] in train + held_out
    assert ["7번 봤는데 정말 좋은 영화였다.", "또 보고 싶다!"] in train + held_out


def test_the_same_input_gives_the_same_bytes(script, data, tmp_path) -> None:
    first, second = (script.prepare(data, tmp_path / name) for name in ("one", "two"))
    assert first == second
    lines = (data / script.REVIEWS).read_text(encoding="utf-8").splitlines()
    (data / script.REVIEWS).write_text("\n".join(reversed(lines)), encoding="utf-8")
    script.prepare(data, tmp_path / "three")  # the order of the reviews does not decide their side
    for name in PARTS[2:]:
        found = [{script.letters("".join(r)) for r in documents(tmp_path / place / name)} for place in ("one", "three")]
        assert found[0] == found[1]


def test_a_long_sentence_that_is_held_out_is_not_trained_on(script) -> None:
    long, short = "A refrain that the old woman sings in every one of these stories.", "So it was."
    train = [[long, "Another.", short], ["A refrain — that the old woman sings in every one of these stories!"]]
    assert script.without(train, [[long, short]]) == [["Another.", short]]


def test_what_is_missing_is_a_sentence(script, data, tmp_path, capsys) -> None:
    (data / script.TESTED).unlink()
    script.korean_documents(data)
    assert "none of its reviews is kept out of the training text" in capsys.readouterr().err
    (data / "gutenberg" / "austen-emma.txt").write_text("No chapter here.\n")
    with pytest.raises(SystemExit, match="austen-emma.txt has no line that begins a chapter"):
        script.prepare(data, tmp_path / "out")
    (data / "gutenberg" / "austen-emma.txt").unlink()
    with pytest.raises(SystemExit, match=r"austen-emma.txt cannot be read \(No such file"):
        script.prepare(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_prints_a_table_or_json(script, data, tmp_path, monkeypatch, capsys) -> None:
    arguments = ["demo_text.py", str(data), "-o", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", arguments)
    assert script.main() == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in PARTS)
    assert "505 lines, 3 without a letter, 1 repeated" in printed
    monkeypatch.setattr("sys.argv", [*arguments, "--json"])
    assert script.main() == 0
    assert [file["name"] for file in json.loads(capsys.readouterr().out)["files"]] == list(PARTS)


# ── The real data ────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture(scope="module")
def real(shared, tmp_path_factory) -> tuple[ModuleType, dict[str, list[list[str]]]]:
    """The script, and the documents of each file it makes of the real data."""
    if not (shared / "data" / "gutenberg").is_dir():
        pytest.skip("no books in ../shared/data")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        import demo_text

        patch.setattr(demo_text.free_texts, "SOURCES", ())
        folder = tmp_path_factory.mktemp("text")
        demo_text.prepare(shared / "data", folder)
    return demo_text, {name: documents(folder / name) for name in PARTS}


def test_real_text_nothing_long_is_on_both_sides(real) -> None:
    script, files = real
    for kind in KINDS:
        trained = {script.letters(s) for document in files[f"{kind}.train.txt"] for s in document}
        held_out = [script.letters(s) for document in files[f"{kind}.heldout.txt"] for s in document]
        assert sum(len(sentence) > 40 for sentence in held_out) > 250
        assert not [sentence for sentence in held_out if len(sentence) > 40 and sentence in trained]


def test_real_text_three_to_five_percent_are_held_out(real) -> None:
    _, files = real
    for kind in KINDS:
        words = [
            sum(len(sentence.split()) for document in files[f"{kind}.{part}.txt"] for sentence in document)
            for part in ("train", "heldout")
        ]
        assert 0.03 <= words[1] / sum(words) <= 0.05
    assert len(files["books.english.train.txt"]) + len(files["books.english.heldout.txt"]) == 420
    assert len(files["books.english.heldout.txt"]) >= 11


def test_real_text_is_clean(real) -> None:
    """No apparatus, no headings, no typist's marks; every line a sentence with a letter in it."""
    _, files = real
    for name, content in files.items():
        for sentence in (sentence for document in content for sentence in document):
            assert sentence == " ".join(sentence.split()) != ""
            assert any(map(str.isalpha, sentence))
            if name.startswith("books"):
                assert not set("_*[]=`\r") & set(sentence), sentence
                assert "--" not in sentence
                for mark in ("Gutenberg", "Illustration", "CHAPTER X", "VOLUME", "ETON MONTEM"):
                    assert mark not in sentence, sentence


def test_real_text_no_tested_review_is_trained_on(real, shared) -> None:
    script, files = real
    tested = script.tested_reviews(shared / "data" / script.TESTED)
    assert len(tested) > 9000
    trained = {script.letters("".join(review)) for review in files["reviews.korean.train.txt"]}
    assert not tested & trained
    assert len(trained) > 70_000
