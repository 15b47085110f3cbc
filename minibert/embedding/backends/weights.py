"""Which weights a graph was built from, and whether the model still has them."""

import ctypes
import hashlib
import re
from pathlib import Path
from platform import machine, processor

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from minibert.model import BertModel


def settings_of(model: BertModel) -> str:
    """The settings that the shapes of the parameters do not show."""
    config = model.config
    return repr((config.hidden_act, config.layer_norm_eps, config.num_attention_heads))


def weights_digest(module: nn.Module, settings: str) -> str:
    """The SHA-256 of ``settings`` and of every parameter."""
    digest = hashlib.sha256(settings.encode())
    for name, tensor in module.state_dict().items():
        flat = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {flat.dtype} {tuple(flat.shape)}\n".encode())
        if flat.numel():
            digest.update((ctypes.c_char * (flat.numel() * flat.element_size())).from_address(flat.data_ptr()))
    return digest.hexdigest()


def processor_facts() -> dict[str, str]:
    """The processor: its model, and a hash of what it can do, on which a runtime's choice of kernels depends."""
    described = Path("/proc/cpuinfo")
    text = described.read_text(encoding="utf-8", errors="replace") if described.is_file() else ""
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    facts = {"machine": machine(), "processor": name[1] if name else processor()}
    return facts | {"flags": hashlib.sha256(flags[1].encode()).hexdigest()[:16] if flags else ""}


class Snapshot:
    """A plain model as it is now: its modules, without hooks, and its parameters.

    A parameter is known by identity, place in memory and torch's count of changes in place.  A write through
    ``parameter.data`` or numpy is not counted by torch, so it is not seen; nor is one to a tensor made in inference
    mode, which has no count.  Asked before each text or block of texts, so lists are made beforehand: comparing takes
    some 30 µs for MiniLM's 110 modules, less than half of what :func:`minibert.embedding.packed.is_plain` takes.
    """

    def __init__(self, model: nn.Module) -> None:
        """``model`` is plain (:func:`minibert.embedding.packed.is_plain`)."""
        modules = list(model.modules())
        self.attributes = [module.__dict__ for module in modules]
        self.hooks = [torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks]
        for module in modules:
            self.hooks += [module._forward_hooks, module._forward_pre_hooks]
        self.children = [
            (module._modules, name, child) for module in modules for name, child in module._modules.items()
        ]
        tensors = [
            (module._parameters, name, tensor)
            for module in modules
            for name, tensor in module._parameters.items()
            if tensor is not None
        ]
        self.parameters = [(own, name, tensor, tensor.data_ptr()) for own, name, tensor in tensors]
        counted = [tensor for _, _, tensor in tensors if not torch.is_inference(tensor)]
        self.counted = [(tensor, tensor._version) for tensor in counted]

    def holds(self) -> bool:
        """Whether the model is plain and nothing has changed."""
        if any(self.hooks):
            return False
        for own in self.attributes:
            if own["training"] or "forward" in own or "watchers" in own:
                return False
        for modules, name, child in self.children:
            if modules.get(name) is not child:
                return False
        for parameters, name, tensor, place in self.parameters:
            if parameters.get(name) is not tensor or tensor.data_ptr() != place:
                return False
        return all(tensor._version == count for tensor, count in self.counted)
