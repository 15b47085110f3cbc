"""Files in .gz and .zst: read like others, damage is a sentence, and a missing library one that names the extra."""

import gzip
import json
import sys

import pytest

from minibert.data.compressed import opened
from minibert.data.opening import open_texts
from minibert.errors import InputError, MissingExtraError
from minibert.finetuning.answers import Answers
from minibert.finetuning.classify import Classify
from minibert.finetuning.entities import Entities
from minibert.pretraining.documents import read_documents
from minibert.pretraining.files import files_of

zstandard = pytest.importorskip("zstandard")
COMPRESS = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor(write_checksum=True).compress}
LINES = "".join(f"line {number}, 나무\n" for number in range(20_000))
SQUAD = {
    "data": [
        {
            "paragraphs": [
                {
                    "context": "It rains.",
                    "qas": [{"question": "What?", "answers": [{"text": "rains", "answer_start": 3}]}],
                }
            ]
        }
    ]
}


def write(path, text: str):
    path.write_bytes(COMPRESS[path.suffix](text.encode()))
    return path


@pytest.mark.parametrize("ending", COMPRESS)
def test_every_kind_that_is_read(ending: str, tmp_path) -> None:
    texts = ["line one", "나무"]
    tables = {
        ".txt": "\ufeffline one\n나무\n",
        ".csv": "text,label\nline one,a\n나무,b\n",
        ".tsv": "text\tlabel\nline one\ta\n나무\tb\n",
        ".jsonl": '{"text": "line one", "label": "a"}\n{"text": "나무", "label": "b"}\n',
    }
    for kind, content in tables.items():
        path = write(tmp_path / f"x{kind}{ending}", content)
        assert [row.text for row in open_texts(path)] == texts
        assert [sentence for one in read_documents(path) for sentence in one.sentences] == texts
        if kind != ".txt":
            assert [row.label for row in Classify().read(path)] == ["a", "b"]
    assert Entities().read(write(tmp_path / f"x.conll{ending}", "Kim\tB-PER\ncame\tO\n"))[0].words == ["Kim", "came"]
    assert Answers().read(write(tmp_path / f"x.json{ending}", json.dumps(SQUAD)))[0].question == "What?"
    assert len(files_of([tmp_path])) == len(tables)


@pytest.mark.parametrize("ending", COMPRESS)
def test_damage_is_a_sentence(ending: str, tmp_path) -> None:
    whole = COMPRESS[ending](LINES.encode())
    path = tmp_path / f"x.txt{ending}"
    for content in (whole[:-40], whole[: len(whole) // 2], whole[:-1], whole[:2000] + bytes(300) + whole[2300:]):
        path.write_bytes(content)
        for read in (open_texts, read_documents):
            with pytest.raises(InputError, match=r"x\.txt.* cannot be read"):
                list(read(path))


def test_frames_follow_each_other(tmp_path) -> None:
    """As parallel compressors write them: small frames, and one to skip."""
    compress, lines = COMPRESS[".zst"], LINES.encode().splitlines(keepends=True)
    skipped = b"\x50\x2a\x4d\x18\x04\x00\x00\x00meta"
    path = tmp_path / "x.txt.zst"
    path.write_bytes(skipped + b"".join(compress(b"".join(lines[n : n + 7])) for n in range(0, len(lines), 7)))
    assert [row.text for row in open_texts(path)] == LINES.splitlines()
    path.write_bytes(b"")
    assert list(open_texts(path)) == []


def test_a_small_file_of_much_content_is_read_piece_by_piece(tmp_path) -> None:
    import tracemalloc

    path = tmp_path / "x.txt.zst"
    path.write_bytes(COMPRESS[".zst"](b"\n" * (64 << 20)))  # 64 MB in about 6 KB
    tracemalloc.start()
    with opened(path) as file:
        assert sum(len(block) for block in iter(lambda: file.read(1 << 16), b"")) == 64 << 20
    assert tracemalloc.get_traced_memory()[1] < 70 << 20
    tracemalloc.stop()


def test_names_that_do_not_agree_with_the_content(tmp_path) -> None:
    for ending, name in ((".gz", "gzip"), (".zst", "zstd")):
        path = write(tmp_path / f"a{ending}", "text").rename(tmp_path / "x.txt")
        with pytest.raises(InputError, match=rf"is compressed with {name}\. Call it x\.txt{ending}, or decompress it"):
            open_texts(path)
        (tmp_path / f"x.txt{ending}").write_text("text", encoding="utf-8")
        with pytest.raises(
            InputError, match=rf"ends in {ending} and is not compressed with {name}\. Take {ending} off"
        ):
            open_texts(tmp_path / f"x.txt{ending}")
        (tmp_path / f"x.parquet{ending}").write_bytes(COMPRESS[ending](b"PAR1"))
        with pytest.raises(InputError, match=rf"a \.parquet inside a {ending}; it is compressed already"):
            open_texts(tmp_path / f"x.parquet{ending}")


def test_without_the_library(tmp_path, monkeypatch) -> None:
    path = write(tmp_path / "x.txt.zst", "text")
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(MissingExtraError, match=r"zstandard is not installed; for \.zst files.*'\.\[zstd\]'"):
        open_texts(path)
