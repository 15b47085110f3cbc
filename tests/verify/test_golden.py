"""Goldens: recorded here or elsewhere, and what happens when they do not fit."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import minibert
from minibert import CheckpointError
from minibert.checkpoint import write_safetensors
from minibert.cli import main
from minibert.verify import make_golden, verify
from minibert.verify.golden import read_golden
from tests.support.small_models import small

GOLDENS = Path(minibert.__file__).parent / "goldens"
FOLDER = GOLDENS / "random-bert"
GOLDEN = FOLDER / "golden.safetensors"


def test_the_shipped_golden_passes_and_prints_its_bounds(threads: int) -> None:
    report = verify(FOLDER, GOLDEN)
    assert report.same
    assert len(report.results) == 138
    assert all(result.bound > 0 for result in report.results if result.point != "embeddings.token_type_embeddings")
    assert "float32 within 8 times the recording machine's own rounding" in str(report)


def test_the_shipped_minilm_golden_is_what_transformers_computes(minilm) -> None:
    """The stored values are not our own word alone: transformers in float64 gives the same."""
    transformers = pytest.importorskip("transformers")
    path = GOLDENS / "all-MiniLM-L6-v2.safetensors"
    assert verify(minilm, path).same
    _, tensors = read_golden(path)
    theirs = transformers.BertModel.from_pretrained(minilm, dtype=torch.float64, attn_implementation="eager")
    inputs = {name.rpartition("/")[2]: value for name, value in tensors.items() if name.startswith("inputs/")}
    output = theirs(**inputs, output_hidden_states=True)
    expected = dict(
        zip(["embeddings", *(f"encoder.layer.{n}.output" for n in range(6))], output.hidden_states, strict=True)
    )
    expected["pooler"] = output.pooler_output
    stored = {n.rpartition("/")[2]: t for n, t in tensors.items() if n.startswith("float64/")}
    assert set(stored) == set(expected)
    for point, value in stored.items():
        assert (value - expected[point]).abs().max().item() <= 1e-12, point


@pytest.mark.parametrize(("recorded", "checked"), [(1, 2), (2, 1)])
def test_recorded_under_another_number_of_threads(recorded: int, checked: int, tmp_path) -> None:
    path = tmp_path / "golden.safetensors"
    code = (
        f"import torch; torch.set_num_threads({recorded})\n"
        "from pathlib import Path; from minibert.verify import make_golden\n"
        f"make_golden({str(FOLDER)!r}, Path({str(path)!r}))\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    torch.set_num_threads(checked)
    try:
        assert read_golden(path)[0]["threads"] == str(recorded)
        assert verify(FOLDER, path).same
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("change", "point"),
    [
        ("weight", "encoder.layer.1.attention.self.query"),
        ("eps", "embeddings"),
        ("activation", "encoder.layer.0.intermediate"),
    ],
)
def test_finds_a_change(change: str, point: str, tmp_path) -> None:
    model = minibert.BertForPreTraining.from_pretrained(FOLDER)
    if change == "weight":
        with torch.no_grad():
            model.bert.encoder.layer[1].attention.self.query.weight[0, 0] += 1e-4
    elif change == "eps":
        model.config.layer_norm_eps = 1e-9
    else:
        model.config.hidden_act = "gelu_pytorch_tanh"
    model.save_pretrained(tmp_path)
    report = verify(tmp_path, GOLDEN)
    assert report.first_difference.point == point


def test_sdpa_has_no_maps() -> None:
    report = verify(FOLDER, GOLDEN, attention="sdpa")
    absent = [result for result in report.results if result.difference is None]
    assert {result.point.rpartition(".")[2] for result in absent} == {"probabilities"}
    assert {result.verdict for result in absent} == {"absent (here)"}


def test_only_layers_is_small(tmp_path) -> None:
    count = make_golden(FOLDER, tmp_path / "small.safetensors", texts=["the pear tree"], only_layers=True)
    assert count == 6  # embeddings, two layers, pooler, two heads
    assert verify(FOLDER, tmp_path / "small.safetensors").same


def test_files_that_are_no_goldens(tmp_path, capsys) -> None:
    with pytest.raises(CheckpointError, match=r"was recorded from a BertForPreTraining; .* is a BertModel"):
        other = minibert.BertForPreTraining.from_pretrained(FOLDER).bert
        other.save_pretrained(tmp_path / "other")
        verify(tmp_path / "other", GOLDEN)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(GOLDEN.read_bytes()[:-100])
    assert main(["verify", str(FOLDER), "--against", str(broken)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "broken.safetensors is not a whole safetensors file" in printed.err


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        ("{no json", "its list of points is not JSON"),
        ("[1]", "does not give the points of each batch"),
        ('{"x": 3}', "does not give the points of each batch"),
        ('{"x": ["pooler"]}', "lacks float64/x/pooler, which it lists"),
        (None, "does not say its points"),
    ],
)
def test_damaged_words_are_a_sentence(points: str | None, sentence: str, tmp_path, capsys) -> None:
    about = {"format": "minibert golden 1", "torch": "x", "cpu": "x", "threads": "1", "model": "BertForPreTraining"}
    write_safetensors(
        tmp_path / "g.safetensors", {"x": torch.zeros(1)}, about | ({} if points is None else {"points": points})
    )
    assert main(["verify", str(FOLDER), "--against", str(tmp_path / "g.safetensors")]) == 2
    assert sentence in capsys.readouterr().err


def test_a_broken_vocabulary_is_not_passed_over(tmp_path, capsys) -> None:
    """Ids are drawn only where there is no vocabulary at all."""
    model = minibert.BertForPreTraining.from_pretrained(FOLDER)
    model.save_pretrained(tmp_path)
    assert main(["verify", str(tmp_path), "--against", str(FOLDER)]) == 0
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    assert main(["verify", str(tmp_path), "--against", str(FOLDER)]) == 2
    assert "vocab.txt" in capsys.readouterr().err


def test_the_command_writes_one(tmp_path, capsys) -> None:
    path = tmp_path / "g.safetensors"
    assert main(["golden", str(FOLDER), "-o", str(path), "--text", "hello"]) == 0
    assert "23 points in float64 and float32" in capsys.readouterr().out
    assert main(["verify", str(FOLDER), "--against", str(path), "--dtype", "float64"]) == 0
    assert main(["golden", str(FOLDER), "-o", str(tmp_path / "no" / "\0")]) == 2


def test_float64_alone_does_not_touch_the_model() -> None:
    model = minibert.BertForPreTraining.from_pretrained(FOLDER)
    before = copy.deepcopy(model.state_dict())
    verify(FOLDER, GOLDEN, dtype="float64")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())


def test_what_a_golden_has_wrong_is_named(tmp_path) -> None:
    """Recorded from a model with another activation, whole or in outline."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    model = small(num_hidden_layers=2)
    model.save_pretrained(right)
    other = small(num_hidden_layers=2, hidden_act="relu")
    other.load_state_dict(model.state_dict())
    other.save_pretrained(wrong)
    for only_layers, first in ((False, "intermediate"), (True, "output")):
        make_golden(wrong, tmp_path / "golden.safetensors", only_layers=only_layers)
        report = verify(right, tmp_path / "golden.safetensors", dtype="float64")
        assert report.first_difference.point == f"encoder.layer.0.{first}"
        (finding,) = report.explanation.findings
        assert "relu" in finding.mistakes[0].name.lower()
        assert finding.points == ["encoder.layer.0.intermediate", "encoder.layer.1.intermediate"]
        assert "the findings are about the golden" in str(report)


def test_a_run_that_is_wrong_here_is_named(tmp_path, monkeypatch) -> None:
    """The golden is what the formulas give, so it is the run that has the mistake."""
    small(num_hidden_layers=2).save_pretrained(tmp_path)
    make_golden(tmp_path, tmp_path / "golden.safetensors")
    load = minibert.verify.golden.load

    def broken(*given):
        model = load(*given)
        model.encoder.layer[1].intermediate.intermediate_act_fn = torch.nn.functional.silu
        return model

    monkeypatch.setattr(minibert.verify.golden, "load", broken)
    report = verify(tmp_path, tmp_path / "golden.safetensors", dtype="float64")
    (finding,) = report.explanation.findings
    assert finding.points == ["encoder.layer.1.intermediate"]
    assert "silu" in finding.mistakes[0].name.lower()
    assert "the findings are about the run here" in str(report)
