"""minibert learn: the list, a notebook that Jupyter trusts, the terminal; what is not there is said."""

import json

import pytest

from minibert.cli import main
from minibert.commands import learn


@pytest.fixture(autouse=True)
def own_place(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JUPYTER_DATA_DIR", str(tmp_path / "jupyter"))


def test_the_list(capsys) -> None:
    assert main(["learn", "--lang", "en", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [lesson["number"] for lesson in listed] == list(range(1, 11))
    assert main(["learn", "--lang", "ko"]) == 0
    assert "손으로 계산하는 어텐션" in capsys.readouterr().out


def test_a_notebook_is_written_once_and_trusted(tmp_path, capsys) -> None:
    nbformat = pytest.importorskip("nbformat")
    from nbformat.sign import NotebookNotary

    file = tmp_path / "lesson-3-ko.ipynb"
    assert main(["learn", "3", "--lang", "ko", "--no-open"]) == 0
    written = file.read_text(encoding="utf-8")
    assert "text/html" in written
    notebook = nbformat.read(file, as_version=4)
    assert NotebookNotary().check_signature(notebook)
    notebook.cells[1].source += " "
    notebook.cells[3].outputs = [nbformat.v4.new_output("stream", text="somebody else's")]
    assert not NotebookNotary().check_signature(notebook)
    assert main(["learn", "3", "--lang", "ko", "--no-open"]) == 2
    assert "is there already, perhaps with your answers" in capsys.readouterr().err
    assert file.read_text(encoding="utf-8") == written
    assert main(["learn", "3", "--lang", "ko", "--no-open", "--force"]) == 0


def test_without_jupyter_the_outputs_are_plain(tmp_path, monkeypatch, capsys) -> None:
    """Jupyter would strip the pictures of a notebook that nobody has signed, and show what is left."""
    monkeypatch.setattr(learn, "find_spec", lambda name: None)
    assert main(["learn", "2", "--lang", "en", "-o", "two.ipynb"]) == 0
    written = (tmp_path / "two.ipynb").read_text(encoding="utf-8")
    assert "text/html" not in written
    assert "position  token" in written
    assert "pip install '.[learn]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["99"], "There is no lesson 99"),
        (["three"], "is no lesson"),
        (["3", "-o", "three.txt"], "ends in .ipynb"),
        (["3", "--solutions"], "--solutions goes with --text"),
        (["3", "--text", "-o", "x.ipynb"], "writes no file"),
    ],
)
def test_mistakes_are_sentences(arguments: list[str], said: str, tmp_path, capsys) -> None:
    assert main(["learn", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.glob("*.ipynb"))


def test_the_terminal(capsys) -> None:
    assert main(["learn", "1", "--lang", "zh", "--text"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("# 第 1 课")
    assert ">>> " in text
