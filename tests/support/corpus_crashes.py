"""A program that kills corpus runs: it imports torch once and forks, so that a run costs milliseconds to begin.

``python -m tests.support.corpus_crashes WHAT INPUT FOLDER SETTINGS`` (as JSON) prints what happened, as JSON.
``anywhere``: SIGKILL after a random time, or when a file is being written, again and again, until a run ends by itself.
``everywhere``: for every n, a run that kills itself with SIGKILL before its n-th operation on a file, and one that goes
on from there.  ``workers``: two runs at the same time, both killed once.  ``store``: as ``anywhere``, into an object
store.  ``memory``: what a longer input takes.
"""

import json
import os
import random
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch

from minibert import Embedder, MissingExtraError, embed_corpus
from minibert.data.parquet import need_pyarrow
from tests.support.corpus import FOLDER, contents
from tests.support.crashes import FEWEST_KILLS, die_before, ended, is_running

torch.set_num_threads(1)
FEWEST_STORE_KILLS = 5
EMBEDDER = Embedder.from_pretrained(FOLDER)
with suppress(MissingExtraError):
    need_pyarrow()  # here, so that no run imports it again


def start(source: str, folder: Path | str, stop_before: int | None = None, **settings) -> int:
    """A corpus run in a process of its own; its number.  ``stop_before``: the operation on a file it dies before."""
    if process := os.fork():
        return process
    try:
        if stop_before is not None:
            die_before(stop_before)
        embed_corpus(EMBEDDER, source, folder, **settings)
    except BaseException as error:
        print(repr(error), file=sys.stderr)
        os._exit(1)
    os._exit(0)


def anywhere(source: str, folder: Path, **settings) -> dict:
    began = time.monotonic()
    assert ended(start(source, folder.with_name("timed"), **settings))
    whole = time.monotonic() - began
    generator, kills, halves = random.Random(7), 0, 0
    while True:
        process = start(source, folder, **settings)
        # At first so soon that there is work left for the later kills, then later and later, so that it ends.
        wait = generator.uniform(0, whole / 10) * max(1, kills / FEWEST_KILLS) ** 2
        at_a_file, until = generator.random() < 0.5, time.monotonic() + wait
        while is_running(process) and time.monotonic() < until + whole * at_a_file:
            if at_a_file and time.monotonic() > until and folder.is_dir() and any(folder.glob(".*.part")):
                break
            time.sleep(0.0005)
        if is_running(process):
            os.kill(process, signal.SIGKILL)
        if ended(process):
            return {"kills": kills, "half-written files": halves}
        kills += 1
        halves += folder.is_dir() and any(folder.glob(".*.part"))


def everywhere(source: str, folder: Path, **settings) -> dict:
    whole = folder.with_name("uninterrupted")
    assert ended(start(source, whole, **settings))
    operation = 0
    while True:
        place = folder / str(operation)
        place.parent.mkdir(exist_ok=True)
        if ended(start(source, place, operation, **settings)):
            return {"operations": operation}
        assert ended(start(source, place, **settings))
        assert contents(place) == contents(whole), operation
        operation += 1


def workers(source: str, folder: Path, **settings) -> dict:
    killed = [start(source, folder, worker=(number, 2), **settings) for number in (0, 1)]
    while len(list(folder.glob("shard-*.json"))) < 4:
        time.sleep(0.001)
    for process in killed:
        os.kill(process, signal.SIGKILL)
    were_killed = [not ended(process) for process in killed]
    running = [start(source, folder, worker=(number, 2), **settings) for number in (0, 1)]
    return {"killed": were_killed, "ended": [ended(process) for process in running]}


def memory(source: str, folder: Path, longer: str, **settings) -> dict:
    peaks = []
    for number, path in enumerate((source, longer)):
        Path("/proc/self/clear_refs").write_text("5")  # the highest so far is forgotten
        embed_corpus(EMBEDDER, path, folder / str(number), **settings)
        status = dict(line.split(":\t") for line in Path("/proc/self/status").read_text().splitlines())
        peaks.append(int(status["VmHWM"].removesuffix("kB")) * 1024)
    return {"growth": peaks[1] - peaks[0]}


def store(source: str, folder: Path, output: str, **settings) -> dict:
    """``output``: a URL.  A run is killed at some time while it works, until one ends by itself."""
    began = time.monotonic()
    assert ended(start(source, output + "-timed", **settings))
    whole = time.monotonic() - began
    generator, kills = random.Random(3), 0
    while True:
        process = start(source, output, **settings)
        until = time.monotonic() + whole * generator.uniform(0.1, 0.5 + 0.2 * max(0, kills - FEWEST_STORE_KILLS))
        while is_running(process) and time.monotonic() < until:
            time.sleep(0.001)
        if is_running(process):
            os.kill(process, signal.SIGKILL)
        if ended(process):
            return {"kills": kills}
        kills += 1


if __name__ == "__main__":
    what, source, folder, settings = sys.argv[1:]
    print(json.dumps(globals()[what](source, Path(folder), **json.loads(settings))))
