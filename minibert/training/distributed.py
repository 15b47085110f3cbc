"""One process, or several that share each step's examples: ``torchrun --nproc-per-node 2 -m minibert pretrain …``.

Every worker computes the gradient of its share; they add up to the gradient of the whole step, so that two workers
train as one does.  Two ways: each holds the whole model (DDP), or a part of it, fetching a layer from the others when
it is its turn (FSDP2; Rajbhandari et al. 2020), for models that do not fit.
"""

import inspect
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minibert.errors import InputError, StoppedElsewhereError
from minibert.model import BertEncoder
from minibert.pretrained import BertPreTrainedModel
from minibert.training.objective import Objective


@dataclass(frozen=True)
class Workers:
    """Who else is at work, and who of them this process is."""

    rank: int = 0
    count: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    sharded: bool = False  # FSDP2 instead of DDP

    @property
    def is_first(self) -> bool:
        """The one that writes and prints."""
        return self.rank == 0

    def total(self, numbers: Tensor) -> Tensor:
        """The sum over all workers; ``numbers`` is changed."""
        if self.count > 1:
            dist.all_reduce(numbers)
        return numbers

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first worker goes through the block alone, making files; the others follow and find them.

        Where it fails, its error is raised there, and StoppedElsewhereError in the others, which would wait for ever.
        """
        if not self.is_first and self.failed(False):
            raise StoppedElsewhereError("The first worker stopped; it says why.")
        try:
            yield
        except BaseException:
            if self.is_first:
                self.failed(True)
            raise
        if self.is_first:
            self.failed(False)

    def failed(self, me: bool) -> bool:
        """Whether any worker failed; all must call."""
        return bool(self.total(torch.tensor([int(me)], device=self.device)))

    def wrap(self, objective: Objective) -> nn.Module:
        """What is called in place of ``objective``, so that the gradients of all workers come together."""
        objective.to(self.device)
        if self.sharded:
            from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

            for encoder in (module for module in objective.modules() if isinstance(module, BertEncoder)):
                for layer in encoder.layer:
                    fully_shard(layer)
            fully_shard(objective)
            register_fsdp_forward_method(objective, "call")
            return objective
        if self.count == 1:
            return objective
        from torch.nn.parallel import DistributedDataParallel

        # No buffer changes in training, so none is sent around; newer torch warns of the older name.
        names = ("forward_sync_buffers", "broadcast_buffers")
        known = inspect.signature(DistributedDataParallel.__init__).parameters
        unsent: dict[str, Any] = {next(name for name in names if name in known): False}
        return DistributedDataParallel(objective, gradient_as_bucket_view=True, **unsent)

    def gathering(self, wrapped: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Around a backward pass: the workers exchange gradients after the last one of a step, not before."""
        if self.sharded:
            wrapped.set_requires_gradient_sync(last)  # type: ignore[operator]
        elif self.count > 1 and not last:
            return wrapped.no_sync()  # type: ignore[operator, no-any-return]
        return nullcontext()


ALONE = Workers()


@contextmanager
def gather_workers(device: torch.device, *, sharded: bool = False) -> Iterator[Workers]:
    """The workers that torchrun started, or this process alone; they part when the block ends.

    Raises InputError when there are more of them on this machine than it has accelerators.
    """
    count, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if count == 1 and not sharded:
        yield Workers(device=device)
        return
    if device.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise InputError(f"Worker {local} finds {torch.cuda.device_count()} GPUs here; start as many workers.")
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    if "RANK" not in os.environ:
        from torch.distributed import HashStore  # type: ignore[attr-defined]

        store: Any = HashStore()
        dist.init_process_group(backend_of(device), store=store, rank=0, world_size=1)
    else:
        dist.init_process_group(backend_of(device))
    try:
        yield Workers(rank, count, device, sharded)
        # gloo's threads outlive the process group.  One that still holds a tensor when the interpreter ends aborts the
        # process, so the last collective is one that needs no Python object.
        dist.barrier()
    finally:
        dist.destroy_process_group()


def backend_of(device: torch.device) -> str:
    """The library through which tensors of that device travel."""
    return "nccl" if device.type == "cuda" else "gloo"


def whole(tensor: Tensor) -> Tensor:
    """A tensor of which each worker holds a part, together, on the CPU; any other as it is.  All workers must call."""
    tensor = tensor.detach()
    return (tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor).cpu()


def like(value: Tensor, example: Tensor) -> Tensor:
    """``value``, on the device of ``example`` and shared out among the workers as that is."""
    if not hasattr(example, "placements"):
        return value.to(example.device)
    from torch.distributed.tensor import DTensor, distribute_tensor

    assert isinstance(example, DTensor)

    return distribute_tensor(value.to(example.device), example.device_mesh, example.placements)


def save_model(
    model: BertPreTrainedModel, folder: Path, workers: Workers, kind: type[BertPreTrainedModel] | None = None
) -> None:
    """Save the model, which may be shared out among the workers; ``kind``: as this class, which has fewer heads."""
    if not workers.sharded and kind in (None, type(model)):
        if workers.is_first:
            model.save_pretrained(folder)
        return
    weights = {name: whole(parameter) for name, parameter in model.named_parameters()}
    if workers.is_first:
        copy = (kind or type(model))(model.config)
        copy.load_state_dict(weights, strict=False)  # a tied tensor has one name here, and two there
        copy.save_pretrained(folder)
