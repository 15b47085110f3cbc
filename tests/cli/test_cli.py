"""The command line: what it prints, its JSON, and one sentence with exit code 2 for a mistake."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

import minibert
from minibert.cli import build_parser, main
from tests.support.command import ROOT, mistake, run

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
GOOGLE = Path(__file__).parents[1] / "checkpoint" / "google"
VERBS = ("inspect", "tokenize", "embed", "fill-mask", "verify", "golden", "convert")


def test_inspect(capsys) -> None:
    assert main(["inspect", str(FOLDER)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("BertForPreTraining: 2 layers, hidden size 16, 2 heads, 46 pieces, 32 positions, 6,")
    assert "46 tensors loaded" in printed
    assert main(["inspect", str(GOOGLE), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["model"] == "BertForPreTraining"
    assert content["config"]["hidden_size"] == 16
    unused = {tensor["note"] for tensor in content["tensors"] if tensor["parameter"] is None}
    assert unused == {
        "the optimizer's state, for resuming training",
        "the number of training steps, for resuming training",
    }


def test_tokenize(capsys) -> None:
    assert main(["tokenize", "She sat by the bank.", "배를", "--model", str(FOLDER)]) == 0
    printed = capsys.readouterr().out
    assert "5  bank" in printed
    assert "15–19" in printed
    assert main(["tokenize", "She sat", "--model", str(FOLDER), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["tokens"] == ["[CLS]", "she", "sat", "[SEP]"]
    assert entry["offsets"] == [[0, 0], [0, 3], [4, 7], [0, 0]]
    tokenizer = minibert.BertTokenizer.from_pretrained(FOLDER)
    assert entry["ids"] == tokenizer.convert_tokens_to_ids(entry["tokens"])


def test_json_never_moves_the_cursor(capsys) -> None:
    text = "배 \x9b31m \x7f \x1b[2J"
    assert main(["tokenize", text, "--model", str(FOLDER), "--json"]) == 0
    printed = capsys.readouterr().out
    assert not set("\x9b\x7f\x1b") & set(printed)
    assert json.loads(printed)[0]["text"] == text


def test_embed(capsys) -> None:
    assert main(["embed", "the bank", "the pear", "--model", str(FOLDER)]) == 0
    printed = capsys.readouterr().out
    assert "16 numbers: " in printed
    assert "cosine similarity" in printed
    assert main(["embed", "the bank", "--model", str(FOLDER), "--json"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["text"] == "the bank"
    assert sum(x * x for x in entry["vector"]) == pytest.approx(1.0, abs=1e-6)


def test_fill_mask(capsys) -> None:
    text = "the [MASK] is by the [MASK]."
    assert main(["fill-mask", text, "--model", str(FOLDER), "--json", "-k", "46"]) == 0
    (entry,) = json.loads(capsys.readouterr().out)
    assert len(entry["gaps"]) == 2
    for gap in entry["gaps"]:
        assert sum(guess["probability"] for guess in gap) == pytest.approx(1.0, abs=1e-5)
        assert gap == sorted(gap, key=lambda guess: -guess["probability"])
    assert main(["fill-mask", text, "--model", str(FOLDER), "-k", "3"]) == 0
    printed = capsys.readouterr().out
    assert "gap 2 of 2" in printed
    assert entry["gaps"][1][2]["token"] in printed


def test_convert(tmp_path, capsys) -> None:
    target = tmp_path / "modern"
    assert main(["convert", str(GOOGLE), "-o", str(target)]) == 0
    assert "46 of them renamed (Google)" in capsys.readouterr().out
    assert {path.name for path in target.iterdir()} >= {"config.json", "model.safetensors", "vocab.txt"}
    assert main(["verify", str(target), "--against", str(GOOGLE)]) == 0
    assert main(["convert", str(GOOGLE), "-o", str(target)]) == 2
    assert "holds a checkpoint already" in capsys.readouterr().err
    assert main(["convert", str(GOOGLE), "-o", str(tmp_path / "mlm"), "--head", "BertForMaskedLM"]) == 0
    assert minibert.BertForMaskedLM.from_pretrained(tmp_path / "mlm").load_report.unused == ()
    assert main(["convert", str(GOOGLE), "-o", str(tmp_path / "x"), "--head", "Nonsense"]) == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["inspect", "/nowhere/at/all"], "is neither a folder on this disk nor a name on the hub"),
        (["embed", "x", "--model", "."], "holds no config.json"),
        (["fill-mask", "no gap", "--model", str(FOLDER)], "The text has no [MASK]"),
        (
            ["fill-mask", "the [MASK] " + "bank " * 40, "--model", str(FOLDER)],
            "The text has 44 tokens and this model reads 32. Give a shorter text, or --truncate",
        ),
        (["tokenize", "\ud800", "--model", str(FOLDER)], "surrogate"),
        (["verify", str(FOLDER), "--against", "/nowhere/at/all"], "is neither a folder on this disk nor"),
        (["verify", str(FOLDER), "--published"], "is not recognised; values are published for"),
        (["verify", str(GOOGLE), "--against", "transformers"], "transformers cannot read TensorFlow's format"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str, capsys) -> None:
    assert sentence in mistake(capsys, arguments)


LONG = "[MASK] " + "bank " * 40


@pytest.mark.parametrize("verb", ["fill-mask", "trace", "noise", "attention", "logit-lens", "step"])
def test_a_long_text_can_be_cut_and_stderr_says_so(monkeypatch, capsys, verb: str) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("quit\n"))
    fewer = ["--samples", "1"] if verb == "noise" else []
    assert main([verb, LONG, "--model", str(FOLDER), "--truncate", "--json", *fewer]) == 0
    printed = capsys.readouterr()
    assert printed.err == "minibert: the text has 43 tokens and was cut to the 32 that this model reads\n"
    content = json.loads(printed.out)
    if verb != "fill-mask":
        tokens = content["tokens"][0] if verb == "noise" else content["tokens"]
        assert len(tokens) == 32
    monkeypatch.setattr("sys.stdin", io.StringIO("quit\n"))
    assert main([verb, "the [MASK]", "--model", str(FOLDER), "--truncate", *fewer]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("verb", VERBS)
def test_help_has_an_example(verb: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args([verb, "--help"])
    assert stopped.value.code == 0
    assert f"example: minibert {verb}" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("arguments", [[], ["sing"], ["tokenize"], ["fill-mask", "x", "--model", "m", "-k", "0"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "Traceback" not in capsys.readouterr().err


def test_as_a_module_and_with_bytes_that_are_no_text() -> None:
    done = run("--version")
    assert done.stdout == f"minibert {minibert.__version__}\n"
    done = run("tokenize", b"caf\xe9".decode(errors="surrogateescape"), "--model", str(FOLDER))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "surrogate" in done.stderr


def test_a_reader_that_closes_early_is_no_error() -> None:
    typed = f"{sys.executable} -m minibert inspect {GOOGLE} | head -1"
    done = subprocess.run(typed, shell=True, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.stdout.startswith("BertForPreTraining: 2 layers")
    assert done.stderr == ""


@pytest.mark.parametrize(
    "typed", ["predict here --json one two", "predict here one --json two", "predict --json here one two"]
)
def test_options_may_stand_between_texts(typed: str) -> None:
    options = build_parser().parse_args(typed.split())
    assert (options.folder, options.texts, options.json) == ("here", ["one", "two"], True)


def test_a_slip_of_the_options_shows_how_a_verb_is_called(capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["fill-mask", "--model", "x"])
    assert caught.value.code == 2
    assert "Usage: minibert fill-mask TEXT;" in capsys.readouterr().err
