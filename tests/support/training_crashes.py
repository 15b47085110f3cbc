"""A program that kills training runs: it imports torch once and forks, so that a run costs milliseconds to begin.

``python -m tests.support.training_crashes FOLDER`` prints, as JSON, what happened.  ``anywhere``: SIGKILL after a
random time, again and again, until a run ends by itself.  ``everywhere``: for every STRIDE-th n, a run that kills
itself before its n-th operation on a file, and one that goes on from there.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import torch
import torch._dynamo  # which an optimizer imports: here, so that no run imports it again

from minibert.training.loop import train
from minibert.training.settings import Settings
from tests.support.corpus import contents
from tests.support.crashes import FEWEST_KILLS, die_before, ended, is_running
from tests.support.toy_training import Toy, ToyObjective, toy_model

torch.set_num_threads(1)
STRIDE = 5  # most operations write one tensor after another; the tests of a whole file stand elsewhere


def evaluate(model: torch.nn.Module) -> dict[str, float]:
    """A score that rises and falls, so that the best is not the last."""
    return {"score": float(model.cls.predictions.bias.detach().sum().sin())}


def start(folder: Path, epochs: int = 1, stop_before: int | None = None) -> int:
    """A run in a process of its own; its number."""
    if process := os.fork():
        return process
    try:
        if stop_before is not None:
            die_before(stop_before)
        model = toy_model(dropout=0.1, num_hidden_layers=1)
        settings = Settings(learning_rate=1e-2, epochs=epochs, save_every=4, evaluate_every=5, keep_best="score")
        train(ToyObjective(model), Toy(), settings, folder, evaluate=evaluate)
        model.save_pretrained(folder)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def anywhere(folder: Path) -> dict:
    """Kill at random moments."""
    began = time.monotonic()
    assert ended(start(folder / "whole", 10))
    whole = time.monotonic() - began
    generator, kills, steps = random.Random(7), 0, []
    while True:
        process = start(folder / "killed", 10)
        until = time.monotonic() + generator.uniform(0, whole / 16) * max(1, kills / FEWEST_KILLS) ** 2
        while is_running(process) and time.monotonic() < until:
            time.sleep(0.0005)
        if is_running(process):
            os.kill(process, signal.SIGKILL)
        if ended(process):
            break
        kills += 1
        metrics = folder / "killed/metrics.jsonl"
        steps.append(metrics.read_bytes().count(b"learning_rate") if metrics.exists() else 0)
    return {"kills": kills, "steps": steps, "same": contents(folder / "killed") == contents(folder / "whole")}


def everywhere(folder: Path) -> dict:
    """Kill before every operation on a file."""
    assert ended(start(folder / "uninterrupted"))
    expected, operation = contents(folder / "uninterrupted"), 0
    while True:
        place = folder / str(operation)
        if ended(start(place, stop_before=operation)):
            return {"operations": operation}
        assert ended(start(place)), operation
        assert contents(place) == expected, operation
        shutil.rmtree(place)
        operation += STRIDE


if __name__ == "__main__":
    place = Path(sys.argv[1])
    print(json.dumps({"anywhere": anywhere(place / "anywhere"), "everywhere": everywhere(place / "everywhere")}))
