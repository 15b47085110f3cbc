"""AdamW and its learning rate schedule, as in the paper (appendix A.2) and Google's optimization.py."""

import torch
from torch import nn

from minibert.training.settings import Settings


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW without weight decay on biases and LayerNorm (Loshchilov & Hutter 2019).

    Unlike Google's, it corrects the bias of its first steps, as in the published algorithm: without that, fine-tuning
    fails for some seeds (Mosbach et al. 2021).  A tied parameter is updated once.
    """
    decayed: list[nn.Parameter] = []
    others: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            (others if name == "bias" or isinstance(module, nn.LayerNorm) else decayed).append(parameter)
    groups = [
        {"params": list(dict.fromkeys(decayed)), "weight_decay": settings.weight_decay},
        {"params": list(dict.fromkeys(others)), "weight_decay": 0.0},
    ]
    # The fused kernel makes one pass over the numbers; it does not take the sharded tensors of FSDP on a CPU.
    fused = all(type(parameter) is nn.Parameter for parameter in model.parameters())
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=fused)


def scheduled_learning_rate(settings: Settings, steps: int, total: int) -> float:
    """The learning rate of the step after ``steps`` of ``total``: linear warm-up from 0, then linear decay to 0."""
    warmup_steps = int(settings.warmup * total)
    if steps < warmup_steps:
        return settings.learning_rate * (steps / warmup_steps)
    return settings.learning_rate * max(0.0, (total - steps) / max(1, total - warmup_steps))
