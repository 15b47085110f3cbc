"""One run a folder: the second is refused, whatever it calls the folder; a killed one leaves nothing in the way."""

import errno
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from minibert import lock
from minibert.cli import main
from minibert.convert import convert
from minibert.errors import CheckpointError, InputError
from minibert.finetuning import finetune
from minibert.lock import NAME, alone_in, locked
from minibert.training.loop import train
from minibert.training.settings import Settings
from tests.support import command
from tests.support.toy_tasks import TINY, write_toy
from tests.support.toy_training import Toy, ToyObjective, toy_model

ROOT = Path(__file__).parents[1]
HOLDER = "import sys\nfrom pathlib import Path\nfrom minibert.lock import locked\n"
HOLDER += "with locked(Path(sys.argv[1])):\n    print('held', flush=True)\n    sys.stdin.read()\n"
posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills processes as POSIX does")


@contextmanager
def held(folder: Path) -> Iterator[subprocess.Popen]:
    """Another process at work in ``folder``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    try:
        yield process
    finally:
        process.communicate("")


def run(folder: Path) -> None:
    train(ToyObjective(toy_model(num_hidden_layers=1)), Toy(16), Settings(learning_rate=1e-3), folder)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_verb_whose_folder_belongs_to_one_run(tmp_path, capsys, monkeypatch) -> None:
    folder = tmp_path / "runs" / "out"
    (tmp_path / "link").symlink_to(tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    data, text = write_toy("classify", tmp_path / "train", 16), tmp_path / "text.txt"
    text.write_text("One.\nTwo.\n\nThree.\n")
    with held(folder) as process:
        sentence = f"belongs to a run that is still at work: process {process.pid} on {platform.node()}. Wait until"
        for spelling in (folder, "runs/out", "runs/../runs/out", tmp_path / "link" / "out"):
            for call in (
                lambda: run(spelling),  # noqa: B023
                lambda: finetune("classify", TINY, data, spelling, epochs=1),  # noqa: B023
                lambda: convert(TINY, spelling),  # noqa: B023
            ):
                with pytest.raises(InputError, match=re.escape(sentence)):
                    call()
        for command in (["finetune", "classify", str(data), "--model", str(TINY)], ["pretrain", str(text)]):
            assert main([*command, "--output", "runs/out"]) == 2
            said = capsys.readouterr()
            assert (said.out, said.err.count("\n"), sentence in said.err) == ("", 1, True)
        assert sorted(files(folder)) == [NAME]
        run(folder / "inside")  # another folder
        run(tmp_path / "runs" / "beside")
    run(folder)
    assert NAME not in files(folder)


@posix
def test_a_killed_run_is_not_in_the_way(tmp_path) -> None:
    with held(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / NAME).exists()
        run(tmp_path)
    assert not (tmp_path / NAME).exists()


@posix
def test_two_runs_at_the_same_moment(tmp_path) -> None:
    """Four times two processes begin together: one does the work, the other is refused."""
    torch.set_num_threads(1)
    run(tmp_path / "alone")
    expected = files(tmp_path / "alone")
    for number in range(4):
        processes = []
        for _ in range(2):
            if not (process := os.fork()):
                try:
                    with locked(tmp_path / str(number)):
                        run(tmp_path / str(number))
                        time.sleep(0.3)
                except InputError as error:
                    os._exit(2 if "belongs to a run" in str(error) else 3)
                except BaseException:
                    os._exit(3)
                os._exit(0)
            processes.append(process)
        codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
        assert sorted(codes) == [0, 2]
        assert files(tmp_path / str(number)) == expected


def test_two_runs_in_one_process(tmp_path) -> None:
    found = []

    def second() -> None:
        try:
            run(tmp_path)
        except InputError as error:
            found.append(str(error))

    with locked(tmp_path):
        run(tmp_path)  # the same thread: a part of what holds the folder
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert f"process {os.getpid()} on" in found[0]
    assert not (tmp_path / NAME).exists()


def test_a_copy_made_while_a_run_is_at_work_is_free(tmp_path) -> None:
    with held(tmp_path / "one"):
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        assert (tmp_path / "two" / NAME).exists()
        run(tmp_path / "two")
    assert NAME not in files(tmp_path / "two")


def test_a_system_without_locks_is_said_once(tmp_path, monkeypatch, caplog) -> None:
    def refuse(file: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "lock", refuse)
    finetune("classify", TINY, write_toy("classify", tmp_path / "x", 16), tmp_path / "out", epochs=1)
    assert caplog.text.count("has no locks (No locks available): see to it that no second run writes") == 1
    assert (tmp_path / "out" / "model.safetensors").exists()
    assert not (tmp_path / "out" / NAME).exists()


def test_windows_locks_a_byte_that_nobody_reads(tmp_path, monkeypatch) -> None:
    calls = []

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(file: int, mode: int, count: int) -> None:
            calls.append((mode, os.lseek(file, 0, os.SEEK_CUR), count))
            if len(calls) > 1:
                raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setitem(sys.modules, "msvcrt", Msvcrt)
    with locked(tmp_path):
        thread_id = lock._held.popitem()  # as another process would find it
        with pytest.raises(InputError, match=f"process {os.getpid()} on"), locked(tmp_path):
            pass
        lock._held[thread_id[0]] = thread_id[1]
    assert calls == [(2, lock.FAR, 1)] * 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch, number: int) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock.os, "open", refuse)
    with pytest.raises(
        CheckpointError, match=rf"out/\.lock' cannot be written \({os.strerror(number)}\). Name a folder"
    ):
        run(tmp_path / "new" / "out")
    assert not list(tmp_path.iterdir())


def test_folders_that_are_none(tmp_path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "a" / NAME).mkdir(parents=True)
    for folder, reason in (
        ("file", "folder is .*file, which is a file"),
        ("file/out", "file is no folder"),
        ("a", r"\.lock' cannot be written \(Is a directory\)"),
        ("nul\0", "a path holds no NUL"),
    ):
        with pytest.raises(CheckpointError, match=reason):
            run(tmp_path / folder)


def test_a_call_that_fails_leaves_no_folder(tmp_path) -> None:
    @alone_in("folder")
    def fail(folder: Path) -> None:
        assert (folder / NAME).exists()
        raise OSError("of its own")

    with pytest.raises(OSError, match="of its own"):
        fail(tmp_path / "a" / "b")
    assert not list(tmp_path.iterdir())
    with pytest.raises(TypeError, match=r"fail\(\) missing 1 required"):
        fail()


@pytest.mark.slow
@pytest.mark.crash
def test_all_processes_of_torchrun_end_with_one_sentence(tmp_path) -> None:
    data = write_toy("classify", tmp_path / "train", 16)
    options = ["--model", str(TINY), "--output", str(tmp_path / "out"), "--epochs", "1"]
    with held(tmp_path / "out") as process:
        done = command.run("finetune", "classify", str(data), *options, workers=2, timeout=120)
        ours = [line for line in done.stderr.splitlines() if line.startswith("minibert:")]
        assert len(ours) == 1 and f"process {process.pid} on" in ours[0]
        assert "minibert/" not in done.stderr.replace(ours[0], "")  # no traceback of ours; torchrun adds its own report
        assert done.returncode != 0
    assert not (tmp_path / "out" / "run.json").exists()
