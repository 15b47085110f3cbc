"""Functions in a file of the user: loaded, or refused in a sentence with the line."""

import pytest

from minibert.errors import InputError
from minibert.verify.user_code import load_callable, names_code


def written(folder, text: str) -> str:
    (folder / "mine.py").write_text(text, encoding="utf-8")
    return f"{folder / 'mine.py'}"


def test_a_function_and_the_file_beside_it(tmp_path) -> None:
    (tmp_path / "beside_mine.py").write_text("VALUE = 3\n", encoding="utf-8")
    path = written(tmp_path, "from beside_mine import VALUE\n\ndef triple(x):\n    return VALUE * x\n")
    assert load_callable(f"{path}:triple")(4) == 12
    assert names_code(f"{path}:triple")
    assert not names_code(path)
    assert not names_code("tokenizer.json")


@pytest.mark.parametrize(
    ("text", "name", "sentence"),
    [
        ("def build(): pass\n", "biuld", r"mine.py has nothing named 'biuld'. Did you mean build\?"),
        ("x = 1\n", "build", "has nothing named 'build'. It defines no function."),
        ("build = 5\n", "build", "is a value of type int; expected a function"),
        ("\n\nx = 1 / 0\n", "build", r"cannot be run: ZeroDivisionError: .*\(line 3 of mine.py: x = 1 / 0\)"),
        ("def build(:\n", "build", r"cannot be run: SyntaxError: .*\(line 1 of mine.py\)"),
        ("import not_there_at_all\n", "build", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise SystemExit(3)\n", "build", "SystemExit: 3"),
    ],
)
def test_mistakes(tmp_path, text, name, sentence) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=sentence):
        load_callable(f"{path}:{name}")


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [("/nowhere/mine.py:f", "is not a file on this disk"), ("mine.txt:f", "names no function"), ("f", "names no")],
)
def test_no_file(spec, sentence) -> None:
    with pytest.raises(InputError, match=sentence):
        load_callable(spec)
