"""Documents: the two kinds of file, sentences by rule, and what is no text."""

import random
import time
from pathlib import Path

import pytest

from minibert import InputError
from minibert.pretraining import documents
from minibert.pretraining.documents import Document, is_held_out, read_documents
from minibert.pretraining.sentences import split_sentences


def read(tmp_path: Path, content: str | bytes, *arguments, **options) -> list[Document]:
    path = tmp_path / "text.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(read_documents(path, *arguments, **options))


def sentences(documents: list[Document]) -> list[list[str]]:
    return [document.sentences for document in documents]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_sentence_a_line_and_a_blank_line_between_documents(tmp_path, end: str) -> None:
    content = end.join(["", "One. Still one.", "  Two\t", "", " ", "Three", "", ""])
    found = read(tmp_path, b"\xef\xbb\xbf" + content.encode())
    assert sentences(found) == [["One. Still one.", "Two"], ["Three"]]
    assert [(document.line, document.source) for document in found] == [
        (2, str(tmp_path / "text.txt")),
        (6, found[0].source),
    ]


PROSE = "CHAPTER I\n\nHe came home,\nhard-wrapped. It was\nlate.\n\nShe slept. He\ndid not\n\nCHAPTER II\nThe end."


def test_prose(tmp_path) -> None:
    chapter = ["CHAPTER I", "He came home, hard-wrapped.", "It was late.", "She slept.", "He did not"]
    last = "CHAPTER II The end."
    assert sentences(read(tmp_path, PROSE, split_sentences=True)) == [[*chapter, last]]
    by_chapter = read(tmp_path, PROSE, split_sentences=True, heading="CHAPTER ")
    assert sentences(by_chapter) == [chapter, [last]]
    assert [document.line for document in by_chapter] == [1, 10]
    by_paragraph = read(tmp_path, PROSE, split_sentences=True, document="paragraph")
    assert sentences(by_paragraph) == [chapter[:1], chapter[1:3], chapter[3:], [last]]
    by_line = read(tmp_path, PROSE, True, document="line")
    assert sentences(by_line)[1:3] == [["He came home,"], ["hard-wrapped.", "It was"]]
    assert sentences(read(tmp_path, PROSE, document="file")) == [[line for line in PROSE.split("\n") if line]]


def test_several_files_are_several_documents(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(f"{name} one\n{name} two", encoding="utf-8")
    found = list(read_documents([tmp_path / "b", str(tmp_path / "a")]))
    assert sentences(found) == [["b one", "b two"], ["a one", "a two"]]


def test_other_encodings(tmp_path) -> None:
    content = "caf\xe9\n".encode("latin-1")
    assert sentences(read(tmp_path, content, encoding="latin-1")) == [["café"]]
    with pytest.raises(
        InputError, match=r"text.txt: line 1 is not UTF-8 \(byte 4 is 0xe9\). Convert the file, or name"
    ):
        read(tmp_path, content)
    with pytest.raises(InputError, match="encoding is 'latin-99', which Python does not know"):
        read(tmp_path, content, encoding="latin-99")


def test_refusals(tmp_path) -> None:
    with pytest.raises(InputError, match=r"text.txt is empty; expected text"):
        read(tmp_path, "")
    with pytest.raises(InputError, match=r"text.txt holds no text: its 4 bytes are blank lines"):
        read(tmp_path, "\n \n\t", split_sentences=True)
    with pytest.raises(InputError, match=r"line 3 is not UTF-8 \(byte 2 is 0xff\)"):
        read(tmp_path, b"good\n\na\xff\n")
    with pytest.raises(InputError, match=r"line 1 holds a NUL \(U\+0000\).*UTF-16"):
        read(tmp_path, "ab".encode("utf-16-le"))
    with pytest.raises(InputError, match="nowhere.txt does not exist"):
        list(read_documents(tmp_path / "nowhere.txt"))
    with pytest.raises(InputError, match="heading is '\\(', which is no regular expression"):
        read(tmp_path, "a", heading="(")
    with pytest.raises(InputError, match="document is 'page'; there are 'paragraph', 'line', 'file'"):
        read(tmp_path, "a", document="page")
    with pytest.raises(OSError, match="is a folder, expected a file"):
        list(read_documents(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "It rained. | He stayed! | Did she? | Nobody knows",
        '"Who is that?" she said. | "It is I," said a voice. | (So it was.) | "Come in!" | He came.',
        'He shouted "Thief!" and ran. | _Now!_ | "\'Quick,\' he said."',
        "Mr. Woodhouse met Mrs. Weston and Dr. Perry of St. Ives, etc. and so on. | They talked.",
        "They were always cheerful—Mr. Weston (Mrs. Weston too) and charming;—Dr. Perry left. | So it was.",
        "G. K. Chesterton wrote it in the U.S. and J.R.R. Tolkien did not. | It was I. | He left.",
        "See No. 5 and Vol. II there. | No. | I will not. | Go to p. 12 at 5 p.m. sharp.",
        "1. Introduction and so on. | I. The Absence of Mr. Glass. | It grew...  and grew... | Then it stopped.",
        "It was 3.5 miles. | He said: go; she went, and so on.",
        "영화가 좋았다. | 정말 좋았어요! | 왜? | 모르겠다",
        "재밌내요ㅋ | 언론과sns로 봤음 ㅋㅋㅋ | 하룻밤은 느낌;? | 스릴까지~ | 말 안되는 ^^ | 끝",
        "시렷다.. | 정말... ㅋㅋ | 집중해서 ,스릴있게 봤음",
        "몰랐음...얼굴 많이 변하셨네",  # no space, no end
        "ㅋㅋㅋ 이게 뭐냐 5~ 6점",  # laughter alone is no sentence; a span is no end
        "最高だ。 | とても良い！ | はい",
        "...",
    ],
)
def test_sentences(text: str) -> None:
    expected = [part.strip() for part in text.split("|")]
    assert split_sentences(" ".join(expected)) == [" ".join(part.split()) for part in expected]


# Nothing but "|" stands between two sentences: these marks need no white space.
TIGHT = [
    "他来了。|你好吗？|很好！|我们走吧……|那好。",
    "今日は晴れだ。|散歩に行こう！|「はい。」と言った。|そうですか？|「では。」|彼は帰った。",
    "３．１４は円周率。|１．序論を書く．|本論",
    "“你去吗？”他问。|“去。”我说。|后来呢",
    '他说："好。"|然后走了。|他又说："走吧！',
    "他（真的！）走了。|（笑い。）|我看了《你好！》这本书。|很好",
    "ﾊﾝｶｸ｡|ｽｷﾃﾞｽ｡|好!|真的?|是",
    "……是吗？！|我……我不知道。|是。。。|对",
    "राम घर गया।|सीता आई।|वह बोली॥ १ ॥|अंत",
    "좋다！|정말 좋다。|「그래？」|그는 갔다。",
    "他在 3.5 公里外。|用了 No. 5 型号！|版本 1.2.3 来了",
    "他（没说完。|好了。|" + "很长的一句话，" * 20 + "完了。",  # a bracket that nobody closes
]
LOOSE = [
    'राम घर गया। | सीता आई। | "क्या हुआ?" | उसने पूछा।',
    "آپ کیسے ہیں؟ | میں ٹھیک ہوں۔ | شکریہ",
    "Wow！ he said. | Then he left at 3.5 p.m. and came back.",
    "정말！ ㅋㅋ | 좋다！ㅋㅋ | 그래. | “사람이 무섭다！”라는 말이다. | 3.5점!",
    "最好! | 真的? | 是",
]


@pytest.mark.parametrize(("text", "space"), [*((text, "") for text in TIGHT), *((text, " ") for text in LOOSE)])
def test_marks_that_need_no_space(text: str, space: str) -> None:
    expected = [part.strip() for part in text.split("|")]
    assert split_sentences(space.join(expected)) == expected


def test_every_mark_is_found_with_and_without_spaces() -> None:
    """What the issue counted: as many sentences as marks, in each script."""
    draw = random.Random(15)
    scripts = {
        "。！？．": "我你他来去好日月水火",
        "。｡！？": "あいうえおカキクケコ",
        "।": "कखगघचछजझटठ",
        "。！？": "가나다라마바사",
    }
    for marks, letters in scripts.items():
        sentences = ["".join(draw.choices(letters, k=draw.randint(3, 30))) + draw.choice(marks) for _ in range(300)]
        for space in ("", " "):
            assert split_sentences(space.join(sentences)) == sentences


def test_a_long_paragraph_takes_no_longer_than_its_length() -> None:
    for unit in ("좋다！ㅋㅋ ", "我……他（来", '！"', "．３．"):
        begin = time.perf_counter()
        split_sentences(unit * 20_000)
        assert time.perf_counter() - begin < 5  # 0.5 s; with the square of the length it was a minute


def test_a_language_without_marks_has_a_sentence_per_line(tmp_path) -> None:
    thai = ["เขากลับบ้าน แล้วกินข้าว", "ฝนตก", "เธอถามว่าไปไหน"]
    assert sentences(read(tmp_path, "\n".join(thai), split_sentences=True)) == [thai]
    mixed = "They ate ข้าวเหนียว\nat home. It\nrained."
    assert sentences(read(tmp_path, mixed, split_sentences=True)) == [["They ate ข้าวเหนียว at home.", "It rained."]]


def test_lines_of_han_and_kana_are_joined_without_a_space(tmp_path) -> None:
    wrapped = "他昨天\n来了。今天，\n他走了。\n\nスマート\nフォンだ。\n\nKim 씨가\n왔다."
    found = sentences(read(tmp_path, wrapped, split_sentences=True))
    assert found == [["他昨天来了。", "今天，他走了。", "スマートフォンだ。", "Kim 씨가 왔다."]]


def test_nothing_has_no_sentences() -> None:
    assert split_sentences(" \t ") == []


def test_held_out_documents_depend_on_their_text_alone() -> None:
    documents = [Document([f"Sentence {number}.", "And another."], f"file-{number}", number) for number in range(4000)]
    held_out = [document for document in documents if is_held_out(document, 0.1)]
    assert 340 < len(held_out) < 460
    copy = Document(held_out[0].sentences, "elsewhere", 99)
    assert is_held_out(copy, 0.1) and not is_held_out(copy, 0.0) and all(is_held_out(d, 1.0) for d in documents)
    assert set(map(id, held_out)) < {id(document) for document in documents if is_held_out(document, 0.2)}


@pytest.mark.parametrize("prose", [False, True])
def test_a_document_that_is_longer_than_a_novel_is_cut(prose: bool, tmp_path, monkeypatch) -> None:
    """At a blank line if there is one; nothing is lost, so that a file of any size takes as little memory."""
    monkeypatch.setattr(documents, "LONGEST", 1000)
    lines = [f"Line number {number} of the text." if number % 10 else "" for number in range(1, 301)]
    path = tmp_path / "x.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    found = list(read_documents(path, prose, document="file"))
    assert [sentence for one in found for sentence in one.sentences] == [line for line in lines if line]
    assert len(found) == 7 and all(lines[one.line - 2] == "" for one in found[1:])
    path.write_text("\n".join(filter(None, lines)), encoding="utf-8")
    found = list(read_documents(path, prose, document="file"))
    assert len(found) == 4 and sum(len(one.sentences) for one in found) == 270
