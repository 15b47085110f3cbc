"""From plain text to a checkpoint that transformers loads: the command, interruptions, and what it says to mistakes."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minibert import BertConfig, BertForPreTraining, BertTokenizer
from minibert.cli import main
from minibert.errors import InputError
from minibert.pretraining.run import Start, TrainingText, pretrain
from minibert.training.metrics import read_metrics
from minibert.training.settings import Settings

ROOT = Path(__file__).parents[2]
TINY = BertConfig(
    vocab_size=1, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
    max_position_embeddings=48, hidden_dropout_prob=0.1,
)  # fmt: skip
# Large enough to learn which word follows which.
SMALL = BertConfig(
    vocab_size=1, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128,
    max_position_embeddings=48, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
)  # fmt: skip
WORDS = [
    "the cat",
    "a dog",
    "my bird",
    "그 고양이",
    "우리 개",
    "sat on",
    "looked at",
    "ran to",
    "the mat",
    "him",
    "나무",
]


def story(documents: int, seed: int) -> str:
    """Documents of several short sentences, blank lines between."""
    draw = random.Random(seed)
    return "\n\n".join(
        "\n".join(" ".join(draw.choices(WORDS, k=draw.randint(2, 5))) + "." for _ in range(draw.randint(2, 9)))
        for _ in range(documents)
    )


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("text")
    paths = {"text": folder / "story.txt", "heldout": folder / "kept.txt", "config": folder / "config.json"}
    paths["text"].write_text(story(120, 1), encoding="utf-8")
    paths["heldout"].write_text(story(12, 2), encoding="utf-8")
    TINY.save_pretrained(folder)
    return paths


def run(files, output: Path, config: BertConfig = TINY, **settings):
    text = TrainingText((files["text"],), (files["heldout"],), max_length=48, step_tokens=512)
    chosen = Settings(**{"learning_rate": 5e-3, "epochs": 4, "save_every": 10, **settings})
    return pretrain(text, output, chosen, start=Start(config, vocab_size=80))


def command(files, output: Path, *options: str) -> list[str]:
    shape = [] if "--from" in options else ["--config", str(files["config"]), "--vocab-size", "80"]
    return [
        "pretrain", str(files["text"]), "--heldout", str(files["heldout"]), "--output", str(output), *shape,
        "--max-length", "48", "--step-tokens", "512", "--epochs", "2", "--learning-rate", "5e-3", *options,
    ]  # fmt: skip


def test_learns_and_leaves_a_checkpoint_that_transformers_loads(files, tmp_path):
    result = run(files, tmp_path, SMALL, steps=450, learning_rate=3e-3, evaluate_every=100)
    scores = result.scores
    assert scores["mlm_loss"] < scores["unigram_loss"] - 0.3
    assert 0 < scores["top1"] <= scores["top5"] <= 1
    evaluations = [entry for entry in read_metrics(tmp_path) if "scores" in entry]
    assert len(evaluations) >= 3 and evaluations[-1]["scores"] == scores
    model, tokenizer = BertForPreTraining.from_pretrained(tmp_path), BertTokenizer.from_pretrained(tmp_path)
    assert tokenizer.model_max_length == 48
    assert "그" in "".join(tokenizer.get_vocab())  # composed, not taken apart
    transformers = pytest.importorskip("transformers")
    theirs = transformers.BertForPreTraining.from_pretrained(tmp_path, attn_implementation="sdpa")
    inputs = tokenizer(["the cat sat on [MASK].", "그 고양이 ran"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        assert torch.equal(model(**inputs).prediction_logits, theirs(**inputs).prediction_logits)
    assert theirs.config.vocab_size == len(tokenizer)


def test_gathering_the_masked_positions_changes_nothing_but_rounding(files, tmp_path):
    text = TrainingText((files["text"],), (files["heldout"],), max_length=48, step_tokens=512)
    settings = Settings(learning_rate=5e-3, steps=12)
    for gather in (True, False):
        pretrain(text, tmp_path / str(gather), settings, start=Start(TINY, vocab_size=80), gather=gather)
    losses = [[entry["mlm"] for entry in read_metrics(tmp_path / str(way)) if "mlm" in entry] for way in (True, False)]
    assert losses[0] == pytest.approx(losses[1], abs=2e-5)


def test_second_call_neither_trains_nor_changes_anything(files, tmp_path):
    run(files, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    run(files, tmp_path)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


@pytest.mark.crash
def test_command_is_interrupted_and_goes_on(files, tmp_path, capsys):
    assert main(command(files, tmp_path / "whole")) == 0
    said = capsys.readouterr().out
    assert "mlm loss" in said and "nsp accuracy" in said
    (tmp_path / "parts").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "minibert", *command(files, tmp_path / "parts")],
        cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    metrics = tmp_path / "parts/metrics.jsonl"
    while not metrics.exists() or b"\n" not in metrics.read_bytes():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate()
    assert process.returncode == 130 and "the same command goes on" in out
    assert main(command(files, tmp_path / "parts")) == 0
    for name in ("metrics.jsonl", "model.safetensors", "vocab.txt"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name


def test_command_stops_where_it_is_told_to_with_a_checkpoint(files, tmp_path, capsys):
    assert main(command(files, tmp_path / "whole")) == 0
    assert main(command(files, tmp_path / "parts", "--stop-after", "9")) == 0
    assert ": 9 of " in capsys.readouterr().out
    early = load_file(tmp_path / "parts/model.safetensors")
    assert main(command(files, tmp_path / "parts")) == 0
    for name in ("metrics.jsonl", "model.safetensors"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
    late = load_file(tmp_path / "parts/model.safetensors")
    assert any(not torch.equal(early[name], late[name]) for name in early)


def test_command_trains_one_task_alone(files, tmp_path):
    for task, other in (("mlm", "nsp"), ("nsp", "mlm")):
        assert main([*command(files, tmp_path / task, "--task", task, "--shortest", "4"), "--steps", "6"]) == 0
        entries = read_metrics(tmp_path / task)
        assert all(task in entry and other not in entry for entry in entries if "loss" in entry)
        assert {"mlm_loss", "nsp_accuracy"} <= entries[-1]["scores"].keys()  # of both


def test_draws_its_losses(files, tmp_path):
    pytest.importorskip("matplotlib")
    assert main(command(files, tmp_path)) == 0
    picture = (tmp_path / "loss.svg").read_text()
    assert picture.startswith("<?xml") and "</svg>" in picture


def test_json_for_programs(files, tmp_path, capsys):
    assert main(command(files, tmp_path, "--json")) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["interrupted"] is False and found["steps"] == found["total"] == found["kept_step"]


def test_goes_on_from_a_checkpoint(files, tmp_path):
    run(files, tmp_path / "first")
    text = TrainingText((files["text"],), (files["heldout"],), max_length=48, step_tokens=512)
    again = pretrain(
        text, tmp_path / "second", Settings(learning_rate=1e-4, steps=3), start=Start(checkpoint=tmp_path / "first")
    )
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("first", "second"))
    assert again.steps == 3
    assert (tmp_path / "first/vocab.txt").read_bytes() == (tmp_path / "second/vocab.txt").read_bytes()
    assert 0 < max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-2


def test_dropout_is_what_is_asked_for_and_else_the_checkpoints(files, tmp_path):
    names = ("hidden_dropout_prob", "attention_probs_dropout_prob")
    assert main(command(files, tmp_path / "first", "--dropout", "0.3")) == 0
    assert main(command(files, tmp_path / "second", "--from", str(tmp_path / "first"))) == 0
    assert main(command(files, tmp_path / "third", "--from", str(tmp_path / "first"), "--dropout", "0")) == 0
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("first", "second", "third")]
    assert [[config[name] for name in names] for config in configs] == [[0.3, 0.3], [0.3, 0.3], [0, 0]]
    second, third = (load_file(tmp_path / name / "model.safetensors") for name in ("second", "third"))
    assert any(not torch.equal(second[name], third[name]) for name in second)


def test_the_heldout_text_is_kept_out_of_the_vocabulary(files, tmp_path):
    kept = tmp_path / "kept.txt"
    kept.write_text("Ω Ω Ω Ω\nΩ ΩΩ\n" * 50, encoding="utf-8")
    text = TrainingText((files["text"],), (kept,), max_length=48, step_tokens=512)
    pretrain(text, tmp_path / "run", Settings(steps=1), start=Start(TINY, vocab_size=80))
    assert "Ω" not in (tmp_path / "run/vocab.txt").read_text(encoding="utf-8")


def test_changed_text_is_noticed(files, tmp_path):
    copy = tmp_path / "copy.txt"
    copy.write_bytes(files["text"].read_bytes())
    arguments = {"start": Start(TINY, vocab_size=80)}
    pretrain(
        TrainingText((copy,), (files["heldout"],), max_length=48), tmp_path / "run", Settings(steps=1), **arguments
    )
    copy.write_text(story(50, 9), encoding="utf-8")
    with pytest.raises(InputError, match="was made with another text"):
        pretrain(
            TrainingText((copy,), (files["heldout"],), max_length=48), tmp_path / "run", Settings(steps=1), **arguments
        )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--max-length", "500"], "max_length is 500, and the model has 48 positions"),
        (["--learning-rate", "-1"], "learning_rate is -1.0"),
        (["--device", "cuda:99"], "There is no device 'cuda:99' here"),
        (["--heading", "("], "heading is '(', which is no regular expression"),
        (["--encoding", "klingon"], "encoding is 'klingon'"),
        (["--dropout", "1.5"], "a number between 0 and 1"),
        (["--vocab-size", "8"], "A vocabulary of 8 has no room"),
    ],
)
def test_mistakes_are_sentences(files, tmp_path, capsys, options, sentence):
    assert main(command(files, tmp_path / "run", *options)) == 2
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said
    assert not (tmp_path / "run/model.safetensors").exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(b"", "is empty"), (b"caf\xe9\n", "UTF-8"), (None, "does not exist")],
)
def test_files_that_cannot_be_read(files, tmp_path, capsys, content, sentence):
    bad = tmp_path / "bad.txt"
    if content is not None:
        bad.write_bytes(content)
    assert main(command({**files, "text": bad}, tmp_path / "run")) == 2
    said = capsys.readouterr().err
    assert sentence in said and "bad.txt" in said


def test_a_rate_that_explodes_is_a_sentence(files, tmp_path, capsys):
    assert main(command(files, tmp_path, "--learning-rate", "1e30")) == 2
    said = capsys.readouterr().err
    assert "Lower the learning rate" in said and "of examples" in said


def test_no_document_to_hold_out(files, tmp_path):
    one = tmp_path / "one.txt"
    one.write_text("the cat sat.\nthe dog ran.\n" * 30, encoding="utf-8")
    with pytest.raises(InputError, match=r"No document fell among the 1\.0% that are kept .* --heldout FILE"):
        pretrain(
            TrainingText((one,), max_length=48), tmp_path / "run", Settings(steps=1), start=Start(TINY, vocab_size=60)
        )
