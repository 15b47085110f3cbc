"""What each layer would predict: the head that reads the last hidden state, put on every one.

nostalgebraist 2020, "interpreting GPT: the logit lens".  BERT's head is more than the vocabulary: dense, activation
and normalisation come first (``cls.predictions.transform``), and all of it is applied to each hidden state.  It was
trained for the last layer alone, so what it says of an early one is a hint, not what that layer "means".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from minibert.errors import InputError
from minibert.lens.perturbing import as_grid
from minibert.lens.tracing import Inputs, trace, watchable
from minibert.points import hidden_state_names
from minibert.pretrained import BertPreTrainedModel


@dataclass(frozen=True, eq=False)
class LogitLens:
    """Predictions of the embeddings (row 0) and of each layer, at each position.

    Of several texts all tables have a B in front; what stands at padding is no prediction of anything.
    """

    ids: Tensor  # (L + 1, T, k) int64: the likeliest pieces, the likeliest first
    probabilities: Tensor  # (L + 1, T, k)
    target_ids: Tensor  # (T,) int64: the pieces that are followed through the layers
    target_probabilities: Tensor  # (L + 1, T)
    target_ranks: Tensor  # (L + 1, T) int64: 1 is the likeliest of all pieces

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain lists, for JSON."""
        names = ("ids", "probabilities", "target_ids", "target_probabilities", "target_ranks")
        return {name: as_grid(getattr(self, name)) for name in names}


def logit_lens(
    model: nn.Module, inputs: Inputs, k: int = 5, *, targets: Tensor | Sequence[int] | None = None
) -> LogitLens:
    """What every hidden state, 0 (the embeddings) to L, would predict at each position.

    Args:
        model: one with a masked-language-modelling head, BertForMaskedLM or BertForPreTraining, in the mode it is in.
        inputs: what the tokenizer returned.
        k: how many of the likeliest pieces to keep.
        targets: (T,) or (B, T) the pieces whose probability and rank are followed, such as the true ones; default
            what the last layer finds likeliest.

    Edits that are open act on the run, and those in the head on each layer's reading.  Raises InputError.
    """
    model = watchable(model)
    predictions = getattr(getattr(model, "cls", None), "predictions", None)
    if not isinstance(predictions, nn.Module):
        raise InputError(
            f"{type(model).__name__} has no masked-language-modelling head to read with; load the checkpoint as "
            "BertForMaskedLM, if it has one."
        )
    if type(k) is not int or not 1 <= k <= model.config.vocab_size:
        raise InputError(f"k is {k!r}; expected 1 to {model.config.vocab_size}, the size of the vocabulary.")
    states = _hidden_states(model, inputs)
    followed = _target_ids(predictions, states, targets, model.config.vocab_size)
    found = [_read(predictions, state, followed, k) for state in states]
    tables = [torch.stack(parts, dim=1).cpu() for parts in zip(*found, strict=True)]  # (B, L + 1, T, …)
    ids, probabilities, ranks, chances = (table[0] if len(table) == 1 else table for table in tables)
    return LogitLens(ids, probabilities, (followed[0] if len(followed) == 1 else followed).cpu(), chances, ranks)


def _hidden_states(model: BertPreTrainedModel, inputs: Inputs) -> list[Tensor]:
    """L + 1 of (B, T, H): the embeddings and the output of each layer."""
    names = hidden_state_names(model.config.num_hidden_layers, model.encoder_prefix)
    return list(trace(model, inputs, points=names, stop=True).values())


def _target_ids(
    predictions: nn.Module, states: list[Tensor], targets: Tensor | Sequence[int] | None, size: int
) -> Tensor:
    """(B, T): the pieces to follow."""
    B, T = states[-1].shape[:2]
    if targets is None:
        with torch.no_grad():
            ids: Tensor = predictions(states[-1]).argmax(dim=-1)
        return ids
    try:
        given = torch.as_tensor(targets, device=states[-1].device)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"targets is {targets!r:.80}; expected the id of a piece for each token.") from error
    if given.is_floating_point() or given.dtype == torch.bool:
        raise InputError(f"targets holds {given.dtype}; expected whole numbers, the id of a piece for each token.")
    if given.shape not in ((T,), (B, T)):
        raise InputError(f"targets has shape {tuple(given.shape)}, expected ({T},) or ({B}, {T}): a piece a token.")
    outside = given[(given < 0) | (given >= size)]
    if len(outside):
        raise InputError(f"targets holds {outside[0].item()}; this model's pieces are 0 to {size - 1}.")
    return given.expand(B, T)


def _read(predictions: nn.Module, state: Tensor, followed: Tensor, k: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One hidden state (B, T, H): ids and probabilities (B, T, k), ranks and probabilities of the followed (B, T)."""
    with torch.no_grad():
        logits = predictions(state)  # (B, T, V)
        own = logits.gather(-1, followed[..., None])
        ranks = (logits > own).sum(dim=-1) + 1
        every = logits.float().softmax(dim=-1)
    probabilities, ids = every.topk(k)
    return ids, probabilities, ranks, every.gather(-1, followed[..., None])[..., 0]
