"""An output that cannot take what is printed: letters that its encoding lacks, a full disk, a closed or narrow one."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minibert
from minibert import CheckpointError
from minibert.cli import main
from minibert.files import write_text
from minibert.terminal import fit, table, width, wrap

FOLDER = str(Path(minibert.__file__).parent / "goldens" / "random-bert")
GOLDEN = str(Path(FOLDER) / "golden.safetensors")
TEXT = "나는 배를 타고 – 😀 the café"
ENCODINGS = ("ascii", "latin-1", "cp949", "utf-8")
COMMANDS = (
    ["--help"],
    ["similar", "--help"],
    ["inspect", FOLDER],
    ["tokenize", TEXT, "--model", FOLDER],
    ["fill-mask", f"{TEXT} [MASK]", "--model", FOLDER],
    ["embed", TEXT, "배", "--model", FOLDER],
    ["similar", "배", TEXT, "배가", "--model", FOLDER],
    ["trace", TEXT, "--model", FOLDER],
    ["trace", TEXT, "--model", FOLDER, "--token", "1"],
    ["noise", TEXT, "--model", FOLDER, "--samples", "1"],
    ["attention", TEXT, "--model", FOLDER],
    ["logit-lens", TEXT, "--model", FOLDER],
    ["logit-lens", TEXT, "--model", FOLDER, "--token", "1"],
    ["verify", FOLDER, "--against", GOLDEN],
    ["inspect", "/어디에도/없는"],
    ["배"],
    ["tokenize", "--모델", "배"],
)
JSON = [[*command, "--json"] for command in COMMANDS[2:-3]]


class FullDisk(io.RawIOBase):
    """Takes nothing."""

    def writable(self) -> bool:
        return True

    def write(self, _content: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")


def run(command: list[str]) -> int:
    try:
        return main(command)
    except SystemExit as stopped:
        return int(stopped.code or 0)


def printed(monkeypatch, command: list[str], encoding: str) -> tuple[int, str, str]:
    """The exit code and what the two streams were given, each of that encoding and strict."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    with monkeypatch.context() as patch:
        for name, stream in streams.items():
            patch.setattr(sys, name, stream)
        code = run(command)
        assert all(stream.errors == "strict" for stream in streams.values())  # as the caller had it
    for stream in streams.values():
        stream.flush()
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams.values())
    return code, out, err


@pytest.mark.parametrize("command", [*COMMANDS, *JSON], ids=" ".join)
def test_letters_that_the_output_lacks_are_escaped(monkeypatch, command: list[str]) -> None:
    code, out, err = printed(monkeypatch, command, "utf-8")
    for encoding in ENCODINGS[:-1]:
        there, shown, complaint = printed(monkeypatch, command, encoding)
        assert there == code
        assert bool(complaint) == bool(err)
        if "--json" in command:
            assert json.loads(shown) == json.loads(out)
        else:
            assert len(shown.splitlines()) == len(out.splitlines())


def test_an_escape_says_which_letter_it_was(monkeypatch) -> None:
    _, shown, _ = printed(monkeypatch, ["tokenize", "배 – é", "--model", FOLDER], "ascii")
    assert "\\ubc30 - \\xe9" in shown  # of our own marks a stand-in, of the user's letters the code
    assert "-----" in shown
    _, shown, _ = printed(monkeypatch, ["tokenize", "배 – é", "--model", FOLDER], "cp949")
    assert "배 - \\xe9" in shown and "─────" in shown


@pytest.mark.parametrize("command", [*COMMANDS[:-3], *JSON], ids=" ".join)
def test_a_full_disk_is_a_sentence_and_exit_code_2(monkeypatch, capsys, command: list[str]) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", io.TextIOWrapper(io.BufferedWriter(FullDisk()), encoding="utf-8"))
        assert run(command) == 2
    assert capsys.readouterr().err == "minibert: the output cannot be written (No space left on device).\n"


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_closed_output_is_silence(monkeypatch, command: list[str]) -> None:
    code, _, _ = printed(monkeypatch, command, "utf-8")
    with monkeypatch.context() as patch:
        for name in ("stdin", "stdout", "stderr"):
            patch.setattr(sys, name, None)
        assert run(command) == code
        assert (sys.stdin, sys.stdout, sys.stderr) == (None, None, None)


@pytest.mark.parametrize(
    ("redirection", "code", "complaint"),
    [(">/dev/full", 2, "minibert: the output cannot be written"), (">&-", 0, ""), (">&- 2>&- <&-", 0, "")],
)
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a device of Linux")
def test_as_a_process(redirection: str, code: int, complaint: str) -> None:
    command = f"{sys.executable} -m minibert --version {redirection}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[: len(complaint)], bool(done.stderr)) == (code, complaint, bool(complaint))


def test_a_step_without_an_input_ends(monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert main(["step", TEXT, "--model", FOLDER]) == 0


NAMES = ("step", "point", "formula", "norm")
ROWS = [
    (1, "bert.encoder.layer.0.attention.self.query", "embeddings @ Wᵀ + b", "3.1234"),
    (2, "나는배를타고여행을간다 나는배를", "x", "2.0"),
]


def test_a_table_in_a_pipe_is_as_wide_as_its_content(monkeypatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    lines = table(NAMES, ROWS, right=("step", "norm")).splitlines()
    assert len(lines) == 4
    assert lines[2].endswith("bert.encoder.layer.0.attention.self.query  embeddings @ Wᵀ + b  3.1234")


@pytest.mark.parametrize("columns", range(20, 90))
def test_a_table_fits_the_terminal_and_loses_no_letter(monkeypatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    lines = table(NAMES, ROWS, right=("step", "norm")).splitlines()
    left_out = lines.pop().partition(": ")[2].partition(";")[0].split(", ") if lines[-1].startswith("left out") else []
    assert max(map(width, lines)) <= columns
    assert left_out == ([] if columns >= 32 else ["norm"] if columns >= 24 else ["formula", "norm"])
    letters = sorted("".join("".join(lines).split()))
    kept = len(NAMES) - len(left_out)
    expected = "".join([*NAMES[:kept], *(str(cell) for row in ROWS for cell in row[:kept])]).replace(" ", "")
    assert [letter for letter in letters if letter != "─"] == sorted(expected)


def test_wide_shows_all(monkeypatch, capsys) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["trace", TEXT, "--model", FOLDER]) == 0
    narrow = capsys.readouterr().out
    assert "left out for lack of space: norm, mean, std; --wide" in narrow
    assert main(["trace", TEXT, "--model", FOLDER, "--wide"]) == 0
    assert max(map(width, capsys.readouterr().out.splitlines())) > 100


def test_parts_of_wrapping() -> None:
    assert wrap("a bc def", 4) == ["a bc", "def"]
    assert wrap("abcdef", 4) == ["abcd", "ef"]
    assert wrap("encoder.layer.10.output", 14) == ["encoder.layer.", "10.output"]
    assert fit([5, 40, 20], [True, False, False], 50) == [5, 21, 20]
    assert fit([5, 40], [True, True], 10) == [5, 40]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("ner", "'ner' is no command. Did you mean finetune entities?"),
        ("regression", "'regression' is no command. Did you mean finetune score?"),
        ("tokenise x", "Did you mean tokenize?"),
        ("emebd x", "Did you mean embed?"),
        ("finetune ner t.tsv --output o", "'ner' is no task. Did you mean entities?"),
        ("finetune", "Usage: minibert finetune TASK TRAIN --output DIR;"),
        ("finetune regression t.tsv --output o", "Did you mean score?"),
        ("finetune clasify t.tsv --output o", "Did you mean classify?"),
        ("fill-mask x --modle y", "'--modle' is unknown here; did you mean --model?"),
        ("pretrain x --output y --confg=z", "did you mean --config?"),
        ("embed x --dtype float8", "'float8' is no --dtype."),
        ("fill-mask", "the following arguments are required: TEXT. Usage: minibert fill-mask TEXT;"),
        ("zzz", "'zzz' is no command. There are inspect,"),
    ],
)
def test_a_slip_is_one_sentence_with_what_was_meant(capsys, arguments: str, sentence: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("minibert: ") and err.count("\n") == 1
    assert sentence in err
    assert "--help lists the " in err


def test_an_output_file_replaces_no_device(tmp_path, capsys) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(["golden", FOLDER, "-o", str(pipe)]) == 2
    assert "a pipe or a device; give the path of a file" in capsys.readouterr().err
    assert pipe.is_fifo() and list(tmp_path.iterdir()) == [pipe]
    assert main(["golden", FOLDER, "-o", str(tmp_path)]) == 2
    assert "which is a folder; give the path of a file in it" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="is a pipe or a device; give the name of a file to write"):
        write_text(pipe, "x")
    with pytest.raises(CheckpointError, match="is a folder; give the name of a file to write"):
        write_text(tmp_path, "x")
