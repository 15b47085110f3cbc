"""The learning rate of each step: transformers' three schedules with warm-up."""

import pytest
import torch

from minibert import InputError
from minibert.training.metrics import read_metrics
from minibert.training.optimizer import scheduled_learning_rate
from minibert.training.settings import SCHEDULES, Settings
from tests.training.test_loop import run


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("warmup", [0.0, 0.25, 1.0])
def test_schedules_are_those_of_transformers(schedule, warmup):
    transformers = pytest.importorskip("transformers")
    settings = Settings(learning_rate=2.0, schedule=schedule, warmup=warmup)
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    name = "constant_with_warmup" if schedule == "constant" else schedule
    theirs = transformers.get_scheduler(name, optimizer, int(warmup * 20), 20)
    for step in range(20):
        assert scheduled_learning_rate(settings, step, 20) == pytest.approx(theirs.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        theirs.step()


def test_cosine_in_numbers():
    settings = Settings(learning_rate=1.0, warmup=0.2, schedule="cosine")
    found = [round(scheduled_learning_rate(settings, done, 10), 4) for done in range(11)]
    assert found == [0.0, 0.5, 1.0, 0.9619, 0.8536, 0.6913, 0.5, 0.3087, 0.1464, 0.0381, 0.0]


def test_a_run_follows_its_schedule_and_belongs_to_it(tmp_path):
    run(tmp_path, schedule="constant")
    assert [entry["learning_rate"] for entry in read_metrics(tmp_path)] == [0.0, 0.005, *[0.01] * 18]
    with pytest.raises(InputError, match=r"with settings.schedule 'constant', and this one has as usual\."):
        run(tmp_path)
    with pytest.raises(InputError, match=r"schedule is 'step'; there are 'linear', 'cosine', 'constant'\."):
        Settings(schedule="step")
