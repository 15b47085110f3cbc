"""A small checkpoint, and one trained toy for each task, for all tests that need a fine-tuned folder."""

from pathlib import Path

import pytest

from minibert.finetuning import Finetuned
from tests.support.toy_tasks import HEADED, toy_checkpoint, train_toy


@pytest.fixture(scope="session")
def toy(tmp_path_factory) -> Path:
    """The checkpoint that the toys begin with."""
    return toy_checkpoint(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def trained(toy, tmp_path_factory) -> dict[str, tuple[Path, Finetuned]]:
    """For each task the folder of a toy that was trained, and its report."""
    found = {}
    for task in HEADED:
        folder = tmp_path_factory.mktemp(task)
        found[task] = (folder / "model", train_toy(task, toy, folder))
    return found
