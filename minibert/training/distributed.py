"""One process, or several that share each step's examples: ``torchrun --nproc-per-node 2 -m minibert pretrain …``.

Each process computes the gradient of its share, and the sum over all of them is the gradient of the whole step, so two
processes train as one does.  Either each holds the whole model (DDP), or each holds a part of it and fetches a layer
from the others when it is needed (FSDP2; Rajbhandari et al. 2020), for models that do not fit in memory.

The processes may be on several machines.  The first of all of them, by RANK, writes; all read what it wrote, so the
folder of a run is on a disk that all machines share (:meth:`Processes.check_shared`).
"""

import hashlib
import inspect
import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minibert.errors import InputError, StoppedElsewhereError
from minibert.model import BertEncoder
from minibert.pretrained import BertPreTrainedModel
from minibert.training.objective import Objective

# A network file system may show a new file to other machines only when its caches have run out: NFS after 60 s.
SHARED_SECONDS = 90.0
PREPARATION = timedelta(days=2)  # the others wait while the first process tokenizes the text; torch gives up in minutes


@dataclass(frozen=True)
class Processes:
    """The processes that train together, and which of them this one is."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sharded: bool = False  # FSDP2 instead of DDP
    patient: Any = None  # the process group of main_first, which waits for longer than that of the steps

    @property
    def is_main(self) -> bool:
        """Whether this is the process that writes and prints."""
        return self.rank == 0

    def sum(self, numbers: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(numbers)
        return numbers

    def wait(self) -> None:
        """Wait until all processes are here."""
        if self.world_size > 1:
            dist.barrier()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the main process run the block before the others, so that they find the files that it makes.

        If it fails, its error is raised there, and StoppedElsewhereError in the others, which would wait for ever.
        """
        if not self.is_main and self.has_main_failed(False):
            raise StoppedElsewhereError("The first process stopped; it says why.")
        try:
            yield
        except BaseException:
            if self.is_main:
                self.has_main_failed(True)
            raise
        if self.is_main:
            self.has_main_failed(False)

    def has_main_failed(self, failed: bool) -> bool:
        """Wait for the main process, as long as it needs, and return what it gave.  All must call it."""
        flag = torch.tensor([int(failed)], device=self.device if self.patient is None else "cpu")
        if self.world_size > 1:
            dist.all_reduce(flag, group=self.patient)
        return bool(flag)

    def any_failed(self, failed: bool) -> bool:
        """Whether any process failed.  All must call it."""
        return bool(self.sum(torch.tensor([int(failed)], device=self.device)))

    def all_same(self, content: bytes) -> bool:
        """Whether all processes have the same ``content``.  All must call it."""
        own = number_of(content)
        total = int(self.sum(torch.tensor([own], device=self.device)))
        return not self.any_failed(total != own * self.world_size)  # where all are the mean, all are equal

    def check_same(self, content: bytes) -> None:
        """Raise InputError in the main process unless all train the same; ``content`` identifies that."""
        if self.world_size == 1 or self.all_same(content):
            return
        if not self.is_main:
            raise StoppedElsewhereError("The first process stopped; it says why.")
        raise InputError(
            "The processes do not train the same: data, checkpoint or settings differ between them. Start all with the "
            "same command, and give every machine the same files."
        )

    def check_shared(self, path: Path) -> None:
        """Raise InputError in the main process unless all see the file that it has just written."""
        if self.world_size == 1:
            return
        own = number_of(path.read_bytes()) if self.is_main else 0
        written = int(self.sum(torch.tensor([own], device=self.device)))
        until = time.monotonic() + SHARED_SECONDS
        while not (sees := self.is_main or is_seen(path, written)) and time.monotonic() < until:
            time.sleep(0.2)
        blind = int(self.sum(torch.tensor([int(not sees)], device=self.device)))
        if blind and not self.is_main:
            raise StoppedElsewhereError("The first process stopped; it says why.")
        if blind:
            raise InputError(
                f"{blind} of {self.world_size} processes do not see {path.parent} as the first one does: on their "
                "machine it is another folder. Name a folder on a disk that all machines share."
            )

    def wrap(self, objective: Objective) -> nn.Module:
        """The module to call in place of ``objective``, so that gradients are summed over all processes."""
        objective.to(self.device)
        if self.sharded:
            from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

            for encoder in (module for module in objective.modules() if isinstance(module, BertEncoder)):
                for layer in encoder.layer:
                    fully_shard(layer)
            fully_shard(objective)
            register_fsdp_forward_method(objective, "call")
            return objective
        if self.world_size == 1:
            return objective
        from torch.nn.parallel import DistributedDataParallel

        # No buffer changes in training, so none is sent around; newer torch warns of the older name.
        names = ("forward_sync_buffers", "broadcast_buffers")
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        unsent: dict[str, Any] = {next(name for name in names if name in known): False}
        return DistributedDataParallel(objective, gradient_as_bucket_view=True, **unsent)

    def gradient_sync(self, wrapped: nn.Module, is_last: bool) -> AbstractContextManager[Any]:
        """The context of a backward pass: gradients are exchanged only after the last micro-batch of a step."""
        if self.sharded:
            wrapped.set_requires_gradient_sync(is_last)  # type: ignore[operator]
        elif self.world_size > 1 and not is_last:
            return wrapped.no_sync()  # type: ignore[operator, no-any-return]
        return nullcontext()


SINGLE_PROCESS = Processes()


def number_of(content: bytes) -> int:
    """A number of 48 bits that stands for ``content``: sums of up to 32,768 of them fit in int64."""
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big")


def is_seen(path: Path, number: int) -> bool:
    """Whether the file is here, with the content that ``number`` stands for."""
    with suppress(OSError):
        os.listdir(path.parent)  # noqa: PTH208  a network file system then looks at the folder anew
        return number_of(path.read_bytes()) == number
    return False


@contextmanager
def join_processes(device: torch.device, *, sharded: bool = False) -> Iterator[Processes]:
    """The processes that torchrun started, or this one alone, until the block ends.

    Raises InputError when there are more of them on this machine than it has accelerators.
    """
    world_size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if world_size == 1 and not sharded:
        yield Processes(device=device)
        return
    if device.type == "cuda":
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if local_rank >= torch.cuda.device_count():
            raise InputError(
                f"Process {local_rank} finds {torch.cuda.device_count()} GPUs here; start as many processes."
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if "RANK" not in os.environ:
        from torch.distributed import HashStore  # type: ignore[attr-defined]

        store: Any = HashStore()
        dist.init_process_group(backend, store=store, rank=0, world_size=1)
    else:
        dist.init_process_group(backend)
    try:
        patient = dist.new_group(backend="gloo", timeout=PREPARATION) if world_size > 1 else None
        yield Processes(rank, world_size, device, sharded, patient)
    finally:
        dist.destroy_process_group()


def full_tensor(tensor: Tensor) -> Tensor:
    """A sharded tensor as one, on the CPU; any other as it is.  All processes must call it."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).cpu()


def sharded_like(value: Tensor, example: Tensor) -> Tensor:
    """``value`` on the device of ``example``, and sharded as that is."""
    if not hasattr(example, "placements"):
        return value.to(example.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(example, DTensor)

    return distribute_tensor(value.to(example.device), example.device_mesh, example.placements)


def save_model(
    model: BertPreTrainedModel, folder: Path, processes: Processes, model_class: type[BertPreTrainedModel] | None = None
) -> None:
    """Save a model that may be sharded; ``model_class``: save it as this class, which has fewer heads."""
    if not processes.sharded and model_class in (None, type(model)):
        if processes.is_main:
            model.save_pretrained(folder)
        return
    weights = {name: full_tensor(parameter) for name, parameter in model.named_parameters()}
    if processes.is_main:
        copy = (model_class or type(model))(model.config)
        copy.load_state_dict(weights, strict=False)  # a tied tensor has one name here, and two there
        copy.save_pretrained(folder)
