"""Any tree of modules with none of its names left: neither those of its attributes nor those of its classes.

Every module's children get numbered names, and its class is replaced by one that finds them under the names that its
``forward`` uses.
"""

from itertools import count
from typing import Any

from torch import nn


def without_names(model: nn.Module) -> nn.Module:
    """The model itself, changed: every child and parameter of every module is called ``m0``, ``m1``, …, ``p0``, …"""
    numbers = count()
    for module in list(model.modules()):
        if isinstance(module, nn.ModuleList | nn.Sequential | nn.ModuleDict):
            continue  # their names are numbers, or are looked up as such
        names: dict[str, str] = {}
        for prefix, place in (("m", module._modules), ("p", module._parameters)):
            if prefix == "p" and type(module).__module__.startswith("torch."):
                continue  # torch's own layers may look for theirs in other ways
            for number, (old, value) in enumerate(list(place.items())):
                names[old] = f"{prefix}{number}"
                del place[old]
                place[names[old]] = value  # type: ignore[index]
        module.__class__ = _renamed(type(module), names, f"Part{next(numbers)}")
    return model


def _renamed(kind: type[nn.Module], names: dict[str, str], name: str) -> type[nn.Module]:
    """A class that gives what was called ``old`` under that name, though it is kept under another."""

    def __getattr__(self: nn.Module, asked: str) -> Any:
        return kind.__getattr__(self, names.get(asked, asked))

    return type(name, (kind,), {"__getattr__": __getattr__})
