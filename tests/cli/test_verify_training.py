"""``minibert verify-training``: two files of the user, batches from a file, a function or texts, and mistakes."""

import json

import pytest
import torch
from safetensors.torch import save_file

from minibert.cli import main

MINE = """
import torch
from minibert import BertConfig, BertForMaskedLM

CONFIG = dict(
    hidden_size=12, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0, max_position_embeddings=24,
)


def build(config, eps=1e-6):
    model = BertForMaskedLM(BertConfig(vocab_size=config.vocab_size, **CONFIG))
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3, eps=eps)


def other(config):
    return build(config, eps=1e-8)


def batches():
    ids = torch.arange(5, 25).view(2, 10)
    return [{"input_ids": ids, "labels": ids.where(ids % 3 == 0, -100)}]


def number():
    return 5


def asks(width):
    return width


def fails():
    return 1 / 0
"""
IDS = torch.arange(5, 25).view(2, 10)
BATCH = {"input_ids": IDS, "labels": IDS.where(IDS % 3 == 0, -100)}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(MINE)
    save_file(
        {f"{number}/{name}": tensor.int() for number in range(2) for name, tensor in BATCH.items()}, "two.safetensors"
    )
    save_file({"input_ids": IDS + 20000, "labels": IDS.clone()}, "outside.safetensors")
    return tmp_path


def test_the_same_build_is_the_same(capsys):
    assert main(["verify-training", "mine.py:build", "mine.py:build", "--batches", "two.safetensors", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["same"] and report["steps"] == 2
    assert report["names"] == ["mine.py:build (A)", "mine.py:build (B)"]
    assert {row["verdict"] for row in report["rows"]} == {"same"}


@pytest.mark.parametrize(
    "inputs",
    [["--batches", "two.safetensors"], ["--batches", "mine.py:batches"], ["--text", "배가 고프다. The pear tree."]],
)
def test_where_two_builds_part(inputs, capsys):
    assert main(["verify-training", "mine.py:build", "mine.py:other", *inputs, "--steps", "3"]) == 1
    said = capsys.readouterr().out
    assert "The runs part at step 1: parameters" in said
    assert "Cause: eps of Adam is 1e-06 in mine.py:build and 1e-08 in mine.py:other" in said


@pytest.mark.parametrize(("language", "name"), [("ko", "원인"), ("zh", "原因")])
def test_in_another_language(language, name, capsys):
    call = ["verify-training", "mine.py:build", "mine.py:other", "--batches", "mine.py:batches"]
    assert main([*call, "--language", language]) == 1
    assert name in capsys.readouterr().out
    assert main([*call, "--language", language, "--json"]) == 1
    (cause,) = json.loads(capsys.readouterr().out)["causes"]
    assert (
        cause["key"] == "optimizer.eps" and cause["sentence"].count("mine.py") == 2 and not cause["sentence"].isascii()
    )


def test_texts_are_masked_eight_a_batch(place, capsys):
    from minibert.cli import build_parser
    from minibert.commands.verify_training import batches_of

    (place / "texts.txt").write_text("\n".join(f"She sat by the bank {number} times." for number in range(9)))
    call = ["verify-training", "mine.py:build", "mine.py:build", "--texts", "texts.txt"]
    first, second = batches_of(build_parser().parse_args(call), {})
    assert len(first["input_ids"]) == 8 and len(second["input_ids"]) == 1
    chosen = first["labels"] != -100
    assert chosen.any(dim=1).all() and not chosen[:, 0].any()
    assert (first["input_ids"][~chosen] != first["labels"][~chosen]).all()
    assert main(call) == 0


@pytest.mark.parametrize(
    ("sides", "inputs", "sentence"),
    [
        ("mine.py:build mine.py:other", "", "one of the arguments --batches --texts --text is required"),
        ("mine.py:build none.py:build", "--batches two.safetensors", "none.py is not a file on this disk"),
        ("mine.py:build mine.py:biuld", "--batches two.safetensors", "Did you mean build?"),
        ("mine.py:build mine.py:number", "--batches two.safetensors", "returned int; expected (model, optimizer)"),
        ("mine.py:asks mine.py:build", "--batches two.safetensors", "asks for 'width'; its parameters may be config, "),
        ("mine.py:fails mine.py:build", "--batches two.safetensors", "ZeroDivisionError: division by zero (line 3"),
        ("mine.py:build mine.py:other", "--batches none.npz", "There is no file none.npz"),
        ("mine.py:build mine.py:other", "--batches mine.py", "are a .safetensors or an .npz file"),
        ("mine.py:build mine.py:other", "--batches mine.py:number", "batches is empty, or no dict"),
        ("mine.py:build mine.py:other", "--batches outside.safetensors", "input_ids holds 20005 at (0, 0)"),
        ("mine.py:build mine.py:other", "--texts none.txt", "none.txt cannot be read"),
        ("mine.py:build mine.py:other", "--text a --steps 0", "'0' is not a whole number of at least 1"),
    ],
)
def test_mistakes(sides, inputs, sentence, capsys):
    try:
        code = main(["verify-training", *sides.split(), *inputs.split()])
    except SystemExit as stopped:
        code = stopped.code
    said = capsys.readouterr().err
    assert code == 2 and sentence in said, said
    assert "Traceback" not in said and said.count("\n") == 1


def test_help_says_that_it_runs_the_files(capsys):
    with pytest.raises(SystemExit):
        main(["verify-training", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "This runs both files, which are yours." in said and "example: minibert verify-training" in said
