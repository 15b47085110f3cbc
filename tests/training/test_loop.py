"""The loop: what it computes, that it goes on as if nothing had happened, and what it says when it cannot."""

import json
import math
import os
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minibert import BertConfig, BertForPreTraining
from minibert.checkpoint.save import write_safetensors
from minibert.checkpoint.weights import open_safetensors
from minibert.errors import CheckpointError, InputError, TrainingError
from minibert.training.loop import Result, train
from minibert.training.metrics import read_metrics
from minibert.training.optimizer import make_optimizer, scheduled_learning_rate
from minibert.training.settings import Settings
from minibert.training.snapshot import OLDER_KEYS, snapshots
from tests.support.toy_training import Toy, ToyObjective, furthest, same, toy_model, weights

EXAMPLES = Toy()


def run(folder: Path, examples=EXAMPLES, dropout: float = 0.0, evaluate=None, **settings):
    model = toy_model(dropout=dropout)
    chosen = Settings(**{"learning_rate": 1e-2, "epochs": 4, "save_every": 3, **settings})
    result = train(ToyObjective(model), examples, chosen, folder, evaluate=evaluate)
    return model, result


def plain_loop(dropout: float = 0.0, steps: int = 20, rate: float = 1e-2):
    """What the loop is to be equal to, written with nothing of ours but the model and the seeds."""
    from minibert.training.examples import seed_of

    model = toy_model(dropout=dropout).train()
    decays = [p for name, p in model.named_parameters() if not name.endswith("bias") and "LayerNorm" not in name]
    free = [p for name, p in model.named_parameters() if name.endswith("bias") or "LayerNorm" in name]
    groups = [{"params": decays, "weight_decay": 0.01}, {"params": free, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=rate, eps=1e-6, fused=True)
    warmup = steps // 10
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda done: done / warmup if done < warmup else (steps - done) / (steps - warmup)
    )
    losses = []
    plan = [(epoch, numbers) for epoch in range(4) for numbers in EXAMPLES.steps(epoch)]
    for step, (epoch, numbers) in enumerate(plan):
        torch.manual_seed(seed_of(0, step, 0))
        loss = model(**EXAMPLES.collate(numbers, epoch)).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return model, losses


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_loop_is_the_plain_one_to_the_last_bit(tmp_path, dropout):
    model, result = run(tmp_path, dropout=dropout)
    expected, losses = plain_loop(dropout)
    assert result == Result(20, 20, {}, 20)
    entries = read_metrics(tmp_path)
    assert [entry["step"] for entry in entries] == list(range(1, 21))
    assert [torch.tensor(e["mlm"]).add(torch.tensor(e["nsp"])).item() for e in entries] == losses
    assert same(weights(model), weights(expected))
    assert losses[-1] < losses[0] - 0.05


@pytest.mark.parametrize("settings", [{"micro_tokens": 50}, {"micro_tokens": 1}, {"gradient_checkpointing": True}])
def test_memory_savers_change_rounding_alone(tmp_path, settings):
    model, _ = run(tmp_path / "a", examples := Toy(size=8))
    other, _ = run(tmp_path / "b", examples, **settings)
    assert furthest(weights(model), weights(other)) < 2e-4  # after 20 steps of 1e-2; Adam enlarges what it rounds
    first, second = read_metrics(tmp_path / "a"), read_metrics(tmp_path / "b")
    assert all(a["loss"] == pytest.approx(b["loss"], abs=1e-4) for a, b in zip(first, second, strict=True))


def test_micro_batches_do_not_weigh_their_pieces_otherwise_in_float64(tmp_path):
    found = []
    for micro_tokens in (None, 40):
        model = toy_model().double()
        settings = Settings(learning_rate=1e-2, epochs=2, micro_tokens=micro_tokens)
        train(ToyObjective(model), EXAMPLES, settings, tmp_path / str(micro_tokens))
        found.append(weights(model))
    assert 0 < furthest(*found) < 1e-10


def test_recomputing_is_the_same_to_the_last_bit_with_dropout(tmp_path):
    model, _ = run(tmp_path / "a", dropout=0.1)
    other, _ = run(tmp_path / "b", dropout=0.1, gradient_checkpointing=True)
    assert same(weights(model), weights(other))


def test_interrupted_run_goes_on_bit_for_bit(tmp_path):
    whole, _ = run(tmp_path / "whole", dropout=0.1)
    stops = []

    class Interrupting(Toy):
        def collate(self, numbers, epoch):
            stops.append(1)
            if len(stops) in (5, 9, 14):
                os.kill(os.getpid(), signal.SIGINT)
            return super().collate(numbers, epoch)

    results = []
    while not results or results[-1].interrupted:
        model, result = run(tmp_path / "parts", Interrupting(), dropout=0.1)
        results.append(result)
    assert [result.steps for result in results] == [6, 10, 15, 20]  # Ctrl-C after the look at the flag: a step later
    assert same(weights(model), weights(whole))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_run_that_stops_on_purpose_goes_on_bit_for_bit(tmp_path):
    whole, _ = run(tmp_path / "whole", dropout=0.1)
    result = run(tmp_path / "parts", dropout=0.1, stop_after=7)[1]
    assert (result.steps, result.kept_step, result.stopped, result.interrupted) == (7, 7, True, False)
    assert run(tmp_path / "parts", dropout=0.1, stop_after=5)[1].steps == 7  # what is done is done
    model, result = run(tmp_path / "parts", dropout=0.1)
    assert (result.steps, result.stopped) == (20, False)
    assert same(weights(model), weights(whole))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_finished_run_is_left_as_it_is(tmp_path):
    model, _ = run(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    again, result = run(tmp_path)
    assert result.steps == 20
    assert same(weights(model), weights(again))
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}


def test_best_evaluation_is_kept_across_an_interruption(tmp_path):
    """The third epoch is the best of four; the run is killed after it, and the weights of that epoch come out."""
    scores = iter([0.2, 0.5, 0.9, 0.4])
    seen = []

    def evaluate(model):
        seen.append(weights(model))
        return {"accuracy": next(scores)}

    model, result = run(tmp_path, evaluate=evaluate, keep_best="accuracy")
    assert (result.kept_step, result.scores) == (15, {"accuracy": 0.9})
    assert same(weights(model), seen[2]) and not same(weights(model), seen[3])
    assert [path.name for path in (tmp_path / "snapshots").glob("best*")] == ["best-00000015.safetensors"]
    evaluations = [entry for entry in read_metrics(tmp_path) if "scores" in entry]
    assert [entry["step"] for entry in evaluations] == [5, 10, 15, 20]


def test_unknown_score_to_keep(tmp_path):
    with pytest.raises(InputError, match="keep_best is 'f1'; the evaluation gives accuracy"):
        run(tmp_path, evaluate=lambda model: {"accuracy": 1.0}, keep_best="f1")


def test_only_the_latest_snapshots_stay(tmp_path):
    run(tmp_path)
    assert [path.name for path in snapshots(tmp_path)] == ["step-00000020.safetensors", "step-00000018.safetensors"]


def test_damaged_snapshot_is_passed_over(tmp_path, caplog):
    whole, _ = run(tmp_path)
    latest = snapshots(tmp_path)[0]
    latest.write_bytes(latest.read_bytes()[:1000])
    model, _ = run(tmp_path)
    assert "is damaged: its content does not have the checksum" in caplog.text
    assert "So the run cannot go on from step 20." in caplog.text
    assert same(weights(model), weights(whole))


def test_snapshot_of_another_model_is_refused(tmp_path):
    run(tmp_path)
    (tmp_path / "run.json").unlink()
    smaller = BertForPreTraining(BertConfig(vocab_size=46, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                                            intermediate_size=32, max_position_embeddings=32))  # fmt: skip
    with pytest.raises(CheckpointError, match=r"is of another model: .* has the shape \(46, 16\) there and \(46, 8\)"):
        train(ToyObjective(smaller), EXAMPLES, Settings(), tmp_path)


def test_other_settings_in_the_same_folder_are_refused(tmp_path):
    run(tmp_path)
    with pytest.raises(InputError, match=r"holds a run with settings.learning_rate 0.01, and this one has 0.02"):
        run(tmp_path, learning_rate=2e-2)
    run(tmp_path, micro_tokens=50, save_every=7)  # what does not change the result may differ


def test_a_loss_that_is_no_number_stops_before_it_spoils_anything(tmp_path):
    with pytest.raises(TrainingError, match=r"At step \d+ of 20 the loss is .*batch of examples .*Lower the learning"):
        run(tmp_path, learning_rate=1e30)
    entries = read_metrics(tmp_path)
    assert all(math.isfinite(entry["loss"]) for entry in entries)
    for path in snapshots(tmp_path):
        assert all(tensor.isfinite().all() for tensor in load_file(path).values())


def test_full_disk_leaves_the_last_snapshot(tmp_path, monkeypatch):
    whole, _ = run(tmp_path / "whole")
    from minibert.checkpoint import save

    count = [0]
    real = save.write_numbers

    def full(file, tensors):
        count[0] += 1
        if count[0] == 3:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        real(file, tensors)

    monkeypatch.setattr(save, "write_numbers", full)
    with pytest.raises(CheckpointError, match="cannot be written"):
        run(tmp_path / "full")
    kept = [path.name for path in snapshots(tmp_path / "full")]
    assert kept == ["step-00000006.safetensors", "step-00000003.safetensors"]
    assert not list(tmp_path.rglob("*.part"))
    monkeypatch.setattr(save, "write_numbers", real)
    model, _ = run(tmp_path / "full")
    assert same(weights(model), weights(whole))


def test_steps_instead_of_epochs_begin_new_ones(tmp_path):
    _, result = run(tmp_path, steps=12, epochs=1)
    assert result.total == 12
    assert [entry["epoch"] for entry in read_metrics(tmp_path)] == [0] * 5 + [1] * 5 + [2] * 2


def test_schedule_is_googles():
    settings = Settings(learning_rate=1.0, warmup=0.2)
    assert [round(scheduled_learning_rate(settings, done, 10), 4) for done in range(11)] == [
        0.0, 0.5, 1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0,
    ]  # fmt: skip


def test_biases_and_layer_norms_do_not_decay():
    model = toy_model()
    decays, free = make_optimizer(model, Settings()).param_groups
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert (decays["weight_decay"], free["weight_decay"]) == (0.01, 0.0)
    assert len(decays["params"]) + len(free["params"]) == len(names)  # the tied decoder once
    assert all("LayerNorm" in names[p] or names[p].endswith("bias") for p in free["params"])
    assert not any("LayerNorm" in names[p] or names[p].endswith("bias") for p in decays["params"])


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"learning_rate": -1}, "learning_rate is -1; it must lie between 0 and"),
        ({"warmup": 2}, "warmup is 2"),
        ({"precision": "int8"}, "precision is 'int8'"),
    ],
)
def test_settings_that_make_no_sense(wrong, sentence):
    with pytest.raises(InputError, match=sentence):
        Settings(**wrong)


def test_metrics_hold_plain_json(tmp_path):
    run(tmp_path)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert list(line) == ["step", "epoch", "loss", "mlm", "nsp", "learning_rate", "gradient_norm"]


def test_a_run_of_0_1_0_is_resumed(tmp_path):
    """Its run.json has the same settings, and its snapshots have older names."""
    assert Settings().identity().keys() == {
        "learning_rate", "epochs", "steps", "warmup", "weight_decay", "betas", "eps", "clip", "seed", "precision",
        "keep_best", "evaluate_every",
    }  # fmt: skip
    whole, _ = run(tmp_path / "whole", dropout=0.1)
    run(tmp_path / "parts", dropout=0.1, stop_after=7)
    path = snapshots(tmp_path / "parts")[0]
    with open_safetensors(path) as file:
        tensors, about = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    older = {newer: older for older, newer in OLDER_KEYS.items()}
    state = {older.get(key, key): value for key, value in json.loads(about["state"]).items()}
    assert {"journal_bytes", "journal_sha256", "workers"} < state.keys()
    about = {"format": "pt", "run": about["run"], "state": json.dumps(state)}
    write_safetensors(path, tensors, about, sealed=True)
    model, result = run(tmp_path / "parts", dropout=0.1)
    assert result.steps == 20 and len(read_metrics(tmp_path / "parts")) == 20
    assert same(weights(model), weights(whole))
    assert (tmp_path / "parts/metrics.jsonl").read_bytes() == (tmp_path / "whole/metrics.jsonl").read_bytes()


def test_older_names_of_settings():
    with pytest.warns(DeprecationWarning, match="clip"):
        assert Settings(clip=2.0).max_grad_norm == 2.0
    with pytest.warns(DeprecationWarning, match="recompute"):
        assert Settings(recompute=True).gradient_checkpointing
