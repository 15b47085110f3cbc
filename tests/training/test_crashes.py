"""Killed with SIGKILL at any moment and started again: the same weights, the same journal, to the last bit."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.training_crashes import FEWEST_KILLS

ROOT = Path(__file__).parents[2]


def test_killed_runs_end_as_one_that_was_not():
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        command = [sys.executable, "-m", "tests.support.training_crashes", folder]
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["anywhere"]["same"]
    assert found["anywhere"]["kills"] >= FEWEST_KILLS
    assert len(set(found["anywhere"]["steps"])) > 5  # they died at different steps
    assert found["everywhere"]["operations"] > 200
