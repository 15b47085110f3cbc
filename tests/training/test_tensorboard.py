"""TensorBoard's log: the numbers of metrics.jsonl, each step once, also where a run was killed between snapshots."""

import sys

import pytest

from minibert.errors import MissingExtraError
from minibert.training.loop import train
from minibert.training.metrics import read_metrics
from minibert.training.settings import Settings
from tests.support.toy_training import Toy, ToyObjective, toy_model


def run(folder, examples):
    settings = Settings(learning_rate=1e-2, epochs=4, save_every=3, tensorboard=True)
    return train(ToyObjective(toy_model()), examples, settings, folder, evaluate=lambda model: {"accuracy": 0.25})


class Killed(Toy):
    """Fails in the batch of step 9, two steps after a snapshot, without a chance to save."""

    def steps(self, epoch):
        self.made = 0
        return super().steps(epoch)

    def collate(self, numbers, epoch):
        self.made += 1
        if epoch == 1 and self.made == 4:
            raise RuntimeError("killed")
        return super().collate(numbers, epoch)


def test_every_step_stands_there_once(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(RuntimeError, match="killed"):
        run(tmp_path, Killed())
    assert [entry["step"] for entry in read_metrics(tmp_path) if "loss" in entry] == list(range(1, 9))
    run(tmp_path, Toy())
    found = events.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    entries = read_metrics(tmp_path)
    assert set(found.Tags()["scalars"]) == {"loss", "mlm", "nsp", "learning_rate", "gradient_norm", "accuracy"}
    for name in ("loss", "nsp"):
        expected = [(entry["step"], entry[name]) for entry in entries if name in entry]
        values = [(event.step, event.value) for event in found.Scalars(name)]
        assert [step for step, _ in values] == [step for step, _ in expected] == list(range(1, 21))
        assert [value for _, value in values] == pytest.approx([value for _, value in expected], rel=1e-6)
    assert [(event.step, event.value) for event in found.Scalars("accuracy")] == [(n, 0.25) for n in (5, 10, 15, 20)]


def test_without_the_extra_it_is_a_sentence(tmp_path, monkeypatch):
    for name in list(sys.modules):
        if name.startswith(("tensorboard", "torch.utils.tensorboard")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install '\.\[tensorboard\]'"):
        run(tmp_path, Toy())
