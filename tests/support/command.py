"""How the tests call the command line.

Most call ``minibert.cli.main`` in their own process and read what it prints with pytest's ``capsys``.  ``mistake`` is
for what ends with exit code 2 and a sentence.  ``run`` starts a process, or several under torchrun, where a process
matters: signals, terminals, the environment, workers.  ``run_nodes`` starts what would run on several machines.
"""

import socket
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


def run_nodes(
    arguments: Sequence[Sequence[str]], *, workers: int = 1, module: str = "minibert", seconds: float = 120
) -> list[subprocess.CompletedProcess[str]]:
    """Nodes of torchrun on this machine, one for each of ``arguments``, with ``workers`` processes each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "torch.distributed.run", "--nnodes", str(len(arguments)), "--nproc-per-node", str(workers)]
    launch += ["--rdzv-backend", "c10d", "--rdzv-id", "test", "--rdzv-endpoint", f"127.0.0.1:{port}"]
    launch += ["--local-addr", "127.0.0.1"]
    nodes = [
        subprocess.Popen(
            [sys.executable, *launch, "-m", module, *own],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for own in arguments
    ]  # fmt: skip
    try:
        printed = [node.communicate(timeout=seconds) for node in nodes]
    finally:
        for node in nodes:
            node.kill()
    return [
        subprocess.CompletedProcess(node.args, node.returncode, *both)
        for node, both in zip(nodes, printed, strict=True)
    ]
