"""What processes on several machines tell each other before a run begins; here one stands for both."""

import os
import socket
import time
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from multiprocessing import get_context

import pytest
import torch
from torch import Tensor

from minibert.errors import InputError, StoppedElsewhereError
from minibert.training import distributed
from minibert.training.distributed import Processes, join_processes, number_of


@dataclass(frozen=True)
class One(Processes):
    """One of two processes; ``others`` are the numbers that the other one adds, in turn."""

    world_size: int = 2
    others: list[int] = field(default_factory=list)

    def sum(self, numbers: Tensor) -> Tensor:
        numbers += self.others.pop(0)
        return numbers


def test_all_same() -> None:
    assert One(others=[number_of(b"run"), 0]).all_same(b"run")
    assert not One(others=[number_of(b"another"), 1]).all_same(b"run")
    assert number_of(b"run") != number_of(b"another")
    assert max(number_of(bytes([n])) for n in range(256)) * 32768 < 1 << 63


def test_other_data_is_refused() -> None:
    with pytest.raises(InputError, match="do not train the same: data, checkpoint or settings differ"):
        One(others=[number_of(b"another"), 1]).check_same(b"run")
    with pytest.raises(StoppedElsewhereError):
        One(rank=1, others=[number_of(b"another"), 1]).check_same(b"run")
    One(others=[number_of(b"run"), 0]).check_same(b"run")
    Processes().check_same(b"run")


def test_a_folder_that_all_see(tmp_path, monkeypatch) -> None:
    path = tmp_path / "run" / ".lock"
    path.parent.mkdir()
    path.write_bytes(b"the first")
    One(others=[0, 0]).check_shared(path)
    One(rank=1, others=[number_of(b"the first"), 0]).check_shared(path)
    monkeypatch.setattr(distributed, "SHARED_SECONDS", 0.3)
    with pytest.raises(InputError, match="1 of 2 processes do not see .*run as the first one does"):
        One(others=[0, 1]).check_shared(path)
    for content in (b"of an older run", None):  # a file of that name may be there
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(StoppedElsewhereError):
            One(rank=1, others=[number_of(b"the first"), 0]).check_shared(path)


def test_a_file_that_a_network_file_system_shows_late(tmp_path, monkeypatch) -> None:
    path = tmp_path / ".lock"
    monkeypatch.setattr(distributed.time, "sleep", lambda seconds: path.write_bytes(b"the first"))
    One(rank=1, others=[number_of(b"the first"), 0]).check_shared(path)


def wait_for_the_first(rank: int, port: int) -> None:
    """One of two processes, of which the first prepares for longer than a step of the others may take."""
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    dist = distributed.dist
    dist.init_process_group = partial(dist.init_process_group, timeout=timedelta(seconds=1))
    with join_processes(torch.device("cpu")) as processes:
        with processes.main_first():
            if processes.is_main:
                time.sleep(3)
        processes.wait()


@pytest.mark.slow
def test_a_long_preparation_is_waited_for() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = [get_context("spawn").Process(target=wait_for_the_first, args=(rank, port)) for rank in (0, 1)]
    for one in started:
        one.start()
    for one in started:
        one.join(60)
    assert [one.exitcode for one in started] == [0, 0]
