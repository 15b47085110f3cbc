"""minibert trace and minibert step, as they are typed."""

import io
import json
from pathlib import Path

import pytest
import torch

import minibert
from minibert import edit, trace, zero_head
from minibert.cli import build_parser, main
from minibert.lens.debugger import changed, part_of
from tests.support.small_models import small

FOLDER = Path(minibert.__file__).parent / "goldens" / "random-bert"
TEXT = "She sat by the bank."
CONTEXT = "bert.encoder.layer.0.attention.self.context_heads"


@pytest.fixture(scope="module")
def model():
    return minibert.BertForPreTraining.from_pretrained(FOLDER)


@pytest.fixture(scope="module")
def inputs():
    return dict(minibert.BertTokenizer.from_pretrained(FOLDER)(TEXT, return_tensors="pt"))


def test_trace_prints_the_walk_as_a_table(capsys, model, inputs) -> None:
    assert main(["trace", TEXT, "--model", str(FOLDER)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "BertForPreTraining, 8 tokens: [CLS] she sat by the bank . [SEP]"
    assert lines[2].split() == ["step", "point", "formula", "shape", "norm", "mean", "std"]
    found = trace(model, inputs)
    assert [line.split()[1] for line in lines[4:]] == list(found)
    row = next(line for line in lines if CONTEXT in line).split()
    value = found[CONTEXT].double()
    assert row[:1] + row[2:5] == ["18", "dropout", "@", "value_heads"] and row[5] == "1×2×8×8"
    assert [float(x) for x in row[6:]] == pytest.approx(
        [value.norm().item(), value.mean().item(), value.std(correction=0).item()], rel=1e-3
    )


def test_trace_of_a_pair_and_of_one_layer(capsys) -> None:
    assert main(["trace", TEXT, "The pear tree.", "--model", str(FOLDER), "--layer", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("[SEP] the pear tree . [SEP]")
    assert len(lines) == 4 + 27 and all("encoder.layer.1" in line for line in lines[4:])


def test_trace_shows_the_numbers_of_a_head_and_a_token(capsys, model, inputs) -> None:
    found = trace(model, inputs)
    chosen = ["--layer", "0", "--head", "1", "--token", "3"]
    assert main(["trace", TEXT, "--model", str(FOLDER), *chosen, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["model"] == "BertForPreTraining" and content["tokens"][3] == "by"
    assert len(content["points"]) == 27
    entry = next(entry for entry in content["points"] if entry["point"] == CONTEXT)
    assert entry["rows"] == [{"head": 1, "token": 3, "numbers": found[CONTEXT][0, 1, 3].tolist()}]
    assert entry["shape"] == [1, 2, 8, 8] and entry["step"] == 18
    assert next(entry for entry in content["points"] if entry["point"].endswith("0.output"))["rows"] == []
    assert main(["trace", TEXT, "--model", str(FOLDER), *chosen, "--numbers", "3"]) == 0
    rows = capsys.readouterr().out.splitlines()[4:]
    assert len(rows) == 8  # query, key, value, scores, masked scores, probabilities, dropout, context
    shown = [float(x.strip(",…")) for x in rows[-1].split("by")[1].split()[:3]]
    assert shown == pytest.approx(found[CONTEXT][0, 1, 3, :3].tolist(), rel=1e-3)
    assert rows[-1].endswith("… (8 numbers)")


def test_trace_of_a_token_everywhere(capsys, model, inputs) -> None:
    found = trace(model, inputs)
    assert main(["trace", TEXT, "--model", str(FOLDER), "--token", "0", "--json"]) == 0
    points = {entry["point"]: entry["rows"] for entry in json.loads(capsys.readouterr().out)["points"]}
    assert list(points) == list(found)
    assert [row["head"] for row in points[CONTEXT]] == [0, 1]
    assert points["bert.embeddings"] == [{"head": None, "token": 0, "numbers": found["bert.embeddings"][0, 0].tolist()}]
    assert points["bert.pooler"] == []


def step(monkeypatch, lines: str, *options: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    return main(["step", TEXT, "--model", str(FOLDER), *options])


def test_step_goes_where_it_is_told(monkeypatch, capsys) -> None:
    lines = "next\nn 2\n\nlayer\nuntil **.1.attention.self.scores\nlayer\nu /seq*\nquit\n"
    assert step(monkeypatch, lines) == 0
    printed = capsys.readouterr().out
    places = [line.split()[:2] for line in printed.splitlines() if line.startswith("[")]
    assert places == [
        ["[1/77]", "bert.embeddings.word_embeddings"],
        ["[2/77]", "bert.embeddings.token_type_embeddings"],
        ["[4/77]", "bert.embeddings.sum"],
        ["[8/77]", "bert.encoder.layer.0.attention.self.query"],
        ["[41/77]", "bert.encoder.layer.1.attention.self.scores"],
        ["[62/77]", "bert.encoder/last_hidden_state"],
        ["[77/77]", "/seq_relationship_logits"],
    ]
    assert (
        "[41/77] bert.encoder.layer.1.attention.self.scores = query_heads @ key_headsᵀ / √D\n    1×2×8×8; norm "
        in printed
    )
    assert "The run is over" not in printed


def test_step_prints_numbers(monkeypatch, capsys, model, inputs) -> None:
    lines = "until **.0.attention.self.probabilities\nprint\nprint [0, 1, 2, :5]\np [0,-1,2,3]\n"
    assert step(monkeypatch, lines) == 0
    printed = capsys.readouterr().out
    value = trace(model, inputs)["bert.encoder.layer.0.attention.self.probabilities"]
    assert str(value) in printed and str(value[0, 1, 2, :5]) in printed
    assert float(printed.splitlines()[-1]) == pytest.approx(value[0, 1, 2, 3].item(), rel=1e-6)


def test_step_edits_and_says_what_came_of_it(monkeypatch, capsys, model, inputs) -> None:
    lines = f"until {CONTEXT}\nedit head 1 zero\ncontinue\nprint\n"
    assert step(monkeypatch, lines, "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["edits"] == [{"point": CONTEXT, "change": "head 1 zero"}] and content["finished"] is True
    with edit(model, CONTEXT, zero_head(1)):
        edited = trace(model, inputs).outputs
    plain = trace(model, inputs).outputs
    assert [entry["output"] for entry in content["differences"]] == ["prediction_logits", "seq_relationship_logits"]
    for entry in content["differences"]:
        expected = (edited[entry["output"]].double() - plain[entry["output"]].double()).abs().max().item()
        assert entry["largest"] == expected > 0
    assert "The run is over: 1 edit. Beside the run without:" in "\n".join(content["said"])


def test_step_without_an_edit_changes_nothing(monkeypatch, capsys) -> None:
    assert step(monkeypatch, "c\n", "--json") == 0
    content = json.loads(capsys.readouterr().out)
    assert content["edits"] == [] and [entry["largest"] for entry in content["differences"]] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("dance", "'dance' is no command; there are next, layer, until, print, edit, continue, quit, help."),
        ("next zero", "next takes a number of steps of at least 1; found 'zero'"),
        ("until", "Until which point?"),
        ("until bert.embeddings.word_embeddings", "does not come any more in this run"),
        ("until nowhere", "There is no point 'nowhere'"),
        ("print 3", "A place is written in brackets, as [0, 2, :5]; found '3'."),
        ("print [99]", "There is no 99 in [99]: that dimension has 0 to 0."),
        ("print [0, 0, 0, 0]", "has 4 places; the value has the shape 1×8×16"),
        ("print [__import__('os')]", "is neither a whole number nor a range such as 2:5"),
        ("edit", "'' is no change: write zero, scale 0.5"),
        ("edit scale nan", "'nan' is not a number to compute with"),
        ("edit scale exec", "'exec' is not a number to compute with"),
        ("edit head 0 zero", "A value of shape (1, 8, 16) has no heads to choose from"),
        ("edit token 8 zero", "There is no token 8: the value has tokens 0 to 7"),
    ],
)
def test_a_wrong_line_of_a_script_is_one_sentence_and_exit_code_2(
    line: str, sentence: str, monkeypatch, capsys
) -> None:
    assert step(monkeypatch, line + "\nc\n") == 2
    printed = capsys.readouterr()
    assert sentence in printed.err and printed.err.count("\n") == 1
    assert "The run is over" not in printed.out


def test_someone_at_a_terminal_may_mistype(monkeypatch, capsys) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal("dance\nhelp\nnext\n\nquit\n"))
    assert main(["step", TEXT, "--model", str(FOLDER)]) == 0
    printed = capsys.readouterr()
    assert "minibert: 'dance' is no command" in printed.err and printed.err.count("(step) ") == 5
    assert "edit CHANGE" in printed.out and "[3/77]" in printed.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--layer", "2"], "There is no layer 2: this run has layers 0 to 1."),
        (["--head", "2"], "There is no head 2: this run has heads 0 to 1."),
        (["--token", "8"], "There is no token 8: this run has tokens 0 to 7."),
    ],
)
def test_a_number_that_is_not_there_is_a_sentence(arguments: list[str], sentence: str, capsys) -> None:
    assert main(["trace", TEXT, "--model", str(FOLDER), *arguments]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err == f"minibert: {sentence}\n"


@pytest.mark.parametrize("verb", ["trace", "step"])
def test_help_has_an_example_and_wrong_usage_exits_with_2(verb: str, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        build_parser().parse_args([verb, "--help"])
    assert stopped.value.code == 0
    assert f"example: minibert {verb}" in " ".join(capsys.readouterr().out.split())
    assert main([verb, "bank " * 40, "--model", str(FOLDER)]) == 2
    assert (
        "The text has 42 tokens and this model reads 32. Give a shorter text, or --truncate" in capsys.readouterr().err
    )
    with pytest.raises(SystemExit) as stopped:
        main([verb, "x", "--model", "m", "--layer", "-1"])
    assert stopped.value.code == 2


def test_places_are_those_of_the_tensor() -> None:
    value = torch.arange(24.0).view(2, 3, 4)
    for text, expected in (
        ("[1]", value[1]),
        ("[ -1 , 2 ]", value[-1, 2]),
        ("[:, 1:, :2]", value[:, 1:, :2]),
        ("[0, -2:, 3]", value[0, -2:, 3]),
        ("[:]", value),
    ):
        assert torch.equal(part_of(value, text), expected)


def test_changes() -> None:
    value = torch.arange(1.0, 25.0).view(1, 2, 3, 4)
    assert changed(value, "zero").abs().max() == 0
    assert torch.equal(changed(value, "scale  -0.5"), value * -0.5)
    assert torch.equal(changed(value, "head 1 token 2 scale 1e1")[0, 1, 2], value[0, 1, 2] * 10)
    assert (changed(value, "head 1 token 2 scale 10") != value).sum() == 4
    noise = changed(value, "noise 0.1 seed 7") - value
    assert torch.equal(noise, changed(value, "noise 0.1 seed 7") - value)
    assert not torch.equal(noise, changed(value, "noise 0.1") - value)
    assert 0.05 < noise.std() < 0.2
    assert changed(small().pooler.dense.bias.detach(), "zero").abs().max() == 0
