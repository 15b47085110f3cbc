"""Activations that a file may name by their path in torch: ``torch.nn.modules.activation.Tanh``.

sentence-transformers writes such a path for its Dense module and for a cross-encoder's scores.  The name is looked up
here; a class that a file names is never imported.  BERT's own activations (``hidden_act``) are in model.py.
"""

from collections.abc import Callable
from functools import partial

from torch import nn

# Those without parameters or required arguments, with torch's defaults.
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "CELU": nn.CELU, "ELU": nn.ELU, "GELU": nn.GELU, "Hardsigmoid": nn.Hardsigmoid, "Hardswish": nn.Hardswish,
    "Hardtanh": nn.Hardtanh, "Identity": nn.Identity, "LeakyReLU": nn.LeakyReLU, "LogSigmoid": nn.LogSigmoid,
    "LogSoftmax": partial(nn.LogSoftmax, dim=-1), "Mish": nn.Mish, "ReLU": nn.ReLU, "ReLU6": nn.ReLU6, "SELU": nn.SELU,
    "SiLU": nn.SiLU, "Sigmoid": nn.Sigmoid, "Softmax": partial(nn.Softmax, dim=-1), "Softplus": nn.Softplus,
    "Softsign": nn.Softsign, "Tanh": nn.Tanh, "Tanhshrink": nn.Tanhshrink,
}  # fmt: skip


def path_of(name: str) -> str:
    """The path that sentence-transformers writes for a name of ACTIVATIONS."""
    return f"torch.nn.modules.{'linear' if name == 'Identity' else 'activation'}.{name}"


def name_in(path: object) -> str | None:
    """The name in ACTIVATIONS of the class at ``path``, under any of torch's paths; None for any other."""
    name = str(path).rpartition(".")[2]
    is_known = name in ACTIVATIONS and path in (f"torch.nn.{name}", f"torch.nn.modules.{name}", path_of(name))
    return name if is_known else None
