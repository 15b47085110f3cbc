"""``minibert explore``: a file, or a server; and the sentences for what is neither."""

import json
import sys
from pathlib import Path

import pytest

from minibert.cli import main
from tests.explorer.conftest import content_in
from tests.support.command import mistake

CHECKPOINT = str(Path(__file__).parents[2] / "minibert" / "goldens" / "random-bert")


def test_writes_one_file(tmp_path, capsys) -> None:
    path = tmp_path / "page.html"
    assert main(["explore", "the bank", "the river bank", "--model", CHECKPOINT, "-o", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"path": str(path), "bytes": path.stat().st_size, "texts": ["the bank", "the river bank"]}
    html = path.read_text(encoding="utf-8")
    assert html.startswith("<!DOCTYPE html>") and '"name":"random-bert"' in html
    assert [entry.name for entry in tmp_path.iterdir()] == ["page.html"]
    assert main(["explore", "the bank", "--model", CHECKPOINT, "-o", str(path), "--samples", "0"]) == 0
    assert "MB; open it in a browser" in capsys.readouterr().out
    long = "bank " * 40
    assert main(["explore", "the bank", long, "--model", CHECKPOINT, "-o", str(path), "--samples", "0"]) == 0
    assert capsys.readouterr().err == "minibert: text 2 has 42 tokens and was cut to the 32 that this model reads\n"


def test_writes_a_pair_as_one_run(tmp_path, capsys) -> None:
    path = tmp_path / "page.html"
    words = [
        "explore",
        "the bank",
        "the river bank",
        "--pair",
        "--model",
        CHECKPOINT,
        "-o",
        str(path),
        "--samples",
        "0",
    ]
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["texts"] == [["the bank", "the river bank"]]
    (run,) = content_in(path)["runs"]
    assert run["segments"] == [0] * 4 + [1] * 4 and run["text"] == ["the bank", "the river bank"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["the bank"], "-o FILE for a file, or --serve for a live page"),
        (["the bank", "-o", "p.html", "--serve"], "one of them"),
        (["the bank", "-o", "p.html", "--port", "8000"], "--port is of a live page"),
        (["the bank", "--live"], "-o FILE for a file"),
        (["the bank", "--live", "--serve"], "--live puts the model into a file"),
        (["the bank", "-o", "p.html", "--int8"], "--int8 is of the weights in a page that computes"),
        (["the bank", "--serve", "--int8"], "--int8 is of the weights"),
        (["-o", "p.html", "--live"], "There is no text to show"),
        (["-o", "p.html"], "There is no text to show"),
        (["", "-o", "p.html"], "The text is empty"),
        (["the bank", "", "-o", "p.html"], "The second text is empty; leave it out"),
        (["the bank", " ", "-o", "p.html", "--live"], "The second text is empty"),
        (["the bank", "", "--serve"], "The second text is empty"),
        (["the bank", "-o", "p.html", "--pair"], "A pair is two texts"),
        (["the bank", "-o", "."], "'.' is a folder"),
    ],
)
def test_mistakes_are_sentences(arguments, sentence, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    assert sentence in mistake(capsys, ["explore", *arguments, "--model", CHECKPOINT])
    assert list(tmp_path.iterdir()) == []


def test_writes_a_page_that_computes(tmp_path, capsys) -> None:
    sizes = {}
    for more in ([], ["--int8"]):
        path = tmp_path / "page.html"
        assert main(["explore", "the bank", "--model", CHECKPOINT, "-o", str(path), "--live", *more, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["bytes"] == path.stat().st_size
        html = path.read_text(encoding="utf-8")
        assert '<script type="text/plain" class="weights">' in html and "worker-src blob:" in html
        sizes[bool(more)] = len(html.split('class="weights">')[1].split("<")[0])
    assert sizes[True] < 0.75 * sizes[False]


def test_refuses_a_model_that_no_page_holds(tmp_path, monkeypatch, capsys) -> None:
    from minibert.explorer import weights

    monkeypatch.setattr(weights, "LARGEST", 1000)
    mistaken = mistake(capsys, ["explore", "the bank", "--model", CHECKPOINT, "-o", str(tmp_path / "p.html"), "--live"])
    assert "a page holds 0 MB" in mistaken and "--serve shows a model of any size, or --int8" in mistaken
    assert list(tmp_path.iterdir()) == []


def test_says_how_to_get_the_server(monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert "pip install '.[serve]'" in mistake(capsys, ["explore", "--serve", "--model", CHECKPOINT])


def test_ports() -> None:
    import argparse

    from minibert.commands.explore import _port

    assert [_port(text) for text in ("0", "1", "65535")] == [0, 1, 65535]
    for text in ("-1", "65536", "http", "", "8080.0", "²"):
        with pytest.raises(argparse.ArgumentTypeError, match="is no port"):
            _port(text)
