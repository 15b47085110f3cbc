"""ablate_heads: how a metric of the output changes when one attention head is ablated.

After Michel et al. 2019, "Are Sixteen Heads Really Better than One?", section 3.2.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from minibert.errors import InputError
from minibert.lens.editing import edit, mean_head, zero_head
from minibert.lens.tracing import Inputs, as_arguments, watchable
from minibert.points import select
from minibert.watch import Watch


def ablate_heads(
    model: nn.Module, inputs: Inputs, metric: Callable[[Any], float | Tensor], how: str = "zero"
) -> Tensor:
    """The change of ``metric`` when each head is ablated alone: (L, N) float64, ablated − original.

    Args:
        model: any model of minibert; its mode is kept.
        inputs: what the tokenizer returned.
        metric: a function from the model's output to one number, such as
            ``lambda outputs: outputs.logits[0, 5, 1996]``.
        how: ``"zero"`` replaces the head's context by zeros; ``"mean"`` replaces it by its mean over the tokens of this
            batch, without padding.

    Runs the model L · N + 1 times, without gradients.  Raises InputError for another ``how`` and for a ``metric`` that
    returns no number.
    """
    if how not in ("zero", "mean"):
        raise InputError(f"how is {how!r}; heads are ablated by 'zero' or by 'mean'.")
    model = watchable(model)
    arguments = as_arguments(model, inputs)
    mask = arguments.get("attention_mask")
    padding = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
    layers = select(model, "**.attention.self.context_heads")
    heads = model.config.num_attention_heads
    table = torch.zeros(len(layers), heads, dtype=torch.float64)
    with torch.no_grad(), tqdm(total=table.numel(), desc="heads", unit="head", disable=None) as progress:
        with Watch(model, lambda _name, value: value, ()):  # eager attention, as in the edited runs
            original = measured(metric, model(**arguments, return_dict=True))
        for layer, point in enumerate(layers):
            for head in range(heads):
                change = zero_head(head) if how == "zero" else mean_head(head, attention_mask=padding)
                with edit(model, point, change):
                    table[layer, head] = measured(metric, model(**arguments, return_dict=True)) - original
                progress.update()
    return table


def measured(metric: Callable[[Any], float | Tensor], outputs: Any) -> float:
    """``metric`` of the outputs; InputError unless it is one number."""
    if not callable(metric):
        raise InputError(f"metric is {metric!r:.80}; expected a function of the model's outputs.")
    number = metric(outputs)
    if isinstance(number, Tensor) and number.numel() == 1:
        return float(number)
    if isinstance(number, Tensor):
        raise InputError(f"metric gave a tensor of shape {tuple(number.shape)}; expected one number.")
    if not isinstance(number, int | float):
        raise InputError(f"metric gave {number!r:.80}; expected one number.")
    return float(number)
