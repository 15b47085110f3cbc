"""How the tests call the command line.

Most call ``minibert.cli.main`` in their own process and read what it prints with pytest's ``capsys``.  ``mistake`` is
for what ends with exit code 2 and a sentence.  ``run`` starts a process, or several under torchrun, where a process
matters: signals, terminals, the environment, workers.
"""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from minibert.cli import main

ROOT = Path(__file__).parents[2]


def mistake(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], *, after_others: bool = False) -> str:
    """The one sentence that a mistake prints.  ``after_others``: lines, such as warnings, may stand before it."""
    assert main(list(arguments)) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.endswith("\n")
    *others, sentence = printed.err.splitlines()
    assert after_others or not others
    assert sentence.startswith("minibert: ")
    assert "Traceback" not in printed.err
    return sentence


def command(*arguments: str, workers: int = 1, module: str = "minibert") -> list[str]:
    """What a person types, with this Python; several ``workers`` under torchrun."""
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)] if workers > 1 else []
    return [sys.executable, *launch, "-m", module, *arguments]


def run(
    *arguments: str, workers: int = 1, module: str = "minibert", check: bool = False, **options: Any
) -> subprocess.CompletedProcess[str]:
    """A process to its end, in the checkout; ``options`` are subprocess's."""
    options = {"cwd": ROOT, "capture_output": True, "text": True} | options
    return subprocess.run(command(*arguments, workers=workers, module=module), check=check, **options)
