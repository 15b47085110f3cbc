"""``minibert similar --in DIR --queries FILE``: a table or a JSON object for each text, and a sentence per mistake."""

import json
import re

import pytest

from minibert import Embedder, embed_corpus, nearest
from minibert.cli import main
from tests.support.corpus import FOLDER


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def corpus(embedder, tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "x.txt").write_text("the river\nshe sat by the bank\nthe bank was closed\nhello\n")
    embed_corpus(embedder, folder / "x.txt", folder / "out")
    return str(folder / "out")


def test_each_query_has_its_table(corpus, embedder, tmp_path, capsys) -> None:
    texts = ["the bank", "hello !"]
    (tmp_path / "q.txt").write_text("\n".join(texts))
    (tmp_path / "q.csv").write_text("id,asked\n1,the bank\n2,hello !\n")
    expected = [[hit.to_dict() for hit in hits] for hits in nearest(corpus, texts, 2, embedder)]
    for options in (["q.txt"], ["q.csv", "--column", "asked"]):
        arguments = ["similar", "--in", corpus, "-k", "2", "--queries", str(tmp_path / options[0]), *options[1:]]
        assert main([*arguments, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert [one["query"] for one in found] == texts
        assert [one["hits"] for one in found] == expected
        assert main(arguments) == 0
        printed = capsys.readouterr().out
        assert printed.count("cosine") == 2
        assert [line for line in printed.splitlines() if line[:2] in ("1.", "2.")] == ["1. the bank", "2. hello !"]
        assert all(hit["text"] in printed for hits in expected for hit in hits)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["word", "--queries", "{q}", "--in", "{corpus}"], "Give a text to look for, or a file of them"),
        (["--in", "{corpus}"], "Give a text to look for, or a file of them"),
        (["word", "--column", "x", "--in", "{corpus}"], "--column is of a file of texts to look for"),
        (["--queries", "{q}"], "--queries is of texts to look for in a corpus; give the corpus with --in DIR"),
        (["--model", str(FOLDER)], "Give a word and texts to compare it in, or a text to look for"),
        (["--queries", "{empty}", "--in", "{corpus}"], "has no texts, so there is nothing to look for"),
        (["--queries", "{bad}", "--in", "{corpus}"], "row 2 .*cannot be|row 2"),
        (["--queries", "gone.txt", "--in", "{corpus}"], "gone.txt"),
    ],
)
def test_mistakes(corpus, tmp_path, capsys, arguments: list[str], sentence: str) -> None:
    contents = {"q": b"the bank\n", "empty": b"", "bad": b"the bank\n\xff\n"}
    paths = {"corpus": corpus}
    for name, content in contents.items():
        (tmp_path / f"{name}.txt").write_bytes(content)
        paths[name] = str(tmp_path / f"{name}.txt")
    assert main(["similar", *(argument.format(**paths) for argument in arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1

    assert re.search(sentence, said.err), said.err
