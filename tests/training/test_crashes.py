"""Killed with SIGKILL at any moment and started again: the same weights, the same metrics log, to the last bit."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from tests.support.command import run
from tests.support.training_crashes import FEWEST_KILLS

pytestmark = [pytest.mark.crash, pytest.mark.slow]


def test_killed_runs_end_as_one_that_was_not():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        done = run(folder, module="tests.support.training_crashes")
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["anywhere"]["same"]
    assert found["anywhere"]["kills"] >= FEWEST_KILLS
    assert len(set(found["anywhere"]["steps"])) > 5  # they died at different steps
    assert found["everywhere"]["operations"] > 200
