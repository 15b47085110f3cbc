"""``minibert noise``, ``attention`` and ``readout``: what they print, JSON, pictures, a sentence for each mistake."""

import json
import re
from pathlib import Path

import pytest
import torch

import minibert
from minibert import BertForPreTraining, BertTokenizer, exact_sensitivity, logit_lens, sensitivity, trace
from minibert.cli import build_parser, main
from minibert.lens.drawing import Scale, draw_blocks, fitting, numbers
from minibert.terminal import width
from tests.support.command import mistake

FOLDER = str(Path(minibert.__file__).parent / "goldens" / "random-bert")
TEXT = "나는 배를 the bank."


@pytest.fixture(autouse=True)
def a_terminal_of_100_columns(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)


@pytest.fixture(scope="module")
def loaded():
    model, tokenizer = BertForPreTraining.from_pretrained(FOLDER), BertTokenizer.from_pretrained(FOLDER)
    return model, tokenizer(TEXT, return_tensors="pt")


def run(*arguments: str) -> int:
    return main([arguments[0], *arguments[1:], "--model", FOLDER])


def test_noise_prints_the_tables(capsys, loaded) -> None:
    model, inputs = loaded
    found = sensitivity(model, inputs, samples=3, seed=2, std=0.05)
    tokens = inputs.tokens()
    assert run("noise", TEXT, "--samples", "3", "--seed", "2", "--std", "0.05") == 0
    printed = capsys.readouterr().out
    assert "noise of standard deviation 0.05, 3 samples, seed 2, once, at bert.embeddings" in printed
    beside = found.maps[:, ~torch.eye(len(tokens), dtype=torch.bool)].max().item()
    assert f"{beside:.3g}; all above as {beside:.3g}, up to {found.maps.max():.3g}" in printed
    assert f"layer 1: {found.maps[1].min():.2g} to {found.maps[1].max():.2g}" in printed
    scale = Scale.of(list(found.maps), found.positions, colours=False)
    for i, token in enumerate(tokens):
        block = max(2 * len(tokens), len(f"layer.0: {found.maps[0].min():.2g} to {found.maps[0].max():.2g}"))
        strips = ["".join(scale.cell(value, 2) for value in table[i].tolist()).ljust(block) for table in found.maps]
        (line,) = [line for line in printed.splitlines() if line.startswith(f"{i} {token}")]
        assert line.endswith("   ".join(strips).rstrip())
    assert max(map(width, printed.splitlines()[3:])) <= 100
    assert "\x1b" not in printed


def test_noise_json_layers_positions_exact(capsys, loaded) -> None:
    model, inputs = loaded
    assert (
        run("noise", TEXT, "--json", "--mode", "per_layer", "--layer", "1", "--position", "2", "3", "--samples", "2")
        == 0
    )
    content = json.loads(capsys.readouterr().out)
    found = sensitivity(model, inputs, samples=2, mode="per_layer", points="encoder.layer.1", positions=[2, 3])
    assert content == json.loads(json.dumps(found.to_dict()))
    assert content["at"] == ["bert.encoder.layer.0"] and content["tokens"] == [inputs.tokens()]
    assert run("noise", TEXT, "--json", "--exact", "--position", "2", "3", "--together") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["exact"] and content["positions"] == [[2, 3]]
    exact = exact_sensitivity(model, inputs, positions=[(2, 3)])
    assert content["maps"] == exact.maps.tolist()
    assert run("noise", TEXT, "--exact", "--position", "2") == 0
    assert "the limit of small noise (Jacobian norms), once, at bert.embeddings" in capsys.readouterr().out


def test_attention(capsys, loaded) -> None:
    model, inputs = loaded
    found = trace(model, inputs)
    assert run("attention", TEXT, "--json", "--layer", "1") == 0
    content = json.loads(capsys.readouterr().out)
    assert [(entry["layer"], entry["head"]) for entry in content["attention"]] == [(1, 0), (1, 1)]
    expected = found["bert.encoder.layer.1.attention.self.probabilities"][0, 1]
    assert content["attention"][1]["probabilities"] == expected.tolist()
    assert run("attention", TEXT) == 0
    printed = capsys.readouterr().out
    assert "layer 0, mean" in printed and "layer 1, mean" in printed
    highest = max(found[f"bert.encoder.layer.{n}.attention.self.probabilities"][0].mean(0).max() for n in range(2))
    assert printed.rstrip().endswith(f"{highest:.3g}")
    assert run("attention", TEXT, "--layer", "1", "--head", "0") == 0
    assert "layer 1, head 0" in capsys.readouterr().out


def test_pictures(tmp_path, capsys) -> None:
    pytest.importorskip("matplotlib")
    files = [str(tmp_path / name) for name in ("a.png", "b.svg", "c.png")]
    assert run("noise", "the bank", "--samples", "1", "--png", files[0], "--svg", files[1]) == 0
    assert capsys.readouterr().out == f"written: {files[0]}\nwritten: {files[1]}\n"
    assert run("attention", "the bank", "--png", files[2]) == 0
    assert Path(files[2]).read_bytes().startswith(b"\x89PNG")
    assert "<svg" in Path(files[1]).read_text(encoding="utf-8")


def test_logit_lens(capsys, loaded) -> None:
    model, inputs = loaded
    found, tokenizer = logit_lens(model, inputs), BertTokenizer.from_pretrained(FOLDER)
    assert run("logit-lens", TEXT) == 0
    lines = capsys.readouterr().out.splitlines()
    for layer in range(3):
        best = tokenizer.convert_ids_to_tokens(found.ids[layer, :, 0].tolist())
        (line,) = [line for line in lines if re.match(rf" +{layer} ", line)]
        assert line.split() == [str(layer), *best]
    assert len({width(line[: line.index("2 ")]) for line in lines if " 2 " in line}) >= 1
    assert run("logit-lens", TEXT, "--token", "3", "-k", "2") == 0
    printed = capsys.readouterr().out
    for layer in range(3):
        (one, two), (p, q) = (
            tokenizer.convert_ids_to_tokens(found.ids[layer, 3, :2].tolist()),
            found.probabilities[layer, 3, :2].tolist(),
        )
        assert f"{one} {p:.3f}  {two} {q:.3f}" in printed
        assert re.search(
            rf" {found.target_ranks[layer, 3]} +{found.target_probabilities[layer, 3]:.4f}$", printed, re.M
        )
    assert lines[1] == "every token is visible to the model, which sees what it predicts; [MASK] masks one"
    assert run("logit-lens", "the [MASK] by the bank", "--token", "2") == 0
    assert "token 2, [MASK], is masked" in capsys.readouterr().out
    assert run("logit-lens", "the [MASK] by the bank") == 0
    assert "masked: token 2; the model sees all other tokens" in capsys.readouterr().out
    assert run("logit-lens", TEXT, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["ids"] == found.ids.tolist() and content["pieces"][2][0][0] in tokenizer.vocab


def test_a_wide_logit_lens_is_cut_into_several_tables(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert run("logit-lens", TEXT) == 0
    printed = capsys.readouterr().out
    assert printed.count("hidden state") > 1
    assert max(map(width, printed.splitlines()[3:])) <= 40


def test_shades() -> None:
    scale = Scale(top=1.0, highest=2.0, colours=False)
    cells = [scale.cell(value, 1) for value in (0, 0.1, 0.2, 0.45, 0.7, 0.9, 1, 2, float("nan"))]
    assert cells == [" ", " ", "░", "▒", "▓", "█", "█", "█", "·"]
    colours = Scale(top=1.0, highest=1.0, colours=True)
    assert colours.cell(0.0, 2) == "\x1b[48;5;234m  \x1b[0m" and "229" in colours.cell(3.0, 2)
    assert colours.legend().count("\x1b[0m") == 10
    every = Scale.of([torch.tensor([[5.0, 1.0], [2.0, 7.0]])], [(0,), (1,)], False)
    assert (every.top, every.highest) == (2.0, 7.0)
    assert Scale.of([torch.zeros(1, 1)], [(0,)], False).top == 1.0


@pytest.mark.parametrize(("count", "columns"), [(8, 100), (30, 100), (60, 100), (200, 100), (5, 20)])
def test_blocks_fit_the_terminal(count: int, columns: int) -> None:
    tokens = ["배를타고여행을간다", "word", "\x1b[2J", *["x"] * count][:count]
    groups = [(i,) for i in range(count)]
    drawn = draw_blocks(["a", "b"], [torch.rand(count, count)] * 2, tokens, groups, columns, False)
    lines = drawn.splitlines()
    assert max(map(width, lines[:-1])) <= max(columns, 40)
    assert "\x1b" not in drawn
    assert ("have room for" in drawn) == (count == 200)
    assert len([line for line in lines if line.startswith("0 배")]) == (1 if count in (8, 30) else 2)


def test_parts_of_a_block() -> None:
    assert fitting("abcdef", 4) == "abc…" and fitting("배를타", 4) == "배…" and fitting("ab", 4) == "ab"
    assert numbers(3, 3) == "  0  1  2"
    assert numbers(25, 1) == "0         10        20   "


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["noise", TEXT, "--layer", "2"], "There is no layer 2: this model has layers 0 to 1."),
        (["noise", TEXT, "--position", "99"], "There is no position 99"),
        (["noise", TEXT, "--at", "nowhere"], "There is no point 'nowhere'"),
        (["noise", TEXT, "--exact", "--samples", "3"], "--samples is about draws of noise; --exact makes none."),
        (["noise", TEXT, "--together"], "--together is about the tokens of --position"),
        (["noise", TEXT, "--png", "maps.svg"], "a file of that kind ends in .png"),
        (["noise", TEXT, "--png", "/nowhere/maps.png"], "is not there"),
        (["attention", TEXT, "--head", "2"], "There is no head 2: there are 0 to 1."),
        (["logit-lens", TEXT, "--token", "99"], "There is no token 99"),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str, capsys) -> None:
    pytest.importorskip("matplotlib")
    assert sentence in mistake(capsys, [*arguments, "--model", FOLDER])


def test_a_model_without_a_head(capsys, minilm) -> None:
    said = mistake(capsys, ["logit-lens", "the bank", "--model", str(minilm)])
    assert "BertModel has no masked-language-modelling head" in said


@pytest.mark.parametrize("verb", ["noise", "attention", "logit-lens"])
def test_help_has_an_example(verb: str, capsys) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args([verb, "--help"])
    assert "example: minibert" in capsys.readouterr().out


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "x"])
def test_a_deviation_is_above_zero(value: str, capsys) -> None:
    with pytest.raises(SystemExit):
        build_parser().parse_args(["noise", TEXT, "--model", FOLDER, f"--std={value}"])
    assert "is not a number above 0" in capsys.readouterr().err
