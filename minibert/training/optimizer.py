"""AdamW, its learning rate schedule, and what is trained: as in the paper (appendix A.2) and Google's optimization.py.

A learning rate per layer and frozen layers keep the lower layers, which hold what all texts share, near what
pre-training left there (Howard and Ruder 2018).
"""

import math
from collections.abc import Iterator
from itertools import chain

import torch
from torch import nn

from minibert.errors import InputError
from minibert.model import BertModel
from minibert.pretrained import BertPreTrainedModel
from minibert.training.settings import Settings, frozen_parts


def make_optimizer(model: BertPreTrainedModel, settings: Settings) -> torch.optim.AdamW:
    """AdamW on what is trained, without weight decay on biases and LayerNorm (Loshchilov & Hutter 2019).

    Unlike Google's, it corrects the bias of its first steps, as in the published algorithm: without that, fine-tuning
    fails for some seeds (Mosbach et al. 2021).  A tied parameter is updated once.  Each group's ``share`` is that of
    the learning rate that it gets (``settings.layer_decay``).
    """
    shares = {id(p): share for part, share in layer_shares(model, settings.layer_decay) for p in part.parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            decays = not (name == "bias" or isinstance(module, nn.LayerNorm))
            if parameter.requires_grad:
                groups.setdefault((shares.get(id(parameter), 1.0), decays), []).append(parameter)
    made = [
        {
            "params": list(dict.fromkeys(parameters)),
            "weight_decay": settings.weight_decay if decays else 0.0,
            "share": share,
        }
        for (share, decays), parameters in groups.items()
    ]
    # The fused kernel makes one pass over the numbers; it does not take the sharded tensors of FSDP on a CPU.
    fused = all(type(parameter) is nn.Parameter for parameter in model.parameters())
    return torch.optim.AdamW(made, lr=settings.learning_rate, betas=settings.betas, eps=settings.eps, fused=fused)


def scheduled_learning_rate(settings: Settings, steps: int, total: int) -> float:
    """The learning rate of the step after ``steps`` of ``total``: linear warm-up from 0, then ``settings.schedule``.

    As in transformers' ``get_linear_schedule_with_warmup``, ``get_cosine_…`` and ``get_constant_schedule_with_warmup``.
    """
    warmup_steps = int(settings.warmup * total)
    if steps < warmup_steps:
        return settings.learning_rate * (steps / warmup_steps)
    if settings.schedule == "constant":
        return settings.learning_rate
    left = max(0.0, (total - steps) / max(1, total - warmup_steps))  # the share of the steps that is left
    if settings.schedule == "cosine":
        return settings.learning_rate * 0.5 * (1 - math.cos(math.pi * left))
    return settings.learning_rate * left


def layer_shares(model: BertPreTrainedModel, layer_decay: float) -> Iterator[tuple[nn.Module, float]]:
    """The embeddings and each layer, with their share of the learning rate.

    It is ``layer_decay`` for the last layer, its square for the one below, and so on down to the embeddings.  Pooler
    and head have all of the rate.  As in BEiT and MAE.
    """
    base = model.base_model
    assert isinstance(base, BertModel)
    layers = base.encoder.layer
    yield base.embeddings, layer_decay ** (len(layers) + 1)
    for number, layer in enumerate(layers):
        yield layer, layer_decay ** (len(layers) - number)


def frozen_modules(model: BertPreTrainedModel, settings: Settings) -> list[nn.Module]:
    """What ``settings.freeze`` names.  Raises InputError when the model has fewer layers."""
    if settings.freeze is None:
        return []
    base, parts = model.base_model, frozen_parts(settings.freeze)
    assert isinstance(base, BertModel) and parts is not None
    has_embeddings, layers = parts
    if layers > len(base.encoder.layer):
        raise InputError(f"freeze is {settings.freeze!r}; this model has {len(base.encoder.layer)} layers.")
    return [*([base.embeddings] if has_embeddings else []), *base.encoder.layer[:layers]]


def freeze(model: BertPreTrainedModel, settings: Settings) -> list[nn.Parameter]:
    """Freeze what ``settings.freeze`` names; returns the parameters that are no longer trained."""
    parameters = chain.from_iterable(module.parameters() for module in frozen_modules(model, settings))
    frozen = [parameter for parameter in parameters if parameter.requires_grad]
    for parameter in frozen:
        parameter.requires_grad_(False)
    return frozen
