"""AdamW and the schedule of its rate, as in the paper (appendix A.2) and Google's optimization.py."""

import torch
from torch import nn

from minibert.training.settings import Settings


def make_optimizer(model: nn.Module, settings: Settings) -> torch.optim.AdamW:
    """AdamW without decay on biases and LayerNorm (Loshchilov & Hutter 2019).

    Unlike Google's, it corrects the bias of its first steps, as in the published algorithm: without that, fine-tuning
    fails for some seeds (Mosbach et al. 2021).  Raises nothing; a tied tensor is updated once.
    """
    decays: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            (free if name == "bias" or isinstance(module, nn.LayerNorm) else decays).append(parameter)
    groups = [
        {"params": list(dict.fromkeys(decays)), "weight_decay": settings.weight_decay},
        {"params": list(dict.fromkeys(free)), "weight_decay": 0.0},
    ]
    # One pass over all numbers instead of one for each operation; not for the sharded tensors of FSDP on a CPU.
    fused = all(type(parameter) is nn.Parameter for parameter in model.parameters())
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=fused)


def learning_rate(settings: Settings, done: int, total: int) -> float:
    """The rate of the step after ``done`` of ``total``: up from 0 in a straight line, then down to 0 in another."""
    rising = int(settings.warmup * total)
    if done < rising:
        return settings.learning_rate * (done / rising)
    return settings.learning_rate * max(0.0, (total - done) / max(1, total - rising))
