"""A run for torchrun: ``python -m torch.distributed.run --nproc-per-node 2 -m tests.support.distributed_run …``.

FOLDER, float32 or float64, and any of: fsdp (parts of the model with each process), stop=N (a snapshot there, and out).
The first process leaves the weights in FOLDER/weights.pt; each says how many of the model's numbers it holds.
"""

import sys
from pathlib import Path

import torch

from minibert.terminal import leave
from minibert.training.distributed import full_tensor, join_processes
from minibert.training.loop import Trainer
from minibert.training.settings import Settings
from tests.support.toy_training import Toy, ToyObjective, toy_model

SETTINGS = Settings(learning_rate=1e-3, steps=20, save_every=5, micro_tokens=60)


def main() -> None:
    torch.set_num_threads(1)
    folder, kind, *options = sys.argv[1:]
    stop = next((int(option.removeprefix("stop=")) for option in options if option.startswith("stop=")), 0)
    model = toy_model(seed=3).to(getattr(torch, kind))
    with join_processes(torch.device("cpu"), sharded="fsdp" in options) as processes:
        # Steps of 7, 7, …, 5 and 1 examples: they do not divide by the processes, and one has less than a worker each.
        run = Trainer(ToyObjective(model), Toy(count=29, size=7), SETTINGS, Path(folder), None, processes)
        if stop:
            step = run.step
            run.step = lambda asked: step(asked or run.position.step + 1 == stop)  # as Ctrl-C would
        run.run("test")
        held = sum(p.to_local().numel() if hasattr(p, "to_local") else p.numel() for p in model.parameters())
        Path(folder, f"held-{processes.rank}.txt").write_text(str(held))
        found = {name: full_tensor(parameter) for name, parameter in model.named_parameters()}
        if processes.is_main:
            torch.save(found, Path(folder, "weights.pt"))


if __name__ == "__main__":
    main()
    leave(0)
